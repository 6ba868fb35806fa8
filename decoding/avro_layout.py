"""How the numbers of an Avro record lie in it: one node for each part of the schema, shaped as fastavro gives the datum."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from decoding.avro_trail import LONG_LIMITS, Trail, Varint
from decoding.column import UnfitError
from decoding.wire_types import DType, from_wire

_WIRE_TYPES: dict[str, DType] = {"float": np.dtype("<f4"), "double": np.dtype("<f8"), "boolean": np.dtype(np.bool_)}


class Node(Protocol):
    """Takes the numbers out of values of one part of the schema.

    Attributes:
        count: numbers in one value; None where each datum has its own.
        is_single: one number, in no array.
    """

    @property
    def count(self) -> int | None: ...
    @property
    def is_single(self) -> bool: ...

    def take(self, values: Sequence[Any], row: list[float]) -> None:
        """Append the numbers of all values, in order.

        Raises:
            UnfitError: with the path of the field.
        """

    def walk(self, trail: Trail, times: int) -> None:
        """Go along as many values, one behind the other.

        Raises:
            UnlikeError: they are no such values.
        """


@dataclass(frozen=True, slots=True)
class Leaf:
    """A number, a boolean, or an enum's index.

    Attributes:
        limits: least and greatest value, where the reader lets others through.
    """

    path: str
    kind: str
    limits: tuple[int, int] | None = None
    count: int = 1
    is_single: bool = True

    def take(self, values: Sequence[Any], row: list[float]) -> None:
        if self.limits is not None:
            low, high = self.limits
            for odd in (value for value in values if not low <= value <= high):
                raise UnfitError(f"{self.path} is {odd}, outside its type {self.kind} ({low} to {high})")
        row.extend(values)

    def walk(self, trail: Trail, times: int) -> None:
        wire = _WIRE_TYPES.get(self.kind)
        if wire is None:
            trail.varints(Varint(self.limits or LONG_LIMITS), times)
        else:
            trail.fixed(wire, times)


@dataclass(frozen=True, slots=True)
class Symbol:
    """An enum that is read as its symbol, and stands for the symbol's index."""

    indices: Mapping[str, int]
    count: int = 1
    is_single: bool = True

    def take(self, values: Sequence[Any], row: list[float]) -> None:
        row.extend(self.indices[value] for value in values)

    def walk(self, trail: Trail, times: int) -> None:
        trail.varints(Varint((0, len(self.indices) - 1)), times)


@dataclass(frozen=True, slots=True)
class Packed:
    """Bytes that hold numbers of a wire type; a schema's default has them as a text, of which each character is a byte."""

    path: str
    wire: DType
    count: int | None
    is_single: bool = False

    def take(self, values: Sequence[Any], row: list[float]) -> None:
        for value in values:
            if len(value) % self.wire.itemsize:
                raise UnfitError(
                    f"{self.path} has {len(value)} bytes, expected a multiple of {self.wire.itemsize} ({self.wire.name})"
                )
            raw = value.encode("latin-1") if isinstance(value, str) else value
            row.extend(from_wire(raw, self.wire).tolist())

    def walk(self, trail: Trail, times: int) -> None:
        for _ in range(times):
            count = trail.mark() // self.wire.itemsize if self.count is None else self.count
            trail.fixed(self.wire, count)


@dataclass(frozen=True, slots=True)
class Nullable:
    """A union with null, of which null is refused."""

    path: str
    inner: Node

    @property
    def count(self) -> int | None:
        return self.inner.count

    @property
    def is_single(self) -> bool:
        return self.inner.is_single

    def take(self, values: Sequence[Any], row: list[float]) -> None:
        if any(value is None for value in values):
            raise UnfitError(f"{self.path} is null, and there is no number for null: a model needs one for each feature")
        self.inner.take(values, row)

    def walk(self, trail: Trail, times: int) -> None:
        for _ in range(times):
            trail.mark()
            self.inner.walk(trail, 1)


@dataclass(frozen=True, slots=True)
class Items:
    """Arrays, as long as each datum says."""

    inner: Node
    count: int | None = None
    is_single: bool = False

    def take(self, values: Sequence[Any], row: list[float]) -> None:
        for value in values:
            self.inner.take(value, row)

    def walk(self, trail: Trail, times: int) -> None:
        for _ in range(times):
            while (count := trail.mark()) != 0:
                if count < 0:  # then its size in bytes comes first
                    trail.varints(Varint(is_number=False))
                self.inner.walk(trail, abs(count))


@dataclass(frozen=True, slots=True)
class Record:
    """Fields in schema order.

    Attributes:
        names: of the fields, where a datum has them in another order.
    """

    fields: tuple[Node, ...]
    names: tuple[str, ...] = ()

    @property
    def count(self) -> int | None:
        counts = [field.count for field in self.fields]
        known = [count for count in counts if count is not None]
        return sum(known) if len(known) == len(counts) else None

    @property
    def is_single(self) -> bool:
        return len(self.fields) == 1 and self.fields[0].is_single

    def take(self, values: Sequence[Any], row: list[float]) -> None:
        for value in values:
            parts = [value[name] for name in self.names] if self.names else value.values()
            for field, part in zip(self.fields, parts, strict=True):
                field.take((part,), row)

    def walk(self, trail: Trail, times: int) -> None:
        for _ in range(times):
            for field in self.fields:
                field.walk(trail, 1)
