"""Workers as Kafka-ML starts them: the entry point as a process, with the Job's environment and little else."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from demo.errors import WorkerDiedError
from demo.guard import Guarded, spawn, tail

REPOSITORY = Path(__file__).resolve().parent.parent
COMMAND = (sys.executable, "federated_training.py")
STOP_LIMIT_S = 10.0
POLL_S = 0.1

# Of a container's own environment a worker gets what any program needs; the rest is the Job's.
_MACHINE = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES")
# Packages of the demo and the tests that are in no worker's image. Keras would load them where it finds them, for seconds.
ABSENT = Path(__file__).parent / "absent"


def container(environment: Mapping[str, str]) -> dict[str, str]:
    """The whole environment of a worker's process, of which its Job's is given."""
    machine = {variable: os.environ[variable] for variable in _MACHINE if variable in os.environ}
    return machine | {"PYTHONPATH": str(ABSENT)} | dict(environment)


class Workers:
    """The workers of a demo. Whoever leaves the `with` leaves none of them running."""

    def __init__(self, folder: Path) -> None:
        """Start none yet; `folder` is a guarded one, where their logs go."""
        self._folder = folder
        self._started: dict[str, Guarded] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _type: type[BaseException] | None, _exc: BaseException | None, _tb: TracebackType | None) -> None:
        for worker in self._started.values():
            worker.process.terminate()  # all are told before one is waited for
        for worker in self._started.values():
            worker.end(STOP_LIMIT_S)

    def start(self, name: str, environment: Mapping[str, str], command: Sequence[str] = COMMAND) -> int:
        """Start a worker with the environment of its Job; returns its process id."""
        worker = spawn(command, self._folder, self._log(name), cwd=REPOSITORY, environ=container(environment))
        self._started[name] = worker
        return worker.process.pid

    def check(self) -> None:
        """See whether all run, or have ended well.

        Raises:
            WorkerDiedError: one ended with another status than 0; the text holds the end of its log.
        """
        for name, worker in self._started.items():
            status = worker.process.poll()
            if status:
                raise WorkerDiedError(
                    f"worker {name} ended with status {status}; its log ends:\n{tail(self._log(name))}", status
                )

    def wait(self, limit_s: float) -> None:
        """Wait until all have ended with status 0.

        Raises:
            WorkerDiedError: one ended otherwise, or runs after `limit_s` seconds still.
        """
        deadline = time.monotonic() + limit_s
        while running := [name for name, worker in self._started.items() if worker.process.poll() is None]:
            self.check()
            if time.monotonic() > deadline:
                name = running[0]
                text = f"worker {name} did not end within {limit_s:.0f} s after the last round; its log ends:\n"
                raise WorkerDiedError(text + tail(self._log(name)), 1)
            time.sleep(POLL_S)
        self.check()

    def _log(self, name: str) -> Path:
        return self._folder / f"{name}.log"
