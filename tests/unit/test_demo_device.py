"""What the demo's device writes, and the environment that it tells."""

from __future__ import annotations

import io
import json
import subprocess

import fastavro
import numpy as np
import pytest

from demo.backend import job_environment
from demo.datasets import LOADERS, load
from demo.device import Stream
from demo.device_command import export_lines
from demo.formats import Layout, avro_schema, encode
from demo.write import in_runs, round_robin

IMAGES = np.arange(8, dtype=np.uint16).reshape(2, 2, 2)
VECTORS = np.array([[0.5, -2.0, 3.0], [1.0, 0.0, 7.25]], np.float32)
LABELS = np.array([3, 9], np.uint8)
STREAM = Stream("digits:0:0:313,digits:1:0:852", "RAW", {"data_reshape": "8 8"}, 1165)


def environment(client_id: str | None = None) -> dict[str, str]:
    return job_environment(
        STREAM,
        cloud_bootstrap="cloud:9092",
        data_bootstrap="edge:9092",
        model_id="m",
        validation_rate=0.2,
        test_rate=0,
        client_id=client_id,
    )


def test_a_raw_record_is_the_arrays_bytes_little_endian() -> None:
    keys, values, _ = encode(IMAGES.astype(">u2"), LABELS, "RAW")
    assert values[1] == bytes([4, 0, 5, 0, 6, 0, 7, 0])
    assert keys == [b"\x03", b"\x09"]


def test_raw_and_json_streams_tell_types_and_shapes() -> None:
    expected = {"data_type": "uint16", "label_type": "uint8", "data_reshape": "2 2", "label_reshape": ""}
    assert encode(IMAGES, LABELS, "RAW")[2] == expected
    assert encode(IMAGES, LABELS, "JSON")[2] == expected


def test_a_json_record_is_a_json_text() -> None:
    keys, values, _ = encode(IMAGES, LABELS, "JSON")
    assert (json.loads(values[0]), json.loads(keys[0])) == ([[0, 1], [2, 3]], 3)


def test_an_avro_record_is_read_with_the_schema_that_the_stream_tells() -> None:
    keys, values, config = encode(VECTORS, LABELS, "AVRO")
    datum = fastavro.schemaless_reader(io.BytesIO(values[1]), json.loads(config["data_scheme"]), None)
    label = fastavro.schemaless_reader(io.BytesIO(keys[1]), json.loads(config["label_scheme"]), None)
    assert isinstance(datum, dict)
    assert isinstance(label, dict)
    assert list(datum.values()) == [1.0, 0.0, 7.25]
    assert list(label.values()) == [9]


def test_an_avro_record_of_floats_is_their_bytes_without_a_header() -> None:
    assert encode(VECTORS, LABELS, "AVRO")[1][0] == VECTORS[0].astype("<f4").tobytes()


def test_an_avro_schema_has_a_field_a_number_in_c_order() -> None:
    schema = avro_schema(Layout.of(IMAGES[0]), "datum")
    assert [field["name"] for field in schema["fields"]] == ["datum_0", "datum_1", "datum_2", "datum_3"]
    assert encode(IMAGES, LABELS, "AVRO")[1][0] == bytes([0, 2, 4, 6])  # zigzag


@pytest.mark.parametrize(
    ("dtype", "avro_type"),
    [("uint8", "int"), ("int64", "long"), ("float32", "float"), ("float64", "double"), ("bool", "boolean")],
)
def test_an_avro_field_is_as_wide_as_the_arrays_type(dtype: str, avro_type: str) -> None:
    assert avro_schema(Layout.of(np.zeros(1, dtype)), "datum")["fields"] == [{"name": "datum_0", "type": avro_type}]


def test_an_unknown_format_is_answered_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match="no format 'XML': choose from RAW, AVRO, JSON"):
        encode(VECTORS, LABELS, "XML")


def test_there_is_one_label_a_datum() -> None:
    with pytest.raises(ValueError, match="2 data and 1 labels"):
        encode(VECTORS, LABELS[:1], "RAW")


def test_records_are_dealt_in_turn_or_in_runs() -> None:
    assert round_robin(5, 2) == [0, 1, 0, 1, 0]
    assert in_runs(5, 2) == [0, 0, 0, 1, 1]


def test_the_environment_is_the_contracts() -> None:
    assert environment("c1") == {
        "KML_CLOUD_BOOTSTRAP_SERVERS": "cloud:9092",
        "DATA_BOOTSTRAP_SERVERS": "edge:9092",
        "DATA_TOPIC": "digits:0:0:313,digits:1:0:852",
        "UNSUPERVISED_TOPIC": "",
        "INPUT_FORMAT": "RAW",
        "INPUT_CONFIG": '{"data_reshape": "8 8"}',
        "VALIDATION_RATE": "0.200000",
        "TEST_RATE": "0.000000",
        "TOTAL_MSG": "1165",
        "FEDERATED_MODEL_ID": "m",
        "FEDERATED_CLIENT_ID": "c1",
        "CASE": "1",
        "NVIDIA_VISIBLE_DEVICES": "all",
    }


def test_without_a_client_id_its_variable_is_absent() -> None:
    assert "FEDERATED_CLIENT_ID" not in environment()


def test_a_shell_reads_the_exported_lines_as_they_were() -> None:
    value = """{"data_scheme": "it's $HOME `x` \\" "}"""
    script = export_lines({"INPUT_CONFIG": value}) + 'printf %s "$INPUT_CONFIG"'
    done = subprocess.run(["/bin/sh", "-c", script], capture_output=True, text=True, check=True)  # noqa: S603 - our own lines
    assert done.stdout == value


@pytest.mark.parametrize("name", sorted(LOADERS))
def test_a_data_set_comes_in_the_same_shuffled_order_each_time(name: str) -> None:
    features, labels = load(name)
    again, labels_again = load(name)
    assert np.array_equal(features, again)
    assert np.array_equal(labels, labels_again)
    assert set(labels[-len(labels) // 5 :]) == set(labels)
