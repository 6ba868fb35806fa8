"""The two Keras libraries behind one name, so that the rest of the code asks neither which it has."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Any

import numpy as np

from protocol.architecture import Dialect, dictionaries
from protocol.errors import DivergedError
from protocol.records import Array
from training.state import FitState


def load_keras(dialect: Dialect) -> Any:
    """The library that speaks a dialect: Keras 2 lives on as tf_keras, Keras 3 refuses Keras 2's JSON."""
    if dialect is Dialect.KERAS_2:
        import tf_keras  # noqa: PLC0415 - loads TensorFlow

        # Dropout and the like then draw from variables, which a round can put back; else a trace holds its seeds for good.
        tf_keras.backend.experimental.enable_tf_random_generator()
        return tf_keras
    import keras  # noqa: PLC0415 - loads TensorFlow

    return keras


def allow_code(keras: Any, dialect: Dialect) -> None:
    """Let a Keras run the code that a model carries, until its session is cleared or for good."""
    config = keras.config if dialect is Dialect.KERAS_3 else keras.__internal__
    config.enable_unsafe_deserialization()


def unknown_classes(keras: Any, config: object) -> list[str]:
    """The classes that the JSON of a model names without a module, and that are none of a Keras's public ones."""
    rooms = [keras, *(getattr(keras, name) for name in _ROOMS), keras.optimizers.schedules]
    named = dict.fromkeys(one["class_name"] for one in dictionaries(config) if "class_name" in one and not one.get("module"))
    return [name for name in named if name not in _PRIVATE and not any(hasattr(room, name.split(">")[-1]) for room in rooms)]


_PRIVATE = ("Functional", "TFOpLambda", "SlicingOpLambda", "__tuple__", "__ellipsis__", "__keras_tensor__", "__slice__")
_ROOMS = ("layers", "models", "initializers", "regularizers", "constraints", "losses", "metrics", "optimizers")


@dataclass(frozen=True)
class TrainableModel:
    """A compiled model with the round's weights.

    Attributes:
        keras: the library that made it, tf_keras or keras.
        model: its Keras model.
        state: all that a fit changes in it beside the weights.
    """

    dialect: Dialect
    keras: Any
    model: Any
    state: FitState

    @property
    def outputs(self) -> int:
        """How many outputs the model has."""
        return len(self.model.outputs)

    @cached_property
    def last_output(self) -> Any:
        """The last output for a batch of features, as the model infers it: a function of TensorFlow."""
        import tensorflow as tf  # noqa: PLC0415 - seconds of start-up

        def infer(features: Any) -> Any:
            return tf.nest.flatten(self.model(features, training=False))[-1]

        return tf.function(infer)

    def largest_bytes(self) -> int:
        """Bytes of the largest array of weights."""
        sizes = (prod(variable.shape) * dtype_of(variable).itemsize for variable in self.model.weights)
        return max(sizes, default=0)

    def set_steps_per_execution(self, steps: int) -> None:
        """Let Keras do so many steps in one call. Another number than before has its functions traced anew."""
        if self.model.run_eagerly or int(self.model.steps_per_execution) == steps:
            return
        self.model.steps_per_execution = steps
        self.model.train_function = self.model.test_function = None

    def trained_arrays(self) -> list[Array]:
        """The weights, in the order of `get_weights`, which is the sender's too.

        Raises:
            DivergedError: naming the first array that holds NaN or infinity, as a diverged fit's do.
        """
        arrays = list(self.model.get_weights())
        for index, (array, variable) in enumerate(zip(arrays, self.model.weights, strict=True)):
            if not np.isfinite(array).all():
                raise DivergedError(
                    f"the fit diverged: array {index} ({path_of(variable)}) holds NaN or infinity, and is not sent; lower the "
                    "learning rate, scale the data, or look for NaN in the stream"
                )
        return arrays


def output_names(model: Any) -> list[str]:
    """What a model calls its outputs; those of a distributed one are its sub-models."""
    return list(getattr(model, "output_names", None) or [model.layers[-1].name])  # a Sequential of Keras 3 has no names


def dtype_of(variable: Any) -> np.dtype[Any]:
    """The numpy dtype of a variable."""
    dtype: np.dtype[Any] = np.dtype(getattr(variable.dtype, "name", variable.dtype))
    return dtype


def path_of(variable: Any) -> str:
    """What a variable is called: layer and name."""
    return str(getattr(variable, "path", variable.name)).removesuffix(":0")
