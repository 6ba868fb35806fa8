"""The worker as a process of its own, with a hand in it that kills it or its broker at planned moments.

`python -m tests.chaos.launcher ROUND STRIKES FALLEN BROKER`: the round that it is started in, strikes as `strikes.dump` writes them,
a file that gets the number of each one that falls, and the file that holds the broker's process id.
"""

from __future__ import annotations

import contextlib
import json
import os
import runpy
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer, Producer

import transport.reader
import transport.writer
from protocol.messages import LAST_VERSION
from tests.chaos.strikes import LASTING_S, Moment, Strike, Victim, load

ENDLESS = 10**9  # the last round, whose version does not tell its number


class Hand:
    """Lets strikes fall, each once, in the first round of the worker that is not before theirs."""

    def __init__(self, begun: int, strikes: list[Strike], fallen: Path, broker: Path) -> None:
        self.round = begun
        self.has_replied = False
        self._strikes = dict(enumerate(strikes))
        self._fallen = fallen
        self._broker = broker

    def at(self, moment: Moment) -> None:
        """Let the strike fall that is planned for this moment, where one is."""
        for number, strike in self._strikes.items():
            if strike.moment == moment and strike.due <= self.round:
                del self._strikes[number]
                if moment in LASTING_S:
                    threading.Timer(strike.delay_s, self._fall, (number, strike.victim)).start()
                else:
                    self._fall(number, strike.victim)
                return

    def _fall(self, number: int, victim: Victim) -> None:
        with self._fallen.open("a") as fallen:
            fallen.write(f"{number}\n")
        if victim == Victim.WORKER:
            os.kill(os.getpid(), signal.SIGKILL)
        with contextlib.suppress(OSError, ValueError):  # it is down already
            os.kill(int(self._broker.read_text()), signal.SIGKILL)


def producer(hand: Hand) -> type[Producer]:
    """librdkafka's producer, whose calls are the moments."""

    class Watched(Producer):
        def init_transactions(self, timeout: float) -> None:  # type: ignore[override]
            hand.at(Moment.PREPARING)
            super().init_transactions(timeout)

        def produce(self, topic: str, *, on_delivery: Callable[[Any, Any], None], **record: Any) -> None:  # type: ignore[override]
            if not topic.endswith("-agg_control_topic"):
                super().produce(topic, on_delivery=on_delivery, **record)
                return
            version = json.loads(record["value"])["version"]
            hand.round = ENDLESS if version == LAST_VERSION else version - 1
            hand.has_replied = True
            hand.at(Moment.ARRAYS)

            def delivered(error: Any, message: Any) -> None:
                on_delivery(error, message)
                if error is None:
                    hand.at(Moment.REPLIED)

            hand.at(Moment.SENDING)
            super().produce(topic, on_delivery=delivered, **record)

        def send_offsets_to_transaction(self, *arguments: Any) -> None:
            super().send_offsets_to_transaction(*arguments)
            hand.at(Moment.OFFSET)

        def commit_transaction(self, timeout: float) -> None:  # type: ignore[override]
            hand.at(Moment.COMMITTING)
            super().commit_transaction(timeout)
            hand.at(Moment.COMMITTED)

    return Watched


def consumer(hand: Hand) -> type[Consumer]:
    """librdkafka's consumer, whose commits are moments: without transactions, and for a reply that was found."""

    class Watched(Consumer):
        def commit(self, **arguments: Any) -> Any:
            if not hand.has_replied:
                hand.at(Moment.FOUND)
            hand.at(Moment.COMMITTING if hand.has_replied else Moment.CATCHING_UP)
            done = super().commit(**arguments)
            hand.at(Moment.COMMITTED if hand.has_replied else Moment.CAUGHT_UP)
            return done

    return Watched


if __name__ == "__main__":
    begun, strikes, fallen, broker = sys.argv[1:]
    hand = Hand(int(begun), load(strikes), Path(fallen), Path(broker))
    transport.writer.Producer = producer(hand)  # type: ignore[attr-defined]
    transport.reader.Consumer = consumer(hand)  # type: ignore[attr-defined]
    sys.argv = ["federated_training.py"]
    runpy.run_path("federated_training.py", run_name="__main__")
