"""Real data that scikit-learn ships with, in an order that is shuffled but always the same."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn import datasets
from sklearn.model_selection import train_test_split

from protocol.records import Array

# They come sorted or in batches by writer; validation takes the last share of a stream, which must not be another kind.
ORDER_SEED = 7
HELD_OUT_RATE = 0.25
SPLIT_SEED = 0

LOADERS: dict[str, Callable[[], Any]] = {
    "breast_cancer": datasets.load_breast_cancer,
    "digits": datasets.load_digits,
    "iris": datasets.load_iris,
    "wine": datasets.load_wine,
}


def load(name: str) -> tuple[Array, Array]:
    """Features and labels of a data set.

    Args:
        name: a key of LOADERS.

    Returns:
        Features: digits (1797, 8, 8) uint8 of 0 to 16, the others (n, features) float32. Labels: (n,) uint8.
    """
    data = LOADERS[name]()
    features = data.images.astype(np.uint8) if name == "digits" else data.data.astype(np.float32)
    order = np.random.default_rng(ORDER_SEED).permutation(len(features))
    return features[order], data.target[order].astype(np.uint8)


@dataclass(frozen=True, slots=True)
class Digits:
    """The digits, some of which no worker sees.

    Attributes:
        images, labels: for the devices: (n, 8, 8) and (n,), uint8.
        held_out, held_out_labels: the others: (m, 64) and (m,).
    """

    images: Array
    labels: Array
    held_out: Array
    held_out_labels: Array


def split_digits() -> Digits:
    """Hold HELD_OUT_RATE of the digits back, of each as many in proportion."""
    images, labels = load("digits")
    train, held_out, train_labels, held_out_labels = train_test_split(
        images, labels, test_size=HELD_OUT_RATE, stratify=labels, random_state=SPLIT_SEED
    )
    return Digits(train, train_labels, held_out.reshape(len(held_out), -1), held_out_labels)
