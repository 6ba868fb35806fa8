"""The worker as a process, as Kafka-ML starts it."""

from __future__ import annotations

import contextlib
import os
import pty
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from demo.workers import REPOSITORY, container

END_LIMIT_S = 90.0
WORKER = ("federated_training.py",)


class WorkerProcess:
    """`python federated_training.py` with an environment of its own; killed when the `with` is left."""

    def __init__(
        self,
        environment: Mapping[str, str],
        log: Path,
        *,
        on_terminal: bool = False,
        program: str = sys.executable,
        arguments: Sequence[str] = WORKER,
    ) -> None:
        """Start none yet; `arguments` are the program's."""
        self._command = [program, *arguments]
        self._message = log.with_suffix(".message")
        self._environment = container({"TERMINATION_LOG": str(self._message)} | dict(environment))
        self._path = log
        self._on_terminal = on_terminal
        self._copier: threading.Thread | None = None

    def __enter__(self) -> Self:
        if self._on_terminal:
            ours, output = pty.openpty()
            self._copier = threading.Thread(target=self._copy, args=(ours,))
        else:
            output = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self._process = subprocess.Popen(  # noqa: S603 - what a test starts
            self._command,
            cwd=REPOSITORY,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        os.close(output)
        if self._copier is not None:
            self._copier.start()
        return self

    def __exit__(self, _type: type[BaseException] | None, _exc: BaseException | None, _tb: TracebackType | None) -> None:
        self._process.kill()
        self._process.wait()
        if self._copier is not None:
            self._copier.join()

    def _copy(self, terminal: int) -> None:
        with self._path.open("ab") as log, contextlib.suppress(OSError):  # how a terminal without programs answers
            while part := os.read(terminal, 65_536):
                log.write(part)
                log.flush()
        os.close(terminal)

    def wait(self, limit_s: float = END_LIMIT_S) -> int:
        """The exit status, when it has ended."""
        return self._process.wait(limit_s)

    def check(self) -> None:
        """Fail where it has ended with an error."""
        assert not self._process.poll(), self.log

    def send(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def await_line(self, text: str, limit_s: float = END_LIMIT_S) -> str:
        """The first line of the log with a text, when it is there."""
        deadline = time.monotonic() + limit_s
        while time.monotonic() < deadline:
            ended = self._process.poll() is not None
            for line in self.log.splitlines():
                if text in line:
                    return line
            assert not ended, f"the worker ended without {text!r}:\n{self.log}"
            time.sleep(0.05)
        raise AssertionError(f"no line with {text!r} within {limit_s} s:\n{self.log}")

    @property
    def log(self) -> str:
        return self._path.read_text()

    @property
    def last_words(self) -> str:
        """The pod's termination message, which the log ends with too."""
        message = self._message.read_text()
        told = message.splitlines()
        assert [line[-len(end) :] for line, end in zip(self.log.splitlines()[-len(told) :], told, strict=True)] == told, (
            self.log
        )
        return message
