"""A device that goes on: writes one sample after the other to its Kafka, at a steady pace."""

from __future__ import annotations

import threading
from types import TracebackType
from typing import Self

from demo.device import WRITE_LIMIT_S, Device, Stream
from demo.errors import PeerError
from demo.formats import encode
from protocol.records import Array


class Sensor:
    """Writes samples in a thread, in turn to the partitions of its topic, from when the `with` is entered.

    Attributes:
        stream: what it writes, as a device announces it: the bare name of its topic.
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
        self._device = Device(
            bootstrap, topic, input_format, partitions=partitions, is_moving=True, control_topic=None, config={"linger.ms": 0}
        )
        self.stream = Stream(topic, input_format, encode(features[:1], labels[:1], input_format)[2], None, is_moving=True)
        self._samples = list(zip(features, labels, strict=True))
        self._pause_s = pause_s
        self._is_to_end = threading.Event()
        self._thread = threading.Thread(target=self._write, name=f"sensor {topic}", daemon=True)
        self._fault: Exception | None = None

    @property
    def written(self) -> int:
        """Records that are acknowledged."""
        return self._device.acknowledged

    def __enter__(self) -> Self:
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
            raise PeerError(f"{self.stream.spec}: a record was not written: {self._fault}")

    def _write(self) -> None:
        try:
            with self._device:
                for x, y in self._samples:
                    if self._is_to_end.wait(self._pause_s):
                        break
                    self._device.send(x, y)
        except (PeerError, ValueError) as exc:
            self._fault = exc
