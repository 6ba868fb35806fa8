"""Whole batches of JSON records: what the standard library reads one by one, and no number of one record in another."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from decoders import make_decoder
from decoding.column import DATA, LABEL, Side, UnfitError
from decoding.json_column import JsonColumn, json_plan
from decoding.options import Options
from protocol.errors import BadRecordError
from protocol.records import Array
from tests.unit.test_decoders_json import batch, decode, refusal

# Each a kind of stream: its data_type, and its numbers.
FAMILIES: dict[str, tuple[str, st.SearchStrategy[Any]]] = {
    "small integers": ("uint8", st.integers(0, 255) | st.booleans()),
    "integers": ("int64", st.integers(-(2**63), 2**63 - 1)),
    "unsigned integers": ("uint64", st.integers(0, 2**64 - 1)),
    "integers as floats": ("int32", st.integers(-(2**31), 2**31 - 1) | st.integers(-(2**31), 2**31 - 1).map(float)),
    "floats": ("float32", st.floats(width=32, allow_nan=False, allow_infinity=False)),
    "doubles": ("double", st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**64), 2**64)),
    "booleans": ("bool", st.sampled_from([True, False, 0, 1, 0.0, 1.0])),
}
ODDITIES = [
    b"1,2", b"[3", b"4]", b'"', b'"1"', b"]", b"[", b"],[", b"{}", b"[]", b"", b" ", b"null", b"true", b"[null]", b'["1"]',
    b'"ab"', b"[[1],[2]]", b'{"a":1,"b":2}', b'{"b":1,"a":2}', b'{"a":"1","b":2}', b'{"a":1}', b"[1,2]", b'["a","b"]', b"1.5",
    b"[1,2.5]", b"[true,false]", b"[9007199254740993,1.0]", b"[18446744073709551615,0]", b"[1e999,1]", b"[NaN,1]", b"\xff",
    b"[256,-1]", b"[1 2]", b"[1,2],", b"[[1,2]]", b'{"a":[1],"b":[2]}', b"[{},{}]", b'[{"a":1},2]', b"//", b"1", b"-0", b"[1,2]\n",
]  # fmt: skip


@st.composite
def layouts(draw: st.DrawFn, numbers: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """A strategy of values which all have the same form."""
    form = draw(st.sampled_from(["number", "array", "grid", "object", "object of objects"]))
    if form == "number":
        return numbers
    if form in ("array", "grid"):
        sizes = draw(st.lists(st.integers(1, 4), min_size=1, max_size=1 if form == "array" else 3))
        for size in sizes:
            numbers = st.lists(numbers, min_size=size, max_size=size)
        return numbers
    names = draw(st.lists(st.text(max_size=2), min_size=1, max_size=3, unique=True))
    return st.fixed_dictionaries({name: numbers if form == "object" else draw(layouts(numbers)) for name in names})


def numbers_of(value: Any, first: Any) -> list[float]:
    """The numbers in a value, fields in the order of the first one."""
    if isinstance(value, dict):
        return [number for name in first for number in numbers_of(value[name], first[name])]
    if isinstance(value, list):
        return [number for inner, one in zip(value, first, strict=True) for number in numbers_of(inner, one)]
    return [value]


def column_of(first: bytes, side: Side = DATA, **config: object) -> JsonColumn:
    plan = json_plan(Options(config, side))
    assert plan is not None
    column = plan.settle(first)
    assert isinstance(column, JsonColumn)
    return column


def one_by_one(column: JsonColumn, raws: list[bytes]) -> Array | int:
    """What a column makes of each record alone, number by number, or which one it refuses first."""
    rows = []
    for index, raw in enumerate(raws):
        try:
            rows.append(column.stack.stack([column._row(raw)]))
        except UnfitError:
            return index
    return np.concatenate(rows)


def at_once(raws: list[bytes], side: Side, config: dict[str, object]) -> Array | int:
    """What the decoder makes of the batch, or which record it names."""
    others: list[Any] = [1] * len(raws)
    try:
        samples = make_decoder("JSON", config).decode(batch(raws) if side is DATA else batch(others, raws))
    except BadRecordError as exc:
        return exc.index
    return samples.features if side is DATA else samples.labels


def assert_the_same_as_one_by_one(raws: list[bytes], side: Side = DATA, **config: object) -> None:
    got, expected = at_once(raws, side, config), one_by_one(column_of(raws[0], side, **config), raws)
    if isinstance(got, int) or isinstance(expected, int):
        assert got == expected
    else:
        np.testing.assert_array_equal(got, expected, strict=True)


@pytest.mark.parametrize("family", FAMILIES)
@given(st.data())
@settings(deadline=None, max_examples=60)
def test_a_batch_has_the_numbers_that_the_standard_library_reads(family: str, data: st.DataObject) -> None:
    name, numbers = FAMILIES[family]
    raws = [json.dumps(value).encode() for value in data.draw(st.lists(data.draw(layouts(numbers)), min_size=1, max_size=5))]
    first = json.loads(raws[0])
    rows: list[Array] = [np.array(numbers_of(json.loads(raw), first), object).astype(name) for raw in raws]
    decoded = make_decoder("JSON", {"data_type": name}).decode(batch(raws)).features
    np.testing.assert_array_equal(decoded.reshape(len(raws), -1), np.stack(rows), strict=True)


@given(
    st.sampled_from(ODDITIES),
    st.lists(st.sampled_from(ODDITIES), max_size=6),
    st.sampled_from([None, "float32", "int64", "bool"]),
)
@settings(deadline=None, max_examples=600)
def test_odd_records_are_in_a_batch_what_they_are_one_by_one(first: bytes, others: list[bytes], name: str | None) -> None:
    for side in (DATA, LABEL):
        config = {f"{side.name}_type": name}
        try:
            column_of(first, side, **config)
        except UnfitError:
            return
        assert_the_same_as_one_by_one([first, *others], side, **config)


@pytest.mark.parametrize("family", FAMILIES)
@given(st.data())
@settings(deadline=None, max_examples=60)
def test_a_batch_with_damage_is_what_its_records_are_one_by_one(family: str, data: st.DataObject) -> None:
    name, numbers = FAMILIES[family]
    values = data.draw(st.lists(data.draw(layouts(numbers)), min_size=2, max_size=6))
    raws = [json.dumps(value).encode() for value in values]
    index = data.draw(st.integers(1, len(raws) - 1))
    cut = data.draw(st.integers(0, len(raws[index])))
    head, tail = raws[index][:cut], raws[index][cut:]
    damage = data.draw(st.sampled_from(["truncate", "move on", "move back", "put in"]))
    if damage == "move on" and index + 1 < len(raws):
        raws[index : index + 2] = [head, tail + raws[index + 1]]
    elif damage == "move back" and index > 1:
        raws[index - 1 : index + 1] = [raws[index - 1] + head, tail]
    elif damage == "put in":
        raws[index] = head + data.draw(st.sampled_from(ODDITIES)) + tail
    else:
        raws[index] = head
    assert_the_same_as_one_by_one(raws, data_type=name)


@pytest.mark.parametrize(
    "pieces",
    [
        [b"1,2", b"[3", b"4]"],
        [b'"', b'"', b"1"],
        [b"]", b"[", b"1"],
        [b"1],[2", b"3", b"4"],
        [b"", b"1,2", b"3"],
        [b"1", b"2,", b"3"],
    ],
)
def test_records_that_are_json_only_together_are_refused(pieces: list[bytes]) -> None:
    index = next(index for index, piece in enumerate(pieces) if piece != b"1")
    with pytest.raises(BadRecordError) as caught:
        make_decoder("JSON", {}).decode(batch([0, *pieces]))
    assert caught.value.index == 1 + index


def test_arrays_that_have_only_together_the_right_number_of_numbers_are_refused() -> None:
    assert refusal([[1, 2], [3]]) == "value is an array of 1, expected 2 (shape 2)"
    assert refusal([[[1, 2], [3, 4]], [[1], [2, 3, 4]]]) == "value[0] is an array of 1, expected 2 (shape 2 2)"
    assert refusal([{"a": [1, 2], "b": [3]}, {"a": [1], "b": [2, 3]}]) == "value.a is an array of 1, expected 2 (shape 2)"
    with pytest.raises(BadRecordError, match="@11: value is an array of 1"):
        decode([[1, 2], [3], [4, 5, 6]])


@pytest.mark.parametrize(
    ("first", "text", "shown"),
    [
        ([1, 2], "ab", "the text 'ab'"),
        ([1, 2], "12", "the text '12'"),
        ([1, 2], {"a": 1, "b": 2}, "an object"),
        ([1, 2], {"1": 1, "2": 2}, "an object"),
        (1, "1", "the text '1'"),
    ],
)
def test_what_can_be_gone_through_is_not_taken_for_numbers(first: Any, text: Any, shown: str) -> None:
    assert refusal([first, text]).startswith(f"value is {shown}, expected ")


def test_the_only_record_that_differs_is_named_in_a_large_batch() -> None:
    values: list[list[float]] = [list(range(index, index + 300)) for index in range(2000)]
    assert decode(values)[:, 299].tolist() == list(range(299, 2299))
    values[700][5] = 0.5
    assert decode(values)[699:702, 5].tolist() == [704, 0.5, 706]
    assert refusal([*values[:1500], [*values[0][:299], "1"]]) == "value[299] is the text '1', expected a number"


def test_integers_of_64_bits_stay_exact_beside_floats_in_other_records() -> None:
    assert decode([[2**63 - 1], [1.0], [-(2**63)]], data_type="int64").tolist() == [[2**63 - 1], [1], [-(2**63)]]
    assert decode([[0.0], [2**64 - 1]], data_type="uint64").tolist() == [[0], [2**64 - 1]]


def test_integers_become_floats_as_their_doubles_do() -> None:
    numbers = [2**60 + 1, 2**64 - 1, 2**24 + 1, (1 << 54) + (1 << 30) + 1, 0.1]
    expected = np.array(numbers, np.float64).astype(np.float32)
    for values in (numbers, numbers[:4], numbers[2:4]):
        np.testing.assert_array_equal(decode(values), expected[[numbers.index(value) for value in values]], strict=True)
