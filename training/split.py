"""Cutting a stream into what is trained on, validated on and tested on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from protocol.errors import DataError
from protocol.records import Array

GROUPED_SHARE = 0.1  # of the label changes that a shuffled stream has; below it, classes come in blocks
MAX_ASKED = 10_000  # neighbours
MAX_ASKED_BYTES = 2**23


@dataclass(frozen=True, slots=True)
class Split:
    """Parts of one stream, as ranges of its samples. Validation and test may be empty."""

    training: range
    validation: range
    test: range


def split(total: int, *, validation_rate: float, test_rate: float, least: int = 0) -> Split:
    """Cut a bounded stream, or a window of a moving one, into training, validation and test samples, in stream order.

    The training part has int((1 - (validation_rate + test_rate)) * n) samples, in floating point as Kafka-ML computes it, so
    that its numbers are those of the public worker; the test part int(test_rate * n); validation what is between them.

    Args:
        total: n, samples of the whole stream.
        validation_rate, test_rate: shares of n in [0, 1), not percentages.
        least: samples that are trained on whatever the rates are, as far as there are any.

    Raises:
        DataError: no sample would be left to train on.

    Source: Kafka-ML's federated training Job, training size of a classic training.
    """
    training = min(max(least, int((1 - (validation_rate + test_rate)) * total)), total)
    test = min(int(test_rate * total), total - training)
    if training < 1:
        raise DataError(
            f"a stream of {total} samples with VALIDATION_RATE={validation_rate:g} and TEST_RATE={test_rate:g} leaves none to "
            "train on: send more, or lower the rates"
        )
    return Split(range(training), range(training, total - test), range(total - test, total))


def is_grouped(labels: Array) -> bool:
    """Whether equal labels stand together far more than chance puts them.

    Compares how often neighbours differ with how often they would in a shuffled stream, the chance that two samples differ.
    Labels that hardly repeat, as a regression's, are never grouped. Of a long stream some neighbours, evenly spread, are asked.

    Args:
        labels: shape (n, *label_shape).
    """
    if len(labels) < 2:  # noqa: PLR2004 - no neighbours
        return False
    most = max(1, min(MAX_ASKED, MAX_ASKED_BYTES * len(labels) // labels.nbytes))
    asked = np.arange(0, len(labels) - 1, 1 + len(labels) // most)
    flat, following = (_flat(labels[at]) for at in (asked, asked + 1))
    changes = float((flat != following).any(axis=1).mean())
    _values, counts = np.unique(flat, axis=0, return_counts=True)
    expected = 1 - float(((counts / len(flat)) ** 2).sum())
    return changes < GROUPED_SHARE * expected


def _flat(labels: Array) -> Array:
    flat = labels.reshape(len(labels), -1)
    return flat.astype(np.bytes_) if flat.dtype == object else flat  # text, which numpy finds no unique rows of
