"""Avro schemas of INPUT_CONFIG: parsed and validated by avro, then laid out as numbers in a row."""

from __future__ import annotations

import ast
import json
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np

from decoding.avro_layout import Items, Leaf, Node, Nullable, Packed, Record
from decoding.options import Options
from decoding.wire_types import DType

EXAMPLE = '{"type": "record", "name": "reading", "fields": [{"name": "temperature", "type": "float"}]}'

INT_LIMITS = (-(2**31), 2**31 - 1)
_DTYPES: dict[str, DType] = {
    "int": np.dtype(np.int32),
    "long": np.dtype(np.int64),
    "float": np.dtype(np.float32),
    "double": np.dtype(np.float64),
    "boolean": np.dtype(np.bool_),
    "enum": np.dtype(np.int32),
}
# Kinds of types that a number of a schema may become without losing what it means; ints are looked at one by one.
_CONVERTIBLE = {"b": "biuf", "i": "iuf", "f": "f"}
MAX_ERROR_CHARACTERS = 200


def parse_record_schema(value: object) -> Any:
    """The avro schema of a record, from JSON text, the same with single quotes, or what JSON text gives.

    Raises:
        ValueError: no schema, or not a record's.
    """
    schema = parse_any_schema(value)
    if schema.type != "record":
        raise ValueError(f"is the schema of type {schema.type}, expected a record schema: give e.g. {EXAMPLE}")
    return schema


def parse_any_schema(value: object) -> Any:
    """The same of any schema.

    Raises:
        ValueError: no schema.
    """
    try:
        return _of_text(value) if isinstance(value, str) else _of_tree(value)
    except Exception as exc:
        raise ValueError(f"is no Avro schema ({str(exc)[:MAX_ERROR_CHARACTERS]}): give e.g. {EXAMPLE}") from exc


@lru_cache(maxsize=4)  # a worker reads its settings' schemas twice: to check them, and to read by them
def _of_text(text: str) -> Any:
    return _of_tree(_read_text(text))


def _of_tree(tree: Any) -> Any:
    import avro.schema  # noqa: PLC0415 - loaded for AVRO alone

    return avro.schema.make_avsc_object(without_logical_types(tree))


def _read_text(text: str) -> Any:
    # Python's own spelling of a dict, and JSON whose quotes were swapped, both reach INPUT_CONFIG.
    others: tuple[Callable[[str], Any], ...] = (ast.literal_eval, lambda text: json.loads(text.replace("'", '"')))
    try:
        return json.loads(text)
    except ValueError as exc:
        for read in others:
            try:
                return read(text)
            except (ValueError, SyntaxError):
                continue
        raise exc from None


def without_logical_types(tree: Any) -> Any:
    """The schema of what is on the wire: a decimal or a date is a number underneath."""
    if isinstance(tree, dict):
        return {name: without_logical_types(part) for name, part in tree.items() if name != "logicalType"}
    return [without_logical_types(part) for part in tree] if isinstance(tree, list) else tree


class Compiler:
    """Lays a schema out, and writes it anew for fastavro: names resolved, enums as the ints that they are on the wire.

    Args:
        options: takes the faults.
        wire: the side's type, where it is given and good.

    Attributes:
        dtypes: of all leaves, in order.
        names: of types, fields and symbols, in order, which the schema for fastavro no longer has.
    """

    def __init__(self, options: Options, wire: DType | None) -> None:
        self._options = options
        self._wire = wire
        self._open_records: list[str] = []
        self._names = 0
        self._has_contradiction = False
        self.dtypes: list[DType] = []
        self.names: list[str] = []
        self._makers: dict[str, Callable[[Any, str], tuple[Node, Any]]] = {
            **dict.fromkeys(_DTYPES, self._leaf),
            "bytes": self._packed,
            "fixed": self._packed,
            "array": self._items,
            "union": self._union,
            "record": self._record,
        }

    def node(self, schema: Any, path: str) -> tuple[Node, Any]:
        """A part of the schema as a node, and as fastavro reads it. After a fault both are of no use.

        Args:
            path: of names and points, begun with the part of the record that holds the datum.
        """
        make = self._makers.get(schema.type)
        if make is None:
            return self._fault(path, f"of type {schema.type}, which is no number: leave it out or send a number")
        return make(schema, path)

    def _leaf(self, schema: Any, path: str) -> tuple[Node, Any]:
        dtype = _DTYPES[schema.type]
        self.dtypes.append(dtype)
        if self._wire is not None and self._wire.kind not in _CONVERTIBLE[dtype.kind] and not self._has_contradiction:
            self._has_contradiction = True  # one fault tells enough of a hundred fields
            self._options.note(
                "type",
                f"contradicts {_before(path, 'the field', ' of ')}{self._options.key('scheme')}, of type {schema.type}: "
                "give a type that holds its numbers, or null to take the schema's",
            )
        if schema.type == "enum":
            self.names += [schema.name, *schema.symbols]
            return Leaf(path, "enum", (0, len(schema.symbols) - 1)), "int"
        return Leaf(path, schema.type, INT_LIMITS if schema.type == "int" else None), schema.type

    def _packed(self, schema: Any, path: str) -> tuple[Node, Any]:
        if self._wire is None:
            if not self._options.is_given("type"):  # a faulty one is told of already
                self._fault(path, f"of type {schema.type}: give {self._options.key('type')}, the type of the numbers in it")
            return Packed(path, np.dtype(np.uint8), None), "bytes"
        self.dtypes.append(self._wire)
        self.names += [] if schema.type == "bytes" else [schema.name]
        if schema.type == "bytes":
            return Packed(path, self._wire, None), "bytes"
        if schema.size == 0 or schema.size % self._wire.itemsize:
            self._fault(
                path,
                f"of {schema.size} bytes, which make no numbers of {self._wire.itemsize} bytes ({self._wire.name}): "
                f"give another {self._options.key('type')} or size",
            )
        wire_schema = {"type": "fixed", "name": self._new_name(), "size": schema.size}
        return Packed(path, self._wire, schema.size // self._wire.itemsize), wire_schema

    def _items(self, schema: Any, path: str) -> tuple[Node, Any]:
        inner, wire_schema = self.node(schema.items, f"{path}[]")
        return Items(inner), {"type": "array", "items": wire_schema}

    def _union(self, schema: Any, path: str) -> tuple[Node, Any]:
        types = [branch.type for branch in schema.schemas]
        if len(types) - types.count("null") != 1:
            return self._fault(path, f"a union of {', '.join(types) or 'nothing'}: give one type of numbers, or null and one")
        nodes = [(None, "null") if branch.type == "null" else self.node(branch, path) for branch in schema.schemas]
        inner = next(node for node, _ in nodes if node is not None)
        return Nullable(path, inner), [wire_schema for _, wire_schema in nodes]

    def _record(self, schema: Any, path: str) -> tuple[Node, Any]:
        if schema.fullname in self._open_records:
            return self._fault(path, f"of type {schema.fullname}, which holds itself: give a schema of fixed depth")
        if not schema.fields:
            self._options.note("scheme", f"has the record {schema.fullname} without fields: give it some, or leave it out")
        self._open_records.append(schema.fullname)
        self.names += [schema.name, *(field.name for field in schema.fields)]
        fields = [self.node(field.type, f"{path}.{field.name}") for field in schema.fields]
        self._open_records.pop()
        wire_fields = [{"name": f"f{index}", "type": wire_schema} for index, (_, wire_schema) in enumerate(fields)]
        nodes = tuple(node for node, _ in fields)
        return Record(nodes), {"type": "record", "name": self._new_name(), "fields": wire_fields}

    def _new_name(self) -> str:
        self._names += 1
        return f"n{self._names}"

    def _fault(self, path: str, words: str) -> tuple[Node, Any]:
        self._options.note("scheme", f"{_before(path, 'has the field', ', ') or 'is '}{words}")
        return Leaf(path, "int"), "int"


def _before(path: str, words: str, behind: str) -> str:
    """A field between words; nothing where the path is that of the whole schema."""
    field = path.partition(".")[2]
    return f"{words} {field}{behind}" if field else ""
