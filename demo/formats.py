"""Samples as records in the three formats of a labelled stream, and the INPUT_CONFIG that tells how to read them."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import fastavro
import numpy as np

from protocol.records import Array

_AVRO_TYPES = {
    "float32": "float",
    "float16": "float",
    "float64": "double",
    "int64": "long",
    "uint32": "long",
    "bool": "boolean",
}


@dataclass(frozen=True, slots=True)
class Encoding:
    """One format: what INPUT_CONFIG says of arrays, and an array (n, *shape) as n byte strings."""

    describe: Callable[[Array, Array], dict[str, Any]]
    encode: Callable[[Array, str], Iterable[bytes]]


def encode(features: Array, labels: Array, input_format: str) -> tuple[list[bytes], list[bytes], dict[str, Any]]:
    """Write samples as records.

    Args:
        features: (n, *data_shape), numbers.
        labels: (n, *label_shape), numbers.
        input_format: a key of ENCODINGS.

    Returns:
        The n keys (labels), the n values (data), and the INPUT_CONFIG.

    Raises:
        ValueError: no such format, or not as many labels as data.
    """
    if input_format not in ENCODINGS:
        raise ValueError(f"no format {input_format!r}: choose from {', '.join(ENCODINGS)}")
    if len(features) != len(labels):
        raise ValueError(f"{len(features)} data and {len(labels)} labels: expected one label a datum")
    encoding = ENCODINGS[input_format]
    keys, values = encoding.encode(labels, "label"), encoding.encode(features, "datum")
    return list(keys), list(values), encoding.describe(features, labels)


def avro_schema(array: Array, name: str) -> dict[str, Any]:
    """The schema of one sample: a record `name` with a field for each number, in C order."""
    avro_type = _AVRO_TYPES.get(array.dtype.name, "int")
    fields = [{"name": f"{name}_{index}", "type": avro_type} for index in range(_numbers(array))]
    return {"type": "record", "name": name, "fields": fields}


def _raw(array: Array, _name: str) -> Iterable[bytes]:
    little_endian = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
    return (sample.tobytes() for sample in little_endian)


def _avro(array: Array, name: str) -> Iterable[bytes]:
    schema = fastavro.parse_schema(avro_schema(array, name))
    names = [field["name"] for field in avro_schema(array, name)["fields"]]
    for sample in array.reshape(len(array), -1).tolist():
        datum = io.BytesIO()
        fastavro.schemaless_writer(datum, schema, dict(zip(names, sample, strict=True)))
        yield datum.getvalue()


def _json(array: Array, _name: str) -> Iterable[bytes]:
    return (json.dumps(sample).encode() for sample in array.tolist())


def _shapes(features: Array, labels: Array) -> dict[str, Any]:
    return {
        "data_type": features.dtype.name,
        "label_type": labels.dtype.name,
        "data_reshape": _spaced(features.shape[1:]),
        "label_reshape": _spaced(labels.shape[1:]),
    }


def _schemas(features: Array, labels: Array) -> dict[str, Any]:
    # The backend finds a stream's models by data_reshape, whatever its format; of an AVRO record the numbers are one vector.
    return {
        "data_scheme": json.dumps(avro_schema(features, "datum")),
        "label_scheme": json.dumps(avro_schema(labels, "label")),
        "data_reshape": str(_numbers(features)),
    }


def _numbers(array: Array) -> int:
    return int(np.prod(array.shape[1:], dtype=int))


def _spaced(shape: tuple[int, ...]) -> str:
    return " ".join(map(str, shape))


ENCODINGS = {"RAW": Encoding(_shapes, _raw), "AVRO": Encoding(_schemas, _avro), "JSON": Encoding(_shapes, _json)}
