"""Distributed classic training (CASE 3): a model of two sub-models, both trained by two devices with half of the digits each.

Sub-model `edge` is small and predicts by itself; it hands what it has found in an image on to sub-model `cloud`, which predicts
better.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from demo.classic import ROUNDS, VALIDATION_RATE, write_digits
from demo.course import Course
from demo.datasets import split_digits
from demo.models import SUB_MODELS, chained_digits_model
from demo.rounds import Round
from demo.stage import Outcome, stage
from protocol.records import Array

TRAINING_SETTINGS = {"batch": 32, "kwargs_fit": {"epochs": 3}, "kwargs_val": {}, "N": len(SUB_MODELS), "unsupervised": False}
GOOD_ACCURACY = {"edge": 0.88, "cloud": 0.92}
ROW = "{:>5}  {:<14} {:>7} {:>10} {:>17} {:>10} {:>18} {:>13} {:>14}"
HEAD = ("round", "client", "samples", "edge_loss", "val_edge_accuracy", "cloud_loss", "val_cloud_accuracy")


def run(dialect: str) -> Outcome:
    """Run the demo.

    Args:
        dialect: a key of LIBRARIES, the Keras that the cloud speaks.

    Raises:
        DemoError: something failed; everything has been ended and removed by then.
    """
    digits = split_digits()
    with stage() as here:
        for name, stream in write_digits(here, digits).items():
            here.start_worker(name, stream, validation_rate=VALIDATION_RATE, CASE="3")
        model = chained_digits_model(dialect)
        announced = here.announced(model, dialect, TRAINING_SETTINGS, ROUNDS)
        print(ROW.format(*HEAD, *(f"held-out {name}" for name in SUB_MODELS)))
        accuracies, course = dict.fromkeys(SUB_MODELS, 0.0), Course()
        for number, one in enumerate(here.cloud.run(announced, rounds=ROUNDS, clients=len(here.names))):
            accuracies = held_out_accuracies(model, one.arrays, digits.held_out, digits.held_out_labels)
            print("\n".join(table_rows(number, one, here.names, accuracies)), flush=True)
            course.add(number, one.replies, here.names)
            for name, accuracy in accuracies.items():
                course.note(number, accuracy, f"{name}_accuracy")
        here.end()
    low = [name for name, accuracy in accuracies.items() if accuracy < GOOD_ACCURACY[name]]
    fault = None
    if low:
        fault = f"that is less of {low[0]} than the {GOOD_ACCURACY[low[0]]:.0%} that this model and these data reach"
    told = " and ".join(f"{accuracy:.2%} by {name}" for name, accuracy in accuracies.items())
    return Outcome(f"global model: {told} of the held-out digits right", course, fault)


def held_out_accuracies(model: Any, arrays: Sequence[Array], features: Array, labels: Array) -> dict[str, float]:
    """The share of samples, 0 to 1, that each output of a model with these weights gets right."""
    model.set_weights(arrays)
    predicted = model.predict(features, verbose=0, batch_size=len(features))
    return {name: float(np.mean(one.argmax(axis=-1) == labels)) for name, one in zip(SUB_MODELS, predicted, strict=True)}


def table_rows(number: int, one: Round, names: Mapping[str, str], accuracies: Mapping[str, float]) -> list[str]:
    """A line a client, with the numbers of its last epoch, and one for the global model after them."""
    rows = []
    for reply in sorted(one.replies, key=lambda reply: names[reply.client]):
        shown = []
        for name in SUB_MODELS:
            shown += [reply.metrics["training"][f"{name}_loss"][-1], reply.metrics["validation"][f"{name}_accuracy"][-1]]
        rows.append((number, names[reply.client], reply.num_data, *(f"{value:.4f}" for value in shown), "", ""))
    total = sum(reply.num_data for reply in one.replies)
    rows.append((number, "global model", total, "", "", "", "", *(f"{value:.4f}" for value in accuracies.values())))
    return [ROW.format(*row).rstrip() for row in rows]
