"""Writing records to the cloud's Kafka, every acknowledgement looked at."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from types import TracebackType
from typing import Any, Self

from kafka import KafkaProducer
from kafka.errors import KafkaError as ClientError

from protocol.errors import KafkaError
from transport.clients import MAX_RECEIVE_BYTES, Cluster, kafka_python_config


class Writer:
    """A Sender: an idempotent producer that waits until all replicas have what it sends.

    Its batches hold at most 16 kB, or one larger record, so no batch passes a topic's limit that its records keep to.
    """

    def __init__(self, cluster: Cluster, client_id: str, answer_limit_s: float) -> None:
        self._cluster = cluster
        self._limit_s = answer_limit_s
        self._config = kafka_python_config(cluster, client_id) | {
            "acks": "all",
            "enable_idempotence": True,
            "max_request_size": MAX_RECEIVE_BYTES,
            "batch_size": 16_384,
            "delivery_timeout_ms": int(max(answer_limit_s, 31) * 1000),  # kafka-python wants it above its request timeout
            "max_block_ms": int(answer_limit_s * 1000),
            "bootstrap_timeout_ms": int(answer_limit_s * 1000),
        }
        self._producer: Any = None  # made on entry

    def __enter__(self) -> Self:
        try:
            self._producer = KafkaProducer(**self._config)
        except ClientError as exc:
            raise KafkaError(self._cluster.silent(self._limit_s, f"connecting: {exc}")) from exc
        return self

    def __exit__(self, _type: type[BaseException] | None, _exc: BaseException | None, _tb: TracebackType | None) -> None:
        # What was sent is acknowledged already, or has failed; after a refusal `close` would raise that anew.
        with contextlib.suppress(ClientError):
            self._producer.close(timeout=0)

    def send(self, topic: str, records: Iterable[tuple[bytes, bytes]]) -> list[int]:
        try:
            sent = [self._producer.send(topic, key=key, value=value, partition=0) for key, value in records]
            return [future.get(timeout=self._limit_s).offset for future in sent]
        except ClientError as exc:
            if exc.retriable:
                raise KafkaError(self._cluster.silent(self._limit_s, f"sending to {topic}: {exc}")) from exc
            raise KafkaError(f"{self._cluster} did not take a record for {topic}: {exc}") from exc
