"""What lies where in a datum: the parts that the first datum of a stream goes through, byte by byte."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from decoding.wire_types import DType

LONGEST = 10  # bytes of a varint of 64 bits
LONG_LIMITS = (-(2**63), 2**63 - 1)
_MORE = 0x80  # a varint goes on behind a byte with this bit
_MOST = 2**64 - 1


class UnlikeError(Exception):
    """Datums that are not laid out as the first one: perhaps good, but not to be read all at once."""


@dataclass(frozen=True, slots=True)
class Mark:
    """A varint that says how a datum is laid out, so that datums which are laid out alike have it alike.

    Attributes:
        raw: as it is on the wire.
    """

    raw: bytes
    value: int

    @property
    def limits(self) -> tuple[int, int]:
        return self.value, self.value


@dataclass(frozen=True, slots=True)
class Varint:
    """A varint of any value within the limits, and whether it is a number of the sample."""

    limits: tuple[int, int] = LONG_LIMITS
    is_number: bool = True


@dataclass(frozen=True, slots=True)
class Fixed:
    """Numbers of a wire type, side by side."""

    wire: DType
    count: int


Part: TypeAlias = Mark | Varint | Fixed


class Trail:
    """Goes along a datum and notes the parts.

    Every method raises UnlikeError at the datum's end.
    """

    def __init__(self, raw: bytes) -> None:
        self._raw = raw
        self._at = 0
        self.parts: list[Part] = []

    def mark(self) -> int:
        start = self._at
        value = self._varint()
        self.parts.append(Mark(self._raw[start : self._at], value))
        return value

    def varints(self, part: Varint, count: int = 1) -> None:
        for _ in range(count):
            self._varint()
        self.parts += [part] * count

    def fixed(self, wire: DType, count: int) -> None:
        self._at += wire.itemsize * count
        if self._at > len(self._raw):
            raise UnlikeError
        if not count:
            return
        last = self.parts[-1] if self.parts else None
        if isinstance(last, Fixed) and last.wire == wire:
            self.parts[-1] = Fixed(wire, last.count + count)
        else:
            self.parts.append(Fixed(wire, count))

    def _varint(self) -> int:
        number = 0
        for index, byte in enumerate(self._raw[self._at : self._at + LONGEST]):
            self._at += 1
            number |= (byte & ~_MORE) << 7 * index
            if byte < _MORE and number <= _MOST:
                return (number >> 1) ^ -(number & 1)
        raise UnlikeError
