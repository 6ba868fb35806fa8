"""What a model wants of memory, told before it is made: a short architecture can name more numbers than any machine holds."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from math import prod
from typing import Any

import numpy as np

from protocol.errors import ModelError
from protocol.messages import ModelMessage
from protocol.records import Array
from training.dialects import dtype_of
from training.state import layers_of

SPARE_NUMBERS = 2**20  # of variables beside the weights: seeds, counters, states of recurrent layers


@contextlib.contextmanager
def variables_within(arrays: Sequence[Array], message: ModelMessage) -> Iterator[None]:
    """Have variables made only as long as the announced weights have numbers for them.

    A variable is looked at before its numbers are drawn. Whatever Keras makes of the refusal, it comes out as it was.

    Args:
        arrays: the announced weights. Twice their numbers are let through, since layers may be made and thrown away.

    Raises:
        ModelError: the first variable that is beyond them.
    """
    import tensorflow as tf  # noqa: PLC0415 - seconds of start-up

    announced = sum(array.size for array in arrays)
    numbers = 0
    refused: list[ModelError] = []

    def create(following: Callable[..., Any], **arguments: Any) -> Any:
        nonlocal numbers
        shape = _shape_of(tf, **arguments)
        numbers += prod(shape)
        if numbers > 2 * announced + SPARE_NUMBERS:
            refused.append(
                ModelError(
                    f"model_architecture: with a variable {arguments.get('name')} of {shape} the model wants {numbers} "
                    f"numbers, and the weights announced in {message.spec} have {announced}, at {message.place}"
                )
            )
            raise refused[0]
        return following(**arguments)

    try:
        with tf.variable_creator_scope(create):
            yield
    except Exception:
        if refused:
            raise refused[0] from None
        raise


def _shape_of(tf: Any, *, initial_value: Any = None, shape: Any = None, **_others: Any) -> tuple[int, ...]:
    """The shape of a variable that is about to be made."""
    if shape is not None:
        return tuple(shape)
    if not callable(initial_value):
        return tuple(np.shape(initial_value))
    with tf.__internal__.FuncGraph("shape").as_default():  # in which nothing is computed
        return tuple(initial_value().shape)


def check_outputs(model: Any, message: ModelMessage, memory_bytes: int) -> None:
    """Refuse a model of which one layer's output for one sample is beyond the memory, or that of an operation between layers.

    Raises:
        ModelError: naming the layer.
    """
    layers = layers_of(model)
    # Keras 3 keeps operations beside the layers, Keras 2 makes layers of them.
    operations = [one for layer in (model, *layers) for one in getattr(layer, "operations", ())]
    for part in dict.fromkeys((*layers, *operations)):
        for output in _outputs_of(part):
            wanted = prod(1 if size is None else size for size in output.shape) * _itemsize(output)
            if wanted > memory_bytes:
                raise ModelError(
                    f"model_architecture: layer {part.name} makes {tuple(output.shape)} of each sample, {wanted} bytes, and "
                    f"this worker has {memory_bytes}, at {message.place}"
                )


def _outputs_of(part: Any) -> list[Any]:
    """What a layer makes, each time that it is called; nothing for a cell, or a layer in a wrapper."""
    nodes = part._inbound_nodes  # noqa: SLF001 - the public way knows layers that are called once alone
    return [one for node in nodes for one in _flat(node.output_tensors) if hasattr(one, "shape")]


def _flat(tensors: Any) -> list[Any]:
    if isinstance(tensors, dict):
        tensors = list(tensors.values())
    return [one for part in tensors for one in _flat(part)] if isinstance(tensors, list | tuple) else [tensors]


def _itemsize(output: Any) -> int:
    try:
        return dtype_of(output).itemsize
    except TypeError:
        return 1  # texts, of any length
