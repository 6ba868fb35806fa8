"""A device's way to its Kafka: topics made, records in batches, and every acknowledgement looked at."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from confluent_kafka import KafkaError, KafkaException, Message, Producer, TopicCollection
from confluent_kafka.admin import AdminClient, NewTopic

from demo.errors import PeerError
from protocol.stream_spec import StreamRange

LINGER_MS = 20
BATCH_BYTES = 32_768  # or one larger record: a batch is to pass no limit of a topic that its records keep to
MOST_BYTES = 100_000_000  # of a record; what a topic takes is for its own limit to say
FAREWELL_S = 5.0  # for what was sent before something went wrong
_ANY = -1  # of the partitions, to librdkafka
_POLL_S = 0.1


class Progress:
    """What was sent to a topic, and what of it is acknowledged.

    Attributes:
        sent, acknowledged: how many records.
        ranges: first offset, and the one after the last, of each partition.
        mixed: partitions in which something else stands between.
    """

    def __init__(self, topic: str, partitions: int) -> None:
        self.sent = self.acknowledged = 0
        self.ranges: dict[int, tuple[int, int]] = {}
        self.mixed: set[int] = set()
        self._topic = topic
        self._partitions = partitions

    def __str__(self) -> str:
        places = f" ({self.spec})" if self.ranges else ""
        return f"{self.acknowledged} of {self.sent} records on {self._topic}{places}"

    @property
    def spec(self) -> str:
        """Where the acknowledged records are, as a stream spec."""
        return ",".join(str(StreamRange(self._topic, at, start, end)) for at, (start, end) in sorted(self.ranges.items()))

    def places(self, count: int, wanted: Sequence[int] | None) -> list[int]:
        """The partition of each of the next `count` records: as it is wanted, or in turn.

        Raises:
            ValueError: not one for each, or there is no such partition.
        """
        if wanted is None:
            return [(self.sent + index) % self._partitions for index in range(count)]
        if len(wanted) != count:
            raise ValueError(f"{count} samples and {len(wanted)} partitions: expected one a sample")
        if odd := [at for at in wanted if at not in range(self._partitions)]:
            raise ValueError(f"topic {self._topic} has no partition {odd[0]!r}: it has {self._partitions}, counted from 0")
        return [int(at) for at in wanted]

    def take(self, partition: int, offset: int) -> None:
        """Note an acknowledged record; those of a partition come in order."""
        start, end = self.ranges.get(partition, (offset, offset))
        if offset != end:
            self.mixed.add(partition)
        self.ranges[partition] = (start, offset + 1)
        self.acknowledged += 1


class Sender:
    """Sends records to its topics, once, in a `with`: nothing twice, nothing out of order. Knows nothing of what they say.

    A record that Kafka refuses, or does not acknowledge within the limit, is told by the next call, and by each one after that.

    Attributes:
        progress: of each topic.
    """

    def __init__(
        self,
        bootstrap: str,
        topics: Sequence[str],
        beside: str | None,
        *,
        partitions: int,
        limit_s: float,
        config: Mapping[str, Any],
    ) -> None:
        """Connect to nothing yet.

        Args:
            bootstrap: host:port list of the Kafka.
            topics: that records go to; those that are not there are made, with so many `partitions`.
            beside: topic of `post`, made with one partition; None = nothing is posted.
            limit_s: the longest that a record may wait to be acknowledged, and a request to be answered, in seconds.
            config: more of librdkafka's configuration.
        """
        self.progress: dict[str, Progress] = {}
        self._bootstrap = bootstrap
        self._topics = topics
        self._beside = beside
        self._partitions = partitions
        self._limit_s = limit_s
        self._config = {
            "bootstrap.servers": bootstrap,
            "client.id": f"device-{topics[0]}",
            "log_level": 2,  # a broker that is away, or lets nobody in, is told by the limit, not on standard error
            "error_cb": self._hear,
            **config,
        }
        self._producer: Producer | None = None  # within the `with`
        # Acknowledgements are looked at in a thread: what a signal raises in a callback, confluent-kafka would lose.
        self._looking = threading.Thread(target=self._look_at, name=f"acknowledgements {topics[0]}", daemon=True)
        self._looked = threading.Condition()
        self._is_urgent = self._is_over = False
        self._given = self._settled = 0  # records that librdkafka was given, and is done with
        self._refused: str | None = None
        self._heard: str | None = None  # of the connection, which librdkafka mends by itself, if it can
        self._is_used = False

    def __enter__(self) -> Self:
        if self._is_used:
            raise ValueError("a device writes one stream: make another one for the next")
        self._is_used = True
        writing = {
            "acks": "all",
            "enable.idempotence": True,
            "linger.ms": min(LINGER_MS, int(self._limit_s * 500)),  # not longer than a record may wait
            "batch.size": BATCH_BYTES,
            "message.max.bytes": MOST_BYTES,
            "delivery.timeout.ms": max(1, int(self._limit_s * 1000)),  # 0 would be no limit
        }
        try:
            admin = AdminClient(self._config)
            producer = Producer(writing | self._config)
        except (KafkaException, TypeError, ValueError) as exc:
            raise ValueError(f"librdkafka does not take this configuration: {_told(exc)}") from exc
        self.progress = {topic: Progress(topic, self._count(admin, topic, self._partitions)) for topic in self._topics}
        if self._beside is not None:
            self._count(admin, self._beside, 1)  # what cannot be posted in the end is not to be known at the end alone
        self._producer = producer
        self._looking.start()
        return self

    def __exit__(self, _type: type[BaseException] | None, _exc: BaseException | None, _tb: TracebackType | None) -> None:
        if self._producer is not None:
            self._is_over = True
            self._looking.join()
            self._producer.purge()
        self._producer = None

    def check(self) -> None:
        """See whether more can be sent.

        Raises:
            ValueError: it is not within its `with`.
            PeerError: a record was refused, or not acknowledged in time.
        """
        self._open()

    def send(self, topic: str, records: Sequence[tuple[bytes, bytes]], places: Sequence[int]) -> None:
        """Send records to one of the topics.

        Args:
            topic: one of the topics.
            records: key and value of each.
            places: the partition of each, as the topic's progress has them.

        Raises:
            ValueError, PeerError: as `check` has it.
        """
        progress = self.progress[topic]
        for (key, value), partition in zip(records, places, strict=True):
            self._produce(topic, key, value, partition)
            progress.sent += 1
        self._open()

    def post(self, key: bytes, value: bytes) -> None:
        """Send a record to the topic beside, when all before it are acknowledged, and wait until it is as well."""
        self.flush()
        self._produce(self._beside or "", key, value)
        self.flush()

    def flush(self) -> None:
        """Wait until all is acknowledged; raises what `check` does."""
        self._open()
        self._settle(float("inf"))  # librdkafka gives up each record after the limit, and tells of it
        self._open()

    def part(self) -> None:
        """Give what was sent a moment to be acknowledged, however it went."""
        if self._producer is not None:
            self._settle(min(FAREWELL_S, self._limit_s))

    def _open(self) -> Producer:
        if self._producer is None:
            raise ValueError("the device is not open: send within its `with`")
        if self._refused is not None:
            left = sum(one.sent - one.acknowledged for one in self.progress.values())
            raise PeerError(f"{left} records were not acknowledged, the first: {self._refused}" if left else self._refused)
        return self._producer

    def _produce(self, topic: str, key: bytes, value: bytes, partition: int = _ANY) -> None:
        producer = self._open()
        while True:
            try:
                producer.produce(topic, value, key, partition, on_delivery=self._delivered)
                self._given += 1
                break
            except BufferError:  # its queue is full: let it send
                self._wait()
                self._open()
            except KafkaException as exc:
                self._refused = f"{topic} takes no record of {len(value)} bytes: {_told(exc)}"
                raise PeerError(self._refused) from exc

    def _settle(self, limit_s: float) -> None:
        """Wait until librdkafka is done with all that it was given, or the limit is over."""
        deadline, self._is_urgent = time.monotonic() + limit_s, True
        while self._settled < self._given and time.monotonic() < deadline:
            self._wait()
        self._is_urgent = False

    def _wait(self) -> None:
        with self._looked:
            self._looked.wait(_POLL_S)
        if self._is_over:
            raise PeerError("the device was closed while it was sending")
        if not self._looking.is_alive():
            raise PeerError("acknowledgements are not looked at any more: a callback of the configuration has failed")

    def _look_at(self) -> None:
        while self._producer is not None and not self._is_over:
            if self._is_urgent:
                self._producer.flush(_POLL_S)  # as polling, and what lingers is sent
            else:
                self._producer.poll(_POLL_S)
            with self._looked:
                self._looked.notify_all()

    def _hear(self, error: KafkaError) -> None:
        if error.code() != KafkaError._ALL_BROKERS_DOWN:  # noqa: SLF001 - librdkafka's own codes are spelled like that
            self._heard = error.str()

    def _late(self) -> str:
        return f"within {self._limit_s:g} s" + (f"; the connection: {self._heard}" if self._heard else "")

    def _delivered(self, error: KafkaError | None, message: Message) -> None:
        topic, partition = message.topic() or "", message.partition() or 0
        if error is not None:
            is_late = error.code() == KafkaError._MSG_TIMED_OUT  # noqa: SLF001 - as above
            reason = f"not acknowledged {self._late()}" if is_late else error.str()
            size = len(message.value() or b"")
            self._refused = self._refused or f"{topic}[{partition}] at {self._bootstrap}, a record of {size} bytes: {reason}"
        elif topic in self.progress:
            self.progress[topic].take(partition, message.offset() or 0)
        self._settled += 1

    def _count(self, admin: AdminClient, topic: str, partitions: int) -> int:
        """How many partitions a topic has, which is made with so many if it is not there."""
        deadline = time.monotonic() + self._limit_s
        try:
            while (count := self._look(admin, topic)) is None and time.monotonic() < deadline:
                self._make(admin, topic, partitions)
        except (KafkaException, TimeoutError) as exc:
            admin.poll(0)  # hears what the connection has said
            is_late = isinstance(exc, TimeoutError) or exc.args[0].code() == KafkaError._TIMED_OUT  # noqa: SLF001 - as above
            reason = f"no answer {self._late()}" if is_late else _told(exc)
            raise PeerError(f"topic {topic} cannot be looked at or made at {self._bootstrap}: {reason}") from exc
        if count is None:
            raise PeerError(f"topic {topic} was made at {self._bootstrap}, and is not there {self._late()}")
        return count

    def _look(self, admin: AdminClient, topic: str) -> int | None:
        [looked] = admin.describe_topics(TopicCollection([topic]), request_timeout=self._limit_s).values()
        try:
            return len(looked.result(self._limit_s).partitions)
        except KafkaException as exc:
            if exc.args[0].code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
                raise
        return None

    def _make(self, admin: AdminClient, topic: str, partitions: int) -> None:
        [made] = admin.create_topics([NewTopic(topic, partitions)], request_timeout=self._limit_s).values()
        try:
            made.result(self._limit_s)
        except KafkaException as exc:
            if exc.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:  # another device was faster
                raise


def _told(exc: Exception) -> str:
    is_kafkas = isinstance(exc, KafkaException) and isinstance(exc.args[0], KafkaError)
    return exc.args[0].str() if is_kafkas else str(exc)
