"""Datums written by one schema and read by another: fastavro resolves them, and this lays out what it gives."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias, final

import numpy as np

from decoding.avro_column import DatumReader
from decoding.avro_layout import Items, Leaf, Node, Nullable, Packed, Record, Symbol
from decoding.avro_schema import INT_LIMITS, MAX_ERROR_CHARACTERS
from decoding.avro_trail import LONG_LIMITS
from decoding.column import Side, UnfitError
from decoding.wire_types import DType

_MARKS = {"record": "_a_record_", "enum": "_an_enum_", "fixed": "_a_fixed_"}
_INNERMOST = re.compile(r"\{[^{}]*\}")
_TYPE = re.compile(r"'type': '(\w+)'(?:, 'name': '([\w.]+)')?")
_MARK = re.compile(rf"(\b_\.)?({'|'.join(_MARKS.values())})")
MOST_DEFAULTS = 4_000_000  # of one datum, if each byte of it were an item of an array

Part: TypeAlias = tuple[Node, Any]


@final
class Naming:
    """Lays out a schema that has no fault, by names, and writes it anew for fastavro, which resolves by them.

    Attributes:
        repeated: how many numbers of defaults an item of an array may get.
    """

    def __init__(self, wire: DType | None) -> None:
        self._wire = wire or np.dtype(np.uint8)
        self._written: set[str] = set()
        self._makers: dict[str, Callable[[Any, str], Part]] = {
            "array": self._items,
            "bytes": lambda _schema, path: (Packed(path, self._wire, None), "bytes"),
            "enum": self._enum,
            "fixed": self._fixed,
            "record": self._record,
            "union": self._union,
        }
        self._defaults: dict[str, Callable[[Any, Any], Any]] = {
            "array": lambda schema, value: [self._default(schema.items, one) for one in value],
            "record": self._default_record,
            "union": self._default_of_union,
        }
        self.repeated = 0

    def node(self, schema: Any, path: str) -> Part:
        """A part of the schema as a node, and as fastavro resolves it.

        Raises:
            ValueError: a default is no value of its field.
        """
        return self._makers.get(schema.type, _leaf)(schema, path)

    def _items(self, schema: Any, path: str) -> Part:
        inner, tree = self.node(schema.items, f"{path}[]")
        return Items(inner), {"type": "array", "items": tree}

    def _enum(self, schema: Any, _path: str) -> Part:
        indices = {symbol: index for index, symbol in enumerate(schema.symbols)}
        given = {"default": schema.props["default"]} if "default" in schema.props else {}
        return Symbol(indices), self._named(schema, {"symbols": list(schema.symbols), **given})

    def _fixed(self, schema: Any, path: str) -> Part:
        return Packed(path, self._wire, schema.size // self._wire.itemsize), self._named(schema, {"size": schema.size})

    def _union(self, schema: Any, path: str) -> Part:
        parts = [(None, "null") if one.type == "null" else self.node(one, path) for one in schema.schemas]
        inner = next(node for node, _ in parts if node is not None)
        return Nullable(path, inner), [tree for _, tree in parts]

    def _record(self, schema: Any, path: str) -> Part:
        nodes, fields = [], []
        for field in schema.fields:
            node, tree = self.node(field.type, f"{path}.{field.name}")
            nodes.append(node)
            fields.append({"name": field.name, "type": tree, **_aliases(field)})
            if field.has_default:
                fields[-1]["default"] = self._checked(field, f"{path}.{field.name}")
        node = Record(tuple(nodes), tuple(field.name for field in schema.fields))
        return node, self._named(schema, {"fields": fields})

    def _named(self, schema: Any, rest: dict[str, Any]) -> Any:
        """A type by its name, written out where it is met first."""
        name = _name(schema)
        if name in self._written:
            return name
        self._written.add(name)
        aliases = [_marked(schema.type, one) for one in schema.props.get("aliases", [])]
        return {"type": schema.type, "name": name, "aliases": aliases, **rest}

    def _checked(self, field: Any, path: str) -> Any:
        try:
            value = self._default(field.type, field.default)
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as exc:
            raise ValueError(f"has for {path} a default that is no {field.type.type}") from exc
        if "[]" in path:
            self.repeated += _size(value)
        return value

    def _default(self, schema: Any, value: Any) -> Any:
        """A default as it is for fastavro, and as a value of the schema: a float as one, a record with all its fields."""
        kind = schema.type
        if kind in self._defaults:
            return self._defaults[kind](schema, value)
        if kind in ("float", "double") and type(value) in (int, float):
            return float(value)
        if kind in ("bytes", "fixed"):
            is_good = kind == "bytes" or len(value.encode("latin-1")) == schema.size
        elif kind == "enum":
            is_good = value in schema.symbols
        elif kind in ("int", "long"):
            low, high = INT_LIMITS if kind == "int" else LONG_LIMITS
            is_good = type(value) is int and low <= value <= high
        else:
            is_good = value is None if kind == "null" else type(value) is bool
        if not is_good:
            raise ValueError
        return value

    def _default_record(self, schema: Any, value: Any) -> Any:
        fields = ((field, value.get(field.name, field.default)) for field in schema.fields)
        return {field.name: self._default(field.type, one) for field, one in fields}

    def _default_of_union(self, schema: Any, value: Any) -> Any:
        branch = next(one for one in schema.schemas if (one.type == "null") == (value is None))
        return self._default(branch, value)


@dataclass(frozen=True, slots=True)
class Resolved:
    """A schema that datums of others are resolved to.

    Attributes:
        schema: as fastavro reads it.
        layout: of what it gives.
        repeated: as Naming has it.
    """

    schema: Any
    layout: Node
    repeated: int


def resolve_to(schema: Any, side: Side, wire: DType | None) -> Resolved:
    """A schema that has no fault by itself, for datums of others.

    Raises:
        ValueError: a default is no value of its field.
    """
    import fastavro  # noqa: PLC0415 - loaded for AVRO alone

    naming = Naming(wire)
    try:
        layout, tree = naming.node(schema, side.part)
        return Resolved(fastavro.parse_schema(tree), layout, naming.repeated)
    except ValueError:
        raise
    except Exception as exc:
        raise ValueError(f"is no schema for fastavro ({str(exc)[:MAX_ERROR_CHARACTERS]})") from exc


@dataclass(frozen=True, slots=True)
class ResolvingReader:
    """Reads one datum of a schema as one of another.

    Attributes:
        datums: reads them so.
        repeated: as Naming has it.
        wanted: the other schema's name, for an error.
    """

    datums: DatumReader
    repeated: int
    wanted: str

    def row(self, raw: bytes) -> list[float]:
        from fastavro.read import SchemaResolutionError  # noqa: PLC0415 - loaded for AVRO alone

        if len(raw) * self.repeated > MOST_DEFAULTS:
            raise self.datums.unfit(raw, f"defaults in its arrays may make more than {MOST_DEFAULTS} numbers of it")
        try:
            return self.datums.row(raw)
        except UnfitError as exc:
            if not isinstance(exc.__cause__, SchemaResolutionError):
                raise
            side, why = self.datums.side, _unmarked(str(exc.__cause__))[:MAX_ERROR_CHARACTERS]
            raise UnfitError(
                f"{side.part} was written by {self.datums.name}, which cannot be resolved to {self.wanted}: {why}; write by a "
                f"schema that can be, or give INPUT_CONFIG.{side.name}_scheme one that all can be resolved to"
            ) from exc


def writer_for_fastavro(schema: Any) -> Any:
    """A schema that datums were written by, for fastavro, with names by which it is resolved to those of Naming.

    Raises:
        Exception: fastavro does not take it.
    """
    import fastavro  # noqa: PLC0415 - loaded for AVRO alone

    return fastavro.parse_schema(_tree(schema, set()))


def _tree(schema: Any, written: set[str]) -> Any:
    kind = schema.type
    if kind == "union":
        return [_tree(one, written) for one in schema.schemas]
    if kind in ("array", "map"):
        inner = "items" if kind == "array" else "values"
        return {"type": kind, inner: _tree(getattr(schema, inner), written)}
    if kind not in _MARKS:
        return kind
    name = _name(schema)
    if name in written:
        return name
    written.add(name)
    if kind == "record":
        fields = [{"name": field.name, "type": _tree(field.type, written)} for field in schema.fields]
        return {"type": kind, "name": name, "fields": fields}
    rest = {"size": schema.size} if kind == "fixed" else {"symbols": list(schema.symbols)}
    return {"type": kind, "name": name, **rest}


def _name(schema: Any) -> str:
    """The name of a type for fastavro, which tells types apart by their names alone, and not by what they are.

    Within a record of a namespace a name without one would be taken for one of that; for resolution it is all the same.
    """
    return f"{schema.namespace or '_'}.{_marked(schema.type, schema.name)}"


def _marked(kind: str, name: str) -> str:
    return _MARKS[kind] + name.rpartition(".")[2]


def _unmarked(text: str) -> str:
    """A text of fastavro's with the names as they are, and types by their names instead of written out."""
    shorter = _MARK.sub("", text)
    while (text := _INNERMOST.sub(_called, shorter)) != shorter:
        shorter = text
    return shorter


def _called(schema: re.Match[str]) -> str:
    found = _TYPE.search(schema[0])
    return "…" if found is None else " ".join(filter(None, found.groups()))


def _leaf(schema: Any, path: str) -> Part:
    return Leaf(path, schema.type, INT_LIMITS if schema.type == "int" else None), schema.type


def _aliases(one: Any) -> dict[str, Any]:
    return {"aliases": one.props["aliases"]} if "aliases" in one.props else {}


def _size(value: Any) -> int:
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return max(len(value), 1) if isinstance(value, str) else 1 + sum(map(_size, parts))
