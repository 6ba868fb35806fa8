"""How the outputs of a model become labels like those of the labelled stream, and of which models they cannot."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from protocol.errors import ModelError
from protocol.messages import ModelMessage
from protocol.records import Array
from training.datasets import FitData
from training.dialects import TrainableModel, output_names

DEFAULT_CONFIDENCE = 0.9

# The losses of several classes of which a sample has one, without case and underscores; whether their labels are one-hot.
_ONE_HOT = {
    "sparsecategoricalcrossentropy": False,
    "categoricalcrossentropy": True,
    "categoricalfocalcrossentropy": True,
}


@dataclass(frozen=True, slots=True)
class Labelling:
    """How a model's last output becomes labels like those of the labelled stream.

    Attributes:
        classes: that the model tells apart.
        shape: of one label.
        dtype: of labels.
        is_one_hot: a label has a number for each class.
        is_logits: the output has yet to become probabilities.
        confidence: the least probability that makes a label.
    """

    classes: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    is_one_hot: bool
    is_logits: bool
    confidence: float

    def probabilities(self, outputs: Array) -> Array:
        """Of shape (n, classes), from outputs of that shape."""
        outputs = outputs.astype(np.float32, copy=False)
        if not self.is_logits:
            return outputs
        with np.errstate(invalid="ignore"):  # of a fit that diverged, which is told when all is done
            powers: Array = np.exp(outputs - outputs.max(axis=1, keepdims=True))
            shares: Array = powers / powers.sum(axis=1, keepdims=True)
        return shares

    def labels(self, classes: Array) -> Array:
        """Labels (k, *shape) for classes (k,)."""
        if self.is_one_hot:
            is_class: Array = classes[:, np.newaxis] == np.arange(self.classes)
            return is_class.astype(self.dtype)
        return classes.astype(self.dtype).reshape(-1, *self.shape)


def labelling_of(trainable: TrainableModel, data: FitData, message: ModelMessage) -> Labelling:
    """How a model labels.

    Raises:
        ModelError: its last output is no choice of one class, or the labels of the stream are none of its classes.
    """
    output, name = tuple(trainable.model.outputs[-1].shape), output_names(trainable.model)[-1]
    loss, is_logits = _loss(message.compile_args["loss"], name)
    labels, confidence = data.kept.samples.labels, message.settings.confidence

    def refused(why: str) -> ModelError:
        return ModelError(
            "training_settings.unsupervised: a pseudo-label is the most probable of several classes, of which a sample has "
            f"one; output {name} {why}, at {message.place}"
        )

    if len(output) != 2 or (output[1] or 0) < 2:  # noqa: PLR2004 - (n, classes)
        raise refused(f"has the shape {output}, expected (None, classes) with two of them or more")
    if _bare(loss) not in _ONE_HOT:
        raise refused(f"has the loss {loss}, expected sparse_categorical_crossentropy or another categorical one")
    labelling = Labelling(
        classes=output[1],
        shape=labels.shape[1:],
        dtype=labels.dtype,
        is_one_hot=_ONE_HOT[_bare(loss)],
        is_logits=is_logits,
        confidence=DEFAULT_CONFIDENCE if confidence is None else confidence,
    )
    if not _suits(labelling):
        form = f"({labelling.classes},)" if labelling.is_one_hot else "() or (1,)"
        raise refused(
            f"has {labelling.classes} of them and the loss {loss}, which wants labels of the shape {form} in a type that holds "
            f"them, received {labelling.shape} {labelling.dtype}"
        )
    return labelling


def _suits(labelling: Labelling) -> bool:
    """Whether the labels of the stream are those of a loss, in a type that holds the classes."""
    if labelling.dtype.kind not in "biuf":
        return False
    if labelling.is_one_hot:
        return labelling.shape == (labelling.classes,)
    classes = np.arange(labelling.classes)
    return labelling.shape in {(), (1,)} and np.array_equal(classes.astype(labelling.dtype).astype(classes.dtype), classes)


def _loss(loss: Any, output: str) -> tuple[str, bool]:
    """The name of an output's loss, as compile arguments have it, and whether it takes logits."""
    if isinstance(loss, Mapping) and "class_name" not in loss:
        loss = loss.get(output)
    elif isinstance(loss, list):
        loss = loss[-1]
    if isinstance(loss, list):
        loss = loss[0] if len(loss) == 1 else None
    if not isinstance(loss, Mapping):
        return str(loss), False
    config = loss.get("config")
    if not isinstance(config, Mapping):  # how Keras 3 writes a function
        return str(config), False
    return str(loss["class_name"]), bool(config.get("from_logits"))


def _bare(loss: str) -> str:
    return loss.rsplit(">", 1)[-1].replace("_", "").lower()
