"""Whole batches of AVRO records: what avro's own reader reads one by one, and no number of one record in another."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from decoders import make_decoder
from decoding.avro_column import AvroColumn, avro_plan
from decoding.column import DATA, UnfitError
from decoding.options import Options
from protocol.errors import BadRecordError
from protocol.records import Array
from tests.unit.test_decoders_avro import LABEL, POINT, SIX, SUIT, batch, decode, read_back, record, refusal, write, zigzag

INT, LONG = st.integers(-(2**31), 2**31 - 1), st.integers(-(2**63), 2**63 - 1)
FLOAT, DOUBLE = st.floats(width=32, allow_nan=False), st.floats(allow_nan=False)
NUMBERS: dict[str, st.SearchStrategy[Any]] = {
    "int": INT,
    "long": st.integers(-(2**53), 2**53),
    "float": FLOAT,
    "double": DOUBLE,
    "boolean": st.booleans(),
    "enum": st.sampled_from(SUIT["symbols"]),
}
# Each a kind of stream: its data_type, and its leaves.
FAMILIES: dict[str, tuple[str | None, dict[str, st.SearchStrategy[Any]]]] = {
    "numbers": (None, NUMBERS),
    "fixed width": (None, {kind: NUMBERS[kind] for kind in ("float", "double", "boolean")}),
    "integers": (None, {"int": INT, "long": LONG, "enum": NUMBERS["enum"]}),
    "packed integers": ("int64", {"fixed": LONG, "bytes": LONG, "int": INT, "long": LONG, "boolean": st.booleans()}),
    "packed floats": ("float", {"fixed": FLOAT, "bytes": FLOAT, "float": FLOAT, "boolean": st.booleans()}),
}
FORMATS = {"int64": "<q", "float": "<f"}


@st.composite
def schemas(draw: st.DrawFn, family: str, depth: int = 2, names: list[int] | None = None) -> tuple[Any, Any]:
    """A record schema, and a strategy of its datums, which are all laid out alike."""
    data_type, leaves = FAMILIES[family]
    counter = [0] if names is None else names

    def leaf() -> tuple[Any, Any]:
        name = draw(st.sampled_from(sorted(leaves)))
        counter[0] += 1
        if name == "enum":
            return {**SUIT, "name": f"e{counter[0]}"}, leaves[name]
        if name not in ("fixed", "bytes"):
            return name, leaves[name]
        size, wire = draw(st.integers(name == "fixed", 3)), FORMATS[str(data_type)]
        packed = st.lists(leaves[name], min_size=size, max_size=size).map(
            lambda numbers: b"".join(struct.pack(wire, number) for number in numbers)
        )
        fixed = {"type": "fixed", "name": f"x{counter[0]}", "size": size * struct.calcsize(wire)}
        return (fixed if name == "fixed" else "bytes"), packed

    def part() -> tuple[Any, Any]:
        form = draw(st.sampled_from(["leaf", "union", "array", "record"] if depth else ["leaf", "union"]))
        if form == "record":
            return draw(schemas(family, depth=depth - 1, names=counter))
        if form == "array":
            items, one = part() if draw(st.booleans()) else leaf()
            size = draw(st.integers(0, 3))
            return {"type": "array", "items": items}, st.lists(one, min_size=size, max_size=size)
        kind, one = leaf()
        return (draw(st.permutations(["null", kind])) if form == "union" else kind), one

    counter[0] += 1
    name = f"r{counter[0]}"
    parts = {f"f{index}": part() for index in range(draw(st.integers(1, 4)))}
    fields = [{"name": field, "type": kind} for field, (kind, _) in parts.items()]
    return {"type": "record", "name": name, "fields": fields}, st.fixed_dictionaries(
        {field: one for field, (_, one) in parts.items()}
    )


def numbers_of(part: Any, data_type: str | None) -> list[float]:
    """The numbers in a datum, in order."""
    if isinstance(part, dict):
        part = list(part.values())
    if isinstance(part, list):
        return [number for inner in part for number in numbers_of(inner, data_type)]
    if isinstance(part, bytes):
        return [number for (number,) in struct.iter_unpack(FORMATS[str(data_type)], part)]
    return [SUIT["symbols"].index(part) if isinstance(part, str) else part]


def column_of(schema: Any, first: bytes, data_type: str | None) -> AvroColumn:
    plan = avro_plan(Options({"data_scheme": schema, "data_type": data_type}, DATA))
    assert plan is not None
    column = plan.settle(first)
    assert isinstance(column, AvroColumn)
    return column


def one_by_one(column: AvroColumn, raws: list[bytes]) -> Array | int:
    """What the datum reader reads of each datum alone, or which one it refuses first."""
    rows = []
    for index, raw in enumerate(raws):
        try:
            rows.append(column.stack.stack([column.reader.row(raw)]))
        except UnfitError:
            return index
    return np.concatenate(rows)


def at_once(schema: Any, raws: list[bytes], data_type: str | None) -> Array | int:
    """What the decoder makes of the batch, or which datum it names."""
    try:
        return (
            make_decoder("AVRO", {"data_scheme": schema, "label_scheme": LABEL, "data_type": data_type})
            .decode(batch(raws))
            .features
        )
    except BadRecordError as exc:
        return exc.index


def decode_raws(schema: Any, raws: list[bytes], **config: object) -> Array:
    return make_decoder("AVRO", {"data_scheme": schema, "label_scheme": LABEL, **config}).decode(batch(raws)).features


def assert_the_same(got: Array | int, expected: Array | int) -> None:
    if isinstance(expected, int):
        assert got == expected
    else:
        assert not isinstance(got, int)
        np.testing.assert_array_equal(got, expected, strict=True)


@pytest.mark.parametrize("family", FAMILIES)
@given(st.data())
@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
def test_a_batch_has_the_numbers_that_avros_own_reader_reads(family: str, data: st.DataObject) -> None:
    data_type = FAMILIES[family][0]
    schema, datums = data.draw(schemas(family))
    raws = [write(schema, datum) for datum in data.draw(st.lists(datums, min_size=1, max_size=5))]
    expected = [numbers_of(read_back(schema, raw), data_type) for raw in raws]
    assume(expected[0])
    column = column_of(schema, raws[0], data_type)
    assert column.template is not None
    decoded = column.decode(raws)
    assert decoded.tolist() == expected
    assert decoded.dtype == column.stack.dtype
    assert decoded.dtype.isnative
    assert decoded.flags.c_contiguous
    assert decoded.flags.aligned


@pytest.mark.parametrize("family", FAMILIES)
@given(st.data())
@settings(deadline=None, max_examples=120, suppress_health_check=[HealthCheck.too_slow])
def test_a_batch_with_damage_is_what_its_records_are_one_by_one(family: str, data: st.DataObject) -> None:
    data_type = FAMILIES[family][0]
    schema, datums = data.draw(schemas(family))
    raws = [write(schema, datum) for datum in data.draw(st.lists(datums, min_size=2, max_size=6))]
    assume(numbers_of(read_back(schema, raws[0]), data_type))
    column = column_of(schema, raws[0], data_type)
    for _ in range(data.draw(st.integers(1, 2))):
        index = data.draw(st.integers(1, len(raws) - 1))
        cut = data.draw(st.integers(1, len(raws[index])) if raws[index] else st.just(0))
        head, tail = raws[index][:-cut], raws[index][-cut:]
        damage = data.draw(st.sampled_from(["truncate", "append", "move back", "move on", "flip"]))
        if damage == "append":
            raws[index] += data.draw(st.binary(min_size=1, max_size=4))
        elif damage == "flip" and tail:
            raws[index] = head + bytes([tail[0] ^ 1 << data.draw(st.integers(0, 7))]) + tail[1:]
        elif damage == "move on" and index + 1 < len(raws):
            raws[index : index + 2] = [head, tail + raws[index + 1]]
        elif damage == "move back" and index > 1:
            raws[index - 1 : index + 1] = [raws[index - 1] + head, tail]
        else:
            raws[index] = head
    assert_the_same(at_once(schema, raws, data_type), one_by_one(column, raws))


@given(st.lists(st.binary(max_size=12), min_size=1, max_size=5))
@settings(deadline=None)
def test_any_bytes_in_a_batch_are_what_they_are_one_by_one(raws: list[bytes]) -> None:
    inner = {"type": "record", "name": "inner", "fields": [{"name": "x", "type": "float"}]}
    schema = record(a="long", b=["null", "int"], c=inner, d={"type": "array", "items": "boolean"}, e=SUIT)
    first = write(schema, {"a": 1, "b": 2, "c": {"x": 3}, "d": [True], "e": "clubs"})
    assert_the_same(at_once(schema, [first, *raws], None), one_by_one(column_of(schema, first, None), [first, *raws]))


class TestBorders:
    @pytest.mark.parametrize("kinds", [("float", "float"), ("double", "float"), ("int", "float"), ("float", "long")])
    def test_a_byte_that_moves_to_the_next_datum_makes_a_bad_record(self, kinds: tuple[str, str]) -> None:
        schema = record(a=kinds[0], b=kinds[1])
        raws = [write(schema, {"a": number, "b": number}) for number in range(1, 6)]
        raws[2:4] = [raws[2][:-1], raws[2][-1:] + raws[3]]
        assert refusal(schema, raws).index == 2

    def test_a_varint_that_moves_to_the_next_datum_makes_a_bad_record(self) -> None:
        schema = record(a="int", b="int", c="int")
        raws = [zigzag(1) + zigzag(2) + zigzag(3), zigzag(4) + zigzag(5), zigzag(6) + zigzag(7) + zigzag(8) + zigzag(9)]
        error = refusal(schema, raws)
        assert (error.index, error.reason) == (1, "value of 2 bytes is no datum of data_scheme: it ends too early")

    def test_a_varint_too_few_is_not_made_good_by_a_small_byte_in_a_float_before(self) -> None:
        schema = record(a="int", b="int", c="float")
        large = b"\xff\xff\xff\xbf"  # a float of bytes that no varint ends with
        raws = [zigzag(1) + zigzag(2) + large[:3] + b"\x3f", zigzag(3) + large, zigzag(4) + zigzag(5) + large]
        assert_the_same(at_once(schema, raws, None), 1)

    def test_the_only_datum_that_differs_is_named_in_a_large_batch(self) -> None:
        schema = record(a={"type": "array", "items": "int"})
        raws = [write(schema, {"a": list(range(index, index + 300))}) for index in range(3000)]
        assert decode_raws(schema, raws)[:, 299].tolist() == list(range(299, 3299))
        raws[2500] = raws[2500][:-3] + zigzag(2**31) + b"\0"
        assert refusal(schema, raws).index == 2500

    def test_an_empty_datum_in_a_batch_is_named(self) -> None:
        for kind in ("float", "int"):
            raws = [write(record(a=kind), {"a": 1}), b"", write(record(a=kind), {"a": 2})]
            assert refusal(record(a=kind), raws).index == 1


class TestOtherSpellings:
    """Datums that are laid out in another way than the first, and as good."""

    def test_arrays_of_other_lengths_that_are_as_many_numbers_in_all_are_read(self) -> None:
        ints = {"type": "array", "items": "int"}
        datums = [{"a": [1], "b": [2, 3]}, {"a": [4, 5], "b": [6]}, {"a": [], "b": [7, 8, 9]}]
        assert decode(record(a=ints, b=ints), datums).tolist() == [[1, 2, 3], [4, 5, 6], [7, 8, 9]]

    @pytest.mark.parametrize(
        ("items", "one", "two"), [("int", zigzag(1), zigzag(-300)), ("float", struct.pack("<f", 1), struct.pack("<f", -300))]
    )
    def test_arrays_in_blocks_with_and_without_sizes_are_read(self, items: str, one: bytes, two: bytes) -> None:
        def sized(numbers: list[bytes]) -> bytes:
            return zigzag(-len(numbers)) + zigzag(len(b"".join(numbers))) + b"".join(numbers)

        plain = zigzag(3) + one + two + one + b"\0"
        blocks = sized([one]) + sized([two, one]) + b"\0"
        others = sized([two]) + sized([two, two]) + b"\0"
        schema = record(a={"type": "array", "items": items})
        expected = [[1, -300, 1], [1, -300, 1], [-300, -300, -300]]
        assert decode_raws(schema, [plain, blocks, others]).tolist() == expected
        assert decode_raws(schema, [blocks, plain, others]).tolist() == [expected[index] for index in (1, 0, 2)]
        template = column_of(schema, blocks, None).template
        assert template is not None
        assert template.decode([blocks, others] * 3, np.dtype(np.float32)).tolist() == expected[1:] * 3

    @pytest.mark.parametrize(
        "long_way", [b"\x82\x00", b"\x82\x80\x00", *(b"\x82" + b"\x80" * 8 + end for end in (b"\x00", b"\x02"))]
    )
    @pytest.mark.parametrize(("kind", "zero"), [("int", b"\0"), ("float", b"\0\0\0\0")])
    def test_a_varint_of_more_bytes_than_it_needs_is_read(self, long_way: bytes, kind: str, zero: bytes) -> None:
        schema = record(a=["null", "int"], b=["null", kind])
        raws = [b"\2" + zigzag(5) + b"\2" + zero, long_way + zigzag(6) + long_way + zero, b"\2" + long_way + b"\2" + zero]
        for first in range(3):
            expected = [[5, 0], [6, 0], [1, 0]]
            assert decode_raws(schema, raws[first:] + raws[:first]).tolist() == expected[first:] + expected[:first]

    @pytest.mark.parametrize("raw", [b"\xff" * 9 + b"\x03", b"\xff" * 12 + b"\x01", b"\x80" * 12 + b"\x02"])
    def test_a_varint_beyond_64_bits_is_what_it_is_alone(self, raw: bytes) -> None:
        schema = record(a="long")
        raws = [zigzag(1), raw, zigzag(2)]
        assert_the_same(at_once(schema, raws, None), one_by_one(column_of(schema, raws[0], None), raws))

    @pytest.mark.parametrize("items", [SIX, "double", "int"])
    def test_a_count_without_end_in_the_first_array_is_read_as_it_is_alone(self, items: Any) -> None:
        schema = record(a={"type": "array", "items": items}, b="int")
        raws = [zigzag(-(2**63)) + b"\0" + b"\0" + zigzag(3), b"\0" + zigzag(4)]
        data_type = "int16" if items is SIX else None
        assert_the_same(at_once(schema, raws, data_type), one_by_one(column_of(schema, raws[0], data_type), raws))

    @pytest.mark.parametrize("raw", [b"\x02", b"\x80", b"\xff"])
    def test_a_boolean_is_true_unless_its_byte_is_0(self, raw: bytes) -> None:
        schema = record(a="boolean", b="boolean")
        assert decode_raws(schema, [b"\0\1", raw + b"\0"]).tolist() == [[False, True], [True, False]]
        assert decode_raws(schema, [b"\0\1", raw + b"\0"], data_type="uint8").tolist() == [[0, 1], [1, 0]]


class TestManyFields:
    def test_bytes_without_numbers_are_passed_over(self) -> None:
        datums = [{"a": number, "b": b"", "c": -number, "d": b""} for number in range(3)]
        decoded = decode(record(a="int", b="bytes", c="int", d="bytes"), datums, data_type="int64")
        assert decoded.tolist() == [[0, 0], [1, -1], [2, -2]]

    def test_datums_of_many_fields_of_changing_kinds_are_read_few_or_many(self) -> None:
        kinds = ["int", "float", ["null", "long"], "double", "boolean"] * 20
        schema = record(**{f"f{index}": kind for index, kind in enumerate(kinds)})
        datums = [
            {
                f"f{index}": (index + row) % 2 == 0 if kind == "boolean" else index * 100 - row
                for index, kind in enumerate(kinds)
            }
            for row in range(50)
        ]
        raws = [write(schema, datum) for datum in datums]
        for count in (1, 2, 50):
            assert decode_raws(schema, raws[:count]).tolist() == [list(datum.values()) for datum in datums[:count]]

    def test_records_in_an_array_keep_the_order_of_their_fields(self) -> None:
        mixed = {
            **POINT,
            "fields": [{"name": "x", "type": "float"}, {"name": "y", "type": "double"}, {"name": "z", "type": "float"}],
        }
        schema = record(a={"type": "array", "items": mixed}, b="double")
        points = [{"x": index, "y": index + 0.25, "z": index + 0.5} for index in range(4)]
        expected = [number for point in points for number in point.values()] + [9]
        assert decode(schema, [{"a": points, "b": 9}] * 3, data_type="double").tolist() == [expected] * 3

    @pytest.mark.parametrize(
        ("kind", "name", "good", "odd"),
        [("long", "uint8", 255, 256), ("double", "float", 1.5, 1e39), ("float", "half", 2.0, 1e6)],
    )
    def test_a_number_in_a_batch_that_its_type_cannot_hold_is_named(
        self, kind: str, name: str, good: float, odd: float
    ) -> None:
        schema = record(a=kind, b=kind)
        raws = [write(schema, {"a": good, "b": number}) for number in (good, good, odd, good)]
        assert f"holds {odd!r}, which does not fit" in refusal(schema, raws, data_type=name).reason
        assert refusal(schema, raws, data_type=name).index == 2

    @pytest.mark.parametrize(("kind", "nan"), [("float", "010080ff"), ("double", "010000000000f07f")])
    @pytest.mark.parametrize("name", ["half", "float", "double"])
    def test_a_signalling_nan_is_a_nan_like_others(self, kind: str, nan: str, name: str) -> None:
        schema = record(a=kind)
        raws = [write(schema, {"a": 1}), bytes.fromhex(nan)]
        for batch_of in (raws, raws[1:]):
            assert np.isnan(decode_raws(schema, batch_of, data_type=name)[-1]).tolist() == [True]

    def test_longs_become_floats_as_their_doubles_do(self) -> None:
        numbers = [2**60 + 1, -(2**63), 2**24 + 1, (1 << 54) + (1 << 30) + 1]
        expected = np.array(numbers, np.float64).astype(np.float32)
        decoded = decode(record(a="long"), [{"a": number} for number in numbers], data_type="float32")
        np.testing.assert_array_equal(decoded[:, 0], expected, strict=True)
