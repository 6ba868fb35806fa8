"""One fit of one model on one split, and what it has to report."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from protocol.errors import MemoryLackError, ModelError, WorkerError
from protocol.messages import Metrics, ModelMessage
from protocol.metrics import collect
from training.causes import cause
from training.datasets import Batches, FitData
from training.dialects import TrainableModel
from training.fit_arguments import FitArguments, complete_class_weight, fit_arguments

log = logging.getLogger(__name__)


def fit(trainable: TrainableModel, data: FitData, message: ModelMessage, seed: int) -> Metrics:
    """Train a model as its message says, and evaluate it on the test part.

    Args:
        trainable: compiled, with the round's weights; trained in place.
        data: in stream order. Without `shuffle` in kwargs_fit it is trained in that order, as the public worker does.
        seed: for the order of a shuffled epoch.

    Raises:
        ModelError: an argument of fit that cannot be used, or a model that does not fit the data.
    """
    import tensorflow as tf  # noqa: PLC0415 - seconds of start-up

    arguments = fit_arguments(message, trainable.model.fit, trainable.dialect.value)
    progress = _Progress(arguments, message.place)
    try:
        _fit(trainable, data, message, arguments, progress, seed)
        test = _test(trainable, data, message)
    except WorkerError:
        raise
    except (MemoryError, tf.errors.ResourceExhaustedError) as exc:
        raise MemoryLackError(
            f"memory ran out in the fit: {cause(exc)}; give the pod more, or send smaller batches (training_settings.batch="
            f"{message.settings.batch}) or a smaller model"
        ) from exc
    except Exception as exc:  # whatever Keras raises of a model and data that it was not written with
        raise _misfit(exc, trainable, data.training, message) from exc
    trainable.check_finite()
    return collect(progress.epochs, test)


def _fit(
    trainable: TrainableModel, data: FitData, message: ModelMessage, arguments: FitArguments, progress: _Progress, seed: int
) -> None:
    options = dict(arguments.options)
    if options.get("initial_epoch", 0) >= options.get("epochs", 1):
        log.warning("kwargs_fit leaves no epoch to train: the weights go back as they came")
        return  # Keras 3 would do the same, Keras 2 refuses
    validation = None
    if len(data.validation):
        validation = data.validation.dataset(arguments.validation_batch, repeat="validation_steps" in options)
    else:
        options = {name: value for name, value in options.items() if not name.startswith("validation_")}
    if "class_weight" in options:
        classes = max(2, trainable.model.outputs[0].shape[-1] or 2)
        options["class_weight"] = complete_class_weight(options["class_weight"], classes, message.place)
    training = data.training.dataset(
        message.settings.batch,
        shuffle_seed=seed if arguments.shuffle else None,
        repeat="steps_per_epoch" in options,
    )
    trainable.model.fit(
        training,
        validation_data=validation,
        shuffle=False,  # the pipeline does it, where it is asked for
        callbacks=[trainable.keras.callbacks.LambdaCallback(on_epoch_begin=progress.begin, on_epoch_end=progress.end)],
        **{"verbose": progress.verbose} | options,
    )


def _test(trainable: TrainableModel, data: FitData, message: ModelMessage) -> Mapping[str, float] | None:
    if not len(data.test):
        return None
    samples = data.test.dataset(message.settings.batch)
    tested: Mapping[str, float] = trainable.model.evaluate(samples, verbose=0, return_dict=True)
    return tested


class _Progress:
    """Keeps what Keras tells at the end of each epoch, and shows it: Keras's bar on a terminal, a line an epoch in a log."""

    def __init__(self, arguments: FitArguments, place: str) -> None:
        self._place = place
        self.epochs: list[dict[str, float]] = []
        self.verbose = 1 if sys.stdout.isatty() else 0
        self._tells = self.verbose == 0 and "verbose" not in arguments.options
        self._total = arguments.options.get("epochs", 1)
        self._begun = 0.0

    def begin(self, _epoch: int, _logs: Mapping[str, Any] | None = None) -> None:
        self._begun = time.monotonic()

    def end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        numbers = {name: self._number(name, value) for name, value in (logs or {}).items()}
        self.epochs.append(numbers)
        if self._tells:
            seconds = time.monotonic() - self._begun
            shown = " ".join(f"{name}={value:.4g}" for name, value in numbers.items())
            log.info("epoch %d/%d seconds=%.1f %s", epoch + 1, self._total, seconds, shown)

    def _number(self, name: str, value: Any) -> float:
        if np.ndim(value):
            raise ModelError(
                f"model_compile_args.metrics: {name} gives {np.size(value)} numbers an epoch, and a reply has one; average "
                f'them (for an F1Score "average": "macro"), at {self._place}'
            )
        return float(value)


def _misfit(exc: Exception, trainable: TrainableModel, data: Batches, message: ModelMessage) -> ModelError:
    model, samples = trainable.model, data.samples
    return ModelError(
        f"{trainable.dialect.value} cannot fit the model to the stream: model inputs {model.input_shape}, outputs "
        f"{model.output_shape}; stream features {samples.features.shape} {samples.features.dtype}, labels "
        f"{samples.labels.shape} {samples.labels.dtype}; {cause(exc)}, at {message.place}. "
        "Do INPUT_CONFIG's types and reshapes, the loss and kwargs_fit suit the model?"
    )
