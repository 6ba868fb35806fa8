"""Streams that have been read and decoded."""

from __future__ import annotations

from pathlib import Path

from protocol.records import Samples
from training.datasets import FitData
from training.split import split
from training.stopping import Stop
from training.store import Kept, Store

PLENTY = 2**30


def kept(samples: Samples, *, memory_bytes: int = PLENTY, folder: Path = Path()) -> Kept:
    """A stream that came in one batch."""
    store = Store(len(samples), memory_bytes, folder)
    store.add(samples)
    return store.finish()


def fit_data(samples: Samples, *, validation_rate: float = 0.2, test_rate: float = 0.0, stop: Stop | None = None) -> FitData:
    """A stream, cut into its parts."""
    return FitData(kept(samples), split(len(samples), validation_rate=validation_rate, test_rate=test_rate), stop or Stop())
