"""What is killed, when, and in which round."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum


class Victim(StrEnum):
    """Whose process is sent a SIGKILL."""

    WORKER = "worker"
    BROKER = "broker"


class Moment(StrEnum):
    """Where a worker is. All but the first are met by the worker itself."""

    ANY_TIME = "at any time"
    PREPARING = "transactions are being prepared"
    ARRAYS = "arrays acknowledged, no reply yet"
    SENDING = "reply on its way"
    REPLIED = "reply acknowledged, the offset not sent"
    OFFSET = "offset sent, nothing committed"
    COMMITTING = "commit on its way"
    COMMITTED = "just committed"
    FOUND = "reply of a former life found, the offset alone not sent"
    CATCHING_UP = "the offset alone on its way"
    CAUGHT_UP = "the offset alone just committed"


# How long a moment may last in which a strike falls: seconds after its begin.
LASTING_S: Mapping[Moment, float] = {
    Moment.ANY_TIME: 8.0,
    Moment.PREPARING: 0.03,
    Moment.SENDING: 0.004,
    Moment.COMMITTING: 0.008,
    Moment.CATCHING_UP: 0.004,
}


@dataclass(frozen=True, slots=True)
class Strike:
    """One SIGKILL.

    Attributes:
        due: the round, from 0, before which it does not fall.
        delay_s: from the moment's begin, for one that lasts.
    """

    victim: Victim
    moment: Moment
    due: int = 0
    delay_s: float = 0.0


def dump(strikes: Iterable[Strike]) -> str:
    """For a command line."""
    return json.dumps([asdict(strike) for strike in strikes])


def load(text: str) -> list[Strike]:
    """What `dump` wrote."""
    return [Strike(Victim(one["victim"]), Moment(one["moment"]), one["due"], one["delay_s"]) for one in json.loads(text)]


def dealt(kinds: Counter[tuple[Victim, Moment]], rounds: int, chance: random.Random) -> list[Strike]:
    """Strikes in mixed order, spread over the rounds but the last two, in which what was late can still fall."""
    mixed = list(kinds.elements())
    chance.shuffle(mixed)
    return [
        Strike(victim, moment, number * (rounds - 2) // len(mixed), chance.uniform(0, LASTING_S.get(moment, 0.0)))
        for number, (victim, moment) in enumerate(mixed)
    ]
