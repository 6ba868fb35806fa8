"""How the worker ends: what it says last, and where; the signals that end it; its exit status.

SIGTERM and SIGINT reach Python in the main thread alone, and only between two steps of Python: a call of TensorFlow or
librdkafka has to return first. So a thread listens too. It stops what can be stopped from beside, such as the fit at the end of
its batch, ends the process where it has not ended by itself within STOP_LIMIT_S, and ends it at once at a second signal.
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import wait
from pathlib import Path
from types import FrameType, TracebackType
from typing import NoReturn, Self, final

from protocol.errors import Stopped
from protocol.words import in_a_line
from utils import in_background

log = logging.getLogger(__name__)

STOP_LIMIT_S = 4.0  # from a signal to the end; a pod is given 30 s by default
TELL_LIMIT_S = 0.5  # for the last words of a process that hangs, whose log may be what hangs
MESSAGE_BYTES = 4096  # of a termination message that Kubernetes keeps
SIGNALS = (signal.SIGTERM, signal.SIGINT)
_CUT = "…"


@final
class LastWords:
    """Says why the worker ends: at the end of its log, and in the pod's termination message.

    Args:
        path: file of the termination message; None where there is none.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path

    def tell(self, level: int, *lines: str) -> None:
        """Say why, in lines that name cause, place and remedy. No lines: nothing has failed."""
        lines = tuple(map(in_a_line, lines))
        if self._path is not None:
            try:
                _write(self._path, _fitted("\n".join(lines)))
            except OSError as exc:
                log.warning(
                    "the termination message cannot be written to TERMINATION_LOG=%s (%s): give a file that this process may "
                    "write to",
                    self._path,
                    exc.strerror,
                )
        for line in lines:
            log.log(level, "%s", line)


def _write(path: Path, message: bytes) -> None:
    # Without waiting for whoever would read a pipe of that name.
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NONBLOCK, 0o644)
    try:
        os.write(file, message)
    finally:
        os.close(file)


def _fitted(text: str) -> bytes:
    """In UTF-8, cut between two characters where it is longer than what Kubernetes keeps."""
    message = text.encode(errors="replace")
    if len(message) <= MESSAGE_BYTES:
        return message
    kept = message[: MESSAGE_BYTES - len(_CUT.encode())].decode(errors="ignore")
    return (kept + _CUT).encode()


@final
class Stopping:
    """SIGTERM and SIGINT, for as long as the `with` lasts.

    Args:
        words: tell why, where the process is ended from here.
        limit_s: from the first signal to the end of the process.
    """

    def __init__(self, words: LastWords, limit_s: float = STOP_LIMIT_S) -> None:
        self._words = words
        self._limit_s = limit_s
        self._calls: list[Callable[[], object]] = []
        self._first: signal.Signals | None = None
        self._may_raise = False

    def __enter__(self) -> Self:
        self._woken, self._waking = os.pipe()
        os.set_blocking(self._waking, False)
        self._before = [signal.signal(number, self._hear) for number in SIGNALS]
        self._wakeup_before = signal.set_wakeup_fd(self._waking)
        self._watcher = threading.Thread(target=self._watch, name="signals", daemon=True)
        self._watcher.start()
        return self

    def __exit__(self, _type: type[BaseException] | None, _exc: BaseException | None, _tb: TracebackType | None) -> None:
        signal.set_wakeup_fd(self._wakeup_before)
        for number, handler in zip(SIGNALS, self._before, strict=True):
            signal.signal(number, handler)
        os.close(self._waking)  # which ends the watcher
        self._watcher.join()
        os.close(self._woken)

    def then(self, call: Callable[[], object]) -> None:
        """Have something called at the first signal, in a thread, while the main thread may be at work outside of Python."""
        self._calls.append(call)

    @contextlib.contextmanager
    def raised(self) -> Iterator[None]:
        """Let the first signal raise Stopped in the main thread, wherever it is in the `with`.

        It can be lost there: Python drops what a finalizer raises, and pybind11, at work on an error of TensorFlow's, makes a
        RuntimeError of the two. What was stopped from beside fails then. So whatever fails after a signal is a stop; a fault
        that has another cause is met again by the next start.
        """
        try:
            self._may_raise = True
            if self._first is not None:
                self._stop(self._first)
            yield
        except Exception as exc:
            if self._first is None:
                raise
            raise Stopped(self._first) from exc
        finally:
            self._may_raise = False

    def _hear(self, number: int, _frame: FrameType | None) -> None:
        if self._first is None:
            self._first = signal.Signals(number)
        if self._may_raise:
            self._stop(self._first)

    def _stop(self, number: signal.Signals) -> NoReturn:
        self._may_raise = False  # whatever is tidied up on the way out is not to be torn by the second
        raise Stopped(number)

    def _watch(self) -> None:
        first = self._next(None)
        if first is None:
            return
        for call in self._calls:
            threading.Thread(target=call, name="stop", daemon=True).start()
        try:
            second = self._next(self._limit_s)
        except TimeoutError:
            why = f"it did not end within {self._limit_s:g} s"
        else:
            if second is None:
                return
            why = f"{second.name} came after it"
        stopped = Stopped(first)
        words = in_background("words", lambda: self._words.tell(logging.WARNING, f"{stopped}; ended at once, since {why}"))
        wait([words], TELL_LIMIT_S)
        os._exit(stopped.status)

    def _next(self, limit_s: float | None) -> signal.Signals | None:
        """The next of the signals; None where the `with` is left before it."""
        while select.select([self._woken], [], [], limit_s)[0]:
            heard = os.read(self._woken, 1)
            if not heard:
                return None
            if heard[0] in SIGNALS:  # others have handlers of their own
                return signal.Signals(heard[0])
        raise TimeoutError


def end_process(status: int) -> NoReturn:
    """End with a status, at once: work in the background is not waited for."""
    # A log on a full disk, a reader that is gone, or no output at all (None) must not cost the status.
    with contextlib.suppress(AttributeError, OSError, ValueError):
        logging.shutdown()
        sys.stdout.flush()
    # A thread that loads TensorFlow does not survive the way in which Python ends.
    os._exit(status)
