"""One fit of one model on one split, and what it tells."""

from __future__ import annotations

import contextlib
import logging
import sys
import time
from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

import numpy as np

import liveness
import watching
from protocol.errors import ModelError, SpaceLackError, WorkerError
from protocol.messages import ModelMessage
from training.causes import cause
from training.datasets import FitData
from training.dialects import TrainableModel
from training.fit_arguments import FitArguments, complete_class_weight, fit_arguments
from training.state import is_stateful, layers_of
from watching import EpochDone

log = logging.getLogger(__name__)

Epoch: TypeAlias = Mapping[str, float]  # what Keras tells at the end of one, by name of the metric

MOST_STEPS = 16  # in one call of Keras; more were not measured to be faster


def fit(trainable: TrainableModel, data: FitData, message: ModelMessage, seed: int) -> list[Epoch]:
    """Train a model as its message says.

    Args:
        trainable: compiled, with the round's weights; trained in place.
        data: in stream order. Without `shuffle` in kwargs_fit it is trained in that order, as the public worker does. Every
            output of the model is fitted to the same labels.
        seed: for the order of a shuffled epoch.

    Returns:
        What Keras tells at the end of each epoch.

    Raises:
        ModelError: an argument of fit that cannot be used, or a model that does not fit the data.
    """
    arguments = fit_arguments(message, trainable.model.fit, trainable.dialect.value)
    progress = _Progress(arguments, message.place, trainable)
    with watching.phase("fit"), told(trainable, data, message):
        liveness.show()  # built; what comes before Keras is back from its first steps may take minutes, above all its trace
        _make_metrics(trainable, data, seed)
        liveness.show()
        _fit(trainable, data, message, arguments, progress, seed)
    return progress.epochs


def evaluate(trainable: TrainableModel, data: FitData, message: ModelMessage) -> Epoch | None:
    """Evaluate a model on the test part; None where there is none.

    Raises:
        ModelError: a model that does not fit the data.
    """
    if not data.split.test:
        return None
    with watching.phase("test"), told(trainable, data, message):
        samples = data.dataset(data.split.test, message.settings.batch, outputs=trainable.outputs)
        callbacks = _between_steps(trainable, data)
        tested: Epoch = trainable.model.evaluate(samples, verbose=0, return_dict=True, callbacks=callbacks)
    return tested


@contextlib.contextmanager
def told(trainable: TrainableModel, data: FitData, message: ModelMessage) -> Iterator[None]:
    """Whatever Keras and TensorFlow raise of a model and data, as an error of ours."""
    import tensorflow as tf  # noqa: PLC0415 - seconds of start-up

    try:
        yield
    except WorkerError:
        raise
    except (MemoryError, tf.errors.ResourceExhaustedError) as exc:
        raise SpaceLackError(
            f"memory ran out in the fit: {cause(exc)}; give the pod more, or send smaller batches (training_settings.batch="
            f"{message.settings.batch}) or a smaller model"
        ) from exc
    except Exception as exc:  # whatever Keras raises of a model and data that it was not written with
        raise _misfit(exc, trainable, data, message) from exc


def _make_metrics(trainable: TrainableModel, data: FitData, seed: int) -> None:
    """Let metrics make their variables, which they do when they first see data.

    In a trace that would have TensorFlow trace it once more; outside of one it costs a sample's way through the model.
    """
    model = trainable.model
    # A layer that keeps its state from batch to batch takes batches of one size alone.
    if model.train_function is None and not any(map(is_stateful, layers_of(model))):
        model.test_step(data.first(trainable.outputs))
        trainable.state.restore(seed)


def _fit(
    trainable: TrainableModel, data: FitData, message: ModelMessage, arguments: FitArguments, progress: _Progress, seed: int
) -> None:
    options = dict(arguments.options)
    if options.get("initial_epoch", 0) >= options.get("epochs", 1):
        log.warning("kwargs_fit leaves no epoch to train: the weights go back as they came")
        return  # Keras 3 would do the same, Keras 2 refuses
    validation = None
    if data.split.validation:
        validation = data.dataset(
            data.split.validation,
            arguments.validation_batch,
            outputs=trainable.outputs,
            repeat="validation_steps" in options,
        )
    else:
        options = {name: value for name, value in options.items() if not name.startswith("validation_")}
    if "class_weight" in options:
        if trainable.outputs > 1:
            raise ModelError(
                f"training_settings.kwargs_fit.class_weight: leave it out, the model has {trainable.outputs} outputs, and "
                f"Keras weighs the classes of a single one; loss_weights weigh outputs, at {message.place}"
            )
        classes = max(2, trainable.model.outputs[0].shape[-1] or 2)
        options["class_weight"] = complete_class_weight(options["class_weight"], classes, message.place)
    training = data.training(
        message.settings.batch,
        outputs=trainable.outputs,
        shuffle_seed=seed if arguments.shuffle else None,
        repeat="steps_per_epoch" in options,
    )
    trainable.set_steps_per_execution(steps_at_a_time(options))
    trainable.model.fit(
        training,
        validation_data=validation,
        shuffle=False,  # the pipeline does it, where it is asked for
        callbacks=[
            trainable.keras.callbacks.LambdaCallback(on_epoch_begin=progress.begin, on_epoch_end=progress.end),
            *_between_steps(trainable, data),
        ],
        **{"verbose": progress.verbose} | options,
    )


def steps_at_a_time(options: Mapping[str, Any]) -> int:
    """How many steps Keras may do in one call: few enough to come back soon for a signal, and no more than it was told to do.

    Args:
        options: of fit. Keras 3 goes on beyond a number of steps that is no multiple.
    """
    counts = [options[name] for name in ("steps_per_epoch", "validation_steps") if options.get(name)]
    return next(steps for steps in range(MOST_STEPS, 0, -1) if not any(count % steps for count in counts))


def _between_steps(trainable: TrainableModel, data: FitData) -> list[Any]:
    """Callbacks for what is due whenever Keras comes back from some steps; none where nothing is, since each costs time.

    What is read of a spilled stream must not pile up in this process, and a sign of life is to be shown.
    """
    due = [*(stream.release for stream in data.streams if stream.maps), *([liveness.show] if liveness.is_shown() else [])]
    if not due:
        return []

    def do(*_step: Any, **_logs: Any) -> None:
        for one in due:
            one()

    callback = trainable.keras.callbacks.Callback()
    callback.on_train_batch_end = callback.on_test_batch_end = do
    return [callback]


class _Progress:
    """Keeps what Keras tells at the end of each epoch, and shows it: Keras's bar on a terminal, a line an epoch in a log."""

    def __init__(self, arguments: FitArguments, place: str, trainable: TrainableModel) -> None:
        self._place = place
        self._trainable = trainable
        self.epochs: list[Epoch] = []
        self.verbose = 1 if sys.stdout.isatty() else 0
        self._tells = self.verbose == 0 and "verbose" not in arguments.options
        self._total = arguments.options.get("epochs", 1)
        self._begun = 0.0

    def begin(self, _epoch: int, _logs: Mapping[str, Any] | None = None) -> None:
        self._begun = time.monotonic()

    def end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        numbers = {name: self._number(name, value) for name, value in (logs or {}).items()}
        self.epochs.append(numbers)
        watching.tell(EpochDone(numbers, self._trainable.keras, self._trainable.model))
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


def _misfit(exc: Exception, trainable: TrainableModel, data: FitData, message: ModelMessage) -> ModelError:
    model, samples, total = trainable.model, data.kept.samples, len(data.split.training)
    return ModelError(
        f"{trainable.dialect.value} cannot fit the model to the stream: model inputs {model.input_shape}, outputs "
        f"{model.output_shape}; stream features {(total, *samples.features.shape[1:])} {samples.features.dtype}, labels "
        f"{(total, *samples.labels.shape[1:])} {samples.labels.dtype}; {cause(exc)}, at {message.place}. "
        "Do INPUT_CONFIG's types and reshapes, the loss and kwargs_fit suit the model?"
    )
