"""The whole of it with one command: a Kafka, a cloud, devices and workers, for a kind of training.

`python -m demo.run --kind classic` prints each round as it happens, and leaves a picture of them in demo-results/. Its
status is 0 if the result is good enough and all workers ended well; a worker's own status if one died; 1 otherwise.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import shlex
import signal
import sys
import time
from collections.abc import Mapping
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from types import FrameType
from typing import Any

from demo import picture
from demo.broker import KAFKA
from demo.errors import DemoError, WorkerDiedError
from demo.models import LIBRARIES
from demo.stage import Outcome, say

# Each has `run`, which takes a dialect and gives an Outcome, and ROUNDS and TRAINING_SETTINGS.
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
    parser.add_argument("--results", type=Path, default=picture.RESULTS, help="folder for the picture and its page")
    parser.add_argument("--no-open", action="store_true", help="do not open the page in a browser")
    arguments = parser.parse_args()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _stop)
    started = time.monotonic()
    kind = importlib.import_module(KINDS[arguments.kind])
    try:
        outcome: Outcome = kind.run(arguments.dialect)
        told = f"{outcome.told}, after {time.monotonic() - started:.0f} s"
        say(told)
        title = (kind.__doc__ or arguments.kind).splitlines()[0].rstrip(".")
        story = picture.Story(title, told, facts(kind, arguments.dialect, os.environ))
        if outcome.fault is not None:
            print(f"{outcome.fault}: something is wrong", file=sys.stderr)
        page = picture.leave(outcome.course, story, arguments.kind, arguments.results)
    except WorkerDiedError as exc:
        print(exc, file=sys.stderr)
        return exc.status if exc.status > 0 else 128 - exc.status  # a signal's number, as a shell has it
    except DemoError as exc:
        print(exc, file=sys.stderr)
        return 1
    say(f"the rounds as a picture: {page.resolve().as_uri()}")
    if not arguments.no_open and picture.has_person(os.environ, is_terminal=sys.stdout.isatty()):
        picture.show(page)
    return 0 if outcome.fault is None else 1


def facts(kind: Any, dialect: str, environ: Mapping[str, str]) -> dict[str, str]:
    """What a demo ran with and where, by what it is.

    Args:
        kind: the module of a kind.
        dialect: a key of LIBRARIES.
        environ: with KAFKA_BOOTSTRAP where the demo did not start its own broker.
    """
    broker = "a Kafka that ran already" if environ.get("KAFKA_BOOTSTRAP") else f"Apache Kafka {KAFKA.rpartition(':')[2]}"
    packages = ", ".join(f"{name} {version(name)}" for name in ("tensorflow", LIBRARIES[dialect], "confluent-kafka"))
    return {
        "rounds": str(kind.ROUNDS),
        "training settings": json.dumps(kind.TRAINING_SETTINGS),
        "when": f"{datetime.now().astimezone():%d %B %Y, %H:%M %Z}",
        "with": f"{broker}, Python {platform.python_version()}, {packages}",
        "on": f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}",
        "command": shlex.join(["python", "-m", "demo.run", *sys.argv[1:]]),
    }


if __name__ == "__main__":
    sys.exit(main())
