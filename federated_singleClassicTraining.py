"""CASE 1: the whole labelled stream, read once for the Job's life, serves every epoch of every round."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache

from config import Settings
from federated_mainTraining import Train, Trained
from protocol.errors import DataError, ModelError, SpaceLackError
from protocol.messages import ModelMessage
from protocol.metrics import collect
from protocol.records import RecordBatch
from sieve import Sieve
from training.datasets import FitData
from training.dialects import TrainableModel
from training.fit import evaluate, fit
from training.split import is_grouped, split
from training.stopping import Stop
from training.store import Store

log = logging.getLogger(__name__)

READ_AHEAD = 2  # batches of the stream that wait to be decoded and kept


def single_classic(settings: Settings, data: Callable[[], FitData]) -> Train:
    """Trains as CASE 1 does.

    Args:
        data: waits for the stream, which is read while TensorFlow loads and a model is awaited. May be called again.
    """

    @cache
    def is_sorted() -> bool:
        return is_grouped(data().kept.samples.labels[: len(data().split.training)])

    def train(trainable: TrainableModel, message: ModelMessage, seed: int) -> Trained:
        check_supervised(settings, message)
        if is_sorted() and not message.settings.kwargs_fit.get("shuffle"):
            log.warning(
                'the training labels look sorted and nothing shuffles them: a model learns little so; set "shuffle": true in '
                "the kwargs_fit of the deployment, or write the stream in mixed order"
            )
        epochs = fit(trainable, data(), message, seed)
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


def check_supervised(settings: Settings, message: ModelMessage) -> None:
    """Refuse to train on an unlabelled stream; say where there is none to train on.

    Raises:
        ModelError: there is one.
    """
    if not message.settings.unsupervised:
        return
    if settings.unsupervised_stream is not None:
        raise ModelError(
            "training_settings.unsupervised: expected false, received true with an UNSUPERVISED_TOPIC; "
            f"this worker does not train on unlabelled streams, at {message.place}"
        )
    log.info("training_settings.unsupervised is true and UNSUPERVISED_TOPIC is not set: trained on the labelled stream alone")
