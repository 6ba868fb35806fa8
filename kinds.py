"""The kinds of training at work: which streams each reads, in the background, and how it trains on them."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

from config import Settings
from decoders import Decoder
from federated_distributedClassicTraining import distributed_classic
from federated_mainTraining import Train, Trained
from federated_singleClassicTraining import single_classic
from federated_singleIncrementalTraining import single_incremental
from reading import keep_labelled_stream, keep_unlabelled_stream, open_moving_stream, stream_memory
from training.datasets import FitData
from training.stopping import Stop
from training.unlabelled import Unlabelled
from transport.patience import Patience, awaited
from transport.windows import MovingStream
from utils import in_background


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
Classic: TypeAlias = Callable[[Settings, Callable[[], FitData], Callable[[], Unlabelled] | None], Train]
Incremental: TypeAlias = Callable[[Settings, Callable[[], MovingStream], Stop, int], Train]


def _classic(kind: Classic, settings: Settings, stop: Stop, _stack: ExitStack) -> Kind:
    decoder = settings.decoder()
    labelled = in_background("stream", lambda: keep_labelled_stream(settings, decoder, stop))
    unlabelled = _read_unlabelled(settings, decoder, labelled, stop) if settings.unsupervised_stream else None

    def data() -> FitData:
        return awaited(labelled, Patience("the labelled stream to be read", None))  # every wait of reading has its own limit

    return Kind((labelled,), kind(settings, data, unlabelled))


def _read_unlabelled(settings: Settings, decoder: Decoder, labelled: Future[FitData], stop: Stop) -> Callable[[], Unlabelled]:
    """Read the unlabelled stream in the background, once the labelled one is there; returns what waits for it.

    What reading it fails with is told to whoever waits: a model that is not trained on it needs it not.
    """
    stream = in_background("unlabelled stream", lambda: keep_unlabelled_stream(settings, decoder, labelled.result(), stop))
    return lambda: awaited(stream, Patience("the unlabelled stream to be read", None))


def _incremental(kind: Incremental, settings: Settings, stop: Stop, stack: ExitStack) -> Kind:
    opened = in_background("stream", lambda: open_moving_stream(settings, stack))

    def stream() -> MovingStream:
        return awaited(opened, Patience("the stream to be opened", None))  # as above

    def answered(trained: Trained) -> None:
        if trained.positions is not None:
            stream().commit(trained.positions)

    return Kind((opened,), kind(settings, stream, stop, stream_memory(settings)), answered)


KINDS: dict[int, Start] = {
    1: partial(_classic, single_classic),
    2: partial(_incremental, single_incremental),
    3: partial(_classic, distributed_classic),
}
