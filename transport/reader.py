"""Reading ranges of offsets from one Kafka, by position."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from types import TracebackType
from typing import Any, Self

from confluent_kafka import Consumer, KafkaException, Message, TopicPartition
from confluent_kafka import KafkaError as ClientError

import liveness
from protocol.errors import AccessError, DataError, KafkaError, LimitError, WorkerError
from protocol.positions import Partition
from protocol.stream_spec import OffsetRange
from transport.clients import (
    FOLLOW_WAIT_MS,
    FORBIDDEN,
    PASSING,
    READ_COMMITTED,
    READ_WAIT_MS,
    Cluster,
    Heard,
    Isolation,
    librdkafka_config,
)
from transport.interfaces import POLL_S, Record, offset_of
from transport.patience import Patience

log = logging.getLogger(__name__)

READ_POLL_S = 0.05  # in a range that ends in a gap, the client waits out such a call in vain
RETRY_S = 0.1
COMMIT_POLL_S = 0.01
CLOSE_LIMIT_S = 2.0
QUIET_S = 5.0  # without a record, after which a read says that it waits
REFUSED_S = 2.0  # so long a group has to be refused: what is told of it may be old, and librdkafka asks again by itself
READ_BATCH = 2_000  # records at a time: enough to share what a call costs,
READ_BYTES = 1_500_000  # and few enough for a processor's cache


class Reader:
    """A LogReader: consumers without membership, on one cluster.

    One asks and reads ranges, another follows: a broker answers the requests of a connection in turn, and one that follows
    the end of a log is left unanswered until something comes.

    Args:
        cluster: the Kafka to read.
        group: consumer group for the offsets that `commit` keeps.
        answer_limit_s: longest wait for a broker's answer, and for offsets that must come.
        isolation: whether records of open and aborted transactions are read too.
    """

    def __init__(self, cluster: Cluster, group: str, answer_limit_s: float, isolation: Isolation = READ_COMMITTED) -> None:
        self.cluster = cluster
        self._isolation: Isolation = isolation
        self._limit_s = answer_limit_s
        self._group = group
        self._heard = Heard(cluster, answer_limit_s)
        self._consumer: Any = None  # made on entry
        self._follower: Any = None  # made when first something is followed
        self._group_refusal: tuple[ClientError, float] | None = None  # and when it was heard first
        self._is_committing = False
        self._commit_error: ClientError | None = None

    def __enter__(self) -> Self:
        self._consumer = self._open(READ_WAIT_MS)
        try:
            brokers = self._ask("connecting", "it", lambda timeout: self._consumer.list_topics(timeout=timeout).brokers)
        except BaseException:
            self._consumer.close()
            raise
        log.info("connected to %s brokers=%d", self.cluster, len(brokers))
        return self

    def __exit__(self, _type: type[BaseException] | None, _exc: BaseException | None, _tb: TracebackType | None) -> None:
        consumers = [one for one in (self._follower, self._consumer) if one is not None]
        self._consumer = self._follower = None
        # A commit that is under way while the broker is away would hold the end up for three quarters of a minute.
        closing = threading.Thread(target=lambda: [one.close() for one in consumers], name="close", daemon=True)
        closing.start()
        closing.join(CLOSE_LIMIT_S)

    def partitions(self, topic: str) -> list[int]:
        def partitions(timeout: float) -> list[int]:
            # By name: among all topics stand those alone that this client may see. It is allow.auto.create.topics that keeps
            # this from making it.
            [found] = self._consumer.list_topics(topic, timeout=timeout).topics.values()
            if found.error is not None and found.error.code() != ClientError.UNKNOWN_TOPIC_OR_PART:
                raise KafkaException(found.error)
            return sorted(found.partitions)

        there: list[int] = self._ask(f"looking at topic {topic}", _describe(topic), partitions)
        return there

    def bounds(self, topic: str, partition: int) -> tuple[int, int]:
        one = TopicPartition(topic, partition)

        def bounds(timeout: float) -> tuple[int, int]:
            low, high = self._consumer.get_watermark_offsets(one, timeout=timeout)
            return low, high

        low, high = self._ask(f"looking at the offsets of {topic}[{partition}]", _describe(topic), bounds)
        return low, high

    def committed(self, topic: str, partition: int) -> tuple[int, str] | None:
        one = TopicPartition(topic, partition)
        [found] = self._ask_group("looking at", topic, lambda timeout: self._consumer.committed([one], timeout=timeout))
        return None if found.offset < 0 else (found.offset, found.metadata or "")

    def commit(self, topic: str, partition: int, offset: int, metadata: str) -> None:
        one = TopicPartition(topic, partition, offset, metadata)

        def commit(timeout: float) -> None:
            # Asynchronously: the client's own wait for the answer has no limit that could be set, and hears no signal.
            if not self._is_committing:
                self._consumer.commit(offsets=[one], asynchronous=True)
                self._is_committing = True
            deadline = time.monotonic() + timeout
            while self._is_committing:
                self._consumer.poll(COMMIT_POLL_S)
                if time.monotonic() > deadline:
                    raise KafkaException(ClientError(ClientError._TIMED_OUT))
            if self._commit_error is not None:
                raise KafkaException(self._commit_error)

        self._ask_group("committing", topic, commit)

    def membership(self) -> Any:
        """The group as a transaction of librdkafka's producer wants it; within `with`."""
        return self._consumer.consumer_group_metadata()

    def _on_commit(self, error: ClientError | None, partitions: list[TopicPartition]) -> None:
        self._is_committing = False
        self._commit_error = error or partitions[0].error

    def read(self, wanted: OffsetRange, *, gone: type[WorkerError] = DataError) -> Iterator[list[Record]]:
        position = wanted.start
        if position == wanted.end:
            return
        self._await_start(wanted, gone)
        self._consumer.assign([TopicPartition(wanted.topic, wanted.partition, position)])
        heard = time.monotonic()
        patience = Patience(f"offsets up to {wanted.end - 1} of {wanted.topic}[{wanted.partition}]", None)
        most = READ_BATCH
        try:
            while position < wanted.end:
                records, events = self._consume(self._consumer, min(most, wanted.end - position), READ_POLL_S)
                ends = [self._event(event, gone) for event in events]
                reached = max([*(offset_of(record) + 1 for record in records[-1:]), *ends], default=-1)
                if reached > position:
                    position, heard = reached, time.monotonic()
                if position > wanted.end:  # the range has gaps, so as many records as it has offsets lead beyond it
                    records = [record for record in records if offset_of(record) < wanted.end]
                if records:
                    size = len(records[-1].value() or b" ")  # records of one topic are mostly alike
                    most = max(1, min(READ_BATCH, READ_BYTES // size))
                    yield records
                    heard = time.monotonic()  # whoever takes the records may take long
                    continue
                self._heard.check()
                if time.monotonic() - heard > self._limit_s:
                    self.partitions(wanted.topic)  # a broker that is away is told as such
                    raise self._missing(wanted, position)
                if time.monotonic() - heard > QUIET_S:
                    patience.tick()
        finally:
            if self._consumer is not None:  # a read that was left in its middle ends whenever Python collects it
                self._consumer.unassign()

    def follow(self, starts: Mapping[Partition, int]) -> None:
        if self._follower is None:
            self._follower = self._open(FOLLOW_WAIT_MS)
        self._follower.assign([TopicPartition(topic, number, start) for (topic, number), start in starts.items()])

    def unfollow(self) -> None:
        if self._follower is not None:
            self._follower.unassign()

    def poll(
        self, most: int = 1, limit_s: float = POLL_S, *, gone: type[WorkerError] = DataError
    ) -> tuple[list[Record], Mapping[Partition, int]]:
        records, events = self._consume(self._follower, most, limit_s)
        reached = {(record.topic(), record.partition()): offset_of(record) + 1 for record in records}
        for event in events:
            end = self._event(event, gone)
            if end >= 0:
                one = (event.topic(), event.partition())
                reached[one] = max(end, reached.get(one, end))
        if not reached:
            self._heard.check()
        return records, reached

    def _open(self, wait_ms: int) -> Any:
        config = librdkafka_config(self.cluster, self._group, wait_ms, self._isolation) | {"on_commit": self._on_commit}
        return Consumer(config, **self._heard.options())

    def _consume(self, consumer: Any, most: int, limit_s: float) -> tuple[list[Any], list[Any]]:
        """Records, and what stands among them and is none."""
        messages = consumer.consume(most, timeout=limit_s)
        liveness.show()
        events: list[Any] = []
        if any(map(Message.error, messages)):  # one question to all: most have none
            events = [message for message in messages if message.error() is not None]
            messages = [message for message in messages if message.error() is None]
        return messages, events

    def _event(self, message: Any, gone: type[WorkerError]) -> int:
        """The log's end, which tells a position, or a fault; -1 for one that passes."""
        topic, partition, error = message.topic(), message.partition(), message.error()
        if self._hear_of_group(error):
            return -1
        if error.code() == ClientError._PARTITION_EOF:
            return offset_of(message)
        if error.code() == ClientError._AUTO_OFFSET_RESET:
            low, high = self.bounds(topic, partition)
            raise gone(
                f"offset {message.offset()} of {topic}[{partition}] is gone: its log holds offsets {low} to {high - 1}; "
                "retention has removed it, or the topic was made anew"
            )
        if not (error.retriable() or error.code() in PASSING):
            raise self._failed(error, f"reading {topic}[{partition}]", f"READ on topic {topic}")
        return -1

    def _hear_of_group(self, error: ClientError) -> bool:
        """Keep that the group is refused, if that is the error. librdkafka tells of it once, also to whoever needs no group."""
        if error.code() != ClientError.GROUP_AUTHORIZATION_FAILED:
            return False
        self._group_refusal = error, time.monotonic()
        return True

    def _await_start(self, wanted: OffsetRange, gone: type[WorkerError]) -> None:
        """Wait until the log reaches the start, so that the broker does not call it out of range."""
        topic, partition = wanted.topic, wanted.partition
        since, seen = time.monotonic(), -1
        patience = Patience(f"offset {wanted.start} of {topic}[{partition}]", None)
        while True:
            low, high = self.bounds(topic, partition) if partition in self.partitions(topic) else (0, -1)
            if low > wanted.start:
                raise gone(
                    f"offsets {wanted.start} to {min(low, wanted.end) - 1} of {topic}[{partition}] are gone: retention has "
                    f"removed them, its log starts at {low}; write the stream again, or keep it longer (retention.ms and "
                    "retention.bytes of the topic)"
                )
            if high >= wanted.start:
                return
            if high > seen:
                since, seen = time.monotonic(), high
            if time.monotonic() - since > self._limit_s:
                raise self._missing(wanted, max(high, 0))
            patience.tick()
            time.sleep(POLL_S)

    def _missing(self, wanted: OffsetRange, position: int) -> LimitError:
        return LimitError(
            f"offsets {position} to {wanted.end - 1} of {wanted.topic}[{wanted.partition}] did not arrive within "
            f"{self._limit_s:g} s on {self.cluster}: is their writer done, has it committed its transaction, and is the spec "
            "right? ANSWER_LIMIT_S sets the limit"
        )

    def _ask(self, doing: str, needed: str, call: Callable[[float], Any]) -> Any:
        """Call until a broker answers or the limit has passed.

        Args:
            needed: operation and resource, as an ACL names them.
        """
        deadline = time.monotonic() + self._limit_s
        patience = Patience(f"an answer of {self.cluster}", None)
        while True:
            try:
                return call(POLL_S)
            except KafkaException as exc:
                error: Any = exc.args[0]
                if not (error.retriable() or error.code() in PASSING):
                    raise self._failed(error, doing, needed) from exc
                patience.tick()
                self._heard.check()
                if time.monotonic() > deadline:
                    raise KafkaError(self.cluster.silent(self._limit_s, self._heard.last)) from exc
            if self._consumer.assignment():
                time.sleep(RETRY_S)
            else:
                told = self._consumer.poll(RETRY_S)  # lets librdkafka tell what it meets
                if told is not None and told.error() is not None and told.topic() is None:
                    self._hear_of_group(told.error())

    def _ask_group(self, doing: str, topic: str, call: Callable[[float], Any]) -> Any:
        def unless_refused(timeout: float) -> Any:
            if self._group_refusal is not None and time.monotonic() - self._group_refusal[1] > REFUSED_S:
                raise KafkaException(self._group_refusal[0])
            answer = call(timeout)
            self._group_refusal = None
            return answer

        return self._ask(f"{doing} the offset of group {self._group}", f"READ on topic {topic}", unless_refused)

    def _failed(self, error: ClientError, doing: str, needed: str) -> AccessError | KafkaError:
        if error.code() in FORBIDDEN:
            is_group = error.code() == ClientError.GROUP_AUTHORIZATION_FAILED
            return self.cluster.forbids(doing, error.str(), f"READ on group {self._group}" if is_group else needed)
        return KafkaError(
            f"{self.cluster} refused while {doing}: {error.str()} ({error.name()}); "
            "may this client read there, and is it the right cluster?"
        )


def _describe(topic: str) -> str:
    return f"DESCRIBE on topic {topic}, as READ and WRITE do"
