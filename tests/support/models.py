"""Small Keras models of both dialects, and the messages that a cloud would announce them with."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from protocol.architecture import Dialect
from protocol.messages import ModelMessage
from protocol.records import Array
from tests.support.messages import model_message
from training.dialects import load_keras

DIALECTS = list(Dialect)
ADAM = {"class_name": "Adam", "config": {"name": "Adam", "learning_rate": 0.01}}


def classifier(dialect: Dialect, *layers: str) -> Any:
    """A classifier of (8, 8) inputs into 10 classes, with the named layers in its middle."""
    keras = load_keras(dialect)
    keras.utils.set_random_seed(1)
    between = [getattr(keras.layers, name)() if name != "Dropout" else keras.layers.Dropout(0.3) for name in layers]
    return keras.Sequential(
        [
            keras.layers.Input((8, 8)),
            keras.layers.Flatten(),
            keras.layers.Dense(16, activation="relu"),
            *between,
            keras.layers.Dense(10, activation="softmax"),
        ]
    )


def two_outputs(dialect: Dialect) -> Any:
    """A model of outputs `edge` and `cloud`, each a classifier into 10 classes."""
    keras = load_keras(dialect)
    inputs = keras.layers.Input((8, 8))
    hidden = keras.layers.Dense(16, activation="relu")(keras.layers.Flatten()(inputs))
    edge = keras.layers.Dense(10, activation="softmax", name="edge")(hidden)
    cloud = keras.layers.Dense(10, activation="softmax", name="cloud")(keras.layers.Dense(16)(hidden))
    return keras.Model(inputs, [edge, cloud])


def chained(dialect: Dialect) -> Any:
    """A distributed model as a cloud makes it: sub-model `edge` hands (next input, prediction) on, `cloud` is the last."""
    keras = load_keras(dialect)
    keras.utils.set_random_seed(1)
    layers = keras.layers
    image = layers.Input((8, 8))
    hidden = layers.Dense(16, activation="relu")(layers.Flatten()(image))
    edge = keras.Model(image, [hidden, layers.Dense(10, activation="softmax")(hidden)], name="edge")
    handed_on = layers.Input((16,))
    deeper = layers.Dense(16, activation="relu")(handed_on)
    cloud = keras.Model(handed_on, layers.Dense(10, activation="softmax")(deeper), name="cloud")
    inputs = layers.Input((8, 8))
    next_input, prediction = edge(inputs)
    return keras.Model(inputs, [prediction, cloud(next_input)])


def captured_architecture(model: Any) -> str:
    """What the public cloud would send for a Keras 2 model: no `module` keys. Keras 3's JSON stays as it is."""
    parsed = json.loads(model.to_json())
    return json.dumps(_bare(parsed) if "keras_version" in parsed else parsed)


def _bare(value: Any) -> Any:
    if isinstance(value, list):
        return [_bare(one) for one in value]
    if isinstance(value, dict):
        return {name: _bare(one) for name, one in value.items() if name not in {"module", "registered_name", "build_config"}}
    return value


def announced(model: Any, **changes: Any) -> tuple[ModelMessage, Sequence[Array]]:
    """The message that announces a model, with some fields changed, and its arrays."""
    arrays = model.get_weights()
    message = model_message(
        model_architecture=captured_architecture(model),
        topic=f"FED-dig1-model_data_topic:0:0:{len(arrays)}",
        **changes,
    )
    return message, arrays


SPARSE = "sparse_categorical_crossentropy"
CHAINED_ARGS = {
    "optimizer": ADAM,
    "loss": {"edge": SPARSE, "cloud": SPARSE},
    "loss_weights": [0.25, 0.75],
    "metrics": [["accuracy"], ["accuracy"]],
}


def compile_args(**changes: Any) -> dict[str, Any]:
    """Compile arguments with some changed."""
    return {"optimizer": ADAM, "loss": "sparse_categorical_crossentropy", "metrics": ["accuracy"]} | changes
