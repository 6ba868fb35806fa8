"""A device: writes samples to its Kafka as a labelled stream, and announces it, so that Kafka-ML starts a worker for it.

    with Device("edge:9092", "machine-7", "RAW", validation_rate=0.2) as device:
        for x, y in measured:
            device.send(x, y)

A device is small: this module needs numpy and confluent-kafka, and fastavro for AVRO.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any, Self

from confluent_kafka import KafkaError, KafkaException, Message, Producer, TopicCollection
from confluent_kafka.admin import AdminClient, NewTopic
from numpy.typing import DTypeLike

from demo.errors import PeerError
from demo.formats import Encoder, Layout, encoding_of
from protocol.records import Array
from protocol.stream_spec import StreamRange

log = logging.getLogger(__name__)

CONTROL_TOPIC = "FEDERATED_DATA_CONTROL_TOPIC"
BACKENDS_FORMATS = ("RAW", "AVRO")  # what Kafka-ML's federated backend takes
RATE_DIGITS = 6  # of a rate, as its database keeps them
NOTHING = b"\x00"  # the key of a record without a label
WRITE_LIMIT_S = 120.0
LINGER_MS = 20
_POLL_S = 0.1


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

        Source: Kafka-ML's datasources and federated backend, whose matching reads restrictions out of a text.
        """
        return {
            "topic": self.spec,
            "unsupervised_topic": self.unlabelled,
            "input_format": self.input_format,
            "description": description,
            "dataset_restrictions": json.dumps(restrictions or {}),
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
    One thread at a time may send.

    Attributes:
        topic: of the labelled stream; it is made if it is not there, and what it holds already is no part of the stream.
        acknowledged: records of both streams that all replicas have.
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
            control_topic: where the stream is announced; None = nowhere.
            limit_s: the longest that a record may wait to be acknowledged, and a request to be answered, in seconds.
            config: more of librdkafka's configuration, such as security.protocol and sasl.password.

        Raises:
            ValueError: one of them cannot be.
        """
        encoding_of(input_format)
        if not (validation_rate >= 0 and test_rate >= 0 and validation_rate + test_rate < 1):
            raise ValueError(f"validation_rate={validation_rate} and test_rate={test_rate}: give shares whose sum is below 1")
        if unlabelled_topic == topic:
            raise ValueError(f"both streams on topic {topic}: give the unlabelled one a topic of its own")
        if deployment_id < 0:
            raise ValueError(f"deployment_id={deployment_id}: give the number that Kafka-ML has given, from 0")
        self.topic = topic
        self.acknowledged = 0
        self._bootstrap = bootstrap
        self._format = input_format
        self._dtypes = dtype, label_dtype
        self._partitions = partitions
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
        self._limit_s = limit_s
        self._config = {"bootstrap.servers": bootstrap, "client.id": f"device-{topic}", "log_level": 2, **(config or {})}
        self._producer: Producer | None = None  # within the `with`
        self._encoder: Encoder | None = None  # from the first sample on
        self._logs: dict[str, _Log] = {}
        self._refused: str | None = None
        self._is_announced = False
        self._sending = threading.Lock()

    def __enter__(self) -> Self:
        admin = AdminClient(self._config)
        topics = [topic for topic in (self.topic, self._unlabelled) if topic is not None]
        self._logs = {topic: _Log(self._prepared(admin, topic)) for topic in topics}
        limit_ms = int(self._limit_s * 1000)
        writing = {"enable.idempotence": True, "linger.ms": LINGER_MS, "delivery.timeout.ms": limit_ms}
        self._producer = Producer(writing | self._config)
        return self

    def __exit__(self, kind: type[BaseException] | None, _exc: BaseException | None, _tb: TracebackType | None) -> None:
        try:
            if kind is None:
                self.flush()
                if not self._is_announced:
                    self._announce()
        except BaseException:
            self._tell_unannounced()
            raise
        else:
            if kind is not None:
                self._tell_unannounced()
        finally:
            if self._producer is not None:
                self._producer.purge()
            self._producer = None

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
        if y is None:
            raise ValueError("a sample without a label: send it with send_unlabelled")
        with self._sending:
            encoder = self._labelled(x, y)
            values, keys = encoder.values(encoder.data.row(x)), encoder.keys(encoder.label.row(y))
            self._produce(self.topic, keys, values, None if partition is None else [partition])

    def send_many(self, features: Array, labels: Array, partitions: Sequence[int] | None = None) -> None:
        """Send several samples.

        Args:
            features: (n, *data_shape).
            labels: (n, *label_shape).
            partitions: where each goes; None = in turn.

        Raises:
            ValueError, PeerError: as `send` has it.
        """
        if len(features) != len(labels):
            raise ValueError(f"{len(features)} data and {len(labels)} labels: expected one label a datum")
        if not len(features):
            return
        with self._sending:
            encoder = self._labelled(features[0], labels[0])
            values, keys = encoder.values(encoder.data.rows(features)), encoder.keys(encoder.label.rows(labels))
            self._produce(self.topic, keys, values, partitions)

    def send_unlabelled(self, x: object, partition: int | None = None) -> None:
        """Send a sample to the unlabelled stream, once there is a labelled one; arguments and errors as `send` has them."""
        if self._unlabelled is None:
            raise ValueError("no topic for samples without a label: give unlabelled_topic")
        with self._sending:
            if self._encoder is None:
                raise ValueError("no labelled sample was sent yet, which tells how both streams are read: send one first")
            [value] = self._encoder.values(self._encoder.data.row(x))
            if self._is_moving and not self._is_announced:
                self._flush()
                self._announce()
            self._produce(self._unlabelled, [NOTHING], [value], None if partition is None else [partition])

    def flush(self) -> None:
        """Wait until all that was sent is acknowledged.

        Raises:
            PeerError: some of it was refused, or not acknowledged within the limit.
        """
        with self._sending:
            self._flush()

    @property
    def stream(self) -> Stream:
        """What was acknowledged, as it would be announced.

        Raises:
            PeerError: someone else has written between the records.
            ValueError: nothing was sent, so nobody knows how it is read.
        """
        if self._encoder is None:
            raise ValueError(f"topic {self.topic}: nothing was sent, so there is nothing to announce")
        made = Stream(self._spec(self.topic), self._format, self._encoder.config, self._logs[self.topic].count)
        if self._unlabelled is not None:
            unlabelled = self._unlabelled if self._is_moving else self._spec(self._unlabelled)
            return replace(made, unlabelled=unlabelled or None, is_moving=self._is_moving)
        return replace(made, spec=self.topic, total=None, is_moving=True) if self._is_moving else made

    def _labelled(self, x: object, y: object) -> Encoder:
        """The encoder of all samples, after the first of them has been looked at."""
        self._check()
        if self._is_announced and (not self._is_moving or self._unlabelled is not None):
            raise ValueError(f"the stream on {self.topic} is announced, and whole: begin another one")
        if self._encoder is None:
            data, label = (Layout.of(one, dtype) for one, dtype in zip((x, y), self._dtypes, strict=True))
            encoder = Encoder(self._format, data, label)
            encoder.values(data.row(x))  # what cannot be sent settles nothing
            encoder.keys(label.row(y))
            self._encoder = encoder
            if self._is_moving and self._unlabelled is None:
                self._announce()
        return self._encoder

    def _produce(self, topic: str, keys: Sequence[bytes], values: Sequence[bytes], partitions: Sequence[int] | None) -> None:
        producer, written = self._check(), self._logs[topic]
        for index, (key, value) in enumerate(zip(keys, values, strict=True)):
            partition = written.next_partition() if partitions is None else partitions[index]
            while True:
                try:
                    producer.produce(topic, value, key, partition, on_delivery=self._delivered)
                    break
                except BufferError:  # its queue is full: let it send
                    producer.poll(_POLL_S)
                    self._check()
                except KafkaException as exc:
                    raise PeerError(f"{topic}: a record of {len(value)} bytes was not taken: {exc.args[0].str()}") from exc
            written.sent += 1
        producer.poll(0)
        self._check()

    def _delivered(self, error: KafkaError | None, message: Message) -> None:
        topic, partition = message.topic() or "", message.partition() or 0
        if error is not None:
            self._refused = self._refused or f"{topic}[{partition}] at {self._bootstrap}: {error.str()}"
            return
        self.acknowledged += 1
        if topic in self._logs:
            self._logs[topic].take(partition, message.offset() or 0)

    def _check(self) -> Producer:
        if self._producer is None:
            raise ValueError("the device is not open: send within its `with`")
        if self._refused is not None:
            left = sum(one.sent - one.count for one in self._logs.values())
            raise PeerError(f"{left} records were not acknowledged, the first: {self._refused}")
        return self._producer

    def _flush(self) -> None:
        producer = self._check()
        while producer.flush(_POLL_S):  # librdkafka gives up each record after the limit, and tells of it
            pass
        self._check()

    def _announce(self) -> None:
        if self._control_topic is None:
            self._is_announced = True
            return
        stream = self.stream
        if self._format not in BACKENDS_FORMATS:
            log.warning("Kafka-ML's own backend takes %s alone, and starts no worker for JSON", " and ".join(BACKENDS_FORMATS))
        text = json.dumps(stream.announcement(**self._told))
        producer = self._check()
        producer.produce(self._control_topic, text.encode(), self._key, on_delivery=self._delivered)
        self._flush()
        self._is_announced = True
        log.info("announced on %s: %s", self._control_topic, text)

    def _tell_unannounced(self) -> None:
        if not self._is_announced:
            written = ", ".join(f"{one.count} of {one.sent} records on {topic}" for topic, one in self._logs.items())
            log.warning("the stream is not announced; acknowledged: %s", written)

    def _spec(self, topic: str) -> str:
        written = self._logs[topic]
        if written.strangers:
            raise PeerError(
                f"{topic}[{min(written.strangers)}]: the records do not stand one after the other: someone else writes there"
            )
        ranges = [StreamRange(topic, number, start, end) for number, (start, end) in sorted(written.ranges.items())]
        return ",".join(map(str, ranges))

    def _prepared(self, admin: AdminClient, topic: str) -> int:
        """Make a topic, if it is not there; returns how many partitions it has."""
        try:
            [looked] = admin.describe_topics(TopicCollection([topic]), request_timeout=self._limit_s).values()
            try:
                return len(looked.result(self._limit_s).partitions)
            except KafkaException as exc:
                if exc.args[0].code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
                    raise
            [made] = admin.create_topics([NewTopic(topic, self._partitions)], request_timeout=self._limit_s).values()
            made.result(self._limit_s)
        except (KafkaException, TimeoutError) as exc:
            raise PeerError(f"topic {topic} cannot be looked at or made at {self._bootstrap}: {exc}") from exc
        return self._partitions


class _Log:
    """What was sent to a topic, and what of it is acknowledged.

    Attributes:
        ranges: first offset, and the one after the last, of each partition.
        strangers: partitions in which something else stands between.
    """

    def __init__(self, partitions: int) -> None:
        self.sent = self.count = 0
        self.ranges: dict[int, tuple[int, int]] = {}
        self.strangers: set[int] = set()
        self._partitions = partitions

    def next_partition(self) -> int:
        return self.sent % self._partitions

    def take(self, partition: int, offset: int) -> None:
        """Note an acknowledged record; those of a partition come in order."""
        start, end = self.ranges.get(partition, (offset, offset))
        if offset != end:
            self.strangers.add(partition)
        self.ranges[partition] = (start, offset + 1)
        self.count += 1


def round_robin(count: int, partitions: int) -> list[int]:
    """The partition of each of `count` records, dealt in turn."""
    return [index % partitions for index in range(count)]


def in_runs(count: int, partitions: int) -> list[int]:
    """The partition of each of `count` records, the first share to the first partition and so on."""
    return [index * partitions // count for index in range(count)]


DEALS = {"round-robin": round_robin, "runs": in_runs}


def write_stream(  # noqa: PLR0913 - what a stream is, where it goes, and how it is dealt
    bootstrap: str,
    topic: str,
    features: Array,
    labels: Array,
    input_format: str,
    *,
    partitions: int = 1,
    deal: str = "round-robin",
    control_topic: str | None = None,
    **told: Any,
) -> Stream:
    """Write samples to a topic, which is made if it is not there; returns when all are acknowledged.

    Args:
        bootstrap: host:port list of the device's Kafka.
        topic: where they go; what it holds already stays, and is no part of the stream.
        features: (n, *data_shape), numbers.
        labels: (n, *label_shape), numbers.
        input_format: RAW, AVRO or JSON.
        partitions: of the topic.
        deal: a key of DEALS, how records come to partitions.
        control_topic: where it is announced; None = nowhere.
        told: what is announced of it, as Device takes it.

    Raises:
        ValueError: an unknown format or deal, or not one label a datum.
        PeerError: Kafka refuses, or someone else writes there at the same time.
    """
    if deal not in DEALS:
        raise ValueError(f"no way to deal {deal!r}: choose from {', '.join(DEALS)}")
    with Device(bootstrap, topic, input_format, partitions=partitions, control_topic=control_topic, **told) as device:
        device.send_many(features, labels, DEALS[deal](len(features), partitions))
        device.flush()
        return device.stream
