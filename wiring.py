"""Which parts make a worker: settings → parts → rounds."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import ExitStack

from config import MACHINE_NAME, Settings, quieten_tensorflow
from federated_mainTraining import Kind, take_part
from federated_singleClassicTraining import decode_stream, single_classic
from FederatedKafkaMLAggregationSink import FederatedKafkaMLAggregationSink
from KafkaModelEngine import KafkaModelEngine
from protocol.records import Samples
from transport.admin import Admin
from transport.control import ControlTopic
from transport.reader import Reader
from transport.stream import Counts, read_stream, resolve
from transport.weights import read_weights
from transport.writer import Writer
from utils import configure_logging, prepare_tensorflow

log = logging.getLogger(__name__)


def run() -> None:
    """Take part in the federation that the environment names, to its last round.

    Raises:
        WorkerError: with the exit status that it means.
    """
    settings = Settings.from_env()
    configure_logging(settings.log_level)
    log.info("settings %s", settings.summary())
    if settings.client_id_source == MACHINE_NAME:
        log.warning("FEDERATED_CLIENT_ID and HOSTNAME are not set: a second worker on this machine would be the same client")
    kind = KINDS[settings.case](settings)
    federation = settings.federation
    with ExitStack() as stack:
        reader = stack.enter_context(Reader(settings.cloud, federation.group, settings.answer_limit_s))
        admin = stack.enter_context(Admin(settings.cloud, federation.group, settings.answer_limit_s))
        writer = stack.enter_context(Writer(settings.cloud, federation.group, settings.answer_limit_s))
        quieten_tensorflow()
        prepare_tensorflow()
        rounds = take_part(
            rounds=ControlTopic(reader, admin, federation, settings.wait_limit_s),
            engine=KafkaModelEngine(lambda message: read_weights(reader, message)),
            kind=kind,
            sink=FederatedKafkaMLAggregationSink(writer, admin, federation),
            client=federation.group,
        )
    log.info("federation done rounds=%d", rounds)


def _single_classic(settings: Settings) -> Kind:
    return single_classic(settings, _read_samples(settings))


def _read_samples(settings: Settings) -> Samples:
    counts = Counts()
    with Reader(settings.data, settings.federation.group, settings.answer_limit_s) as reader:
        ranges = resolve(reader, settings.stream, settings.answer_limit_s)
        samples = decode_stream(settings.decoder(), read_stream(reader, ranges, counts))
    log.info("stream read records=%d from %s", counts.records, ", ".join(map(str, ranges)))
    if counts.tombstones or counts.keyless:
        log.warning(
            "left out tombstones=%d and records without a key=%d: they are no samples", counts.tombstones, counts.keyless
        )
    if settings.total_msg is not None and settings.total_msg != counts.records:
        log.warning("TOTAL_MSG=%d, and the stream has %d records with value and key", settings.total_msg, counts.records)
    return samples


KINDS: dict[int, Callable[[Settings], Kind]] = {1: _single_classic}
