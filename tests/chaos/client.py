"""One client of a federation: a worker that is started again whenever it ends before the last round, as a Job does it."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from demo.errors import WorkerDiedError
from demo.guard import Guarded, spawn, tail
from demo.workers import COMMAND, REPOSITORY, container
from tests.chaos.strikes import Moment, Strike, dump

KILLED = -9
TAIL = 60  # lines of a log, to tell of a fault


@dataclass(frozen=True, slots=True)
class Seen:
    """What has happened since the last look: the strikes that fell, and the status of a worker that has ended."""

    fallen: Sequence[Strike]
    status: int | None


class Client:
    """Ends with the guarded folder that it is in.

    Args:
        environment: the Job's, the same in each life.
        plan: what strikes it, or strikes the broker by its hand.
        folder: where its log goes, and where the broker leaves its process id.
    """

    def __init__(self, name: str, environment: Mapping[str, str], plan: Sequence[Strike], folder: Path) -> None:
        self._name = name
        self._environment = container(environment)
        self._outside = [strike for strike in plan if strike.moment == Moment.ANY_TIME]
        self._inside = [strike for strike in plan if strike.moment != Moment.ANY_TIME]
        self._folder = folder
        self._file = folder / f"{name}.fallen"
        self._told = 0  # lines of it that were read
        self._armed: Sequence[Strike] = ()
        self._worker: Guarded | None = None
        self._begun = 0.0

    @property
    def log(self) -> Path:
        return self._folder / f"{self._name}.log"

    def look(self, number: int) -> Seen:
        """Start a worker where none runs, and let a strike from outside fall that is due.

        Args:
            number: of the round that the cloud waits for.
        """
        if self._worker is None:
            self._worker = self._start(number)
        status = self._worker.process.poll()
        fallen = self._fallen()
        if status is None and self._outside and self._outside[0].due <= number and self._age() > self._outside[0].delay_s:
            fallen.append(self._outside.pop(0))
            self._worker.process.kill()
            status = self._worker.process.wait()
        if status is not None:
            self._worker.end(0)
            self._worker = None
        return Seen(fallen, status)

    def end(self) -> None:
        """Let nothing run any more."""
        if self._worker is not None:
            self._worker.end(0)

    def died(self, status: int) -> WorkerDiedError:
        return WorkerDiedError(f"worker {self._name} ended with status {status}; its log ends:\n{tail(self.log, TAIL)}", status)

    def _start(self, number: int) -> Guarded:
        self._file.unlink(missing_ok=True)
        self._told, self._armed, self._begun = 0, tuple(self._inside), time.monotonic()
        command: Sequence[str] = COMMAND
        if self._armed:
            files = (str(self._file), str(self._folder / "server.pid"))
            command = [sys.executable, "-m", "tests.chaos.launcher", str(number), dump(self._armed), *files]
        return spawn(command, self._folder, self.log, cwd=REPOSITORY, environ=self._environment)

    def _age(self) -> float:
        return time.monotonic() - self._begun

    def _fallen(self) -> list[Strike]:
        """What has fallen from inside since the last look."""
        lines = self._file.read_text().splitlines() if self._file.exists() else []
        fallen = [self._armed[int(line)] for line in lines[self._told :]]
        self._told = len(lines)
        for strike in fallen:
            self._inside.remove(strike)
        return fallen
