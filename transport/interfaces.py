"""The seams of the transport: what the rest may ask of a Kafka. A real part and an in-memory one for tests stand behind each.

LogReader   transport.reader.Reader    reads ranges and follows partitions, keeps a group's offset
Topics      transport.admin.Admin      says which topics are there, makes the reply topic
Sender      transport.writer.Writer    sends records and waits for their acknowledgement, in transactions or without
Offsets     either of the two          keeps a group's offset: a Writer within a transaction, a Reader at once
Copier      transport.writer.Writer    sends records of another topic on as they are
"""

from __future__ import annotations

import operator
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from protocol.errors import DataError, WorkerError
from protocol.positions import Partition
from protocol.stream_spec import OffsetRange
from transport.clients import Cluster

# Called by C, which looks at once whether an error is set beside a result; Python's own calls of what is called often do not.
_HEADERS = operator.methodcaller("headers")
POLL_S = 0.5  # the longest call that a signal waits for


class Record(Protocol):
    """A consumed record; confluent-kafka's Message is one. Its type also covers records not yet sent, hence the None."""

    def topic(self) -> str | None: ...

    def partition(self) -> int | None: ...

    def offset(self) -> int | None: ...

    def key(self) -> bytes | None: ...

    def value(self) -> bytes | None: ...

    def headers(self) -> list[tuple[str, bytes | None]] | None: ...

    def timestamp(self) -> tuple[int, int]:
        """Its kind, and milliseconds since 1970."""


@dataclass(frozen=True, slots=True)
class Copy:
    """A record that is to stand on another topic as it is.

    Attributes:
        timestamp_ms: since 1970; 0 = now.
        headers: its own, with what is to be told of it behind them.
    """

    key: bytes | None
    value: bytes | None
    partition: int
    timestamp_ms: int
    headers: Sequence[tuple[str, bytes | None]]


class Offsets(Protocol):
    """Keeps the offset of a consumer group."""

    def commit(self, topic: str, partition: int, offset: int, metadata: str) -> None:
        """Commit an offset of the group."""


class LogReader(Offsets, Protocol):
    """Reads one Kafka by position, and creates no topic by looking at it.

    What its ACLs do not allow is an AccessError at once, be it a look or a commit.
    """

    cluster: Cluster

    def partitions(self, topic: str) -> list[int]:
        """The partitions of a topic, in order; empty where there is no such topic."""

    def bounds(self, topic: str, partition: int) -> tuple[int, int]:
        """The first offset of a partition, and the one after its last committed record."""

    def committed(self, topic: str, partition: int) -> tuple[int, str] | None:
        """The group's committed offset and its metadata; None where it has none."""

    def read(self, wanted: OffsetRange, *, gone: type[WorkerError] = DataError) -> Iterator[list[Record]]:
        """Yield the records of a range as they come, in offset order, and end on position: offsets may have gaps.

        Args:
            gone: what to raise where retention has removed some of the offsets.

        Raises:
            LimitError: the end did not arrive; the limit counts from the last record that did.
        """

    def follow(self, starts: Mapping[Partition, int]) -> None:
        """Begin to follow partitions, each from an offset on; `poll` then gives what comes."""

    def unfollow(self) -> None:
        """Follow nothing any more."""

    def poll(
        self, most: int = 1, limit_s: float = POLL_S, *, gone: type[WorkerError] = DataError
    ) -> tuple[list[Record], Mapping[Partition, int]]:
        """What comes on the followed partitions within a moment, at the latest when so many records are there.

        Args:
            limit_s: seconds of the moment, of which POLL_S is the longest that a signal may have to wait for.
            gone: what to raise where an offset that is to be read next is not in the log.

        Returns:
            Records, those of a partition in offset order; and for each partition that was heard of the position after them, at
            its log's end the position that the broker tells.
        """


class Topics(Protocol):
    """Says which topics are there, and makes one."""

    def topic_id(self, topic: str) -> str | None:
        """The id that tells a topic from one of the same name that was deleted; None where there is no such topic."""

    def ensure_topic(self, topic: str, message_bytes: int) -> None:
        """Make sure that a topic of one partition takes messages of so many bytes: create it, or raise its limit."""

    def check_writable(self, topic: str) -> None:
        """Make sure that this client may write to a topic, once it is there.

        Raises:
            AccessError: it may not.
        """


class Sender(Protocol):
    """Sends records to partition 0 of topics."""

    def send(self, topic: str, records: Iterable[tuple[bytes, bytes]]) -> list[int]:
        """Send keys and values in order, and wait until each is acknowledged.

        Returns:
            Their offsets.

        Raises:
            AccessError: this client may not write there.
            KafkaError: one of them was refused, or not acknowledged in time.
            FencedError: another process has taken this one's place.
        """

    def transaction(self) -> AbstractContextManager[None]:
        """Within it, whoever reads committed sees all that is sent and the offsets that go along, or nothing.

        What ends it with an exception aborts it. Without transactions it holds nothing together.

        Raises:
            KafkaError: it was not committed.
            FencedError: another process has taken this one's place.
        """


class Copier(Protocol):
    """Sends records of another topic on as they are."""

    def copy(self, topic: str, copies: Iterable[Copy]) -> int:
        """Send them in order, and wait until each is acknowledged; returns how many they are.

        Raises:
            KafkaError: one of them was refused, or not acknowledged in time.
        """


def offset_of(record: Record) -> int:
    """The offset, which a consumed record always has."""
    offset = record.offset()
    if offset is None:
        raise TypeError("a consumed record without an offset")
    return offset


def headers_of(record: Record) -> list[tuple[str, bytes | None]] | None:
    """The headers of a record; None where a name among them is no UTF-8. To be asked for once."""
    try:
        found: list[tuple[str, bytes | None]] = _HEADERS(record) or []
    except SystemError:  # so confluent-kafka tells of it, the first time; then it gives names that cannot be touched
        return None
    return found


def partition_of(record: Record) -> Partition:
    """The topic and partition, which a consumed record always has."""
    return record.topic() or "", record.partition() or 0


def place(record: Record) -> str:
    """Where a record stands, as topic[partition]@offset."""
    return f"{record.topic()}[{record.partition()}]@{record.offset()}"
