"""AVRO: a sample is one schemaless datum of a record, its numbers in schema order."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from decoding.avro_layout import Node
from decoding.avro_schema import EXAMPLE, Compiler, parse_record_schema
from decoding.avro_template import Template, make_template
from decoding.avro_trail import UnlikeError
from decoding.column import LABEL, Column, Plan, Side, UnfitError
from decoding.number_rows import Stack, settle_shape
from decoding.options import Options
from decoding.shapes import Shape, is_open, parse_reshape, resolve, wanted
from decoding.wire_types import DType, native, parse_number_type
from protocol.records import Array
from protocol.schemas import HEADER_BYTES

_HINT = 'its start looks like a schema registry header: give INPUT_CONFIG "wire_format": "confluent", or send the bare datum'


def avro_plan(options: Options) -> Plan | None:
    """Read one side's keys; None where one is faulty."""
    schema = options.read(
        "scheme", parse_record_schema, remedy=f"the record schema of the {options.side.part}s, e.g. {EXAMPLE}"
    )
    wire = options.read("type", parse_number_type)
    reshape = options.read("reshape", parse_reshape)
    if schema is None:
        return None
    compiler = Compiler(options, wire)
    layout, wire_schema = compiler.node(schema, options.side.part)
    check_reshape(options, reshape, layout)
    if options.faults:
        return None
    import fastavro  # noqa: PLC0415 - loaded for AVRO alone

    name = options.key("scheme")
    reader = DatumReader(options.side, fastavro.schemaless_reader, fastavro.parse_schema(wire_schema), layout, name)
    dtype = native(wire) if wire is not None else np.result_type(*compiler.dtypes)
    return AvroPlan(reader, dtype, reshape)


def check_reshape(options: Options, reshape: Shape | None, layout: Node) -> None:
    """Note a reshape that does not take the numbers of a layout without other faults."""
    if not options.faults and reshape is not None and layout.count is not None and resolve(reshape, layout.count) is None:
        options.note(
            "reshape",
            f"takes {wanted(reshape)} numbers, and {options.key('scheme')} has {layout.count}: "
            f'give e.g. "{layout.count}", or null to leave flat',
        )


class RowReader(Protocol):
    """Reads one datum."""

    def row(self, raw: bytes) -> list[float]:
        """The numbers of a datum.

        Raises:
            UnfitError: the bytes are no datum of the schema, or more than one; a null, or a value outside its type.
        """


@dataclass(frozen=True, slots=True)
class DatumReader:
    """Reads one datum by the schema that it was written by.

    Attributes:
        read: fastavro's schemaless reader.
        schema: as fastavro reads it.
        layout: of the same schema.
        name: of the schema, for an error.
        header_bytes: in front of the datum.
        wanted: another schema, of the layout, that datums are resolved to; None where the layout is of the first.
    """

    side: Side
    read: Callable[..., Any]
    schema: Any
    layout: Node
    name: str
    header_bytes: int = 0
    wanted: Any = None

    def row(self, raw: bytes) -> list[float]:
        row: list[float] = []
        self.layout.take((self._datum(raw),), row)
        return row

    def _datum(self, raw: bytes) -> Any:
        stream = io.BytesIO(raw)
        stream.seek(self.header_bytes)
        try:
            datum = self.read(stream, self.schema, self.wanted)
        except Exception as exc:
            problem = "it ends too early" if isinstance(exc, EOFError) else f"{type(exc).__name__}: {exc}"
            raise self.unfit(raw, problem) from exc
        if stream.tell() != len(raw):
            raise self.unfit(raw, f"{len(raw) - stream.tell()} bytes are left over")
        return datum

    def unfit(self, raw: bytes, problem: str) -> UnfitError:
        """What is wrong with a datum."""
        hint = f"; {_HINT}" if not self.header_bytes and self._has_header(raw) else ""
        return UnfitError(f"{self.side.part} of {len(raw)} bytes is no datum of {self.name}: {problem}{hint}")

    def _has_header(self, raw: bytes) -> bool:
        stream = io.BytesIO(raw)
        if stream.read(HEADER_BYTES)[:1] != b"\0":
            return False
        try:
            self.read(stream, self.schema, None)
        except Exception:  # noqa: BLE001 - only a hint is at stake, and fastavro lets any error out
            return False
        return stream.tell() == len(raw)


@dataclass(frozen=True, slots=True)
class AvroPlan:
    """Datums of one schema; what arrays and bytes leave open is left to the first record."""

    reader: DatumReader
    dtype: DType
    reshape: Shape | None

    @property
    def open_keys(self) -> tuple[str, ...]:
        is_left = self.reader.layout.count is None and is_open(self.reshape)
        return (f"{self.reader.side.name}_reshape",) if is_left else ()

    def settle(self, first: bytes) -> Column:
        layout, side = self.reader.layout, self.reader.side
        row = self.reader.row(first)
        natural = () if side is LABEL and layout.is_single else (len(row),)
        stack = Stack(side, self.dtype, settle_shape(side, self.reshape, natural))
        try:
            return AvroColumn(self.reader, stack, make_template(layout, first))
        except UnlikeError:
            return AvroColumn(self.reader, stack, None)


@dataclass(frozen=True, slots=True)
class AvroColumn:
    """Datums written by one schema, with one count of numbers.

    Attributes:
        template: how the first one is laid out, as most are.
    """

    reader: RowReader
    stack: Stack
    template: Template | None

    def decode(self, raws: Sequence[bytes]) -> Array:
        array = self.at_once(raws)
        return self.one_by_one(raws) if array is None else array

    def one_by_one(self, raws: Sequence[bytes]) -> Array:
        """The same slowly, which says what is wrong, if anything is."""
        return self.stack.stack([self.reader.row(raw) for raw in raws])

    def at_once(self, raws: Sequence[bytes]) -> Array | None:
        """The same without a step for each datum; None where one of them is not laid out as most are, or does not fit."""
        if self.template is None or not raws:
            return None
        try:
            return self.template.decode(raws, self.stack.dtype).reshape(len(raws), *self.stack.shape)
        except (UnlikeError, UnfitError):
            return None
