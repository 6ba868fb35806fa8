"""Stream specs: which records of which topics belong together, as text.

    topic[:partition[:offset[:end]]] , … more, comma-separated

No partition means all partitions, no offset from the beginning, no end up to the end as it is when reading starts.
"""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass

from protocol.words import shown

GRAMMAR = "topic[:partition[:offset[:end]]], comma-separated, e.g. digits:0:0:313,digits:1:0:852"
MAX_TOPIC_LENGTH = 249
_TOPIC = re.compile(r"[A-Za-z0-9._-]+")
_NUMBER = re.compile(r"[0-9]{1,18}")  # as many digits as fit into Kafka's 64 bits


@dataclass(frozen=True, slots=True)
class StreamRange:
    """Offsets start (inclusive) to end (exclusive) of a partition; None stands for what the text leaves open."""

    topic: str
    partition: int | None = None
    start: int | None = None
    end: int | None = None  # what the public code calls length, and uses as an absolute offset

    @property
    def is_empty(self) -> bool:
        return self.start is not None and self.start == self.end

    def __str__(self) -> str:
        parts = (self.topic, self.partition, self.start, self.end)
        return ":".join(str(part) for part in parts if part is not None)


@dataclass(frozen=True, slots=True)
class OffsetRange:
    """Offsets start (inclusive) to end (exclusive) of one partition, with nothing left open."""

    topic: str
    partition: int
    start: int
    end: int

    def __str__(self) -> str:
        return f"{self.topic}:{self.partition}:{self.start}:{self.end}"


def parse_spec(text: str) -> tuple[StreamRange, ...]:
    """Read a stream spec, in the order of its text.

    Raises:
        ValueError: the text is no stream spec, or two of its ranges share records, which would then be read twice.
    """
    ranges = tuple(_parse_range(part.strip()) for part in text.split(","))
    # In the order of the log ranges that share records are neighbours: a spec may be long, and is not trusted.
    ordered = sorted((one for one in ranges if not one.is_empty), key=_by_position)
    for one, following in itertools.pairwise(ordered):
        if _overlap(one, following):
            raise ValueError(f"{one} and {following} share records; name each record once")
    return ranges


def _parse_range(text: str) -> StreamRange:
    topic, *numbers = text.split(":")
    check_topic(topic)
    if len(numbers) > len(("partition", "offset", "end")) or not all(_NUMBER.fullmatch(number) for number in numbers):
        raise ValueError(f"'{shown(text)}' is not {GRAMMAR}")
    partition, start, end = (*map(int, numbers), None, None, None)[:3]
    if start is not None and end is not None and end < start:
        raise ValueError(f"'{shown(text)}' ends before it starts; the last number is the end offset, exclusive, not a length")
    return StreamRange(topic, partition, start, end)


def check_topic(topic: str) -> None:
    """Refuse a name that no Kafka topic can have.

    Raises:
        ValueError: empty, too long, `.` or `..`, or with a character outside Kafka's set.

    Source: Apache Kafka, org.apache.kafka.common.internals.Topic.
    """
    if not _TOPIC.fullmatch(topic) or len(topic) > MAX_TOPIC_LENGTH or topic in {".", ".."}:
        raise ValueError(
            f"'{shown(topic)}' is no name of a Kafka topic: 1 to {MAX_TOPIC_LENGTH} letters, digits, '.', '_' and '-'"
        )


def _by_position(one: StreamRange) -> tuple[str, int, int]:
    return one.topic, -1 if one.partition is None else one.partition, one.start or 0


def _overlap(one: StreamRange, following: StreamRange) -> bool:
    if one.topic != following.topic:
        return False
    if one.partition is None or following.partition is None:
        return True
    return one.partition == following.partition and (one.end is None or (following.start or 0) < one.end)
