"""Which parts make a worker: settings → parts → rounds."""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import ExitStack
from typing import Any

import liveness
import watching
from config import MACHINE_NAME, RETURN, Settings, quieten_libraries
from ending import Stopping
from federated_blockchainSingleClassicTraining import join_contract
from federated_mainTraining import Rounds, Sink, take_part
from FederatedKafkaMLAggregationSink import FederatedKafkaMLAggregationSink
from KafkaModelEngine import KafkaModelEngine
from kinds import KINDS
from observing.json_lines import JsonLines
from observing.outlets import observed
from protocol.errors import ChainError, KafkaError, LimitError
from protocol.messages import ModelMessage
from protocol.records import Array
from training.stopping import Stop
from transport.admin import Admin
from transport.clients import READ_COMMITTED, Isolation
from transport.control import ControlTopic, Delivery
from transport.patience import Patience, awaited
from transport.reader import Reader
from transport.replies import ReplyLog
from transport.weights import read_weights
from transport.writer import Transactions, Writer
from utils import configure_logging, in_background, memory_bytes, prepare_tensorflow

log = logging.getLogger(__name__)


def run(stopping: Stopping) -> None:
    """Take part in the federation that the environment names, to its last round.

    Raises:
        WorkerError: with the exit status that it means.
    """
    settings = Settings.from_env()
    lines = JsonLines(settings.federation) if settings.outlets.is_json else None
    configure_logging(settings.log_level, lines)
    liveness.show_in(settings.liveness_file)
    log.info("settings %s", settings.summary())
    if settings.client_id_source == MACHINE_NAME:
        log.warning("FEDERATED_CLIENT_ID and HOSTNAME are not set: a second worker on this machine would be the same client")
    quieten_libraries()
    with observed(settings.outlets, settings.federation, lines):
        federate(settings, stopping)


def federate(settings: Settings, stopping: Stopping) -> None:
    """Take part in a federation, to its last round.

    Three things take long, and go on beside each other: TensorFlow loads, the stream is read, a model is awaited.

    Raises:
        WorkerError: with the exit status that it means.
    """
    federation = settings.federation
    tensorflow = in_background("tensorflow", prepare_tensorflow)
    stop = Stop()

    def stop_fit() -> None:
        if tensorflow.done():
            stop.set()

    def weights(message: ModelMessage) -> list[Array]:
        with watching.phase("weights"):
            arrays = read_weights(reader, message, memory_bytes() // 2)  # they are held twice: as they came, and in the model
        # What comes after needs it.
        awaited(tensorflow, Patience("TensorFlow, which loads,", settings.load_limit_s, "LOAD_LIMIT_S"))
        return arrays

    stopping.then(stop_fit)
    with ExitStack() as stack:
        kind = KINDS[settings.case](settings, stop, stack)
        try:
            admin = stack.enter_context(Admin(settings.cloud, federation.group, settings.answer_limit_s))
            reader = stack.enter_context(Reader(settings.cloud, federation.group, settings.answer_limit_s))
            writer = stack.enter_context(_writer(settings, reader))
            rounds, sink = _ends(settings, stack, reader, admin, writer, lambda: _check(tensorflow, *kind.streams))
            count = take_part(
                rounds=rounds,
                engine=KafkaModelEngine(
                    weights,
                    memory_bytes=memory_bytes(),
                    allows_code=settings.allow_model_code,
                    build_limit_s=settings.load_limit_s,
                ),
                train=kind.train,
                sink=sink,
                client=federation.group,
                returns_received=settings.non_finite == RETURN,
                answered=kind.answered,
            )
        except (KafkaError, ChainError, LimitError):
            _check(tensorflow, *kind.streams)  # a fault of theirs came first, and may be one that no restart mends
            raise
    log.info("federation done rounds=%d", count)


def _ends(
    settings: Settings, stack: ExitStack, reader: Reader, admin: Admin, writer: Writer, meanwhile: Callable[[], None]
) -> tuple[Rounds, Sink]:
    """Where rounds come from, and where replies go."""
    sink = FederatedKafkaMLAggregationSink(writer, admin, settings.federation)
    if settings.chain is not None:
        # A reply that was not committed is none: what a contract is told of has to be there for every reader.
        replies = ReplyLog(_opener(settings, READ_COMMITTED), settings.federation)
        return join_contract(settings, settings.chain, reader, replies, sink, meanwhile)
    control = ControlTopic(
        reader,
        admin,
        settings.federation,
        settings.wait_limit_s,
        delivery=_delivery(settings, reader, writer),
        meanwhile=meanwhile,
    )
    stack.callback(_tell_skipped, control)
    return control, sink


def _writer(settings: Settings, reader: Reader) -> Writer:
    transactions = None
    if settings.delivery == "exactly-once":
        transactions = Transactions(reader.membership, settings.transaction_limit_s)
    else:
        log.warning(
            "DELIVERY=at-least-once: a worker that ends between its reply and the commit finds the reply when it starts again, "
            "and a worker that was replaced while it was cut off may still reply beside its successor"
        )
    return Writer(settings.cloud, settings.federation.group, settings.answer_limit_s, transactions)


def _delivery(settings: Settings, reader: Reader, writer: Writer) -> Delivery:
    replies = ReplyLog(_opener(settings, settings.cloud_isolation), settings.federation)
    if settings.delivery == "at-least-once":
        return Delivery(reader, replies.look)
    if settings.cloud_isolation == READ_COMMITTED:
        return Delivery(writer)  # a reply that it has read is committed, and so is the offset
    return Delivery(writer, replies.look)


def _opener(settings: Settings, isolation: Isolation) -> Callable[[], Reader]:
    return lambda: Reader(settings.cloud, settings.federation.group, settings.answer_limit_s, isolation)


def _check(*works: Future[Any]) -> None:
    """Raise what work in the background has failed with: a wait for the cloud must not hide it."""
    for work in works:
        if work.done():
            work.result()


def _tell_skipped(control: ControlTopic) -> None:
    if control.skipped:
        log.warning("messages of the cloud could not be understood skipped_messages=%d", control.skipped)
