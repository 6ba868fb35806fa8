"""Samples that a device sends one by one: what the first settles, and what of the others is refused."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from decoders import make_decoder
from demo.device import Device
from demo.formats import Encoder, Layout, dtype_of, encode
from demo.workers import REPOSITORY
from protocol.records import Array, RecordBatch


def one_by_one(input_format: str, features: list[Any], labels: list[Any], **dtypes: Any) -> tuple[Array, Array]:
    """What the worker has of samples that were encoded one by one."""
    data, label = (dtype_of(dtypes.get(side)) for side in ("data", "label"))
    encoder = Encoder(input_format, Layout.of(features[0], data), Layout.of(labels[0], label))
    values = [encoder.values([x])[0] for x in features]
    keys = [encoder.keys([y])[0] for y in labels]
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
    assert (encoder.keys(list(labels)), encoder.values(list(features))) == (encoder.keys(labels), encoder.values(features))


@pytest.mark.parametrize("input_format", ["RAW", "JSON"])
@pytest.mark.parametrize(
    "sample",
    [
        np.arange(6, dtype=">i4").reshape(2, 3),
        np.arange(12, dtype=np.int32).reshape(2, 6)[:, ::2],
        np.asfortranarray(np.arange(6, dtype=np.int32).reshape(2, 3)),
        [[0, 1, 2], [3, 4, 5]],
        np.arange(6, dtype=np.int32)[::-2],
        [True, False],
    ],
)
def test_a_sample_comes_out_as_it_is_however_it_lies_in_memory(input_format: str, sample: Any) -> None:
    found, _labels = one_by_one(input_format, [sample], [0])
    np.testing.assert_array_equal(found[0], sample)
    assert found.shape[1:] == np.shape(sample)


@pytest.mark.parametrize("input_format", ["RAW", "AVRO"])
def test_what_is_no_number_comes_out_as_it_is_where_a_format_has_it(input_format: str) -> None:
    found, _labels = one_by_one(input_format, [[np.nan, np.inf], [1, -np.inf]], [0, 0])
    np.testing.assert_array_equal(found, [[np.nan, np.inf], [1, -np.inf]])


@pytest.mark.parametrize("input_format", ["RAW", "AVRO", "JSON"])
@pytest.mark.parametrize("number", [np.float32(2.5), np.array(7, np.int16), 3, 2.5, True])
def test_a_label_of_one_number_is_a_scalar(input_format: str, number: Any) -> None:
    _found, labels = one_by_one(input_format, [[0]], [number])
    assert labels.tolist() == [number]


def test_a_datum_of_one_number_is_a_vector_of_one_as_a_models_inputs_are() -> None:
    found, _labels = one_by_one("RAW", [np.float32(2.5), 3.5], [0, 0])
    assert found.tolist() == [[2.5], [3.5]]
    assert Encoder("RAW", Layout.of(1.5), Layout.of(0)).config["data_reshape"] == "1"
    assert Encoder("AVRO", Layout.of(1.5), Layout.of(0)).config["data_reshape"] == "1"


@pytest.mark.parametrize("input_format", ["AVRO", "JSON"])
def test_named_numbers_are_read_by_their_names(input_format: str) -> None:
    features = [{"temperature": 20.5, "pressure": 1.0}, {"pressure": 2.0, "temperature": 21.0}]
    found, labels = one_by_one(input_format, features, [{"class": 1}, {"class": 0}], label="uint8")
    np.testing.assert_array_equal(found, [[20.5, 1.0], [21.0, 2.0]])
    np.testing.assert_array_equal(labels.reshape(-1), [1, 0])


@pytest.mark.parametrize("name", [7, "temperature °C"])
def test_a_name_that_avro_does_not_take_is_told_and_json_takes_it(name: object) -> None:
    found, _labels = one_by_one("JSON", [{name: 1.5}, {name: 2.5}], [0, 0])
    assert found.tolist() == [[1.5], [2.5]]
    with pytest.raises(ValueError, match=f"AVRO has no name '{name}'"):
        Encoder("AVRO", Layout.of({name: 1.5}), Layout.of(0))


def test_text_is_sent_as_raw() -> None:
    encoder = Encoder("RAW", Layout.of("grün"), Layout.of(1))
    assert encoder.values(["blau, sehr blau", "rot"]) == [b"blau, sehr blau", b"rot"]
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
        (0.5, 2**53 + 1, "9007199254740993 of type int64 does not fit the stream's float64"),
        (np.uint64(1), -1, "-1 of type int64 does not fit the stream's uint64"),
        (1, np.uint64(2**63), "9223372036854775808 of type uint64 does not fit the stream's int64"),
        (True, 2, "2 of type int64 does not fit the stream's bool"),
        (1, None, "a sample of type object: the stream's are int64"),
    ],
)
def test_a_sample_unlike_the_first_is_refused(first: Any, later: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Layout.of(first).rows([later])


@pytest.mark.parametrize(
    ("first", "later"),
    [(np.float64(0.5), np.float32(0.25)), (0.5, 1), (np.uint8(3), 4), (np.array([0.5], np.float32), [0.25]), (0.5, np.nan)],
)
def test_a_number_that_the_streams_type_holds_is_taken(first: Any, later: Any) -> None:
    np.testing.assert_array_equal(Layout.of(first).rows([later])[0], later)


def test_floats_are_rounded_to_a_type_that_was_asked_for() -> None:
    layout = Layout.of(0.1, np.dtype("float32"))
    assert layout.rows([0.1]) == np.float32(0.1)
    with pytest.raises(ValueError, match="does not fit the stream's float32"):
        layout.rows([1e300])
    with pytest.raises(ValueError, match=r"1.5 .*does not fit the stream's uint8"):
        Layout.of(1, np.dtype("uint8")).rows([1.5])


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
        (b"bytes", "expected numbers"),
        ({"a": "text"}, "expected numbers"),
        ({"a": [1, 2], "b": [3, 4]}, "expected one number a name"),
        ({1: 0.5, "1": 0.5}, "expected one number a name"),
        ({}, "without numbers"),
        (np.ma.masked_array([1.0, 2.0], [False, True]), "masked numbers: fill them"),
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
        Encoder(input_format, layout, Layout.of(0)).values([sample])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"input_format": "XML"}, "no format 'XML'"),
        ({"validation_rate": 0.5, "test_rate": 0.5}, "give shares whose sum is below 1"),
        ({"validation_rate": -0.1}, "give shares"),
        ({"validation_rate": float("nan")}, "give shares"),
        ({"validation_rate": 0.9999999}, "give shares"),  # 1 to the backend
        ({"unlabelled_topic": "t"}, "topics t, t, FEDERATED_DATA_CONTROL_TOPIC: give each stream"),
        ({"control_topic": "t"}, "topics t, t: give each stream, and the announcement, a topic of its own"),
        ({"deployment_id": -1}, "deployment_id=-1"),
        ({"partitions": 0}, "partitions=0"),
        ({"limit_s": 0}, "limit_s=0"),
        ({"limit_s": 3601}, "limit_s=3601"),
        ({"dtype": "float23"}, "dtype 'float23': give one of numpy's"),
        ({"restrictions": {"classes": {1, 2}}}, "restrictions that are no JSON: .*set"),
        ({"restrictions": {"least": float("nan")}}, "restrictions that are no JSON"),
    ],
)
def test_arguments_that_cannot_be_are_told_before_anything_connects(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Device("nowhere:1", "t", **arguments)


def test_a_device_that_is_not_open_sends_nothing() -> None:
    device = Device("nowhere:1", "t", unlabelled_topic="u")
    calls: list[Callable[[], None]] = [lambda: device.send([1], 0), lambda: device.send_unlabelled([1]), device.flush]
    for call in calls:
        with pytest.raises(ValueError, match="within its `with`"):
            call()
    assert device.acknowledged == 0


@pytest.mark.parametrize("config", [{"no.such": "thing"}, {"linger.ms": "long"}, {"security.protocol": "SSH"}, {"acks": []}])
def test_configuration_that_librdkafka_does_not_take_is_told(config: dict[str, Any]) -> None:
    with (
        pytest.raises(ValueError, match="librdkafka does not take this configuration: "),
        Device("nowhere:1", "t", config=config),
    ):
        pass


LOADED = """
import sys
before = set(sys.modules)
from demo.device import Device
from demo.formats import encode
import numpy as np
encode(np.zeros((1, 1)), np.zeros(1), sys.argv[1])
files = {name: getattr(sys.modules[name], "__file__", None) or "" for name in set(sys.modules) - before if "." not in name}
print(*(name for name, file in files.items() if "site-packages" in file))
print(*(name for name, file in files.items() if "site-packages" not in file and file.startswith(sys.argv[2])))
"""


@pytest.mark.parametrize(
    ("input_format", "packages"),
    [
        ("RAW", {"numpy", "confluent_kafka"}),
        ("AVRO", {"numpy", "confluent_kafka", "fastavro"}),
        ("JSON", {"numpy", "confluent_kafka"}),
    ],
)
def test_a_device_loads_nothing_that_a_small_machine_lacks(input_format: str, packages: set[str]) -> None:
    command = [sys.executable, "-c", LOADED, input_format, f"{REPOSITORY}/"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True)  # noqa: S603 - our own lines
    theirs, ours = (set(line.split()) for line in done.stdout.splitlines())
    assert theirs == packages
    assert ours == {"demo", "protocol"}
