"""CASE 1: the whole labelled stream, read once for the Job's life, serves every epoch of every round."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from typing import TypeAlias

from config import Settings
from federated_mainTraining import Train
from protocol.errors import DataError, SpaceLackError
from protocol.messages import ModelMessage, Trained
from protocol.metrics import collect
from protocol.records import RecordBatch
from sieve import Sieve
from training.datasets import FitData
from training.dialects import TrainableModel
from training.fit import Epoch, evaluate, fit
from training.split import is_grouped, split
from training.stopping import Stop
from training.store import Store
from training.unlabelled import Unlabelled

log = logging.getLogger(__name__)

READ_AHEAD = 2  # batches of the stream that wait to be decoded and kept


# Fits a model on the labelled stream and on the unlabelled one, as the kind has it; the last argument is a seed.
FitOnBoth: TypeAlias = Callable[[TrainableModel, FitData, ModelMessage, int], list[Epoch]]


def single_classic(settings: Settings, data: Callable[[], FitData], fit_on_both: FitOnBoth | None) -> Train:
    """Trains as CASE 1 does.

    Args:
        data: waits for the labelled stream, which is read while TensorFlow loads and a model is awaited. May be called again.
        fit_on_both: called where a model is to be trained on an unlabelled stream too; None where there is none.
    """

    @cache
    def is_sorted() -> bool:
        return is_grouped(data().kept.samples.labels[: len(data().split.training)])

    tell_once = cache(log.info)

    def epochs_of(trainable: TrainableModel, message: ModelMessage, seed: int) -> list[Epoch]:
        if message.settings.unsupervised and fit_on_both is not None:
            return fit_on_both(trainable, data(), message, seed)
        if message.settings.unsupervised:
            tell_once(
                "training_settings.unsupervised is true and UNSUPERVISED_TOPIC is not set: trained on the labelled stream alone"
            )
        elif fit_on_both is not None:
            tell_once(
                "UNSUPERVISED_TOPIC is set and training_settings.unsupervised is false: trained on the labelled stream alone"
            )
        return fit(trainable, data(), message, seed)

    def train(trainable: TrainableModel, message: ModelMessage, seed: int) -> Trained:
        if is_sorted() and not message.settings.kwargs_fit.get("shuffle"):
            log.warning(
                'the training labels look sorted and nothing shuffles them: a model learns little so; set "shuffle": true in '
                "the kwargs_fit of the deployment, or write the stream in mixed order"
            )
        epochs = epochs_of(trainable, message, seed)
        return Trained(collect(epochs, evaluate(trainable, data(), message)), num_data(settings, data()))

    return train


def num_data(settings: Settings, data: FitData) -> int:
    """What replies say of the amount of data: TOTAL_MSG less the bad records, or the records that there are."""
    good = len(data.kept)
    if settings.total_msg is None:
        return good
    # Of another total than the stream's the same share is bad: less the number of them it could fall below 0.
    return max(1, round(settings.total_msg * good / (good + data.bad)))


def keep_stream(settings: Settings, stream: Iterable[RecordBatch], store: Store, sieve: Sieve, stop: Stop) -> FitData:
    """Decode a bounded stream, keep its features and labels, and cut it into its parts.

    Args:
        stop: of the pipelines that it is served by.

    Raises:
        BadRecordError: a record cannot be decoded, and none may be left out.
        DataError: too many cannot; or the stream holds no record with a value and a key, or too few to train on.
        SpaceLackError: memory or disk are too small for it.
    """
    _keep(stream, store, sieve)
    if not len(store):
        raise DataError("DATA_TOPIC holds no record with a value and a key: has the device written its labelled stream?")
    parts = split(len(store), validation_rate=settings.validation_rate, test_rate=settings.test_rate)
    kept = store.finish()
    features, labels = kept.samples.features, kept.samples.labels
    log.info(
        "samples training=%d validation=%d test=%d features=%s %s labels=%s %s",
        len(parts.training),
        len(parts.validation),
        len(parts.test),
        features.shape[1:],
        features.dtype,
        labels.shape[1:],
        labels.dtype,
    )
    return FitData(kept, parts, stop, len(sieve.bad))


def keep_unlabelled(stream: Iterable[RecordBatch], store: Store, sieve: Sieve, stop: Stop) -> Unlabelled:
    """Decode a bounded unlabelled stream as the labelled one was, and keep its features.

    Args:
        sieve: with a decoder of values alone.
        stop: of the pipelines that it is served by.

    Raises:
        DataError: a record cannot be decoded, and none may be left out; or too many cannot; or it holds none with a value.
        SpaceLackError: memory or disk are too small for it.
    """
    try:
        _keep(stream, store, sieve)
    except DataError as exc:
        raise DataError(f"UNSUPERVISED_TOPIC, whose values are read as those of DATA_TOPIC are: {exc}") from exc
    if not len(store):
        raise DataError("UNSUPERVISED_TOPIC holds no record with a value: has the device written its unlabelled stream?")
    log.info("samples unlabelled=%d", len(store))
    return Unlabelled(store.finish(), stop)


def _keep(stream: Iterable[RecordBatch], store: Store, sieve: Sieve) -> None:
    try:
        # Beside reading: most of the work lets go of Python's lock.
        with ThreadPoolExecutor(1, "store") as keeper:
            pending: deque[Future[None]] = deque()
            for samples in sieve.samples(stream):
                pending.append(keeper.submit(store.add, samples))
                if len(pending) > READ_AHEAD:
                    pending.popleft().result()
            for one in pending:
                one.result()
    except MemoryError as exc:
        raise SpaceLackError("no memory for the stream: give the pod more, or lower DATA_MEMORY_LIMIT") from exc
