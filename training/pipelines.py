"""What all tf.data pipelines of this worker have in common: tensors on memory that is there, and no rewriting."""

from __future__ import annotations

from typing import Any

from protocol.records import Array

PREFETCHED = 1  # batches that are cut while another is trained on; more were not measured to be faster
ALIGNED_BYTES = 64  # TensorFlow ends the process over a tensor that begins elsewhere


def tensor(array: Array) -> Any:
    """An array as a tensor on the same memory; a copy of text, which numpy has as objects, and of what lies unaligned."""
    import tensorflow as tf  # noqa: PLC0415 - seconds of start-up

    if array.dtype == object or array.ctypes.data % ALIGNED_BYTES:
        return constant(array)
    return tf.experimental.dlpack.from_dlpack(array.__dlpack__())


def constant(array: Array) -> Any:
    """A copy of an array as a tensor, where pipelines are."""
    import tensorflow as tf  # noqa: PLC0415 - seconds of start-up

    with tf.device("/CPU:0"):
        return tf.constant(array)


def as_it_is(dataset: Any) -> Any:
    """A pipeline that fetches ahead, and that TensorFlow does not rewrite.

    Its rewriting copies the tensors that a pipeline holds: the whole stream, once an epoch.
    """
    import tensorflow as tf  # noqa: PLC0415 - seconds of start-up

    options = tf.data.Options()
    options.experimental_optimization.apply_default_optimizations = False
    options.autotune.enabled = False
    return dataset.prefetch(PREFETCHED).with_options(options)
