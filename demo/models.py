"""Keras models as the cloud announces them, in either dialect; the only file of the demo that imports Keras."""

from __future__ import annotations

import importlib
import json
from typing import Any

from config import quieten_libraries
from utils import prepare_tensorflow, quiet_start

# What the Keras of TensorFlow 2.7, which the public cloud runs, does not write.
_NOT_IN_2_7 = ("module", "registered_name", "build_config", "optional")
_COMPILE_ARGS = ("optimizer", "loss", "metrics", "weighted_metrics", "loss_weights")
LIBRARIES = {"keras2": "tf_keras", "keras3": "keras"}
SUB_MODELS = ("edge", "cloud")
SEED = 1


def describe(model: Any) -> tuple[str, dict[str, Any]]:
    """The architecture and the compile arguments of a compiled model, as the contract has them.

    Args:
        model: of tf_keras, which gives a Keras 2 message, or of Keras 3, which gives one of its own dialect.

    Returns:
        The text of `to_json`, and the arguments of `compile` by name, ready for JSON.
    """
    compiled = model.get_compile_config()
    if type(model).__module__.startswith("tf_keras"):
        tf_keras = import_quietly(LIBRARIES["keras2"])
        architecture = json.dumps(_without(json.loads(model.to_json()), _NOT_IN_2_7))
        compiled["optimizer"] = tf_keras.optimizers.serialize(model.optimizer, use_legacy_format=True)
        compiled = _without(compiled, _NOT_IN_2_7)
    else:
        architecture = model.to_json()
    # A round trip, since learning rates and the like may be numpy's numbers.
    return architecture, json.loads(json.dumps({name: compiled[name] for name in _COMPILE_ARGS}, default=float))


def digits_model(dialect: str) -> Any:
    """A small dense network for 64 numbers of 0 to 16, compiled.

    Args:
        dialect: a key of LIBRARIES.
    """
    keras = _seeded(dialect)
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((64,)),
            layers.Rescaling(1 / 16),
            layers.Dense(128, activation="relu"),
            layers.Dense(10, activation="softmax"),
        ]
    )
    model.compile(_adam(keras, dialect), loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def measurements_model(dialect: str, numbers: int) -> Any:
    """A small dense network that tells two kinds of samples apart by so many numbers, compiled.

    Args:
        dialect: a key of LIBRARIES.
    """
    keras = _seeded(dialect)
    layers = keras.layers
    model = keras.Sequential(
        [keras.Input((numbers,)), layers.Dense(16, activation="relu"), layers.Dense(2, activation="softmax")]
    )
    model.compile(_adam(keras, dialect), loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def chained_digits_model(dialect: str) -> Any:
    """A distributed model for 64 numbers of 0 to 16, compiled: sub-model k hands (next input, prediction) on.

    Args:
        dialect: a key of LIBRARIES.
    """
    keras = _seeded(dialect)
    layers = keras.layers
    image = keras.Input((64,))
    found = layers.Dense(16, activation="relu")(layers.Rescaling(1 / 16)(image))
    edge = keras.Model(image, [found, layers.Dense(10, activation="softmax")(found)], name=SUB_MODELS[0])
    handed_on = keras.Input((16,))
    deeper = layers.Dense(64, activation="relu")(layers.Dense(64, activation="relu")(handed_on))
    cloud = keras.Model(handed_on, layers.Dense(10, activation="softmax")(deeper), name=SUB_MODELS[1])
    inputs = keras.Input((64,))
    next_input, prediction = edge(inputs)
    model = keras.Model(inputs, [prediction, cloud(next_input)])
    model.compile(
        _adam(keras, dialect),
        loss=dict.fromkeys(SUB_MODELS, "sparse_categorical_crossentropy"),
        loss_weights=[0.5, 0.5],
        metrics=[["accuracy"], ["accuracy"]],
    )
    return model


def import_quietly(library: str) -> Any:
    """Import a Keras without what TensorFlow tells of the machine."""
    quieten_libraries()
    prepare_tensorflow()  # it looks for devices, and leaves memory of a GPU to the workers
    with quiet_start():
        return importlib.import_module(library)


def _seeded(dialect: str) -> Any:
    """The Keras of a dialect, of which every model begins with the same weights."""
    keras = import_quietly(LIBRARIES[dialect])
    keras.utils.set_random_seed(SEED)
    return keras


def _adam(keras: Any, dialect: str) -> Any:
    """In Keras 2 the older one, whose configuration is that of TensorFlow 2.7."""
    return (keras.optimizers.legacy if dialect == "keras2" else keras.optimizers).Adam(0.005)


def _without(value: Any, names: tuple[str, ...]) -> Any:
    if isinstance(value, dict):
        return {name: _without(one, names) for name, one in value.items() if name not in names}
    if isinstance(value, list):
        return [_without(one, names) for one in value]
    return value
