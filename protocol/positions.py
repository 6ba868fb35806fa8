"""How far a moving stream has been trained on, as it is kept: beside the offset of what is answered, and in replies."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

METADATA_LIMIT_BYTES = 4096  # of a committed offset: the brokers' offset.metadata.max.bytes, unless they are told otherwise
_ID = "x" * 22  # as long as Kafka's ids of topics are, in Base64
_FAR = 10**14  # an offset of as many digits as one will ever have

Partition: TypeAlias = tuple[str, int]
"""A topic, and the number of one of its partitions."""


@dataclass(frozen=True, slots=True)
class Positions:
    """Where a stream goes on.

    Attributes:
        topic_ids: of its topics; they tell one from another of the same name that was deleted.
        offsets: of each partition the first one that is not trained on.
    """

    topic_ids: Mapping[str, str] = field(default_factory=dict)
    offsets: Mapping[Partition, int] = field(default_factory=dict)

    def of(self, topic: str, topic_id: str) -> dict[int, int]:
        """The offsets of a topic, by partition; none where it is not the one that they are of."""
        if self.topic_ids.get(topic) != topic_id:
            return {}
        return {partition: offset for (name, partition), offset in self.offsets.items() if name == topic}

    def as_json(self) -> dict[str, Any]:
        """{topic: [id, {partition: offset}]}, of which `parse_positions` makes the same again."""
        found: dict[str, Any] = {topic: [topic_id, {}] for topic, topic_id in self.topic_ids.items()}
        for (topic, partition), offset in self.offsets.items():
            found[topic][1][str(partition)] = offset
        return found


def parse_positions(value: object) -> Positions | None:
    """Positions from JSON; None where it is something else."""
    if not isinstance(value, dict):
        return None
    topic_ids, offsets = {}, {}
    try:
        for topic, (topic_id, found) in value.items():
            topic_ids[topic] = str(topic_id)
            for partition, offset in found.items():
                offsets[topic, _at_least_0(int(partition))] = _at_least_0(offset)
    except (AttributeError, TypeError, ValueError):
        return None
    return Positions(topic_ids, offsets)


def _at_least_0(value: object) -> int:
    if type(value) is not int or value < 0:
        raise ValueError
    return value


@dataclass(frozen=True, slots=True)
class Progress:
    """What goes with the committed offset of the control topic, as its metadata.

    Attributes:
        topic_id: of the control topic; empty where it is not told.
        positions: of the stream; None where it is not a moving one.
    """

    topic_id: str = ""
    positions: Positions | None = None

    def text(self) -> str:
        """As compact JSON."""
        told: dict[str, Any] = {"id": self.topic_id}
        if self.positions is not None:
            told["at"] = self.positions.as_json()
        return json.dumps(told, separators=(",", ":"))


def parse_progress(text: str) -> Progress:
    """What `Progress.text` wrote; nothing is known where somebody else has committed."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return Progress()
    if not isinstance(found, dict) or not isinstance(found.get("id"), str):
        return Progress()
    return Progress(found["id"], parse_positions(found.get("at")))


def can_be_kept(positions: Positions) -> bool:
    """Whether they fit beside a committed offset, however far they get."""
    far = Positions(dict.fromkeys(positions.topic_ids, _ID), dict.fromkeys(positions.offsets, _FAR))
    return len(Progress(_ID, far).text().encode()) <= METADATA_LIMIT_BYTES
