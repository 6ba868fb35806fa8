"""Samples that a device sends one by one: what the first settles, and what of the others is refused."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from decoders import make_decoder
from demo.device import Device
from demo.formats import Encoder, Layout, encode
from protocol.records import Array, RecordBatch
from tests.support.worker import REPOSITORY


def one_by_one(input_format: str, features: list[Any], labels: list[Any], **dtypes: Any) -> tuple[Array, Array]:
    """What the worker has of samples that were encoded one by one."""
    encoder = Encoder(input_format, Layout.of(features[0], dtypes.get("data")), Layout.of(labels[0], dtypes.get("label")))
    values = [encoder.values(encoder.data.row(x))[0] for x in features]
    keys = [encoder.keys(encoder.label.row(y))[0] for y in labels]
    decoder = make_decoder(input_format, json.loads(json.dumps(encoder.config)))
    samples = decoder.decode(RecordBatch("t", 0, range(len(values)), keys, values))
    return samples.features, samples.labels


@pytest.mark.parametrize("input_format", ["RAW", "AVRO", "JSON"])
@pytest.mark.parametrize("dtype", ["float32", "float64", "uint8", "int16", "int64", "uint32", "bool"])
def test_samples_one_by_one_are_those_of_whole_arrays(input_format: str, dtype: str) -> None:
    features = np.array([[0, 1, 1], [1, 0, 1]]).astype(dtype)
    labels = np.array([1, 0], np.uint8)
    found, found_labels = one_by_one(input_format, list(features), list(labels))
    np.testing.assert_array_equal(found, features)
    np.testing.assert_array_equal(found_labels, labels)
    encoder = Encoder(input_format, Layout.of(features[0]), Layout.of(labels[0]))
    assert (encoder.keys(labels), encoder.values(features), encoder.config) == encode(features, labels, input_format)


@pytest.mark.parametrize("input_format", ["RAW", "JSON"])
@pytest.mark.parametrize(
    "sample",
    [
        np.arange(6, dtype=">i4").reshape(2, 3),
        np.arange(12, dtype=np.int32).reshape(2, 6)[:, ::2],
        np.asfortranarray(np.arange(6, dtype=np.int32).reshape(2, 3)),
        [[0, 1, 2], [3, 4, 5]],
        np.float32(2.5),
        np.array(7, np.int16),
        3,
        2.5,
        True,
    ],
)
def test_a_sample_comes_out_as_it_is_however_it_lies_in_memory(input_format: str, sample: Any) -> None:
    found, _labels = one_by_one(input_format, [sample], [0])
    np.testing.assert_array_equal(found[0], sample)
    assert found.shape[1:] == np.shape(sample)


@pytest.mark.parametrize("input_format", ["AVRO", "JSON"])
def test_named_numbers_are_read_by_their_names(input_format: str) -> None:
    features = [{"temperature": 20.5, "pressure": 1.0}, {"pressure": 2.0, "temperature": 21.0}]
    found, labels = one_by_one(input_format, features, [{"class": 1}, {"class": 0}], label="uint8")
    np.testing.assert_array_equal(found, [[20.5, 1.0], [21.0, 2.0]])
    np.testing.assert_array_equal(labels.reshape(-1), [1, 0])


def test_text_is_sent_as_raw() -> None:
    encoder = Encoder("RAW", Layout.of("grün"), Layout.of(1))
    assert encoder.values(encoder.data.row("blau, sehr blau")) == [b"blau, sehr blau"]
    assert encoder.config["data_type"] == "string"


@pytest.mark.parametrize(
    ("first", "later", "message"),
    [
        ([1, 2], [1, 2, 3], r"a sample of shape \(3,\): the stream's have \(2,\)"),
        ([1, 2], [1.5, 2], "1.5 of type float64 does not fit the stream's int64"),
        (np.array([1], np.float32), [0.1], "0.1 of type float64 does not fit the stream's float32"),
        (np.array([1], np.uint8), [300], "300 of type int64 does not fit the stream's uint8"),
        (np.array([1], np.uint8), [-1], "-1 of type int64 does not fit"),
        (np.array([1], np.uint8), [np.nan], "nan.* does not fit"),
        ([1, 2], ["a", "b"], "a sample of type str.*: the stream's are int64"),
        ([1, 2], [[1], [2, 3]], "no regular array"),
        ("text", 1, "the stream's are text"),
        ({"a": 1}, {"b": 1}, "a sample with b: the stream's have a"),
        ({"a": 1}, [1], "a sample with no fields: the stream's have a"),
        ([1], {"a": 1}, "a sample with a: the stream's have no fields"),
    ],
)
def test_a_sample_unlike_the_first_is_refused(first: Any, later: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Layout.of(first).row(later)


@pytest.mark.parametrize(
    ("first", "later"),
    [(np.float64(0.5), np.float32(0.25)), (0.5, 1), (np.uint8(3), 4), (np.array([0.5], np.float32), [0.25]), (0.5, np.nan)],
)
def test_a_number_that_the_streams_type_holds_is_taken(first: Any, later: Any) -> None:
    np.testing.assert_array_equal(Layout.of(first).row(later)[0], later)


def test_floats_are_rounded_to_a_type_that_was_asked_for() -> None:
    assert Layout.of(0.1, "float32").row(0.1)[0] == np.float32(0.1)
    with pytest.raises(ValueError, match="does not fit the stream's float32"):
        Layout.of(0.1, "float32").row(1e300)
    with pytest.raises(ValueError, match=r"1.5 .*does not fit the stream's uint8"):
        Layout.of(1, "uint8").row(1.5)


@pytest.mark.parametrize(
    ("sample", "message"),
    [
        ([], "without numbers"),
        (1j, "of type complex128: expected numbers"),
        (None, "of type object: expected numbers"),
        (["a", "b"], "expected numbers of at most 8 bytes, or one text"),
        (np.longdouble(1), "expected numbers of at most 8 bytes"),
        (np.array([1], ml_dtypes.bfloat16), "of type bfloat16: expected numbers"),
        (np.datetime64("2026-01-01"), "expected numbers"),
    ],
)
def test_what_is_no_number_settles_nothing(sample: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Layout.of(sample)


@pytest.mark.parametrize(
    ("input_format", "sample", "message"),
    [
        ("RAW", {"a": 1}, "RAW has no names for numbers"),
        ("AVRO", "text", "AVRO has no number of type str"),
        ("AVRO", np.uint64(1), "AVRO has no number of type uint64"),
        ("JSON", "text", "take RAW"),
        ("JSON", [1.0, np.inf], "JSON has no word for NaN or infinity"),
        ("XML", 1, "no format 'XML': choose from RAW, AVRO, JSON"),
    ],
)
def test_a_format_that_has_nothing_for_a_sample_says_so(input_format: str, sample: Any, message: str) -> None:
    layout = Layout.of(sample)
    with pytest.raises(ValueError, match=message):
        Encoder(input_format, layout, Layout.of(0)).values(layout.row(sample))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"input_format": "XML"}, "no format 'XML'"),
        ({"validation_rate": 0.5, "test_rate": 0.5}, "give shares whose sum is below 1"),
        ({"validation_rate": -0.1}, "give shares"),
        ({"validation_rate": float("nan")}, "give shares"),
        ({"unlabelled_topic": "t"}, "both streams on topic t"),
        ({"deployment_id": -1}, "deployment_id=-1"),
    ],
)
def test_arguments_that_cannot_be_are_told_before_anything_connects(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Device("nowhere:1", "t", **arguments)


def test_a_device_that_is_not_open_sends_nothing() -> None:
    with pytest.raises(ValueError, match="within its `with`"):
        Device("nowhere:1", "t").send([1], 0)


def test_a_device_loads_nothing_that_a_small_machine_lacks() -> None:
    script = "import sys; import demo.device; print(*sorted({name.split('.')[0] for name in sys.modules}))"
    done = subprocess.run([sys.executable, "-c", script], cwd=REPOSITORY, capture_output=True, text=True, check=True)  # noqa: S603
    loaded = set(done.stdout.split())
    assert {"numpy", "confluent_kafka"} <= loaded
    assert loaded.isdisjoint(
        {"tensorflow", "keras", "tf_keras", "sklearn", "kafka", "pydantic", "web3", "fastavro", "matplotlib"}
    )
