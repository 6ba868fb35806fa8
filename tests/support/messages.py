"""Model messages as a cloud would write them, to change one field of."""

from __future__ import annotations

import json
from typing import Any

from protocol.messages import ModelMessage, parse_model_message

PLACE = "FED-dig1-model_control_topic[0]@5"


def model_json(**changes: Any) -> dict[str, Any]:
    """The JSON of a model message with some fields changed."""
    message = {
        "topic": "FED-dig1-model_data_topic:0:0:4",
        "version": 0,
        "training_settings": {"batch": 32, "kwargs_fit": {"epochs": 2}, "kwargs_val": {}, "unsupervised": False},
        "model_architecture": "{}",
        "model_compile_args": {"optimizer": "adam", "loss": "sparse_categorical_crossentropy", "metrics": ["accuracy"]},
    }
    return message | changes


def model_message(**changes: Any) -> ModelMessage:
    """The same, parsed."""
    return parse_model_message(json.dumps(model_json(**changes)).encode(), PLACE)


def with_fit(**kwargs_fit: Any) -> ModelMessage:
    """A message with these kwargs_fit."""
    return model_message(training_settings={"batch": 32, "kwargs_fit": kwargs_fit})
