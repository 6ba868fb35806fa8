"""Whatever ends the process that holds a guarded folder, nothing of it stays."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from demo.guard import guarded_folder, spawn

LIMIT_S = 20.0
HOLDER = """
import signal, sys, time
from pathlib import Path
from demo.guard import guarded_folder, spawn
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell starts what it puts into the background deaf to it
with guarded_folder("guard-test-") as folder:
    log = folder / "sleep.log"
    child = spawn(["sleep", "600"], folder, log)
    while not (folder / "sleep.pid").exists():
        time.sleep(0.01)
    print(folder, child.process.pid, flush=True)
    time.sleep(600)
"""


def runs(pid: int) -> bool:
    try:
        return "sleep" in Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return False


def wait_for(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + LIMIT_S
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.05)
    return False


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_the_holder_ends_its_processes_and_removes_its_folder(number: signal.Signals) -> None:
    with subprocess.Popen(  # noqa: S603 - this file's own script
        [sys.executable, "-c", HOLDER], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as holder:
        try:
            assert holder.stdout is not None
            folder, pid = holder.stdout.readline().split()
            assert wait_for(lambda: runs(int(pid)))
            holder.send_signal(number)
            holder.wait(LIMIT_S)
        finally:
            holder.kill()
    assert wait_for(lambda: not Path(folder).exists() and not runs(int(pid)))


def test_an_exception_removes_the_folder() -> None:
    seen: list[Path] = []

    def fail() -> None:
        with guarded_folder("guard-test-") as folder:
            seen.append(folder)
            (folder / "file").write_text("x")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert [folder.exists() for folder in seen] == [False]


def test_the_output_of_a_process_goes_to_its_log() -> None:
    with guarded_folder("guard-test-") as folder:
        log = folder / "echo.log"
        child = spawn(["sh", "-c", "echo out; echo err >&2"], folder, log)
        child.process.wait(LIMIT_S)
        child.end(0)
        assert log.read_text() == "out\nerr\n"
        assert not (folder / "echo.pid").exists()


def test_a_process_that_ignores_sigterm_is_killed() -> None:
    with guarded_folder("guard-test-") as folder:
        log = folder / "stubborn.log"
        child = spawn(["sh", "-c", "trap '' TERM; echo ready; while :; do sleep 1; done"], folder, log)
        while not log.exists() or "ready" not in log.read_text():
            time.sleep(0.01)
        child.end(0.2)
        assert child.process.returncode == -signal.SIGKILL
