"""A process that is told to stop ends, whatever it is at."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf

from ending import LastWords, Stopping
from protocol.errors import ModelError, Stopped

ROOT = Path(__file__).parents[2]

# A call that no signal reaches: Python is not back from it for minutes.
DEAF = """
import hashlib, sys, threading
from pathlib import Path
from ending import LastWords, Stopping, end_process
from federated_training import main
from utils import configure_logging

configure_logging("INFO")
words = LastWords(Path(sys.argv[1]))
with Stopping(words, float(sys.argv[2])) as stopping:
    stopping.then(lambda: print("heard", flush=True))
    def work(_stopping):
        threading.Timer(0.3, print, ["at work"], {"flush": True}).start()
        hashlib.pbkdf2_hmac("sha256", b"", b"", 2_000_000_000)
    end_process(main(work, stopping, words))
"""


def told(message: Path, limit_s: float, *numbers: signal.Signals) -> tuple[int, str]:
    """Status and log of a deaf process that is sent some signals."""
    command = [sys.executable, "-c", DEAF, str(message), str(limit_s)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "at work\n"
            first, *more = numbers
            process.send_signal(first)
            assert process.stdout.readline() == "heard\n"  # of two that are there at once, either may come first
            for number in more:
                process.send_signal(number)
            return process.wait(20), process.stdout.read()
        finally:
            process.kill()


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_process_that_does_not_hear_a_signal_is_ended_at_the_limit(
    number: signal.Signals, status: int, tmp_path: Path
) -> None:
    message = tmp_path / "message"
    ended, log = told(message, 0.2, number)
    line = (
        f"told to stop by {number.name}; start the worker again to go on where it was; ended at once, since it did not end "
        "within 0.2 s"
    )
    assert ended == status
    assert log.endswith(f" WARNING {line}\n")
    assert message.read_text() == line


def test_a_second_signal_ends_a_process_at_once_with_the_status_of_the_first(tmp_path: Path) -> None:
    message = tmp_path / "message"
    status, log = told(message, 3600, signal.SIGTERM, signal.SIGINT)
    assert status == 143
    assert log.endswith("; ended at once, since SIGINT came after it\n")
    assert message.read_text() in log


def test_what_was_asked_for_is_called_in_a_thread_at_the_first_signal() -> None:
    called = threading.Event()
    with Stopping(LastWords(None)) as stopping:
        stopping.then(called.set)
        with pytest.raises(Stopped), stopping.raised():
            signal.raise_signal(signal.SIGTERM)
        assert called.wait(10)


def test_a_signal_while_tensorflow_raises_an_error_is_a_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error is made in C++, which calls its constructor and gives up on both where that raises."""
    error = tf.errors.InvalidArgumentError
    make = error.__init__

    def make_late(self: Any, *arguments: Any) -> None:
        signal.raise_signal(signal.SIGINT)
        make(self, *arguments)

    fail = tf.function(lambda number: tf.debugging.check_numerics(number, "no number"))
    fail(1.0)
    monkeypatch.setattr(error, "__init__", make_late)
    with Stopping(LastWords(None)) as stopping, pytest.raises(Stopped, match="SIGINT") as stopped, stopping.raised():
        fail(float("nan"))
    assert stopped.value.status == 130
    assert type(stopped.value.__cause__) is RuntimeError


def test_a_failure_after_a_signal_whose_exception_was_dropped_is_a_stop() -> None:
    """As a finalizer's is, for which `contextlib.suppress` stands."""
    failure = ModelError("no model")
    with Stopping(LastWords(None)) as stopping, pytest.raises(Stopped) as stopped, stopping.raised():
        with contextlib.suppress(Stopped):
            signal.raise_signal(signal.SIGTERM)
        raise failure
    assert stopped.value.__cause__ is failure


def test_a_failure_without_a_signal_stays_what_it_is() -> None:
    with Stopping(LastWords(None)) as stopping, pytest.raises(ModelError), stopping.raised():
        raise ModelError("no model")


def test_signals_and_threads_are_left_as_they_were() -> None:
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT), threading.active_count()
    with Stopping(LastWords(None)), pytest.raises(Stopped):
        raise Stopped(signal.SIGTERM)
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT), threading.active_count()) == before
