"""Which parts make a worker: settings → parts → rounds."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, wait
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, TypeVar

from config import MACHINE_NAME, RETURN, Settings, quieten_tensorflow
from ending import Stopping
from federated_mainTraining import Train, Trained, take_part
from federated_singleClassicTraining import keep_stream, single_classic
from federated_singleIncrementalTraining import single_incremental
from FederatedKafkaMLAggregationSink import FederatedKafkaMLAggregationSink
from KafkaModelEngine import KafkaModelEngine
from protocol.errors import KafkaError, LimitError
from protocol.messages import ModelMessage
from protocol.records import Array, RecordBatch
from training.datasets import FitData
from training.stopping import Stop
from training.store import Store
from transport.admin import Admin
from transport.bad_records import BadRecordTopic, await_bad_record_topic, hand_over
from transport.clients import READ_COMMITTED
from transport.control import ControlTopic, Delivery
from transport.patience import PROGRESS_EVERY_S, Patience
from transport.positions import StreamPositions
from transport.reader import Reader
from transport.replies import ReplyLog
from transport.sameness import same_topics
from transport.stream import Counts, read_stream, resolve
from transport.weights import read_weights
from transport.windows import MovingStream
from transport.writer import Transactions, Writer
from utils import configure_logging, in_background, memory_bytes, prepare_tensorflow, without_collection

log = logging.getLogger(__name__)

POLL_S = 0.5

T = TypeVar("T")


def run(stopping: Stopping) -> None:
    """Take part in the federation that the environment names, to its last round.

    Three things take long, and go on beside each other: TensorFlow loads, the stream is read, a model is awaited.

    Raises:
        WorkerError: with the exit status that it means.
    """
    settings = Settings.from_env()
    configure_logging(settings.log_level)
    log.info("settings %s", settings.summary())
    if settings.client_id_source == MACHINE_NAME:
        log.warning("FEDERATED_CLIENT_ID and HOSTNAME are not set: a second worker on this machine would be the same client")
    federation = settings.federation
    quieten_tensorflow()
    tensorflow = in_background("tensorflow", prepare_tensorflow)
    stop = Stop()

    def stop_fit() -> None:
        if tensorflow.done():
            stop.set()

    def weights(message: ModelMessage) -> list[Array]:
        arrays = read_weights(reader, message, memory_bytes() // 2)  # they are held twice: as they came, and in the model
        # What comes after needs it.
        _awaited(tensorflow, Patience("TensorFlow, which loads,", settings.load_limit_s, "LOAD_LIMIT_S"))
        return arrays

    stopping.then(stop_fit)
    with ExitStack() as stack:
        kind = KINDS[settings.case](settings, stop, stack)
        try:
            reader = stack.enter_context(Reader(settings.cloud, federation.group, settings.answer_limit_s))
            admin = stack.enter_context(Admin(settings.cloud, federation.group, settings.answer_limit_s))
            writer = stack.enter_context(_writer(settings, reader))
            control = ControlTopic(
                reader,
                admin,
                federation,
                settings.wait_limit_s,
                delivery=_delivery(settings, reader, writer),
                meanwhile=lambda: _check(tensorflow, kind.stream),
            )
            stack.callback(_tell_skipped, control)
            rounds = take_part(
                rounds=control,
                engine=KafkaModelEngine(weights, memory_bytes=memory_bytes(), allows_code=settings.allow_model_code),
                train=kind.train,
                sink=FederatedKafkaMLAggregationSink(writer, admin, federation),
                client=federation.group,
                returns_received=settings.non_finite == RETURN,
                answered=kind.answered,
            )
        except (KafkaError, LimitError):
            _check(tensorflow, kind.stream)  # a fault of theirs came first, and may be one that no restart mends
            raise
    log.info("federation done rounds=%d", rounds)


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
    def open_reader() -> Reader:
        return Reader(settings.cloud, settings.federation.group, settings.answer_limit_s, settings.cloud_isolation)

    if settings.delivery == "at-least-once":
        return Delivery(reader, ReplyLog(open_reader, settings.federation).look)
    if settings.cloud_isolation == READ_COMMITTED:
        return Delivery(writer)  # a reply that it has read is committed, and so is the offset
    return Delivery(writer, ReplyLog(open_reader, settings.federation).look)


def _check(*works: Future[Any]) -> None:
    """Raise what work in the background has failed with: a wait for the cloud must not hide it."""
    for work in works:
        if work.done():
            work.result()


def _tell_skipped(control: ControlTopic) -> None:
    if control.skipped:
        log.warning("messages of the cloud could not be understood skipped_messages=%d", control.skipped)


def _awaited(work: Future[T], patience: Patience) -> T:
    """The result of work in the background, waited for in the open."""
    while not work.done():
        patience.tick()
        wait([work], POLL_S)
    return work.result()


def keep_labelled_stream(settings: Settings, stop: Stop) -> FitData:
    """Read the labelled stream once, decode and keep it.

    Raises:
        WorkerError: as reading, decoding and keeping have it.
    """
    counts = Counts()
    of_data = (settings.data, settings.federation.group, settings.answer_limit_s)
    with without_collection(), Reader(*of_data) as reader, Admin(*of_data) as topics:
        if settings.bad_record_topic is not None:
            await_bad_record_topic(reader, settings.bad_record_topic, settings.answer_limit_s)
        ranges = resolve(reader, settings.stream, settings.answer_limit_s)
        total = memory_bytes()
        memory = min(settings.data_memory.of(total), total)
        most = sum(one.end - one.start for one in ranges)
        sieve = settings.sieve(most)
        with Store(most, memory, settings.spill_folder) as store, same_topics(topics, {one.topic for one in ranges}):
            data = keep_stream(settings, _told(read_stream(reader, ranges, counts), counts, most), store, sieve, stop)
        if settings.bad_record_topic is not None and sieve.bad:
            with Writer(*of_data) as writer:
                hand_over(reader, writer, settings.bad_record_topic, sieve.bad)
    log.info("stream read records=%d from %s", counts.records, ", ".join(map(str, ranges)))
    if counts.tombstones or counts.keyless:
        log.warning(
            "left out tombstones=%d and records without a key=%d: they are no samples", counts.tombstones, counts.keyless
        )
    if settings.total_msg is not None and settings.total_msg != counts.records:
        log.warning("TOTAL_MSG=%d, and the stream has %d records with value and key", settings.total_msg, counts.records)
    return data


def _told(batches: Iterable[RecordBatch], counts: Counts, most: int) -> Iterator[RecordBatch]:
    """The same batches, with a line in the log now and then."""
    told = time.monotonic()
    for batch in batches:
        yield batch
        if time.monotonic() - told >= PROGRESS_EVERY_S:
            told = time.monotonic()
            log.info("reading the stream records=%d of=%d", counts.records, most)


def open_moving_stream(settings: Settings, stack: ExitStack) -> MovingStream:
    """Open the stream that is read window by window.

    Raises:
        WorkerError: as opening has it.
    """
    of_data = (settings.data, settings.federation.stream_group, settings.answer_limit_s)
    reader, topics = stack.enter_context(Reader(*of_data)), stack.enter_context(Admin(*of_data))
    bad_records = None
    if settings.bad_record_topic is not None:
        await_bad_record_topic(reader, settings.bad_record_topic, settings.answer_limit_s)
        bad_records = BadRecordTopic(reader, stack.enter_context(Writer(*of_data)), settings.bad_record_topic)
    where = StreamPositions(reader, topics, settings.stream, settings.answer_limit_s)
    where.find(None)  # what is not there, or not allowed, is told before there is a model
    return MovingStream(reader, where, settings.stream, settings.windows, settings.wait_limit_s, bad_records=bad_records)


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of training at work.

    Attributes:
        stream: what it trains on, which is read or opened in the background.
        answered: what it does when a reply stands.
    """

    stream: Future[Any]
    train: Train
    answered: Callable[[Trained], object] = lambda _trained: None


def _single_classic(settings: Settings, stop: Stop, _stack: ExitStack) -> Kind:
    stream = in_background("stream", lambda: keep_labelled_stream(settings, stop))

    def data() -> FitData:
        return _awaited(stream, Patience("the labelled stream to be read", None))  # every wait of reading has its own limit

    return Kind(stream, single_classic(settings, data))


def _single_incremental(settings: Settings, stop: Stop, stack: ExitStack) -> Kind:
    opened = in_background("stream", lambda: open_moving_stream(settings, stack))

    def stream() -> MovingStream:
        return _awaited(opened, Patience("the stream to be opened", None))  # as above

    def answered(trained: Trained) -> None:
        if trained.positions is not None:
            stream().commit(trained.positions)

    total = memory_bytes()
    train = single_incremental(settings, stream, stop, min(settings.data_memory.of(total), total))
    return Kind(opened, train, answered)


KINDS: dict[int, Callable[[Settings, Stop, ExitStack], Kind]] = {1: _single_classic, 2: _single_incremental}
