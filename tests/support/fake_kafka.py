"""A Kafka in memory, behind the three seams of the transport. It passes the same tests as the real one."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from protocol.errors import AccessError, DataError, FencedError, KafkaError, LimitError, WorkerError
from protocol.positions import METADATA_LIMIT_BYTES, Partition
from protocol.stream_spec import OffsetRange
from transport.clients import READ_COMMITTED, Cluster, Isolation
from transport.interfaces import POLL_S, Record, offset_of

MOMENT_S = 0.002
RECORD_OVERHEAD_BYTES = 79  # what Apache Kafka counts beside key and value of a record alone in its batch


@dataclass(frozen=True)
class FakeRecord:
    """What confluent-kafka's Message tells of a record."""

    at: tuple[str, int, int]
    pair: tuple[bytes | None, bytes | None]

    def topic(self) -> str:
        return self.at[0]

    def partition(self) -> int:
        return self.at[1]

    def offset(self) -> int:
        return self.at[2]

    def key(self) -> bytes | None:
        return self.pair[0]

    def value(self) -> bytes | None:
        return self.pair[1]

    def headers(self) -> list[tuple[str, bytes | None]] | None:
        return None

    def timestamp(self) -> tuple[int, int]:
        return 0, 0


@dataclass
class FakeLog:
    """One partition: records by offset, with gaps; `low` is the first offset that is left, `high` the next to be written.

    Attributes:
        stable: where the log ends for whoever reads committed, while a transaction is open; None = none is.
        aborted: offsets of records that nobody sees who reads committed.
    """

    records: dict[int, tuple[bytes | None, bytes | None]] = field(default_factory=dict)
    low: int = 0
    high: int = 0
    stable: int | None = None
    aborted: set[int] = field(default_factory=set)


@dataclass
class FakeTopic:
    topic_id: str
    message_bytes: int
    logs: list[FakeLog]


class FakeKafka:
    """Topics, and the offsets of groups.

    Attributes:
        forbidden: what its clients may not do, as operation (READ, WRITE), kind (topic, group) and name.
    """

    def __init__(self) -> None:
        self.topics: dict[str, FakeTopic] = {}
        self.offsets: dict[tuple[str, str, int], tuple[int, str]] = {}
        self.senders: dict[str, FakeSender] = {}  # those with transactions, the newest of each client
        self.forbidden: set[tuple[str, str, str]] = set()
        self._ids = itertools.count()

    def create(self, topic: str, partitions: int = 1, message_bytes: int = 1_048_588) -> None:
        self.topics[topic] = FakeTopic(f"id-{next(self._ids)}", message_bytes, [FakeLog() for _ in range(partitions)])

    def authorize(self, operation: str, kind: str, name: str) -> None:
        if (operation, kind, name) in self.forbidden:
            raise AccessError(f"its ACLs must allow {operation} on {kind} {name}")

    def delete(self, topic: str) -> None:
        del self.topics[topic]

    def write(self, topic: str, records: Sequence[tuple[bytes | None, bytes | None]], partition: int = 0) -> list[int]:
        log = self.topics[topic].logs[partition]
        offsets = []
        for record in records:
            log.records[log.high] = record
            offsets.append(log.high)
            log.high += 1
        return offsets

    def expire(self, topic: str, low: int, partition: int = 0) -> None:
        """Remove what lies before an offset, as retention does."""
        log = self.topics[topic].logs[partition]
        log.low = low
        log.records = {offset: record for offset, record in log.records.items() if offset >= low}

    def pass_over(self, topic: str, count: int = 1, partition: int = 0) -> None:
        """Leave offsets without a record, as a transaction's marker does."""
        self.topics[topic].logs[partition].high += count


def _check_metadata(metadata: str) -> None:
    if len(metadata.encode()) > METADATA_LIMIT_BYTES:
        raise KafkaError("refused while committing an offset (OFFSET_METADATA_TOO_LARGE)")


class FakeReader:
    """A LogReader over a FakeKafka. It waits for hardly anything: what is not there does not come."""

    def __init__(self, kafka: FakeKafka, group: str, isolation: Isolation = READ_COMMITTED) -> None:
        self._reads_committed = isolation == READ_COMMITTED
        self.cluster = Cluster("fake", "FAKE_BOOTSTRAP_SERVERS", "fake:9092")
        self._kafka = kafka
        self._group = group
        self._followed: dict[Partition, int] = {}
        self._told: set[Partition] = set()  # those whose end was told

    def partitions(self, topic: str) -> list[int]:
        self._kafka.authorize("READ", "topic", topic)
        return list(range(len(self._kafka.topics[topic].logs))) if topic in self._kafka.topics else []

    def bounds(self, topic: str, partition: int) -> tuple[int, int]:
        log = self._kafka.topics[topic].logs[partition]
        return log.low, log.high if log.stable is None or not self._reads_committed else log.stable

    def committed(self, topic: str, partition: int) -> tuple[int, str] | None:
        self._kafka.authorize("READ", "group", self._group)
        return self._kafka.offsets.get((self._group, topic, partition))

    def commit(self, topic: str, partition: int, offset: int, metadata: str) -> None:
        self._kafka.authorize("READ", "group", self._group)
        _check_metadata(metadata)
        self._kafka.offsets[self._group, topic, partition] = (offset, metadata)

    def read(self, wanted: OffsetRange, *, gone: type[WorkerError] = DataError) -> Iterator[list[Record]]:
        if wanted.start == wanted.end:
            return
        there = self.partitions(wanted.topic)
        low, high = self.bounds(wanted.topic, wanted.partition) if wanted.partition in there else (0, 0)
        if low > wanted.start:
            raise gone(f"offsets {wanted.start} to {min(low, wanted.end) - 1} of {wanted.topic}[{wanted.partition}] are gone")
        if high > wanted.start:
            yield self._between(wanted.topic, wanted.partition, wanted.start, wanted.end)
        if high < wanted.end:
            raise LimitError(
                f"offsets {high} to {wanted.end - 1} of {wanted.topic}[{wanted.partition}] did not arrive within 0 s"
            )

    def follow(self, starts: Mapping[Partition, int]) -> None:
        self._followed, self._told = dict(starts), set()

    def unfollow(self) -> None:
        self._followed = {}

    def poll(
        self, most: int = 1, limit_s: float = POLL_S, *, gone: type[WorkerError] = DataError
    ) -> tuple[list[Record], Mapping[Partition, int]]:
        found: list[Record] = []
        reached: dict[Partition, int] = {}
        for (topic, partition), position in list(self._followed.items()):
            if topic not in self._kafka.topics:
                raise KafkaError(f"{topic} is no topic")
            if partition >= len(self._kafka.topics[topic].logs):
                continue  # of the topic that was there before
            low, high = self.bounds(topic, partition)
            if not low <= position <= high:
                raise gone(f"offset {position} of {topic}[{partition}] is gone")
            records = self._between(topic, partition, position, high)[: most - len(found)]
            found += records
            is_whole = len(found) < most
            after = high if is_whole else max([position, *(offset_of(record) + 1 for record in records)])
            if after > position or (is_whole and (topic, partition) not in self._told):
                reached[topic, partition] = self._followed[topic, partition] = after
            if is_whole:
                self._told.add((topic, partition))
        if not reached:
            time.sleep(min(limit_s, MOMENT_S))
        return found, reached

    def _between(self, topic: str, partition: int, start: int, end: int) -> list[Record]:
        log = self._kafka.topics[topic].logs[partition]
        unseen = log.aborted if self._reads_committed else set()
        return [
            FakeRecord((topic, partition, at), pair)
            for at, pair in sorted(log.records.items())
            if start <= at < end and at not in unseen
        ]


class FakeTopics:
    """The Topics of a FakeKafka."""

    def __init__(self, kafka: FakeKafka) -> None:
        self._kafka = kafka

    def topic_id(self, topic: str) -> str | None:
        return self._kafka.topics[topic].topic_id if topic in self._kafka.topics else None

    def check_writable(self, topic: str) -> None:
        self._kafka.authorize("WRITE", "topic", topic)

    def ensure_topic(self, topic: str, message_bytes: int) -> None:
        if topic not in self._kafka.topics:
            self._kafka.create(topic, 1, message_bytes)
        there = self._kafka.topics[topic]
        there.message_bytes = max(there.message_bytes, message_bytes)


class FakeSender:
    """A Sender into a FakeKafka.

    Args:
        transactional: the client, where it sends in transactions; who comes later under the same name fences it.
        group: whose offsets it commits.
    """

    def __init__(self, kafka: FakeKafka, transactional: str | None = None, group: str = "") -> None:
        self._kafka = kafka
        self._transactional = transactional
        self._group = group
        self._sent: dict[str, list[int]] = {}
        self._offsets: dict[tuple[str, str, int], tuple[int, str]] = {}
        if transactional is not None:
            if (older := kafka.senders.get(transactional)) is not None:
                older._end(is_aborted=True)
            kafka.senders[transactional] = self

    def send(self, topic: str, records: Iterable[tuple[bytes, bytes]]) -> list[int]:
        self._kafka.authorize("WRITE", "topic", topic)
        offsets: list[int] = []
        for key, value in records:
            self._check()
            if len(key) + len(value) + RECORD_OVERHEAD_BYTES > self._kafka.topics[topic].message_bytes:
                raise KafkaError(f"{topic} does not take {len(value)} bytes: MSG_SIZE_TOO_LARGE")
            offsets += self._kafka.write(topic, [(key, value)])
            if self._transactional is not None:
                log = self._kafka.topics[topic].logs[0]
                log.stable = offsets[0] if log.stable is None else log.stable
                self._sent.setdefault(topic, []).append(offsets[-1])
        return offsets

    def commit(self, topic: str, partition: int, offset: int, metadata: str) -> None:
        self._check()
        _check_metadata(metadata)
        self._offsets[self._group, topic, partition] = (offset, metadata)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        try:
            yield
            self._check()
        except BaseException:
            self._end(is_aborted=True)
            raise
        self._end(is_aborted=False)

    def _end(self, *, is_aborted: bool) -> None:
        for topic, offsets in self._sent.items():
            log = self._kafka.topics[topic].logs[0]
            log.stable = None
            log.high += 1  # the marker
            if is_aborted:
                log.aborted.update(offsets)
        if not is_aborted:
            self._kafka.offsets |= self._offsets
        self._sent, self._offsets = {}, {}

    def _check(self) -> None:
        if self._transactional is not None and self._kafka.senders[self._transactional] is not self:
            raise FencedError(f"another process answers for {self._transactional}")
