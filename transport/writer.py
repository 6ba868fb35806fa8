"""Writing records to the cloud's Kafka, every acknowledgement looked at."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any, Self

from confluent_kafka import KafkaError as ClientError
from confluent_kafka import KafkaException, Producer

from protocol.errors import KafkaError
from transport.clients import Cluster, Heard, librdkafka_producer_config

POLL_S = 0.5  # the longest call that a signal waits for


class Writer:
    """A Sender: an idempotent producer that waits until all replicas have what it sends.

    Its batches hold at most 16 kB, or one larger record, so no batch passes a topic's limit that its records keep to.
    """

    def __init__(self, cluster: Cluster, client_id: str, answer_limit_s: float) -> None:
        self._cluster = cluster
        self._limit_s = answer_limit_s
        self._config = librdkafka_producer_config(cluster, client_id)
        self._heard = Heard()
        self._producer: Any = None  # made on entry

    def __enter__(self) -> Self:
        self._producer = Producer(self._config, **self._heard.options())
        return self

    def __exit__(self, _type: type[BaseException] | None, _exc: BaseException | None, _tb: TracebackType | None) -> None:
        self._producer.purge()  # what was sent is acknowledged already, or has failed
        self._producer = None

    def send(self, topic: str, records: Iterable[tuple[bytes, bytes]]) -> list[int]:
        offsets: list[int] = []
        refusals: list[ClientError] = []

        def delivered(error: ClientError | None, message: Any) -> None:
            if error is None:
                offsets.append(message.offset())
            else:
                refusals.append(error)

        try:
            for key, value in records:
                while not self._took(topic, key, value, delivered):
                    self._await(topic)  # librdkafka keeps 1 GiB at a time
        except KafkaException as exc:
            refusals.append(exc.args[0])
        self._await(topic)
        if refusals:
            error = refusals[0]
            raise KafkaError(f"{self._cluster} did not take a record for {topic}: {error.str()} ({error.name()})")
        return offsets

    def _took(self, topic: str, key: bytes, value: bytes, delivered: Callable[[ClientError | None, Any], None]) -> bool:
        try:
            self._producer.produce(topic, value, key, 0, on_delivery=delivered)
        except BufferError:  # its queue is full
            return False
        self._producer.poll(0)
        return True

    def _await(self, topic: str) -> None:
        """Wait until nothing is left to be acknowledged; the limit counts from the last record that was."""
        left, heard = len(self._producer), time.monotonic()
        while remaining := self._producer.flush(POLL_S):
            if remaining < left:
                left, heard = remaining, time.monotonic()
            elif time.monotonic() - heard > self._limit_s:
                raise KafkaError(self._cluster.silent(self._limit_s, f"sending to {topic}: {self._heard.last}"))
