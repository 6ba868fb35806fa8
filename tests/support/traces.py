"""How often Keras traces a model's steps."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from training.dialects import TrainableModel


def count_traces(trainable: TrainableModel) -> list[str]:
    """Grows whenever Keras runs the Python of a step, which it does to trace it."""
    traced: list[str] = []
    for name in ("train_step", "test_step"):
        step = getattr(trainable.model, name)

        def counted(data: Any, name: str = name, step: Any = step) -> Any:
            if tf.inside_function():
                traced.append(name)
            return step(data)

        setattr(trainable.model, name, counted)
    return traced
