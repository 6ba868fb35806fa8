"""What the worker tells of its rounds to whoever watches: the seam between what works and the outlets in observing/.

What works says that a phase begins and ends, and what it has done: names, counts, seconds and losses; never a value of the
data, nor anything secret. Who listens is the process's, as its log is. Nobody listens where no setting asks for it, and then
telling costs a look at an empty tuple. A listener that fails is told of once, and heard no more: it must not cost a round.

The phases of a worker, as they lie within one another:

    read, read unlabelled    a bounded stream is read and decoded, in the background
    wait                     for a model to train
    round
    ├── load                 the model is built where it is another one, its weights are set
    │   └── weights          they are read
    ├── prepare              the reply topic is looked at
    ├── train
    │   ├── fit              one for each window, and each pass over an unlabelled stream
    │   └── test             on the test part
    └── reply                weights, metrics and offset are sent and acknowledged
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeAlias

log = logging.getLogger(__name__)

ROUND = "round"


@dataclass(frozen=True, slots=True)
class PhaseBegun:
    """A phase begins in the thread that tells it.

    Attributes:
        version: of the model, where the phase is a round.
    """

    name: str
    version: int | None = None


@dataclass(frozen=True, slots=True)
class PhaseEnded:
    """The phase that began last in this thread, and has not ended, ends.

    Attributes:
        fault: the class of the exception that it ends with; empty for none.
    """

    name: str
    seconds: float
    fault: str = ""


@dataclass(frozen=True, slots=True)
class RoundAnswered:
    """A reply stands.

    Attributes:
        numbers: the last of each metric; `val_` before those of the validation part, `test_` before those of the test part.
    """

    version: int
    samples: int
    numbers: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class RoundDropped:
    """A round is not answered, since its federation is gone, or has gone on without it."""

    version: int


@dataclass(frozen=True, slots=True)
class EpochDone:
    """An epoch of a fit is done.

    Attributes:
        numbers: what Keras tells of it, by name.
        keras: the library that has trained it.
        model: what it has trained.
    """

    numbers: Mapping[str, float]
    keras: Any
    model: Any


@dataclass(frozen=True, slots=True)
class RecordsRead:
    """Records of a stream have come, each a sample to be.

    Attributes:
        bytes: of their keys and values.
    """

    topic: str
    records: int
    bytes: int


@dataclass(frozen=True, slots=True)
class BadRecords:
    """Records of a stream are left out, since they cannot be decoded."""

    topic: str
    records: int


@dataclass(frozen=True, slots=True)
class WeightsMoved:
    """The weights of a model have been received, or sent."""

    direction: Literal["received", "sent"]
    bytes: int


@dataclass(frozen=True, slots=True)
class Lag:
    """How many messages stand on the control topic behind the one that is about to be answered."""

    models: int


Event: TypeAlias = (
    PhaseBegun | PhaseEnded | RoundAnswered | RoundDropped | EpochDone | RecordsRead | BadRecords | WeightsMoved | Lag
)


class Watcher(Protocol):
    """Hears what the worker tells, in the worker's own threads: it must be quick, and may not wait for anybody.

    Attributes:
        setting: the variable that asks for it.
    """

    setting: str

    def tell(self, event: Event) -> None: ...


_watchers: tuple[Watcher, ...] = ()


@contextlib.contextmanager
def watched_by(watchers: Sequence[Watcher]) -> Iterator[None]:
    """Tell these, and nobody else, within the `with`."""
    global _watchers  # noqa: PLW0603 - who watches is the process's
    before, _watchers = _watchers, tuple(watchers)
    try:
        yield
    finally:
        _watchers = before


def is_watched() -> bool:
    """Whether there is somebody, so that it is worth an effort."""
    return bool(_watchers)


def tell(event: Event) -> None:
    """Tell whoever watches."""
    global _watchers  # noqa: PLW0603 - who watches is the process's
    for one in _watchers:
        try:
            one.tell(event)
        except Exception as exc:  # noqa: BLE001 - whatever others' libraries raise; it may name what is secret
            _watchers = tuple(other for other in _watchers if other is not one)
            log.warning("%s has failed (%s), and is told nothing more; the training goes on", one.setting, type(exc).__name__)


@contextlib.contextmanager
def phase(name: str, version: int | None = None) -> Iterator[None]:
    """Tell that a phase begins, and how it ended.

    Args:
        version: of the model, where the phase is a round.
    """
    if not _watchers:
        yield
        return
    begun, fault = time.monotonic(), ""
    tell(PhaseBegun(name, version))
    try:
        yield
    except BaseException as exc:
        fault = type(exc).__name__
        raise
    finally:
        tell(PhaseEnded(name, time.monotonic() - begun, fault))
