"""The topic that bad records go to: one of the edge's Kafka, since data stays there."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import replace

from protocol.errors import KafkaError, LimitError
from protocol.positions import Positions
from protocol.records import BadRecord
from protocol.stream_spec import OffsetRange
from transport.interfaces import Copier, Copy, LogReader, Record, headers_of, offset_of, partition_of, place
from transport.patience import Patience

log = logging.getLogger(__name__)

SOURCE_TOPIC = "bad-record.topic"
SOURCE_PARTITION = "bad-record.partition"
SOURCE_OFFSET = "bad-record.offset"
REASON = "bad-record.reason"

POLL_S = 0.5
NEAR = 1_000  # offsets: to read over so many costs less than to begin anew behind them

_Place = tuple[str, int, int]


def await_bad_record_topic(reader: LogReader, topic: str, limit_s: float) -> None:
    """Wait until the topic is there; it is not made: what it keeps, and for how long, is for whoever owns the data.

    Raises:
        LimitError: it does not come.
    """
    deadline = time.monotonic() + limit_s
    patience = Patience(f"BAD_RECORDS topic {topic}", None)
    while not reader.partitions(topic):
        if time.monotonic() > deadline:
            raise LimitError(
                f"BAD_RECORDS: {topic} is no topic on {reader.cluster} after {limit_s:g} s: make it, with a retention that "
                "suits the data, or set BAD_RECORDS to fail or skip; ANSWER_LIMIT_S sets the limit"
            )
        patience.tick()
        time.sleep(POLL_S)


def hand_over(
    reader: LogReader, copier: Copier, topic: str, bad: Sequence[BadRecord], standing: Collection[int] | None = None
) -> None:
    """Copy bad records to a topic as they are, with headers for their source and the reason; all are acknowledged.

    Those that stand there already, from a start of this worker or of another one before, are not copied again.

    Args:
        reader: of the Kafka that the records are on, and the topic too.
        bad: in stream order.
        standing: marks of those that stand there; None = to be looked for.

    Raises:
        KafkaError: the topic is gone; or one of them was refused, or not acknowledged in time.
    """
    reasons = {(one.topic, one.partition, one.offset): one.reason for one in bad}
    partitions = len(reader.partitions(topic))
    if not partitions:
        raise KafkaError(f"BAD_RECORDS: {topic} is gone from {reader.cluster}, and was there when reading began: make it again")
    there = set(_standing(reader, topic, reasons.__contains__)) if standing is None else standing
    copies = (
        _copy(record, reasons[_place(record)], partitions)
        for record in _again(reader, bad)
        if _place(record) in reasons and _mark(_place(record), record) not in there
    )
    copied = copier.copy(topic, copies)
    log.warning("bad records copied to %s=%d, there already=%d", topic, copied, len(bad) - copied)


def _again(reader: LogReader, bad: Iterable[BadRecord]) -> Iterator[Record]:
    """Read bad records once more, with others between them: of what is decoded no more is kept than decoding needs."""
    for run in runs(bad):
        for records in reader.read(run):
            yield from records


def runs(bad: Iterable[BadRecord]) -> Iterator[OffsetRange]:
    """Ranges that hold all of them, one for those that stand near each other."""
    run: OffsetRange | None = None
    for one in bad:
        if run is not None and (one.topic, one.partition) == (run.topic, run.partition) and one.offset - run.end < NEAR:
            run = replace(run, end=one.offset + 1)
            continue
        if run is not None:
            yield run
        run = OffsetRange(one.topic, one.partition, one.offset, one.offset + 1)
    if run is not None:
        yield run


class BadRecordTopic:
    """Takes the bad records of a moving stream, window by window.

    What stands there already is looked for once, and only behind the position of the round: what a former life of this worker
    has copied of rounds that it did not answer.
    """

    def __init__(self, reader: LogReader, copier: Copier, topic: str) -> None:
        self._reader = reader
        self._copier = copier
        self._topic = topic
        self._start: Positions | None = None
        self._standing: set[int] | None = None

    def begin(self, start: Positions | None) -> None:
        """Begin a round at a position, which is that of the round before where that one came to nothing."""
        if start == self._start:
            self._standing = None
        self._start = start

    def take(self, bad: Sequence[BadRecord]) -> None:
        """Copy those of a window, in stream order."""
        if self._standing is None:
            offsets = {} if self._start is None else self._start.offsets

            def is_behind(source: _Place) -> bool:
                return source[2] >= offsets.get(source[:2], 0)

            self._standing = set(_standing(self._reader, self._topic, is_behind))
        hand_over(self._reader, self._copier, self._topic, bad, self._standing)


def _standing(reader: LogReader, topic: str, is_wanted: Callable[[_Place], bool]) -> Iterator[int]:
    """Marks of those copies that the topic has, of the sources that are wanted."""
    for partition in reader.partitions(topic):
        low, high = reader.bounds(topic, partition)
        for records in reader.read(OffsetRange(topic, partition, low, high), gone=LimitError):
            for record in records:
                source = _source(record)
                if source is not None and is_wanted(source):
                    yield _mark(source, record)


def _source(record: Record) -> _Place | None:
    headers = dict(headers_of(record) or ())
    try:
        topic, partition, offset = (headers[name] or b"" for name in (SOURCE_TOPIC, SOURCE_PARTITION, SOURCE_OFFSET))
        return topic.decode(), int(partition), int(offset)
    except (KeyError, ValueError):  # somebody else's
        return None


def _place(record: Record) -> _Place:
    return *partition_of(record), offset_of(record)


def _mark(source: _Place, record: Record) -> int:
    """Tells copies of one record from those of another, also where a topic was made anew and its offsets began again."""
    return hash((source, record.key(), record.value()))


def _copy(record: Record, reason: str, partitions: int) -> Copy:
    topic, partition, offset = _place(record)
    headers = headers_of(record)
    if headers is None:
        log.warning("%s is copied without its own headers: their names are no text", place(record))
    _kind, timestamp_ms = record.timestamp()
    source = {SOURCE_TOPIC: topic, SOURCE_PARTITION: partition, SOURCE_OFFSET: offset, REASON: reason}
    return Copy(
        key=record.key(),
        value=record.value(),
        partition=partition % partitions,  # so that records of one partition stay in order
        timestamp_ms=timestamp_ms,
        headers=[*(headers or ()), *((name, str(value).encode()) for name, value in source.items())],
    )
