"""CASE 1: the whole labelled stream, read once for the Job's life, serves every epoch of every round."""

from __future__ import annotations

import logging
from collections.abc import Iterable

import numpy as np

from config import Settings
from decoders import Decoder
from federated_mainTraining import Kind
from protocol.errors import DataError, ModelError
from protocol.messages import Metrics, ModelMessage
from protocol.records import RecordBatch, Samples
from training.datasets import FitData
from training.dialects import TrainableModel
from training.fit import fit
from training.split import is_grouped, split

log = logging.getLogger(__name__)


def single_classic(settings: Settings, samples: Samples) -> Kind:
    """The row of functions for CASE 1.

    Raises:
        DataError: no sample would be left to train on.
    """
    parts = split(samples, validation_rate=settings.validation_rate, test_rate=settings.test_rate)
    data = FitData.of(parts)
    grouped = is_grouped(parts.training.labels)
    num_data = settings.total_msg if settings.total_msg is not None else len(samples)
    log.info(
        "samples training=%d validation=%d test=%d features=%s %s labels=%s %s",
        len(data.training),
        len(data.validation),
        len(data.test),
        samples.features.shape[1:],
        samples.features.dtype,
        samples.labels.shape[1:],
        samples.labels.dtype,
    )

    def train(trainable: TrainableModel, message: ModelMessage, seed: int) -> Metrics:
        _check_supervised(settings, message)
        if grouped and not message.settings.kwargs_fit.get("shuffle"):
            log.warning(
                'the training labels look sorted and nothing shuffles them: a model learns little so; set "shuffle": true in '
                "the kwargs_fit of the deployment, or write the stream in mixed order"
            )
        return fit(trainable, data, message, seed)

    return Kind(train=train, num_data=lambda: num_data)


def decode_stream(decoder: Decoder, stream: Iterable[RecordBatch]) -> Samples:
    """Decode a bounded stream into one array of features and one of labels.

    Raises:
        BadRecordError: a record cannot be decoded.
        DataError: the stream holds no record with a value and a key.
    """
    parts = [decoder.decode(batch) for batch in stream]
    if not parts:
        raise DataError("DATA_TOPIC holds no record with a value and a key: has the device written its labelled stream?")
    return Samples(
        np.concatenate([part.features for part in parts]),
        np.concatenate([part.labels for part in parts]),
    )


def _check_supervised(settings: Settings, message: ModelMessage) -> None:
    if not message.settings.unsupervised:
        return
    if settings.unsupervised_stream is not None:
        raise ModelError(
            "training_settings.unsupervised: expected false, received true with an UNSUPERVISED_TOPIC; "
            f"this worker does not train on unlabelled streams, at {message.place}"
        )
    log.info("training_settings.unsupervised is true and UNSUPERVISED_TOPIC is not set: trained on the labelled stream alone")
