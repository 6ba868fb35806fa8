"""Whole batches of datums that are laid out as the first one: their numbers, without a step for each datum."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from decoding.avro_layout import Node
from decoding.avro_runs import FixedRun, Joined, Run, make_runs, without_header
from decoding.avro_trail import Trail, UnlikeError
from decoding.number_rows import fit
from decoding.wire_types import DType
from protocol.records import Array

_CHUNK_BYTES = 1 << 18  # on the wire: what is made of them on the way, of varints 50 times as much, stays in the cache
_MOST_CHUNKS = 32  # at once, where a datum has many runs, each of which takes its time for any number of datums
_RUNS_A_DATUM = 8  # take as long as the datum reader for a datum: a few datums of many runs are not worth it


@dataclass(frozen=True, slots=True)
class Template:
    """How datums are laid out.

    Attributes:
        count: numbers in a datum.
        header: in front of each.
    """

    runs: tuple[Run, ...]
    count: int
    header: bytes = b""

    def decode(self, raws: Sequence[bytes], dtype: DType) -> Array:
        """An array (n, count) of n >= 1 datums.

        Raises:
            UnlikeError: one of them is laid out in another way, or is no datum at all.
            UnfitError: a number does not fit the dtype.
        """
        if len(raws) * _RUNS_A_DATUM < len(self.runs):
            raise UnlikeError
        if len(self.runs) == 1 and isinstance(self.runs[0], FixedRun):
            return self._of_one_width(self.runs[0], raws, dtype)
        array = np.empty((len(raws), self.count), dtype)
        size = max(1, _CHUNK_BYTES * min(len(self.runs), _MOST_CHUNKS) * len(raws) // (sum(map(len, raws)) or 1))
        for start in range(0, len(raws), size):
            self._read(Joined(raws[start : start + size], self.header), array[start : start + size])
        return array

    def _of_one_width(self, run: FixedRun, raws: Sequence[bytes], dtype: DType) -> Array:
        width = len(self.header) + run.width
        if set(map(len, raws)) != {width}:
            raise UnlikeError
        rows = np.frombuffer(b"".join(raws), np.uint8).reshape(len(raws), width)
        blocks = run.split(without_header(rows, self.header) if self.header else rows)
        if len(run.blocks) == 1:
            [(_, numbers)] = blocks
            return np.require(fit(numbers, dtype), requirements=["C", "A"])
        array = np.empty((len(raws), self.count), dtype)
        for columns, numbers in blocks:
            array[:, columns] = fit(numbers, dtype)
        return array

    def _read(self, joined: Joined, array: Array) -> None:
        at, column = joined.ends - joined.lengths, 0
        for run in self.runs:
            blocks, at = run.read(joined, at)
            part = array[:, column : column + run.count]
            for columns, numbers in blocks:
                part[:, columns] = fit(numbers, array.dtype)
            column += run.count
        if (at != joined.ends).any():
            raise UnlikeError


def make_template(layout: Node, first: bytes, header_bytes: int = 0) -> Template:
    """How a good datum is laid out.

    Args:
        header_bytes: in front of it, which all datums have alike.

    Raises:
        UnlikeError: in a way that only the datum reader knows.
    """
    trail = Trail(first[header_bytes:])
    layout.walk(trail, 1)
    runs = make_runs(trail.parts)
    return Template(runs, sum(run.count for run in runs), first[:header_bytes])
