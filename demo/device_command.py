"""`python -m demo.device --help`: writes one of scikit-learn's data sets as a device, and tells a worker's environment."""

from __future__ import annotations

import argparse
import logging
import shlex
import sys
from collections.abc import Mapping, Sequence

from demo.backend import job_environment
from demo.datasets import LOADERS, load
from demo.device import CONTROL_TOPIC
from demo.errors import DemoError
from demo.formats import ENCODINGS
from demo.write import DEALS, write_stream


def export_lines(environment: Mapping[str, str]) -> str:
    """The environment as lines that a POSIX shell reads."""
    return "".join(f"export {name}={shlex.quote(value)}\n" for name, value in environment.items())


def _arguments(line: Sequence[str] | None) -> argparse.Namespace:
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
    add("--announce", action="store_true", help=f"announce the stream on {CONTROL_TOPIC}, as Kafka-ML's data sources do")
    return parser.parse_args(line)


def main(line: Sequence[str] | None = None) -> int:
    """Write what a command line asks for (None = this process's), and print the environment; returns the exit status."""
    wanted = _arguments(line)
    logging.basicConfig(format="%(message)s", level="INFO")  # to standard error: the environment goes to standard output
    topic = wanted.topic or wanted.dataset
    try:
        features, labels = load(wanted.dataset)
        stream = write_stream(
            wanted.bootstrap,
            topic,
            features,
            labels,
            wanted.format,
            partitions=wanted.partitions,
            deal=wanted.deal,
            control_topic=CONTROL_TOPIC if wanted.announce else None,
            validation_rate=wanted.validation_rate,
            test_rate=wanted.test_rate,
        )
    except (DemoError, ValueError) as exc:
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
