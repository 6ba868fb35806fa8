"""Topics: whether they are there, which they are, and the one that the worker makes."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from types import TracebackType
from typing import Any, Self

from confluent_kafka import KafkaError as ClientError
from confluent_kafka import KafkaException, TopicCollection
from confluent_kafka.admin import (
    AclOperation,
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewTopic,
    ResourceType,
    TopicDescription,
)

from protocol.errors import KafkaError
from transport.clients import FORBIDDEN, PASSING, Cluster, Heard, librdkafka_admin_config
from transport.patience import Patience

log = logging.getLogger(__name__)

_LIMIT = "max.message.bytes"
POLL_S = 0.5  # the longest call that a signal waits for
RETRY_S = 0.2
REQUEST_LIMIT_S = 10.0  # for one try: a broker that hangs must not keep the wait from its limit


class Admin:
    """Topics of one cluster."""

    def __init__(self, cluster: Cluster, client_id: str, answer_limit_s: float) -> None:
        self._cluster = cluster
        self._client_id = client_id
        self._limit_s = answer_limit_s
        self._request_limit_s = min(answer_limit_s, REQUEST_LIMIT_S)
        self._heard = Heard(cluster, answer_limit_s)
        self._client: Any = None  # made on entry

    def __enter__(self) -> Self:
        self._client = AdminClient(librdkafka_admin_config(self._cluster, self._client_id), **self._heard.options())
        return self

    def __exit__(self, _type: type[BaseException] | None, _exc: BaseException | None, _tb: TracebackType | None) -> None:
        self._client = None

    def topic_id(self, topic: str) -> str | None:
        found = self._look(topic)
        return None if found is None else str(found.topic_id)

    def check_writable(self, topic: str) -> None:
        self._require(AclOperation.WRITE, topic, f"writing to {topic}")

    def ensure_topic(self, topic: str, message_bytes: int) -> None:
        reading = f"reading {_LIMIT} of {topic}"
        if self._require(AclOperation.DESCRIBE_CONFIGS, topic, reading) is None:
            self._create(topic, message_bytes)
            self._require(AclOperation.DESCRIBE_CONFIGS, topic, reading)  # told at once, and not when it is next looked at
            return
        if self._limit(topic, reading) < message_bytes:
            self._raise_limit(topic, message_bytes)

    def _require(self, operation: AclOperation, topic: str, doing: str) -> TopicDescription | None:
        """Look, and make sure of a right before it is needed: brokers tell them of a topic that is there."""
        found = self._look(topic)
        allowed = None if found is None else found.authorized_operations
        if allowed is not None and operation not in allowed:
            why = f"allowed there is {', '.join(one.name for one in allowed)}"
            raise self._cluster.forbids(doing, why, f"{operation.name} on topic {topic}")
        return found

    def _look(self, topic: str) -> TopicDescription | None:
        found: TopicDescription | None = self._ask(
            f"looking at topic {topic}",
            f"DESCRIBE on topic {topic}, as READ and WRITE do",
            lambda limit_s: self._client.describe_topics(
                TopicCollection([topic]), include_authorized_operations=True, request_timeout=limit_s
            ),
            {ClientError.UNKNOWN_TOPIC_OR_PART: lambda: None},
        )
        return found

    def _create(self, topic: str, message_bytes: int) -> None:
        made = NewTopic(topic, 1, config={_LIMIT: str(message_bytes)})
        self._ask(
            f"creating {topic} with {_LIMIT}={message_bytes}",
            f"CREATE on topic {topic}",
            lambda limit_s: self._client.create_topics([made], request_timeout=limit_s),
            # The answer to an earlier try was lost, or it was made as others are.
            {ClientError.TOPIC_ALREADY_EXISTS: lambda: self._raise_limit(topic, message_bytes)},
        )
        log.info("created topic %s with %s=%d", topic, _LIMIT, message_bytes)

    def _limit(self, topic: str, reading: str) -> int:
        described = self._ask(
            reading,
            f"DESCRIBE_CONFIGS on topic {topic}",
            lambda limit_s: self._client.describe_configs([ConfigResource(ResourceType.TOPIC, topic)], request_timeout=limit_s),
        )
        return int(described[_LIMIT].value)

    def _raise_limit(self, topic: str, message_bytes: int) -> None:
        raised = ConfigEntry(_LIMIT, str(message_bytes), incremental_operation=AlterConfigOpType.SET)
        self._ask(
            f"raising {_LIMIT} of {topic} to {message_bytes}",
            f"ALTER_CONFIGS on topic {topic}",
            lambda limit_s: self._client.incremental_alter_configs(
                [ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[raised])], request_timeout=limit_s
            ),
        )
        log.info("raised %s of topic %s to %d", _LIMIT, topic, message_bytes)

    def _ask(
        self,
        doing: str,
        needed: str,
        call: Callable[[float], Mapping[Any, Future[Any]]],
        otherwise: Mapping[int, Callable[[], Any]] | None = None,
    ) -> Any:
        """Call until a broker answers or the limit has passed.

        Args:
            needed: operation and resource, as an ACL names them.
            call: asks for one thing, within so many seconds.
            otherwise: what to do about errors that are answers as well, by their codes.
        """
        deadline = time.monotonic() + self._limit_s
        patience = Patience(f"an answer of {self._cluster}", None)
        asked: Future[Any] | None = None
        while True:
            try:
                if asked is None:
                    [asked] = call(self._request_limit_s).values()
                return asked.result(POLL_S)
            except TimeoutError:
                pass
            except KafkaException as exc:
                error: ClientError = exc.args[0]
                if otherwise is not None and error.code() in otherwise:
                    return otherwise[error.code()]()
                if error.code() in FORBIDDEN:
                    raise self._cluster.forbids(doing, error.str(), needed) from exc
                if not (error.retriable() or error.code() in PASSING):
                    raise KafkaError(
                        f"{self._cluster} refused while {doing}: {error.str()} ({error.name()}); may this client do that there?"
                    ) from exc
                asked = None
                time.sleep(RETRY_S)
            patience.tick()
            self._client.poll(0)  # lets librdkafka tell what it meets
            self._heard.check()
            if time.monotonic() > deadline:
                raise KafkaError(self._cluster.silent(self._limit_s, f"{doing}: {self._heard.last}"))
