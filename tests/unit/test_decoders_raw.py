"""RAW records, and what the decoders of all formats have in common."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from decoders import DECODERS, InputConfigError, make_decoder
from protocol.errors import BadRecordError
from protocol.records import Array, RecordBatch

NAMES = (
    "half, float, float32, double, float64, int (one unsigned byte), int64, int32, int16, int8, uint16, uint8, bool "
    "or another numpy scalar's name, or string"
)
CONTRACT = {
    "half": np.float16,
    "float": np.float32,
    "double": np.float64,
    "int": np.uint8,
    "bool": np.bool_,
}
NUMPY_TYPES = (
    np.bool_,
    np.int8,
    np.int16,
    np.int32,
    np.int64,
    np.uint8,
    np.uint16,
    np.uint32,
    np.uint64,
    np.float16,
    np.float32,
    np.float64,
)
TYPES = CONTRACT | {kind.__name__: kind for kind in NUMPY_TYPES} | {"bool_": np.bool_}


def config(**changes: object) -> dict[str, object]:
    return {"data_type": "uint8", "label_type": "uint8", "data_reshape": "2", "label_reshape": "", **changes}


def batch(values: list[bytes], keys: list[bytes] | None = None, start: int = 40) -> RecordBatch:
    labels = [b"\x01"] * len(values) if keys is None else keys
    return RecordBatch("digits", 3, range(start, start + len(values)), labels, values)


def features(values: list[bytes], **changes: object) -> Array:
    return make_decoder("RAW", config(**changes)).decode(batch(values)).features


def faults(**changes: object) -> tuple[str, ...]:
    with pytest.raises(InputConfigError) as caught:
        make_decoder("RAW", config(**changes))
    return caught.value.faults


def refusal(values: list[bytes], **changes: object) -> BadRecordError:
    with pytest.raises(BadRecordError) as caught:
        features(values, **changes)
    return caught.value


class TestTypes:
    @pytest.mark.parametrize(("name", "kind"), TYPES.items())
    def test_a_type_name_reads_what_tobytes_of_its_numpy_type_writes(self, name: str, kind: type[np.generic]) -> None:
        sent = np.array([[0, 1, 100], [7, 1, 0]]).astype(kind)
        wire = sent.astype(sent.dtype.newbyteorder("<"))
        decoded = features([row.tobytes() for row in wire], data_type=name, data_reshape=None)
        np.testing.assert_array_equal(decoded, sent, strict=True)

    @given(st.sampled_from(sorted(TYPES)), st.integers(1, 5), st.integers(1, 4), st.data())
    @settings(deadline=None)
    def test_the_bits_of_every_number_survive(self, name: str, count: int, size: int, data: st.DataObject) -> None:
        wire = np.dtype(TYPES[name]).newbyteorder("<")
        is_bool = wire.kind == "b"
        values = [
            data.draw(
                st.lists(st.integers(0, 1 if is_bool else 255), min_size=size * wire.itemsize, max_size=size * wire.itemsize)
            )
            for _ in range(count)
        ]
        decoded = features([bytes(value) for value in values], data_type=name, data_reshape=str(size))
        assert decoded.astype(wire).tobytes() == b"".join(map(bytes, values))

    def test_a_name_that_begins_with_the_big_end_is_read_so(self) -> None:
        decoded = features([b"\x01\x02"], data_type=">u2", data_reshape="")
        np.testing.assert_array_equal(decoded, np.array([0x0102], np.uint16), strict=True)

    @pytest.mark.parametrize("name", ["<f4", ">f4", "f4", ">float32", "=f4"])
    def test_arrays_are_in_the_byte_order_of_the_machine_and_contiguous(self, name: str) -> None:
        decoded = features([b"\0" * 8], data_type=name)
        assert (decoded.dtype, decoded.flags.c_contiguous) == (np.dtype(np.float32), True)

    def test_a_bool_byte_other_than_0_is_true(self) -> None:
        decoded = features([b"\x00\x01", b"\x02\xff"], data_type="bool")
        np.testing.assert_array_equal(decoded, np.array([[False, True], [True, True]]), strict=True)

    @pytest.mark.parametrize(
        "name",
        [
            "object",
            "O",
            "datetime64",
            "timedelta64",
            "V4",
            "void",
            "S5",
            "a5",
            "bytes_",
            "str_",
            "U",
            "complex64",
            "longdouble",
            "float128",
            "f16",
            "f4,f4",
            "3f4",
        ],
    )
    def test_what_is_no_type_of_numbers_is_refused_with_the_names_in_use(self, name: str) -> None:
        assert faults(data_type=name) == (
            f"INPUT_CONFIG.data_type={name!r} is no type of numbers or text: give one of {NAMES}",
        )

    @pytest.mark.parametrize("value", ["", " ", "Float32", "\0", "uint8;", ">", 8, 0.5, True, ["uint8"], {"a": 1}])
    def test_what_is_no_type_name_at_all_is_a_fault(self, value: object) -> None:
        assert faults(label_type=value) == (
            f"INPUT_CONFIG.label_type={value!r} is no type of numbers or text: give one of {NAMES}",
        )

    @pytest.mark.parametrize("changes", [{"data_type": None}, {}])
    def test_a_missing_type_is_a_fault(self, changes: dict[str, object]) -> None:
        given_config = config()
        del given_config["data_type"]
        with pytest.raises(InputConfigError) as caught:
            make_decoder("RAW", given_config | changes)
        assert caught.value.faults == (f"INPUT_CONFIG.data_type is not set: give one of {NAMES}",)


class TestShapes:
    @pytest.mark.parametrize(
        ("reshape", "shape"),
        [
            ("2 3", (2, 2, 3)),
            ("  2   3 ", (2, 2, 3)),
            ([2, 3], (2, 2, 3)),
            ((6,), (2, 6)),
            ("1 6 1", (2, 1, 6, 1)),
            (None, (2, 6)),
            ("-1", (2, 6)),
            ("2 -1", (2, 2, 3)),
            ("-1 6", (2, 1, 6)),
        ],
    )
    def test_a_reshape_gives_a_samples_sizes(self, reshape: object, shape: tuple[int, ...]) -> None:
        assert features([b"abcdef", b"ghijkl"], data_reshape=reshape).shape == shape

    @pytest.mark.parametrize("reshape", ["", []])
    def test_an_empty_reshape_gives_scalars(self, reshape: object) -> None:
        np.testing.assert_array_equal(
            features([b"\x05", b"\x06"], data_reshape=reshape), np.array([5, 6], np.uint8), strict=True
        )

    def test_an_absent_reshape_leaves_a_sample_flat(self) -> None:
        samples = make_decoder("RAW", {"data_type": "uint8", "label_type": "uint8"}).decode(batch([b"ab", b"cd"]))
        assert (samples.features.shape, samples.labels.shape) == ((2, 2), (2, 1))

    def test_numbers_are_laid_out_in_c_order(self) -> None:
        decoded = features([bytes(range(6))], data_reshape="2 3")
        assert decoded.tolist() == [[[0, 1, 2], [3, 4, 5]]]

    def test_keys_that_no_format_knows_are_left_alone(self) -> None:
        assert features([b"ab"], data_fields=3, anything={"else": None}).shape == (1, 2)

    @pytest.mark.parametrize(
        "reshape", ["28 x 28", "28,28", "(28, 28)", "2.0", "two", "٢", "--1", 28, 2.0, True, [2, "3"], [True], {}]
    )
    def test_what_is_no_list_of_sizes_is_a_fault(self, reshape: object) -> None:
        assert faults(data_reshape=reshape) == (
            f"INPUT_CONFIG.data_reshape={reshape!r} is no list of sizes: "
            'give e.g. "28 28", "" for a scalar, null to leave flat',
        )

    @pytest.mark.parametrize("reshape", ["28 0", "0", [0, -1], "-2"])
    def test_a_size_below_1_is_a_fault(self, reshape: object) -> None:
        assert faults(label_reshape=reshape) == (
            f"INPUT_CONFIG.label_reshape={reshape!r} has a size below 1: give sizes from 1, or -1 for the one to infer",
        )

    def test_two_open_sizes_are_a_fault(self) -> None:
        assert faults(data_reshape="-1 -1") == (
            "INPUT_CONFIG.data_reshape='-1 -1' leaves more than one size open: give at most one -1",
        )

    def test_more_sizes_than_an_array_can_have_are_a_fault(self) -> None:
        assert faults(data_reshape=[1] * 32) == (
            f"INPUT_CONFIG.data_reshape={str([1] * 32)[:80]}... has 32 sizes: give at most 31",
        )


class TestLengths:
    @pytest.mark.parametrize(
        ("length", "changes", "reason"),
        [
            (780, {"data_reshape": "28 28"}, "value has 780 bytes, expected 784 (uint8, shape 28 28)"),
            (788, {"data_reshape": [28, 28]}, "value has 788 bytes, expected 784 (uint8, shape 28 28)"),
            (0, {"data_reshape": "28 28"}, "value has 0 bytes, expected 784 (uint8, shape 28 28)"),
            (2, {"data_reshape": ""}, "value has 2 bytes, expected 1 (uint8, a scalar)"),
            (9, {"data_type": "float"}, "value has 9 bytes, expected 8 (float32, shape 2)"),
            (0, {"data_reshape": None}, "value has 0 bytes, expected 1 or a multiple of it (uint8, left flat)"),
            (
                9,
                {"data_reshape": None, "data_type": "half"},
                "value has 9 bytes, expected 2 or a multiple of it (float16, left flat)",
            ),
            (29, {"data_reshape": "28 -1"}, "value has 29 bytes, expected 28 or a multiple of it (uint8, shape 28 -1)"),
            (0, {"data_reshape": "-1"}, "value has 0 bytes, expected 1 or a multiple of it (uint8, shape -1)"),
        ],
    )
    def test_a_first_record_that_does_not_fit_is_named(self, length: int, changes: dict[str, object], reason: str) -> None:
        error = refusal([b"\0" * length], **changes)
        assert (str(error), error.index, error.reason) == (f"digits[3]@40: {reason}", 0, reason)

    @pytest.mark.parametrize(
        ("reshape", "reason"),
        [
            ("2", "value has 3 bytes, expected 2 (uint8, shape 2)"),
            (None, "value has 3 bytes, expected 2 (uint8, shape 2 as in the first record)"),
            ("-1 1", "value has 3 bytes, expected 2 (uint8, shape 2 1 as in the first record)"),
        ],
    )
    def test_a_later_record_that_does_not_fit_is_named(self, reshape: object, reason: str) -> None:
        error = refusal([b"ab", b"cd", b"efg", b""], data_reshape=reshape)
        assert (str(error), error.index) == (f"digits[3]@42: {reason}", 2)

    def test_the_label_is_called_the_key(self) -> None:
        with pytest.raises(BadRecordError) as caught:
            make_decoder("RAW", config()).decode(batch([b"ab", b"cd"], [b"\x01", b"\x01\x02"]))
        assert str(caught.value) == "digits[3]@41: key has 2 bytes, expected 1 (uint8, a scalar)"

    def test_the_place_is_the_records_own_where_offsets_have_gaps(self) -> None:
        with pytest.raises(BadRecordError) as caught:
            make_decoder("RAW", config()).decode(RecordBatch("t", 0, [5, 90], [b"1", b"1"], [b"ab", b"a"]))
        assert str(caught.value) == "t[0]@90: value has 1 bytes, expected 2 (uint8, shape 2)"


class TestText:
    @pytest.mark.parametrize("name", ["string", "str"])
    @pytest.mark.parametrize(
        ("reshape", "shape"), [("", (2,)), (None, (2, 1)), ("1", (2, 1)), ("-1", (2, 1)), ([1, 1], (2, 1, 1))]
    )
    def test_text_stays_bytes(self, name: str, reshape: object, shape: tuple[int, ...]) -> None:
        decoded = features(["grün\0".encode(), b""], data_type=name, data_reshape=reshape)
        assert (decoded.dtype, decoded.shape, decoded.ravel().tolist()) == (np.dtype(object), shape, ["grün\0".encode(), b""])

    @pytest.mark.parametrize("reshape", ["2", "1 3", "-1 2"])
    def test_a_shape_of_several_texts_is_a_fault(self, reshape: str) -> None:
        assert faults(label_type="string", label_reshape=reshape) == (
            f'INPUT_CONFIG.label_reshape={reshape!r} is for several numbers, and label_type is one text: give "" or "1"',
        )

    def test_what_is_no_utf_8_is_a_bad_record(self) -> None:
        error = refusal([b"good", b"\xff"], data_type="string", data_reshape="")
        assert str(error) == (
            "digits[3]@41: value is no UTF-8 text ('utf-8' codec can't decode byte 0xff in position 0: invalid start byte)"
        )

    def test_a_letter_cut_in_two_by_a_records_end_is_refused(self) -> None:
        assert refusal([b"\xc3", b"\xbc"], data_type="string", data_reshape="").index == 0


class TestEveryFormat:
    def test_the_formats_are_those_of_the_contract(self) -> None:
        assert list(DECODERS) == ["RAW", "AVRO", "JSON"]

    @pytest.mark.parametrize("name", ["XML", "raw", ""])
    def test_an_unknown_format_is_told_with_those_that_exist(self, name: str) -> None:
        with pytest.raises(InputConfigError) as caught:
            make_decoder(name, config())
        assert caught.value.faults == (f"INPUT_FORMAT={name!r} is unknown: choose one of RAW, AVRO, JSON",)

    def test_all_faults_are_told_at_once(self) -> None:
        told = faults(data_type="V4", data_reshape="x", label_type=None, label_reshape="0")
        assert [fault.split()[0] for fault in told] == [
            "INPUT_CONFIG.data_type='V4'",
            "INPUT_CONFIG.data_reshape='x'",
            "INPUT_CONFIG.label_type",
            "INPUT_CONFIG.label_reshape='0'",
        ]

    def test_the_text_of_the_error_has_all_faults(self) -> None:
        with pytest.raises(ValueError, match=r"^INPUT_CONFIG\.data_type=.*; INPUT_CONFIG\.label_type="):
            make_decoder("RAW", config(data_type="V4", label_type="V4"))

    @pytest.mark.parametrize(("bad_value", "bad_key", "part"), [(2, 3, "value"), (3, 2, "key"), (2, 2, "value")])
    def test_the_first_bad_record_is_told_on_whichever_side_it_is(self, bad_value: int, bad_key: int, part: str) -> None:
        values, keys = [b"ab"] * 5, [b"\x01"] * 5
        values[bad_value], keys[bad_key] = b"abc", b""
        with pytest.raises(BadRecordError, match=f"^digits\\[3\\]@42: {part} has"):
            make_decoder("RAW", config()).decode(batch(values, keys))

    def test_the_first_record_settles_the_shape_for_later_batches(self) -> None:
        decoder = make_decoder("RAW", config(data_reshape=None))
        decoder.decode(batch([b"ab"]))
        with pytest.raises(BadRecordError, match=r"^digits\[3\]@50: value has 3 bytes, expected 2 "):
            decoder.decode(batch([b"abc"], start=50))

    def test_the_first_record_of_a_failing_batch_settles_the_shape_too(self) -> None:
        decoder = make_decoder("RAW", config(data_reshape=None))
        with pytest.raises(BadRecordError, match="@41"):
            decoder.decode(batch([b"ab", b"abc"]))
        with pytest.raises(BadRecordError, match="expected 2 "):
            decoder.decode(batch([b"abc"]))

    @pytest.mark.parametrize(("value", "key"), [(b"", b"\x01"), (b"abc", b"")])
    def test_a_bad_first_record_settles_nothing(self, value: bytes, key: bytes) -> None:
        decoder = make_decoder("RAW", config(data_reshape=None))
        with pytest.raises(BadRecordError, match="@40"):
            decoder.decode(batch([value], [key]))
        assert decoder.decode(batch([b"ab"])).features.shape == (1, 2)

    def test_a_refused_batch_leaves_a_settled_decoder_as_it_was(self) -> None:
        decoder = make_decoder("RAW", config(data_reshape=None))
        before = decoder.decode(batch([b"ab"])).features
        with pytest.raises(BadRecordError):
            decoder.decode(batch([b"abc"]))
        np.testing.assert_array_equal(decoder.decode(batch([b"ab"])).features, before, strict=True)

    def test_an_empty_batch_of_a_settled_decoder_gives_no_samples(self) -> None:
        decoder = make_decoder("RAW", config())
        decoder.decode(batch([b"ab"]))
        samples = decoder.decode(batch([]))
        assert (samples.features.shape, samples.labels.shape) == ((0, 2), (0,))

    def test_no_library_is_loaded_before_its_format_is_asked_for(self) -> None:
        program = (
            "import sys, decoders\n"
            "decoders.make_decoder('RAW', {'data_type': 'int', 'label_type': 'int'})\n"
            "print(sorted({'avro', 'fastavro', 'orjson', 'tensorflow', 'confluent_kafka'} & set(sys.modules)))\n"
            "decoders.make_decoder('JSON', {})\n"
            "print(sorted({'avro', 'fastavro', 'orjson'} & set(sys.modules)))\n"
        )
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, text=True)  # noqa: S603 - ours
        assert done.stdout == "[]\n['orjson']\n"


def test_a_whole_image_stream_is_read_as_the_contract_shows_it() -> None:
    rng = np.random.default_rng(7)
    images, digits = rng.integers(0, 256, (50, 28, 28), np.uint8), rng.integers(0, 10, 50, np.uint8)
    example: dict[str, Any] = {"data_type": "uint8", "label_type": "uint8", "data_reshape": "28 28", "label_reshape": ""}
    records = batch([image.tobytes() for image in images], [digit.tobytes() for digit in digits])
    samples = make_decoder("RAW", example).decode(records)
    np.testing.assert_array_equal(samples.features, images, strict=True)
    np.testing.assert_array_equal(samples.labels, digits, strict=True)
