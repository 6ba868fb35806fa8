"""Samples as records in the three formats of a labelled stream, and the INPUT_CONFIG that tells how to read them."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import DTypeLike

from protocol.records import Array

Several: TypeAlias = Array | Sequence[Any]  # an array (n, *shape), or n samples as Layout.of takes them

_AVRO_TYPES = {
    "float32": "float",
    "float16": "float",
    "float64": "double",
    "int64": "long",
    "uint32": "long",
    "bool": "boolean",
}
_AVRO_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_NO_AVRO_TYPE = "uint64"  # reaches beyond Avro's long
_MOST_BYTES = 8  # of a number
TEXT = np.dtype(np.str_)


@dataclass(frozen=True, slots=True)
class Layout:
    """What all samples of a stream have in common, on one side of its records.

    Attributes:
        dtype: of their numbers; TEXT for text.
        shape: of one sample.
        fields: names of the numbers, where they have names.
        is_settled: whether the dtype was asked for, so that floats may be rounded to it.
    """

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    fields: tuple[str, ...] | None = None
    is_settled: bool = False

    @classmethod
    def of(cls, sample: object, dtype: np.dtype[Any] | None = None) -> Layout:
        """That of a first sample.

        Args:
            sample: a number, text, an array or nested sequence of numbers, or a mapping of names to numbers.
            dtype: of the stream; None = the sample's own.

        Raises:
            ValueError: it holds what is no number, or nothing at all.
        """
        fields = tuple(map(str, sample)) if isinstance(sample, Mapping) else None
        array = _array(sample, fields)
        found = dtype or array.dtype
        if fields is None and found.kind == "U" and array.shape == ():
            return cls(TEXT, ())
        if found.kind not in "biuf" or found.itemsize > _MOST_BYTES:
            raise ValueError(f"a sample of type {found.name}: expected numbers of at most {_MOST_BYTES} bytes, or one text")
        if not array.size:
            raise ValueError("a sample without numbers: expected at least one")
        if fields is not None and (array.ndim != 1 or len(set(fields)) < len(fields)):
            raise ValueError("a mapping that is not of names to numbers: expected one number a name")
        return cls(found.newbyteorder("="), array.shape, fields, is_settled=dtype is not None)

    @property
    def count(self) -> int:
        """Numbers in a sample."""
        return int(np.prod(self.shape, dtype=int))

    def rows(self, samples: Several) -> Array:
        """Samples as an array (n, *shape) of this dtype.

        Raises:
            ValueError: one is not like the others, or has a number that the dtype cannot hold.
        """
        if isinstance(samples, np.ndarray) and samples.dtype.kind != "O":
            return self._rows(_unmasked(samples))
        return np.concatenate([self._rows(_array(sample, self.fields)[np.newaxis]) for sample in samples])

    def _rows(self, samples: Array) -> Array:
        if samples.shape[1:] != self.shape:
            raise ValueError(f"a sample of shape {samples.shape[1:]}: the stream's have {self.shape}")
        if samples.dtype == self.dtype or (self.dtype == TEXT and samples.dtype.kind == "U"):
            return samples
        if self.dtype == TEXT or samples.dtype.kind not in "biuf":
            raise ValueError(f"a sample of type {samples.dtype.name}: the stream's are {self._name}")
        with np.errstate(over="ignore", invalid="ignore"):
            converted = samples.astype(self.dtype)
            # There and back: an integer compares equal to the float that it is rounded to.
            is_same = (converted == samples) & (converted.astype(samples.dtype) == samples)
        if self.dtype.kind == samples.dtype.kind == "f":
            is_rounded = np.isfinite(converted) == np.isfinite(samples)  # which is as well, if it was asked for
            is_same = is_rounded if self.is_settled else is_same | np.isnan(samples)
        if not np.all(is_same):
            odd = samples[~is_same].flat[0].item()
            raise ValueError(
                f"{odd!r} of type {samples.dtype.name} does not fit the stream's {self._name}: give a dtype that holds them all"
            )
        return converted

    @property
    def _name(self) -> str:
        return "text" if self.dtype == TEXT else self.dtype.name


def dtype_of(name: DTypeLike | None) -> np.dtype[Any] | None:
    """A type by numpy's name for it; None stays None.

    Raises:
        ValueError: numpy has none of this name.
    """
    try:
        return None if name is None else np.dtype(name)
    except TypeError as exc:
        raise ValueError(f"dtype {name!r}: give one of numpy's, such as float32 or uint8") from exc


def _array(sample: object, fields: tuple[str, ...] | None) -> Array:
    """A sample as an array; the numbers of a mapping in the order of the fields."""
    if isinstance(sample, Mapping) or fields is not None:
        named = {str(name): number for name, number in sample.items()} if isinstance(sample, Mapping) else {}
        if set(named) != set(fields or ()):
            raise ValueError(
                f"a sample with {', '.join(named) or 'no fields'}: the stream's have {', '.join(fields or ()) or 'no fields'}"
            )
        sample = [named[name] for name in fields or ()]
    _unmasked(sample)
    try:
        return np.asarray(sample)
    except ValueError as exc:
        raise ValueError(f"a sample that is no regular array: {exc}") from exc


def _unmasked(sample: Any) -> Any:
    if np.ma.is_masked(sample):
        raise ValueError("a sample with masked numbers: fill them, or leave it out")
    return sample


@dataclass(frozen=True, slots=True)
class Encoding:
    """One format: what INPUT_CONFIG says of both sides, and how arrays (n, *shape) become n byte strings."""

    describe: Callable[[Layout, Layout], dict[str, Any]]
    encoder: Callable[[Layout, str], Callable[[Array], Iterable[bytes]]]


class Encoder:
    """Samples of one layout as records.

    Attributes:
        config: INPUT_CONFIG.

    Args:
        input_format: a key of ENCODINGS.

    Raises:
        ValueError: no such format, or it has nothing for such samples.
    """

    def __init__(self, input_format: str, data: Layout, label: Layout) -> None:
        encoding = encoding_of(input_format)
        self.data, self.label = data, label
        self.config = encoding.describe(data, label)
        self._data, self._label = encoding.encoder(data, "datum"), encoding.encoder(label, "label")

    def values(self, samples: Several) -> list[bytes]:
        """Data as n values; arguments and errors as `Layout.rows` has them."""
        return list(self._data(self.data.rows(samples)))

    def keys(self, labels: Several) -> list[bytes]:
        """Labels as n keys, likewise."""
        return list(self._label(self.label.rows(labels)))


def encoding_of(input_format: str) -> Encoding:
    """The format of this name.

    Raises:
        ValueError: there is none.
    """
    if input_format not in ENCODINGS:
        raise ValueError(f"no format {input_format!r}: choose from {', '.join(ENCODINGS)}")
    return ENCODINGS[input_format]


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
    if len(features) != len(labels):
        raise ValueError(f"{len(features)} data and {len(labels)} labels: expected one label a datum")
    encoder = Encoder(input_format, *(Layout.of(np.empty(all_.shape[1:], all_.dtype)) for all_ in (features, labels)))
    return encoder.keys(labels), encoder.values(features), encoder.config


def avro_schema(layout: Layout, name: str) -> dict[str, Any]:
    """The schema of one sample: a record `name` with a field for each number, in C order.

    Raises:
        ValueError: Avro has no such numbers, or no such names for them.
    """
    if layout.dtype == TEXT or layout.dtype.name == _NO_AVRO_TYPE:
        raise ValueError(f"AVRO has no number of type {layout.dtype.name}: give another dtype")
    names = layout.fields or [f"{name}_{index}" for index in range(layout.count)]
    if odd := [one for one in names if not _AVRO_NAME.fullmatch(one)]:
        raise ValueError(f"AVRO has no name {odd[0]!r}: give letters of ASCII, digits and _, and no digit at the beginning")
    avro_type = _AVRO_TYPES.get(layout.dtype.name, "int")
    return {"type": "record", "name": name, "fields": [{"name": one, "type": avro_type} for one in names]}


def _raw(layout: Layout, _name: str) -> Callable[[Array], Iterable[bytes]]:
    if layout.fields is not None:
        raise ValueError("RAW has no names for numbers: give an array, or take AVRO or JSON")
    if layout.dtype == TEXT:
        return lambda texts: (text.encode() for text in texts.tolist())
    little_endian = layout.dtype.newbyteorder("<")
    return lambda samples: (sample.tobytes() for sample in np.ascontiguousarray(samples, little_endian))


def _avro(layout: Layout, name: str) -> Callable[[Array], Iterable[bytes]]:
    import fastavro  # noqa: PLC0415 - for AVRO alone

    made = avro_schema(layout, name)
    schema, names = fastavro.parse_schema(made), [field["name"] for field in made["fields"]]

    def records(samples: Array) -> Iterable[bytes]:
        for sample in samples.reshape(len(samples), -1).tolist():
            datum = io.BytesIO()
            fastavro.schemaless_writer(datum, schema, dict(zip(names, sample, strict=True)))
            yield datum.getvalue()

    return records


def _json(layout: Layout, _name: str) -> Callable[[Array], Iterable[bytes]]:
    if layout.dtype == TEXT:
        raise ValueError("a model is trained on numbers, and JSON has text as text: send numbers, or take RAW")

    def records(samples: Array) -> Iterable[bytes]:
        if not np.isfinite(samples).all():
            raise ValueError("JSON has no word for NaN or infinity: leave the sample out, or take RAW or AVRO")
        named = (dict(zip(layout.fields or (), one, strict=True)) if layout.fields else one for one in samples.tolist())
        return (json.dumps(sample).encode() for sample in named)

    return records


def _raw_config(data: Layout, label: Layout) -> dict[str, Any]:
    # A model has at least one axis of inputs, by which the backend finds it; so Kafka-ML's data sources call a number "1".
    shapes = _shapes(data, label)
    return shapes | {"data_reshape": "1"} if data.shape == () and data.dtype != TEXT else shapes


def _shapes(data: Layout, label: Layout) -> dict[str, Any]:
    return {
        "data_type": _raw_type(data),
        "label_type": _raw_type(label),
        "data_reshape": _spaced(data.shape),
        "label_reshape": _spaced(label.shape),
    }


def _json_config(data: Layout, label: Layout) -> dict[str, Any]:
    named = {"data_fields": data.fields, "label_fields": label.fields}
    return _shapes(data, label) | {name: list(fields) for name, fields in named.items() if fields is not None}


def _schemas(data: Layout, label: Layout) -> dict[str, Any]:
    # The backend finds a stream's models by data_reshape, whatever its format; of an AVRO record the numbers are one vector.
    return {
        "data_scheme": json.dumps(avro_schema(data, "datum")),
        "label_scheme": json.dumps(avro_schema(label, "label")),
        "data_reshape": str(data.count),
    }


def _raw_type(layout: Layout) -> str:
    return "string" if layout.dtype == TEXT else layout.dtype.name


def _spaced(shape: tuple[int, ...]) -> str:
    return " ".join(map(str, shape))


ENCODINGS = {"RAW": Encoding(_raw_config, _raw), "AVRO": Encoding(_schemas, _avro), "JSON": Encoding(_json_config, _json)}
