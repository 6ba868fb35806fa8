"""Schemas by id, as Confluent's wire format names them: asked for once, parsed, and held against what a stranger may do."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, final

from decoding.avro_resolution import writer_for_fastavro
from decoding.avro_schema import MAX_ERROR_CHARACTERS, without_logical_types
from decoding.column import Side, UnfitError
from protocol.schemas import AVRO, HEADER_BYTES, MAX_ID, SchemaLookup, UnusableSchemaError
from protocol.words import shown

MOST_IDS = 1_000  # that are asked for: a stream of more is no stream of a few devices' schemas
MOST_PARTS = 100_000  # of a schema, its names resolved
MOST_LEVELS = 100  # fastavro goes down them on C's own stack
_LEAST_BYTES = {"null": 0, "float": 4, "double": 8}  # of a value; 1 of others
_WHERE = "is not in Confluent's wire format, a byte of 0, a schema's id of 4 bytes, and a datum"


@dataclass(frozen=True, slots=True)
class WriterSchema:
    """A schema that datums were written by.

    Attributes:
        name: for an error, with its id.
        schema: as avro has it, all that it refers to included.
    """

    name: str
    schema: Any


@final
class WriterSchemas:
    """The schemas of a registry. Each is asked for once, also one that is not there, or cannot be used."""

    def __init__(self, lookup: SchemaLookup) -> None:
        self._lookup = lookup
        self._known: dict[int, WriterSchema | str] = {}

    def names(self) -> list[str]:
        """Those of the schemas that have been met and can be used, in that order."""
        return [one.name for one in self._known.values() if isinstance(one, WriterSchema)]

    def of(self, schema_id: int) -> WriterSchema:
        """The schema of an id.

        Raises:
            UnfitError: there is none, or none that records can be read by.
            WorkerError: as the lookup has it.
        """
        known = self._known.get(schema_id)
        if known is None:
            if len(self._known) >= MOST_IDS:
                raise UnfitError(f"schema {schema_id} is not asked for: the stream has named {MOST_IDS} other ids by now")
            known = self._known[schema_id] = self._found(schema_id)
        if isinstance(known, str):
            raise UnfitError(known)
        return known

    def _found(self, schema_id: int) -> WriterSchema | str:
        if not schema_id <= MAX_ID:
            return f"schema {schema_id} cannot be: an id has 31 bits"
        try:
            registered = self._lookup(schema_id)
        except UnusableSchemaError as exc:
            return str(exc)
        if registered.kind != AVRO:
            kind = shown(registered.kind)
            return f"schema {schema_id} is of type {kind}, expected {AVRO}: write the stream with an Avro serializer"
        try:
            found = _parsed(f"schema {schema_id}", (*registered.references, registered.text))
            _weigh(found.schema, {}, ())
            writer_for_fastavro(found.schema)
        except Exception as exc:  # noqa: BLE001 - whatever a stranger's text makes of avro and fastavro
            return (
                f"schema {schema_id} cannot be used ({str(exc)[:MAX_ERROR_CHARACTERS]}): register one that can, and write by it"
            )
        return found


def schema_id(raw: bytes, side: Side) -> int:
    """The id in front of a datum.

    Raises:
        UnfitError: there is none.
    """
    if len(raw) < HEADER_BYTES:
        raise UnfitError(f"{side.part} of {len(raw)} bytes {_WHERE}: it is too short; {_remedy(side)}")
    if raw[0] != 0:
        raise UnfitError(f"{side.part} of {len(raw)} bytes {_WHERE}: it begins with 0x{raw[0]:02x}; {_remedy(side)}")
    return int.from_bytes(raw[1:HEADER_BYTES], "big")


def _remedy(side: Side) -> str:
    return f"write {side.part}s with a registry's Avro serializer, or leave INPUT_CONFIG.wire_format out for bare datums"


def _parsed(name: str, texts: Sequence[str]) -> WriterSchema:
    import avro.name  # noqa: PLC0415 - loaded for AVRO alone
    import avro.schema  # noqa: PLC0415

    names = avro.name.Names()
    trees = (without_logical_types(json.loads(text)) for text in texts)
    schema = [avro.schema.make_avsc_object(tree, names) for tree in trees][-1]
    return WriterSchema(f"{name} ({shown(getattr(schema, 'fullname', schema.type))})", schema)


@dataclass(frozen=True, slots=True)
class _Weight:
    """What a schema may cost: the least bytes of a value, its parts, and its levels."""

    least: int
    parts: int
    levels: int


def _weigh(schema: Any, known: dict[str, _Weight], inside: tuple[str, ...]) -> _Weight:
    """Refuse what would take memory or time without bytes to show for it.

    Args:
        known: records that have been weighed.
        inside: records whose fields are being weighed.

    Raises:
        ValueError: it is so.
    """
    if schema.type == "record":
        name = schema.fullname
        if name in inside:
            raise ValueError(f"the record {name} holds itself")
        if name not in known:
            known[name] = _sum([_weigh(field.type, known, (*inside, name)) for field in schema.fields])
        return known[name]
    if schema.type == "union":
        branches = _sum([_weigh(one, known, inside) for one in schema.schemas])
        return _Weight(1, branches.parts, branches.levels)
    if schema.type in ("array", "map"):
        items = _sum([_weigh(schema.items if schema.type == "array" else schema.values, known, inside)])
        if schema.type == "array" and not items.least:
            raise ValueError("it has an array of items without bytes, of which a few bytes may tell of any number")
        return _Weight(1, items.parts, items.levels)
    return _Weight(schema.size if schema.type == "fixed" else _LEAST_BYTES.get(schema.type, 1), 1, 1)


def _sum(weights: Sequence[_Weight]) -> _Weight:
    parts, levels = 1 + sum(one.parts for one in weights), 1 + max((one.levels for one in weights), default=0)
    if parts > MOST_PARTS or levels > MOST_LEVELS:
        raise ValueError(f"it has more than {MOST_PARTS} parts, or {MOST_LEVELS} levels")
    return _Weight(sum(one.least for one in weights), parts, levels)
