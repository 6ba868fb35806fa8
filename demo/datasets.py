"""Real data that scikit-learn ships with, in an order that is shuffled but always the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn import datasets

from protocol.records import Array

# They come sorted or in batches by writer; validation takes the last share of a stream, which must not be another kind.
ORDER_SEED = 7

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
