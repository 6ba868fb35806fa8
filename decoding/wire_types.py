"""Type names of the contract, and numbers from bytes."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np

from protocol.records import Array

DType: TypeAlias = np.dtype[Any]

TEXT: DType = np.dtype(object)
NUMBER_NAMES = (
    "half, float, float32, double, float64, int (one unsigned byte), int64, int32, int16, int8, uint16, uint8, bool "
    "or another numpy scalar's name"
)
NAMES = f"{NUMBER_NAMES}, or string"

# Where the contract and numpy mean different things by one name, the contract's holds.
_CONTRACT: dict[str, type[np.generic]] = {
    "half": np.float16,
    "float": np.float32,
    "double": np.float64,
    "int": np.uint8,
    "bool": np.bool_,
}
_CODES = {np.dtype(scalar).str[1:]: scalar for scalar in np.sctypeDict.values()}  # f4, u1 ...
_TEXT_NAMES = ("str", "string")
_BYTE_ORDERS = "<>=|"
_NUMBER_KINDS = "biuf"
_MOST_BYTES = 8  # TensorFlow has no longer ones


def parse_type(value: object) -> DType:
    """The dtype on the wire of a type name: a number's, or TEXT.

    Raises:
        ValueError: no such name.
    """
    if value in _TEXT_NAMES:
        return TEXT
    dtype = _number_type(value)
    if dtype is None:
        raise ValueError(f"is no type of numbers or text: give one of {NAMES}")
    return dtype


def parse_number_type(value: object) -> DType:
    """The dtype on the wire of a type name, little-endian unless the name begins with '>'.

    Raises:
        ValueError: no such name, or no type of real numbers.
    """
    dtype = _number_type(value)
    if dtype is None:
        raise ValueError(f"is no type of numbers: give one of {NUMBER_NAMES}")
    return dtype


def _number_type(value: object) -> DType | None:
    if not isinstance(value, str):
        return None
    name = value.strip()
    order, base = (name[0], name[1:]) if name[:1] in tuple(_BYTE_ORDERS) else ("", name)
    known = _CONTRACT.get(base) or np.sctypeDict.get(base) or _CODES.get(base)
    if known is None:
        return None
    dtype = np.dtype(known)
    if dtype.kind not in _NUMBER_KINDS or dtype.itemsize > _MOST_BYTES:
        return None
    return dtype.newbyteorder(">" if order == ">" else "<")


def native(wire: DType) -> DType:
    """The same type in the byte order of this machine."""
    return wire.newbyteorder("=")


def from_wire(buffer: bytes, wire: DType) -> Array:
    """The numbers in a buffer whose length is a multiple of the type's size: flat, native-endian, perhaps read-only."""
    if wire.kind == "b":
        return np.frombuffer(buffer, np.uint8).astype(np.bool_)  # a byte of 2, seen as a bool, would be neither True nor False
    return np.frombuffer(buffer, wire).astype(native(wire), copy=False)
