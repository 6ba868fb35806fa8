"""A device: writes samples to its Kafka as a labelled stream, and announces it, so that Kafka-ML starts a worker for it.

    with Device("edge:9092", "machine-7", "RAW", validation_rate=0.2) as device:
        for x, y in measured:
            device.send(x, y)

A device is small: this module needs numpy and confluent-kafka, and fastavro for AVRO.
"""

from __future__ import annotations

import json
import logging
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from numpy.typing import DTypeLike

from demo.errors import PeerError
from demo.formats import Encoder, Layout, Several, dtype_of, encoding_of
from demo.sending import Sender

log = logging.getLogger(__name__)

CONTROL_TOPIC = "FEDERATED_DATA_CONTROL_TOPIC"
BACKENDS_FORMATS = ("RAW", "AVRO")  # what Kafka-ML's federated backend takes
RATE_DIGITS = 6  # of a rate, as its database keeps them
NOTHING = b"\x00"  # the key of a record without a label
WRITE_LIMIT_S = 120.0
MOST_LIMIT_S = 3_600.0  # that librdkafka lets a request last


@dataclass(frozen=True, slots=True)
class Stream:
    """A labelled stream on a Kafka.

    Attributes:
        spec: its stream spec, topic:partition:start:end for each partition that has records; one that goes on is a bare name.
        input_format, input_config: how its records are read, as INPUT_FORMAT and INPUT_CONFIG tell it.
        total: how many records it has; None where it goes on.
        unlabelled: the spec of the unlabelled stream beside it, if there is one.
        is_moving: whether it, or the unlabelled one, goes on.
    """

    spec: str
    input_format: str
    input_config: Mapping[str, Any]
    total: int | None
    unlabelled: str | None = None
    is_moving: bool = False

    def announcement(
        self,
        *,
        validation_rate: float = 0.0,
        test_rate: float = 0.0,
        restrictions: Mapping[str, Any] | None = None,
        description: str = "",
    ) -> dict[str, Any]:
        """What the edge's backend is told of the stream, as Kafka-ML's data sources tell it.

        Args:
            validation_rate, test_rate: shares in [0, 1).
            restrictions: of the models that may be trained on it; a model is, if its own are equal.
            description: for people.

        Raises:
            ValueError: restrictions that are no JSON.

        Source: Kafka-ML's datasources and federated backend, whose matching reads restrictions out of a text.
        """
        return {
            "topic": self.spec,
            "unsupervised_topic": self.unlabelled,
            "input_format": self.input_format,
            "description": description,
            "dataset_restrictions": _json_text(restrictions or {}),
            "input_config": dict(self.input_config),
            "validation_rate": round(validation_rate, RATE_DIGITS),
            "test_rate": round(test_rate, RATE_DIGITS),
            "total_msg": self.total,
            "incremental": self.is_moving,
        }


class Device:
    """Writes a labelled stream, in a `with`, and announces it when the `with` ends well: whole and acknowledged.

    What ends the `with` with an exception leaves a stream that is not announced. A moving stream is announced with its first
    sample, since only then its types are known; one with an unlabelled stream beside it is whole when that one begins.

    Samples go to the topic's partitions in turn. They are sent in batches, idempotently: nothing twice, nothing out of order.
    Threads may share a device; it sends for one after the other.

    Attributes:
        topic: of the labelled stream; it is made if it is not there, and what it holds already is no part of the stream.
    """

    def __init__(  # noqa: PLR0913 - what is written, where, and what is told of it
        self,
        bootstrap: str,
        topic: str,
        input_format: str = "RAW",
        *,
        dtype: DTypeLike | None = None,
        label_dtype: DTypeLike | None = None,
        partitions: int = 1,
        is_moving: bool = False,
        unlabelled_topic: str | None = None,
        validation_rate: float = 0.0,
        test_rate: float = 0.0,
        restrictions: Mapping[str, Any] | None = None,
        description: str = "",
        deployment_id: int = 1,
        control_topic: str | None = CONTROL_TOPIC,
        limit_s: float = WRITE_LIMIT_S,
        config: Mapping[str, Any] | None = None,
    ) -> None:
        """Connect to nothing yet.

        Args:
            bootstrap: host:port list of the device's Kafka.
            topic: where labelled samples go.
            input_format: RAW, AVRO or JSON. Kafka-ML's own backend starts workers for RAW and AVRO alone.
            dtype, label_dtype: of data and labels, as numpy names them; None = as the first sample has them.
            partitions: of topics that are made.
            is_moving: the stream goes on, and is trained on as it comes; with an unlabelled topic it is that one which does.
            unlabelled_topic: where samples without a label go.
            validation_rate, test_rate: shares of the stream in [0, 1), below 1 together.
            restrictions, description: as Stream.announcement has them.
            deployment_id: Kafka-ML's number of the deployment, the announcement's key.
            control_topic: where the stream is announced; it is made, with one partition, if it is not there; None = nowhere.
            limit_s: the longest that a record may wait to be acknowledged, and a request to be answered, in seconds.
            config: more of librdkafka's configuration, such as security.protocol and sasl.password.

        Raises:
            ValueError: one of them cannot be.
        """
        encoding_of(input_format)
        if not (validation_rate >= 0 and test_rate >= 0 and round(validation_rate + test_rate, RATE_DIGITS) < 1):
            raise ValueError(f"validation_rate={validation_rate} and test_rate={test_rate}: give shares whose sum is below 1")
        topics = [one for one in (topic, unlabelled_topic, control_topic) if one is not None]
        if len(set(topics)) < len(topics):
            raise ValueError(f"topics {', '.join(topics)}: give each stream, and the announcement, a topic of its own")
        if deployment_id < 0:
            raise ValueError(f"deployment_id={deployment_id}: give the number that Kafka-ML has given, from 0")
        if partitions < 1:
            raise ValueError(f"partitions={partitions}: give 1 or more")
        if not 0 < limit_s <= MOST_LIMIT_S:
            raise ValueError(f"limit_s={limit_s}: give seconds above 0, {MOST_LIMIT_S:.0f} at most")
        _json_text(restrictions or {})
        self.topic = topic
        self._format = input_format
        self._dtypes = dtype_of(dtype), dtype_of(label_dtype)
        self._is_moving = is_moving
        self._unlabelled = unlabelled_topic
        self._told: dict[str, Any] = {
            "validation_rate": validation_rate,
            "test_rate": test_rate,
            "restrictions": restrictions,
            "description": description,
        }
        self._key = deployment_id.to_bytes(max(1, (deployment_id.bit_length() + 7) // 8), "big")
        self._control_topic = control_topic
        written = [topic] if unlabelled_topic is None else [topic, unlabelled_topic]
        self._sender = Sender(bootstrap, written, control_topic, partitions=partitions, limit_s=limit_s, config=config or {})
        self._encoder: Encoder | None = None  # from the first sample on
        self._is_announced = False
        self._sending = threading.Lock()

    @property
    def acknowledged(self) -> int:
        """Records of both streams that all replicas have by now."""
        return sum(one.acknowledged for one in self._sender.progress.values())

    def __enter__(self) -> Self:
        self._sender.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        is_well = False
        try:
            if kind is None:
                with self._sending:  # what other threads send comes before the end, or is refused
                    self._sender.flush()
                    if not self._is_announced:
                        self._announce()
                    is_well = True
                    self._sender.__exit__(kind, exc, tb)
        finally:
            try:
                if not is_well:
                    self._sender.part()
                    what = "has ended early" if self._is_announced else "is not announced"
                    log.warning("the stream %s; acknowledged: %s", what, ", ".join(map(str, self._sender.progress.values())))
            finally:
                self._sender.__exit__(kind, exc, tb)

    def send(self, x: object, y: object, partition: int | None = None) -> None:
        """Send a sample; it is acknowledged later, see `flush`.

        Args:
            x: the datum: a number, text, an array or nested list of numbers, or a mapping of names to numbers.
            y: its label, likewise.
            partition: where it goes; None = in turn.

        Raises:
            ValueError: the sample is not like the first one; nothing of it is sent.
            PeerError: Kafka has refused an earlier one, or takes no more.
        """
        self.send_many([x], [y], None if partition is None else [partition])

    def send_many(self, features: Several, labels: Several, partitions: Sequence[int] | None = None) -> None:
        """Send several samples.

        Args:
            features: (n, *data_shape), or n data as `send` takes them.
            labels: (n, *label_shape), or n labels.
            partitions: where each goes; None = in turn.

        Raises:
            ValueError: one of them is not like the first one, or there is not one label a datum; none is sent.
            PeerError: as `send` has it.
        """
        if len(features) != len(labels):
            raise ValueError(f"{len(features)} data and {len(labels)} labels: expected one label a datum")
        if not len(features):
            return
        with self._sending:
            encoder = self._encoder_for(features[0], labels[0])
            records = list(zip(encoder.keys(labels), encoder.values(features), strict=True))
            places = self._sender.progress[self.topic].places(len(records), partitions)
            if self._encoder is None:
                self._encoder = encoder
                if self._is_moving and self._unlabelled is None:
                    self._announce()
            self._sender.send(self.topic, records, places)

    def send_unlabelled(self, x: object, partition: int | None = None) -> None:
        """Send a sample to the unlabelled stream, once there is a labelled one; arguments and errors as `send` has them."""
        self.send_many_unlabelled([x], None if partition is None else [partition])

    def send_many_unlabelled(self, features: Several, partitions: Sequence[int] | None = None) -> None:
        """Send several of them; arguments and errors as `send_many` has them."""
        if self._unlabelled is None:
            raise ValueError("no topic for samples without a label: give unlabelled_topic")
        if not len(features):
            return
        with self._sending:
            self._sender.check()
            if self._encoder is None:
                raise ValueError("no labelled sample was sent yet, which tells how both streams are read: send one first")
            records = [(NOTHING, value) for value in self._encoder.values(features)]
            places = self._sender.progress[self._unlabelled].places(len(records), partitions)
            if self._is_moving and not self._is_announced:
                self._announce()
            self._sender.send(self._unlabelled, records, places)

    def flush(self) -> None:
        """Wait until all that was sent is acknowledged.

        Raises:
            PeerError: some of it was refused, or not acknowledged within the limit.
        """
        with self._sending:
            self._sender.flush()

    @property
    def stream(self) -> Stream:
        """What was acknowledged, as it would be announced.

        Raises:
            PeerError: someone else has written between the records.
            ValueError: nothing was sent, so nobody knows how it is read.
        """
        if self._encoder is None:
            raise ValueError(f"topic {self.topic}: nothing was sent, so there is nothing to announce")
        config = self._encoder.config
        if self._is_moving and self._unlabelled is None:
            return Stream(self.topic, self._format, config, None, is_moving=True)
        beside = self._unlabelled if self._is_moving or self._unlabelled is None else self._spec(self._unlabelled)
        total = self._sender.progress[self.topic].acknowledged
        return Stream(self._spec(self.topic), self._format, config, total, beside or None, self._is_moving)

    def _encoder_for(self, x: object, y: object) -> Encoder:
        """The encoder of all samples; of the first one, where there was none yet."""
        self._sender.check()
        if y is None:
            raise ValueError("a sample without a label: send it with send_unlabelled")
        if self._is_announced and (not self._is_moving or self._unlabelled is not None):
            raise ValueError(f"the stream on {self.topic} is announced, and whole: begin another one")
        if self._encoder is not None:
            return self._encoder
        return Encoder(self._format, *(Layout.of(one, dtype) for one, dtype in zip((x, y), self._dtypes, strict=True)))

    def _announce(self) -> None:
        if self._control_topic is not None:
            self._sender.flush()
            stream = self.stream
            if self._format not in BACKENDS_FORMATS:
                log.warning("Kafka-ML's backend takes %s alone, and starts no worker for JSON", " and ".join(BACKENDS_FORMATS))
            self._sender.post(self._key, json.dumps(stream.announcement(**self._told)).encode())
            log.info("announced on %s: %s, %s records", self._control_topic, stream.spec, stream.total or "ever more")
        self._is_announced = True

    def _spec(self, topic: str) -> str:
        progress = self._sender.progress[topic]
        if progress.mixed:
            raise PeerError(
                f"{topic}[{min(progress.mixed)}]: the records do not stand one after the other: someone else writes there"
            )
        return progress.spec


def _json_text(restrictions: Mapping[str, Any]) -> str:
    try:
        return json.dumps(restrictions, allow_nan=False)
    except (TypeError, ValueError) as exc:
        raise ValueError(f"restrictions that are no JSON: {exc}") from exc


if __name__ == "__main__":
    from demo.device_command import main  # it needs data sets, which a device does not

    sys.exit(main())
