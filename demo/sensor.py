"""A device that goes on: writes one sample after the other to its Kafka, at a steady pace."""

from __future__ import annotations

import threading
from types import TracebackType
from typing import Self

from confluent_kafka import KafkaException, Producer

from demo.device import WRITE_LIMIT_S, Stream
from demo.errors import PeerError
from demo.formats import encode
from demo.topics import create_topic
from protocol.records import Array


class Sensor:
    """Writes samples in a thread, in turn to the partitions of its topic, from when the `with` is entered.

    Attributes:
        stream: what it writes, as a device announces it: the bare name of its topic. `total` is what it will have written.
        written: records that are acknowledged.
    """

    def __init__(  # noqa: PLR0913 - what is written, where, and how fast
        self,
        bootstrap: str,
        topic: str,
        features: Array,
        labels: Array,
        input_format: str,
        *,
        pause_s: float,
        partitions: int = 1,
    ) -> None:
        """Write nothing yet.

        Args:
            bootstrap: host:port list of the device's Kafka.
            topic: is made if it is not there.
            features: (n, *data_shape), numbers.
            labels: (n, *label_shape), numbers.
            input_format: RAW, AVRO or JSON.
            pause_s: seconds between two records.
            partitions: of the topic.
        """
        keys, values, input_config = encode(features, labels, input_format)
        self.stream = Stream(topic, input_format, input_config, len(values))
        self.written = 0
        self._bootstrap = bootstrap
        self._records = list(zip(keys, values, strict=True))
        self._pause_s = pause_s
        self._partitions = partitions
        self._is_to_end = threading.Event()
        self._thread = threading.Thread(target=self._write, name=f"sensor {topic}", daemon=True)
        self._fault: Exception | None = None

    def __enter__(self) -> Self:
        create_topic(self._bootstrap, self.stream.spec, self._partitions)
        self._thread.start()
        return self

    def __exit__(self, _type: type[BaseException] | None, _exc: BaseException | None, _tb: TracebackType | None) -> None:
        self._is_to_end.set()
        self._thread.join(WRITE_LIMIT_S)

    def wait(self) -> None:
        """Wait until all is written.

        Raises:
            PeerError: some of it was not acknowledged.
        """
        self._thread.join()
        self.check()

    def check(self) -> None:
        """Raise what has kept it from writing, if anything has."""
        if self._fault is not None:
            raise PeerError(f"{self.stream.spec} at {self._bootstrap}: a record was not written: {self._fault}")

    def _write(self) -> None:
        producer = Producer({"bootstrap.servers": self._bootstrap, "enable.idempotence": True, "linger.ms": 0, "log_level": 2})
        try:
            for number, (key, value) in enumerate(self._records):
                if self._is_to_end.wait(self._pause_s):
                    break
                producer.produce(self.stream.spec, value, key, number % self._partitions, on_delivery=self._delivered)
                producer.poll(0)
            if producer.flush(WRITE_LIMIT_S):
                self._fault = PeerError("it was not acknowledged")
        except (BufferError, KafkaException) as exc:
            self._fault = exc

    def _delivered(self, error: object, _message: object) -> None:
        if error is None:
            self.written += 1
        else:
            self._fault = PeerError(str(error))
