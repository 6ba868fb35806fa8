"""What an epoch goes through, by places from 0 on: a part of the labelled stream, alone or with pseudo-labelled samples.

Both are asked within a tf.data pipeline, for a run of places or for some of them in any order.
"""

from __future__ import annotations

from typing import Any, final

from training.pipelines import constant
from training.unlabelled import PseudoLabelled

_Pair = tuple[Any, Any]


@final
class Part:
    """A part of the labelled stream.

    Args:
        features, labels: tensors of the whole stream.
        part: of it.
    """

    def __init__(self, features: Any, labels: Any, part: range) -> None:
        self._features = features
        self._labels = labels
        self._part = part

    def __len__(self) -> int:
        return len(self._part)

    def cut(self, start: Any, after: Any) -> _Pair:
        """The samples from a place on to before another one, as they lie."""
        start, after = self._part.start + start, self._part.start + after
        return self._features[start:after], self._labels[start:after]

    def pick(self, places: Any) -> _Pair:
        """The samples at some places."""
        import tensorflow as tf  # noqa: PLC0415 - seconds of start-up

        at = self._part.start + places
        return tf.gather(self._features, at), tf.gather(self._labels, at)


@final
class Joined:
    """A part, and behind it the samples of another stream that were added, without a copy of either."""

    def __init__(self, part: Part, added: PseudoLabelled) -> None:
        self._part = part
        self._features = added.source.features
        self._places, self._labels = constant(added.places), constant(added.labels)

    def __len__(self) -> int:
        return len(self._part) + len(self._places)

    def cut(self, start: Any, after: Any) -> _Pair:
        """The samples from a place on to before another one; a batch may lie across the border."""
        import tensorflow as tf  # noqa: PLC0415 - seconds of start-up

        border = tf.constant(len(self._part), tf.int64)
        mine = self._part.cut(tf.minimum(start, border), tf.minimum(after, border))
        its = self._of_added(tf.range(tf.maximum(start, border), tf.maximum(after, border)) - border)
        return tf.concat([mine[0], its[0]], 0), tf.concat([mine[1], its[1]], 0)

    def pick(self, places: Any) -> _Pair:
        """The samples at some places, in their order."""
        import tensorflow as tf  # noqa: PLC0415 - seconds of start-up

        border = len(self._part)
        is_mine = places < border
        order = [tf.reshape(tf.cast(tf.where(one), tf.int32), [-1]) for one in (is_mine, ~is_mine)]
        mine = self._part.pick(tf.gather(places, order[0]))
        its = self._of_added(tf.gather(places, order[1]) - border)
        return tf.dynamic_stitch(order, [mine[0], its[0]]), tf.dynamic_stitch(order, [mine[1], its[1]])

    def _of_added(self, places: Any) -> _Pair:
        import tensorflow as tf  # noqa: PLC0415 - seconds of start-up

        return tf.gather(self._features, tf.gather(self._places, places)), tf.gather(self._labels, places)
