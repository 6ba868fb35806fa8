"""Bad records are left out, told and counted, as long as they are few."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from typing import Any

import fastavro
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from decoders import Decoder, make_decoder
from protocol.errors import BadRecordError, DataError
from protocol.records import RecordBatch, Samples
from sieve import MOST_TOLD, Sieve

SCHEMA: dict[str, Any] = {"type": "record", "name": "r", "fields": [{"name": "a", "type": {"type": "array", "items": "long"}}]}
LABEL: dict[str, Any] = {"type": "record", "name": "l", "fields": [{"name": "c", "type": "long"}]}
RAW = {"data_type": "uint8", "label_type": "uint8", "data_reshape": "2", "label_reshape": ""}


def avro(schema: dict[str, Any], datum: dict[str, Any]) -> bytes:
    out = io.BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(schema), datum)
    return out.getvalue()


# Of each format: a configuration that leaves the shape open, and how a list of two numbers and its label are written.
FORMATS: dict[str, tuple[dict[str, Any], Callable[[list[int]], bytes], Callable[[int], bytes]]] = {
    "RAW": ({"data_type": "uint8", "label_type": "uint8", "label_reshape": ""}, bytes, lambda label: bytes([label])),
    "AVRO": (
        {"data_scheme": SCHEMA, "label_scheme": LABEL},
        lambda numbers: avro(SCHEMA, {"a": numbers}),
        lambda label: avro(LABEL, {"c": label}),
    ),
    "JSON": ({}, lambda numbers: json.dumps(numbers).encode(), lambda label: json.dumps(label).encode()),
}


def batch(values: list[bytes], keys: list[bytes] | None = None, start: int = 0) -> RecordBatch:
    return RecordBatch("digits", 1, range(start, start + len(values)), keys or [b"\x07"] * len(values), values)


def sieve(*, most: int = 1_000, limit: float | None = 0.5, **changes: object) -> Sieve:
    return Sieve(make_decoder("RAW", RAW | changes), most, limit)


def taken(one: Sieve, *batches: RecordBatch) -> list[list[int]]:
    return [row.tolist() for samples in one.samples(batches) for row in samples.features]


def refusal(one: Sieve, *batches: RecordBatch) -> str:
    with pytest.raises(DataError) as caught:
        taken(one, *batches)
    return str(caught.value)


class TestSifting:
    @pytest.mark.parametrize("input_format", FORMATS)
    @given(st.data())
    @settings(deadline=None, max_examples=40)
    def test_what_is_good_by_itself_is_decoded_and_all_else_is_named(self, input_format: str, data: st.DataObject) -> None:
        config, write, write_label = FORMATS[input_format]
        damage = st.sampled_from(["none"] * 5 + ["value", "key", "both"])
        damages = data.draw(st.lists(damage, min_size=1, max_size=40))
        numbers = [[index, 200 - index] for index in range(len(damages))]
        values = [write([*pair, 3] if what in {"value", "both"} else pair) for pair, what in zip(numbers, damages, strict=True)]
        keys = [b"" if what in {"key", "both"} else write_label(index) for index, what in enumerate(damages)]
        decoder = make_decoder(input_format, config)
        decoder.decode(batch([write([1, 2])], [write_label(1)]))
        sifted = decoder.sift(batch(values, keys))
        good = [index for index, what in enumerate(damages) if what == "none"]
        assert [index for index, _reason in sifted.bad] == [index for index in range(len(damages)) if index not in good]
        assert [reason.split()[0] for _index, reason in sifted.bad] == [
            "key" if damages[index] == "key" else "value" for index, _reason in sifted.bad
        ]
        assert (sifted.samples is None) == (not good)
        if sifted.samples is not None:
            assert sifted.samples.features.tolist() == [numbers[index] for index in good]
            assert sifted.samples.labels.tolist() == good

    @pytest.mark.parametrize("input_format", FORMATS)
    def test_the_first_good_record_settles_what_is_open(self, input_format: str) -> None:
        config, write, write_label = FORMATS[input_format]
        decoder = make_decoder(input_format, config)
        keys = [b"", write_label(0), write_label(1), write_label(2)]
        sifted = decoder.sift(batch([write([1, 2, 3]), b"", write([4, 5]), write([6, 7])], keys, start=20))
        assert [index for index, _reason in sifted.bad] == [0, 1]
        assert sifted.samples is not None
        assert sifted.samples.features.tolist() == [[4, 5], [6, 7]]
        assert decoder.settled_by == "digits[1]@22"

    def test_a_batch_without_a_good_record_settles_nothing(self) -> None:
        decoder = make_decoder("RAW", RAW | {"data_reshape": None})
        assert decoder.sift(batch([b"", b""])).samples is None
        assert decoder.settled_by is None
        assert decoder.decode(batch([b"abc"])).features.shape == (1, 3)

    def test_texts_are_joined_as_they_are(self) -> None:
        decoder = make_decoder("RAW", RAW | {"data_type": "string", "data_reshape": ""})
        samples = decoder.sift(batch([b"one", b"\xff", b"three\0"])).samples
        assert samples is not None
        assert (samples.features.dtype, samples.features.tolist()) == (np.dtype(object), [b"one", b"three\0"])

    def test_a_batch_that_is_good_is_decoded_at_once(self) -> None:
        decoder = make_decoder("RAW", RAW)
        decoder.decode(batch([b"ab"]))
        calls: list[int] = []
        assert decoder._columns is not None
        data, label = decoder._columns

        class Counting:
            def decode(self, raws: Any) -> Any:
                calls.append(len(raws))
                return data.decode(raws)

        decoder._columns = (Counting(), label)
        decoder.sift(batch([b"ab"] * 1_000))
        assert calls == [1_000]
        decoder.sift(batch([b"ab"] * 1_000 + [b"abc"]))
        assert len(calls) < 2 + 2 * 11  # one bad record among 1001 is found by halving, not by asking each

    def test_a_reason_is_one_line_of_a_bounded_length(self) -> None:
        decoder = make_decoder("JSON", {})
        name = "long\nname" * 10_000
        [(_index, reason)] = decoder.sift(batch([b'{"a": 1}', json.dumps({"a": 1, name: 2}).encode()], [b"1", b"1"])).bad
        assert reason.startswith("value has the field long namelong name")
        assert len(reason) == 501
        assert reason.endswith("…")


@pytest.mark.parametrize(
    ("input_format", "config", "keys"),
    [
        ("RAW", RAW, ()),
        ("RAW", RAW | {"data_reshape": None, "label_reshape": "-1"}, ("data_reshape", "label_reshape")),
        ("RAW", RAW | {"data_type": "string", "data_reshape": None}, ()),
        ("AVRO", {"data_scheme": SCHEMA, "label_scheme": LABEL}, ("data_reshape",)),
        ("AVRO", {"data_scheme": SCHEMA, "label_scheme": LABEL, "data_reshape": "2"}, ()),
        ("AVRO", {"data_scheme": LABEL, "label_scheme": LABEL, "label_reshape": "-1"}, ()),
        ("JSON", {}, ("data_fields", "data_reshape", "label_type", "label_fields", "label_reshape")),
        (
            "JSON",
            {"data_fields": ["a"], "data_reshape": "1", "label_type": "int", "label_fields": ["a"], "label_reshape": ""},
            (),
        ),
    ],
)
def test_a_decoder_tells_which_keys_are_left_to_the_first_record(
    input_format: str, config: dict[str, Any], keys: tuple[str, ...]
) -> None:
    assert make_decoder(input_format, config).open_keys == keys


def test_without_leave_the_first_bad_record_is_the_error() -> None:
    with pytest.raises(BadRecordError, match=r"^digits\[1\]@1: value has 3 bytes, expected 2"):
        taken(sieve(limit=None), batch([b"ab", b"abc", b"", b"cd"]))


def test_bad_records_are_left_out_and_kept_in_mind() -> None:
    one = sieve()
    assert taken(
        one, batch([b"ab", b"abc", b"cd"]), batch([b"e"], start=3), batch([b"gh"], [b""], start=4), batch([b"ij"])
    ) == [
        [97, 98],
        [99, 100],
        [105, 106],
    ]
    assert [str(bad) for bad in one.bad] == [
        "digits[1]@1: value has 3 bytes, expected 2 (uint8, shape 2)",
        "digits[1]@3: value has 1 bytes, expected 2 (uint8, shape 2)",
        "digits[1]@4: key has 0 bytes, expected 1 (uint8, a scalar)",
    ]


def test_the_log_has_a_line_for_each_of_some_and_then_their_number(caplog: pytest.LogCaptureFixture) -> None:
    taken(sieve(), batch([b"ab"] * 500 + [b"a"] * 100))
    lines = [record.getMessage() for record in caplog.records]
    assert lines[0] == "left out digits[1]@500: value has 1 bytes, expected 2 (uint8, shape 2)"
    assert len(lines) == MOST_TOLD + 2
    assert lines[-2:] == [
        f"left out more than {MOST_TOLD} records: the others are counted, not told",
        "bad records=100 of 600, BAD_RECORDS_LIMIT=0.5",
    ]


def test_a_stream_without_bad_records_has_no_line(caplog: pytest.LogCaptureFixture) -> None:
    taken(sieve(), batch([b"ab"] * 5))
    assert caplog.records == []


class TestLimit:
    @pytest.mark.parametrize(("good", "bad", "limit"), [(99, 1, 0.01), (71, 29, 0.29), (93, 7, 0.07), (1, 0, 0.0)])
    def test_as_many_as_the_limit_says_may_be_bad(self, good: int, bad: int, limit: float) -> None:
        one = sieve(most=good + bad, limit=limit)
        assert len(taken(one, batch([b"ab"] * good + [b"a"] * bad))) == good

    @pytest.mark.parametrize(("good", "bad", "limit"), [(98, 1, 0.01), (70, 29, 0.29), (99, 1, 0.0), (0, 5, 0.99)])
    def test_more_than_the_limit_says_are_an_error_with_their_number(self, good: int, bad: int, limit: float) -> None:
        told = refusal(sieve(most=good + bad, limit=limit), batch([b"ab"] * good + [b"a"] * bad))
        assert told == (
            f"{bad} of {good + bad} records cannot be decoded, and BAD_RECORDS_LIMIT={limit:g} of them may; the first: "
            f"digits[1]@{good}: value has 1 bytes, expected 2 (uint8, shape 2); mend INPUT_FORMAT and INPUT_CONFIG, or what "
            "writes the stream, or raise the limit"
        )

    def test_reading_stops_where_the_records_to_come_cannot_keep_the_limit(self) -> None:
        def stream() -> Iterator[RecordBatch]:
            yield batch([b"ab"] * 8 + [b"a"] * 2)  # 2 of 200 are 1 %
            yield batch([b"ab"] * 9 + [b"a"], start=10)
            raise AssertionError("read on")

        with pytest.raises(DataError) as caught:
            list(sieve(most=200, limit=0.01).samples(stream()))
        assert str(caught.value).startswith(
            "3 of 20 records read so far, of 200 at most, cannot be decoded, and BAD_RECORDS_LIMIT=0.01 of them may; the first: "
            "digits[1]@8: "
        )

    def test_a_stream_of_fewer_records_than_offsets_is_judged_at_its_end(self) -> None:
        # 1 of 200 offsets would do, 1 of 20 records does not.
        told = refusal(sieve(most=200, limit=0.01), batch([b"ab"] * 19 + [b"a"]))
        assert told.startswith("1 of 20 records cannot be decoded, ")


class TestWronglySettled:
    """A first record that is bad in a way that looks good makes all others bad."""

    @pytest.mark.parametrize("input_format", FORMATS)
    def test_the_error_names_the_record_that_settled_and_the_key_that_helps(self, input_format: str) -> None:
        config, write, write_label = FORMATS[input_format]
        values = [write([9, 9, 9]), *([write([1, 2])] * 20)]
        keys = [write_label(3)] * 21
        told = refusal(Sieve(make_decoder(input_format, config), 21, 0.5), batch(values, keys))
        assert told.startswith(
            "20 of 21 records cannot be decoded, and BAD_RECORDS_LIMIT=0.5 of them may; the first: digits[1]@1: "
        )
        remedy = (
            "; most are unlike digits[1]@0, the first good one, which settled what INPUT_CONFIG leaves open: where that is "
        )
        assert f"{remedy}the odd one, give " in told
        assert "data_reshape" in told.split("give ")[1]
        mended = Sieve(make_decoder(input_format, config | {"data_reshape": "2"}), 21, 0.5)
        assert taken(mended, batch(values, keys)) == [[1, 2]] * 20
        assert [bad.offset for bad in mended.bad] == [0]

    def test_few_bad_records_do_not_put_the_first_one_in_doubt(self) -> None:
        told = refusal(sieve(most=100, limit=0.01, data_reshape=None), batch([b"ab"] * 90 + [b"a"] * 10))
        assert "settled" not in told

    def test_where_nothing_is_open_no_record_has_settled_it(self) -> None:
        assert "settled" not in refusal(sieve(most=10), batch([b"ab"] + [b"a"] * 9))


def test_a_decoder_is_as_good_as_ever_after_bad_records() -> None:
    decoder: Decoder = make_decoder("RAW", RAW)
    decoder.sift(batch([b"ab", b"a"]))
    samples: Samples = decoder.decode(batch([b"cd", b"ef"]))
    assert samples.features.tolist() == [[99, 100], [101, 102]]
