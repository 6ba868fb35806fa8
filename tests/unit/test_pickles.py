"""Arrays come out of pickles as they went in, and go out as every numpy reads them."""

import pickle
import pickletools
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra import numpy as hnp

from protocol.pickles import dump_array, load_array
from tests.support import golden

PLACE = "FED-m-model_data_topic[0]@7"
DTYPES = ["float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "bool"]
ML_DTYPES = [ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn, ml_dtypes.float8_e5m2]


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
