"""Weights on a topic: one message an array, key = its index, value = its pickle.

This is the one home of pickle in the project. A pickle is a program, and whoever can write to the topic can send one, so
`load_array` runs none: the few names that numpy's own pickles hold stand for inert recorders here, every other name is refused,
and the array is then built from what was recorded, out of the bytes of the message and no others.
"""

from __future__ import annotations

import io
import pickle
import pickletools
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import ml_dtypes
import numpy as np

from protocol.errors import ModelError
from protocol.records import Array

PICKLE_PROTOCOL = 4  # what the public cloud writes, and the newest that every Python 3 in use reads

# What tf.keras and Keras can hold in a variable; ml_dtypes' types are pickled by their class, not by a numpy code.
_NUMPY_KINDS = "biufc"
_ML_DTYPES = (ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn, ml_dtypes.float8_e5m2)

_NEW_MODULE = b"\x8c\x16numpy._core.multiarray"  # SHORT_BINUNICODE, length, name: as numpy 2 begins its pickles
_OLD_MODULE = b"\x8c\x15numpy.core.multiarray"  # as numpy 1 begins them, which numpy 2 reads as well
_FRAME_HEAD = 11  # PROTO and its number, FRAME and its eight bytes of length


def array_key(index: int) -> bytes:
    """The key of array `index`: unsigned big-endian, as few bytes as hold it, at least one."""
    return index.to_bytes(max(1, (index.bit_length() + 7) // 8), "big")


def dump_array(array: Array) -> bytes:
    """Pickle an array so that numpy 1.19 and every later one reads it, in C order.

    numpy 2 names the module of its array builder `numpy._core`, which numpy 1 below 1.26 cannot import. The name is the
    first string of the first frame, so it is written anew there together with the frame's length.
    """
    pickled = pickle.dumps(np.asarray(array, order="C"), protocol=PICKLE_PROTOCOL)
    head, rest = pickled[:_FRAME_HEAD], pickled[_FRAME_HEAD:]
    if not rest.startswith(_NEW_MODULE):
        return pickled
    length = int.from_bytes(head[3:], "little") + len(_OLD_MODULE) - len(_NEW_MODULE)
    return b"".join((head[:3], length.to_bytes(8, "little"), _OLD_MODULE, memoryview(rest)[len(_NEW_MODULE) :]))


def load_array(pickled: bytes, place: str) -> Array:
    """Rebuild the one array, or numpy scalar, that a pickle of numpy 1 or 2 holds.

    Args:
        pickled: protocols 2 to 5, without out-of-band buffers.
        place: where the message stands, for the error.

    Returns:
        A read-only array that shares the memory of `pickled`.

    Raises:
        ModelError: the bytes are anything else than a numeric numpy array of the size that it claims.
    """
    try:
        _check_opcodes(pickled)
        recorded = _Reader(io.BytesIO(pickled)).load()
        return _built(recorded)
    except _RefusedError as exc:
        raise ModelError(f"{place}: {exc}; expected the pickle of a numeric numpy array") from exc
    except Exception as exc:  # the pickle machine raises whatever damaged bytes lead it to
        raise ModelError(f"{place}: not a pickle ({exc}); expected the pickle of a numeric numpy array") from exc


def load_arrays(records: Sequence[tuple[bytes | None, bytes | None, str]]) -> list[Array]:
    """Rebuild a model's arrays from the messages of its range, in index order.

    Args:
        records: key, value and place of each message.

    Raises:
        ModelError: an index is missing, comes twice or is no index, or a message holds no array.
    """
    arrays: dict[int, Array] = {}
    for key, value, place in records:
        if not key or value is None:
            raise ModelError(f"{place}: a message of weights has an array's index as key and its pickle as value")
        index = int.from_bytes(key, "big")
        if index >= len(records):
            raise ModelError(f"{place}: array index {index} in a model of {len(records)} messages")
        if index in arrays:
            raise ModelError(f"{place}: array {index} stands twice in the announced range, so another one is missing")
        arrays[index] = load_array(value, place)
    return [arrays[index] for index in range(len(records))]


class _RefusedError(Exception):
    """The pickle holds something that numpy's pickles of numeric arrays do not."""


def _built(recorded: object) -> Array:
    if not isinstance(recorded, _Array):
        raise _RefusedError(f"holds a {type(recorded).__name__}, not an array")
    return recorded.build()


class _DType:
    """Records what `numpy.dtype(...)` and its state say, and calls neither."""

    def __init__(self, code: object, *_flags: object) -> None:
        self._code = code
        self._order = "="

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self._order = state[1]

    def build(self) -> np.dtype[Any]:
        if isinstance(self._code, _MLType):
            return self._code.dtype
        dtype = np.dtype(self._code) if isinstance(self._code, str) else np.dtype(object)
        if dtype.kind not in _NUMPY_KINDS or dtype.names is not None:
            raise _RefusedError(f"holds an array of {self._code!r}")
        return dtype.newbyteorder(">") if self._order == ">" else dtype


class _Array:
    """Records what numpy's array builder was called with, and the state set on it afterwards."""

    def __init__(self, *_args: object) -> None:
        self._parts: tuple[Any, ...] = ()

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self._parts = state[1:]

    def build(self) -> Array:
        shape, dtype, fortran, data = self._parts
        return _build(dtype, shape, data, "F" if fortran else "C")


class _Scalar(_Array):
    """Records a call of `numpy.core.multiarray.scalar`: what `get_weights` gives for a variable without axes in Keras 2."""

    def __init__(self, dtype: object, data: object) -> None:
        self._parts = ((), dtype, False, data)


class _FromBuffer(_Array):
    """Records a call of numpy's `_frombuffer`, as protocol 5 has it."""

    def __init__(self, data: object, dtype: object, shape: object, order: object) -> None:
        self._parts = (shape, dtype, order == "F", data)


@dataclass(frozen=True)
class _MLType:
    dtype: np.dtype[Any]


def _build(dtype: object, shape: object, data: object, order: Any) -> Array:
    if not isinstance(dtype, _DType) or not isinstance(data, bytes | bytearray):
        raise _RefusedError("holds an array of objects")
    if not isinstance(shape, tuple) or not all(isinstance(size, int) and size >= 0 for size in shape):
        raise _RefusedError(f"claims a shape of {shape!r}")
    built = dtype.build()
    if prod(shape) * built.itemsize != len(data):
        raise _RefusedError(f"claims shape {shape} of {built} and holds {len(data)} bytes")
    array = np.frombuffer(data, built).reshape(shape, order=order)
    return array.astype(built.newbyteorder("="), copy=False)


def _latin1(text: object, encoding: object) -> bytes:
    # Protocol 2 spells bytes as text: _codecs.encode("…", "latin1").
    if not isinstance(text, str) or encoding != "latin1":
        raise _RefusedError(f"encodes to {encoding!r}")
    return text.encode("latin1")


def _no_bytes() -> bytes:
    return b""  # and the empty ones as a call of bytes()


_STAND_INS: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _DType,
    ("_codecs", "encode"): _latin1,
    ("__builtin__", "bytes"): _no_bytes,
    **{
        (f"numpy.{core}.{module}", name): stand_in
        for core in ("core", "_core")
        for module, name, stand_in in (
            ("multiarray", "_reconstruct", _Array),
            ("multiarray", "scalar", _Scalar),
            ("numeric", "_frombuffer", _FromBuffer),
        )
    },
    **{("ml_dtypes", one.__name__): _MLType(np.dtype(one)) for one in _ML_DTYPES},
}


class _Reader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        try:
            return _STAND_INS[module, name]
        except KeyError:
            raise _RefusedError(f"names {module}.{name}") from None

    def persistent_load(self, _pid: object) -> Any:
        raise _RefusedError("refers to something outside of itself")


# Opcodes by which a few bytes make the pickle machine take much memory, or find a name by a number.
_REFUSED_OPCODES = frozenset({"LONG_BINPUT", "PUT", "EXT1", "EXT2", "EXT4", "INST", "OBJ", "NEXT_BUFFER", "READONLY_BUFFER"})


def _check_opcodes(pickled: bytes) -> None:
    for opcode, _argument, _position in pickletools.genops(pickled):
        if opcode.name in _REFUSED_OPCODES:
            raise _RefusedError(f"uses the opcode {opcode.name}")
