"""Windows of a moving stream: what is trained on as it arrives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from protocol.positions import Positions
from protocol.records import RecordBatch


@dataclass(frozen=True, slots=True)
class Window:
    """Records that came one after the other.

    Attributes:
        batches: in the order in which they came, at least one, of at least one record each.
        positions: of the stream behind the window.
    """

    batches: Sequence[RecordBatch]
    positions: Positions

    def __len__(self) -> int:
        return sum(map(len, self.batches))


@dataclass(frozen=True, slots=True)
class WindowLimits:
    """How much goes into a window, and into a round.

    Attributes:
        records, seconds: a window ends with so many records, or so long after its first one.
        round_windows, round_seconds: a round ends with so many windows, None = with any number, or so long after its first
            record.
    """

    records: int
    seconds: float
    round_windows: int | None
    round_seconds: float
