"""Topics: whether they are there, which they are, and the one that the worker makes."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self, TypeVar

from kafka import KafkaAdminClient
from kafka.admin import ConfigResource, ConfigResourceType, NewTopic
from kafka.errors import (
    AuthorizationError,
    NoError,
    TopicAlreadyExistsError,
    TopicAuthorizationFailedError,
    UnknownTopicOrPartitionError,
    for_code,
)
from kafka.errors import KafkaError as ClientError

from protocol.errors import KafkaError
from transport.clients import Cluster, kafka_python_config
from transport.patience import Patience

log = logging.getLogger(__name__)

T = TypeVar("T")

_LIMIT = "max.message.bytes"
RETRY_S = 0.2
REQUEST_LIMIT_S = 10.0  # for one try: a broker that hangs must not keep the wait from its limit
RECONNECT_S = 1.0
_BROKERS_OWN = -1  # the replication factor that the broker is configured with


class Admin:
    """Topics of one cluster, which has answered before."""

    def __init__(self, cluster: Cluster, client_id: str, answer_limit_s: float) -> None:
        self._cluster = cluster
        self._limit_s = answer_limit_s
        self._config = kafka_python_config(cluster, client_id) | {
            "bootstrap_timeout_ms": int(answer_limit_s * 1000),
            "request_timeout_ms": int(min(answer_limit_s, REQUEST_LIMIT_S) * 1000),
            "reconnect_backoff_max_ms": int(RECONNECT_S * 1000),
        }
        self._client: Any = None  # made on entry

    def __enter__(self) -> Self:
        try:
            self._client = KafkaAdminClient(**self._config)
        except ClientError as exc:
            raise KafkaError(self._cluster.silent(self._limit_s, f"connecting: {exc}")) from exc
        return self

    def __exit__(self, _type: type[BaseException] | None, _exc: BaseException | None, _tb: TracebackType | None) -> None:
        self._client.close()

    def topic_id(self, topic: str) -> str | None:
        return _id(self._look(topic))

    def check_writable(self, topic: str) -> None:
        self._require("WRITE", topic, f"writing to {topic}")

    def ensure_topic(self, topic: str, message_bytes: int) -> None:
        if _id(self._require("DESCRIBE_CONFIGS", topic, f"reading {_LIMIT} of {topic}")) is None:
            doing = f"creating {topic} with {_LIMIT}={message_bytes}"
            self._ask(doing, f"CREATE on topic {topic}", lambda: self._create(topic, message_bytes))
            return
        there = self._ask(f"reading {_LIMIT} of {topic}", f"DESCRIBE_CONFIGS on topic {topic}", lambda: self._limit(topic))
        if there < message_bytes:
            doing = f"raising {_LIMIT} of {topic} to {message_bytes}"
            self._ask(doing, f"ALTER_CONFIGS on topic {topic}", lambda: self._raise_limit(topic, message_bytes))

    def _require(self, operation: str, topic: str, doing: str) -> dict[str, Any]:
        """Look, and make sure of a right before it is needed: brokers tell them, also on a topic that is not there."""
        found = self._look(topic)
        allowed = found["authorized_operations"]
        if allowed is not None and operation not in allowed:
            why = f"allowed there is {', '.join(allowed) or 'nothing'}"
            raise self._cluster.forbids(doing, why, f"{operation} on topic {topic}")
        return found

    def _look(self, topic: str) -> dict[str, Any]:
        needed = f"DESCRIBE on topic {topic}, as READ and WRITE do"
        return self._ask(f"looking at topic {topic}", needed, lambda: self._describe(topic))

    def _describe(self, topic: str) -> dict[str, Any]:
        # describe_topics is the one look of kafka-python that asks the broker not to create what it asks for.
        found: dict[str, Any]
        [found] = self._client.describe_topics([topic])
        error = for_code(found["error_code"])
        if error not in (NoError, UnknownTopicOrPartitionError):
            raise error(topic)
        return found

    def _create(self, topic: str, message_bytes: int) -> None:
        made = NewTopic(topic, 1, _BROKERS_OWN, topic_configs={_LIMIT: str(message_bytes)})
        try:
            self._client.create_topics([made])
            log.info("created topic %s with %s=%d", topic, _LIMIT, message_bytes)
        except TopicAlreadyExistsError:
            self._raise_limit(topic, message_bytes)  # the answer to an earlier try was lost, or it was made as others are

    def _limit(self, topic: str) -> int:
        described = self._client.describe_configs(
            [ConfigResource(ConfigResourceType.TOPIC, topic, [_LIMIT])], config_filter="all"
        )
        found = described["topic"][topic]
        if _LIMIT not in found:  # so kafka-python tells of an error
            raise UnknownTopicOrPartitionError(topic)
        return int(found[_LIMIT]["value"])

    def _raise_limit(self, topic: str, message_bytes: int) -> None:
        raised = ConfigResource(ConfigResourceType.TOPIC, topic, {_LIMIT: str(message_bytes)})
        try:
            told = self._client.alter_configs([raised], incremental=True)["topic"][topic]
        except ValueError as exc:  # so kafka-python tells of an error when it looks whether there is such a setting
            raise UnknownTopicOrPartitionError(topic) from exc
        if TopicAuthorizationFailedError.__name__ in told:
            raise TopicAuthorizationFailedError(topic)
        if told != "OK":
            raise KafkaError(f"{self._cluster} does not take {_LIMIT}={message_bytes} for {topic}: {told}")
        log.info("raised %s of topic %s to %d", _LIMIT, topic, message_bytes)

    def _ask(self, doing: str, needed: str, call: Callable[[], T]) -> T:
        """Call until a broker answers or the limit has passed.

        Args:
            needed: operation and resource, as an ACL names them.
        """
        deadline = time.monotonic() + self._limit_s
        patience = Patience(f"an answer of {self._cluster}", None)
        while True:
            try:
                return call()
            except AuthorizationError as exc:
                raise self._cluster.forbids(doing, exc.message, needed) from exc
            except ClientError as exc:
                if not exc.retriable:
                    raise KafkaError(f"{self._cluster} refused while {doing}: {exc}; may this client do that there?") from exc
                if time.monotonic() > deadline:
                    raise KafkaError(self._cluster.silent(self._limit_s, f"{doing}: {exc}")) from exc
            patience.tick()
            time.sleep(RETRY_S)
            with contextlib.suppress(ClientError):
                # By itself the client asks those addresses alone that it has heard of, not those of the settings.
                self._client._manager.bootstrap(RECONNECT_S * 1000)  # noqa: SLF001 - there is no public way


def _id(found: dict[str, Any]) -> str | None:
    return str(found["topic_id"]) if found["error_code"] == NoError.errno else None
