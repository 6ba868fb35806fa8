"""A cluster's settings, and the one place that turns them into the configuration of both Kafka clients."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

# Both clients, ends and reads: what an aborted transaction left is neither a model nor a sample.
ISOLATION = "read_committed"

# An array may be as large as Kafka's protocol lets a message be.
MAX_RECEIVE_BYTES = 2_147_483_647 - 512
FETCH_WAIT_MS = 200  # how soon an empty answer tells that the log ends


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


def librdkafka_config(cluster: Cluster, group: str) -> dict[str, Any]:
    """For a confluent-kafka consumer that is assigned its partitions, looks at no topic into being, and never jumps.

    `auto.offset.reset=error`: an offset that is gone must not silently become another. No member of the group: a fit longer
    than max.poll.interval.ms must not cost the membership.
    """
    return {
        "bootstrap.servers": cluster.bootstrap,
        "client.id": group,
        "group.id": group,
        "isolation.level": ISOLATION,
        "enable.auto.commit": False,
        "auto.offset.reset": "error",
        "enable.partition.eof": True,
        "allow.auto.create.topics": False,
        "fetch.wait.max.ms": FETCH_WAIT_MS,
        "fetch.message.max.bytes": 16 * 1024 * 1024,
        "receive.message.max.bytes": MAX_RECEIVE_BYTES,
        "reconnect.backoff.ms": 200,
        "reconnect.backoff.max.ms": 5_000,
    }


def kafka_python_config(cluster: Cluster, client_id: str) -> dict[str, Any]:
    """For kafka-python's admin client and producer."""
    return {"bootstrap_servers": cluster.bootstrap.split(","), "client_id": client_id}
