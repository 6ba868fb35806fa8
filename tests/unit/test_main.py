"""What happens becomes an exit status, a last line of the log, and the pod's termination message."""

import contextlib
import logging
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

import pytest

from config import KIND_NAMES
from ending import LastWords, Stopping
from federated_training import main
from kinds import KINDS
from protocol.errors import DataError, KafkaError, LimitError, ModelError, SettingsError, SpaceLackError, Stopped
from utils import configure_logging


@pytest.fixture(autouse=True)
def _leave_the_log_as_it_was() -> Iterator[None]:
    root, handlers = logging.getLogger(), logging.getLogger().handlers[:]
    yield
    root.handlers[:] = handlers


@pytest.fixture
def message(tmp_path: Path) -> Path:
    """The termination message of a container, which Kubernetes has made."""
    path = tmp_path / "termination-log"
    path.touch()
    return path


def ended(work: Callable[[Stopping], int | None], message: Path) -> int:
    configure_logging("INFO")
    words = LastWords(message)
    with Stopping(words) as stopping:
        return main(work, stopping, words)


def failing(fault: BaseException, message: Path) -> int:
    def work(_stopping: Stopping) -> NoReturn:
        raise fault

    return ended(work, message)


@pytest.mark.parametrize(
    ("fault", "status", "level"),
    [
        (DataError("a reason"), 65, "ERROR"),
        (KafkaError("a reason"), 69, "ERROR"),
        (SpaceLackError("a reason"), 71, "ERROR"),
        (LimitError("a reason"), 75, "ERROR"),
        (ModelError("a reason"), 76, "ERROR"),
        (SettingsError(["a reason"]), 78, "ERROR"),
    ],
)
def test_a_fault_ends_in_its_status_and_one_line(
    fault: Exception, status: int, level: str, message: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert failing(fault, message) == status
    assert capsys.readouterr().out.endswith(f" {level}   a reason\n")
    assert message.read_text() == "a reason"


def test_all_faults_of_the_settings_are_lines_of_their_own(message: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert failing(SettingsError(["one", "another"]), message) == 78
    assert [line.split(" ERROR   ")[1] for line in capsys.readouterr().out.splitlines()] == ["one", "another"]
    assert message.read_text() == "one\nanother"


@pytest.mark.parametrize(
    ("fault", "status", "line"),
    [
        (
            ZeroDivisionError("a\n bug"),
            70,
            "a fault of the worker itself, ZeroDivisionError: a bug: please report it with this log",
        ),
        (SystemExit(0), 70, "a fault of the worker itself, SystemExit: 0: please report it with this log"),
        (MemoryError("no 8 GiB"), 71, "memory ran out (no 8 GiB): give the pod more, or lower DATA_MEMORY_LIMIT"),
    ],
)
def test_a_fault_that_nobody_expected_keeps_its_traceback_before_the_last_line(
    fault: BaseException, status: int, line: str, message: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert failing(fault, message) == status
    out = capsys.readouterr().out
    assert "Traceback (most recent call last):" in out
    assert out.endswith(f" ERROR   {line}\n")
    assert message.read_text() == line


def test_a_package_that_is_not_installed_is_told_without_a_traceback(message: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert failing(ModuleNotFoundError("No module named 'pydantic'"), message) == 70
    line = "No module named 'pydantic': python -m pip install -r requirements.txt installs what the worker needs"
    assert capsys.readouterr().out.endswith(f" ERROR   {line}\n")
    assert message.read_text() == line


def test_work_may_end_with_a_status_of_its_own(message: Path) -> None:
    assert ended(lambda _stopping: 75, message) == 75


def test_what_others_have_named_breaks_no_line(message: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert failing(ModelError("layer a\n2026 ERROR   b\x1b[2J\u2028\ud800"), message) == 76
    line = r"layer a\n2026 ERROR   b\x1b[2J\u2028\ud800"
    assert capsys.readouterr().out.endswith(f" ERROR   {line}\n")
    assert message.read_text() == line
    logging.getLogger("any").warning("round %s", "done\nend")
    assert capsys.readouterr().out.endswith(" WARNING round done\\nend\n")


def test_of_a_line_that_is_too_long_the_middle_is_left_out(message: Path, capsys: pytest.CaptureFixture[str]) -> None:
    failing(ModelError("what" + "x" * 100_000 + "where"), message)
    line = capsys.readouterr().out
    assert len(line) < 8_100
    assert " ERROR   whatxx" in line
    assert line.endswith("xxwhere\n")


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_ends_in_its_status_and_one_line(
    number: signal.Signals, status: int, message: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def work(_stopping: Stopping) -> None:
        with contextlib.suppress(Exception):  # as some library may have it
            signal.raise_signal(number)

    assert ended(work, message) == status
    line = f"told to stop by {number.name}; start the worker again to go on where it was"
    assert capsys.readouterr().out.endswith(f" WARNING {line}\n")
    assert message.read_text() == line


def test_a_signal_that_came_before_the_work_ends_it_at_its_beginning(message: Path) -> None:
    words = LastWords(message)
    with Stopping(words) as stopping:
        signal.raise_signal(signal.SIGTERM)
        assert main(lambda _stopping: pytest.fail("worked"), stopping, words) == 143


def test_a_signal_that_comes_while_a_fault_is_told_changes_nothing(message: Path) -> None:
    class SlowlyToldError(KafkaError):
        def __str__(self) -> str:
            signal.raise_signal(signal.SIGTERM)
            return "a reason"

    assert failing(SlowlyToldError(), message) == 69
    assert message.read_text() == "a reason"


def test_work_that_ends_is_status_0_and_leaves_no_message_of_an_earlier_end(message: Path) -> None:
    message.write_text("an earlier end")
    assert ended(lambda _stopping: None, message) == 0
    assert message.read_text() == ""


@pytest.mark.parametrize("kind", ["folder", "missing folder", "pipe"])
def test_a_message_that_cannot_be_written_is_a_warning_and_no_other_fault(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "there"
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path /= "deeper"
    assert failing(ModelError("a reason"), path) == 76
    warning, line = capsys.readouterr().out.splitlines()
    assert f" WARNING the termination message cannot be written to TERMINATION_LOG={path} (" in warning
    assert line.endswith(" ERROR   a reason")


@pytest.mark.parametrize(
    ("text", "kept"), [("é" * 2048, "é" * 2048), ("é" * 2049, "é" * 2046 + "…"), ("x" * 9000, "x" * 4093 + "…")]
)
def test_a_message_is_cut_between_characters_where_kubernetes_would_cut_it(text: str, kept: str, message: Path) -> None:
    failing(ModelError(text), message)
    assert message.read_text() == kept
    assert len(message.read_bytes()) <= 4096


def test_a_worker_without_a_message_ends_as_well() -> None:
    with Stopping(LastWords(None)) as stopping:
        assert main(lambda _stopping: None, stopping, LastWords(None)) == 0


def test_every_case_that_the_settings_admit_has_its_row() -> None:
    assert KINDS.keys() == KIND_NAMES.keys()


def test_a_stop_is_no_exception_that_a_library_may_swallow() -> None:
    assert not issubclass(Stopped, Exception)
