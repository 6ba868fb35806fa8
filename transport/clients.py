"""A cluster's settings, and the one place that turns them into the configuration of both Kafka clients."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any, Literal, final

from confluent_kafka import KafkaError as ClientError

Isolation = Literal["read_committed", "read_uncommitted"]
# Ends and reads alike: what an aborted transaction left is neither a model nor a sample.
READ_COMMITTED: Isolation = "read_committed"
READ_UNCOMMITTED: Isolation = "read_uncommitted"

# An array may be as large as Kafka's protocol lets a message be.
MAX_RECEIVE_BYTES = 2_147_483_647 - 512
MAX_SEND_BYTES = 1_000_000_000  # the most that librdkafka takes
# How long a broker may hold back a request at a log's end, and with it all that come after on the same connection.
READ_WAIT_MS = 5
FOLLOW_WAIT_MS = 500
# What librdkafka keeps ready for its caller. Once that is full it asks no more for a time, a second by default, in which a fast
# caller idles.
QUEUE_KB = 16 * 1024
FETCH_BYTES = 4 * 1024 * 1024  # of one answer, beside a larger record
QUEUE_PAUSE_MS = 5


@dataclass(frozen=True, slots=True)
class Cluster:
    """One Kafka and how to reach it.

    Attributes:
        name: which of the two it is, for a log.
        variable: the environment variable that names its brokers.
        bootstrap: host:port list, comma-separated.
    """

    name: str
    variable: str
    bootstrap: str

    def __str__(self) -> str:
        return f"the {self.name}'s Kafka ({self.variable}={self.bootstrap})"

    def silent(self, limit_s: float, why: str) -> str:
        """What to say of it where it has not answered for the limit."""
        return (
            f"{self} did not answer within {limit_s:g} s: {why}; is it up, is the address right, can it be reached from here? "
            "ANSWER_LIMIT_S sets the limit"
        )


def librdkafka_config(cluster: Cluster, group: str, wait_ms: int, isolation: Isolation = READ_COMMITTED) -> dict[str, Any]:
    """For a confluent-kafka consumer that is assigned its partitions, looks at no topic into being, and never jumps.

    `auto.offset.reset=error`: an offset that is gone must not silently become another. No member of the group: a fit longer
    than max.poll.interval.ms must not cost the membership.

    Args:
        wait_ms: READ_WAIT_MS or FOLLOW_WAIT_MS.
        isolation: of what is read, and of where the log ends.
    """
    return _connection(cluster, group) | {
        "group.id": group,
        "isolation.level": isolation,
        "enable.auto.commit": False,
        "auto.offset.reset": "error",
        "enable.partition.eof": True,
        "allow.auto.create.topics": False,
        "fetch.wait.max.ms": wait_ms,
        "fetch.message.max.bytes": FETCH_BYTES,
        "queued.max.messages.kbytes": QUEUE_KB,
        "fetch.queue.backoff.ms": QUEUE_PAUSE_MS,
        "receive.message.max.bytes": MAX_RECEIVE_BYTES,
    }


def librdkafka_producer_config(cluster: Cluster, client_id: str, transaction_limit_s: float | None = None) -> dict[str, Any]:
    """For a confluent-kafka producer that sends each record once and in order, and tells of it when all replicas have it.

    Args:
        transaction_limit_s: the longest that a transaction may be open before the broker aborts it; None = no transactions.
    """
    config = _connection(cluster, client_id) | {
        "acks": "all",
        "enable.idempotence": True,
        "message.max.bytes": MAX_SEND_BYTES,
        "batch.size": 16_384,
        "linger.ms": 0,
        "delivery.timeout.ms": 0,  # without: how long to wait is for whoever sends
    }
    if transaction_limit_s is not None:
        limit_ms = int(transaction_limit_s * 1000)
        # librdkafka lets no record wait for longer than its transaction may.
        config |= {"transactional.id": client_id, "transaction.timeout.ms": limit_ms, "delivery.timeout.ms": limit_ms}
    return config


def _connection(cluster: Cluster, client_id: str) -> dict[str, Any]:
    return {
        "bootstrap.servers": cluster.bootstrap,
        "client.id": client_id,
        "reconnect.backoff.ms": 20,  # twice the least time, too, that passes between the first connections
        "reconnect.backoff.max.ms": 5_000,
    }


@final
class Heard:
    """What a librdkafka client tells of its connections, of which the last is the reason why a broker does not answer."""

    def __init__(self) -> None:
        self.last = "no broker answered"

    def options(self) -> dict[str, Any]:
        """Keyword arguments of a client that is listened to."""
        return {"error_cb": self._on_error, "logger": logging.getLogger("librdkafka")}

    def _on_error(self, error: ClientError) -> None:
        if error.code() != ClientError._ALL_BROKERS_DOWN:
            self.last = error.str()


def kafka_python_config(cluster: Cluster, client_id: str) -> dict[str, Any]:
    """For kafka-python's admin client."""
    return {"bootstrap_servers": cluster.bootstrap.split(","), "client_id": client_id}
