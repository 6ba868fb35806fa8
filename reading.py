"""The streams of a Job, each read once from the edge's Kafka, decoded and kept."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TypeVar

import watching
from config import Settings
from decoders import Decoder
from federated_singleClassicTraining import keep_stream, keep_unlabelled
from protocol.records import RecordBatch
from protocol.stream_spec import StreamRange
from sieve import Sieve
from training.datasets import FitData
from training.stopping import Stop
from training.store import Store
from training.unlabelled import Unlabelled
from transport.admin import Admin
from transport.bad_records import BadRecordTopic, await_bad_record_topic, hand_over
from transport.patience import PROGRESS_EVERY_S
from transport.positions import StreamPositions
from transport.reader import Reader
from transport.sameness import same_topics
from transport.stream import Counts, read_stream, resolve, tell_left_out
from transport.windows import MovingStream
from transport.writer import Writer
from utils import give_back_memory, memory_bytes, without_collection

log = logging.getLogger(__name__)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Wanted:
    """A stream to read.

    Attributes:
        variable: that its spec stands in.
        decoder: of its records.
        memory_bytes: what it may take in memory.
    """

    variable: str
    spec: Sequence[StreamRange]
    decoder: Decoder
    memory_bytes: int
    is_labelled: bool


def keep_labelled_stream(settings: Settings, decoder: Decoder, stop: Stop) -> FitData:
    """Read the labelled stream once, decode and keep it.

    Args:
        decoder: a new one; what INPUT_CONFIG leaves open it has settled afterwards.

    Raises:
        WorkerError: as reading, decoding and keeping have it.
    """
    wanted = _Wanted("DATA_TOPIC", settings.stream, decoder, stream_memory(settings), is_labelled=True)
    data, counts = _keep(settings, wanted, lambda batches, store, sieve: keep_stream(settings, batches, store, sieve, stop))
    if settings.total_msg is not None and settings.total_msg != counts.records:
        log.warning("TOTAL_MSG=%d, and the stream has %d records with value and key", settings.total_msg, counts.records)
    return data


def keep_unlabelled_stream(settings: Settings, decoder: Decoder, labelled: FitData, stop: Stop) -> Unlabelled:
    """Read the unlabelled stream once, decode and keep it, in what the labelled one has left of DATA_MEMORY_LIMIT.

    Args:
        decoder: that of the labelled stream, which has been read.

    Raises:
        WorkerError: as reading, decoding and keeping have it.
    """
    left = stream_memory(settings) - labelled.kept.memory_bytes
    wanted = _Wanted("UNSUPERVISED_TOPIC", settings.unsupervised_stream or (), decoder.of_values(), left, is_labelled=False)
    unlabelled, _counts = _keep(settings, wanted, lambda batches, store, sieve: keep_unlabelled(batches, store, sieve, stop))
    return unlabelled


def stream_memory(settings: Settings) -> int:
    """Bytes that decoded streams may take in memory, all together."""
    total = memory_bytes()
    return min(settings.data_memory.of(total), total)


def open_moving_stream(settings: Settings, stack: ExitStack) -> MovingStream:
    """Open the stream that is read window by window.

    Raises:
        WorkerError: as opening has it.
    """
    of_data = (settings.data, settings.federation.stream_group, settings.answer_limit_s)
    topics, reader = stack.enter_context(Admin(*of_data)), stack.enter_context(Reader(*of_data))
    bad_records = None
    if settings.bad_record_topic is not None:
        await_bad_record_topic(reader, settings.bad_record_topic, settings.answer_limit_s)
        bad_records = BadRecordTopic(reader, stack.enter_context(Writer(*of_data)), settings.bad_record_topic)
    variable, spec = settings.moving_stream
    where = StreamPositions(reader, topics, spec, settings.answer_limit_s, variable)
    where.find(None)  # what is not there, or not allowed, is told before there is a model
    return MovingStream(
        reader,
        where,
        spec,
        settings.windows,
        settings.wait_limit_s,
        bad_records=bad_records,
        variable=variable,
        needs_key=spec is settings.stream,
    )


def _keep(settings: Settings, wanted: _Wanted, keep: Callable[[Iterable[RecordBatch], Store, Sieve], T]) -> tuple[T, Counts]:
    counts = Counts()
    of_data = (settings.data, settings.federation.group, settings.answer_limit_s)
    phase = watching.phase("read" if wanted.is_labelled else "read unlabelled")
    with phase, without_collection(), Admin(*of_data) as topics, Reader(*of_data) as reader:  # both connect at once
        if settings.bad_record_topic is not None:
            await_bad_record_topic(reader, settings.bad_record_topic, settings.answer_limit_s)
        ranges = resolve(reader, wanted.spec, settings.answer_limit_s, wanted.variable)
        most = sum(one.end - one.start for one in ranges)
        sieve = settings.sieve(most, wanted.decoder)
        batches = read_stream(reader, ranges, counts, needs_key=wanted.is_labelled)
        with (
            Store(most, wanted.memory_bytes, settings.spill_folder) as store,
            same_topics(topics, {one.topic for one in ranges}),
        ):
            kept = keep(_told(batches, counts, most), store, sieve)
        if settings.bad_record_topic is not None and sieve.bad:
            with Writer(*of_data) as writer:
                hand_over(reader, writer, settings.bad_record_topic, sieve.bad)
    give_back_memory()  # what the client's queue took
    name = "stream" if wanted.is_labelled else "unlabelled stream"
    log.info("%s read records=%d from %s", name, counts.records, ", ".join(map(str, ranges)))
    tell_left_out(counts.tombstones, counts.keyless)
    return kept, counts


def _told(batches: Iterable[RecordBatch], counts: Counts, most: int) -> Iterator[RecordBatch]:
    """The same batches, with a line in the log now and then."""
    told = time.monotonic()
    for batch in batches:
        yield batch
        if time.monotonic() - told >= PROGRESS_EVERY_S:
            told = time.monotonic()
            log.info("reading the stream records=%d of=%d", counts.records, most)
