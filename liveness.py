"""A sign of life for a liveness probe: a file whose modification time is renewed whenever the worker has got on.

It is shown where something has happened: a Kafka was polled, a wait that has a limit goes on, Keras has come back from some
steps. No thread shows it on its own account, so a worker that hangs leaves it to grow old. It is the process's, as its log is,
and costs nothing where no file is wanted. docs/operation.md says how old it may be.
"""

from __future__ import annotations

import logging
import os
import time
from pathlib import Path
from typing import final

log = logging.getLogger(__name__)

EVERY_S = 1.0  # more often it is not renewed
TOLD_FROM_S = 10.0  # a silence that is worth a line
TOLD_AGAIN = 1.5  # times the longest one before, which is worth another


@final
class _File:
    """The file, and when it was renewed last."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._shown = time.monotonic() - EVERY_S
        self._longest = TOLD_FROM_S / TOLD_AGAIN
        self._is_told = False

    def renew(self) -> None:
        now = time.monotonic()
        silence = now - self._shown
        if silence < EVERY_S:
            return
        self._shown = now
        if silence > self._longest * TOLD_AGAIN:
            self._longest = silence
            log.info("no sign of life for seconds=%.0f, the longest so far: a probe must allow for more than that", silence)
        try:
            try:
                os.utime(self._path)
            except FileNotFoundError:
                self._path.touch()
        except OSError as exc:
            if not self._is_told:
                self._is_told = True
                log.warning(
                    "no sign of life can be shown in LIVENESS_FILE=%s (%s): give a file that this process may write to",
                    self._path,
                    exc.strerror,
                )


_file: _File | None = None


def show_in(path: Path | None) -> None:
    """Show it in a file from now on, which is made; None = nowhere."""
    global _file  # noqa: PLW0603 - the sign is the process's
    _file = None if path is None else _File(path)
    show()


def is_shown() -> bool:
    """Whether there is a file, so that it is worth an effort."""
    return _file is not None


def show() -> None:
    """Say that the worker has got on."""
    if _file is not None:
        _file.renew()
