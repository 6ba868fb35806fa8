"""Topics of the other side: made with what the contract asks of them, and read by position."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition
from kafka import KafkaAdminClient
from kafka.admin import ConfigResource, ConfigResourceType, NewTopic
from kafka.errors import KafkaError as ClientError
from kafka.errors import TopicAlreadyExistsError

from demo.errors import PeerError
from protocol.stream_spec import StreamRange

POLL_S = 0.5
ANSWER_LIMIT_S = 30.0
_BROKERS_OWN = -1  # the replication factor that the broker is configured with


def create_topic(bootstrap: str, topic: str, partitions: int, config: Mapping[str, str] | None = None) -> bool:
    """Make a topic and wait until it can be used. One that exists already is kept if it is like that.

    Args:
        bootstrap: host:port list of its Kafka.
        topic: its name.
        partitions: how many it has.
        config: its properties beyond the broker's, such as max.message.bytes.

    Returns:
        Whether it was made now.

    Raises:
        PeerError: Kafka refuses, or a topic of this name has other partitions or properties.
    """
    wanted = dict(config or {})
    try:
        admin = KafkaAdminClient(bootstrap_servers=bootstrap)
        try:
            admin.create_topics([NewTopic(topic, partitions, _BROKERS_OWN, topic_configs=wanted)], wait_for_metadata=True)
        except TopicAlreadyExistsError:
            _compare(admin, topic, partitions, wanted)
            return False
        finally:
            admin.close()
    except ClientError as exc:
        raise PeerError(f"topic {topic} cannot be made at {bootstrap}: {exc}") from exc
    return True


def _compare(admin: Any, topic: str, partitions: int, wanted: Mapping[str, str]) -> None:
    [described] = admin.describe_topics([topic])
    found: dict[str, Any] = {"partitions": len(described["partitions"])}
    if wanted:
        described = admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic, list(wanted))], config_filter="all")
        found |= {name: one["value"] for name, one in described["topic"][topic].items()}
    asked: dict[str, Any] = {"partitions": partitions, **wanted}
    if any(found.get(name) != value for name, value in asked.items()):
        raise PeerError(f"topic {topic} exists with {found}, expected {asked}: delete it, or take another name")


def open_reader(bootstrap: str, client: str, isolation: str) -> Consumer:
    """A consumer that is assigned its partitions, commits nothing and never jumps.

    Args:
        bootstrap: host:port list of its Kafka.
        client: its name.
        isolation: as Kafka's isolation.level. Ends and reads have the same, so that an end once seen is reached.
    """
    return Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": client,
            "client.id": client,
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "auto.offset.reset": "error",
            "isolation.level": isolation,
            "allow.auto.create.topics": False,
            "fetch.wait.max.ms": 100,
            "log_level": 2,  # a broker that is away is told by the limit of whoever waits, not by librdkafka on stderr
        }
    )


def log_end(reader: Consumer, topic: str, partition: int = 0) -> int:
    """The offset after the last record or transaction marker of an existing topic's partition."""
    try:
        ends = reader.get_watermark_offsets(TopicPartition(topic, partition), timeout=ANSWER_LIMIT_S)
    except KafkaException as exc:
        raise PeerError(f"the end of {topic}[{partition}] cannot be told: {exc}") from exc
    if ends is None:
        raise PeerError(f"the end of {topic}[{partition}] cannot be told: no answer within {ANSWER_LIMIT_S:.0f} s")
    return int(ends[1])


def follow(reader: Consumer, meanwhile: Callable[[], None], limit_s: float) -> Iterator[tuple[int, Message | None]]:
    """Yield what comes to the assigned partition, until `limit_s` seconds are over.

    Args:
        reader: assigned to one partition.
        meanwhile: called before each wait, of at most POLL_S; what it raises ends the reading.
        limit_s: seconds from now.

    Yields:
        The position after a record, and the record; at the end of the log its end, past markers, and None.

    Raises:
        PeerError: the partition cannot be read.
    """
    deadline = time.monotonic() + limit_s
    while (left := deadline - time.monotonic()) > 0:
        meanwhile()
        message = reader.poll(min(POLL_S, left))
        if message is None:
            continue
        error, offset = message.error(), message.offset() or 0
        if error is None:
            yield offset + 1, message
        elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 - librdkafka's own codes are spelled like that
            yield offset, None
        elif message.topic() is not None:  # without a topic it is the connection's, which librdkafka mends by itself
            raise PeerError(f"{message.topic()}[{message.partition()}] cannot be read: {error.str()}")


def read_range(
    bootstrap: str, one: StreamRange, isolation: str, limit_s: float
) -> list[tuple[bytes | None, bytes | None, str]]:
    """Read all records of a range, markers left out.

    Args:
        bootstrap: host:port list of its Kafka.
        one: with partition, start and end.
        isolation: as Kafka's isolation.level.
        limit_s: seconds to wait for all of it.

    Returns:
        Key, value and place of each, in offset order.

    Raises:
        PeerError: the range is open, its records are not there, or do not come within the limit.
    """
    if one.partition is None or one.start is None or one.end is None:
        raise PeerError(f"{one} says not where the messages are: expected topic:partition:start:end")
    reader = open_reader(bootstrap, "demo-range", isolation)
    try:
        reader.assign([TopicPartition(one.topic, one.partition, one.start)])
        records: list[tuple[bytes | None, bytes | None, str]] = []
        for position, message in follow(reader, _idle, limit_s):
            if message is not None and position <= one.end:
                place = f"{one.topic}[{one.partition}]@{position - 1}"
                records.append((_bytes(message.key()), _bytes(message.value()), place))
            if position >= one.end:
                return records
    finally:
        reader.close()
    raise PeerError(f"{one} cannot be read: {len(records)} of its messages came within {limit_s:.0f} s")


def _bytes(value: str | bytes | None) -> bytes | None:
    return value.encode() if isinstance(value, str) else value


def _idle() -> None:
    pass
