"""An epoch goes through the training part and what was added to it as if they were one stream."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from protocol.records import Array, Samples
from tests.support.streams import PLENTY, kept
from training.datasets import FitData
from training.split import split
from training.stopping import Stop
from training.unlabelled import PseudoLabelled, Unlabelled

SEED = 7


def unlabelled(features: Array, **options: Any) -> Unlabelled:
    return Unlabelled(kept(Samples(features, np.empty((len(features), 0), np.uint8)), **options), Stop())


def numbered(total: int, first: int = 0) -> Samples:
    numbers = np.arange(first, first + total)
    return Samples(numbers.astype(np.float32).reshape(-1, 1), numbers.astype(np.uint8))


def joined(places: list[int], **options: Any) -> FitData:
    """Seven labelled samples numbered from 0 to 6 to train on, and behind them some of twenty numbered from 100 on."""
    source = unlabelled(numbered(20, 100).features, **options)
    data = FitData(kept(numbered(10), **options), split(10, validation_rate=0.3, test_rate=0), Stop())
    labels = np.array(places, np.uint8) + 100
    return data.with_added(PseudoLabelled(source, np.array(places), labels))


def plainly(places: list[int]) -> FitData:
    """The same samples in one stream."""
    numbers = np.array([*range(7), *(100 + place for place in places)])
    return FitData(
        kept(Samples(numbers.astype(np.float32).reshape(-1, 1), numbers.astype(np.uint8))),
        split(len(numbers), validation_rate=0, test_rate=0),
        Stop(),
    )


def rows(dataset: Any) -> list[tuple[list[float], list[int]]]:
    return [(features.numpy()[:, 0].tolist(), labels.numpy().tolist()) for features, labels in dataset]


@pytest.mark.parametrize("memory_bytes", [PLENTY, 1])
@pytest.mark.parametrize("shuffle_seed", [None, SEED])
@pytest.mark.parametrize(("batch", "places"), [(3, [3, 17, 4, 5, 19, 0]), (7, [3, 17, 4, 5, 19, 0]), (50, [0])])
def test_an_epoch_goes_through_both_streams_as_if_they_were_one(
    places: list[int], batch: int, shuffle_seed: int | None, memory_bytes: int, tmp_path: Path
) -> None:
    both = joined(places, memory_bytes=memory_bytes, folder=tmp_path)
    dataset = both.training(batch, shuffle_seed=shuffle_seed)
    assert dataset.element_spec == both.dataset(range(7), batch).element_spec  # so that Keras needs no other trace
    assert int(dataset.cardinality()) == -(-(7 + len(places)) // batch)
    expected = plainly(places).training(batch, shuffle_seed=shuffle_seed)
    for _epoch in range(2):
        assert rows(dataset) == rows(expected)


def test_text_goes_along() -> None:
    texts = np.array([b"one", b"two", b"three"], object)
    data = FitData(kept(Samples(texts[:2], np.arange(2))), split(2, validation_rate=0, test_rate=0), Stop())
    both = data.with_added(PseudoLabelled(unlabelled(texts), np.array([2]), np.array([7])))
    [[features, labels]] = list(both.training(5))
    assert (features.numpy().tolist(), labels.numpy().tolist()) == ([b"one", b"two", b"three"], [0, 1, 7])
    assert sorted(rows_of_text(both.training(2, shuffle_seed=SEED))) == [b"one", b"three", b"two"]


def rows_of_text(dataset: Any) -> list[bytes]:
    return [text for features, _labels in dataset for text in features.numpy()]


def test_validation_stays_the_labelled_streams() -> None:
    both = joined([3, 4])
    assert rows(both.dataset(both.split.validation, 10)) == [([7.0, 8.0, 9.0], [7, 8, 9])]


def test_neither_stream_is_copied() -> None:
    both = joined([3, 17])
    assert both.added is not None
    source = both.added.source
    source.kept.samples.features[17, 0] = -1
    both.kept.samples.features[6, 0] = -2
    assert rows(both.training(100))[0][0] == [0, 1, 2, 3, 4, 5, -2, 103, -1]


@pytest.mark.parametrize("shuffle_seed", [None, SEED])
def test_labels_come_once_for_each_output(shuffle_seed: int | None) -> None:
    both = joined([3])
    [(_features, labels)] = list(both.training(100, outputs=3, shuffle_seed=shuffle_seed))
    assert len(labels) == 3
    for one in labels:
        np.testing.assert_array_equal(np.sort(one.numpy()), [*range(7), 103])
