"""The whole of it with one command: a Kafka, a cloud, devices and workers, for a kind of training.

`python -m demo.run --kind classic` prints each round as it happens. Its status is 0 if the result is good enough and all
workers ended well; a worker's own status if one died; 1 otherwise.
"""

from __future__ import annotations

import argparse
import importlib
import signal
import sys
import time
from types import FrameType

from demo.errors import DemoError, WorkerDiedError
from demo.models import LIBRARIES
from demo.stage import Outcome, say

# Each has `run`, which takes a dialect and gives an Outcome.
KINDS = {
    "classic": "demo.classic",
    "incremental": "demo.incremental",
    "distributed": "demo.distributed",
    "semi-supervised": "demo.semi_supervised",
    "blockchain": "demo.blockchain",
}


def _stop(number: int, _frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


def main() -> int:
    """Run the demo, and turn what happens into an exit status."""
    parser = argparse.ArgumentParser(prog="python -m demo.run", description="A federated training on one machine.")
    parser.add_argument("--kind", choices=list(KINDS), default="classic", help="the kind of training")
    parser.add_argument("--dialect", choices=sorted(LIBRARIES), default="keras3", help="the Keras that the cloud speaks")
    arguments = parser.parse_args()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _stop)
    started = time.monotonic()
    try:
        outcome: Outcome = importlib.import_module(KINDS[arguments.kind]).run(arguments.dialect)
    except WorkerDiedError as exc:
        print(exc, file=sys.stderr)
        return exc.status if exc.status > 0 else 128 - exc.status  # a signal's number, as a shell has it
    except DemoError as exc:
        print(exc, file=sys.stderr)
        return 1
    say(f"{outcome.told}, after {time.monotonic() - started:.0f} s")
    if outcome.fault is not None:
        print(f"{outcome.fault}: something is wrong", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
