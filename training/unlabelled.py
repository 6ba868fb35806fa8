"""The unlabelled stream, kept once for all rounds, and those of its samples that a model has given a label."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, final

from protocol.records import Array
from training.pipelines import as_it_is, constant, tensor
from training.stopping import Stop
from training.store import Kept


@final
class Unlabelled:
    """Serves the samples of an unlabelled stream.

    Args:
        kept: all of them; their labels have no numbers.
        stop: ends all pipelines.
    """

    def __init__(self, kept: Kept, stop: Stop) -> None:
        self.kept = kept
        self._stop = stop

    def __len__(self) -> int:
        return len(self.kept)

    @cached_property
    def features(self) -> Any:
        """Features of all samples, as a tensor on their memory."""
        return tensor(self.kept.samples.features)

    def batches(self, places: Array, batch: int) -> Any:
        """A tf.data.Dataset of the features at some places, in their order; the last batch may be smaller."""
        import tensorflow as tf  # noqa: PLC0415 - seconds of start-up

        features, wanted = self.features, constant(places)

        def cut(start: Any) -> Any:
            start = self._stop.unless_set(start)
            return tf.gather(features, wanted[start : start + batch])

        return as_it_is(tf.data.Dataset.range(0, len(places), batch).map(cut))


@dataclass(frozen=True, slots=True)
class PseudoLabelled:
    """Samples of an unlabelled stream with the labels that a model gave them.

    Attributes:
        source: the whole stream.
        places: (k,), where in it they stand.
        labels: (k, *label_shape), theirs.
    """

    source: Unlabelled
    places: Array
    labels: Array
