"""A pickle that is anything but an array of numbers is refused, and nothing of it is run or taken into memory."""

import collections
import copyreg
import ctypes
import functools
import importlib
import io
import marshal
import operator
import os
import pickle
import pickletools
import runpy
import struct
import subprocess
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from protocol.errors import ModelError
from protocol.pickles import MOST_STEPS, dump_array, load_array
from tests.support import watch

PLACE = "FED-m-model_data_topic[0]@7"
SPARE_BYTES = 65_536  # of the reader itself, its errors among them
EXPECTED = "; expected the pickle of a numeric numpy array"


def refusal(pickled: bytes) -> str:
    """The error's text; nothing was run, and no more memory taken than twice the bytes."""
    with watch.acts() as done, watch.memory() as taken, pytest.raises(ModelError) as caught:
        load_array(pickled, PLACE)
    assert done.acts == []
    assert taken.peak_bytes < 2 * len(pickled) + SPARE_BYTES
    text = str(caught.value)
    assert text.startswith(f"{PLACE}: ")
    assert text.endswith(EXPECTED)
    assert len(text) < 500
    return text.removeprefix(f"{PLACE}: ").removesuffix(EXPECTED)


class Call:
    """What a pickle can be made to call."""

    def __init__(self, function: Any, *args: Any) -> None:
        self._call = (function, args)

    def __reduce__(self) -> Any:
        return self._call


def parts_of(array: Any) -> tuple[Any, ...]:
    """What a pickle of an array calls, with which arguments, and the state that it then sets."""
    return tuple(array.__reduce__()[:3])


class StatefulArray(np.ndarray):
    """A subclass of arrays, which a pickle names in the place of numpy's own."""


# Each with the name at which it is refused, in the pickles of protocol 4 that Python writes of it.
CALLS: dict[str, tuple[Any, str]] = {
    "os.system": (Call(os.system, "touch attacked"), "posix.system"),
    "subprocess": (Call(subprocess.Popen, ["touch", "attacked"]), "subprocess.Popen"),
    "eval": (Call(eval, "1"), "builtins.eval"),
    "exec": (Call(exec, "open('attacked', 'w')"), "builtins.exec"),
    "compile": (Call(compile, "1", "f", "eval"), "builtins.compile"),
    "getattr": (Call(getattr, "text", "upper"), "builtins.getattr"),
    "setattr": (Call(setattr, Call(getattr, "a", "b"), "c", 1), "builtins.setattr"),
    "import": (Call(__import__, "antigravity"), "builtins.__import__"),
    "import_module": (Call(importlib.import_module, "antigravity"), "importlib.import_module"),
    "run a file": (Call(runpy.run_path, "attacked"), "runpy.run_path"),
    "bytecode": (Call(marshal.loads, b"N"), "marshal.loads"),
    "open": (Call(io.open, "attacked", "w"), "io.open"),
    "ctypes": (Call(ctypes.CDLL, "libc.so.6"), "ctypes.CDLL"),
    "a pickle in the pickle": (Call(pickle.loads, b"."), "pickle.loads"),
    "numpy.load": (Call(np.load, "attacked", "r", 1), "numpy.load"),
    "numpy.fromfile": (Call(np.fromfile, "/etc/hostname"), "numpy.fromfile"),
    "numpy.memmap": (Call(np.memmap, "attacked", "u1", "w+", 0, 1), "numpy.memmap"),
    "numpy's ctypes": (Call(np.ctypeslib.load_library, "libc.so.6", "/lib"), "numpy.ctypeslib"),
    "numpy.zeros, which takes memory": (Call(np.zeros, 10**12), "numpy.zeros"),
    "functools.partial": (functools.partial(os.system, "touch attacked"), "functools.partial"),
    "operator.attrgetter": (operator.attrgetter("__class__.__subclasses__"), "operator.attrgetter"),
    "operator.methodcaller": (operator.methodcaller("system", "touch attacked"), "operator.methodcaller"),
    "copyreg's reconstructor": (Call(copyreg._reconstructor, object, object, None), "copyreg._reconstructor"),  # type: ignore[attr-defined]
    "copyreg's extensions": (Call(copyreg.add_extension, "posix", "system", 1), "copyreg.add_extension"),
    "a masked array": (np.ma.zeros(2), "numpy.ma"),
    "an ordered dictionary": (collections.OrderedDict(), "collections.OrderedDict"),
    "our own reader": (Call(load_array, b"", ""), "protocol.pickles.load_array"),
}


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("name", CALLS)
def test_a_pickle_that_calls_anything_is_refused(name: str, protocol: int, tmp_path: Any, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    attack, named = CALLS[name]
    text = refusal(pickle.dumps(attack, protocol))
    if protocol >= 4:
        assert named in text or "uses the opcode" in text
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", CALLS)
def test_a_call_in_the_place_of_an_arrays_part_is_refused(name: str, tmp_path: Any, monkeypatch: Any) -> None:
    """As the array's data, beside the names that are admitted."""
    monkeypatch.chdir(tmp_path)
    rebuild, args, state = parts_of(np.zeros(2, np.float32))

    class Hidden:
        def __reduce__(self) -> Any:
            return rebuild, args, (*state[:-1], CALLS[name][0])

    refusal(pickle.dumps(Hidden(), 4))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "named",
    [
        *("posix system", "nt system", "builtins eval", "numpy.f2py.diagnose run_command", "numpy.testing runstring"),
        *(
            "numpy.distutils.exec_command exec_command",
            "numpy ndarray.__class__",
            "tensorflow.io write_file",
            "keras.models load_model",
        ),
    ],
)
@pytest.mark.parametrize("protocol", [0, 1, 2])
def test_a_pickle_written_by_hand_is_refused(named: str, protocol: int) -> None:
    module, name = named.split()
    head = b"" if protocol < 2 else b"\x80\x02"
    text = refusal(head + f"c{module}\n{name}\n".encode() + b"X\x01\x00\x00\x001\x85R.")
    assert text == f"names {module}.{name}"


OPCODES: dict[str, tuple[bytes, str]] = {
    "a persistent id": (b"P1\n.", "PERSID"),
    "a persistent id in binary": (b"\x80\x04K\x01Q.", "BINPERSID"),
    "INST": (b"(iposix\nsystem\n.", "INST"),
    "OBJ": (b"(cposix\nsystem\no.", "OBJ"),
    "NEWOBJ": (b"\x80\x02cnumpy\nndarray\n)\x81.", "NEWOBJ"),
    "NEWOBJ_EX": (b"\x80\x04cnumpy\nndarray\n)}\x92.", "EMPTY_DICT"),
    "NEWOBJ_EX without a dictionary": (b"\x80\x04cnumpy\nndarray\n))\x92.", "NEWOBJ_EX"),
    "an extension of one byte": (b"\x80\x02\x82\x01.", "EXT1"),
    "an extension of two bytes": (b"\x80\x02\x83\x01\x00.", "EXT2"),
    "an extension of four bytes": (b"\x80\x02\x84\x01\x00\x00\x00.", "EXT4"),
    "a buffer from elsewhere": (b"\x80\x05\x97.", "NEXT_BUFFER"),
    "BUILD of attributes": (b"\x80\x02cnumpy\ndtype\n}X\x01\x00\x00\x00aK\x01sb.", "EMPTY_DICT"),
    "a long number in digits": (b"L" + b"9" * 100_000 + b"L\n.", "LONG"),
    "a long number in bytes": (b"\x80\x02\x8b\xff\xff\xff\x7f.", "LONG4"),
    "a memo index of gigabytes": (b"\x80\x04Nr\xff\xff\xff\x7f.", "LONG_BINPUT"),
    "a memo index in digits": (b"Np2147483647\n.", "PUT"),
    "lists in lists that double": (b"\x80\x02]" + b"2e" * 60 + b".", "EMPTY_LIST"),
    "a million lists": (b"\x80\x02" + b"]" * 1_000_000 + b".", "EMPTY_LIST"),
    "a set": (b"\x80\x04\x8f.", "EMPTY_SET"),
    "text of exabytes": (b"\x80\x04\x8d" + b"\xff" * 7 + b"\x7f.", "BINUNICODE8"),
    "bytes of exabytes": (b"\x80\x04\x8e" + b"\xff" * 7 + b"\x7f.", "BINBYTES8"),
}


@pytest.mark.parametrize("name", OPCODES)
def test_an_opcode_that_no_array_needs_is_refused(name: str) -> None:
    pickled, opcode = OPCODES[name]
    assert refusal(pickled) == f"uses the opcode {opcode}, which no array of numbers needs"


BOMBS: dict[str, tuple[bytes, str]] = {
    "bytes of four gigabytes": (b"\x80\x03B\xff\xff\xff\xffabc.", "not a pickle (BINBYTES at byte 2 ends at byte "),
    "an array of bytes of exabytes": (b"\x80\x05\x96" + b"\xff" * 7 + b"\x7fabc.", "not a pickle (BYTEARRAY8 at byte 2 ends "),
    "text of four gigabytes": (b"\x80\x02X\xff\xff\xff\xffabc.", "not a pickle (BINUNICODE at byte 2 ends at byte "),
    "a frame of exabytes": (b"\x80\x04\x95" + b"\xff" * 7 + b"\x7fN.", "not a pickle ("),
    "frames in frames": (
        b"\x80\x04" + (b"\x95" + struct.pack("<Q", 9)) * 200,
        "not a pickle (FRAME at byte 11 ends at byte 29, in ",
    ),
    "a frame that ends in a step": (
        b"\x80\x04\x95" + struct.pack("<Q", 3) + b"C\x02B\xff\xff\xff\x7f.",
        "not a pickle (SHORT_BINBYTES ",
    ),
    "tuples in tuples": (b"\x80\x02)" + b"\x85" * 1_000_000 + b".", f"takes more than {MOST_STEPS} steps"),
    "a million marks": (b"\x80\x02" + b"(" * 1_000_000 + b".", f"takes more than {MOST_STEPS} steps"),
    "nothing, a million times": (b"\x80\x02" + b"N" * 1_000_000 + b".", f"takes more than {MOST_STEPS} steps"),
    "a name of megabytes": (b"\x80\x02c" + b"a" * 1_000_000 + b"\nb\n.", "not a pickle (subsection not found)"),
    "text that widens": (
        b"\x80\x02X" + struct.pack("<I", 1_000_003) + b"a" * 1_000_000 + "€".encode() + b".",
        "holds a text that",
    ),
    "a number without a name": (b"\x80\x04K\x01K\x02\x93.", "not a pickle ("),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_few_bytes_do_not_become_many(name: str) -> None:
    pickled, fault = BOMBS[name]
    assert refusal(pickled).startswith(fault)


def rebuilt(change: Callable[[list[Any]], None]) -> bytes:
    """The pickle of an array whose state (version, shape, dtype, is Fortran, bytes) has been changed."""
    rebuild, args, state = parts_of(np.zeros(3, np.float32))
    parts = list(state)
    change(parts)

    class Changed:
        def __reduce__(self) -> Any:
            return rebuild, args, tuple(parts)

    return pickle.dumps(Changed(), 4)


def with_shape(*shape: Any) -> bytes:
    return rebuilt(lambda state: state.__setitem__(1, shape))


@pytest.mark.parametrize(
    ("shape", "fault"),
    [
        ((10**12,), "claims shape (1000000000000,) of float32 and holds 12 bytes"),
        ((2**62, 2**62), f"claims shape ({2**62}, {2**62}) of float32 and holds 12 bytes"),
        ((2**70,), "claims a shape that no array has"),
        ((-3,), "claims a shape that no array has"),
        ((True, 3), "claims a shape that no array has"),
        (("3",), "claims a shape that no array has"),
        ((3, (1,)), "claims a shape that no array has"),
        ((1,) * 64 + (3,), "not a pickle ("),
        ((0, 2**62), "claims shape "),
    ],
)
def test_a_shape_beyond_the_bytes_is_refused(shape: tuple[Any, ...], fault: str) -> None:
    assert refusal(with_shape(*shape)).startswith(fault)


def test_one_text_cannot_become_bytes_many_times() -> None:
    """Protocol 2 spells bytes as a text and a call; the same text may be named by every call."""
    text = b"X" + struct.pack("<I", 1_000_000) + b"a" * 1_000_000 + b"q\x00"
    calls = b"c_codecs\nencode\nh\x00X\x06\x00\x00\x00latin1\x86R" * 20
    assert refusal(b"\x80\x02" + text + calls + b".") == "holds a _Text, not an array"


@pytest.mark.parametrize(
    ("code", "named"),
    [
        ("f4," * 30, "f4,f4,"),
        ("O8", "O8"),
        ("O", "O"),
        ("V1000000000000", "V1000000000000"),
        ("(1000000,1000000)f4", "(1000000,1000000)f4"),
        ("M8[s]", "M8[s]"),
        ("float", "float"),
        ("\n\x1b[31m", r"\\n\\x1b[31m"),
    ],
)
def test_a_type_that_numpys_pickles_of_numbers_do_not_name_is_refused(code: str, named: str) -> None:
    class DType:
        def __reduce__(self) -> Any:
            return np.dtype, (code, False, True), (3, "<", None, None, None, -1, -1, 0)

    text = refusal(rebuilt(lambda state: state.__setitem__(2, DType())))
    assert text.startswith(f"holds an array of '{named}")


@pytest.mark.parametrize("protocol", [2, 4, 5])
@pytest.mark.parametrize(
    "array",
    [
        np.array([None, 1]),
        np.array([Call(os.system, "touch attacked")]),
        np.array(["text"]),
        np.array([b"text"]),
        np.zeros(1, "M8[s]"),
        np.zeros(1, [("a", "f4")]),
        np.zeros(1, [("a", "O")]),
        np.zeros(1, "V8"),
        np.zeros(2, np.dtype("f4", metadata={"a": Call(os.system, "touch attacked")})),
        np.zeros((), "O"),
        np.zeros(2, np.float32).view(StatefulArray),
        np.matrix([[1.0]]),
        np.zeros(1, [("a", "f4")]).view(np.recarray),
    ],
    ids=lambda array: f"{type(array).__name__} of {array.dtype}",
)
@pytest.mark.filterwarnings("ignore:the matrix subclass:PendingDeprecationWarning")
def test_arrays_of_anything_but_numbers_are_refused(array: Any, protocol: int) -> None:
    refusal(pickle.dumps(array, protocol))


def test_a_scalar_of_an_object_holds_a_pickle_that_is_not_read() -> None:
    """numpy itself unpickles the bytes that stand in for an object."""
    inner = pickle.dumps(Call(os.system, "touch attacked"))
    object_type = pickle.dumps(np.dtype("O"), 2)[2:-1]
    scalar = b"\x80\x03cnumpy.core.multiarray\nscalar\n" + object_type + b"C" + bytes([len(inner)]) + inner + b"\x86R."
    assert refusal(scalar) == "holds an array of 'O8'"


@pytest.mark.parametrize(
    ("value", "fault"),
    [
        ([1.0], "uses the opcode EMPTY_LIST, which no array of numbers needs"),
        (3.5, "uses the opcode BINFLOAT, which no array of numbers needs"),
        ((1, 2), "holds a tuple, not an array"),
        (None, "holds a NoneType, not an array"),
        (np.ndarray, "holds a type, not an array"),
        (np.dtype("f4"), "holds a _DType, not an array"),
    ],
)
def test_a_pickle_of_something_else_is_refused(value: Any, fault: str) -> None:
    assert refusal(pickle.dumps(value, 4)) == fault


WHOLE = dump_array(np.ones(100))


@pytest.mark.parametrize("damaged", [b"", b"\x00" * 10, b"no pickle", WHOLE[:60], WHOLE[:-1], WHOLE + b"."])
def test_damaged_bytes_are_refused(damaged: bytes) -> None:
    assert refusal(damaged).startswith("not a pickle (")


@pytest.mark.parametrize("end", range(0, len(WHOLE), 7))
def test_a_pickle_that_is_cut_off_is_refused(end: int) -> None:
    refusal(WHOLE[:end])


def test_what_one_pickle_sets_is_not_there_for_the_next() -> None:
    """BUILD on what a name stands for: a class, a text, an instance."""
    for name in (b"numpy\nndarray", b"numpy\ndtype", b"ml_dtypes\nbfloat16", b"_codecs\nencode"):
        refusal(b"\x80\x02c" + name + b"\n(K\x03X\x01\x00\x00\x00>K\x07tb.")
    array = np.arange(6, dtype=np.float32)
    np.testing.assert_array_equal(load_array(pickle.dumps(array, 4), PLACE), array)


def test_the_limit_of_steps_leaves_room_for_arrays_of_all_axes() -> None:
    array = np.zeros((1,) * 64, ">c16")
    for protocol in (2, 3, 4, 5):
        pickled = pickle.dumps(array, protocol)
        assert len(list(pickletools.genops(pickled))) < MOST_STEPS
        assert load_array(pickled, PLACE).shape == array.shape


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_reading_an_array_takes_the_memory_of_its_bytes_once_or_twice(protocol: int) -> None:
    pickled = pickle.dumps(np.zeros(1_000_000, np.float32), protocol)
    with watch.memory() as taken, watch.acts() as done:
        load_array(pickled, PLACE)
    assert taken.peak_bytes < 2 * len(pickled) + SPARE_BYTES
    assert done.acts == []


def test_the_watch_sees_what_a_pickle_runs(tmp_path: Any, monkeypatch: Any) -> None:
    """The tests above could not fail otherwise."""
    monkeypatch.chdir(tmp_path)
    with watch.acts() as done, watch.memory() as taken:
        pickle.loads(pickle.dumps(Call(os.system, "touch attacked")))  # noqa: S301 - written here
        pickle.loads(pickle.dumps(Call(np.zeros, 1_000_000)))  # noqa: S301 - written here
    assert ("os.system", "b'touch attacked'") in done.acts
    assert taken.peak_bytes > 8_000_000
    assert [path.name for path in tmp_path.iterdir()] == ["attacked"]
