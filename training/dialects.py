"""The two Keras libraries behind one name, so that the rest of the code asks neither which it has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from protocol.architecture import Dialect
from protocol.errors import ModelError
from protocol.records import Array


def load_keras(dialect: Dialect) -> Any:
    """The library that speaks a dialect: Keras 2 lives on as tf_keras, Keras 3 refuses Keras 2's JSON."""
    if dialect is Dialect.KERAS_2:
        import tf_keras  # noqa: PLC0415 - loads TensorFlow

        return tf_keras
    import keras  # noqa: PLC0415 - loads TensorFlow

    return keras


@dataclass(frozen=True, slots=True)
class TrainableModel:
    """A compiled model with the round's weights.

    Attributes:
        keras: the library that made it, tf_keras or keras.
        model: its Keras model.
    """

    dialect: Dialect
    keras: Any
    model: Any

    def arrays(self) -> list[Array]:
        """The weights, in the order of `get_weights`, which is the sender's too."""
        return list(self.model.get_weights())

    def check_finite(self) -> None:
        """Make sure that the weights are numbers, which a diverged fit's are not.

        Raises:
            ModelError: naming the first array that holds NaN or infinity.
        """
        for index, (array, variable) in enumerate(zip(self.arrays(), self.model.weights, strict=True)):
            if not np.isfinite(array).all():
                raise ModelError(
                    f"the fit diverged: array {index} ({path_of(variable)}) holds NaN or infinity, and is not sent; lower the "
                    "learning rate, scale the data, or look for NaN in the stream"
                )


def path_of(variable: Any) -> str:
    """What a variable is called: layer and name."""
    return str(getattr(variable, "path", variable.name)).removesuffix(":0")
