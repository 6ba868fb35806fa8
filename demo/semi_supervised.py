"""Semi-supervised training: two devices that know the labels of a tenth of their digits.

Two federations with the same model run side by side: one trains on the labelled digits alone, the other labels the rest as far
as it is sure, too. The second must end better.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from sklearn.model_selection import train_test_split

from demo.course import Course
from demo.datasets import SPLIT_SEED, split_digits
from demo.device import Device, Stream
from demo.models import digits_model
from demo.stage import Outcome, Stage, beside, held_out_accuracy, say, stage
from protocol.records import Array

ROUNDS = 5
DEVICES = 2
LABELLED_RATE = 0.1
VALIDATION_RATE = 0.1
LABELLED_SETTINGS: Mapping[str, Any] = {
    "batch": 16,
    "kwargs_fit": {"epochs": 5, "shuffle": True},
    "kwargs_val": {},
    "unsupervised": False,
}
TRAINING_SETTINGS = {**LABELLED_SETTINGS, "unsupervised": True, "unsupervised_rounds": 3, "confidence": 0.9}
LEAST_RISE = 0.005
ROW = "{:>5} {:>22} {:>22} {:>8}"


def run(dialect: str) -> Outcome:
    """Run the demo.

    Args:
        dialect: a key of LIBRARIES, the Keras that the cloud speaks.

    Raises:
        DemoError: something failed; everything has been ended and removed by then.
    """
    digits = split_digits()
    vectors = digits.images.reshape(len(digits.images), -1)
    known, rest, known_labels, _unknown = train_test_split(
        vectors, digits.labels, train_size=LABELLED_RATE, stratify=digits.labels, random_state=SPLIT_SEED
    )
    with stage() as alone, beside(alone) as both:
        for at in range(DEVICES):
            of_device = slice(at, None, DEVICES)
            stream = write_digits(alone, f"device-{at + 1}", known[of_device], known_labels[of_device], rest[of_device])
            alone.start_worker(f"device-{at + 1}", replace(stream, unlabelled=None), validation_rate=VALIDATION_RATE)
            both.start_worker(f"device-{at + 1}-semi", stream, validation_rate=VALIDATION_RATE)
        model = digits_model(dialect)
        first = alone.announced(model, dialect, LABELLED_SETTINGS, ROUNDS)
        second = both.announced(model, dialect, TRAINING_SETTINGS, ROUNDS)
        rounds = zip(
            alone.cloud.run(first, rounds=ROUNDS, clients=DEVICES),
            both.cloud.run(second, rounds=ROUNDS, clients=DEVICES),
            strict=True,
        )
        say("accuracy of the two global models on digits that no worker saw:")
        print(ROW.format("round", "labelled alone", "with pseudo-labels", "rise"))
        reached, course = [0.0, 0.0], Course()
        for number, pair in enumerate(rounds):
            reached = [held_out_accuracy(model, one.arrays, digits.held_out, digits.held_out_labels) for one in pair]
            print(ROW.format(number, *(f"{one:.4f}" for one in reached), f"{reached[1] - reached[0]:+.4f}"), flush=True)
            course.add(number, [reply for one in pair for reply in one.replies], {**alone.names, **both.names})
            for model_name, accuracy in zip(("labelled alone", "with pseudo-labels"), reached, strict=True):
                course.note(number, accuracy, model=model_name)
        alone.end()
    fault = None
    if reached[1] - reached[0] < LEAST_RISE:
        fault = f"that is less than the rise of {LEAST_RISE:.1%} that pseudo-labels win here at least"
    return Outcome(
        f"global model: {reached[1]:.2%} of the held-out digits right with pseudo-labels, {reached[0]:.2%} without",
        course,
        fault,
    )


def write_digits(here: Stage, name: str, known: Array, labels: Array, rest: Array) -> Stream:
    """A device writes the digits whose labels it knows, and the rest beside them."""
    topic = f"{here.model_id}-{name}"
    with Device(here.bootstrap, topic, unlabelled_topic=f"{topic}-unlabelled", control_topic=None) as device:
        device.send_many(known, labels)
        device.send_many_unlabelled(rest)
        device.flush()
        stream = device.stream
    say(f"{name} wrote {stream.total} labelled digits to {stream.spec}, {len(rest)} unlabelled to {stream.unlabelled}")
    return stream
