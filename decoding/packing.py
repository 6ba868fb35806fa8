"""Rows of what JSON has, packed into an array: anything but numbers is refused on the way, without a look at each."""

from __future__ import annotations

import itertools
import struct
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from decoding.wire_types import DType
from protocol.records import Array

# Raised for text, null, arrays and objects, for a number that the type cannot hold, and for too few or too many of them.
REFUSALS = (struct.error, TypeError, OverflowError)
_CODES = "qQd"  # an integer of 64 bits is packed in half the time of a float, and exactly


@dataclass(frozen=True, slots=True)
class Packer:
    """Packs rows of one length.

    Attributes:
        pack: its arguments are a row; raises one of REFUSALS.
    """

    dtype: DType
    pack: Callable[..., bytes]

    def stack(self, rows: Iterable[Iterable[object]]) -> Array:
        """The numbers of all rows, flat and read-only."""
        return np.frombuffer(b"".join(itertools.starmap(self.pack, rows)), self.dtype)


def make_packers(first: Sequence[float]) -> list[Packer]:
    """Those that take a first row, fast ones in front; only into floats both integers and floats are packed."""
    found = []
    for code in _CODES:
        pack = struct.Struct(f"{len(first)}{code}").pack
        try:
            pack(*first)
        except REFUSALS:
            continue
        found.append(Packer(np.dtype(code), pack))
    return found
