"""The kept stream as tf.data pipelines that hand out whole batches."""

from __future__ import annotations

from functools import cached_property
from typing import Any, final

from protocol.records import Array
from training.split import Split
from training.stopping import Stop
from training.store import Kept

PREFETCHED = 1  # batches that are cut while another is trained on; more were not measured to be faster
ALIGNED_BYTES = 64  # TensorFlow ends the process over a tensor that begins elsewhere

_Key = tuple[range, int, bool]


@final
class FitData:
    """Serves the parts of a split of the kept stream to every epoch of every round.

    TensorFlow sees the stream's memory, or its mapped file, as two tensors, and each batch is cut from them at once.
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
        self._stop = stop
        self._in_order: dict[_Key, Any] = {}

    @cached_property
    def _tensors(self) -> tuple[Any, Any]:
        return _tensor(self.kept.samples.features), _tensor(self.kept.samples.labels)

    def first(self) -> tuple[Any, Any]:
        """Features and label of the first sample, as a batch of one."""
        import tensorflow as tf  # noqa: PLC0415 - seconds of start-up

        features, labels = self.kept.samples.features, self.kept.samples.labels
        return tf.constant(features[:1]), tf.constant(labels[:1])  # of the arrays: a GPU would take the whole tensor for it

    def dataset(self, part: range, batch: int, *, shuffle_seed: int | None = None, repeat: bool = False) -> Any:
        """A tf.data.Dataset of (features, labels); one that keeps the order is made once.

        Args:
            part: of the split, not empty.
            batch: samples a batch; the last one of an epoch may be smaller.
            shuffle_seed: draw a new order for every epoch, the same ones for the same seed; None keeps the stream's order.
            repeat: start again at the end, for whoever counts steps.
        """
        if shuffle_seed is not None:
            return self._finish(self._shuffled(part, batch, shuffle_seed), repeat=repeat)
        key = (part, batch, repeat)
        if key not in self._in_order:
            self._in_order[key] = self._finish(self._ordered(part, batch), repeat=repeat)
        return self._in_order[key]

    def _ordered(self, part: range, batch: int) -> Any:
        import tensorflow as tf  # noqa: PLC0415 - seconds of start-up

        features, labels = self._tensors
        end = tf.constant(part.stop, tf.int64)

        def cut(start: Any) -> tuple[Any, Any]:
            start = self._stop.unless_set(start)
            after = tf.minimum(start + batch, end)
            return features[start:after], labels[start:after]

        return tf.data.Dataset.range(part.start, part.stop, batch).map(cut)

    def _shuffled(self, part: range, batch: int, seed: int) -> Any:
        import tensorflow as tf  # noqa: PLC0415 - seconds of start-up

        features, labels = self._tensors
        total = len(part)

        def pick(start: Any, key: Any) -> tuple[Any, Any]:
            # A permutation that is computed place by place: no list of all places, however many they are.
            places = tf.range(self._stop.unless_set(start), tf.minimum(start + batch, total))
            chosen = part.start + tf.random.experimental.index_shuffle(places, key, total - 1)
            return tf.gather(features, chosen), tf.gather(labels, chosen)

        def epoch(key: Any) -> Any:
            starts = tf.data.Dataset.range(0, total, batch)
            return starts.map(lambda start: pick(start, tf.cast(key, tf.int32)))

        keys = tf.data.Dataset.random(seed, rerandomize_each_iteration=True).batch(2, drop_remainder=True).take(1)
        return keys.flat_map(epoch).apply(tf.data.experimental.assert_cardinality(-(-total // batch)))

    def _finish(self, dataset: Any, *, repeat: bool) -> Any:
        import tensorflow as tf  # noqa: PLC0415 - seconds of start-up

        options = tf.data.Options()
        # TensorFlow's rewriting of a pipeline copies the tensors that it holds: the whole stream, once an epoch.
        options.experimental_optimization.apply_default_optimizations = False
        options.autotune.enabled = False
        return (dataset.repeat() if repeat else dataset).prefetch(PREFETCHED).with_options(options)


def _tensor(array: Array) -> Any:
    """An array as a tensor on the same memory; a copy of text, which numpy has as objects, and of what lies unaligned."""
    import tensorflow as tf  # noqa: PLC0415 - seconds of start-up

    if array.dtype == object or array.ctypes.data % ALIGNED_BYTES:
        return tf.constant(array)
    return tf.experimental.dlpack.from_dlpack(array.__dlpack__())
