"""kwargs_fit and kwargs_val as the data scientist gave them, made into arguments of `model.fit`.

They come from JSON and from web forms, so numbers may be text and the keys of a dictionary always are.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from protocol.errors import ModelError
from protocol.messages import ModelMessage
from protocol.words import shown

# What the worker itself hands to fit, and where each is set instead.
_OURS = {
    "x": "the stream is the data",
    "y": "the stream's keys are the labels",
    "batch_size": "training_settings.batch sets it",
    "validation_data": "VALIDATION_RATE takes it from the stream",
    "validation_split": "VALIDATION_RATE takes it from the stream",
    "callbacks": "a callback is code, which does not travel",
    "sample_weight": "a labelled stream carries none; class_weight can be given",
}


@dataclass(frozen=True, slots=True)
class FitArguments:
    """What the two dictionaries ask for.

    Attributes:
        options: keyword arguments that fit takes as they are.
        shuffle: shuffle the training part each epoch.
        validation_batch: samples a validation batch.
    """

    options: Mapping[str, Any]
    shuffle: bool
    validation_batch: int


def fit_arguments(message: ModelMessage, fit: Callable[..., Any], library: str) -> FitArguments:
    """Read the fit arguments of a message for the `fit` of a Keras.

    Args:
        fit: the model's bound method.
        library: what to call its library in an error.

    Raises:
        ModelError: naming the argument that fit does not know, that the worker sets, or that has no sense.
    """
    known = set(inspect.signature(fit).parameters)
    merged: dict[str, Any] = {}
    for part, given in (("kwargs_fit", message.settings.kwargs_fit), ("kwargs_val", message.settings.kwargs_val)):
        for name, value in given.items():
            path = f"training_settings.{part}.{shown(name)}"
            if name in _OURS:
                raise ModelError(f"{path}: leave it out, {_OURS[name]}, at {message.place}")
            if name not in known:
                choice = ", ".join(sorted(known - set(_OURS)))
                raise ModelError(f"{path}: fit of {library} does not know it; it knows {choice}, at {message.place}")
            try:
                read = value if value is None or name not in _READERS else _READERS[name](value)
            except (TypeError, ValueError) as exc:
                raise ModelError(
                    f"{path}: expected {exc}, received {value!r:.80} ({type(value).__name__}), at {message.place}"
                ) from exc
            if read is None or read == {}:
                continue  # Keras's own default, spelled out
            if merged.setdefault(name, read) != read:
                raise ModelError(f"{path}: kwargs_fit has {merged[name]!r:.80}, received {read!r:.80}, at {message.place}")
    shuffle = merged.pop("shuffle", False)
    validation_batch = merged.pop("validation_batch_size", None) or message.settings.batch
    return FitArguments(merged, bool(shuffle), validation_batch)


def complete_class_weight(weights: Mapping[int, float], classes: int, place: str) -> dict[int, float]:
    """Give a weight of 1 to every class that was given none, since Keras 2 takes no gaps.

    Args:
        classes: how many the model tells apart; 1 output is two classes.

    Raises:
        ModelError: a class that the model does not have.
    """
    strange = [label for label in weights if not 0 <= label < classes]
    if strange:
        raise ModelError(
            f"training_settings.kwargs_fit.class_weight: expected classes 0 to {classes - 1}, received {strange[0]}, at {place}"
        )
    return {label: weights.get(label, 1.0) for label in range(classes)}


_MOST = 2**31 - 1  # epochs and steps that can be counted


def _at_least(least: int) -> Callable[[Any], int]:
    def whole(value: Any) -> int:
        wanted = ValueError(f"int >= {least}")
        if isinstance(value, bool):
            raise wanted
        try:
            number = int(value) if not isinstance(value, float) or value.is_integer() else least - 1
        except (TypeError, ValueError):
            raise wanted from None
        if number < least:
            raise wanted
        if number > _MOST:
            raise ValueError(f"int <= {_MOST}")
        return number

    return whole


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError("true or false")
    return value


def _verbose(value: Any) -> int | str:
    return value if value == "auto" else _at_least(0)(value)


def _frequency(value: Any) -> int | list[int]:
    # Every so many epochs, or after the epochs of a list.
    return [_at_least(1)(one) for one in value] if isinstance(value, list) else _at_least(1)(value)


def _class_weight(value: Any) -> dict[int, float]:
    try:
        weights = {int(label): float(weight) for label, weight in value.items()}
    except (AttributeError, OverflowError, TypeError, ValueError):
        weights = {0: math.nan}
    if not all(map(math.isfinite, weights.values())):
        raise ValueError('an object from class to weight, e.g. {"0": 1.0, "1": 2.5}')
    return weights


_READERS: dict[str, Callable[[Any], Any]] = {
    "epochs": _at_least(0),
    "initial_epoch": _at_least(0),
    "steps_per_epoch": _at_least(1),
    "validation_steps": _at_least(1),
    "validation_batch_size": _at_least(1),
    "validation_freq": _frequency,
    "class_weight": _class_weight,
    "shuffle": _flag,
    "verbose": _verbose,
    "workers": _at_least(1),
    "max_queue_size": _at_least(1),
    "use_multiprocessing": _flag,
}
