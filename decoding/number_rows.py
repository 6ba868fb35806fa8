"""Rows of Python numbers, as AVRO and JSON give them, into an array of them: floats rounded, nothing else changed."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from decoding.column import Side, UnfitError
from decoding.shapes import Shape, describe, resolve, wanted
from decoding.wire_types import DType
from protocol.records import Array

_MAX_EXACT = 2**53  # below it a float64 without a fraction is one integer alone


def settle_shape(side: Side, reshape: Shape | None, natural: Shape) -> Shape:
    """The shape of a sample whose first one has `natural`.

    Raises:
        UnfitError: it holds no numbers, or not as many as the reshape takes.
    """
    count = math.prod(natural)
    if not count:
        raise UnfitError(f"{side.part} holds no numbers")
    if reshape is None:
        return natural
    shape = resolve(reshape, count)
    if shape is None:
        raise UnfitError(f"{side.part} holds {count} numbers, expected {wanted(reshape)} ({describe(reshape)})")
    return shape


@np.errstate(invalid="ignore")  # a signalling NaN is a NaN like others
def fit(numbers: Array, dtype: DType) -> Array:
    """Numbers as the dtype has them, floats rounded, nothing else changed.

    Raises:
        UnfitError: it cannot hold one of them; which, is not said.
    """
    if np.can_cast(numbers.dtype, dtype):
        return numbers.astype(dtype, copy=False)
    if dtype.kind == "f":
        array, overflowed = _narrow(numbers.astype(np.float64, copy=False), dtype)
        if overflowed.any():
            raise UnfitError
        return array
    if numbers.dtype.kind == "f" and not ((np.abs(numbers) < _MAX_EXACT) & (numbers == np.trunc(numbers))).all():
        raise UnfitError
    low, high = (0, 1) if dtype.kind == "b" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    if numbers.min() < low or numbers.max() > high:
        raise UnfitError
    return numbers.astype(dtype)


def _narrow(wide: Array, dtype: DType) -> tuple[Array, Array]:
    """Floats as a narrower dtype has them, and which of them overflowed."""
    with np.errstate(over="ignore", invalid="ignore"):
        array = wide.astype(dtype, copy=False)
    overflowed = np.isinf(array)
    return array, overflowed & np.isfinite(wide) if overflowed.any() else overflowed


@dataclass(frozen=True, slots=True)
class Stack:
    """Stacks the numbers of records.

    Attributes:
        dtype: native-endian, real.
        shape: of one sample.
    """

    side: Side
    dtype: DType
    shape: Shape

    def stack(self, rows: Sequence[Sequence[float]]) -> Array:
        """An array (n, *shape) of n rows.

        Raises:
            UnfitError: a row has more or fewer numbers than the shape, or a number that the dtype cannot hold.
        """
        count = math.prod(self.shape)
        for odd in set(map(len, rows)) - {count}:
            raise UnfitError(f"{self.side.part} holds {odd} numbers, expected {count} ({describe(self.shape)})")
        flat = list(itertools.chain.from_iterable(rows))
        return self._array(flat).reshape(len(rows), *self.shape)

    def _array(self, flat: list[float]) -> Array:
        if self.dtype.kind == "b":
            return self._booleans(flat)
        return self._floats(flat) if self.dtype.kind == "f" else self._integers(flat)

    def _booleans(self, flat: list[float]) -> Array:
        for odd in set(flat) - {0, 1}:
            raise self._unfit(odd)
        return np.array(flat, self.dtype)

    def _integers(self, flat: list[float]) -> Array:
        if float in set(map(type, flat)):
            flat = [self._whole(number) for number in flat]
        try:
            return np.array(flat, self.dtype)
        except OverflowError as exc:
            limits = np.iinfo(self.dtype)
            raise self._unfit(next(number for number in flat if not limits.min <= number <= limits.max)) from exc

    def _whole(self, number: float) -> int:
        # A float above that may stand for an integer of more than 64 bits, of which the last digits are lost.
        if isinstance(number, float) and not (number.is_integer() and abs(number) < _MAX_EXACT):
            raise self._unfit(number)
        return int(number)

    def _floats(self, flat: list[float]) -> Array:
        array, overflowed = _narrow(np.array(flat, np.result_type(self.dtype, np.float64)), self.dtype)
        if overflowed.any():
            raise self._unfit(flat[int(overflowed.argmax())])
        return array

    def _unfit(self, number: float) -> UnfitError:
        return UnfitError(
            f"{self.side.part} holds {number!r}, which does not fit {self.dtype.name}: "
            f"set {self.side.name}_type to a type that holds it"
        )
