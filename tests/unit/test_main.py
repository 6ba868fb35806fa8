"""What happens becomes an exit status and a last line of the log."""

import contextlib
import logging
import signal
from collections.abc import Iterator
from typing import NoReturn

import pytest

from config import KINDS_BUILT
from federated_training import main
from protocol.errors import DataError, KafkaError, LimitError, ModelError, SettingsError, Stopped
from wiring import KINDS


@pytest.fixture(autouse=True)
def _leave_log_and_signals_as_they_were() -> Iterator[None]:
    root, handlers = logging.getLogger(), logging.getLogger().handlers[:]
    signals = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    root.handlers[:] = handlers
    for number, handler in signals.items():
        signal.signal(number, handler)


def failing(fault: BaseException) -> int:
    def work() -> NoReturn:
        raise fault

    return main(work)


@pytest.mark.parametrize(
    ("fault", "status"),
    [
        (DataError("a reason"), 65),
        (KafkaError("a reason"), 69),
        (LimitError("a reason"), 75),
        (ModelError("a reason"), 76),
        (SettingsError(["a reason"]), 78),
    ],
)
def test_a_fault_ends_in_its_status_and_one_line(fault: Exception, status: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert failing(fault) == status
    assert capsys.readouterr().out.endswith(" ERROR   a reason\n")


def test_all_faults_of_the_settings_are_lines_of_their_own(capsys: pytest.CaptureFixture[str]) -> None:
    assert failing(SettingsError(["one", "another"])) == 78
    assert [line.split(" ERROR   ")[1] for line in capsys.readouterr().out.splitlines()] == ["one", "another"]


def test_a_fault_of_the_worker_itself_keeps_its_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    assert failing(ZeroDivisionError("a bug")) == 70
    out = capsys.readouterr().out
    assert "Traceback (most recent call last):" in out
    assert out.endswith("ZeroDivisionError: a bug\n")


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_ends_in_its_status(number: signal.Signals, status: int) -> None:
    assert failing(Stopped(number)) == status


def test_a_signal_reaches_the_work_past_handlers_of_faults() -> None:
    def work() -> None:
        with contextlib.suppress(Exception):  # as some library may have it
            signal.raise_signal(signal.SIGTERM)

    assert main(work) == 143


def test_every_case_that_the_settings_admit_has_its_row() -> None:
    assert tuple(KINDS) == KINDS_BUILT


def test_work_that_ends_is_status_0() -> None:
    assert main(lambda: None) == 0
