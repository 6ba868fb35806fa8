"""Weights are read without running what a pickle holds, and written so that every numpy reads them."""

import collections
import io
import os
import pickle
import pickletools
import struct
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra import numpy as hnp

from protocol.errors import ModelError
from protocol.weights import array_key, dump_array, load_array, load_arrays
from tests.support import golden

PLACE = "FED-m-model_data_topic[0]@7"
DTYPES = ["float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "bool"]
ML_DTYPES = [ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn, ml_dtypes.float8_e5m2]


def refusal(pickled: bytes) -> str:
    with pytest.raises(ModelError) as caught:
        load_array(pickled, PLACE)
    return str(caught.value)


@pytest.mark.parametrize("name", golden.NAMES)
@pytest.mark.parametrize("kind", ["model_data", "agg_data"])
def test_captured_arrays_are_read_and_written_back_to_the_byte(name: str, kind: str) -> None:
    captured = golden.records(name, kind)
    assert captured
    for record in captured:
        array = load_array(record.value, PLACE)
        np.testing.assert_array_equal(array, pickle.loads(record.value))  # noqa: S301 - a file of our own
        assert dump_array(array) == record.value


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("dtype", [*DTYPES, *ML_DTYPES])
@pytest.mark.parametrize("shape", [(), (0, 3), (2, 3), (100, 200)])
def test_an_array_of_any_keras_dtype_is_read(dtype: Any, shape: tuple[int, ...], protocol: int) -> None:
    array = np.arange(np.prod(shape)).reshape(shape).astype(dtype)
    loaded = load_array(pickle.dumps(array, protocol), PLACE)
    assert (loaded.shape, loaded.dtype) == (array.shape, array.dtype)
    assert loaded.tobytes() == array.tobytes()


@given(
    hnp.arrays(hnp.scalar_dtypes().filter(lambda one: one.kind in "biuf"), hnp.array_shapes(min_dims=0, max_dims=4, min_side=0))
)
def test_what_is_written_is_what_is_read(array: np.ndarray) -> None:
    loaded = load_array(dump_array(array), PLACE)
    assert loaded.shape == array.shape
    assert loaded.dtype == array.dtype.newbyteorder("=")
    np.testing.assert_array_equal(loaded, array)


def test_a_scalar_of_numpy_is_an_array_without_axes() -> None:
    loaded = load_array(pickle.dumps(np.int64(3), 4), PLACE)
    assert (loaded.shape, str(loaded.dtype), int(loaded)) == ((), "int64", 3)


def test_fortran_order_and_big_endian_are_read_as_the_same_numbers() -> None:
    array = np.asfortranarray(np.arange(6, dtype=">f4").reshape(2, 3))
    loaded = load_array(pickle.dumps(array, 4), PLACE)
    assert loaded.dtype == np.dtype("f4")
    np.testing.assert_array_equal(loaded, array)


@pytest.mark.parametrize("size", [0, 3, 100_000])
def test_pickles_name_the_module_that_numpy_1_has(size: int) -> None:
    dumped = dump_array(np.ones(size, np.float32))
    named = [argument for opcode, argument, _ in pickletools.genops(dumped) if opcode.name == "SHORT_BINUNICODE"]
    assert named[:4] == ["numpy.core.multiarray", "_reconstruct", "numpy", "ndarray"]
    assert dumped[:2] == b"\x80\x04"
    np.testing.assert_array_equal(pickle.loads(dumped), np.ones(size, np.float32))  # noqa: S301 - written here


def test_a_dumped_array_is_in_c_order_and_keeps_its_axes() -> None:
    transposed = np.arange(6.0).reshape(2, 3).T
    loaded = pickle.loads(dump_array(transposed))  # noqa: S301 - written here
    assert loaded.flags.c_contiguous
    np.testing.assert_array_equal(loaded, transposed)
    assert pickle.loads(dump_array(np.array(1.5))).shape == ()  # noqa: S301 - written here


@pytest.mark.parametrize(
    ("index", "key"),
    [(0, b"\x00"), (1, b"\x01"), (255, b"\xff"), (256, b"\x01\x00"), (65_535, b"\xff\xff"), (65_536, b"\x01\x00\x00")],
)
def test_an_index_is_a_big_endian_key_as_long_as_it_needs(index: int, key: bytes) -> None:
    assert array_key(index) == key


def test_three_hundred_arrays_come_back_in_index_order() -> None:
    arrays = [np.full((2,), index, np.float32) for index in range(300)]
    records = [(array_key(index), dump_array(array), f"t[0]@{index}") for index, array in enumerate(arrays)]
    for loaded, array in zip(load_arrays(records[::-1]), arrays, strict=True):
        np.testing.assert_array_equal(loaded, array)


@pytest.mark.parametrize(
    ("keys", "fault"),
    [
        ([b"\x00", b"\x00"], "t[0]@1: array 0 stands twice in the announced range, so another one is missing"),
        ([b"\x00", b"\x02"], "t[0]@1: array index 2 in a model of 2 messages"),
        ([b"\x00", None], "t[0]@1: a message of weights has an array's index as key and its pickle as value"),
        ([b"", b"\x01"], "t[0]@0: a message of weights has an array's index as key and its pickle as value"),
    ],
)
def test_indexes_that_do_not_number_the_arrays_are_refused(keys: list[bytes | None], fault: str) -> None:
    value = dump_array(np.zeros(1))
    with pytest.raises(ModelError) as caught:
        load_arrays([(key, value, f"t[0]@{offset}") for offset, key in enumerate(keys)])
    assert str(caught.value) == fault


class Attack:
    """What a pickle can be made to call."""

    def __init__(self, function: Any, *args: Any) -> None:
        self._call = (function, args)

    def __reduce__(self) -> Any:
        return self._call


@pytest.mark.parametrize(
    ("attack", "named"),
    [
        (Attack(os.system, "touch attacked"), "names posix.system"),
        (Attack(eval, "1"), "names builtins.eval"),
        (Attack(getattr, "text", "upper"), "names builtins.getattr"),
        (Attack(np.load, "x"), "names numpy.load"),
        (Attack(io.open, "attacked", "w"), "names io.open"),
        (np.ma.zeros(2), "names numpy.ma"),
        (collections.OrderedDict(), "names collections.OrderedDict"),
    ],
)
@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_a_pickle_that_names_anything_else_is_refused(
    attack: Any, named: str, protocol: int, tmp_path: Any, monkeypatch: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    text = refusal(pickle.dumps(attack, protocol))
    assert text.startswith(PLACE)
    if protocol > 2:
        assert named in text
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("value", "fault"),
    [
        ([1.0], "holds a list, not an array"),
        (3.5, "holds a float, not an array"),
        (np.array([None]), "holds an array of objects"),
        (np.array(["a"]), "holds an array of 'U1'"),
        (np.zeros(1, "M8[s]"), "holds an array of 'M8'"),
        (np.zeros(1, [("a", "f4")]), "holds an array of 'V4'"),
        (np.dtype("f4"), "holds a _DType, not an array"),
    ],
)
def test_a_pickle_of_something_else_is_refused(value: Any, fault: str) -> None:
    assert refusal(pickle.dumps(value, 4)) == f"{PLACE}: {fault}; expected the pickle of a numeric numpy array"


@pytest.mark.parametrize("damaged", [b"", b"\x00" * 10, b"no pickle", dump_array(np.ones(100))[:60]])
def test_damaged_bytes_are_refused(damaged: bytes) -> None:
    assert refusal(damaged).startswith(f"{PLACE}: not a pickle (")


def test_a_shape_beyond_the_bytes_is_refused() -> None:
    pickled = pickle.dumps(np.zeros(3, np.float32), 2).replace(b"K\x03\x85", b"J" + struct.pack("<i", 2**30) + b"\x85")
    assert f"claims shape ({2**30},) of float32 and holds 12 bytes" in refusal(pickled)


def test_a_memo_index_that_would_take_gigabytes_is_refused() -> None:
    assert "uses the opcode LONG_BINPUT" in refusal(b"\x80\x04Nr\xff\xff\xff\x7f.")
