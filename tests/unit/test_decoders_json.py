"""JSON records, written by the standard library's own writer."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from decoders import InputConfigError, make_decoder
from protocol.errors import BadRecordError
from protocol.records import Array, RecordBatch, Samples

NUMBERS = (
    "half, float, float32, double, float64, int (one unsigned byte), int64, int32, int16, int8, uint16, uint8, bool "
    "or another numpy scalar's name"
)


def texts(parts: list[Any]) -> list[bytes]:
    return [part if isinstance(part, bytes) else json.dumps(part).encode() for part in parts]


def batch(values: list[Any], keys: list[Any] | None = None, start: int = 10) -> RecordBatch:
    """Records of JSON values; bytes stand as they are."""
    labels = [1] * len(values) if keys is None else keys
    return RecordBatch("readings", 0, range(start, start + len(values)), texts(labels), texts(values))


def decode(values: list[Any], **config: object) -> Array:
    return make_decoder("JSON", config).decode(batch(values)).features


def decode_labels(keys: list[Any], **config: object) -> Array:
    return make_decoder("JSON", config).decode(batch([1] * len(keys), keys)).labels


def refusal(values: list[Any], **config: object) -> str:
    """The error's text, where the values are good up to the last."""
    with pytest.raises(BadRecordError) as caught:
        decode(values, **config)
    return str(caught.value).removeprefix(f"readings[0]@{9 + len(values)}: ")


def label_refusal(keys: list[Any], **config: object) -> str:
    with pytest.raises(BadRecordError) as caught:
        decode_labels(keys, **config)
    return str(caught.value).removeprefix(f"readings[0]@{9 + len(keys)}: ")


def faults(**config: object) -> tuple[str, ...]:
    with pytest.raises(InputConfigError) as caught:
        make_decoder("JSON", config)
    return caught.value.faults


class TestForms:
    @pytest.mark.parametrize(
        ("values", "expected"),
        [
            ([1, 2.5, True], [1, 2.5, 1]),
            ([[1, 2], [3, 4.5]], [[1, 2], [3, 4.5]]),
            ([[[1, 2], [3, 4]]], [[[1, 2], [3, 4]]]),
            ([{"a": 1, "b": 2}, {"a": 3, "b": 4}], [[1, 2], [3, 4]]),
            ([{"a": 5}], [[5]]),
            ([{"a": [1, 2], "b": {"c": True, "d": [[3], [4]]}}], [[1, 2, 1, 3, 4]]),
        ],
        ids=["number", "array", "nested array", "object", "object of one", "nested object"],
    )
    def test_features_are_float32_of_the_values_shape(self, values: list[Any], expected: list[Any]) -> None:
        np.testing.assert_array_equal(decode(values), np.array(expected, np.float32), strict=True)

    @pytest.mark.parametrize(
        ("keys", "expected"),
        [
            ([3, 4], [3, 4]),
            ([True, False], [1, 0]),
            ([{"class": 3}, {"class": 4}], [3, 4]),
            ([{"class": {"id": 3}}], [3]),
            ([{"class": [3]}], [[3]]),
            ([[0, 1], [1, 0]], [[0, 1], [1, 0]]),
            ([{"a": 1, "b": 2}], [[1, 2]]),
        ],
        ids=["number", "boolean", "object of one", "object of object of one", "object of array", "array", "object"],
    )
    def test_labels_of_integers_are_int64_and_of_one_number_scalars(self, keys: list[Any], expected: list[Any]) -> None:
        np.testing.assert_array_equal(decode_labels(keys), np.array(expected, np.int64), strict=True)

    @pytest.mark.parametrize("keys", [[0.5, 1, 2.0], [1.0, 2]])
    def test_labels_that_begin_with_a_float_are_float32(self, keys: list[Any]) -> None:
        np.testing.assert_array_equal(decode_labels(keys), np.array(keys, np.float32), strict=True)

    def test_arrays_are_contiguous(self) -> None:
        assert decode([[[1, 2], [3, 4]]] * 2).flags.c_contiguous

    @given(
        npst.arrays(
            np.float64, npst.array_shapes(max_dims=4, max_side=4), elements=st.floats(allow_nan=False, allow_infinity=False)
        )
    )
    @settings(deadline=None)
    def test_every_double_survives(self, sent: Array) -> None:
        np.testing.assert_array_equal(decode(sent.tolist(), data_type="double"), sent, strict=True)

    @given(npst.arrays(st.sampled_from([np.int64, np.uint64, np.int8]), npst.array_shapes(max_dims=3, max_side=4)))
    @settings(deadline=None)
    def test_every_integer_survives(self, sent: Array) -> None:
        np.testing.assert_array_equal(decode(sent.tolist(), data_type=sent.dtype.name), sent, strict=True)

    @given(
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
        )
    )
    @settings(deadline=None)
    def test_any_json_gives_samples_or_a_bad_record(self, value: Any) -> None:
        try:
            samples: Samples | None = make_decoder("JSON", {}).decode(batch([value, value], [value, value]))
        except BadRecordError:
            samples = None
        assert samples is None or len(samples) == len(samples.labels) == 2

    @given(st.binary(max_size=20))
    @settings(deadline=None)
    def test_any_bytes_give_samples_or_a_bad_record(self, raw: bytes) -> None:
        try:
            samples: Samples | None = make_decoder("JSON", {}).decode(batch([raw]))
        except BadRecordError:
            samples = None
        assert samples is None or len(samples) == 1


class TestFields:
    def test_fields_stand_in_the_order_of_the_first_record(self) -> None:
        values = [b'{"b": 1, "a": {"y": 2, "x": 3}}', b'{"a": {"x": 6, "y": 5}, "b": 4}']
        assert decode(values).tolist() == [[1, 2, 3], [4, 5, 6]]

    def test_fields_stand_in_the_order_that_is_asked_for(self) -> None:
        assert decode([{"a": 1, "b": 2}, {"b": 4, "a": 3}], data_fields=["b", "a"]).tolist() == [[2, 1], [4, 3]]

    def test_fields_that_are_not_asked_for_are_ignored(self) -> None:
        values = [{"a": 1, "id": "x7", "b": 2}, {"a": 3, "b": 4}, {"when": None, "a": 5, "b": 6}]
        assert decode(values, data_fields=("a", "b")).tolist() == [[1, 2], [3, 4], [5, 6]]

    def test_a_label_of_one_field_that_is_asked_for_is_a_scalar(self) -> None:
        assert decode_labels([{"class": 2, "by": "me"}] * 2, label_fields=["class"]).tolist() == [2, 2]

    @pytest.mark.parametrize(
        ("values", "told"),
        [
            ([{"a": 1, "b": 2}, {"a": 1}], "value lacks the field b"),
            ([{"a": 1}, {"a": 1, "b": 2}], "value has the field b, which the first record has not"),
            ([{"a": {"b": 1}}, {"a": {"c": 1}}], "value.a lacks the field b"),
            ([{"a": {"b": 1}}, {"a": {"b": 1, "c": 2}}], "value.a has the field c, which the first record has not"),
            ([{"a": 1}, 1], "value is the number 1, expected an object with a"),
            ([{"a": {"b": 1}}, {"a": [1]}], "value.a is an array of 1, expected an object with b"),
        ],
    )
    def test_every_record_has_the_fields_of_the_first(self, values: list[Any], told: str) -> None:
        assert refusal(values) == told

    @pytest.mark.parametrize(
        ("values", "told"),
        [
            ([{"a": 1}], "value lacks the field b"),
            ([{"a": 1, "b": 2}, {"b": 1}], "value lacks the field a"),
            ([[1, 2]], "value is an array of 2, expected an object with a, b"),
            ([{"a": 1, "b": "x"}], "value.b is the text 'x', expected a number"),
        ],
    )
    def test_fields_that_are_asked_for_must_be_there(self, values: list[Any], told: str) -> None:
        assert refusal(values, data_fields=["a", "b"]) == told

    @pytest.mark.parametrize("value", ["a", [], ["a", "a"], ["a", 1], 8, {"a": 1}, [["a"]]])
    def test_what_is_no_list_of_names_is_a_fault(self, value: object) -> None:
        assert faults(data_fields=value) == (
            f"INPUT_CONFIG.data_fields={value!r} is no list of different names: "
            'give e.g. ["temperature", "humidity"], null to take the first record\'s fields',
        )


class TestBadValues:
    @pytest.mark.parametrize(
        ("raw", "word"),
        [
            (b"", "Input is a zero-length, empty document"),
            (b"[1, 2", "unexpected end of data"),
            (b"NaN", "unexpected character"),
            (b"[Infinity]", "unexpected character"),
            (b"-Infinity", "no digit after sign"),
            (b"1e400", "number is infinity when parsed as double"),
            (b"\xff", "str is not valid UTF-8"),
            (b"[" * 5000, "depth limit exceeded"),
            (b"1 2", "unexpected content after document"),
        ],
    )
    def test_what_is_no_json_is_a_bad_record_with_the_parsers_word(self, raw: bytes, word: str) -> None:
        told = refusal([1, raw])
        assert told.startswith("value is no JSON: ")
        assert word in told

    def test_a_bad_label_is_told_as_the_key(self) -> None:
        with pytest.raises(BadRecordError) as caught:
            make_decoder("JSON", {}).decode(batch([1, 1, 1], [1, 2, "three"]))
        assert (str(caught.value), caught.value.index) == ("readings[0]@12: key is the text 'three', expected a number", 2)

    @pytest.mark.parametrize("first", [[], [1], [[1, 1]]])
    @pytest.mark.parametrize(("value", "name"), [("x", "the text 'x'"), (None, "null")])
    def test_a_text_or_null_is_a_bad_record(self, first: list[Any], value: object, name: str) -> None:
        if first and isinstance(first[0], list):
            assert refusal([*first, [1, value]]) == f"value[1] is {name}, expected a number"
        else:
            assert refusal([*first, value]) == f"value is {name}, expected a number"

    @pytest.mark.parametrize(
        ("value", "told"),
        [
            ([1, "x"], "value[1] is the text 'x', expected a number"),
            ([[1, 2], [3, None]], "value[1][1] is null, expected a number"),
            ([{"a": 1}], "value[0] is an object, expected a number"),
            ([[1, 2], [3]], "value[1] is an array of 1, expected 2 (shape 2 2)"),
            ([[1, 2], 3], "value[1] is the number 3, expected an array of 2"),
            ([1, [2]], "value[1] is an array of 1, expected a number"),
            ({"a": {"b": [1, "x"]}}, "value.a.b[1] is the text 'x', expected a number"),
            ({"a": {"b": None}}, "value.a.b is null, expected a number"),
            ([], "value holds an empty array"),
            ([[], []], "value holds an empty array"),
            ({"a": []}, "value.a holds an empty array"),
            ({}, "value is an object without fields"),
            ({"a": {}}, "value.a is an object without fields"),
        ],
    )
    def test_what_is_no_regular_arrangement_of_numbers_is_told_by_its_path(self, value: Any, told: str) -> None:
        assert refusal([value]) == told

    @pytest.mark.parametrize(
        ("values", "told"),
        [
            ([1, [1]], "value is an array of 1, expected a number"),
            ([[1], 1], "value is the number 1, expected an array of 1"),
            ([[1, 2], [1, 2, 3]], "value is an array of 3, expected 2 (shape 2)"),
            ([[[1, 2]], [[1], [2]]], "value is an array of 2, expected 1 (shape 1 2)"),
            ([1, {"a": 1}], "value is an object, expected a number"),
        ],
    )
    def test_every_record_has_the_form_of_the_first(self, values: list[Any], told: str) -> None:
        assert refusal(values) == told

    def test_the_form_holds_for_later_batches(self) -> None:
        decoder = make_decoder("JSON", {})
        decoder.decode(batch([[1, 2]]))
        with pytest.raises(BadRecordError, match=r"^readings\[0\]@30: value is an array of 1, expected 2"):
            decoder.decode(batch([[1]], start=30))

    @pytest.mark.parametrize(("key", "value"), [("x", [1]), (1, None)])
    def test_a_bad_first_record_settles_nothing(self, key: Any, value: Any) -> None:
        decoder = make_decoder("JSON", {})
        with pytest.raises(BadRecordError, match="@10"):
            decoder.decode(batch([value], [key]))
        assert decoder.decode(batch([{"a": 2}], [0.5])).labels.tolist() == [0.5]

    @pytest.mark.parametrize("open_close", [("[", "]"), ('{"a":', "}")])
    def test_a_value_that_is_nested_too_deep_is_a_bad_record(self, open_close: tuple[str, str]) -> None:
        opening, closing = open_close
        told = refusal([(opening * 900 + "1" + closing * 900).encode()])
        assert told.endswith("is nested deeper than 31 levels")


class TestTypes:
    @pytest.mark.parametrize(
        ("name", "dtype"),
        [
            ("half", np.float16),
            ("float", np.float32),
            ("double", np.float64),
            ("int", np.uint8),
            ("int64", np.int64),
            (">i4", np.int32),
        ],
    )
    def test_a_type_gives_the_dtype(self, name: str, dtype: type[np.generic]) -> None:
        np.testing.assert_array_equal(decode([1, 2.0, True], data_type=name), np.array([1, 2, 1], dtype), strict=True)

    def test_booleans_are_true_false_0_and_1(self) -> None:
        decoded = decode_labels([True, 0, 1.0], label_type="bool")
        np.testing.assert_array_equal(decoded, np.array([True, False, True]), strict=True)

    @pytest.mark.parametrize(
        ("name", "number", "dtype"),
        [
            ("int", 256, "uint8"),
            ("int8", -129, "int8"),
            ("uint64", -1, "uint64"),
            ("int64", 2**63, "int64"),
            ("uint8", 1.5, "uint8"),
            ("int64", 1e300, "int64"),
            ("int64", 2.0**54, "int64"),
            ("float", 1e39, "float32"),
            ("half", 65536, "float16"),
            ("bool", 2, "bool"),
        ],
    )
    def test_a_number_that_the_type_cannot_hold_is_a_bad_record(self, name: str, number: float, dtype: str) -> None:
        assert refusal([1, number], data_type=name) == (
            f"value holds {number!r}, which does not fit {dtype}: set data_type to a type that holds it"
        )

    @pytest.mark.parametrize("number", [2**64, -(2**63) - 1, 10**40])
    @pytest.mark.parametrize("name", ["int64", "uint64"])
    def test_an_integer_beyond_64_bits_is_a_bad_record(self, number: int, name: str) -> None:
        assert f"which does not fit {name}: set data_type" in refusal([1, number], data_type=name)

    def test_features_beyond_float32_are_bad_records_until_a_type_is_set(self) -> None:
        assert refusal([[1, 1e39]]) == "value holds 1e+39, which does not fit float32: set data_type to a type that holds it"
        assert decode([[1, 1e39]], data_type="double").tolist() == [[1, 1e39]]

    @pytest.mark.parametrize("number", [0.5, 2.0, 1e30])
    def test_a_float_after_a_label_of_integers_is_a_bad_record(self, number: float) -> None:
        assert label_refusal([1, number]) == (
            f'key holds {number!r}, and the first record has integers alone: set label_type, e.g. "float32"'
        )

    def test_a_float_after_a_label_of_integers_is_good_where_the_type_is_set(self) -> None:
        assert decode_labels([1, 0.5], label_type="float").tolist() == [1, 0.5]

    def test_a_label_beyond_int64_is_a_bad_record(self) -> None:
        assert label_refusal([1, 2**63]) == (
            f"key holds {2**63}, which does not fit int64: set label_type to a type that holds it"
        )

    @pytest.mark.parametrize("value", ["string", "str", "object", "complex64", "", 8, ["int"]])
    def test_what_is_no_type_of_numbers_is_a_fault(self, value: object) -> None:
        assert faults(label_type=value) == (f"INPUT_CONFIG.label_type={value!r} is no type of numbers: give one of {NUMBERS}",)

    @pytest.mark.parametrize("dtype", [np.float32, np.float16])
    @given(st.floats(allow_nan=False, allow_infinity=False))
    @settings(deadline=None)
    def test_a_number_becomes_the_nearest_of_the_type(self, dtype: type[np.floating[Any]], number: float) -> None:
        with np.errstate(over="ignore"):
            nearest = dtype(number)
        if math.isinf(nearest):
            assert "does not fit" in refusal([number], data_type=dtype.__name__)
        else:
            np.testing.assert_array_equal(decode([number], data_type=dtype.__name__), np.array([nearest]), strict=True)


class TestShapes:
    @pytest.mark.parametrize(
        ("reshape", "shape"), [("2 2", (1, 2, 2)), ("4", (1, 4)), ("-1 1", (1, 4, 1)), (None, (1, 4)), ([2, -1], (1, 2, 2))]
    )
    def test_a_reshape_is_used_where_it_agrees(self, reshape: object, shape: tuple[int, ...]) -> None:
        assert decode([[1, 2, 3, 4]], data_reshape=reshape).shape == shape

    @pytest.mark.parametrize(
        ("value", "reshape", "shape"),
        [(5, "1", (1, 1)), ({"a": 5}, "", (1,)), ([[5]], "", (1,)), ({"a": [1, 2]}, "2 1", (1, 2, 1))],
    )
    def test_a_reshape_goes_before_the_form(self, value: Any, reshape: str, shape: tuple[int, ...]) -> None:
        assert decode([value], data_reshape=reshape).shape == shape

    @pytest.mark.parametrize(
        ("reshape", "wanted"), [("2 2", "4 (shape 2 2)"), ("", "1 (a scalar)"), ("2 -1", "a multiple of 2 (shape 2 -1)")]
    )
    def test_a_record_that_does_not_fill_the_reshape_is_bad(self, reshape: str, wanted: str) -> None:
        assert refusal([[1, 2, 3]], data_reshape=reshape) == f"value holds 3 numbers, expected {wanted}"

    def test_a_faulty_reshape_is_told_with_all_other_faults(self) -> None:
        told = faults(data_reshape=28, data_type="V4", label_reshape="-1 -1", label_fields=[])
        assert [fault.split("=")[0] for fault in told] == [
            "INPUT_CONFIG.data_type",
            "INPUT_CONFIG.data_reshape",
            "INPUT_CONFIG.label_reshape",
            "INPUT_CONFIG.label_fields",
        ]

    def test_keys_that_no_format_knows_are_left_alone(self) -> None:
        assert decode([1], data_scheme=3, anything=None).tolist() == [1]


def test_values_of_an_unlabelled_stream_have_the_fields_that_the_labelled_one_settled() -> None:
    decoder = make_decoder("JSON", {})
    with pytest.raises(ValueError, match="no record of the labelled stream has settled"):
        decoder.of_values()
    decoder.decode(RecordBatch("labelled", 0, [0], [b"1"], [b'{"b": 1, "a": 2}']))
    values = decoder.of_values()
    samples = values.decode(RecordBatch("unlabelled", 0, [0, 1], [b"", b""], [b'{"a": 3, "b": 4}', b'{"b": 5, "a": 6}']))
    assert samples.features.tolist() == [[4, 3], [5, 6]]
    assert samples.labels.shape == (2, 0)
    with pytest.raises(BadRecordError, match=r"^unlabelled\[0\]@7: "):
        values.decode(RecordBatch("unlabelled", 0, [7], [b""], [b'{"a": 3}']))
