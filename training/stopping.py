"""The flag that ends a fit: Keras does many steps in one call, in which no signal reaches Python."""

from __future__ import annotations

from functools import cached_property
from typing import Any, final


@final
class Stop:
    """Every pipeline of the worker asks it before it cuts a batch. Needs TensorFlow, when first asked or set."""

    @cached_property
    def _flag(self) -> Any:
        import tensorflow as tf  # noqa: PLC0415 - seconds of start-up

        with tf.device("/CPU:0"):  # where pipelines are
            return tf.Variable(False, trainable=False)  # noqa: FBT003 - its value

    def set(self) -> None:
        """Cut no batch any more: every pipeline, of which one may be in use in another thread, ends in an error."""
        self._flag.assign(True)  # noqa: FBT003 - its value

    def unless_set(self, value: Any) -> Any:
        """The same tensor, in a pipeline that goes on."""
        import tensorflow as tf  # noqa: PLC0415 - seconds of start-up

        with tf.control_dependencies([tf.debugging.Assert(~self._flag.read_value(), ["the worker is to stop"])]):
            return tf.identity(value)
