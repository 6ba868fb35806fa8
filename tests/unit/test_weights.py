"""A model's arrays come from messages that are numbered by their keys."""

import numpy as np
import pytest

from protocol.errors import ModelError
from protocol.pickles import dump_array
from protocol.weights import array_key, load_arrays


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
        ([b"\x00", b"\x01" * 5000], "t[0]@1: a message of weights has an array's index as key and its pickle as value"),
    ],
)
def test_indexes_that_do_not_number_the_arrays_are_refused(keys: list[bytes | None], fault: str) -> None:
    value = dump_array(np.zeros(1))
    with pytest.raises(ModelError) as caught:
        load_arrays([(key, value, f"t[0]@{offset}") for offset, key in enumerate(keys)])
    assert str(caught.value) == fault
