"""AVRO records, written by avro's own writer and compared with what avro's own reader reads."""

from __future__ import annotations

import io
import json
import math
import struct
from typing import Any

import avro.io
import avro.schema
import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from decoders import InputConfigError, make_decoder
from protocol.errors import BadRecordError
from protocol.records import Array, RecordBatch, Samples

EXAMPLE = '{"type": "record", "name": "reading", "fields": [{"name": "temperature", "type": "float"}]}'
NUMBERS = (
    "half, float, float32, double, float64, int (one unsigned byte), int64, int32, int16, int8, uint16, uint8, bool "
    "or another numpy scalar's name"
)
SUIT = {"type": "enum", "name": "suit", "symbols": ["clubs", "hearts", "spades"]}
SIX = {"type": "fixed", "name": "six", "size": 6}
POINT = {"type": "record", "name": "point", "fields": [{"name": "x", "type": "int"}, {"name": "y", "type": "int"}]}


def record(**fields: Any) -> dict[str, Any]:
    """The schema of a record of these fields."""
    return {"type": "record", "name": "r", "fields": [{"name": name, "type": kind} for name, kind in fields.items()]}


LABEL = record(digit="int")


def write(schema: Any, datum: Any) -> bytes:
    out = io.BytesIO()
    avro.io.DatumWriter(avro.schema.make_avsc_object(schema)).write(datum, avro.io.BinaryEncoder(out))
    return out.getvalue()


def read_back(schema: Any, raw: bytes) -> Any:
    return avro.io.DatumReader(avro.schema.make_avsc_object(schema)).read(avro.io.BinaryDecoder(io.BytesIO(raw)))


def batch(values: list[bytes], keys: list[bytes] | None = None) -> RecordBatch:
    labels = [write(LABEL, {"digit": 7})] * len(values) if keys is None else keys
    return RecordBatch("readings", 0, range(10, 10 + len(values)), labels, values)


def decode(schema: Any, datums: list[Any], **config: object) -> Array:
    """Features of datums that avro writes."""
    decoder = make_decoder("AVRO", {"data_scheme": schema, "label_scheme": LABEL, **config})
    return decoder.decode(batch([write(schema, datum) for datum in datums])).features


def decode_labels(schema: Any, datums: list[Any], **config: object) -> Array:
    decoder = make_decoder("AVRO", {"data_scheme": LABEL, "label_scheme": schema, **config})
    keys = [write(schema, datum) for datum in datums]
    return decoder.decode(batch([write(LABEL, {"digit": 7})] * len(keys), keys)).labels


def refusal(schema: Any, values: list[bytes], **config: object) -> BadRecordError:
    with pytest.raises(BadRecordError) as caught:
        make_decoder("AVRO", {"data_scheme": schema, "label_scheme": LABEL, **config}).decode(batch(values))
    return caught.value


def faults(**config: object) -> tuple[str, ...]:
    with pytest.raises(InputConfigError) as caught:
        make_decoder("AVRO", {"label_scheme": LABEL, **config})
    return caught.value.faults


def scheme_faults(schema: Any, **config: object) -> list[str]:
    """What faults say after key and value."""
    told = faults(data_scheme=schema, **config)
    shown = repr(schema)
    prefix = f"INPUT_CONFIG.data_scheme={shown if len(shown) <= 80 else shown[:80] + '...'} "
    assert [fault[: len(prefix)] for fault in told] == [prefix] * len(told)
    return [fault.removeprefix(prefix) for fault in told]


def zigzag(number: int) -> bytes:
    """An int or long as Avro writes it, written here so that numbers outside the type can be written too."""
    rest, out = (number << 1) ^ (number >> 63), bytearray()
    while rest > 0x7F:
        out.append(rest & 0x7F | 0x80)
        rest >>= 7
    return bytes([*out, rest])


class TestValues:
    def test_three_float_fields_are_a_vector_of_three(self) -> None:
        decoded = decode(record(a="float", b="float", c="float"), [{"a": 1.5, "b": -2, "c": 0}, {"a": 3, "b": 4, "c": 5}])
        np.testing.assert_array_equal(decoded, np.array([[1.5, -2, 0], [3, 4, 5]], np.float32), strict=True)

    @pytest.mark.parametrize(
        ("kind", "dtype", "numbers"),
        [
            ("int", np.int32, [-(2**31), 0, 2**31 - 1]),
            ("long", np.int64, [-(2**63), 0, 2**63 - 1]),
            ("float", np.float32, [0.5, math.inf, -0.0]),
            ("double", np.float64, [0.1, -math.inf, 1e300]),
            ("boolean", np.bool_, [True, False, True]),
        ],
    )
    def test_a_type_of_numbers_has_its_dtype(self, kind: str, dtype: type[np.generic], numbers: list[float]) -> None:
        decoded = decode(record(a=kind), [{"a": number} for number in numbers])
        np.testing.assert_array_equal(decoded, np.array(numbers, dtype).reshape(-1, 1), strict=True)

    def test_an_enum_is_its_index(self) -> None:
        decoded = decode_labels(record(a=SUIT), [{"a": "spades"}, {"a": "clubs"}])
        np.testing.assert_array_equal(decoded, np.array([2, 0], np.int32), strict=True)

    @pytest.mark.parametrize(
        ("kinds", "dtype"),
        [
            (("int", "long"), np.int64),
            (("int", "float"), np.float64),
            (("float", "double"), np.float64),
            (("boolean", "float"), np.float32),
            (("boolean", SUIT), np.int32),
        ],
    )
    def test_a_mixture_has_the_dtype_that_numpy_promotes_it_to(self, kinds: tuple[Any, Any], dtype: type[np.generic]) -> None:
        datum = {name: "clubs" if kind is SUIT else 1 for name, kind in zip("ab", kinds, strict=True)}
        datum = {
            name: bool(part) if kind == "boolean" else part for (name, part), kind in zip(datum.items(), kinds, strict=True)
        }
        assert decode(record(a=kinds[0], b=kinds[1]), [datum]).dtype == np.dtype(dtype)

    def test_arrays_and_records_are_flattened_in_schema_order(self) -> None:
        schema = record(p=POINT, a={"type": "array", "items": "int"}, q="point", z="int")
        datum = {"z": 9, "q": {"y": 7, "x": 6}, "a": [3, 4, 5], "p": {"x": 1, "y": 2}}
        assert decode(schema, [datum]).tolist() == [[1, 2, 3, 4, 5, 6, 7, 9]]

    def test_arrays_of_arrays_and_of_records_are_flattened_in_order(self) -> None:
        ints = {"type": "array", "items": "int"}
        schema = record(a={"type": "array", "items": ints}, p={"type": "array", "items": POINT})
        datum = {"a": [[1], [2, 3]], "p": [{"x": 4, "y": 5}, {"x": 6, "y": 7}]}
        assert decode(schema, [datum]).tolist() == [[1, 2, 3, 4, 5, 6, 7]]

    def test_a_name_with_a_namespace_is_found(self) -> None:
        point = {**POINT, "namespace": "geo"}
        schema = {**record(p=point, q="geo.point", r=["null", "geo.point"]), "namespace": "other"}
        datum = {"p": {"x": 1, "y": 2}, "q": {"x": 3, "y": 4}, "r": {"x": 5, "y": 6}}
        assert decode(schema, [datum]).tolist() == [[1, 2, 3, 4, 5, 6]]

    @pytest.mark.parametrize("union", [["null", "float"], ["float", "null"], ["float"]])
    def test_a_union_of_one_type_of_numbers_is_that_type(self, union: list[str]) -> None:
        decoded = decode(record(a=union), [{"a": 1.5}])
        np.testing.assert_array_equal(decoded, np.array([[1.5]], np.float32), strict=True)

    @pytest.mark.parametrize(
        ("logical", "kind", "datum"),
        [
            ("date", "int", 2**31 - 1),
            ("time-millis", "int", 5),
            ("timestamp-millis", "long", 2**62),
            ("timestamp-micros", "long", -(2**63)),
            ("no such type", "double", 0.5),
        ],
    )
    def test_of_a_logical_type_the_number_underneath_counts(self, logical: str, kind: str, datum: float) -> None:
        config = {"data_scheme": record(a={"type": kind, "logicalType": logical}), "label_scheme": LABEL}
        decoded = make_decoder("AVRO", config).decode(batch([write(record(a=kind), {"a": datum})])).features
        assert decoded.tolist() == [[datum]]

    def test_a_decimals_bytes_are_numbers_of_the_data_type(self) -> None:
        kind = {"type": "bytes", "logicalType": "decimal", "precision": 4, "scale": 2}
        config = {"data_scheme": record(a=kind), "label_scheme": LABEL, "data_type": "uint8"}
        decoded = make_decoder("AVRO", config).decode(batch([write(record(a="bytes"), {"a": b"\x01\x02"})])).features
        assert decoded.tolist() == [[1, 2]]

    @pytest.mark.parametrize("name", ["uint8", "int", "int16", "float", "half", "double", "uint64", ">i4", "bool"])
    def test_bytes_and_fixed_are_the_wire_form_of_numbers(self, name: str) -> None:
        wire = np.dtype({"int": "u1", "float": "<f4", "half": "<f2", "double": "<f8"}.get(name, name))
        numbers = np.array([0, 1, 1], wire)
        fixed = {"type": "fixed", "name": "f", "size": 3 * wire.itemsize}
        decoded = decode(record(a="bytes", b=fixed), [{"a": numbers.tobytes(), "b": numbers[::-1].tobytes()}], data_type=name)
        np.testing.assert_array_equal(decoded, np.array([[0, 1, 1, 1, 1, 0]], wire.newbyteorder("=")), strict=True)

    def test_nan_is_a_number_like_others(self) -> None:
        assert np.isnan(decode(record(a="float"), [{"a": math.nan}])).tolist() == [[True]]

    def test_arrays_are_contiguous(self) -> None:
        assert decode(record(a="float", b="float"), [{"a": 1, "b": 2}] * 3).flags.c_contiguous


class TestShapes:
    @pytest.mark.parametrize("kind", ["int", ["null", "int"], {"type": "record", "name": "inner", "fields": LABEL["fields"]}])
    def test_a_label_of_one_number_is_a_scalar(self, kind: Any) -> None:
        datum = {"digit": 4} if isinstance(kind, dict) else 4
        np.testing.assert_array_equal(
            decode_labels(record(a=kind), [{"a": datum}] * 2), np.array([4, 4], np.int32), strict=True
        )

    def test_a_datum_of_one_number_is_a_vector_of_one(self) -> None:
        assert decode(record(a="int"), [{"a": 4}] * 2).shape == (2, 1)

    def test_a_label_of_several_numbers_is_a_vector(self) -> None:
        assert decode_labels(POINT, [{"x": 1, "y": 2}] * 3).shape == (3, 2)

    def test_a_label_in_an_array_is_a_vector(self) -> None:
        assert decode_labels(record(a={"type": "array", "items": "int"}), [{"a": [1]}]).shape == (1, 1)

    @pytest.mark.parametrize(
        ("reshape", "shape"), [("2 2", (1, 2, 2)), ("4", (1, 4)), ("2 -1", (1, 2, 2)), (None, (1, 4)), ([4, 1], (1, 4, 1))]
    )
    def test_a_reshape_is_used_where_it_agrees(self, reshape: object, shape: tuple[int, ...]) -> None:
        assert (
            decode(record(a="int", b="int", c="int", d="int"), [dict.fromkeys("abcd", 1)], data_reshape=reshape).shape == shape
        )

    @pytest.mark.parametrize(("reshape", "shape"), [("", (1,)), ("1", (1, 1))])
    def test_a_label_has_the_shape_that_is_asked_for(self, reshape: str, shape: tuple[int, ...]) -> None:
        assert decode_labels(LABEL, [{"digit": 1}], label_reshape=reshape).shape == shape

    @pytest.mark.parametrize(("reshape", "takes"), [("2 2", "4"), ("", "1"), ("2 -1", "a multiple of 2"), ([5], "5")])
    def test_a_reshape_that_contradicts_the_schema_is_a_fault(self, reshape: object, takes: str) -> None:
        assert faults(data_scheme=record(a="int", b=["null", "int"], c="int"), data_reshape=reshape) == (
            f'INPUT_CONFIG.data_reshape={reshape!r} takes {takes} numbers, and data_scheme has 3: give e.g. "3", or null to leave flat',
        )

    def test_a_reshape_that_contradicts_a_datums_array_is_a_bad_record(self) -> None:
        schema = record(a={"type": "array", "items": "int"})
        values = [write(schema, {"a": [1, 2, 3, 4]}), write(schema, {"a": [1, 2, 3]})]
        assert (
            str(refusal(schema, values, data_reshape="2 2")) == "readings[0]@11: value holds 3 numbers, expected 4 (shape 2 2)"
        )
        assert str(refusal(schema, values[1:], data_reshape="2 -1")) == (
            "readings[0]@10: value holds 3 numbers, expected a multiple of 2 (shape 2 -1)"
        )

    def test_every_datum_has_as_many_numbers_as_the_first(self) -> None:
        schema = record(a={"type": "array", "items": "int"})
        values = [write(schema, {"a": [1, 2]}), write(schema, {"a": [3, 4]}), write(schema, {"a": [5]})]
        assert str(refusal(schema, values)) == "readings[0]@12: value holds 1 numbers, expected 2 (shape 2)"

    def test_a_datum_without_numbers_is_a_bad_record(self) -> None:
        schema = record(a={"type": "array", "items": "int"})
        assert str(refusal(schema, [write(schema, {"a": []})])) == "readings[0]@10: value holds no numbers"


class TestTypes:
    @pytest.mark.parametrize(
        ("kind", "name", "dtype"),
        [
            ("int", "uint8", np.uint8),
            ("int", "int", np.uint8),
            ("int", "float", np.float32),
            ("long", "int16", np.int16),
            ("long", "double", np.float64),
            ("double", "float32", np.float32),
            ("float", "half", np.float16),
            ("boolean", "bool", np.bool_),
            ("boolean", "uint8", np.uint8),
            ("boolean", "float", np.float32),
            ("int", ">i2", np.int16),
        ],
    )
    def test_a_type_is_used_where_it_agrees(self, kind: str, name: str, dtype: type[np.generic]) -> None:
        datum = True if kind == "boolean" else 1
        np.testing.assert_array_equal(
            decode(record(a=kind), [{"a": datum}], data_type=name), np.array([[1]], dtype), strict=True
        )

    @pytest.mark.parametrize(
        ("kind", "name"), [("float", "uint8"), ("double", "int64"), ("float", "bool"), ("int", "bool"), ("long", "bool_")]
    )
    def test_a_type_that_contradicts_the_schema_is_a_fault(self, kind: str, name: str) -> None:
        assert faults(data_scheme=record(a="boolean", b=record(c=kind) | {"name": "i"}), data_type=name) == (
            f"INPUT_CONFIG.data_type={name!r} contradicts the field b.c of data_scheme, of type {kind}: "
            "give a type that holds its numbers, or null to take the schema's",
        )

    def test_a_contradiction_is_told_once(self) -> None:
        assert len(faults(data_scheme=record(a="float", b="float"), data_type="uint8")) == 1

    @pytest.mark.parametrize(
        ("kind", "name", "number", "shown", "dtype"),
        [
            ("int", "uint8", 256, "256", "uint8"),
            ("int", "int", -1, "-1", "uint8"),
            ("long", "int16", 2**40, str(2**40), "int16"),
            ("double", "float", 1e39, "1e+39", "float32"),
            ("long", "half", 70000, "70000", "float16"),
        ],
    )
    def test_a_number_that_the_type_cannot_hold_is_a_bad_record(
        self, kind: str, name: str, number: float, shown: str, dtype: str
    ) -> None:
        schema = record(a=kind)
        error = refusal(schema, [write(schema, {"a": 1}), write(schema, {"a": number})], data_type=name)
        assert str(error) == (
            f"readings[0]@11: value holds {shown}, which does not fit {dtype}: set data_type to a type that holds it"
        )

    def test_infinity_survives_a_narrowing(self) -> None:
        assert decode(record(a="double"), [{"a": math.inf}], data_type="float").tolist() == [[math.inf]]

    @pytest.mark.parametrize("value", ["string", "object", 8])
    def test_what_is_no_type_of_numbers_is_a_fault(self, value: object) -> None:
        assert faults(data_scheme=record(a="bytes"), data_type=value) == (
            f"INPUT_CONFIG.data_type={value!r} is no type of numbers: give one of {NUMBERS}",
        )


class TestBadDatums:
    def test_a_null_is_a_bad_record_that_names_its_field(self) -> None:
        schema = record(a="int", p=record(b=["null", "float"]) | {"name": "inner"})
        values = [write(schema, {"a": 1, "p": {"b": 2.0}}), write(schema, {"a": 1, "p": {"b": None}})]
        assert str(refusal(schema, values)) == (
            "readings[0]@11: value.p.b is null, and there is no number for null: a model needs one for each feature"
        )

    def test_a_null_in_an_array_is_a_bad_record(self) -> None:
        schema = record(a={"type": "array", "items": ["null", "int"]})
        assert refusal(schema, [write(schema, {"a": [1, None]})]).reason.startswith("value.a[] is null, ")

    @pytest.mark.parametrize("length", range(12))
    def test_a_truncated_datum_is_a_bad_record(self, length: int) -> None:
        schema = record(a="float", b="float", c="float")
        raw = write(schema, {"a": 1, "b": 2, "c": 3})[:length]
        error = refusal(schema, [raw])
        assert str(error) == f"readings[0]@10: value of {length} bytes is no datum of data_scheme: it ends too early"
        assert isinstance(error.__cause__, Exception)
        assert isinstance(error.__cause__.__cause__, EOFError)

    def test_bytes_left_over_are_a_bad_record(self) -> None:
        schema = record(a="float")
        error = refusal(schema, [b"\1" + write(schema, {"a": 1}) + b"\0"])
        assert error.reason == "value of 6 bytes is no datum of data_scheme: 2 bytes are left over"

    @pytest.mark.parametrize(
        ("schema", "datum", "schema_id", "problem"),
        [
            (record(a="float", b="float", c="float"), {"a": 1, "b": 2, "c": 3}, 0, "5 bytes are left over"),
            (record(a="bytes"), {"a": b"abc"}, 7, "8 bytes are left over"),
            (record(a=["float", "null"], b="float"), {"a": 1.0, "b": 2.0}, 7, "5 bytes are left over"),
            (record(a=["int", "null"], b={**SIX, "size": 20}), {"a": 2, "b": b"x" * 20}, 2**31, "4 bytes are left over"),
            (record(a="boolean", b="bytes"), {"a": True, "b": b"x"}, 0x7E000000, "it ends too early"),
            (record(a=["int", "null"], b=["int", "null"]), {"a": 1, "b": 2}, 0x020A0000, "IndexError: list index out of range"),
        ],
    )
    def test_a_schema_registry_header_is_told(self, schema: Any, datum: Any, schema_id: int, problem: str) -> None:
        raw = b"\0" + struct.pack(">I", schema_id) + write(schema, datum)
        is_packed = any(isinstance(part, bytes) for part in datum.values())
        assert refusal(schema, [raw], data_type="uint8" if is_packed else None).reason == (
            f"value of {len(raw)} bytes is no datum of data_scheme: {problem}; "
            'its start looks like a schema registry header: give INPUT_CONFIG "wire_format": "confluent", or send the bare datum'
        )

    def test_a_zero_byte_in_front_of_no_datum_is_not_taken_for_a_header(self) -> None:
        assert (
            refusal(record(a="float"), [b"\0" * 8]).reason
            == "value of 8 bytes is no datum of data_scheme: 4 bytes are left over"
        )

    @pytest.mark.parametrize("index", [-1, 3, 2**40])
    def test_an_enum_index_that_does_not_exist_is_a_bad_record(self, index: int) -> None:
        assert str(refusal(record(a=SUIT), [zigzag(index)])) == (
            f"readings[0]@10: value.a is {index}, outside its type enum (0 to 2)"
        )

    @pytest.mark.parametrize("number", [2**31, -(2**31) - 1])
    @pytest.mark.parametrize("others", [{}, {"b": "float"}])
    def test_an_int_of_more_than_32_bits_is_a_bad_record(self, number: int, others: dict[str, str]) -> None:
        raw = zigzag(number) + b"\0" * 4 * len(others)
        assert str(refusal(record(a="int", **others), [raw])) == (
            f"readings[0]@10: value.a is {number}, outside its type int (-2147483648 to 2147483647)"
        )

    def test_a_union_branch_that_does_not_exist_is_a_bad_record(self) -> None:
        assert refusal(record(a=["null", "int"]), [zigzag(5) + zigzag(1)]).reason == (
            "value of 2 bytes is no datum of data_scheme: IndexError: list index out of range"
        )

    def test_bytes_that_hold_half_a_number_are_a_bad_record(self) -> None:
        schema = record(a="bytes")
        assert refusal(schema, [write(schema, {"a": b"abc"})], data_type="int16").reason == (
            "value.a has 3 bytes, expected a multiple of 2 (int16)"
        )

    def test_a_bad_label_is_told_as_the_key(self) -> None:
        with pytest.raises(BadRecordError) as caught:
            make_decoder("AVRO", {"data_scheme": LABEL, "label_scheme": LABEL}).decode(batch([zigzag(1)] * 2, [zigzag(1), b""]))
        assert str(caught.value) == "readings[0]@11: key of 0 bytes is no datum of label_scheme: it ends too early"

    @given(st.binary(max_size=40))
    @settings(deadline=None)
    def test_any_bytes_give_samples_or_a_bad_record(self, raw: bytes) -> None:
        schema = record(a="long", b=["null", "int"], c={"type": "array", "items": POINT}, d="bytes", e=SUIT)
        decoder = make_decoder("AVRO", {"data_scheme": schema, "label_scheme": LABEL, "data_type": "double"})
        try:
            samples: Samples | None = decoder.decode(batch([raw]))
        except BadRecordError:
            samples = None
        assert samples is None or samples.features.shape[0] == 1


class TestSchemas:
    @pytest.mark.parametrize(
        "spelling",
        [
            json.dumps(LABEL),
            str(LABEL),
            json.dumps(LABEL).replace('"', "'"),
            json.dumps({**LABEL, "doc": None, "x": True}).replace('"', "'"),
            LABEL,
        ],
        ids=["JSON", "Python", "single quotes", "single quotes with null", "object"],
    )
    def test_every_spelling_of_a_schema_is_read(self, spelling: object) -> None:
        samples = make_decoder("AVRO", {"data_scheme": spelling, "label_scheme": spelling}).decode(batch([zigzag(3)]))
        assert (samples.features.tolist(), samples.labels.tolist()) == ([[3]], [7])

    def test_a_missing_schema_is_a_fault(self) -> None:
        with pytest.raises(InputConfigError) as caught:
            make_decoder("AVRO", {"label_scheme": None})
        assert caught.value.faults == (
            f"INPUT_CONFIG.data_scheme is not set: give the record schema of the values, e.g. {EXAMPLE}",
            f"INPUT_CONFIG.label_scheme is not set: give the record schema of the keys, e.g. {EXAMPLE}",
        )

    @pytest.mark.parametrize(
        ("value", "word"),
        [
            ("{'type':", "Expecting property name"),
            ("", "Expecting value"),
            ("[" * 5000, "recursion"),
            (8, "Could not make an Avro Schema object from 8"),
            ({}, 'No "type" property'),
            (record(a="nothing"), '"nothing"'),
            ({"type": "record", "name": "r", "fields": 3}, "Fields property"),
        ],
    )
    def test_what_is_no_schema_is_a_fault(self, value: object, word: str) -> None:
        [told] = scheme_faults(value)
        assert told.startswith("is no Avro schema (")
        assert word in told
        assert told.endswith(f"): give e.g. {EXAMPLE}")

    @pytest.mark.parametrize(
        ("schema", "kind"),
        [("float", "float"), (["null", "int"], "union"), ({"type": "array", "items": "int"}, "array"), (SUIT, "enum")],
    )
    def test_a_schema_that_is_no_records_is_a_fault(self, schema: Any, kind: str) -> None:
        text = json.dumps(schema)
        assert scheme_faults(text) == [f"is the schema of type {kind}, expected a record schema: give e.g. {EXAMPLE}"]

    @pytest.mark.parametrize("kind", ["string", "null", "map"])
    def test_what_is_no_number_is_a_fault_that_names_its_path(self, kind: str) -> None:
        avro_type = {"type": "map", "values": "int"} if kind == "map" else kind
        schema = record(p={**record(a={"type": "array", "items": avro_type}), "name": "inner"})
        assert scheme_faults(schema) == [
            f"has the field p.a[], of type {kind}, which is no number: leave it out or send a number"
        ]

    @pytest.mark.parametrize(
        ("union", "types"),
        [
            (["int", "float"], "int, float"),
            (["null", "int", "string"], "null, int, string"),
            (["null"], "null"),
            ([], "nothing"),
        ],
    )
    def test_a_union_of_not_one_type_is_a_fault(self, union: list[str], types: str) -> None:
        assert scheme_faults(record(a=union)) == [
            f"has the field a, a union of {types}: give one type of numbers, or null and one"
        ]

    @pytest.mark.parametrize("link", ["r", ["null", "r"], {"type": "array", "items": "r"}])
    def test_a_record_that_holds_itself_is_a_fault(self, link: Any) -> None:
        [told] = scheme_faults(record(a="int", next=link))
        assert told.endswith("of type r, which holds itself: give a schema of fixed depth")

    def test_a_record_without_fields_is_a_fault(self) -> None:
        assert scheme_faults(record()) == ["has the record r without fields: give it some, or leave it out"]

    @pytest.mark.parametrize("kind", ["bytes", {"type": "fixed", "name": "f", "size": 4}])
    def test_bytes_without_a_type_are_a_fault(self, kind: Any) -> None:
        name = "bytes" if kind == "bytes" else "fixed"
        assert scheme_faults(record(a=kind)) == [
            f"has the field a, of type {name}: give data_type, the type of the numbers in it"
        ]

    @pytest.mark.parametrize("size", [0, 6])
    def test_a_fixed_that_holds_no_whole_numbers_is_a_fault(self, size: int) -> None:
        assert scheme_faults(record(a={"type": "fixed", "name": "f", "size": size}), data_type="float") == [
            f"has the field a, of {size} bytes, which make no numbers of 4 bytes (float32): give another data_type or size"
        ]

    def test_all_faults_of_both_sides_are_told_at_once(self) -> None:
        told = faults(data_scheme=record(a="string", b="null"), label_scheme="x", data_reshape="0", label_type=3)
        assert [fault.split("=")[0] for fault in told] == [
            "INPUT_CONFIG.data_reshape",
            "INPUT_CONFIG.data_scheme",
            "INPUT_CONFIG.data_scheme",
            "INPUT_CONFIG.label_scheme",
            "INPUT_CONFIG.label_type",
        ]


LEAVES: dict[str, st.SearchStrategy[Any]] = {
    "int": st.integers(-(2**31), 2**31 - 1),
    "long": st.integers(-(2**53), 2**53),
    "float": st.floats(width=32, allow_nan=False),
    "double": st.floats(allow_nan=False),
    "boolean": st.booleans(),
}


@st.composite
def schemas(draw: st.DrawFn, depth: int = 2, names: list[int] | None = None) -> tuple[Any, st.SearchStrategy[Any]]:
    """A record schema of numbers, and its datums."""
    counter = [0] if names is None else names
    counter[0] += 1
    fields, parts = [], {}
    name = f"r{counter[0]}"
    for index in range(draw(st.integers(1, 3))):
        form = draw(st.sampled_from(["leaf", "union", "array", "record"] if depth else ["leaf", "union"]))
        kind: Any = draw(st.sampled_from(sorted(LEAVES)))
        part = LEAVES[kind]
        if form == "record":
            kind, part = draw(schemas(depth=depth - 1, names=counter))
        elif form == "union":
            kind = draw(st.permutations(["null", kind]))
        elif form == "array":
            size = draw(st.integers(0, 3))
            kind, part = {"type": "array", "items": kind}, st.lists(part, min_size=size, max_size=size)
        fields.append({"name": f"f{index}", "type": kind})
        parts[f"f{index}"] = part
    return {"type": "record", "name": name, "fields": fields}, st.fixed_dictionaries(parts)


def numbers_of(part: Any) -> list[float]:
    """The numbers in a datum, in order."""
    if isinstance(part, dict):
        return [number for inner in part.values() for number in numbers_of(inner)]
    return [number for inner in part for number in numbers_of(inner)] if isinstance(part, list) else [part]


@given(schemas(), st.data())
@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
def test_the_numbers_are_those_that_avros_own_reader_reads(
    made: tuple[Any, st.SearchStrategy[Any]], data: st.DataObject
) -> None:
    schema, datums = made
    raws = [write(schema, datum) for datum in data.draw(st.lists(datums, min_size=1, max_size=3))]
    expected = [numbers_of(read_back(schema, raw)) for raw in raws]
    assume(expected[0])
    decoder = make_decoder("AVRO", {"data_scheme": json.dumps(schema), "label_scheme": LABEL, "data_type": None})
    assert decoder.decode(batch(raws)).features.tolist() == expected
