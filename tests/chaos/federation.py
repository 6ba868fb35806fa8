"""A federation in which workers and their broker are killed, and started again as a Job and an operator would."""

from __future__ import annotations

import random
import secrets
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from demo.backend import job_environment
from demo.broker import Broker
from demo.cloud import Cloud
from demo.errors import DemoError, PeerError
from demo.guard import guarded_folder, tail
from demo.rounds import AnnouncedModel
from demo.write import write_stream
from tests.chaos.client import KILLED, TAIL, Client
from tests.chaos.judge import View, judge
from tests.chaos.strikes import Strike, Victim
from tests.support import golden

ROUND_LIMIT_S = 120.0
END_LIMIT_S = 60.0
LOOK_S = 0.02
MOST_DOWN_S = 2.0  # between a broker's end and its start
MOST_WAIT_S = 3.0  # from a round's begin to a broker's end in it
SAMPLES = 100
VALIDATION_RATE = 0.2
ISOLATIONS = ("read_uncommitted", "read_committed")


@dataclass(frozen=True, slots=True)
class Form:
    """What a federation is put through.

    Attributes:
        isolation: the cloud's, and the workers' setting.
        plans: client id → what strikes it, or strikes the broker by its hand.
        broker: rounds in which the broker is killed from outside, in order.
        delivery: client id → the workers' setting, where it is not exactly-once.
    """

    rounds: int
    isolation: str
    plans: Mapping[str, Sequence[Strike]]
    broker: Sequence[int] = ()
    delivery: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Outcome:
    """What came of it.

    Attributes:
        strikes: what fell.
        restarts: of the broker.
        ends: how often a worker ended with each status.
        rounds: that the cloud has completed.
        ignored: replies that the cloud did not count, by reason.
        longest_s: the longest round.
        views: isolation → what its readers have of it.
    """

    strikes: list[Strike] = field(default_factory=list)
    restarts: int = 0
    ends: Counter[int] = field(default_factory=Counter)
    rounds: int = 0
    ignored: Mapping[str, int] = field(default_factory=dict)
    longest_s: float = 0.0
    seconds: float = 0.0
    views: Mapping[str, View] = field(default_factory=dict)

    @property
    def kills(self) -> int:
        """Of workers."""
        return sum(strike.victim == Victim.WORKER for strike in self.strikes)


class Keeper:
    """Starts again what was killed, and kills from outside what is due, in threads of its own.

    Args:
        kills: rounds in which the broker is killed, in order.
        chance: for when, and for how long it is down.
    """

    def __init__(self, broker: Broker, clients: Sequence[Client], kills: Sequence[int], chance: random.Random) -> None:
        self.round = 0
        self.outcome = Outcome()
        self._broker = broker
        self._running = list(clients)
        self._kills = list(kills)
        self._chance = chance
        self._broker_was_struck = threading.Event()
        self._fault: Exception | None = None
        self._is_over = threading.Event()
        self._threads = [threading.Thread(target=self._guard, args=(work,)) for work in (self._keep_workers, self._keep_broker)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, _type: type[BaseException] | None, _exc: BaseException | None, _tb: TracebackType | None) -> None:
        self._is_over.set()
        for thread in self._threads:
            thread.join()
        for client in self._running:
            client.end()

    def check(self) -> None:
        """Raise what went wrong meanwhile."""
        if self._fault is not None:
            raise self._fault

    def wait(self, limit_s: float) -> None:
        """Wait until all workers have ended with 0."""
        deadline = time.monotonic() + limit_s
        while self._running:
            self.check()
            if time.monotonic() > deadline:
                raise PeerError(f"a worker did not end within {limit_s:.0f} s after the last round")
            time.sleep(LOOK_S)
        self.check()

    def tails(self) -> str:
        """How the logs of the workers that run end."""
        return "\n".join(f"{client.log}:\n{tail(client.log, TAIL)}" for client in self._running)

    def _guard(self, work: Callable[[], None]) -> None:
        try:
            work()
        except Exception as exc:  # noqa: BLE001 - `check` raises it where somebody waits
            self._fault = exc

    def _keep_workers(self) -> None:
        while not self._is_over.wait(LOOK_S):
            for client in tuple(self._running):
                seen = client.look(self.round)
                self.outcome.strikes += seen.fallen
                if any(strike.victim == Victim.BROKER for strike in seen.fallen):
                    self._broker_was_struck.set()
                if seen.status is not None:
                    self.outcome.ends[seen.status] += 1
                if seen.status == 0:
                    self._running.remove(client)
                elif seen.status not in (None, KILLED):
                    raise client.died(seen.status)

    def _keep_broker(self) -> None:
        while not self._is_over.is_set():
            if self._kills and self._kills[0] <= self.round:
                self._kills.pop(0)
                self._broker_was_struck.wait(self._chance.uniform(0, MOST_WAIT_S))
                self._broker_was_struck.set()
            if self._broker_was_struck.wait(LOOK_S):
                self._broker.kill()
                self._broker_was_struck.clear()
                time.sleep(self._chance.uniform(0, MOST_DOWN_S))
                self._broker.start()
                self.outcome.restarts += 1


def faults(form: Form, outcome: Outcome) -> list[str]:
    """What an outcome has that it must not have, each in words."""
    view, clients = outcome.views[form.isolation], len(form.plans)
    told = {
        "models that a worker has not answered": view.lost,
        "models that a worker has answered more than once": view.doubled,
        "replies to no model": view.strays,
        "replies that the cloud did not count": [f"{count} of {why}" for why, count in outcome.ignored.items()],
        f"workers that ended well, expected {clients}": [str(outcome.ends[0])] if outcome.ends[0] != clients else [],
        f"rounds, expected {form.rounds}": [str(outcome.rounds)] if outcome.rounds != form.rounds else [],
    }
    return [f"{what}: {', '.join(those)}" for what, those in told.items() if those]


def federate(form: Form, model: AnnouncedModel, chance: random.Random) -> Outcome:
    """Run a federation to its end, and judge its log.

    Args:
        model: of golden samples.
        chance: for what is not in the form.

    Raises:
        DemoError: a worker ended otherwise than by a kill or with 0, or hung; the cloud could not do its rounds. The text holds
            the ends of the logs.
    """
    begun = time.monotonic()
    model_id = f"chaos-{secrets.token_hex(4)}"
    with ExitStack() as stack:
        folder = stack.enter_context(guarded_folder("chaos-"))
        broker = Broker(folder)
        broker.start()
        stack.callback(broker.kill)
        clients = [
            Client(name, _environment(broker.bootstrap, model_id, name, form), plan, folder)
            for name, plan in form.plans.items()
        ]
        keeper = Keeper(broker, clients, form.broker, chance)
        cloud = stack.enter_context(Cloud(broker.bootstrap, model_id, keeper.check, form.isolation))
        cloud.create_topics()
        stack.enter_context(keeper)
        outcome = keeper.outcome
        try:
            since = time.monotonic()
            for one in cloud.run(model, rounds=form.rounds, clients=len(clients), round_limit_s=ROUND_LIMIT_S):
                now = time.monotonic()
                outcome.longest_s, since = max(outcome.longest_s, now - since), now
                outcome.rounds += len(one.replies) == len(clients)
                keeper.round += 1
            keeper.wait(END_LIMIT_S)
        except DemoError as exc:
            raise PeerError(f"{exc}\n{outcome}\n{keeper.tails()}") from exc
        outcome.ignored = dict(cloud.ignored)
        outcome.views = {one: judge(broker.bootstrap, model_id, list(form.plans), one) for one in ISOLATIONS}
    outcome.seconds = time.monotonic() - begun
    return outcome


def _environment(bootstrap: str, model_id: str, name: str, form: Form) -> dict[str, str]:
    samples = golden.samples()
    stream = write_stream(bootstrap, f"{model_id}-{name}", samples.features[:SAMPLES], samples.labels[:SAMPLES], "RAW")
    environment = job_environment(
        stream,
        cloud_bootstrap=bootstrap,
        data_bootstrap=bootstrap,
        model_id=model_id,
        validation_rate=VALIDATION_RATE,
        test_rate=0.0,
        client_id=name,
    )
    delivery = {"DELIVERY": form.delivery[name]} if name in form.delivery else {}
    return environment | {"CLOUD_ISOLATION": form.isolation, "WAIT_LIMIT_S": f"{ROUND_LIMIT_S:.0f}"} | delivery
