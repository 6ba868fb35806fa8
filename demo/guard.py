"""Processes and a temporary folder that end with this process, in whatever way it ends.

A small shell in a session of its own owns the folder. It waits for the end of its standard input, which is a pipe that this
process holds: that comes by an orderly close, by an exception and by a SIGKILL alike. It then kills whoever has left a process
id in the folder, and removes the folder.
"""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

CLEANUP_LIMIT_S = 30.0

# $0 is the folder's prefix. The folder is made here, so that there is no moment at which it is there and nobody watches it.
_WATCH = """
trap '' HUP INT TERM
folder=$(mktemp -d "${TMPDIR:-/tmp}/$0XXXXXX") && echo "$folder" && exec >/dev/null || exit
cat
for file in "$folder"/*.pid; do [ -f "$file" ] && kill -KILL "$(cat "$file")"; done
for attempt in 1 2 3 4 5 6 7 8 9; do rm -rf "$folder" && break; sleep 0.2; done
"""
# $0 is the id's file. It is written before the program begins, and the program is not begun where it cannot be written.
_SPAWN = 'echo $$ >"$0" && exec "$@"'


@contextlib.contextmanager
def guarded_folder(prefix: str) -> Iterator[Path]:
    """Lend a temporary folder, whose name starts with `prefix`; it goes at the end, and with it what `spawn` started there.

    Raises:
        OSError: no folder can be made in TMPDIR or /tmp.
    """
    with subprocess.Popen(
        ["/bin/sh", "-c", _WATCH, prefix],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        text=True,
    ) as watch:
        if watch.stdin is None or watch.stdout is None:  # for mypy: both are pipes
            raise AssertionError
        folder = watch.stdout.readline().strip()
        if not folder:
            raise OSError("no temporary folder can be made; set TMPDIR to a folder that can be written")
        try:
            yield Path(folder)
        finally:
            watch.stdin.close()
            watch.wait(CLEANUP_LIMIT_S)


@dataclass(frozen=True)
class Guarded:
    """A process in a guarded folder."""

    process: subprocess.Popen[bytes]
    _id_file: Path

    def end(self, limit_s: float) -> None:
        """Ask the process to end (SIGTERM) and wait for it; kill it after `limit_s` seconds, at once with 0."""
        try:
            if limit_s > 0:
                self.process.terminate()
                self.process.wait(limit_s)
        except subprocess.TimeoutExpired:
            pass
        finally:
            self.process.kill()
            self.process.wait()
            self._id_file.unlink(missing_ok=True)  # the number may be another process's soon


def spawn(
    command: Sequence[str], folder: Path, log: Path, *, cwd: Path | None = None, environ: Mapping[str, str] | None = None
) -> Guarded:
    """Start a process in a session of its own, which keeps a terminal's Ctrl-C from it: whoever started it ends it.

    Args:
        command: program and arguments.
        folder: the guarded folder, where the process id is left.
        log: file to which its standard output and error are appended; nothing of them reaches the terminal.
        cwd: working directory; this process's by default.
        environ: its whole environment; this process's by default.
    """
    id_file = folder / f"{log.stem}.pid"
    with log.open("ab") as output:
        process = subprocess.Popen(
            ["/bin/sh", "-c", _SPAWN, str(id_file), *command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=cwd,
            env=environ,
            start_new_session=True,
        )
    return Guarded(process, id_file)


def tail(log: Path, lines: int = 20) -> str:
    """The last lines of a log, or what says that there is none."""
    if not log.exists():
        return "(no log)"
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])
