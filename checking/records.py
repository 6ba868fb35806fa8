"""The records at the ends of a stream, decoded: what a model would get to see."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import final

import numpy as np

from checking.desk import Desk
from checking.findings import Finding, notice, passed
from config import FAIL
from decoders import Decoder
from protocol.errors import DataError
from protocol.records import Array, BadRecord, RecordBatch
from protocol.stream_spec import OffsetRange
from protocol.words import shown
from transport.interfaces import LogReader, Record
from transport.stream import Counts, batch_of

MOST = 1_000  # records that are looked at, at the beginnings of all partitions,
MOST_BYTES = 4_000_000  # or so many bytes of them; and the last one of each
STEPS_BACK = (1, 10, 100, 1_000, 10_000)  # offsets before the end: that of a transaction's end, and gaps, are no records
MOST_SCHEMAS = 10  # that are named
MOST_LABELS = 20  # different ones that are counted


def records(variable: str, desk: Desk) -> Iterator[Finding]:
    """Decode the first records of each partition and its last one, and show what comes of them."""
    is_labelled = variable == "DATA_TOPIC"
    settings = replace(desk.settings, answer_limit_s=desk.limit_s)
    seen = _Seen(settings.decoder() if is_labelled or desk.decoder is None else desk.decoder.of_values())
    counts, ranges = Counts(), desk.ranges[variable]
    if not ranges:
        return  # of a stream that goes on, and has nothing new
    for one in ranges:
        for found in _ends(desk.reader, one, MOST // len(ranges), MOST_BYTES // len(ranges)):
            batch = batch_of(one.topic, one.partition, found, counts, needs_key=is_labelled)
            if len(batch):
                seen.add(batch)
    if counts.tombstones or counts.keyless:
        yield notice(
            f"no samples, and left out: without a value={counts.tombstones} without a key, which is the label={counts.keyless}"
        )
    if not len(seen) and not seen.bad:
        raise DataError(f"{variable}: no record of those looked at has a value{' and a key' if is_labelled else ''}")
    yield from _bad(desk, seen)
    if is_labelled:
        desk.decoder = seen.decoder
    total = sum(one.end - one.start for one in ranges)
    yield passed(f"decoded={len(seen)} of {total}, the first ones of each partition and its last")
    if seen.decoder.schemas():
        yield passed(f"written by {', '.join(seen.decoder.schemas()[:MOST_SCHEMAS])}")
    yield from _told("features", np.concatenate(seen.features), counts_values=False)
    if is_labelled:
        yield from _told("labels", np.concatenate(seen.labels), counts_values=True)


def _bad(desk: Desk, seen: _Seen) -> Iterator[Finding]:
    """What is to be said of records that cannot be decoded.

    Raises:
        DataError: the worker would end with them.
    """
    settings, bad = desk.settings, seen.bad
    if not bad:
        return
    told = f"{len(bad)} of {len(seen) + len(bad)} records looked at cannot be decoded, the first: {bad[0]}"
    if settings.bad_records == FAIL or not len(seen):
        raise DataError(
            f"{told}; mend INPUT_FORMAT and INPUT_CONFIG, or what writes the stream; BAD_RECORDS=skip would leave a few out"
        )
    yield notice(f"{told}; BAD_RECORDS_LIMIT={settings.bad_records_limit:g} is the share of the whole stream that may")


@final
class _Seen:
    """What decoding has made of the records."""

    def __init__(self, decoder: Decoder) -> None:
        self.decoder = decoder
        self.features: list[Array] = []
        self.labels: list[Array] = []
        self.bad: list[BadRecord] = []

    def __len__(self) -> int:
        return sum(map(len, self.features))

    def add(self, batch: RecordBatch) -> None:
        sifted = self.decoder.sift(batch)
        self.bad += [BadRecord(batch.topic, batch.partition, batch.offsets[index], reason) for index, reason in sifted.bad]
        if sifted.samples is not None:
            self.features.append(sifted.samples.features)
            self.labels.append(sifted.samples.labels)


def _ends(reader: LogReader, one: OffsetRange, most: int, most_bytes: int) -> Iterator[list[Record]]:
    """Records at the beginning of a range, at least one, and its last one where that is not among them."""
    left, behind = max(1, most), one.start
    with contextlib.closing(reader.read(one)) as beginning:  # type: ignore[type-var]  # it is a generator
        for found in beginning:
            part = found[:left]
            yield part
            behind = (part[-1].offset() or 0) + 1
            left -= len(part)
            most_bytes -= sum(len(record.value() or b"") for record in part)
            if left <= 0 or most_bytes <= 0:
                break
    for back in STEPS_BACK:
        start = max(behind, one.end - back)
        last = [record for found in reader.read(OffsetRange(one.topic, one.partition, start, one.end)) for record in found]
        if last:
            yield last[-1:]
        if last or start == behind:
            return


def _told(name: str, array: Array, *, counts_values: bool) -> Iterator[Finding]:
    """The dtype and shape of samples' one side, with its range, or how often each value is there."""
    is_number = array.dtype != object
    what = f"{name}: {array.dtype if is_number else 'text'}, shape {array.shape[1:]}"
    counts = Counter(array.reshape(-1).tolist()) if counts_values and array[0].size == 1 else Counter()
    finite = array[np.isfinite(array)] if is_number else array[:0]
    if 0 < len(counts) <= MOST_LABELS:
        yield passed(f"{what}, {' '.join(f'{_shown(value)}={counts[value]}' for value in sorted(counts))}")
    else:
        yield passed(f"{what}, from {finite.min():g} to {finite.max():g}" if finite.size else what)
    if is_number and finite.size < array.size:
        yield notice(f"{name} hold NaN or infinity, with which a fit diverges: let the device leave such records out")


def _shown(value: object) -> str:
    if isinstance(value, bytes):
        return shown(value.decode(errors="replace"))
    return f"{value:g}" if isinstance(value, float) else str(value)
