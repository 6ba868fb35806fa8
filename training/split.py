"""Cutting a stream into what is trained on, validated on and tested on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from protocol.errors import DataError
from protocol.records import Array, Samples

GROUPED_SHARE = 0.1  # of the label changes that a shuffled stream has; below it, classes come in blocks


@dataclass(frozen=True, slots=True)
class Split:
    """Parts of one stream, in stream order. Validation and test may be empty."""

    training: Samples
    validation: Samples
    test: Samples


def split(samples: Samples, *, validation_rate: float, test_rate: float) -> Split:
    """Cut a bounded stream into training, validation and test samples, in stream order.

    The training part has int((1 - (validation_rate + test_rate)) * n) samples, in floating point as Kafka-ML computes it, so
    that its numbers are those of the public worker; the test part int(test_rate * n); validation what is between them.

    Args:
        samples: the whole stream.
        validation_rate, test_rate: shares of n in [0, 1), not percentages.

    Raises:
        DataError: no sample would be left to train on.

    Source: Kafka-ML's federated training Job, training size of a classic training.
    """
    total = len(samples)
    training = int((1 - (validation_rate + test_rate)) * total)
    test = min(int(test_rate * total), total - training)
    if training < 1:
        raise DataError(
            f"a stream of {total} samples with VALIDATION_RATE={validation_rate:g} and TEST_RATE={test_rate:g} leaves none to "
            "train on: send more, or lower the rates"
        )
    return Split(
        training=_part(samples, 0, training),
        validation=_part(samples, training, total - test),
        test=_part(samples, total - test, total),
    )


def is_grouped(labels: Array) -> bool:
    """Whether equal labels stand together far more than chance puts them.

    Compares how often neighbours differ with how often they would in a shuffled stream, n - 1 times the chance that two samples
    differ. Labels that hardly repeat, as a regression's, are never grouped.

    Args:
        labels: shape (n, *label_shape).
    """
    flat = labels.reshape(len(labels), -1)
    if flat.dtype == object:
        flat = flat.astype(np.bytes_)  # text, which numpy finds no unique rows of
    if len(flat) < 2:  # noqa: PLR2004 - no neighbours
        return False
    changes = int((flat[1:] != flat[:-1]).any(axis=1).sum())
    _values, counts = np.unique(flat, axis=0, return_counts=True)
    shares = counts / len(flat)
    expected = (len(flat) - 1) * (1 - float((shares**2).sum()))
    return 0 < changes < GROUPED_SHARE * expected


def _part(samples: Samples, start: int, end: int) -> Samples:
    return Samples(samples.features[start:end], samples.labels[start:end])
