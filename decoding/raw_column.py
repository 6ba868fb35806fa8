"""RAW: a sample is the bytes of an array."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from decoding.column import Column, Plan, Side, UnfitError
from decoding.options import Options
from decoding.shapes import OPEN, Shape, closed_size, describe, is_open, parse_reshape, resolve
from decoding.wire_types import NAMES, TEXT, DType, from_wire, parse_type
from protocol.records import Array


def raw_plan(options: Options) -> Plan | None:
    """Read one side's keys; None where one is faulty."""
    wire = options.read("type", parse_type, remedy=f"one of {NAMES}")
    reshape = options.read("reshape", parse_reshape)
    if wire is TEXT and reshape is not None:
        text_shape = resolve(reshape, 1)
        if text_shape is None:
            options.note("reshape", f'is for several numbers, and {options.key("type")} is one text: give "" or "1"')
    if wire is None or options.faults:
        return None
    if wire is TEXT:
        return TextPlan(options.side, (1,) if reshape is None else resolve(reshape, 1) or ())
    return RawPlan(options.side, wire, reshape)


@dataclass(frozen=True, slots=True)
class RawPlan:
    """Numbers of one type; a reshape of None leaves them flat."""

    side: Side
    wire: DType
    reshape: Shape | None

    @property
    def open_keys(self) -> tuple[str, ...]:
        return (f"{self.side.name}_reshape",) if is_open(self.reshape) else ()

    def settle(self, first: bytes) -> Column:
        if self.reshape is not None and not is_open(self.reshape):
            return RawColumn(self.side, self.wire, self.reshape)
        reshape = (OPEN,) if self.reshape is None else self.reshape
        count, rest = divmod(len(first), self.wire.itemsize)
        shape = None if rest or not count else resolve(reshape, count)
        if shape is None:
            layout = "left flat" if self.reshape is None else describe(reshape)
            raise UnfitError(
                f"{self.side.part} has {len(first)} bytes, expected {closed_size(reshape) * self.wire.itemsize} "
                f"or a multiple of it ({self.wire.name}, {layout})"
            )
        return RawColumn(self.side, self.wire, shape, " as in the first record")


@dataclass(frozen=True, slots=True)
class RawColumn:
    """Numbers of one type and shape.

    Attributes:
        origin: where the shape comes from, for errors.
    """

    side: Side
    wire: DType
    shape: Shape
    origin: str = ""

    def decode(self, raws: Sequence[bytes]) -> Array:
        size = math.prod(self.shape) * self.wire.itemsize
        for odd in set(map(len, raws)) - {size}:
            raise UnfitError(
                f"{self.side.part} has {odd} bytes, expected {size} ({self.wire.name}, {describe(self.shape)}{self.origin})"
            )
        return from_wire(b"".join(raws), self.wire).reshape(len(raws), *self.shape)


@dataclass(frozen=True, slots=True)
class TextPlan:
    """One UTF-8 text, which stays bytes, as TensorFlow has it. Nothing is left to the first record."""

    side: Side
    shape: Shape

    @property
    def open_keys(self) -> tuple[str, ...]:
        return ()

    def settle(self, first: bytes) -> Column:  # noqa: ARG002 - a Plan is given it
        return self

    def decode(self, raws: Sequence[bytes]) -> Array:
        for raw in raws:
            try:
                raw.decode()
            except UnicodeDecodeError as exc:
                raise UnfitError(f"{self.side.part} is no UTF-8 text ({exc})") from exc
        texts = np.empty(len(raws), object)  # np.array would guess a shape and cut NUL bytes off
        texts[:] = raws
        return texts.reshape(len(raws), *self.shape)
