"""Topics: whether they are there, which they are, and the one that the worker makes."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Mapping
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

    def overview(self) -> tuple[list[str], list[str]]:
        """The addresses of the brokers, as they tell them themselves, and the topics that this client may see."""

        def look(_limit_s: float) -> Mapping[str, Future[Any]]:
            answer: Future[Any] = Future()
            answer.set_result(self._client.list_topics(timeout=POLL_S))
            return {"": answer}

        found = self._ask("connecting", "it", look)
        return [f"{one.host}:{one.port}" for one in found.brokers.values()], sorted(found.topics)

    def partitions(self, topic: str) -> list[int]:
        """The partitions of a topic, in order; empty where there is no such topic."""
        found = self._look(topic)
        return [] if found is None else sorted(one.id for one in found.partitions)

    def setting(self, topic: str, name: str) -> str | None:
        """A setting of a topic that is there; None where this client may not look at it."""
        described = self._config(topic, f"reading {name} of {topic}", {ClientError.TOPIC_AUTHORIZATION_FAILED: dict})
        return str(described[name].value) if name in described else None

    def check_readable(self, topic: str) -> None:
        """Make sure that this client may read a topic, once it is there.

        Raises:
            AccessError: it may not.
        """
        self._require(AclOperation.READ, topic, f"reading {topic}")

    def check_writable(self, topic: str) -> None:
        self._require(AclOperation.WRITE, topic, f"writing to {topic}")

    def check_group(self, group: str) -> None:
        """Make sure that this client may commit the offsets of a group, whether there is one or not.

        Raises:
            AccessError: it may not.
        """
        doing, needed = f"committing the offset of group {group}", f"READ on group {group}"
        found = self._ask(
            doing,
            needed,
            lambda limit_s: self._client.describe_consumer_groups(
                [group], include_authorized_operations=True, request_timeout=limit_s
            ),
        )
        self._check_allowed(AclOperation.READ, found.authorized_operations, doing, needed)

    def ensure_topic(self, topic: str, message_bytes: int, *, is_trial: bool = False) -> None:
        reading = f"reading {_LIMIT} of {topic}"
        if self._require(AclOperation.DESCRIBE_CONFIGS, topic, reading) is None:
            self._create(topic, message_bytes, is_trial=is_trial)
            self._require(AclOperation.DESCRIBE_CONFIGS, topic, reading)  # told at once, and not when it is next looked at
            return
        if int(self._config(topic, reading)[_LIMIT].value) < message_bytes:
            self._raise_limit(topic, message_bytes, is_trial=is_trial)

    def _require(self, operation: AclOperation, topic: str, doing: str) -> TopicDescription | None:
        """Look, and make sure of a right before it is needed: brokers tell them of a topic that is there."""
        found = self._look(topic)
        if found is not None:
            self._check_allowed(operation, found.authorized_operations, doing, f"{operation.name} on topic {topic}")
        return found

    def _check_allowed(self, operation: AclOperation, allowed: Collection[Any] | None, doing: str, needed: str) -> None:
        if allowed is not None and operation not in allowed:
            why = f"allowed there is {', '.join(one.name for one in allowed)}"
            raise self._cluster.forbids(doing, why, needed)

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

    def _create(self, topic: str, message_bytes: int, *, is_trial: bool) -> None:
        made = NewTopic(topic, 1, config={_LIMIT: str(message_bytes)})
        self._ask(
            f"creating {topic} with {_LIMIT}={message_bytes}",
            f"CREATE on topic {topic}",
            lambda limit_s: self._client.create_topics([made], request_timeout=limit_s, validate_only=is_trial),
            # The answer to an earlier try was lost, or it was made as others are.
            {ClientError.TOPIC_ALREADY_EXISTS: lambda: self._raise_limit(topic, message_bytes, is_trial=is_trial)},
        )
        if not is_trial:
            log.info("created topic %s with %s=%d", topic, _LIMIT, message_bytes)

    def _config(self, topic: str, reading: str, otherwise: Mapping[int, Callable[[], Any]] | None = None) -> Any:
        return self._ask(
            reading,
            f"DESCRIBE_CONFIGS on topic {topic}",
            lambda limit_s: self._client.describe_configs([ConfigResource(ResourceType.TOPIC, topic)], request_timeout=limit_s),
            otherwise,
        )

    def _raise_limit(self, topic: str, message_bytes: int, *, is_trial: bool) -> None:
        raised = ConfigEntry(_LIMIT, str(message_bytes), incremental_operation=AlterConfigOpType.SET)
        self._ask(
            f"raising {_LIMIT} of {topic} to {message_bytes}",
            f"ALTER_CONFIGS on topic {topic}",
            lambda limit_s: self._client.incremental_alter_configs(
                [ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[raised])],
                request_timeout=limit_s,
                validate_only=is_trial,
            ),
        )
        if not is_trial:
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
