"""CASE 2: windows of the moving stream, each fitted as it comes, until the stream falls silent or the round is long enough."""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Protocol, final

from config import Settings
from decoders import Decoder
from federated_mainTraining import Train
from federated_singleClassicTraining import single_classic
from protocol.errors import SpaceLackError
from protocol.messages import ModelMessage, Trained
from protocol.metrics import collect
from protocol.positions import Positions
from protocol.records import BadRecord
from protocol.windows import Window
from training.datasets import FitData
from training.dialects import TrainableModel
from training.fit import Epoch, evaluate, fit
from training.pseudo_labels import fit_with_windows
from training.split import split
from training.stopping import Stop
from training.store import Kept, Store
from training.unlabelled import Unlabelled

log = logging.getLogger(__name__)

SEEDS = 2**32
COLLECT_BYTES = 2**26


@final
class _Leftovers:
    """What is left of the windows of a round, collected now and then.

    Pipelines refer to themselves, and so to their window's arrays; left to Python's collector, those of many windows pile up.
    """

    def __init__(self) -> None:
        self._bytes = 0

    def add(self, kept: Kept) -> None:
        self._bytes += kept.samples.nbytes
        if self._bytes >= COLLECT_BYTES:
            gc.collect()
            self._bytes = 0


class Windows(Protocol):
    """A moving stream."""

    def windows(self, start: Positions | None, silence_s: float | None) -> Iterator[Window]:
        """The windows of a round that begins at a position, and that so many seconds of silence end; None = no silence does."""

    def hand_over(self, bad: Sequence[BadRecord]) -> None:
        """Keep the bad records of a window, where they are to be kept."""


@dataclass(frozen=True, slots=True)
class Labelled:
    """A bounded labelled stream beside a moving one that has no labels.

    Attributes:
        data: waits for it; may be called again.
        decoder: has decoded it.
    """

    data: Callable[[], FitData]
    decoder: Decoder


def single_incremental(
    settings: Settings, stream: Callable[[], Windows], stop: Stop, memory: int, labelled: Labelled | None
) -> Train:
    """Trains as CASE 2 does.

    What the optimizer has learnt goes on from window to window of a round. The model is tested at the end of the round, on the
    test part of the last window that has one.

    Args:
        stream: waits until it is open. May be called again.
        stop: of the pipelines.
        memory: bytes that decoded streams may take; what is more is kept on disk.
        labelled: where the moving stream has no labels, the one that has.
    """
    if labelled is not None:
        return _semi_supervised(settings, stream, stop, memory, labelled)
    tell_once = cache(log.info)
    decoder = settings.decoder()  # of all windows: the first good record settles what INPUT_CONFIG leaves open

    def train(trainable: TrainableModel, message: ModelMessage, seed: int) -> Trained:
        if message.settings.unsupervised:
            tell_once("training_settings.unsupervised is true and UNSUPERVISED_TOPIC is not set: trained on DATA_TOPIC alone")
        epochs: list[Epoch] = []
        samples, positions, tested = 0, message.positions, None
        leftovers = _Leftovers()
        for number, window in enumerate(stream().windows(message.positions, silence_s(message))):
            data = window_data(settings, stream(), window, decoder, stop, memory)
            parts = data.split
            log.info(
                "window=%d training=%d validation=%d test=%d bad=%d",
                number,
                len(parts.training),
                len(parts.validation),
                len(parts.test),
                data.bad,
            )
            epochs += fit(trainable, data, message, (seed + number) % SEEDS)
            samples, positions = samples + len(data.kept), window.positions
            tested = data if parts.test else tested
            leftovers.add(data.kept)
        test = None if tested is None else evaluate(trainable, tested, message)
        return Trained(collect(epochs, test), samples, positions)

    return train


def _semi_supervised(settings: Settings, stream: Callable[[], Windows], stop: Stop, memory: int, labelled: Labelled) -> Train:
    """Trains on the labelled stream, whole, in every round, and on each window with what the model is sure of in it."""
    behind: Positions | None = None  # the last window that was trained on, or passed over

    def unlabelled(message: ModelMessage) -> Iterator[Unlabelled]:
        nonlocal behind
        left = memory - labelled.data().kept.memory_bytes
        leftovers = _Leftovers()
        for window in stream().windows(message.positions, silence_s(message)):
            kept, _bad = _keep_window(settings, stream(), window, labelled.decoder.of_values(), left)
            yield Unlabelled(kept, stop)
            behind = window.positions
            leftovers.add(kept)

    def fit_on_both(trainable: TrainableModel, data: FitData, message: ModelMessage, seed: int) -> list[Epoch]:
        return fit_with_windows(trainable, data, unlabelled(message), message, seed)

    train_on_both = single_classic(settings, labelled.data, fit_on_both)

    def train(trainable: TrainableModel, message: ModelMessage, seed: int) -> Trained:
        nonlocal behind
        behind = message.positions
        trained = train_on_both(trainable, message, seed)
        return replace(trained, positions=behind)

    return train


def silence_s(message: ModelMessage) -> float | None:
    """How long a silence ends a round, in seconds; None = none does."""
    timeout_ms = message.settings.stream_timeout
    return None if timeout_ms is None or timeout_ms < 0 else timeout_ms / 1000


def window_data(settings: Settings, stream: Windows, window: Window, decoder: Decoder, stop: Stop, memory: int) -> FitData:
    """Decode a window, and cut it into its parts; at least one sample is left to train on.

    Raises:
        BadRecordError: a record cannot be decoded, and none may be left out.
        DataError: too many of the window cannot.
        SpaceLackError: memory or disk are too small for it.
    """
    kept, bad = _keep_window(settings, stream, window, decoder, memory)
    parts = split(len(kept), validation_rate=settings.validation_rate, test_rate=settings.test_rate, least=1)
    return FitData(kept, parts, stop, bad)


def _keep_window(settings: Settings, stream: Windows, window: Window, decoder: Decoder, memory: int) -> tuple[Kept, int]:
    """The samples of a window, and how many records are none."""
    sieve = settings.sieve(len(window), decoder)
    try:
        with Store(len(window), memory, settings.spill_folder) as store:
            for samples in sieve.samples(window.batches):
                store.add(samples)
            kept = store.finish()
    except MemoryError as exc:
        raise SpaceLackError("no memory for a window: give the pod more, or lower WINDOW_RECORDS") from exc
    if sieve.bad:
        stream.hand_over(sieve.bad)
    return kept, len(sieve.bad)
