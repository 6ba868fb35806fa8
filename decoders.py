"""The formats that a labelled stream's records can have, and INPUT_CONFIG, which says how to read them.

A record's value is the datum, its key the label; the keys of INPUT_CONFIG that begin with `data_` describe the one, those with
`label_` the other. Keys that no format knows are left alone. null is the same as absent.

    *_type      RAW: required. The numbers' type: half (float16), float (float32), double (float64), int (one unsigned byte),
                bool (one byte), or any numpy scalar's name: float32, float64, int64 ... uint8. string (RAW alone): UTF-8 text.
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

JSON: a number, a boolean, a nested array of them, or an object, whose numbers are stacked into a vector (k,); a label of one
number is a scalar. Objects must have the fields of the first record, in any order; the order of the vector is the first
record's. *_fields names the fields of the outermost object instead, and their order; others may then be there and are ignored.
Without *_type: data are float32, labels int64 where the first one has no fraction or exponent, else float32.

    {"data_fields": ["temperature", "humidity"], "label_type": "uint8"}
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NoReturn, final

from decoding.avro_column import avro_plan
from decoding.column import DATA, LABEL, Column, Plan, UnfitError
from decoding.json_column import json_plan
from decoding.options import Options
from decoding.raw_column import raw_plan
from protocol.errors import BadRecordError
from protocol.records import RecordBatch, Samples

DECODERS: Mapping[str, Callable[[Options], Plan | None]] = {"RAW": raw_plan, "AVRO": avro_plan, "JSON": json_plan}


class InputConfigError(ValueError):
    """INPUT_FORMAT and INPUT_CONFIG tell of no way to read records; `faults` holds all faults, not the first."""

    def __init__(self, faults: Sequence[str]) -> None:
        super().__init__("; ".join(faults))
        self.faults = tuple(faults)


@final
class Decoder:
    """Decodes the records of one stream.

    What INPUT_CONFIG leaves open is taken from the first record of the first batch, and held against all later ones, also of
    later batches. Nothing is taken from a record that is refused: then the first record of the next batch is asked.
    """

    def __init__(self, data: Plan, label: Plan) -> None:
        self._data = data
        self._label = label
        self._columns: tuple[Column, Column] | None = None

    def decode(self, batch: RecordBatch) -> Samples:
        """Decode records, at least one.

        Returns:
            features (n, *data_shape) and labels (n, *label_shape), in offset order, native-endian and contiguous, perhaps
            read-only.

        Raises:
            BadRecordError: naming the first record that cannot be decoded.

        Source: Kafka-ML's federated training Job, decoders of RAW and AVRO records.
        """
        if self._columns is None:
            self._columns = self._settle(batch)
        data, label = self._columns
        try:
            return Samples(data.decode(batch.values), label.decode(batch.keys))
        except UnfitError as exc:
            self._tell_first(batch, data, label, exc)

    def _settle(self, batch: RecordBatch) -> tuple[Column, Column]:
        value, key = batch.values[0], batch.keys[0]
        try:
            data, label = self._data.settle(value), self._label.settle(key)
            data.decode([value])
            label.decode([key])
        except UnfitError as exc:
            raise BadRecordError(batch.place(0), 0, str(exc)) from exc
        return data, label

    def _tell_first(self, batch: RecordBatch, data: Column, label: Column, whole: UnfitError) -> NoReturn:
        """Whole batches are decoded in one go; only one that fails is gone through record by record."""
        for index, (value, key) in enumerate(zip(batch.values, batch.keys, strict=True)):
            try:
                data.decode([value])
                label.decode([key])
            except UnfitError as exc:
                raise BadRecordError(batch.place(index), index, str(exc)) from exc
        raise AssertionError("a batch was refused, and none of its records") from whole


def make_decoder(input_format: str, config: Mapping[str, object]) -> Decoder:
    """A decoder for one stream.

    Args:
        input_format: INPUT_FORMAT, a key of DECODERS.
        config: INPUT_CONFIG, as this module's docstring has it.

    Raises:
        InputConfigError: with every fault of format and configuration, each naming key, value and remedy.
    """
    make_plan = DECODERS.get(input_format)
    if make_plan is None:
        raise InputConfigError([f"INPUT_FORMAT={input_format!r} is unknown: choose one of {', '.join(DECODERS)}"])
    sides = [Options(config, side) for side in (DATA, LABEL)]
    data, label = map(make_plan, sides)
    if data is None or label is None:
        raise InputConfigError([fault for side in sides for fault in side.faults])
    return Decoder(data, label)
