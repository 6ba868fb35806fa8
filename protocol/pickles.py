"""Arrays as pickles, written so that every numpy reads them, and read without running what they hold.

This is the one home of pickle in the project. A pickle is a program, and whoever can write to a topic can send one. So before
any of it is run, every step of it is looked at: none that numpy's own pickles of numbers lack, no more of them than those have,
no length beyond the bytes. Then the few names that numpy's pickles hold stand for inert recorders, and every other name is
refused. The array is built at the end from what was recorded, out of the bytes of the message and no others.
"""

from __future__ import annotations

import io
import pickle
import pickletools
import re
from math import prod
from typing import Any

import ml_dtypes
import numpy as np

from protocol.errors import ModelError, SpaceLackError
from protocol.records import Array
from protocol.words import shown

PICKLE_PROTOCOL = 4  # what the public cloud writes, and the newest that every Python 3 in use reads

_NEW_MODULE = b"\x8c\x16numpy._core.multiarray"  # SHORT_BINUNICODE, length, name: as numpy 2 begins its pickles
_OLD_MODULE = b"\x8c\x15numpy.core.multiarray"  # as numpy 1 begins them, which numpy 2 reads as well
_FRAME_HEAD = 11  # PROTO and its number, FRAME and its eight bytes of length


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

    Raises:
        ModelError: the bytes are anything else than a numeric numpy array of the size that it claims.
        SpaceLackError: memory is too small for the array, which takes that of its bytes once more.
    """
    try:
        _check_steps(pickled)
        return _built(_Reader(io.BytesIO(pickled)).load())
    except _RefusedError as exc:
        raise ModelError(f"{place}: {exc}; expected the pickle of a numeric numpy array") from exc
    except MemoryError as exc:
        raise SpaceLackError(f"{place}: no memory for an array of {len(pickled)} bytes: give the pod more") from exc
    except Exception as exc:  # the pickle machine raises whatever damaged bytes lead it to
        raise ModelError(f"{place}: not a pickle ({shown(exc)}); expected the pickle of a numeric numpy array") from exc


class _RefusedError(Exception):
    """The pickle holds something that numpy's pickles of numeric arrays do not."""


MOST_STEPS = 160  # numpy's pickles have some 50, and one for each axis of at most 64
_MOST_NAME = 100  # bytes of a module or a name
_TEXT_HEAD = 5  # BINUNICODE and its four bytes of length
_BEYOND_LATIN_1 = re.compile(rb"[\xc4-\xff]")  # the first byte, in UTF-8, of a character that is no byte in Latin-1

_OPCODES = {ord(one.code): one for one in pickletools.opcodes}
# All steps that numpy's pickles of numbers take. None makes a list, a dictionary or an instance, none finds a name by a number,
# and none has the machine take more memory than its own bytes: a memo index is one byte, and lengths are looked at here.
_STEPS = frozenset(
    {
        *("PROTO", "FRAME", "STOP", "MARK", "GLOBAL", "STACK_GLOBAL", "REDUCE", "BUILD", "BINPUT", "MEMOIZE", "BINGET"),
        *("NONE", "NEWTRUE", "NEWFALSE", "BININT", "BININT1", "BININT2", "LONG1"),
        *("EMPTY_TUPLE", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3"),
        *("SHORT_BINUNICODE", "BINUNICODE", "SHORT_BINBYTES", "BINBYTES", "BYTEARRAY8"),
    }
)


def _check_steps(pickled: bytes) -> None:
    """Look at every step of a pickle, and at no copy of it, before the machine takes one."""
    at, frame_end = 0, 0
    for _ in range(MOST_STEPS):
        step = _OPCODES.get(pickled[at]) if at < len(pickled) else None
        if step is None:
            raise ValueError(f"no step of one at byte {at} of {len(pickled)}")
        if step.name not in _STEPS:
            raise _RefusedError(f"uses the opcode {step.name}, which no array of numbers needs")
        start, at = at, _end_of(pickled, at + 1, step.arg)
        is_framed = start < frame_end
        if at > (frame_end if is_framed else len(pickled)):
            raise ValueError(f"{step.name} at byte {start} ends at byte {at}, beyond its frame or the {len(pickled)} bytes")
        if step.name == "FRAME":
            # A frame ends where a step ends, and holds no other: else the machine would go on in the middle of some step.
            frame_end = at + int.from_bytes(pickled[start + 1 : at], "little")
            if is_framed or frame_end > len(pickled):
                raise ValueError(
                    f"FRAME at byte {start} ends at byte {frame_end}, in another or beyond the {len(pickled)} bytes"
                )
        if step.name == "BINUNICODE" and _BEYOND_LATIN_1.search(pickled, start + _TEXT_HEAD, at):
            raise _RefusedError("holds a text that is no bytes")
        if step.name == "STOP":
            if at < len(pickled):
                raise ValueError(f"its end at byte {at} of {len(pickled)}")
            return
    raise _RefusedError(f"takes more than {MOST_STEPS} steps")


def _end_of(pickled: bytes, at: int, argument: pickletools.ArgumentDescriptor | None) -> int:
    """Where a step ends whose argument begins at a byte, going by the tables of pickletools."""
    if argument is None:
        return at
    if argument.n >= 0:
        return at + argument.n
    if argument.n == pickletools.UP_TO_NEWLINE:  # a GLOBAL, of two lines
        return pickled.index(b"\n", pickled.index(b"\n", at, at + _MOST_NAME) + 1, at + 2 * _MOST_NAME) + 1
    width = _LENGTH_BYTES[argument.n]
    return at + width + int.from_bytes(pickled[at : at + width], "little")


_LENGTH_BYTES = {
    pickletools.TAKEN_FROM_ARGUMENT1: 1,
    pickletools.TAKEN_FROM_ARGUMENT4U: 4,
    pickletools.TAKEN_FROM_ARGUMENT8U: 8,
}


class _Reader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        try:
            return _STAND_INS[module, name]
        except KeyError:
            raise _RefusedError(f"names {shown(f'{module}.{name}')}") from None

    def persistent_load(self, _pid: object) -> Any:
        raise _RefusedError("refers to something outside of itself")


# What tf.keras and Keras can hold in a variable, by the names that pickles give it; ml_dtypes' types go by their class.
_NUMPY_DTYPES = [np.dtype(code) for code in "?bhilqBHILQefdFD"]
_ML_DTYPES = [np.dtype(one) for one in (ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn, ml_dtypes.float8_e5m2)]
_DTYPES = {one.str[1:]: one for one in _NUMPY_DTYPES} | {f"ml_dtypes.{one.name}": one for one in _ML_DTYPES}


class _DType:
    """Records what `numpy.dtype(...)` and its state say, and calls neither."""

    def __init__(self, code: object, *_flags: object) -> None:
        self._code = code
        self._order: object = "="

    def __setstate__(self, state: tuple[object, ...]) -> None:
        self._order = state[1]

    def build(self) -> np.dtype[Any]:
        dtype = _DTYPES.get(self._code) if isinstance(self._code, str) else None
        if dtype is None:
            what = f"{shown(self._code)!r}" if isinstance(self._code, str) else "objects"
            raise _RefusedError(f"holds an array of {what}")
        ordered: np.dtype[Any] = dtype.newbyteorder(">") if self._order == ">" else dtype
        return ordered


class _Text:
    """Records bytes that protocol 2 spells as text, `_codecs.encode("…", "latin1")`, or as `bytes()` where there are none."""

    def __init__(self, text: object = "", encoding: object = "latin1") -> None:
        self._parts = (text, encoding)

    def build(self) -> bytes:
        text, encoding = self._parts
        if not isinstance(text, str) or encoding != "latin1":
            raise _RefusedError("holds a text that is no bytes")
        return text.encode("latin1")


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


def _built(recorded: object) -> Array:
    if not isinstance(recorded, _Array):
        raise _RefusedError(f"holds a {type(recorded).__name__}, not an array")
    return recorded.build()


def _build(dtype: object, shape: object, data: object, order: Any) -> Array:
    if not isinstance(dtype, _DType) or not isinstance(data, bytes | bytearray | _Text):
        raise _RefusedError("holds an array of objects")
    if not isinstance(shape, tuple) or not all(type(size) is int and 0 <= size < 2**63 for size in shape):
        raise _RefusedError("claims a shape that no array has")
    built = dtype.build()
    held = data.build() if isinstance(data, _Text) else data
    if prod(shape) * built.itemsize != len(held):
        raise _RefusedError(f"claims shape {shown(shape)} of {built} and holds {len(held)} bytes")
    array = np.frombuffer(held, built).reshape(shape, order=order)
    return array.astype(built.newbyteorder("="), copy=False)


_STAND_INS: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _DType,
    ("_codecs", "encode"): _Text,
    ("__builtin__", "bytes"): _Text,
    **{
        (f"numpy.{core}.{module}", name): stand_in
        for core in ("core", "_core")
        for module, name, stand_in in (
            ("multiarray", "_reconstruct", _Array),
            ("multiarray", "scalar", _Scalar),
            ("numeric", "_frombuffer", _FromBuffer),
        )
    },
    **{("ml_dtypes", one.name): f"ml_dtypes.{one.name}" for one in _ML_DTYPES},
}
