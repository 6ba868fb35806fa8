"""The kinds of training at work: which streams each reads, in the background, and how it trains on them."""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeAlias

from config import Settings
from decoders import Decoder
from federated_distributedClassicTraining import distributed_classic
from federated_distributedIncrementalTraining import distributed_incremental
from federated_mainTraining import Train
from federated_singleClassicTraining import FitOnBoth, single_classic
from federated_singleIncrementalTraining import Labelled, single_incremental
from protocol.messages import ModelMessage, Trained
from reading import keep_labelled_stream, keep_unlabelled_stream, open_moving_stream, stream_memory
from training.datasets import FitData
from training.dialects import TrainableModel
from training.fit import Epoch
from training.pseudo_labels import fit_with_pseudo_labels
from training.stopping import Stop
from training.unlabelled import Unlabelled
from transport.patience import Patience, awaited
from transport.windows import MovingStream
from utils import in_background

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of training at work.

    Attributes:
        streams: what it cannot do without, which is read or opened in the background.
        answered: what it does when a reply stands.
    """

    streams: tuple[Future[Any], ...]
    train: Train
    answered: Callable[[Trained], object] = lambda _trained: None


Start: TypeAlias = Callable[[Settings, Stop, ExitStack], Kind]
Classic: TypeAlias = Callable[[Settings, Callable[[], FitData], FitOnBoth | None], Train]
Incremental: TypeAlias = Callable[[Settings, Callable[[], MovingStream], Stop, int, Labelled | None], Train]


def _classic(kind: Classic, settings: Settings, stop: Stop, _stack: ExitStack) -> Kind:
    decoder = settings.decoder()
    labelled, data = _read_labelled(settings, decoder, stop)
    if settings.unsupervised_stream is None:
        return Kind((labelled,), kind(settings, data, None))
    unlabelled = in_background("unlabelled stream", lambda: keep_unlabelled_stream(settings, decoder, labelled.result(), stop))

    def fit_on_both(trainable: TrainableModel, data: FitData, message: ModelMessage, seed: int) -> list[Epoch]:
        # What reading it fails with is told here: a model that is not trained on it needs it not.
        def source() -> Unlabelled:
            return awaited(unlabelled, Patience("the unlabelled stream to be read", None, is_alive=False))

        return fit_with_pseudo_labels(trainable, data, source, message, seed)

    return Kind((labelled,), kind(settings, data, fit_on_both))


def _incremental(kind: Incremental, settings: Settings, stop: Stop, stack: ExitStack) -> Kind:
    opened = in_background("moving stream", lambda: open_moving_stream(settings, stack))

    def stream() -> MovingStream:
        return awaited(opened, Patience("the stream to be opened", None, is_alive=False))

    def answered(trained: Trained) -> None:
        # Not open where no model has asked for it.
        if trained.positions is not None and opened.done() and opened.exception() is None:
            opened.result().commit(trained.positions)

    memory = stream_memory(settings)
    if settings.unsupervised_stream is None:
        return Kind((opened,), kind(settings, stream, stop, memory, None), answered)
    decoder = settings.decoder()
    labelled, data = _read_labelled(settings, decoder, stop)
    return Kind((labelled,), kind(settings, stream, stop, memory, Labelled(data, decoder)), answered)


def _read_labelled(settings: Settings, decoder: Decoder, stop: Stop) -> tuple[Future[FitData], Callable[[], FitData]]:
    """Read the labelled stream in the background; returns that, and what waits for it."""
    labelled = in_background("stream", lambda: keep_labelled_stream(settings, decoder, stop))
    # Whatever reads or opens a stream has limits, and shows signs of life, of its own.
    return labelled, lambda: awaited(labelled, Patience("the labelled stream to be read", None, is_alive=False))


def _on_a_blockchain(settings: Settings, stop: Stop, stack: ExitStack) -> Kind:
    if settings.unsupervised_stream is not None:
        log.warning("UNSUPERVISED_TOPIC is set, and not read: a federation on a blockchain trains on labelled streams alone")
    return _classic(single_classic, replace(settings, unsupervised_stream=None), stop, stack)


KINDS: dict[int, Start] = {
    1: partial(_classic, single_classic),
    2: partial(_incremental, single_incremental),
    3: partial(_classic, distributed_classic),
    4: partial(_incremental, distributed_incremental),
    5: _on_a_blockchain,
}
