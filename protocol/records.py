"""Records of a labelled stream, and the samples that decoding makes of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from numpy.typing import NDArray

Array: TypeAlias = NDArray[Any]


@dataclass(frozen=True, slots=True)
class RecordBatch:
    """Some records of one partition, in offset order; offsets may have gaps.

    Attributes:
        offsets, keys, values: of equal length; a key is the label, a value the datum.
    """

    topic: str
    partition: int
    offsets: Sequence[int]
    keys: Sequence[bytes]
    values: Sequence[bytes]

    def __len__(self) -> int:
        return len(self.offsets)

    def place(self, index: int) -> str:
        """Where record `index` of the batch stands, as topic[partition]@offset."""
        return f"{self.topic}[{self.partition}]@{self.offsets[index]}"


@dataclass(frozen=True, slots=True)
class BadRecord:
    """A record that cannot be decoded, and why."""

    topic: str
    partition: int
    offset: int
    reason: str

    def __str__(self) -> str:
        return f"{self.topic}[{self.partition}]@{self.offset}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Samples:
    """Decoded records, unbatched, in stream order.

    Attributes:
        features: shape (n, *data_shape).
        labels: shape (n, *label_shape).
    """

    features: Array
    labels: Array

    def __len__(self) -> int:
        return len(self.features)

    @property
    def nbytes(self) -> int:
        """Bytes of the two arrays."""
        return int(self.features.nbytes + self.labels.nbytes)
