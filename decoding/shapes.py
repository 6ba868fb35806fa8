"""The shape of one sample, as INPUT_CONFIG writes it and as messages show it."""

from __future__ import annotations

import math
import re
from typing import TypeAlias

# Sizes of one sample, from the outside to the inside; () is a scalar. One size may be OPEN.
Shape: TypeAlias = tuple[int, ...]

OPEN = -1
MAX_DIMENSIONS = 31  # numpy 1, on the cloud's side, has 32 with the samples' own
_SIZE = re.compile(r"-?[0-9]{1,18}")


def parse_reshape(value: object) -> Shape:
    """The sizes that a reshape asks for.

    Raises:
        ValueError: no list of sizes, a size below 1 other than one -1, or more of them than an array can have.
    """
    if isinstance(value, str):
        words = value.split()
        sizes = [int(word) for word in words if _SIZE.fullmatch(word)]
        is_good = len(sizes) == len(words)
    else:
        sizes = [size for size in value if type(size) is int] if isinstance(value, list | tuple) else []
        is_good = isinstance(value, list | tuple) and len(sizes) == len(value)
    if not is_good:
        raise ValueError('is no list of sizes: give e.g. "28 28", "" for a scalar, null to leave flat')
    if any(size < 1 and size != OPEN for size in sizes):
        raise ValueError("has a size below 1: give sizes from 1, or -1 for the one to infer")
    if sizes.count(OPEN) > 1:
        raise ValueError("leaves more than one size open: give at most one -1")
    if len(sizes) > MAX_DIMENSIONS:
        raise ValueError(f"has {len(sizes)} sizes: give at most {MAX_DIMENSIONS}")
    return tuple(sizes)


def is_open(reshape: Shape | None) -> bool:
    """Whether a reshape leaves a size, or all of them, to the first record."""
    return reshape is None or OPEN in reshape


def closed_size(shape: Shape) -> int:
    """Numbers in a sample, or what their count is a multiple of where a size is open."""
    return math.prod(size for size in shape if size != OPEN)


def resolve(reshape: Shape, count: int) -> Shape | None:
    """The shape that `count` >= 1 numbers get; None where they do not make it."""
    size = closed_size(reshape)
    if OPEN not in reshape:
        return reshape if count == size else None
    return None if count % size else tuple(count // size if one == OPEN else one for one in reshape)


def describe(shape: Shape) -> str:
    """A shape as a message shows it."""
    return f"shape {' '.join(map(str, shape))}" if shape else "a scalar"


def wanted(reshape: Shape) -> str:
    """How many numbers a reshape takes, in words."""
    size = closed_size(reshape)
    return f"a multiple of {size}" if OPEN in reshape else str(size)
