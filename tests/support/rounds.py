"""A round as the worker tells of it, without a Kafka and without a fit."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from types import SimpleNamespace

import watching
from protocol.topics import Federation
from watching import (
    BadRecords,
    EpochDone,
    Event,
    Lag,
    RecordsRead,
    RoundAnswered,
    RoundDropped,
    Watcher,
    WeightsMoved,
    watched_by,
)

FEDERATION = Federation("dig1", "c1")


class Noting:
    """A watcher that notes what it is told."""

    setting = "NOTING"

    def __init__(self) -> None:
        self.events: list[Event] = []

    def tell(self, event: Event) -> None:
        self.events.append(event)


@contextlib.contextmanager
def noted() -> Iterator[list[Event]]:
    """Note all that is told."""
    noting = Noting()
    with watched_by([noting]):
        yield noting.events


def tell_of_rounds(watchers: Sequence[Watcher], *losses: Sequence[float]) -> None:
    """One round for each row of losses, of so many epochs; all are answered."""
    model = SimpleNamespace()
    with watched_by(watchers):
        watching.tell(RecordsRead("digits", 400, 26_000))
        watching.tell(BadRecords("digits", 3))
        for version, of_epochs in enumerate(losses):
            with watching.phase("round", version):
                with watching.phase("load"), watching.phase("weights"):
                    watching.tell(WeightsMoved("received", 4_000))
                with watching.phase("train"):
                    for loss in of_epochs:
                        watching.tell(EpochDone({"loss": loss, "val_loss": 2 * loss}, None, model))
                watching.tell(Lag(2))
                with watching.phase("reply"):
                    watching.tell(WeightsMoved("sent", 4_100))
                watching.tell(RoundAnswered(version, 397, {"loss": of_epochs[-1], "test_loss": 0.5}))
        watching.tell(RoundDropped(7))
