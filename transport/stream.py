"""Streams of samples, read once from the edge's Kafka in partition and offset order."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import cast

import watching
from protocol.errors import DataError, LimitError
from protocol.records import RecordBatch
from protocol.stream_spec import OffsetRange, StreamRange
from transport.interfaces import LogReader, Record, offset_of
from transport.patience import Patience
from watching import RecordsRead

log = logging.getLogger(__name__)

POLL_S = 0.5


@dataclass(slots=True)
class Counts:
    """What was met on the stream.

    Attributes:
        records: handed on, each with a value, and a key where it must have one.
        tombstones: without a value, left out.
        keyless: without a key, so without a label, left out.
    """

    records: int = 0
    tombstones: int = 0
    keyless: int = 0


def resolve(
    reader: LogReader, spec: Sequence[StreamRange], answer_limit_s: float, variable: str = "DATA_TOPIC"
) -> list[OffsetRange]:
    """What a spec means now: topics in its order, then partitions, then offsets.

    An open start is the log's first offset, an open end the one after its last record at this moment.

    Args:
        variable: that holds the spec, for errors.

    Raises:
        LimitError: a topic or partition is not there.
        DataError: an open end lies before the start that the spec gives.
    """
    topics = list(dict.fromkeys(one.topic for one in spec))
    ranges = []
    for one in spec:
        for partition in await_partitions(reader, one, answer_limit_s, variable):
            start, end = one.start, one.end
            if start is None or end is None:
                low, high = reader.bounds(one.topic, partition)
                start, end = low if start is None else start, high if end is None else end
            if end < start:
                raise DataError(
                    f"{variable} starts at offset {start} of {one.topic}[{partition}], and its log ends at {end}: "
                    "the spec is of another stream, or the topic was made anew"
                )
            ranges.append(OffsetRange(one.topic, partition, start, end))
    return sorted(ranges, key=lambda one: (topics.index(one.topic), one.partition, one.start))


def read_stream(
    reader: LogReader, ranges: Sequence[OffsetRange], counts: Counts, *, needs_key: bool = True
) -> Iterator[RecordBatch]:
    """Yield the records of the ranges in batches, and count what is met.

    Args:
        needs_key: leave out records without a key, as a label is one; else keys come as they are, or as none.

    Raises:
        DataError: retention has removed some of the offsets.
        LimitError: some did not arrive.
    """
    for one in ranges:
        for messages in reader.read(one):
            batch = batch_of(one.topic, one.partition, messages, counts, needs_key=needs_key)
            if len(batch):
                yield batch


def tell_left_out(tombstones: int, keyless: int) -> None:
    """Warn of records that are no samples, where there were some."""
    if tombstones or keyless:
        log.warning("left out tombstones=%d and records without a key=%d: they are no samples", tombstones, keyless)


def batch_of(topic: str, partition: int, records: Sequence[Record], counts: Counts, *, needs_key: bool = True) -> RecordBatch:
    """The records of one partition that have a value, and a key where one is needed, as a batch, which may be empty.

    Whatever was met is counted.
    """
    # Columns, and one question to all: a call for each record and thing to know of it would cost as much as reading it.
    values = [record.value() for record in records]
    keys = [record.key() for record in records]
    if not (all(values) and (all(keys) or not needs_key)):  # empty ones, which are for the decoder to judge, or none at all
        wanted = [
            _counts(value, b"" if key is None and not needs_key else key, counts)
            for value, key in zip(values, keys, strict=True)
        ]
        records = [record for record, is_wanted in zip(records, wanted, strict=True) if is_wanted]
        values = [record.value() for record in records]
        keys = [record.key() for record in records]
    counts.records += len(records)
    if records and watching.is_watched():
        size = sum(len(one or b"") for column in (keys, values) for one in column)
        watching.tell(RecordsRead(topic, len(records), size))
    return RecordBatch(topic, partition, _offsets(records), cast("list[bytes]", keys), cast("list[bytes]", values))


def _counts(value: bytes | None, key: bytes | None, counts: Counts) -> bool:
    """Whether a record has both; what it lacks is counted."""
    counts.tombstones += value is None
    counts.keyless += value is not None and key is None
    return value is not None and key is not None


def _offsets(records: Sequence[Record]) -> Sequence[int]:
    if not records:
        return ()
    first, last = offset_of(records[0]), offset_of(records[-1])
    return range(first, last + 1) if last - first + 1 == len(records) else [offset_of(record) for record in records]


def await_partitions(reader: LogReader, one: StreamRange, limit_s: float, variable: str = "DATA_TOPIC") -> list[int]:
    """The partitions that a part of a spec means, once they are there.

    Args:
        variable: the setting that the spec comes from.

    Raises:
        LimitError: the topic, or its partition, is not there.
    """
    deadline = time.monotonic() + limit_s
    patience = Patience(f"{variable} {one}", None)
    while True:
        there = reader.partitions(one.topic)
        if one.partition is None and there:
            return there
        if one.partition in there:
            return [one.partition]
        if time.monotonic() > deadline:
            what = f"{one.topic} " + (f"has no partition {one.partition}" if there else "is no topic")
            raise LimitError(
                f"{variable}: {what} on {reader.cluster} after {limit_s:g} s: has the device written its stream there? "
                "ANSWER_LIMIT_S sets the limit"
            )
        patience.tick()
        time.sleep(POLL_S)
