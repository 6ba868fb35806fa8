"""The edge's topics: are they there, may they be read, and do they have the offsets that the settings name?"""

from __future__ import annotations

from collections.abc import Iterator

from checking.desk import Desk, near
from checking.findings import Finding, faults, notice, passed, waits
from protocol.errors import DataError, LimitError, WorkerError
from protocol.stream_spec import OffsetRange, StreamRange
from training.split import split

FEW = 4  # ranges that are named each
COPY_BYTES = 1_000  # that a bad record's copy has more than it


def stream(variable: str, desk: Desk) -> Iterator[Finding]:
    """A stream's topics, this client's right to read them, and their offsets."""
    look = _moving if desk.is_moving(variable) else _bounded
    ranges: list[OffsetRange] = []
    is_whole = True
    for one in desk.spec(variable):
        try:
            partitions = _partitions(desk, variable, one)
            desk.edge.check_readable(one.topic)
        except WorkerError as exc:
            is_whole = False
            yield from faults(exc)
            continue
        for partition in partitions:
            try:
                found, warning = look(desk, variable, one, partition)
            except WorkerError as exc:
                is_whole = False
                yield from faults(exc)
                continue
            ranges.append(found)
            if warning:
                yield notice(warning)
    if not is_whole:
        return
    desk.ranges[variable] = [one for one in ranges if one.end > one.start]
    total = _offsets(ranges)
    named = ", ".join(map(str, ranges)) if len(ranges) <= FEW else f"{len(ranges)} partitions of {variable}"
    if total:
        yield passed(f"{named}, offsets={total}")
    elif desk.is_moving(variable):
        yield waits(f"{named} has nothing new yet")
    else:
        raise DataError(f"{variable}: {named} holds no record: has the device written its stream?")


def parts(desk: Desk) -> Iterator[Finding]:
    """What the labelled stream is cut into, where it is whole before training begins."""
    settings, total = desk.settings, _offsets(desk.ranges["DATA_TOPIC"])
    found = split(total, validation_rate=settings.validation_rate, test_rate=settings.test_rate)
    sizes = f"training={len(found.training)} validation={len(found.validation)} test={len(found.test)}"
    yield passed(f"{sizes}, if each offset is a record")
    if settings.total_msg is not None and settings.total_msg != total:
        yield notice(
            f"TOTAL_MSG={settings.total_msg}, by which a cloud weighs this client, and the stream has {total} offsets; the "
            "end of a transaction, and gaps, are no records"
        )


def bad_record_topic(desk: Desk) -> Iterator[Finding]:
    """The topic of BAD_RECORDS: is it there, may it be read and written, and does it take and keep what it gets?"""
    edge, topic = desk.edge, desk.settings.bad_records
    if not edge.partitions(topic):
        raise LimitError(
            f"BAD_RECORDS: {topic} is no topic on {desk.settings.data}: make it, with a retention that suits the data, or set "
            "BAD_RECORDS to fail or skip"
        )
    edge.check_readable(topic)
    edge.check_writable(topic)
    yield passed(f"{topic} may be read and written")
    if "compact" in (edge.setting(topic, "cleanup.policy") or ""):
        yield notice(f"{topic} is compacted, which keeps one record a label: set its cleanup.policy=delete")
    limit = edge.setting(topic, "max.message.bytes")
    for source in sorted({one.topic for ranges in desk.ranges.values() for one in ranges}):
        theirs = edge.setting(source, "max.message.bytes")
        if limit is not None and theirs is not None and int(limit) < int(theirs):
            yield notice(
                f"{topic} takes messages of {limit} bytes, {source} of {theirs}, and a copy is up to {COPY_BYTES} larger: "
                f"where records are so large, set its max.message.bytes={int(theirs) + COPY_BYTES}"
            )


def _partitions(desk: Desk, variable: str, one: StreamRange) -> list[int]:
    """Those that a part of a spec means."""
    there = desk.edge.partitions(one.topic)
    if not there:
        others = [name for name in desk.edge.overview()[1] if not name.startswith("FED-")]
        raise LimitError(
            f"{variable}: {one.topic} is no topic on {desk.settings.data}: mend the name, or let the device write its stream "
            f"there{near(one.topic, others)}"
        )
    if one.partition is None:
        return there
    if one.partition not in there:
        raise LimitError(
            f"{variable}={one}: {one.topic} has no partition {one.partition}, its last is {there[-1]}; no number means all"
        )
    return [one.partition]


def _bounded(desk: Desk, variable: str, one: StreamRange, partition: int) -> tuple[OffsetRange, str]:
    """The records of a partition that are read once.

    Raises:
        DataError: some of them are gone, or the spec is of another log.
        LimitError: some have not come yet.
    """
    low, high = desk.reader.bounds(one.topic, partition)
    start, end = low if one.start is None else one.start, high if one.end is None else one.end
    found = OffsetRange(one.topic, partition, start, end)
    holds = f"has offsets {low} to {high - 1}" if high > low else f"is empty at {high}"
    log = f"the log of {one.topic}[{partition}] {holds}"
    if start < low and start < end:
        raise DataError(
            f"{variable}={one}: {log}, and {start} to {min(low, end) - 1} are gone by retention: write the stream again, "
            "or keep it longer (retention.ms and retention.bytes of the topic)"
        )
    if end < start:
        raise DataError(f"{variable}={one}: {log}, and ends before the spec begins: it is of another stream")
    if end > high:
        fewer = f"{one.topic}:{partition}:{start}:{high}"
        remedy = f"give {fewer}, or let the device write on" if start < high else "let the device write there, or mend the spec"
        raise LimitError(f"{variable}={one}: {log}, and {end - max(start, high)} of the spec's are not there: {remedy}")
    return found, ""


def _moving(desk: Desk, variable: str, one: StreamRange, partition: int) -> tuple[OffsetRange, str]:
    """What a partition has that is not trained on, and what is to be said of it.

    Raises:
        DataError: the spec is of another log.
    """
    low, high = desk.reader.bounds(one.topic, partition)
    place, committed = f"{one.topic}[{partition}]", desk.reader.committed(one.topic, partition)
    if committed is not None:
        start, warning = committed[0], f"{place} goes on at {committed[0]}, up to where it has been trained on"
    else:
        start, warning = low if one.start is None else one.start, ""
        if start > high:
            raise DataError(f"{variable}={one}: the log of {place} ends at {high}, and the spec begins behind it: mend it")
    if start < low:
        warning = f"{place} goes on at {low}: retention has removed {start} to {low - 1}; train more often, or keep it longer"
    return OffsetRange(one.topic, partition, min(max(start, low), high), high), warning


def _offsets(ranges: list[OffsetRange]) -> int:
    return sum(one.end - one.start for one in ranges)
