"""The kept stream as tf.data pipelines that hand out whole batches."""

from __future__ import annotations

import copy
from functools import cached_property
from typing import Any, final

from training.parts import Joined, Part
from training.pipelines import as_it_is, tensor
from training.split import Split
from training.stopping import Stop
from training.store import Kept
from training.unlabelled import PseudoLabelled

_Key = tuple[range, int, int, bool]


@final
class FitData:
    """Serves the parts of a split of the kept stream to every epoch of every round.

    TensorFlow sees the stream's memory, or its mapped file, as two tensors, and each batch is cut from them at once.

    Attributes:
        bad: records of the stream that were left out.
        added: what is trained on behind the training part.
    """

    def __init__(self, kept: Kept, split: Split, stop: Stop, bad: int = 0) -> None:
        """Serve what is kept.

        Args:
            kept: all samples.
            split: of them.
            stop: ends all pipelines.
            bad: records of the stream that were left out.
        """
        self.kept = kept
        self.split = split
        self.bad = bad
        self.added: PseudoLabelled | None = None
        self._stop = stop
        self._in_order: dict[_Key, Any] = {}

    def with_added(self, added: PseudoLabelled) -> FitData:
        """The same data, with samples of another stream behind the training part."""
        other = copy.copy(self)
        other.added = added
        return other

    @cached_property
    def _tensors(self) -> tuple[Any, Any]:
        return tensor(self.kept.samples.features), tensor(self.kept.samples.labels)

    @property
    def streams(self) -> list[Kept]:
        """All that batches are cut from."""
        return [self.kept] if self.added is None else [self.kept, self.added.source.kept]

    def first(self, outputs: int = 1) -> tuple[Any, Any]:
        """Features and label of the first sample, as a batch of one."""
        import tensorflow as tf  # noqa: PLC0415 - seconds of start-up

        features, labels = self.kept.samples.features, self.kept.samples.labels
        # Of the arrays: a GPU would take the whole tensor for it.
        return tf.constant(features[:1]), _spread(tf.constant(labels[:1]), outputs)

    def training(self, batch: int, *, outputs: int = 1, shuffle_seed: int | None = None, repeat: bool = False) -> Any:
        """What a model is trained on: the training part, and what was added to it; as `dataset` has it."""
        part = self.split.training
        if self.added is None:
            return self.dataset(part, batch, outputs=outputs, shuffle_seed=shuffle_seed, repeat=repeat)
        joined = Joined(Part(*self._tensors, part), self.added)
        return _finished(self._batches(joined, batch, outputs, shuffle_seed), repeat=repeat)

    def dataset(
        self, part: range, batch: int, *, outputs: int = 1, shuffle_seed: int | None = None, repeat: bool = False
    ) -> Any:
        """A tf.data.Dataset of (features, labels); one that keeps the order is made once.

        Args:
            part: of the split, not empty.
            batch: samples a batch; the last one of an epoch may be smaller.
            outputs: of the model; the label goes to each of them.
            shuffle_seed: draw a new order for every epoch, the same ones for the same seed; None keeps the stream's order.
            repeat: start again at the end, for whoever counts steps.
        """
        key = (part, batch, outputs, repeat)
        if shuffle_seed is None and key in self._in_order:
            return self._in_order[key]
        made = _finished(self._batches(Part(*self._tensors, part), batch, outputs, shuffle_seed), repeat=repeat)
        if shuffle_seed is None:
            self._in_order[key] = made
        return made

    def _batches(self, source: Part | Joined, batch: int, outputs: int, shuffle_seed: int | None) -> Any:
        if shuffle_seed is not None:
            return self._shuffled(source, batch, outputs, shuffle_seed)
        return self._ordered(source, batch, outputs)

    def _ordered(self, source: Part | Joined, batch: int, outputs: int) -> Any:
        import tensorflow as tf  # noqa: PLC0415 - seconds of start-up

        total = tf.constant(len(source), tf.int64)

        def cut(start: Any) -> tuple[Any, Any]:
            start = self._stop.unless_set(start)
            features, labels = source.cut(start, tf.minimum(start + batch, total))
            return features, _spread(labels, outputs)

        return tf.data.Dataset.range(0, len(source), batch).map(cut)

    def _shuffled(self, source: Part | Joined, batch: int, outputs: int, seed: int) -> Any:
        import tensorflow as tf  # noqa: PLC0415 - seconds of start-up

        total = len(source)

        def pick(start: Any, key: Any) -> tuple[Any, Any]:
            # A permutation that is computed place by place: no list of all places, however many they are.
            places = tf.range(self._stop.unless_set(start), tf.minimum(start + batch, total))
            features, labels = source.pick(tf.random.experimental.index_shuffle(places, key, total - 1))
            return features, _spread(labels, outputs)

        def epoch(key: Any) -> Any:
            starts = tf.data.Dataset.range(0, total, batch)
            return starts.map(lambda start: pick(start, tf.cast(key, tf.int32)))

        keys = tf.data.Dataset.random(seed, rerandomize_each_iteration=True).batch(2, drop_remainder=True).take(1)
        return keys.flat_map(epoch).apply(tf.data.experimental.assert_cardinality(-(-total // batch)))


def _finished(dataset: Any, *, repeat: bool) -> Any:
    return as_it_is(dataset.repeat() if repeat else dataset)


def _spread(labels: Any, outputs: int) -> Any:
    """The same labels for each of a model's outputs, which Keras 3 wants one by one."""
    return labels if outputs == 1 else (labels,) * outputs
