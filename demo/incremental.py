"""Single incremental training (CASE 2): two instruments that measure one sample after the other while rounds go on.

The measurements are real, scikit-learn's breast cancer data: 30 numbers of cell nuclei each, and whether the tumour was benign.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack

import numpy as np
from sklearn.model_selection import train_test_split

from demo.course import Course
from demo.datasets import load
from demo.models import measurements_model
from demo.rounds import Reply, Round
from demo.sensor import Sensor
from demo.stage import Outcome, held_out_accuracy, say, stage

ROUNDS = 6  # the last of which takes what is left, and is ended by the instruments' silence
STREAM_TIMEOUT_MS = 2_000
TRAINING_SETTINGS = {"batch": 8, "kwargs_fit": {"epochs": 1}, "stream_timeout": STREAM_TIMEOUT_MS, "unsupervised": False}
LIMITS = {"WINDOW_RECORDS": "20", "ROUND_WINDOWS": "2"}
PAUSE_S = 0.08
VALIDATION_RATE = 0.2
HELD_OUT_RATE = 0.25
SPLIT_SEED = 0
GOOD_ACCURACY = 0.9
ROW = "{:>5}  {:<17} {:>8} {:>8} {:>8} {:>9} {:>13} {:>18}"
HEAD = ("round", "client", "windows", "samples", "loss", "accuracy", "val_accuracy", "held-out accuracy")


def run(dialect: str) -> Outcome:
    """Run the demo.

    Args:
        dialect: a key of LIBRARIES, the Keras that the cloud speaks.

    Raises:
        DemoError: something failed; everything has been ended and removed by then.
    """
    measured, kinds = load("breast_cancer")
    split = train_test_split(measured, kinds, test_size=HELD_OUT_RATE, stratify=kinds, random_state=SPLIT_SEED)
    train, held_out, train_kinds, held_out_kinds = split
    middle, spread = train.mean(axis=0), train.std(axis=0)  # the instruments are set to what is usual
    train, held_out = (((part - middle) / spread).astype(np.float32) for part in (train, held_out))
    half = len(train) // 2
    parts = {"instrument-1-AVRO": slice(half), "instrument-2-JSON": slice(half, None)}
    with stage() as here, ExitStack() as stack:
        model = measurements_model(dialect, train.shape[1])
        sensors = []
        for name, part in parts.items():
            sensor = Sensor(
                here.bootstrap,
                f"{here.model_id}-{name}",
                train[part],
                train_kinds[part],
                name.split("-")[-1],
                pause_s=PAUSE_S,
            )
            here.start_worker(name, sensor.stream, validation_rate=VALIDATION_RATE, **LIMITS)
            sensors.append(stack.enter_context(sensor))
            say(f"{name} writes a measurement every {PAUSE_S * 1000:.0f} ms to {sensor.stream.spec}")
        announced = here.announced(model, dialect, TRAINING_SETTINGS, ROUNDS)
        print(ROW.format(*HEAD))
        accuracy, trained, course = 0.0, 0, Course()
        for number, one in enumerate(here.cloud.run(announced, rounds=ROUNDS, clients=len(here.names))):
            accuracy = held_out_accuracy(model, one.arrays, held_out, held_out_kinds)
            trained += sum(reply.num_data for reply in one.replies)
            print("\n".join(table_rows(number, one, here.names, accuracy)), flush=True)
            course.add(number, one.replies, here.names)
            course.note(number, accuracy)
            say(f"       measurements trained on: {trained}, written by now: {sum(sensor.written for sensor in sensors)}")
        here.end()
    fault = None
    if accuracy < GOOD_ACCURACY:
        fault = f"that is less than the {GOOD_ACCURACY:.0%} that this model and these data reach"
    if trained != len(train):
        fault = f"{trained} measurements were trained on, and {len(train)} were written"
    return Outcome(
        f"global model: {accuracy:.2%} of the held-out measurements right; the others were trained on once each", course, fault
    )


def table_rows(number: int, one: Round, names: Mapping[str, str], accuracy: float) -> list[str]:
    """A line a client, with the numbers of its last window, and one for the global model after them."""
    replies = sorted(one.replies, key=lambda reply: names.get(reply.client, reply.client))
    rows = [(number, names.get(reply.client, reply.client), *_of_round(reply), "") for reply in replies]
    total = sum(reply.num_data for reply in replies)
    rows.append((number, "global model", "", total, "", "", "", f"{accuracy:.4f}"))
    return [ROW.format(*row).rstrip() for row in rows]


def _of_round(reply: Reply) -> list[str]:
    """Windows, each of one epoch, and samples; then the numbers of the last window."""
    training, validation = reply.metrics["training"], reply.metrics["validation"]
    last = [training["loss"][-1], training["accuracy"][-1], validation["accuracy"][-1]]
    shown = ["" if number is None else f"{number:.4f}" for number in last]
    return [str(len(training["loss"])), str(reply.num_data), *shown]
