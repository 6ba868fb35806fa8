"""AVRO in Confluent's wire format: each datum behind the id of the schema that it was written by.

What a stream is read as is settled once, by *_scheme or by the first record's schema. Datums of a schema that is the same are
read as those of AVRO without a registry are, whole batches at once; those of another one are resolved to it, one by one.
"""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np

from decoding.avro_column import AvroColumn, DatumReader, RowReader, check_reshape
from decoding.avro_layout import Node
from decoding.avro_registry import WriterSchema, WriterSchemas, schema_id
from decoding.avro_resolution import Resolved, ResolvingReader, resolve_to, writer_for_fastavro
from decoding.avro_schema import Compiler, parse_any_schema
from decoding.avro_template import Template, make_template
from decoding.avro_trail import UnlikeError
from decoding.column import LABEL, Column, Plan, UnfitError
from decoding.number_rows import Stack, settle_shape
from decoding.options import Options
from decoding.shapes import Shape, is_open, parse_reshape
from decoding.wire_types import DType, native, parse_number_type
from protocol.records import Array
from protocol.schemas import HEADER_BYTES


def wire_plan(options: Options, schemas: WriterSchemas) -> Plan | None:
    """Read one side's keys; None where one is faulty."""
    schema = options.read("scheme", parse_any_schema)
    wire = options.read("type", parse_number_type)
    reshape = options.read("reshape", parse_reshape)
    target = None
    if schema is not None:
        target = _target(options, wire, reshape, schema, options.key("scheme"))
    return None if options.faults else WirePlan(options, schemas, wire, reshape, target)


@dataclass(frozen=True, slots=True)
class Target:
    """What all datums of a stream are read as.

    Attributes:
        name: of its schema, for an error.
        layout, wire_schema, names: of datums that were written by it, as Compiler has them.
        resolved: of datums that were written by others.
        dtype: of the numbers.
    """

    name: str
    layout: Node
    wire_schema: Any
    names: Sequence[str]
    resolved: Resolved
    dtype: DType


def _target(options: Options, wire: DType | None, reshape: Shape | None, schema: Any, name: str) -> Target | None:
    """A schema as the target; faults are noted."""
    compiler = Compiler(options, wire)
    layout, wire_schema = compiler.node(schema, options.side.part)
    check_reshape(options, reshape, layout)
    if options.faults:
        return None
    try:
        resolved = resolve_to(schema, options.side, wire)
    except ValueError as exc:
        options.note("scheme", str(exc))
        return None
    dtype = native(wire) if wire is not None else np.result_type(*compiler.dtypes)
    return Target(name, layout, wire_schema, compiler.names, resolved, dtype)


@dataclass(frozen=True, slots=True)
class WirePlan:
    """Datums behind ids.

    Attributes:
        target: None where the first record's schema is to be it.
    """

    options: Options
    schemas: WriterSchemas
    wire: DType | None
    reshape: Shape | None
    target: Target | None

    @property
    def open_keys(self) -> tuple[str, ...]:
        scheme = () if self.target is not None else (self.options.key("scheme"),)
        is_left = (self.target is None or self.target.layout.count is None) and is_open(self.reshape)
        return (*scheme, *((self.options.key("reshape"),) if is_left else ()))

    def settle(self, first: bytes) -> Column:
        side = self.options.side
        target = self.target or self._target_of(self.schemas.of(schema_id(first, side)))
        readers = Readers(self.options, self.schemas, self.wire, target)
        row = readers.of(first).row(first)
        natural = () if side is LABEL and target.layout.is_single else (len(row),)
        return WireColumn(readers, Stack(side, target.dtype, settle_shape(side, self.reshape, natural)))

    def _target_of(self, written: WriterSchema) -> Target:
        options = self.options.with_schema(written.name)
        target = _target(options, self.wire, self.reshape, written.schema, f"{written.name}, that of the first good record")
        if target is None:
            raise UnfitError(
                f"{'; '.join(options.faults)}; or give {self.options.key('scheme')}, a schema of the numbers alone"
            )
        return target


@final
class Readers:
    """Readers of a stream's datums, one for each schema that some were written by."""

    def __init__(self, options: Options, schemas: WriterSchemas, wire: DType | None, target: Target) -> None:
        self._options = options
        self._schemas = schemas
        self._wire = wire
        self._target = target
        self._made: dict[bytes, RowReader] = {}

    def of(self, raw: bytes) -> RowReader:
        """That of a datum with its header.

        Raises:
            UnfitError: there is no schema for it.
            WorkerError: as the lookup of schemas has it.
        """
        header = raw[:HEADER_BYTES]
        made = self._made.get(header)
        if made is None:
            written = self._schemas.of(schema_id(raw, self._options.side))
            made = self._made[header] = self._reader(written)
        return made

    def _reader(self, written: WriterSchema) -> RowReader:
        import fastavro  # noqa: PLC0415 - loaded for AVRO alone

        target, side = self._target, self._options.side
        options = self._options.with_schema(written.name)
        compiler = Compiler(options, self._wire)
        layout, wire_schema = compiler.node(written.schema, side.part)
        is_the_same = not options.faults and (wire_schema, compiler.names) == (target.wire_schema, target.names)
        if is_the_same:
            parsed = fastavro.parse_schema(wire_schema)
            return DatumReader(side, fastavro.schemaless_reader, parsed, layout, written.name, HEADER_BYTES)
        other = target.resolved
        datums = DatumReader(
            side,
            fastavro.schemaless_reader,
            writer_for_fastavro(written.schema),
            other.layout,
            written.name,
            HEADER_BYTES,
            other.schema,
        )
        return ResolvingReader(datums, other.repeated, target.name)


@final
class WireColumn:
    """Datums behind ids, with one count of numbers."""

    def __init__(self, readers: Readers, stack: Stack) -> None:
        self._readers = readers
        self._stack = stack
        self._columns: dict[bytes, AvroColumn] = {}  # by header, and made of what is settled

    def decode(self, raws: Sequence[bytes]) -> Array:
        if not raws:
            return self._stack.stack([])
        array = self._column(raws[0]).at_once(raws)
        if array is not None:
            return array
        groups: dict[bytes, list[int]] = defaultdict(list)
        for index, raw in enumerate(raws):
            groups[raw[:HEADER_BYTES]].append(index)
        if len(groups) == 1:
            return self._column(raws[0]).one_by_one(raws)
        array = np.empty((len(raws), *self._stack.shape), self._stack.dtype)
        for rows in groups.values():
            array[rows] = self._column(raws[rows[0]]).decode([raws[row] for row in rows])
        return array

    def _column(self, raw: bytes) -> AvroColumn:
        """That of datums which were written by the schema of this one."""
        column = self._columns.get(raw[:HEADER_BYTES])
        if column is None:
            reader = self._readers.of(raw)
            reader.row(raw)  # what is laid out as a bad one is of no use
            column = self._columns[raw[:HEADER_BYTES]] = AvroColumn(reader, self._stack, _template(reader, raw))
        return column


def _template(reader: RowReader, raw: bytes) -> Template | None:
    """How datums are laid out that are not resolved."""
    if not isinstance(reader, DatumReader):
        return None
    with contextlib.suppress(UnlikeError):
        return make_template(reader.layout, raw, HEADER_BYTES)
    return None
