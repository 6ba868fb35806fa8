"""The formats that a labelled stream's records can have, and INPUT_CONFIG, which says how to read them.

A record's value is the datum, its key the label; the keys of INPUT_CONFIG that begin with `data_` describe the one, those with
`label_` the other. Keys that no format knows are left alone. null is the same as absent.

    *_type      RAW: required. The numbers' type: half (float16), float (float32), double (float64), int (one unsigned byte),
                bool (one byte), or any numpy scalar's name, of 8 bytes at most: float32, float64, int64 ... uint8. string (RAW
                alone): UTF-8 text.
                AVRO and JSON: the type that the numbers get; a number that it cannot hold is a bad record.
    *_reshape   a sample's sizes, separated by spaces; "" is a scalar; one may be -1, and is inferred from the first record.
                Absent: as the first record has it.

RAW: the little-endian bytes of an array. Without a reshape a sample is flat, shape (k,). Text becomes an object array of bytes.

    {"data_type": "uint8", "label_type": "uint8", "data_reshape": "28 28", "label_reshape": ""}

AVRO: one schemaless datum of a record. Its numbers are stacked in schema order into a vector (k,); a label of one number is a
scalar. int, long, float, double, boolean and enum (its index) are numbers; so are arrays and records of them, and bytes and
fixed where *_type names the numbers in them. A union with null is read, and null refused. Of a logical type the number
underneath counts. Without *_type: int32, int64, float32, float64, bool, int32, or what numpy promotes a mixture to. A schema
may also be text, as Kafka-ML has it, in JSON or with single quotes.

    {"data_scheme": {"type": "record", "name": "reading", "fields": [{"name": "temperature", "type": "float"}]},
     "label_scheme": {"type": "record", "name": "label", "fields": [{"name": "class", "type": "int"}]}}

With "wire_format": "confluent" each AVRO value and key is in Confluent's wire format: the datum stands behind the id of the
schema that it was written by, which a schema registry has. *_scheme is then what all are read as, by Avro's schema resolution:
numbers are promoted, fields may stand in another order, be left out, have another name (aliases) or be missing (default).
Absent: as the first record was written. A schema may be any that has numbers, not a record's alone: "int" does for a label.

    {"wire_format": "confluent",
     "data_scheme": {"type": "record", "name": "reading", "fields": [{"name": "temperature", "type": "float"}]}}

JSON: a number, a boolean, a nested array of them, or an object, whose numbers are stacked into a vector (k,); a label of one
number is a scalar. Objects must have the fields of the first record, in any order; the order of the vector is the first
record's. *_fields names the fields of the outermost object instead, and their order; others may then be there and are ignored.
Without *_type: data are float32, labels int64 where the first one has no fraction or exponent, else float32.

    {"data_fields": ["temperature", "humidity"], "label_type": "uint8"}
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import final

import numpy as np

from decoding.avro_column import avro_plan
from decoding.avro_registry import WriterSchemas
from decoding.avro_wire_column import wire_plan
from decoding.column import DATA, LABEL, Column, Plan, UnfitError
from decoding.json_column import json_plan
from decoding.no_column import NO_LABEL
from decoding.options import Options
from decoding.raw_column import raw_plan
from protocol.errors import BadRecordError
from protocol.records import RecordBatch, Samples
from protocol.schemas import RegisteredSchema, SchemaLookup
from protocol.words import in_a_line

MAX_REASON = 500  # characters

DECODERS: Mapping[str, Callable[[Options], Plan | None]] = {"RAW": raw_plan, "AVRO": avro_plan, "JSON": json_plan}

WIRE_FORMAT, CONFLUENT = "wire_format", "confluent"


class InputConfigError(ValueError):
    """INPUT_FORMAT and INPUT_CONFIG tell of no way to read records; `faults` holds all faults, not the first."""

    def __init__(self, faults: Sequence[str]) -> None:
        super().__init__("; ".join(faults))
        self.faults = tuple(faults)


@dataclass(frozen=True, slots=True)
class Sifted:
    """What decoding makes of a batch.

    Attributes:
        samples: of the good records, in offset order; None where there is no good one.
        bad: index in the batch and reason of each of the others, in offset order.
    """

    samples: Samples | None
    bad: Sequence[tuple[int, str]]


@final
class Decoder:
    """Decodes the records of one stream.

    What INPUT_CONFIG leaves open is taken from the first good record, and held against all later ones, also of later batches.
    Nothing is taken from a record that is refused by itself.

    Attributes:
        settled_by: place of the record that settled what INPUT_CONFIG leaves open; None where none has yet.
        open_keys: keys of INPUT_CONFIG that are left to it.
    """

    def __init__(self, data: Plan, label: Plan, schemas: WriterSchemas | None = None) -> None:
        self._data = data
        self._label = label
        self._schemas = schemas
        self._columns: tuple[Column, Column] | None = None
        self.settled_by: str | None = None
        self.open_keys = (*data.open_keys, *label.open_keys)

    def of_values(self) -> Decoder:
        """A decoder of an unlabelled stream beside this one, which must have settled what INPUT_CONFIG leaves open.

        Its values are decoded as this one's; its keys carry nothing, and its labels (n, 0) have no numbers.
        """
        if self._columns is None:
            raise ValueError("no record of the labelled stream has settled what INPUT_CONFIG leaves open")
        data, _label = self._columns
        other = Decoder(self._data, NO_LABEL, self._schemas)
        other._columns, other.settled_by, other.open_keys = (data, NO_LABEL), self.settled_by, ()
        return other

    def schemas(self) -> list[str]:
        """The schemas of a registry that records so far were written by."""
        return [] if self._schemas is None else self._schemas.names()

    def decode(self, batch: RecordBatch) -> Samples:
        """Decode records, at least one.

        Returns:
            features (n, *data_shape) and labels (n, *label_shape), in offset order, native-endian and contiguous, perhaps
            read-only.

        Raises:
            BadRecordError: naming the first record that cannot be decoded.

        Source: Kafka-ML's federated training Job, decoders of RAW and AVRO records.
        """
        good = []
        for index, outcome in self._halved(batch):
            if isinstance(outcome, UnfitError):
                raise BadRecordError(batch.place(index), index, _in_a_line(outcome)) from outcome
            good.append(outcome)
        return _joined(good)

    def sift(self, batch: RecordBatch) -> Sifted:
        """Decode those records that can be decoded."""
        good: list[Samples] = []
        bad: list[tuple[int, str]] = []
        for index, outcome in self._halved(batch):
            if isinstance(outcome, UnfitError):
                bad.append((index, _in_a_line(outcome)))
            else:
                good.append(outcome)
        return Sifted(_joined(good) if good else None, bad)

    def _halved(self, batch: RecordBatch) -> Iterator[tuple[int, Samples | UnfitError]]:
        """Decode a batch in one go; one that fails is halved, and halved again, down to the bad records.

        Yields:
            Index of its first record and samples of each part, or index and fault of a bad record, in offset order.
        """
        parts = [range(len(batch))]
        while parts:
            part = parts.pop()
            try:
                yield part.start, self._decode(batch, part)
            except UnfitError as exc:
                if len(part) == 1:
                    yield part.start, exc
                else:
                    middle = len(part) // 2
                    parts += [part[middle:], part[:middle]]

    def _decode(self, batch: RecordBatch, part: range) -> Samples:
        data, label = self._columns or self._settle(batch, part.start)
        values, keys = batch.values, batch.keys
        if len(part) < len(batch):
            rows = slice(part.start, part.stop)
            values, keys = values[rows], keys[rows]
        return Samples(data.decode(values), label.decode(keys))

    def _settle(self, batch: RecordBatch, index: int) -> tuple[Column, Column]:
        value, key = batch.values[index], batch.keys[index]
        data, label = self._data.settle(value), self._label.settle(key)
        data.decode([value])
        label.decode([key])
        self._columns, self.settled_by = (data, label), batch.place(index)
        return data, label


def _joined(parts: Sequence[Samples]) -> Samples:
    if len(parts) == 1:
        return parts[0]
    return Samples(np.concatenate([part.features for part in parts]), np.concatenate([part.labels for part in parts]))


def _in_a_line(fault: UnfitError) -> str:
    """A reason as a log can have it: a record may hold names of any length, with line breaks in them."""
    line = in_a_line(" ".join(str(fault).split()))
    return line if len(line) <= MAX_REASON else f"{line[:MAX_REASON]}…"


def names_schemas(input_format: str, config: Mapping[str, object]) -> bool:
    """Whether records name schemas of a registry."""
    return input_format == "AVRO" and config.get(WIRE_FORMAT) == CONFLUENT


def _check_wire_format(input_format: str, config: Mapping[str, object]) -> None:
    """Refuse a wire format that there is not, or that is not for the format."""
    wanted = config.get(WIRE_FORMAT)
    if wanted is None:
        return
    given = f"INPUT_CONFIG.{WIRE_FORMAT}={wanted!r}"
    if wanted != CONFLUENT:
        raise InputConfigError([f"{given} is unknown: give {CONFLUENT}, or null for records that are datums and nothing more"])
    if input_format != "AVRO":
        raise InputConfigError([f"{given} is for INPUT_FORMAT=AVRO, and it is {input_format}: give AVRO, or leave it out"])


def make_decoder(input_format: str, config: Mapping[str, object], lookup: SchemaLookup | None = None) -> Decoder:
    """A decoder for one stream.

    Args:
        input_format: INPUT_FORMAT, a key of DECODERS.
        config: INPUT_CONFIG, as this module's docstring has it.
        lookup: of the schemas that records name.

    Raises:
        InputConfigError: with every fault of format and configuration, each naming key, value and remedy.
    """
    make_plan = DECODERS.get(input_format)
    if make_plan is None:
        raise InputConfigError([f"INPUT_FORMAT={input_format!r} is unknown: choose one of {', '.join(DECODERS)}"])
    schemas = None
    _check_wire_format(input_format, config)
    if names_schemas(input_format, config):
        schemas = WriterSchemas(lookup or _no_registry)
        make_plan = partial(wire_plan, schemas=schemas)
    sides = [Options(config, side) for side in (DATA, LABEL)]
    data, label = map(make_plan, sides)
    if data is None or label is None:
        raise InputConfigError([fault for side in sides for fault in side.faults])
    return Decoder(data, label, schemas)


def _no_registry(schema_id: int) -> RegisteredSchema:
    raise ValueError(f"schema {schema_id} is asked for, and the decoder has been given no registry")
