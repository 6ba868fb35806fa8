"""A stream is cut in its order, as the public worker cuts it."""

import numpy as np
import pytest

from protocol.errors import DataError
from training.split import is_grouped, split


def sizes(total: int, validation_rate: float, test_rate: float) -> tuple[int, int, int]:
    data = split(total, validation_rate=validation_rate, test_rate=test_rate)
    return len(data.training), len(data.validation), len(data.test)


def test_training_comes_first_then_validation_then_test() -> None:
    data = split(10, validation_rate=0.2, test_rate=0.1)
    assert (data.training, data.validation, data.test) == (range(7), range(7, 9), range(9, 10))


@pytest.mark.parametrize(
    ("total", "validation_rate", "test_rate", "expected"),
    [
        (400, 0.2, 0.0, (320, 80, 0)),
        (1603, 0.1, 0.0, (1442, 161, 0)),
        (70_000, 0.2, 0.1, (49_000, 14_000, 7_000)),
        (20, 0.8, 0.0, (3, 17, 0)),  # (1 - 0.8) * 20 is 3.99… in floating point, there as here
        (10, 0.0, 0.0, (10, 0, 0)),
        (1, 0.0, 0.0, (1, 0, 0)),
        (3, 0.0, 0.34, (1, 1, 1)),
    ],
)
def test_the_sizes_are_those_of_the_public_worker(
    total: int, validation_rate: float, test_rate: float, expected: tuple[int, int, int]
) -> None:
    assert sizes(total, validation_rate, test_rate) == expected


def test_a_split_that_leaves_nothing_to_train_on_is_an_error() -> None:
    with pytest.raises(DataError) as caught:
        split(1, validation_rate=0.5, test_rate=0.0)
    assert str(caught.value) == (
        "a stream of 1 samples with VALIDATION_RATE=0.5 and TEST_RATE=0 leaves none to train on: send more, or lower the rates"
    )


def test_labels_written_class_by_class_are_grouped() -> None:
    assert is_grouped(np.repeat([3, 1, 2], 50))
    assert is_grouped(np.repeat(np.eye(4), 50, axis=0))
    assert is_grouped(np.repeat(np.array([b"cat", b"dog"], dtype=object), 50))
    assert is_grouped(np.tile(np.repeat(np.arange(10), 40), 3))
    assert is_grouped(np.repeat(np.arange(10), 30_000))


def test_mixed_constant_and_unrepeated_labels_are_not_grouped() -> None:
    assert not is_grouped(np.random.default_rng(1).integers(0, 3, 150))
    assert not is_grouped(np.random.default_rng(1).integers(0, 3, 300_000))
    assert not is_grouped(np.zeros(100))
    assert not is_grouped(np.arange(100.0))
    assert not is_grouped(np.array([1]))
