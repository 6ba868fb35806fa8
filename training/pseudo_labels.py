"""Semi-supervised training: a model labels the samples of which it is sure, and is trained on with them.

A pass predicts the unlabelled samples that are left, keeps those whose largest probability is at least `confidence`, takes the
arg max as their label, and fits the model to the labelled samples and all that were kept so far.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

import liveness
from protocol.messages import ModelMessage
from protocol.records import Array
from training.datasets import FitData
from training.dialects import TrainableModel
from training.fit import Epoch, fit, told
from training.labelling import Labelling, labelling_of
from training.state import seed_of
from training.unlabelled import PseudoLabelled, Unlabelled

log = logging.getLogger(__name__)

DEFAULT_PASSES = 5


@dataclass(frozen=True, slots=True)
class Confident:
    """What a pass has found.

    Attributes:
        asked: samples that were predicted.
        places: (k,), where in the unlabelled stream those stand that it is sure of, in the order in which they were asked.
        labels: (k, *label_shape), theirs.
        mean: of their largest probabilities; NaN where there is none.
        most: the largest probability of any sample.
    """

    asked: int
    places: Array
    labels: Array
    mean: float
    most: float

    def __str__(self) -> str:
        if len(self.places):
            return f"kept={len(self.places)} of={self.asked} mean_confidence={self.mean:.4f}"
        return f"kept=0 of={self.asked} highest_confidence={self.most:.4f}"


def fit_with_pseudo_labels(
    trainable: TrainableModel, data: FitData, unlabelled: Callable[[], Unlabelled], message: ModelMessage, seed: int
) -> list[Epoch]:
    """Train a model on the labelled samples, then in passes on those too that it has labelled itself.

    Args:
        trainable: as `fit` has it.
        data: the labelled stream; its validation part is that of every pass.
        unlabelled: waits for the unlabelled one, which is not needed before the first fit is done.
        seed: of the first fit; those of the passes follow from it.

    Returns:
        What Keras tells at the end of each epoch of all fits, in order.

    Raises:
        ModelError: as `fit` has it; or the model has no classes of which one can be the label, told before any fit.
    """
    labelling = labelling_of(trainable, data, message)
    wanted = message.settings.unsupervised_rounds
    passes = DEFAULT_PASSES if wanted is None else wanted
    if None in (wanted, message.settings.confidence):
        log.info("training_settings leave it to us: unsupervised_rounds=%d confidence=%g", passes, labelling.confidence)
    epochs = fit(trainable, data, message, seed)
    if not passes:
        return epochs
    source = unlabelled()
    left = np.arange(len(source))
    chosen, labels = left[:0], labelling.labels(left[:0])
    for number in range(1, passes + 1):
        found = confident(trainable, data, source, left, labelling, message)
        log.info("pseudo-labels pass=%d/%d %s", number, passes, found)
        if not len(found.places):
            break
        chosen, labels = np.concatenate([chosen, found.places]), np.concatenate([labels, found.labels])
        left = np.setdiff1d(left, found.places, assume_unique=True)
        with_chosen = data.with_added(PseudoLabelled(source, chosen, labels))
        epochs += fit(trainable, with_chosen, message, seed_of(seed, number))
        if not len(left):
            break
    return epochs


def fit_with_windows(
    trainable: TrainableModel, data: FitData, windows: Iterable[Unlabelled], message: ModelMessage, seed: int
) -> list[Epoch]:
    """Train a model on the labelled samples, then on those and each window of an unlabelled stream, one pass a window.

    What was kept of a window does not stay for the next one. A window of which nothing is sure is passed over.

    Args:
        windows: comes to the next one when the one before has been trained on, or passed over.

    Returns, raises: as `fit_with_pseudo_labels`.
    """
    labelling = labelling_of(trainable, data, message)
    epochs = fit(trainable, data, message, seed)
    passed_over = 0
    for number, window in enumerate(windows, 1):
        found = confident(trainable, data, window, np.arange(len(window)), labelling, message)
        log.info("pseudo-labels window=%d %s", number, found)
        if not len(found.places):
            passed_over += 1
            continue
        added = data.with_added(PseudoLabelled(window, found.places, found.labels))
        epochs += fit(trainable, added, message, seed_of(seed, number))
    if passed_over:
        log.info("windows of which nothing was sure enough passed_over=%d", passed_over)
    return epochs


def confident(
    trainable: TrainableModel,
    data: FitData,
    source: Unlabelled,
    places: Array,
    labelling: Labelling,
    message: ModelMessage,
) -> Confident:
    """Predict samples of the unlabelled stream in batches, and keep those that a model is sure of.

    Args:
        data: the labelled stream, for errors.
        places: (n,), of those to predict.

    Raises:
        ModelError: the model does not fit the stream.
    """
    classes, largest = [], []
    with told(trainable, data, message):
        batches = source.batches(places, message.settings.batch)
        infer = trainable.last_output.get_concrete_function(batches.element_spec)
        for features in batches:
            probabilities = labelling.probabilities(infer(features).numpy())
            classes.append(probabilities.argmax(axis=1))
            largest.append(probabilities.max(axis=1))
            source.kept.release()
            liveness.show()
    sure = np.concatenate(largest)
    kept = sure >= labelling.confidence
    return Confident(
        asked=len(places),
        places=places[kept],
        labels=labelling.labels(np.concatenate(classes)[kept]),
        mean=float(sure[kept].mean(dtype=np.float64)) if kept.any() else float("nan"),
        most=float(sure.max()),
    )
