"""What a format offers for a side of the records: a plan from the configuration, a column once the first record is seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from protocol.records import Array


@dataclass(frozen=True, slots=True)
class Side:
    """A side of the records.

    Attributes:
        name: what the keys of INPUT_CONFIG begin with.
        part: where Kafka carries it.
    """

    name: str
    part: str


DATA = Side("data", "value")
LABEL = Side("label", "key")


class UnfitError(Exception):
    """Bytes that do not fit their column; the text is the reason, without the place."""


class Column(Protocol):
    """Decodes one side of records, with shape and dtype settled. Keeps nothing from call to call."""

    def decode(self, raws: Sequence[bytes]) -> Array:
        """Decode n >= 0 byte strings into an array (n, *shape), native-endian and contiguous, perhaps read-only.

        Raises:
            UnfitError: one of them does not fit; decoded alone it says the same.
        """


class Plan(Protocol):
    """What the configuration says of one side; it may leave shape and dtype to the first record."""

    @property
    def open_keys(self) -> tuple[str, ...]:
        """Keys of INPUT_CONFIG that are not given, and are left to the first record."""

    def settle(self, first: bytes) -> Column:
        """The column for a stream that begins with `first`.

        Raises:
            UnfitError: nothing can be learnt from `first`.
        """
