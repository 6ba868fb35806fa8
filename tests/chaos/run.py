"""`python -m tests.chaos.run`: federations of twenty rounds in which workers are killed thirty times and the broker five.

Prints its seed, which `--seed` takes, writes a table to docs/reliability.md, and ends with 1 where a round was not answered exactly
once in the view of the cloud's isolation.
"""

from __future__ import annotations

import argparse
import random
import secrets
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import partial

from benchmarks.measure import ROOT, machine, put_section, table
from demo.errors import DemoError
from tests.chaos.client import KILLED
from tests.chaos.federation import ISOLATIONS, Form, Outcome, faults, federate
from tests.chaos.strikes import Moment, Strike, Victim, dealt
from tests.integration.conftest import announced

REPORT = ROOT / "docs" / "reliability.md"
LEAST_KILLS = 30
LEAST_RESTARTS = 5
ROUNDS = 20
UNCOMMITTED, COMMITTED = ISOLATIONS

WORKER, BROKER = Victim.WORKER, Victim.BROKER
# What strikes each of two clients.
EXACTLY_ONCE = Counter(
    {
        (WORKER, Moment.ANY_TIME): 3,
        (WORKER, Moment.PREPARING): 1,
        (WORKER, Moment.ARRAYS): 2,
        (WORKER, Moment.SENDING): 2,
        (WORKER, Moment.REPLIED): 3,
        (WORKER, Moment.OFFSET): 2,
        (WORKER, Moment.COMMITTING): 3,
        (WORKER, Moment.COMMITTED): 2,
        (BROKER, Moment.REPLIED): 1,
        (BROKER, Moment.COMMITTING): 1,
    }
)
FOUND = Counter({(WORKER, Moment.FOUND): 1, (WORKER, Moment.CATCHING_UP): 1, (WORKER, Moment.CAUGHT_UP): 1})
AT_LEAST_ONCE = Counter(
    {
        (WORKER, Moment.ANY_TIME): 1,
        (WORKER, Moment.ARRAYS): 1,
        (WORKER, Moment.SENDING): 1,
        (WORKER, Moment.REPLIED): 2,
        (WORKER, Moment.COMMITTING): 1,
        (WORKER, Moment.COMMITTED): 1,
        (BROKER, Moment.REPLIED): 1,
    }
)
BROKER_KILLS = (4, 9, 14)  # rounds, at any time
FEW_BROKER_KILLS = (3,)


CLIENTS = ("c1", "c2")
FEW_ROUNDS = 8


def forms(chance: random.Random) -> Mapping[str, Form]:
    """What is run, by name."""

    def plans(kinds: Counter[tuple[Victim, Moment]], rounds: int) -> dict[str, list[Strike]]:
        return {client: dealt(kinds, rounds, chance) for client in CLIENTS}

    fallback = dict.fromkeys(CLIENTS, "at-least-once")
    return {
        "exactly once, cloud reads uncommitted": Form(ROUNDS, UNCOMMITTED, plans(EXACTLY_ONCE + FOUND, ROUNDS), BROKER_KILLS),
        "exactly once, cloud reads committed": Form(ROUNDS, COMMITTED, plans(EXACTLY_ONCE, ROUNDS), BROKER_KILLS),
        "at least once, cloud reads uncommitted": Form(
            FEW_ROUNDS, UNCOMMITTED, plans(AT_LEAST_ONCE + FOUND, FEW_ROUNDS), FEW_BROKER_KILLS, fallback
        ),
    }


def too_few(outcome: Outcome) -> list[str]:
    """What of a long form was less than it should be, each in words."""
    counts = {"kills of workers": (outcome.kills, LEAST_KILLS), "restarts of the broker": (outcome.restarts, LEAST_RESTARTS)}
    return [f"{what}: {count}, expected at least {least}" for what, (count, least) in counts.items() if count < least]


def report(outcomes: Mapping[str, Outcome], seed: int, seconds: float) -> str:
    """The section on it, in Markdown."""
    command = f"`make chaos SEED={seed}` on {datetime.now(UTC):%d %B %Y}, {seconds:.0f} s.\n{machine()}."
    struck = {name: Counter((one.victim, one.moment) for one in outcome.strikes) for name, outcome in outcomes.items()}
    kinds = [
        (victim, moment) for victim in Victim for moment in Moment if any(each[victim, moment] for each in struck.values())
    ]
    rows = [
        *([f"{victim} killed: {moment}", *(str(each[victim, moment]) for each in struck.values())] for victim, moment in kinds),
        *([what, *map(tell, outcomes.values())] for what, tell in FIGURES.items()),
    ]
    return f"{command}\n\n{table(('', *outcomes), rows)}"


def _view(isolation: str, outcome: Outcome) -> str:
    view = outcome.views[isolation]
    return f"{view.replies}, {len(view.doubled)}, {len(view.lost)}"


FIGURES: Mapping[str, Callable[[Outcome], str]] = {
    "**kills of workers**": lambda outcome: str(outcome.kills),
    "**restarts of the broker**": lambda outcome: str(outcome.restarts),
    "rounds of two workers": lambda outcome: str(outcome.rounds),
    **{f"{isolation}: replies, models answered twice, models without": partial(_view, isolation) for isolation in ISOLATIONS},
    "workers that ended by themselves before the last round": lambda outcome: str(
        sum(count for status, count in outcome.ends.items() if status not in (0, KILLED))
    ),
    "the longest round": lambda outcome: f"{outcome.longest_s:.0f} s",
    "all of it": lambda outcome: f"{outcome.seconds:.0f} s",
}


def main() -> int:
    """Run all forms, and tell of them."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.run", description="Kill workers and brokers.")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(10**6), help="of what is drawn by chance")
    seed = parser.parse_args().seed
    print(f"seed {seed}", flush=True)
    begun, model, outcomes, failed = time.monotonic(), announced(), {}, False
    for name, form in forms(random.Random(seed)).items():
        print(f"{name} …", flush=True)
        try:
            outcomes[name] = federate(form, model, random.Random(f"{seed} {name}"))
        except DemoError as exc:
            print(exc, file=sys.stderr)
            return 1
        found = faults(form, outcomes[name]) + (too_few(outcomes[name]) if form.rounds == ROUNDS else [])
        failed = failed or bool(found)
        print("\n".join(found), file=sys.stderr, end="\n" if found else "")
    told = report(outcomes, seed, time.monotonic() - begun)
    print(told)
    if not failed:
        put_section(REPORT, "chaos", told)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
