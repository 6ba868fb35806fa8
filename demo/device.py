"""A device: writes a data set to its Kafka as a labelled stream, and tells the environment of the Job that trains on it.

`python -m demo.device --help` does so for one of scikit-learn's data sets, and prints the environment for a shell.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from confluent_kafka import KafkaError, KafkaException, Message, Producer

from demo.datasets import LOADERS, load
from demo.errors import DemoError, PeerError
from demo.formats import ENCODINGS, encode
from demo.topics import create_topic
from protocol.records import Array
from protocol.stream_spec import StreamRange

WRITE_LIMIT_S = 120.0
_POLL_S = 0.1


@dataclass(frozen=True, slots=True)
class Stream:
    """A labelled stream that stands on a Kafka.

    Attributes:
        spec: its stream spec, topic:partition:start:end for each partition that has records.
        input_format, input_config: how its records are read, as INPUT_FORMAT and INPUT_CONFIG tell it.
        total: how many records it has.
    """

    spec: str
    input_format: str
    input_config: Mapping[str, Any]
    total: int


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

    Raises:
        ValueError: an unknown format or deal, or not one label a datum.
        PeerError: Kafka refuses, or someone else writes there at the same time.
    """
    if deal not in DEALS:
        raise ValueError(f"no way to deal {deal!r}: choose from {', '.join(DEALS)}")
    keys, values, input_config = encode(features, labels, input_format)
    create_topic(bootstrap, topic, partitions)
    offsets = _send(bootstrap, topic, keys, values, DEALS[deal](len(values), partitions))
    return Stream(_spec(topic, offsets), input_format, input_config, len(values))


def job_environment(  # noqa: PLR0913 - an argument for each thing that the backend knows
    stream: Stream,
    *,
    cloud_bootstrap: str,
    data_bootstrap: str,
    model_id: str,
    validation_rate: float,
    test_rate: float,
    client_id: str | None = None,
) -> dict[str, str]:
    """The environment that the edge backend gives to the Job of a stream and a model, and nothing else.

    Args:
        stream: what to train on.
        cloud_bootstrap: host:port list of the cloud's Kafka.
        data_bootstrap: host:port list of the device's Kafka.
        model_id: the federation's id.
        validation_rate: share of the stream in [0, 1).
        test_rate: share of the stream in [0, 1).
        client_id: the client's id; without one the variable is absent, as older backends leave it.
    """
    client = {} if client_id is None else {"FEDERATED_CLIENT_ID": client_id}
    return {
        "KML_CLOUD_BOOTSTRAP_SERVERS": cloud_bootstrap,
        "DATA_BOOTSTRAP_SERVERS": data_bootstrap,
        "DATA_TOPIC": stream.spec,
        "UNSUPERVISED_TOPIC": "None",
        "INPUT_FORMAT": stream.input_format,
        "INPUT_CONFIG": json.dumps(stream.input_config),
        "VALIDATION_RATE": f"{validation_rate:.6f}",
        "TEST_RATE": f"{test_rate:.6f}",
        "TOTAL_MSG": str(stream.total),
        "FEDERATED_MODEL_ID": model_id,
        "CASE": "1",
        "NVIDIA_VISIBLE_DEVICES": "all",
        **client,
    }


def export_lines(environment: Mapping[str, str]) -> str:
    """The environment as lines that a POSIX shell reads."""
    return "".join(f"export {name}={shlex.quote(value)}\n" for name, value in environment.items())


def _send(
    bootstrap: str, topic: str, keys: Sequence[bytes], values: Sequence[bytes], partitions: Sequence[int]
) -> dict[int, list[int]]:
    """Send records; returns the offsets of each partition, in the order of the records."""
    offsets: dict[int, list[int]] = defaultdict(list)
    refusals: list[str] = []

    def acknowledged(error: KafkaError | None, message: Message) -> None:
        if error is not None:
            refusals.append(error.str())
        else:
            offsets[message.partition() or 0].append(message.offset() or 0)

    # Idempotent: nothing twice and nothing out of order, whatever has to be sent again.
    producer = Producer({"bootstrap.servers": bootstrap, "enable.idempotence": True, "linger.ms": 20, "log_level": 2})
    for key, value, partition in zip(keys, values, partitions, strict=True):
        while True:
            try:
                producer.produce(topic, value, key, partition, on_delivery=acknowledged)
                break
            except BufferError:  # its queue is full: let it send
                producer.poll(_POLL_S)
            except KafkaException as exc:
                raise PeerError(f"{topic}: a record of {len(value)} bytes was not taken: {exc}") from exc
    left = producer.flush(WRITE_LIMIT_S)
    if left or refusals:
        refused = f", {len(refusals)} refused, the first: {refusals[0]}" if refusals else ""
        raise PeerError(f"{topic} at {bootstrap}: {left} of {len(values)} records were not acknowledged{refused}")
    return offsets


def _spec(topic: str, offsets: Mapping[int, Sequence[int]]) -> str:
    ranges = []
    for partition, its in sorted(offsets.items()):
        if not np.array_equal(its, np.arange(its[0], its[0] + len(its))):
            raise PeerError(f"{topic}[{partition}]: the records do not stand one after the other: someone else writes there")
        ranges.append(StreamRange(topic, partition, its[0], its[-1] + 1))
    return ",".join(map(str, ranges))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m demo.device",
        description="Write a data set to a Kafka as a labelled stream, and print the environment of a worker for it.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("--bootstrap", required=True, help="host:port list of the device's Kafka")
    add("--cloud-bootstrap", help="host:port list of the cloud's Kafka, where it is another one")
    add("--dataset", choices=sorted(LOADERS), default="digits", help="one of scikit-learn's data sets")
    add("--format", choices=list(ENCODINGS), default="RAW", help="how the records are written")
    add("--topic", help="topic to write to; the data set's name if not given")
    add("--partitions", type=int, default=1, help="partitions of the topic")
    add("--deal", choices=list(DEALS), default="round-robin", help="how records come to partitions")
    add("--model-id", default="demo", help="id of the federation")
    add("--client-id", help="id of the client; without one the variable is left out")
    add("--validation-rate", type=float, default=0.2, help="share of the stream to validate with")
    add("--test-rate", type=float, default=0.0, help="share of the stream to hold back for test")
    return parser.parse_args()


def main() -> int:
    """Write what the command line asks for, and print the environment."""
    wanted = _arguments()
    topic = wanted.topic or wanted.dataset
    try:
        features, labels = load(wanted.dataset)
        stream = write_stream(
            wanted.bootstrap, topic, features, labels, wanted.format, partitions=wanted.partitions, deal=wanted.deal
        )
    except DemoError as exc:
        print(exc, file=sys.stderr)
        return 1
    environment = job_environment(
        stream,
        cloud_bootstrap=wanted.cloud_bootstrap or wanted.bootstrap,
        data_bootstrap=wanted.bootstrap,
        model_id=wanted.model_id,
        validation_rate=wanted.validation_rate,
        test_rate=wanted.test_rate,
        client_id=wanted.client_id,
    )
    print(export_lines(environment), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
