"""A cluster's settings, and the one place that turns them into the configuration of Kafka clients."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, final

from confluent_kafka import KafkaError as ClientError
from pydantic import SecretStr

from protocol.errors import AccessError
from transport.probe import Wrong, probe
from transport.security import Security
from transport.tokens import Tokens

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
QUEUE_KB = 8 * 1024
FETCH_BYTES = 4 * 1024 * 1024  # of one answer, beside a larger record
QUEUE_PAUSE_MS = 5
# How long a producer remembers which broker keeps a group's offsets. librdkafka drops a broker that was away, but would hand
# the next offset of a transaction to the dropped one, and wait for ever.
COORDINATOR_KEPT_MS = 1_000
PROBE_EVERY_S = 2.0
# What an authorizer refuses.
FORBIDDEN = frozenset(
    {
        ClientError.TOPIC_AUTHORIZATION_FAILED,
        ClientError.GROUP_AUTHORIZATION_FAILED,
        ClientError.CLUSTER_AUTHORIZATION_FAILED,
        ClientError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
    }
)
# What is no answer, and may pass, beside what librdkafka calls retriable.
PASSING = frozenset(
    {
        ClientError._TRANSPORT,
        ClientError._TIMED_OUT,
        ClientError._ALL_BROKERS_DOWN,
        ClientError._DESTROY_BROKER,  # that of a broker which is away, when its addresses are asked anew
        ClientError._RESOLVE,
        ClientError._UNKNOWN_PARTITION,
        ClientError._WAIT_COORD,
        ClientError.REQUEST_TIMED_OUT,
        ClientError.UNKNOWN_TOPIC_OR_PART,
        ClientError.LEADER_NOT_AVAILABLE,
        ClientError.NOT_LEADER_FOR_PARTITION,
        ClientError.NOT_COORDINATOR,
        ClientError.COORDINATOR_NOT_AVAILABLE,
        ClientError.COORDINATOR_LOAD_IN_PROGRESS,
    }
)
_BROKER = re.compile(r"(?:[a-z_]+://)?([^/\s]+:[0-9]+)/")  # how librdkafka begins what it tells of one
_AFTER = re.compile(r"\s*\(after [0-9]+ms in state [A-Z_]+\)$")  # and how it ends


@dataclass(frozen=True, slots=True)
class Cluster:
    """One Kafka and how to reach it.

    Attributes:
        name: which of the two it is, for a log.
        variable: the environment variable that names its brokers.
        bootstrap: host:port list, comma-separated.
        security: how the two know each other.
    """

    name: str
    variable: str
    bootstrap: str
    security: Security = field(default_factory=Security)

    def __str__(self) -> str:
        return f"the {self.name}'s Kafka ({self.variable}={self.bootstrap})"

    def silent(self, limit_s: float, why: str) -> str:
        """What to say of it where it has not answered for the limit."""
        return (
            f"{self} did not answer within {limit_s:g} s: {why}; is it up, is the address right, can it be reached from here? "
            "ANSWER_LIMIT_S sets the limit"
        )

    def setting(self, name: str) -> str:
        """The whole name of the variable by which this cluster, and not the other, has something."""
        return self.variable.removesuffix("BOOTSTRAP_SERVERS") + name

    def closed(self, why: str, *names: str) -> AccessError:
        """What to say where there is no way in; the names are of the settings to look at."""
        check = f"; check {' and '.join(map(self.setting, names))}" if names else ""
        return AccessError(f"{self} cannot be used: {why}{check}")

    def forbids(self, doing: str, why: str, needed: str) -> AccessError:
        """What to say where an authorizer says no.

        Args:
            needed: operation and resource, as an ACL names them.
        """
        return AccessError(f"{self} does not let {self._client()} go on with {doing}: {why}; its ACLs must allow {needed}")

    def refuses(self, why: str) -> AccessError:
        """What to say where it does not know the client."""
        sasl = self.security.sasl
        why = _AFTER.sub("", why)
        if sasl is None or "handshake failed" in why:  # the two do not have the mechanism in common
            return self.closed(why, "SECURITY_PROTOCOL", "SASL_MECHANISM")
        return self.closed(why, *(("SASL_TOKEN",) if sasl.tokens is not None else ("SASL_USERNAME", "SASL_PASSWORD")))

    def _client(self) -> str:
        sasl, tls = self.security.sasl, self.security.tls
        if sasl is not None:
            return "the owner of the token" if sasl.username is None else f"user {sasl.username!r}"
        return "a client without a name" if tls is None or tls.certificate is None else "the owner of the client certificate"


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


def librdkafka_admin_config(cluster: Cluster, client_id: str) -> dict[str, Any]:
    """For a confluent-kafka admin client."""
    return _connection(cluster, client_id)


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
        config |= {"metadata.max.age.ms": COORDINATOR_KEPT_MS}
        # librdkafka lets no record wait for longer than its transaction may.
        config |= {"transactional.id": client_id, "transaction.timeout.ms": limit_ms, "delivery.timeout.ms": limit_ms}
    return config


def _connection(cluster: Cluster, client_id: str) -> dict[str, Any]:
    return {
        "bootstrap.servers": cluster.bootstrap,
        "client.id": client_id,
        # A cluster that is away is looked for at all addresses of the settings, so that one that has moved is found. Each such
        # round begins its back-off anew, so the least time is also how often one that stays away is tried, and how long a first
        # connection waits, halved.
        "metadata.recovery.strategy": "rebootstrap",
        "reconnect.backoff.ms": 40,
        "reconnect.backoff.max.ms": 5_000,
        **_librdkafka_security(cluster.security),
    }


def _librdkafka_security(security: Security) -> dict[str, Any]:
    config: dict[str, Any] = {"security.protocol": security.protocol}
    if security.tls is not None:
        config |= {"ssl.ca.pem": security.tls.ca, "ssl.certificate.pem": security.tls.certificate}
        config |= {"ssl.key.pem": _shown(security.tls.key), "ssl.key.password": _shown(security.tls.key_password)}
    if security.sasl is not None:
        config |= {"sasl.mechanism": security.sasl.mechanism}
        config |= {"sasl.username": security.sasl.username, "sasl.password": _shown(security.sasl.password)}
    return {name: value for name, value in config.items() if value is not None}


def _librdkafka_token(tokens: Tokens) -> Callable[[str], tuple[str, float]]:
    def token(_config: str) -> tuple[str, float]:
        last = tokens.last()
        return last.text.get_secret_value(), last.until

    return token


def _shown(secret: SecretStr | None) -> str | None:
    return None if secret is None else secret.get_secret_value()


@final
class Heard:
    """What a librdkafka client tells of its connections, of which the last is the reason why a broker does not answer.

    Args:
        answer_limit_s: the longest wait for a first token.
    """

    def __init__(self, cluster: Cluster, answer_limit_s: float) -> None:
        self.last = "no broker answered"
        self._cluster = cluster
        self._limit_s = answer_limit_s
        self._refusal: AccessError | None = None
        self._unclear: list[str] = []  # addresses of brokers that cannot be reached, for a reason that is not told
        self._probed = 0.0

    def options(self) -> dict[str, Any]:
        """Keyword arguments of a client that is listened to.

        Raises:
            WorkerError: it needs a token, and none is to be had.
        """
        options = {"error_cb": self._on_error, "logger": logging.getLogger("librdkafka")}
        sasl = self._cluster.security.sasl
        if sasl is not None and sasl.tokens is not None:
            sasl.tokens.first(self._limit_s)  # here, where an error has a way out
            options["oauth_cb"] = _librdkafka_token(sasl.tokens)
        return options

    def check(self) -> None:
        """To be called while no broker answers.

        Raises:
            AccessError: one does not let this client in, and would not later.
        """
        if self._unclear and self._refusal is None and time.monotonic() - self._probed > PROBE_EVERY_S:
            self._refusal = self._probe()
            self._probed = time.monotonic()
        if self._refusal is not None:
            raise self._refusal

    def _on_error(self, error: ClientError) -> None:
        code, text = error.code(), error.str()
        if code != ClientError._ALL_BROKERS_DOWN:
            self.last = text
        if code == ClientError._AUTHENTICATION:
            self._hear_refusal(text)
        elif code != ClientError._RESOLVE:
            named = _BROKER.match(text)
            self._unclear = [named[1]] if named else self._unclear or self._cluster.bootstrap.split(",")

    def _hear_refusal(self, text: str) -> None:
        sasl = self._cluster.security.sasl
        fault = None if sasl is None or sasl.tokens is None else sasl.tokens.fault
        if fault is None:
            self._refusal = self._cluster.refuses(text)
        elif isinstance(fault, AccessError):
            self._refusal = fault
        else:  # a token has expired, and its server does not answer: it may again
            self.last = str(fault)

    def _probe(self) -> AccessError | None:
        for address in self._unclear:
            try:
                if probe(address, self._cluster.security):
                    self._unclear = []  # whatever it was, it is over
                    break
            except Wrong as wrong:
                return self._cluster.closed(f"broker {address}: {wrong}", *wrong.names)
        return None
