"""How the numbers of an Avro record lie in it: one node for each part of the schema, shaped as fastavro gives the datum."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from decoding.column import UnfitError
from decoding.wire_types import DType, from_wire


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

    def holds(self, values: Collection[Any]) -> bool:
        """Whether all values are within the limits."""
        return self.limits is None or not values or (self.limits[0] <= min(values) and max(values) <= self.limits[1])

    def take(self, values: Sequence[Any], row: list[float]) -> None:
        if self.limits is not None and not self.holds(values):
            low, high = self.limits
            odd = next(value for value in values if not low <= value <= high)
            raise UnfitError(f"{self.path} is {odd}, outside its type {self.kind} ({low} to {high})")
        row.extend(values)


@dataclass(frozen=True, slots=True)
class Packed:
    """Bytes that hold numbers of a wire type."""

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
            row.extend(from_wire(value, self.wire).tolist())


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


@dataclass(frozen=True, slots=True)
class Items:
    """Arrays, as long as each datum says."""

    inner: Node
    count: int | None = None
    is_single: bool = False

    def take(self, values: Sequence[Any], row: list[float]) -> None:
        for value in values:
            self.inner.take(value, row)


@dataclass(frozen=True, slots=True)
class Record:
    """Fields in schema order.

    Attributes:
        common: a leaf that stands for any of the fields, where all are leaves of the same limits: these are taken at once.
    """

    fields: tuple[Node, ...]
    common: Leaf | None

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
            parts = value.values()
            if self.common is not None and self.common.holds(parts):
                row.extend(parts)
            else:
                for field, part in zip(self.fields, parts, strict=True):
                    field.take((part,), row)
