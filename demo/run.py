"""The whole of it with one command: a Kafka, a cloud, two devices with half of scikit-learn's digits each, two workers.

`python -m demo.run` prints each round as it happens, and ends with the accuracy of the global model on digits that no worker
saw. Its status is 0 if that is good enough and both workers ended well; a worker's own status if one died; 1 otherwise.
"""

from __future__ import annotations

import argparse
import secrets
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from types import FrameType
from typing import Any

import numpy as np
from sklearn.model_selection import train_test_split

from demo.broker import kafka
from demo.cloud import Cloud
from demo.datasets import load
from demo.device import Stream, job_environment, write_stream
from demo.errors import DemoError, WorkerDiedError
from demo.guard import guarded_folder
from demo.models import LIBRARIES, describe, digits_model
from demo.rounds import AnnouncedModel, Reply, Round
from demo.workers import Workers
from protocol.records import Array
from protocol.topics import Federation

ROUNDS = 5
TRAINING_SETTINGS = {"batch": 32, "kwargs_fit": {"epochs": 3}, "kwargs_val": {}, "unsupervised": False}
VALIDATION_RATE = 0.2
HELD_OUT_RATE = 0.25
SPLIT_SEED = 0
GOOD_ACCURACY = 0.93
END_LIMIT_S = 60.0
ROW = "{:>5}  {:<14} {:>7} {:>8} {:>8} {:>8} {:>12} {:>17}"
HEAD = ("round", "client", "samples", "loss", "accuracy", "val_loss", "val_accuracy", "held-out accuracy")


def run(dialect: str) -> float:
    """Run the demo.

    Args:
        dialect: a key of LIBRARIES, the Keras that the cloud speaks.

    Returns:
        The last global model's accuracy, 0 to 1, on the digits that no worker saw.

    Raises:
        DemoError: something failed; everything has been ended and removed by then.
    """
    digits, labels = load("digits")
    split = train_test_split(digits, labels, test_size=HELD_OUT_RATE, stratify=labels, random_state=SPLIT_SEED)
    train, held_out, train_labels, held_out_labels = split
    vectors = held_out.reshape(len(held_out), -1)
    model_id = f"demo-{secrets.token_hex(4)}"
    with ExitStack() as stack:
        folder = stack.enter_context(guarded_folder("kafka-ml-demo-"))
        say("starting a Kafka broker …")
        bootstrap = stack.enter_context(kafka())
        say(f"broker listens on {bootstrap}")
        workers = stack.enter_context(Workers(folder))
        cloud = stack.enter_context(Cloud(bootstrap, model_id, meanwhile=workers.check))
        names = {}
        for name, stream in write_digits(bootstrap, model_id, train, train_labels).items():
            say(f"device {name} wrote {stream.total} digits as {stream.input_format} to {stream.spec}")
            client_id = secrets.token_hex(4)
            names[Federation(model_id, client_id).group] = name
            environment = job_environment(
                stream,
                cloud_bootstrap=bootstrap,
                data_bootstrap=bootstrap,
                model_id=model_id,
                validation_rate=VALIDATION_RATE,
                test_rate=0.0,
                client_id=client_id,
            )
            say(f"worker {name} started as process {workers.start(name, environment)}, client id {client_id}")
        cloud.create_topics()
        model = digits_model(dialect)
        architecture, compile_args = describe(model)
        announced = AnnouncedModel(architecture, compile_args, TRAINING_SETTINGS, model.get_weights())
        say(f"cloud announces a {LIBRARIES[dialect]} model of {model.count_params()} weights, {ROUNDS} rounds")
        print(ROW.format(*HEAD))
        accuracy = 0.0
        for number, one in enumerate(cloud.run(announced, rounds=ROUNDS, clients=len(names))):
            accuracy = held_out_accuracy(model, one.arrays, vectors, held_out_labels)
            print("\n".join(table_rows(number, one, names, accuracy)), flush=True)
        workers.wait(END_LIMIT_S)
        say("both workers ended with status 0")
    return accuracy


def write_digits(bootstrap: str, model_id: str, digits: Array, labels: Array) -> dict[str, Stream]:
    """Two devices write half of the digits each: one the images' bytes, the other 64 floats of an Avro record.

    Args:
        bootstrap: host:port list of the devices' Kafka.
        model_id: goes into the topics' names, so that a broker may be used again.
        digits: (n, 8, 8) uint8; labels: (n,).

    Returns:
        The streams by the devices' names.
    """
    vectors, half = digits.reshape(len(digits), -1), len(digits) // 2
    return {
        "device-1-RAW": write_stream(bootstrap, f"{model_id}-device-1", vectors[:half], labels[:half], "RAW"),
        "device-2-AVRO": write_stream(
            bootstrap, f"{model_id}-device-2", vectors[half:].astype(np.float32), labels[half:], "AVRO", partitions=2
        ),
    }


def held_out_accuracy(model: Any, arrays: Sequence[Array], features: Array, labels: Array) -> float:
    """The share of samples that a model with these weights gets right."""
    model.set_weights(arrays)
    return float(np.mean(model.predict(features, verbose=0, batch_size=len(features)).argmax(axis=-1) == labels))


def table_rows(number: int, one: Round, names: Mapping[str, str], accuracy: float) -> list[str]:
    """A line a client, with the numbers of its last epoch, and one for the global model after them."""
    rows = [
        (number, names.get(reply.client, reply.client), reply.num_data, *_last_epoch(reply), "")
        for reply in sorted(one.replies, key=lambda reply: names.get(reply.client, reply.client))
    ]
    total = sum(reply.num_data for reply in one.replies)
    rows.append((number, "global model", total, "", "", "", "", f"{accuracy:.4f}"))
    return [ROW.format(*row).rstrip() for row in rows]


def _last_epoch(reply: Reply) -> list[str]:
    kinds = (("training", "loss"), ("training", "accuracy"), ("validation", "loss"), ("validation", "accuracy"))
    numbers = [reply.metrics[kind].get(name, [None])[-1] for kind, name in kinds]
    return ["" if number is None else f"{number:.4f}" for number in numbers]


def say(text: str) -> None:
    """Tell a person what is happening, at once."""
    print(text, flush=True)


def _stop(number: int, _frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


def main() -> int:
    """Run the demo, and turn what happens into an exit status."""
    parser = argparse.ArgumentParser(prog="python -m demo.run", description="A federated training on one machine.")
    parser.add_argument("--dialect", choices=sorted(LIBRARIES), default="keras3", help="the Keras that the cloud speaks")
    dialect = parser.parse_args().dialect
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _stop)
    started = time.monotonic()
    try:
        accuracy = run(dialect)
    except WorkerDiedError as exc:
        print(exc, file=sys.stderr)
        return exc.status if exc.status > 0 else 128 - exc.status  # a signal's number, as a shell has it
    except DemoError as exc:
        print(exc, file=sys.stderr)
        return 1
    say(f"global model: {accuracy:.2%} of the held-out digits right, after {time.monotonic() - started:.0f} s")
    if accuracy < GOOD_ACCURACY:
        print(
            f"that is less than the {GOOD_ACCURACY:.0%} that this model and these data reach: something is wrong",
            file=sys.stderr,
        )
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
