"""Writing records to a Kafka, every acknowledgement looked at, all of a reply in one transaction."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from confluent_kafka import KafkaError as ClientError
from confluent_kafka import KafkaException, Producer, TopicPartition

import liveness
from protocol.errors import FencedError, KafkaError, LimitError, WorkerError
from transport.clients import FORBIDDEN, Cluster, Heard, librdkafka_producer_config
from transport.interfaces import Copy
from transport.patience import Patience

log = logging.getLogger(__name__)

POLL_S = 0.5  # the longest call that a signal waits for
REQUEST_LIMIT_S = 10.0  # for one try of a request, at most,
LEAST_REQUEST_LIMIT_S = 0.01  # and the least that librdkafka takes
ABORT_LIMIT_S = 2.0  # what is not aborted by then, the next worker of this client aborts when it starts


@dataclass(frozen=True, slots=True)
class Transactions:
    """What a Writer needs for transactions.

    Attributes:
        membership: the consumer group whose offsets go along, as librdkafka has it.
        limit_s: the longest that one may be open; a killed worker's, which nobody goes on with, the broker aborts then.
    """

    membership: Callable[[], Any]
    limit_s: float


class Writer:
    """A Sender and a Copier: an idempotent producer that waits until all replicas have what it sends.

    Its batches hold at most 16 kB, or one larger record, so no batch passes a topic's limit that its records keep to.

    With transactions, whoever enters it with the same client id later fences this one, and ends what it left open.

    Args:
        client_id: also the transactional id.
        answer_limit_s: longest wait for an acknowledgement.
        transactions: None = records stand as soon as they are acknowledged.
    """

    def __init__(
        self, cluster: Cluster, client_id: str, answer_limit_s: float, transactions: Transactions | None = None
    ) -> None:
        self._cluster = cluster
        self._client_id = client_id
        self._limit_s = answer_limit_s
        self._transactions = transactions
        self._config = librdkafka_producer_config(cluster, client_id, transactions.limit_s if transactions else None)
        # A call that sends an offset along is back when its request is, whatever limit the call is given. librdkafka wants no
        # request to last longer than a transaction.
        request_s = min(answer_limit_s, REQUEST_LIMIT_S, transactions.limit_s if transactions else REQUEST_LIMIT_S)
        self._config |= {"socket.timeout.ms": int(max(request_s, LEAST_REQUEST_LIMIT_S) * 1000)}
        self._heard = Heard(cluster, answer_limit_s)
        self._producer: Any = None  # made on entry
        self._begun: float | None = None  # when the open transaction was
        self._asking = ThreadPoolExecutor(1, "asking")

    def __enter__(self) -> Self:
        self._producer = Producer(self._config, **self._heard.options())
        if self._transactions is not None:
            self._ask("preparing transactions", self._transactional_id, self._producer.init_transactions)
        return self

    def __exit__(self, _type: type[BaseException] | None, _exc: BaseException | None, _tb: TracebackType | None) -> None:
        self._producer.purge()  # what was sent is acknowledged already, or has failed
        self._producer = None
        self._asking.shutdown(wait=False, cancel_futures=True)

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        if self._transactions is None:
            yield
            return
        self._begun = time.monotonic()
        try:
            self._ask("beginning a transaction", self._transactional_id, lambda _timeout: self._producer.begin_transaction())
            yield
            self._ask("committing a transaction", self._transactional_id, self._producer.commit_transaction)
        except BaseException:
            self._abort()
            raise
        finally:
            self._begun = None

    def commit(self, topic: str, partition: int, offset: int, metadata: str) -> None:
        if self._transactions is None:
            raise RuntimeError("an offset to be committed without transactions")
        offsets, membership = [TopicPartition(topic, partition, offset, metadata)], self._transactions.membership()
        self._ask(
            "committing an offset",
            f"READ on group {self._client_id}",
            lambda timeout: self._producer.send_offsets_to_transaction(offsets, membership, timeout),
        )

    @property
    def _transactional_id(self) -> str:
        """The right that transactions need."""
        return f"WRITE and DESCRIBE on transactional id {self._client_id}, or DELIVERY=at-least-once must be set"

    def send(self, topic: str, records: Iterable[tuple[bytes, bytes]]) -> list[int]:
        return self._send(topic, ({"key": key, "value": value, "partition": 0} for key, value in records))

    def copy(self, topic: str, copies: Iterable[Copy]) -> int:
        records = (
            {
                "key": one.key,
                "value": one.value,
                "partition": one.partition,
                "timestamp": one.timestamp_ms,
                "headers": list(one.headers),
            }
            for one in copies
        )
        return len(self._send(topic, records))

    def _send(self, topic: str, records: Iterable[dict[str, Any]]) -> list[int]:
        """Send records, each as keyword arguments of the client's `produce`."""
        offsets: list[int] = []
        refusals: list[ClientError] = []

        def delivered(error: ClientError | None, message: Any) -> None:
            if error is None:
                offsets.append(message.offset())
            else:
                refusals.append(error)

        try:
            for record in records:
                while not self._took(topic, record, delivered):
                    self._await(topic)  # librdkafka keeps 1 GiB at a time
            self._await(topic)
        except KafkaException as exc:
            refusals.append(self._end(exc))
        if refusals:
            cause = next((error for error in refusals if error.fatal()), refusals[0])  # others are its consequences
            if cause.code() == ClientError._PURGE_QUEUE and self._begun is not None:
                cause = self._fault_of_transaction() or cause
            raise self._failed(cause, f"sending to {topic}", f"WRITE on topic {topic}")
        return offsets

    def _fault_of_transaction(self) -> ClientError | None:
        """Why a transaction can only be aborted. What was in it is not told that."""
        try:
            self._producer.commit_transaction(0)  # is refused: something of it was not sent
        except KafkaException as exc:
            error: ClientError = exc.args[0]
            return error
        return None

    def _end(self, exc: KafkaException) -> ClientError:
        """What a producer that has given up has given up for; it tells of that once."""
        error: ClientError = exc.args[0]
        if error.code() == ClientError._FATAL:
            try:
                _serve(lambda: self._producer.poll(POLL_S))
            except KafkaException as told:
                error = told.args[0]
        return error

    def _took(self, topic: str, record: dict[str, Any], delivered: Callable[[ClientError | None, Any], None]) -> bool:
        try:
            self._producer.produce(topic, on_delivery=delivered, **record)
        except BufferError:  # its queue is full
            return False
        _serve(lambda: self._producer.poll(0))
        return True

    def _await(self, topic: str) -> None:
        """Wait until nothing is left to be acknowledged; the limit counts from the last record that was."""
        left, heard = len(self._producer), time.monotonic()
        while remaining := _serve(lambda: self._producer.flush(POLL_S)):
            liveness.show()
            if remaining < left:
                left, heard = remaining, time.monotonic()
                continue
            self._heard.check()
            if time.monotonic() - heard > self._limit_s:
                raise KafkaError(self._cluster.silent(self._limit_s, f"sending to {topic}: {self._heard.last}"))

    def _ask(self, doing: str, needed: str, call: Callable[[float], object]) -> None:
        """Call until the broker has done it, or the limit has passed; librdkafka goes on where a call left off.

        Args:
            needed: operation and resource, as an ACL names them.
        """
        deadline = time.monotonic() + self._limit_s
        patience = Patience(f"an answer of {self._cluster} while {doing}", None)
        asked: Future[object] | None = None
        while True:
            # From beside: librdkafka's sending of offsets does not keep to its timeout.
            asked = asked or self._asking.submit(call, POLL_S)
            try:
                asked.result(2 * POLL_S)
            except TimeoutError:
                pass
            except KafkaException as exc:
                error: ClientError = exc.args[0]
                if not error.retriable():
                    raise self._failed(error, doing, needed) from exc
                asked = None
            else:
                return
            self._heard.check()
            if time.monotonic() > deadline:
                raise KafkaError(self._cluster.silent(self._limit_s, f"{doing}: {self._heard.last}"))
            patience.tick()

    def _abort(self) -> None:
        """What of this fails, fails for the reason that is being told already; the next worker's start aborts as well."""
        try:
            self._producer.purge()
            self._producer.abort_transaction(ABORT_LIMIT_S)
        except KafkaException as exc:
            log.debug("a transaction was left open: %s", exc)

    def _failed(self, error: ClientError, doing: str, needed: str) -> WorkerError:
        if error.code() in FORBIDDEN:
            return self._cluster.forbids(doing, error.str(), needed)
        limit_s = None if self._transactions is None else self._transactions.limit_s
        if limit_s is not None and self._begun is not None and time.monotonic() - self._begun >= limit_s:
            return LimitError(
                f"the reply was not sent to {self._cluster} within {limit_s:g} s, and its transaction was aborted; "
                "TRANSACTION_LIMIT_S sets the limit"
            )
        if error.code() in _FENCED:
            return FencedError(
                f"another process answers for {self._client_id} and has taken this one's place ({error.name()}): "
                "do two Jobs have the same FEDERATED_MODEL_ID and FEDERATED_CLIENT_ID?"
            )
        if error.code() == ClientError.INVALID_PRODUCER_ID_MAPPING:
            return KafkaError(
                f"{self._cluster} has forgotten the transactional id {self._client_id}, as brokers do with one that rests for "
                "transactional.id.expiration.ms: start the worker again to do the round again"
            )
        if error.code() == ClientError.INVALID_TRANSACTION_TIMEOUT:
            return KafkaError(
                f"{self._cluster} does not let a transaction be open for {limit_s:g} s: lower TRANSACTION_LIMIT_S, or raise "
                "transaction.max.timeout.ms of its brokers"
            )
        return KafkaError(f"{self._cluster} refused while {doing}: {error.str()} ({error.name()})")


def _serve(call: Callable[[], int]) -> int:
    """A call in which confluent-kafka calls back, also where it has raised a fatal error already, which is told instead."""
    try:
        return call()
    except SystemError as exc:
        if isinstance(exc.__cause__, KafkaException):
            raise exc.__cause__ from exc
        raise


_FENCED = frozenset(
    {
        ClientError._FENCED,
        ClientError.PRODUCER_FENCED,
        ClientError.INVALID_PRODUCER_EPOCH,
    }
)
