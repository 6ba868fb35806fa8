"""Parts of the same kind in a row, read from all datums of a batch at once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Protocol

import numpy as np

from decoding.avro_trail import LONGEST, Fixed, Mark, Part, UnlikeError, Varint
from decoding.wire_types import DType
from protocol.records import Array

_LAST = 0x80  # a varint's last byte is below it


class Joined:
    """The bytes of n datums, one behind the other, without the header that each has.

    Attributes:
        ends: where each datum ends, (n,).

    Raises:
        UnlikeError: one of them has another header.
    """

    def __init__(self, raws: Sequence[bytes], header: bytes = b"") -> None:
        self.bytes = np.frombuffer(b"".join(raws), np.uint8)
        self.lengths = np.fromiter(map(len, raws), np.int64, len(raws))
        self.ends = np.cumsum(self.lengths)
        if header:
            self._strip(header)

    def _strip(self, header: bytes) -> None:
        if self.lengths.min() < len(header):
            raise UnlikeError
        heads = (self.ends - self.lengths)[:, np.newaxis] + np.arange(len(header))
        if (self.bytes[heads] != np.frombuffer(header, np.uint8)).any():
            raise UnlikeError
        is_datum = np.ones(self.bytes.size, np.bool_)
        is_datum[heads] = False
        self.bytes = self.bytes[is_datum]
        self.lengths = self.lengths - len(header)
        self.ends = np.cumsum(self.lengths)

    @cached_property
    def lasts(self) -> Array:
        """Where varints end, if these bytes are of varints."""
        return np.flatnonzero(self.bytes < _LAST)

    @cached_property
    def ranks(self) -> Array:
        """How many of `lasts` there are up to each byte."""
        return np.cumsum(self.bytes < _LAST, dtype=np.int32)


def without_header(rows: Array, header: bytes) -> Array:
    """Datums of one width (n, width), without the header in front of each.

    Raises:
        UnlikeError: one of them has another one.
    """
    if (rows[:, : len(header)] != np.frombuffer(header, np.uint8)).any():
        raise UnlikeError
    return np.ascontiguousarray(rows[:, len(header) :])


class Run(Protocol):
    """Some parts of a datum.

    Attributes:
        count: numbers in it.
    """

    @property
    def count(self) -> int: ...

    def read(self, joined: Joined, at: Array) -> tuple[Iterable[tuple[slice, Array]], Array]:
        """The numbers of n datums, as (n, k) for each slice of the run's columns, and where the run ends in each datum.

        Args:
            at: where it begins in each, (n,).

        Raises:
            UnlikeError: marks, limits or ends are not met.
        """


@dataclass(frozen=True, slots=True)
class Block:
    """Numbers of one type, at even distances.

    Attributes:
        offset, stride: of the first number, and from one to the next, in bytes of the run.
        column, step: the same in the run's numbers.
    """

    wire: DType
    count: int
    offset: int
    stride: int
    column: int
    step: int = 1

    @property
    def columns(self) -> slice:
        return slice(self.column, self.column + (self.count - 1) * self.step + 1, self.step)

    def read(self, rows: Array) -> Array:
        """Its numbers (n, count) in rows of bytes (n, width)."""
        is_bool = self.wire.kind == "b"  # a byte of 2, seen as a bool, would be neither True nor False
        shape, strides = (len(rows), self.count), (rows.shape[1], self.stride)
        numbers: Array = np.ndarray(shape, np.uint8 if is_bool else self.wire, rows.data, self.offset, strides)
        return numbers != 0 if is_bool else numbers

    def with_next(self, other: Block) -> Block | None:
        """Both in one, where the distances are even."""
        stride = other.offset - self.offset - (self.count - 1) * self.stride
        step = other.column - self.column - (self.count - 1) * self.step
        is_even = all(block.count == 1 or (block.stride, block.step) == (stride, step) for block in (self, other))
        return replace(self, count=self.count + other.count, stride=stride, step=step) if is_even else None


@dataclass(frozen=True, slots=True)
class FixedRun:
    """Numbers of fixed width, and marks.

    Attributes:
        width: in bytes.
        marked, marks: bytes of the run that are alike in all datums, and their values.
    """

    width: int
    count: int
    blocks: tuple[Block, ...]
    marked: Array
    marks: Array

    def read(self, joined: Joined, at: Array) -> tuple[Iterable[tuple[slice, Array]], Array]:
        behind = at + self.width
        if (behind > joined.ends).any():
            raise UnlikeError
        windows: Array = np.ndarray((joined.bytes.size - self.width + 1,), f"V{self.width}", joined.bytes.data, 0, (1,))
        return self.split(windows[at].view(np.uint8).reshape(at.size, self.width)), behind

    def split(self, rows: Array) -> Iterable[tuple[slice, Array]]:
        """The same of n datums' rows of bytes, (n, width)."""
        if self.marks.size and (rows[:, self.marked] != self.marks).any():
            raise UnlikeError
        return ((block.columns, block.read(rows)) for block in self.blocks)


@dataclass(frozen=True, slots=True)
class VarintRun:
    """Varints, some of them marks.

    Attributes:
        low, high: limits of each.
        numbers: which of them are numbers.
    """

    low: Array
    high: Array
    numbers: Array

    @property
    def count(self) -> int:
        return self.numbers.size

    def read(self, joined: Joined, at: Array) -> tuple[Iterable[tuple[slice, Array]], Array]:
        size, lasts = self.low.size, joined.lasts
        if lasts.size != at.size * size:  # else there is nothing but this run
            if (at >= joined.ends).any():
                raise UnlikeError
            first = joined.ranks[at] - (joined.bytes[at] < _LAST)
            if first[-1] + size > lasts.size:
                raise UnlikeError
            lasts = lasts[first[:, np.newaxis] + np.arange(size)]
        lasts = lasts.reshape(at.size, size)
        behind = lasts[:, -1] + 1
        if (lasts[:, 0] < at).any() or (behind > joined.ends).any():
            raise UnlikeError
        lengths = np.empty_like(lasts)
        np.subtract(lasts[:, 0], at - 1, out=lengths[:, 0])
        np.subtract(lasts[:, 1:], lasts[:, :-1], out=lengths[:, 1:])
        values = _varints(joined.bytes, lasts.ravel(), lengths.ravel()).reshape(lasts.shape)
        if (values < self.low).any() or (values > self.high).any():
            raise UnlikeError
        return [(slice(None), values if self.count == size else values[:, self.numbers])], behind


def _varints(wire: Array, lasts: Array, lengths: Array) -> Array:
    """The values of varints that end at `lasts`, flat."""
    longest = int(lengths.max())
    if longest > LONGEST:
        raise UnlikeError
    values = wire[lasts].astype(np.uint64)
    longer = np.arange(values.size)
    for back in range(1, longest):
        longer = longer[lengths[longer] > back]
        values[longer] = (values[longer] << 7) | (wire[lasts[longer] - back] & (_LAST - 1))
    return ((values >> 1) ^ -(values & 1)).view(np.int64)


def make_runs(parts: Sequence[Part]) -> tuple[Run, ...]:
    """The parts of a datum, at least one number; a mark stands with what is in front of it."""
    kind = next(type(part) for part in parts if not isinstance(part, Mark))
    groups: list[list[Part]] = [[]]
    for part in parts:
        if not isinstance(part, (Mark, kind)):
            kind = type(part)
            groups.append([])
        groups[-1].append(part)
    return tuple(_fixed_run(group) if Fixed in map(type, group) else _varint_run(group) for group in groups)


def _varint_run(parts: Sequence[Part]) -> VarintRun:
    limits = [part.limits for part in parts if not isinstance(part, Fixed)]
    numbers = np.flatnonzero([isinstance(part, Varint) and part.is_number for part in parts])
    low, high = np.array(limits).T.copy()
    return VarintRun(low, high, numbers)


def _fixed_run(parts: Sequence[Part]) -> FixedRun:
    width = count = 0
    blocks: list[Block] = []
    latest: dict[DType, int] = {}  # of each type, so that alternating types are two blocks and not hundreds
    marks: list[tuple[int, int]] = []
    for part in parts:
        if isinstance(part, Mark):
            marks += enumerate(part.raw, width)
            width += len(part.raw)
        elif isinstance(part, Fixed):
            block = Block(part.wire, part.count, width, part.wire.itemsize, count)
            index = latest.get(part.wire, len(blocks))
            both = blocks[index].with_next(block) if index < len(blocks) else None
            if both is None:
                latest[part.wire] = len(blocks)
                blocks.append(block)
            else:
                blocks[index] = both
            width += part.wire.itemsize * part.count
            count += part.count
    marked, values = np.array(marks, np.int64).reshape(-1, 2).T
    return FixedRun(width, count, tuple(blocks), marked, values.astype(np.uint8))
