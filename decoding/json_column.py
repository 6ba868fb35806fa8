"""JSON: a sample is a number, a boolean, a regular nested array of them, or an object of these."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from decoding.column import LABEL, Column, Plan, Side, UnfitError
from decoding.json_layout import Layout, learn, learn_fields
from decoding.number_rows import Stack, fit, settle_shape
from decoding.options import Options
from decoding.packing import REFUSALS, Packer, make_packers
from decoding.shapes import Shape, is_open, parse_reshape
from decoding.wire_types import DType, native, parse_number_type
from protocol.records import Array

_DOUBLE_BYTES = 8
_CHUNK_NUMBERS = 1 << 17  # what is made of them on the way stays in the cache


def json_plan(options: Options) -> Plan | None:
    """Read one side's keys; None where one is faulty."""
    wire = options.read("type", parse_number_type)
    reshape = options.read("reshape", parse_reshape)
    names = options.read("fields", _parse_names)
    if options.faults:
        return None
    import orjson  # noqa: PLC0415 - loaded for JSON alone

    return JsonPlan(options.side, orjson.loads, names, native(wire) if wire else None, reshape)


def _parse_names(value: object) -> tuple[str, ...]:
    names = tuple(name for name in value if isinstance(name, str)) if isinstance(value, list | tuple) else ()
    if not isinstance(value, list | tuple) or not names or len(set(names)) != len(value):
        raise ValueError(
            'is no list of different names: give e.g. ["temperature", "humidity"], null to take the first record\'s fields'
        )
    return names


@dataclass(frozen=True, slots=True)
class JsonPlan:
    """JSON texts; a name list, dtype or reshape of None is left to the first record.

    Attributes:
        loads: bytes → Python value; ValueError where they are no JSON.
        names: fields to take from an object, in this order; others in it do not count.
    """

    side: Side
    loads: Callable[[bytes], Any]
    names: tuple[str, ...] | None
    dtype: DType | None
    reshape: Shape | None

    @property
    def open_keys(self) -> tuple[str, ...]:
        left = {
            "type": self.dtype is None and self.side is LABEL,
            "fields": self.names is None,
            "reshape": is_open(self.reshape),
        }
        return tuple(f"{self.side.name}_{suffix}" for suffix, is_left in left.items() if is_left)

    def settle(self, first: bytes) -> Column:
        value, part = _parse(self.loads, self.side, first), self.side.part
        layout = learn(value, part) if self.names is None else learn_fields(value, part, self.names)
        row: list[float] = []
        layout.take(value, row)
        natural = () if self.side is LABEL and layout.is_single else layout.shape
        shape = settle_shape(self.side, self.reshape, natural)
        is_whole = self.dtype is None and self.side is LABEL and float not in map(type, row)
        dtype = self.dtype or np.dtype(np.int64 if is_whole else np.float32)
        is_exact = dtype.itemsize <= _DOUBLE_BYTES  # a longer float has integers that are lost in a double
        fitting = [packer for packer in make_packers(row) if packer.dtype.kind != "f" or (is_exact and not is_whole)]
        return JsonColumn(self.loads, layout, Stack(self.side, dtype, shape), is_whole, fitting)


@dataclass(frozen=True, slots=True)
class JsonColumn:
    """JSON texts laid out as the first one.

    Attributes:
        is_whole: the dtype was taken from a first record of integers, so floats are refused.
        packers: to be tried in this order.
    """

    loads: Callable[[bytes], Any]
    layout: Layout
    stack: Stack
    is_whole: bool
    packers: Sequence[Packer]

    def decode(self, raws: Sequence[bytes]) -> Array:
        array = np.empty((len(raws), math.prod(self.stack.shape)), self.stack.dtype)
        size = max(1, _CHUNK_NUMBERS // array.shape[1])
        for start in range(0, len(raws), size):
            chunk = slice(start, start + size)
            array[chunk] = self._numbers(raws[chunk]).reshape(array[chunk].shape)
        return array.reshape(len(raws), *self.stack.shape)

    def _numbers(self, raws: Sequence[bytes]) -> Array:
        for packer in self.packers:
            try:
                return fit(packer.stack(map(self.layout.pick, map(self.loads, raws))), self.stack.dtype)
            except (*REFUSALS, LookupError, ValueError, UnfitError):
                continue
        return self.stack.stack([self._row(raw) for raw in raws])  # what is wrong, if anything is, is told here

    def _row(self, raw: bytes) -> list[float]:
        side = self.stack.side
        row: list[float] = []
        self.layout.take(_parse(self.loads, side, raw), row)
        if self.is_whole and float in map(type, row):
            odd = next(number for number in row if isinstance(number, float))
            raise UnfitError(
                f'{side.part} holds {odd!r}, and the first record has integers alone: set {side.name}_type, e.g. "float32"'
            )
        return row


def _parse(loads: Callable[[bytes], Any], side: Side, raw: bytes) -> Any:
    try:
        return loads(raw)
    except ValueError as exc:
        raise UnfitError(f"{side.part} is no JSON: {exc}") from exc
