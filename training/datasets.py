"""Samples as tf.data pipelines that hand out whole batches."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, final

from protocol.records import Samples
from training.split import Split


@final
class Batches:
    """Samples that every epoch of every round is served from: TensorFlow gets them once."""

    def __init__(self, samples: Samples) -> None:
        self.samples = samples

    def __len__(self) -> int:
        return len(self.samples)

    @cached_property
    def _tensors(self) -> tuple[Any, Any]:
        import tensorflow as tf  # noqa: PLC0415 - seconds of start-up

        return tf.constant(self.samples.features), tf.constant(self.samples.labels)

    def dataset(self, batch: int, *, shuffle_seed: int | None = None, repeat: bool = False) -> Any:
        """A tf.data.Dataset of (features, labels), each batch cut from the arrays at once.

        Args:
            batch: samples a batch; the last one of an epoch may be smaller.
            shuffle_seed: draw a new order for every epoch, the same ones for the same seed; None keeps the stream's order.
            repeat: start again at the end, for whoever counts steps.
        """
        import tensorflow as tf  # noqa: PLC0415 - seconds of start-up

        total = len(self)
        features, labels = self._tensors
        if shuffle_seed is None:
            starts = tf.data.Dataset.range(0, total, batch)
            dataset = starts.map(lambda start: (features[start : start + batch], labels[start : start + batch]))
        else:
            indexes = tf.data.Dataset.range(total).shuffle(total, seed=shuffle_seed).batch(batch)
            dataset = indexes.map(lambda chosen: (tf.gather(features, chosen), tf.gather(labels, chosen)))
        if repeat:
            dataset = dataset.repeat()
        return dataset.prefetch(tf.data.AUTOTUNE)


@dataclass(frozen=True, slots=True)
class FitData:
    """The parts of a split, ready to be served. Validation and test may be empty."""

    training: Batches
    validation: Batches
    test: Batches

    @classmethod
    def of(cls, split: Split) -> FitData:
        return cls(Batches(split.training), Batches(split.validation), Batches(split.test))
