"""AVRO records that name the schemas of a registry, which is a dict here; what they hold is what avro's own reader resolves."""

from __future__ import annotations

import io
import json
import struct
from collections.abc import Mapping
from typing import Any

import avro.io
import avro.schema
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from decoders import Decoder, InputConfigError, make_decoder
from decoding.avro_registry import MOST_IDS
from protocol.errors import BadRecordError, RegistryError
from protocol.records import Array, RecordBatch
from protocol.schemas import RegisteredSchema
from tests.support.registry import FakeRegistry
from tests.unit.test_decoders_avro import LABEL, SUIT, read_back, record, write
from tests.unit.test_decoders_avro_batches import FAMILIES, schemas

CONFLUENT = {"wire_format": "confluent"}
A_LABEL = 100  # the id of LABEL


def registry_of(known: Mapping[int, Any]) -> FakeRegistry:
    return FakeRegistry({A_LABEL: LABEL} | dict(known))


def framed(schema_id: int, datum: bytes) -> bytes:
    return b"\0" + struct.pack(">I", schema_id) + datum


def batch(values: list[bytes], keys: list[bytes] | None = None) -> RecordBatch:
    label = framed(A_LABEL, write(LABEL, {"digit": 7}))
    return RecordBatch("readings", 0, range(10, 10 + len(values)), keys or [label] * len(values), values)


def decoder_of(known: Mapping[int, Any], **config: object) -> Decoder:
    return make_decoder("AVRO", CONFLUENT | config, registry_of(known))


def decode(known: Mapping[int, Any], datums: list[tuple[int, Any]], **config: object) -> Array:
    """Features of datums, each written by the schema of its id."""
    return decoder_of(known, **config).decode(batch([framed(one, write(known[one], datum)) for one, datum in datums])).features


def refusal(known: Mapping[int, Any], values: list[bytes], **config: object) -> BadRecordError:
    with pytest.raises(BadRecordError) as caught:
        decoder_of(known, **config).decode(batch(values))
    return caught.value


def faults(**config: object) -> tuple[str, ...]:
    with pytest.raises(InputConfigError) as caught:
        make_decoder("AVRO", CONFLUENT | config)
    return caught.value.faults


def field(name: str, kind: Any, **rest: Any) -> dict[str, Any]:
    return {"name": name, "type": kind, **rest}


def fields(*parts: dict[str, Any], name: str = "r") -> dict[str, Any]:
    return {"type": "record", "name": name, "fields": list(parts)}


def resolved(writer: Any, reader: Any, datum: Any) -> Any:
    """What avro makes of a datum of one schema for another."""
    both = [avro.schema.make_avsc_object(one) for one in (writer, reader)]
    return avro.io.DatumReader(*both).read(avro.io.BinaryDecoder(io.BytesIO(write(writer, datum))))


class TestOneSchema:
    @settings(max_examples=25, deadline=None)
    @given(st.data(), st.sampled_from(sorted(FAMILIES)), st.integers(1, 2**31 - 1))
    def test_records_are_what_they_are_without_a_registry(self, data: st.DataObject, family: str, schema_id: int) -> None:
        schema, datums = data.draw(schemas(family))
        found = data.draw(st.lists(datums, min_size=1, max_size=20))
        raws = [write(schema, datum) for datum in found]
        config: dict[str, Any] = {"data_type": FAMILIES[family][0]}

        def outcome(decoder: Decoder, records: RecordBatch) -> Any:
            try:
                array = decoder.decode(records).features
            except BadRecordError as exc:
                return exc.index, exc.reason.partition(" is no datum")[0]
            return array.dtype, array.shape, array.tobytes()

        bare = make_decoder("AVRO", {"data_scheme": schema, "label_scheme": LABEL, **config})
        labels = [write(LABEL, {"digit": 7})] * len(raws)
        expected = outcome(bare, RecordBatch("readings", 0, range(len(raws)), labels, raws))
        known = {schema_id: schema, A_LABEL: schema if schema_id == A_LABEL else LABEL}
        keys = (
            [framed(A_LABEL, write(LABEL, {"digit": 7}))] * len(raws)
            if schema_id != A_LABEL
            else [framed(7, b"\2")] * len(raws)
        )
        wire = make_decoder("AVRO", CONFLUENT | config, registry_of({7: "int"} | known))
        assert outcome(wire, batch([framed(schema_id, raw) for raw in raws], keys)) == expected

    def test_the_numbers_in_front_of_a_datum_are_none_of_it(self) -> None:
        schema = record(a="float", b="float")
        decoded = decode({0: schema}, [(0, {"a": 1.5, "b": -2.0}), (0, {"a": 3.0, "b": 4.0})])
        np.testing.assert_array_equal(decoded, np.array([[1.5, -2], [3, 4]], np.float32), strict=True)

    @pytest.mark.parametrize(
        ("schema", "datum", "expected"),
        [("int", 3, 3), ("double", 0.5, 0.5), ("boolean", True, True), (["null", "long"], 2**40, 2**40)],
    )
    def test_a_label_need_not_be_a_record(self, schema: Any, datum: Any, expected: float) -> None:
        decoder = decoder_of({1: record(a="float"), 2: schema})
        labels = decoder.decode(
            batch([framed(1, write(record(a="float"), {"a": 1}))], [framed(2, write(schema, datum))])
        ).labels
        assert labels.tolist() == [expected]

    def test_a_value_may_be_an_array(self) -> None:
        schema = {"type": "array", "items": "float"}
        assert decode({1: schema}, [(1, [1.0, 2.0]), (1, [3.0, 4.0])]).tolist() == [[1, 2], [3, 4]]

    def test_of_a_logical_type_the_number_underneath_counts(self) -> None:
        schema = record(at={"type": "long", "logicalType": "timestamp-millis"}, day={"type": "int", "logicalType": "date"})
        bare = record(at="long", day="int")
        values = [framed(1, write(bare, {"at": 1_700_000_000_000, "day": 19_000}))]
        reader = record(day="long", at="long")
        assert decoder_of({1: schema}).decode(batch(values)).features.tolist() == [[1_700_000_000_000, 19_000]]
        assert decoder_of({1: schema}, data_scheme=reader).decode(batch(values)).features.tolist() == [
            [19_000, 1_700_000_000_000]
        ]

    def test_what_a_schema_refers_to_is_part_of_it(self) -> None:
        point, area = (
            fields(field("x", "int"), field("y", "int"), name="geo.point"),
            fields(field("low", "geo.point"), name="geo.area"),
        )
        schema = fields(field("area", "geo.area"), field("high", "geo.point"), name="geo.map")
        registered = RegisteredSchema("AVRO", json.dumps(schema), (json.dumps(point), json.dumps(area)))
        whole = fields(field("area", fields(field("low", point), name="geo.area")), field("high", "geo.point"), name="geo.map")
        value = framed(1, write(whole, {"area": {"low": {"x": 1, "y": 2}}, "high": {"x": 3, "y": 4}}))
        assert decoder_of({1: registered}).decode(batch([value])).features.tolist() == [[1, 2, 3, 4]]
        high = fields(field("high", fields(field("y", "long"), name="geo.point")), name="geo.map")
        assert decoder_of({1: registered}, data_scheme=high).decode(batch([value])).features.tolist() == [[4]]

    def test_keys_of_an_unlabelled_stream_carry_nothing(self) -> None:
        schema = record(a="int")
        decoder = decoder_of({1: schema})
        value = framed(1, write(schema, {"a": 5}))
        decoder.decode(batch([value]))
        samples = decoder.of_values().decode(batch([value, value], [b"no header", b""]))
        assert (samples.features.tolist(), samples.labels.shape) == ([[5], [5]], (2, 0))


class TestSeveralSchemas:
    OLD, NEW = record(a="float", b="int"), fields(field("b", "int"), field("note", "string"), field("a", "float"))

    def test_each_record_is_read_by_the_schema_that_it_names(self) -> None:
        datums = [(1 + index % 2, {"a": float(index), "b": -index, "note": "x" * index}) for index in range(9)]
        datums = [(one, datum if one == 2 else {"a": datum["a"], "b": datum["b"]}) for one, datum in datums]
        decoded = decode({1: self.OLD, 2: self.NEW}, datums)
        np.testing.assert_array_equal(decoded, np.array([[index, -index] for index in range(9)], np.float64), strict=True)

    def test_the_first_record_settles_what_all_are_read_as(self) -> None:
        decoder = decoder_of({1: self.OLD, 2: fields(field("c", "int"), field("b", "int"), field("a", "float"))})
        assert decoder.open_keys == ("data_scheme", "data_reshape", "label_scheme", "label_reshape")
        first = batch([framed(1, write(self.OLD, {"a": 1.0, "b": 2}))])
        later = batch([framed(2, write(record(c="int", b="int", a="float"), {"a": 3.0, "b": 4, "c": 5}))])
        assert [decoder.decode(one).features.tolist() for one in (first, later)] == [[[1, 2]], [[3, 4]]]
        assert decoder.settled_by == "readings[0]@10"
        assert decoder.schemas() == ["schema 1 (r)", "schema 100 (r)", "schema 2 (r)"]

    def test_two_ids_of_the_same_fields_are_read_alike(self) -> None:
        documented = {**self.OLD, "doc": "of the cellar", "namespace": "home"}
        assert decode({1: self.OLD, 2: documented}, [(2, {"a": 1.0, "b": 2}), (1, {"a": 3.0, "b": 4})]).tolist() == [
            [1, 2],
            [3, 4],
        ]

    def test_a_bad_record_leaves_those_of_other_schemas_where_they_were(self) -> None:
        good = [framed(1, write(self.OLD, {"a": float(n), "b": n})) for n in range(3)]
        good += [framed(2, write(self.NEW, {"a": float(n), "b": n, "note": ""})) for n in range(3, 6)]
        values = [good[3], good[0], b"\0\0\0", good[4], framed(9, b""), good[1], good[2][:-1], good[5], good[2]]
        sifted = decoder_of({1: self.OLD, 2: self.NEW}, data_scheme=self.OLD).sift(batch(values))
        assert sifted.samples is not None
        assert sifted.samples.features[:, 1].tolist() == [3, 0, 4, 1, 5, 2]
        assert [index for index, _ in sifted.bad] == [2, 4, 6]

    def test_each_id_is_asked_for_once_whether_it_is_known_or_not(self) -> None:
        registry = registry_of({1: self.OLD})
        decoder = make_decoder("AVRO", CONFLUENT, registry)
        values = [framed(1, write(self.OLD, {"a": 1.0, "b": 2})), framed(8, b""), framed(9, b"")]
        for _ in range(3):
            assert len(decoder.sift(batch(values * 2)).bad) == 4
        assert sorted(registry.asked) == [1, 8, 9, A_LABEL]


NUMBERS: dict[str, st.SearchStrategy[Any]] = {
    "int": st.integers(-(2**24), 2**24),  # which a float can hold
    "long": st.integers(-(2**24), 2**24),
    "float": st.floats(width=32, allow_nan=False),
    "double": st.floats(allow_nan=False),
    "boolean": st.booleans(),
}
PROMOTED = {"int": ["int", "long", "float", "double"], "long": ["long", "float", "double"], "float": ["float", "double"]}


@st.composite
def evolved(draw: st.DrawFn, depth: int = 1) -> tuple[Any, Any, Any]:
    """A writer's schema, a reader's, which has its fields in another order, without some, with others, and a strategy of datums."""
    written, read, datums = [], [], {}
    for index in range(draw(st.integers(1, 5))):
        name = f"f{index}"
        if depth and draw(st.booleans()):
            kind, wanted, datum = draw(evolved(depth=0))
            kind, wanted = ({**one, "name": f"n{index}"} for one in (kind, wanted))
        else:
            kind = draw(st.sampled_from(sorted(NUMBERS)))
            wanted, datum = draw(st.sampled_from(PROMOTED.get(kind, [kind]))), NUMBERS[kind]
        form = draw(st.sampled_from(["one", "one", "array", "union"]))
        if form == "array":  # of whose items avro promotes none
            kind, wanted = ({"type": "array", "items": one} for one in (kind, kind if isinstance(kind, str) else wanted))
            datum = st.lists(datum, min_size=2, max_size=2)
        elif form == "union":
            kind, wanted = ["null", kind], [wanted, "null"]
        written.append(field(name, kind))
        read += [field(name, wanted)] if index == 0 or draw(st.booleans()) else []
        datums[name] = datum
    if draw(st.booleans()):
        read.append(field("added", "double", default=0.5))
    read = draw(st.permutations(read))
    return fields(*written), fields(*read), st.fixed_dictionaries(datums)


def numbers(schema: Any, value: Any) -> list[float]:
    """The numbers of a value of a schema, in its order."""
    if isinstance(schema, list):
        schema = next(one for one in schema if one != "null")
    if isinstance(schema, str):
        return [value]
    if schema["type"] == "array":
        return [number for one in value for number in numbers(schema["items"], one)]
    return [number for one in schema["fields"] for number in numbers(one["type"], value[one["name"]])]


class TestResolution:
    @settings(max_examples=50, deadline=None)
    @given(st.data())
    def test_a_record_is_what_avro_resolves_it_to(self, data: st.DataObject) -> None:
        writer, reader, datums = data.draw(evolved())
        found = data.draw(st.lists(datums, min_size=1, max_size=4))
        expected = [numbers(reader, resolved(writer, reader, datum)) for datum in found]
        decoded = decode({1: writer}, [(1, datum) for datum in found], data_scheme=reader, data_type="double")
        np.testing.assert_array_equal(decoded, np.array(expected, np.float64), strict=True)

    @settings(max_examples=25, deadline=None)
    @given(st.data())
    def test_records_of_both_schemas_keep_their_order(self, data: st.DataObject) -> None:
        writer, reader, datums = data.draw(evolved())
        mine = numbers(reader, resolved(writer, reader, data.draw(datums)))
        which = data.draw(st.lists(st.booleans(), min_size=1, max_size=8))
        theirs = [data.draw(datums) for _ in which]
        own = [resolved(writer, reader, datum) for datum in theirs]
        known = {1: writer, 2: reader}
        values = [(2, one) if is_own else (1, datum) for is_own, one, datum in zip(which, own, theirs, strict=True)]
        decoded = decode(known, values, data_scheme=reader, data_type="double")
        expected = [numbers(reader, read_back(reader, write(reader, one))) for one in own]
        assert decoded.shape == (len(which), len(mine))
        np.testing.assert_array_equal(decoded, np.array(expected, np.float64))

    def test_a_field_of_another_name_is_found_by_its_alias(self) -> None:
        reader = fields(field("warmth", "double", aliases=["temperature"]), name="reading")
        decoded = decode(
            {1: fields(field("temperature", "float"), name="reading")}, [(1, {"temperature": 1.5})], data_scheme=reader
        )
        np.testing.assert_array_equal(decoded, np.array([[1.5]], np.float64), strict=True)

    def test_a_record_of_another_name_is_read_by_its_alias(self) -> None:
        reader = fields(field("a", "int"), name="new") | {"aliases": ["old"]}
        assert decode({1: fields(field("a", "int"), name="old")}, [(1, {"a": 5})], data_scheme=reader).tolist() == [[5]]

    def test_an_enum_is_the_index_of_its_symbol_in_the_readers_schema(self) -> None:
        reader = record(suit={**SUIT, "symbols": ["spades", "other", "clubs"], "default": "other"})
        datums = [(1, {"suit": one}) for one in ("clubs", "hearts", "spades")]
        assert decode({1: record(suit=SUIT)}, datums, data_scheme=reader).tolist() == [[2], [1], [0]]

    def test_a_type_that_is_used_twice_is_resolved_twice(self) -> None:
        old, new = (fields(*(field(one, "int") for one in names), name="home.point") for names in ("yx", "xy"))
        writer, reader = (fields(field("p", one), field("q", "home.point")) for one in (old, new))
        datum = {"p": {"x": 1, "y": 2}, "q": {"x": 3, "y": 4}}
        assert decode({1: writer}, [(1, datum)], data_scheme=reader).tolist() == [[1, 2, 3, 4]]

    @pytest.mark.parametrize(
        ("kind", "default", "expected"),
        [
            ("float", 1, [1.0]),
            ("long", -(2**63), [-(2**63)]),
            ("boolean", True, [1]),
            (SUIT, "spades", [2]),
            ({"type": "array", "items": "int"}, [4, 5], [4, 5]),
            (fields(field("x", "int"), field("y", "int", default=8), name="p"), {"x": 7}, [7, 8]),
            (["int", "null"], 9, [9]),
        ],
    )
    def test_a_missing_field_is_its_default(self, kind: Any, default: Any, expected: list[float]) -> None:
        reader = fields(field("a", "int"), field("b", kind, default=default))
        assert decode({1: record(a="int")}, [(1, {"a": 1})], data_scheme=reader).tolist() == [[1, *expected]]

    @pytest.mark.parametrize("kind", ["bytes", {"type": "fixed", "name": "two", "size": 2}])
    def test_a_default_of_bytes_is_a_text_whose_characters_are_the_bytes(self, kind: Any) -> None:
        reader = fields(field("a", "bytes"), field("b", kind, default="\u00ff\u0001"))
        decoded = decode({1: record(a="bytes")}, [(1, {"a": b"\x05"})], data_scheme=reader, data_type="uint8")
        assert decoded.tolist() == [[5, 255, 1]]

    @pytest.mark.parametrize(
        ("kind", "default"),
        [
            ("float", "1.5"),
            ("float", 10**400),
            ("int", 2**31),
            ("int", True),
            ("boolean", 0),
            (SUIT, "cups"),
            ({"type": "array", "items": "int"}, [1, None]),
            (fields(field("x", "int"), name="p"), {"y": 1}),
            (["int", "null"], "x"),
        ],
    )
    def test_a_default_that_is_no_value_of_its_field_is_a_fault(self, kind: Any, default: Any) -> None:
        [told] = faults(data_scheme=fields(field("a", "int"), field("b", kind, default=default)))
        name = kind["type"] if isinstance(kind, dict) else "union" if isinstance(kind, list) else kind
        assert told.endswith(f"has for value.b a default that is no {name}")

    def test_null_is_refused_where_it_is_a_default(self) -> None:
        reader = fields(field("a", "int"), field("b", ["null", "int"], default=None))
        assert refusal({1: record(a="int")}, [framed(1, b"\2")], data_scheme=reader).reason == (
            "value.b is null, and there is no number for null: a model needs one for each feature"
        )


class TestBadRecords:
    FLOAT = record(a="float")
    WHERE = "is not in Confluent's wire format, a byte of 0, a schema's id of 4 bytes, and a datum"
    BARE = "or leave INPUT_CONFIG.wire_format out for bare datums"

    @pytest.mark.parametrize("raw", [b"", b"\0", b"\0\0\0\1"])
    def test_a_record_too_short_for_an_id(self, raw: bytes) -> None:
        told = f"value of {len(raw)} bytes {self.WHERE}: it is too short; write values with a registry's Avro serializer, {self.BARE}"
        assert str(refusal({1: self.FLOAT}, [raw])) == f"readings[0]@10: {told}"

    @pytest.mark.parametrize("first", [1, 0x7B, 0xFF])
    def test_a_record_without_the_byte_of_0(self, first: int) -> None:
        raw = bytes([first]) + framed(1, write(self.FLOAT, {"a": 1.0}))[1:]
        told = f"value of 9 bytes {self.WHERE}: it begins with 0x{first:02x}; write values with a registry's Avro serializer, {self.BARE}"
        assert refusal({1: self.FLOAT}, [raw]).reason == told

    def test_a_plain_key(self) -> None:
        with pytest.raises(BadRecordError) as caught:
            decoder_of({1: self.FLOAT}).decode(batch([framed(1, write(self.FLOAT, {"a": 1.0}))], [b"digit-7"]))
        told = f"key of 7 bytes {self.WHERE}: it begins with 0x64; write keys with a registry's Avro serializer, {self.BARE}"
        assert caught.value.reason == told

    def test_an_id_that_is_not_known(self) -> None:
        assert refusal({1: self.FLOAT}, [framed(7, b"")]).reason == "schema 7 is not known"

    def test_an_id_that_cannot_be_is_not_asked_for(self) -> None:
        registry = registry_of({})
        sifted = make_decoder("AVRO", CONFLUENT, registry).sift(batch([framed(2**31, b""), framed(2**32 - 1, b"")]))
        assert [reason for _, reason in sifted.bad] == [
            f"schema {one} cannot be: an id has 31 bits" for one in (2**31, 2**32 - 1)
        ]
        assert registry.asked == []

    @pytest.mark.parametrize("kind", ["JSON", "PROTOBUF"])
    def test_a_schema_of_another_kind(self, kind: str) -> None:
        assert refusal({1: RegisteredSchema(kind, "{}")}, [framed(1, b"")]).reason == (
            f"schema 1 is of type {kind}, expected AVRO: write the stream with an Avro serializer"
        )

    def test_a_datum_that_ends_too_early(self) -> None:
        told = refusal({1: self.FLOAT}, [framed(1, write(self.FLOAT, {"a": 1.0})[:3])]).reason
        assert told == "value of 8 bytes is no datum of schema 1 (r): it ends too early"

    def test_a_datum_that_ends_too_early_and_is_resolved(self) -> None:
        told = refusal({1: self.FLOAT}, [framed(1, b"\0\0\0")], data_scheme=record(a="double")).reason
        assert told == "value of 8 bytes is no datum of schema 1 (r): it ends too early"

    def test_bytes_behind_a_datum_that_is_resolved(self) -> None:
        told = refusal({1: self.FLOAT}, [framed(1, b"\0" * 6)], data_scheme=record(a="double")).reason
        assert told == "value of 11 bytes is no datum of schema 1 (r): 2 bytes are left over"

    def test_a_schema_that_cannot_be_resolved_is_named_beside_the_other(self) -> None:
        told = refusal({4: record(a="double")}, [framed(4, b"\0" * 8)], data_scheme=self.FLOAT).reason
        assert told == (
            "value was written by schema 4 (r), which cannot be resolved to data_scheme: Schema mismatch: double is not float; write by "
            "a schema that can be, or give INPUT_CONFIG.data_scheme one that all can be resolved to"
        )

    def test_a_record_of_another_name_is_told_by_both_names(self) -> None:
        writer = fields(field("a", "int"), field("p", fields(field("x", "int"), name="point")), name="factory.old")
        told = refusal({1: writer}, [framed(1, write(writer, {"a": 1, "p": {"x": 2}}))], data_scheme=record(a="int")).reason
        assert told.startswith(
            "value was written by schema 1 (factory.old), which cannot be resolved to data_scheme: Schema mismatch: "
            "record factory.old is not record r; write by a schema that can be"
        )

    @pytest.mark.parametrize(
        ("kind", "datum"),
        [
            ({"type": "fixed", "name": "p", "size": 4}, b"\1\2\3\4"),
            ({"type": "enum", "name": "p", "symbols": ["x"]}, "x"),
            ("int", 1),
        ],
    )
    def test_a_type_of_the_same_name_that_is_another_one(self, kind: Any, datum: Any) -> None:
        writer, reader = record(a="int", b=kind), record(a="int", b=fields(field("x", "int"), name="p"))
        told = refusal({1: writer}, [framed(1, write(writer, {"a": 1, "b": datum}))], data_scheme=reader).reason
        assert told.startswith("value was written by schema 1 (r), which cannot be resolved to data_scheme: Schema mismatch: ")

    def test_a_later_schema_that_cannot_be_resolved_to_the_first(self) -> None:
        values = [framed(1, write(self.FLOAT, {"a": 1.0})), framed(2, write(record(b="float"), {"b": 1.0}))]
        error = refusal({1: self.FLOAT, 2: record(b="float")}, values)
        assert error.index == 1
        assert error.reason.startswith(
            "value was written by schema 2 (r), which cannot be resolved to schema 1 (r), that of the first good record: "
            "No default value for field a in r; "
        )

    def test_a_schema_of_no_numbers_needs_a_data_scheme(self) -> None:
        schema = record(name="string", a="float")
        assert refusal({3: schema}, [framed(3, write(schema, {"name": "x", "a": 1.0}))]).reason == (
            "schema 3 (r) has the field name, of type string, which is no number: leave it out or send a number; or give data_scheme, "
            "a schema of the numbers alone"
        )
        assert decode({3: schema}, [(3, {"name": "x", "a": 1.5})], data_scheme=self.FLOAT).tolist() == [[1.5]]

    def test_a_registry_that_is_away_is_no_fault_of_a_record(self) -> None:
        def away(_schema_id: int) -> RegisteredSchema:
            raise RegistryError("away")

        with pytest.raises(RegistryError, match="away"):
            make_decoder("AVRO", CONFLUENT, away).sift(batch([framed(1, b"")]))


class TestStrangers:
    def test_a_schema_that_holds_itself(self) -> None:
        schema = record(next=["null", "r"], a="int")
        told = "schema 1 cannot be used (the record r holds itself): register one that can, and write by it"
        assert refusal({1: schema}, [framed(1, b"\2" * 1_000_000)], data_scheme=record(a="int")).reason == told

    def test_a_schema_that_holds_itself_as_an_error(self) -> None:
        schema = record(next={"type": "error_union", "declared_errors": ["null", "r"]}, a="int")
        assert (
            "schema 1 cannot be used ("
            in refusal({1: schema}, [framed(1, b"\2" * 1_000_000)], data_scheme=record(a="int")).reason
        )

    @pytest.mark.parametrize("aliases", [5, [None]])
    def test_names_that_are_none(self, aliases: Any) -> None:
        schema = record(a="int") | {"aliases": aliases}
        assert len(decoder_of({1: schema}).sift(batch([framed(1, b"\2")])).bad) == 1

    @pytest.mark.parametrize("items", ["null", {"type": "fixed", "name": "none", "size": 0}, record(), record(x="null")])
    def test_an_array_of_which_few_bytes_tell_of_many_items(self, items: Any) -> None:
        schema = fields(
            field("a", "int"),
            field("b", {"type": "array", "items": {**items, "name": "i"} if isinstance(items, dict) else items}),
        )
        value = framed(1, b"\2" + b"\xfe" * 8 + b"\1\0")
        assert "it has an array of items without bytes" in refusal({1: schema}, [value], data_scheme=record(a="int")).reason

    def test_a_schema_that_names_multiply(self) -> None:
        parts = [fields(field("x", "int"), name="n0")]
        parts += [fields(field("x", f"n{level}"), field("y", f"n{level}"), name=f"n{level + 1}") for level in range(40)]
        schema = fields(*(field(f"f{index}", part) for index, part in enumerate(parts)))
        assert "more than 100000 parts" in refusal({1: schema}, [framed(1, b"\2")]).reason

    def test_a_schema_of_many_levels(self) -> None:
        parts = [fields(field("x", "int"), name="n0")]
        parts += [fields(field("x", f"n{level}"), name=f"n{level + 1}") for level in range(200)]
        schema = fields(*(field(f"f{index}", part) for index, part in enumerate(parts)))
        assert "100 levels" in refusal({1: schema}, [framed(1, b"\2")]).reason

    @pytest.mark.parametrize("text", ["", "{", "[" * 100_000, '{"type": "record"}', "1", "null", "__import__('os').abort()"])
    def test_a_text_that_is_no_schema(self, text: str) -> None:
        told = refusal({1: RegisteredSchema("AVRO", text)}, [framed(1, b"\2")]).reason
        assert told.startswith("schema 1 cannot be used (")

    def test_defaults_of_many_items(self) -> None:
        def schema(*extra: dict[str, Any]) -> Any:
            return record(a={"type": "array", "items": fields(field("x", "int"), *extra, name="i")})

        reader = schema(*(field(f"d{index}", "int", default=0) for index in range(1000)))
        value = framed(1, write(schema(), {"a": [{"x": 1}] * 10_000}))
        told = refusal({1: schema()}, [value], data_scheme=reader).reason
        assert told.endswith("defaults in its arrays may make more than 4000000 numbers of it")

    def test_no_more_ids_are_asked_for_than_a_stream_may_have(self) -> None:
        registry = registry_of({})
        sifted = make_decoder("AVRO", CONFLUENT, registry).sift(batch([framed(one, b"") for one in range(1, MOST_IDS + 20)]))
        assert len(sifted.bad) == MOST_IDS + 19
        assert len(registry.asked) == MOST_IDS
        assert sifted.bad[-1][1] == f"schema {MOST_IDS + 19} is not asked for: the stream has named {MOST_IDS} other ids by now"


class TestConfiguration:
    def test_an_unknown_wire_format(self) -> None:
        told = "INPUT_CONFIG.wire_format='apicurio' is unknown: give confluent, or null for records that are datums and nothing more"
        assert faults(wire_format="apicurio") == (told,)

    @pytest.mark.parametrize("input_format", ["RAW", "JSON"])
    def test_a_wire_format_is_for_avro(self, input_format: str) -> None:
        with pytest.raises(InputConfigError) as caught:
            make_decoder(input_format, CONFLUENT)
        told = f"INPUT_CONFIG.wire_format='confluent' is for INPUT_FORMAT=AVRO, and it is {input_format}: give AVRO, or leave it out"
        assert caught.value.faults == (told,)

    def test_null_is_the_same_as_none(self) -> None:
        assert make_decoder("AVRO", {"wire_format": None, "data_scheme": LABEL, "label_scheme": LABEL}).open_keys == ()

    def test_what_is_wrong_with_a_scheme_is_told_before_a_record_comes(self) -> None:
        [told] = faults(label_scheme=record(name="string"))
        assert told.endswith("has the field name, of type string, which is no number: leave it out or send a number")

    def test_what_is_wrong_with_a_scheme_that_is_no_record(self) -> None:
        [told] = faults(label_scheme="string")
        assert told.startswith("INPUT_CONFIG.label_scheme='string' is no Avro schema (")
        [told] = faults(label_scheme='"string"')
        assert (
            told
            == "INPUT_CONFIG.label_scheme='\"string\"' is of type string, which is no number: leave it out or send a number"
        )
