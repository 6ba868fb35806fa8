"""Waiting in the open: a line now and then, and a limit that can be set."""

from __future__ import annotations

import logging
import math
import time
from concurrent.futures import Future, wait
from typing import TypeVar

import liveness
from protocol.errors import LimitError

log = logging.getLogger(__name__)

PROGRESS_EVERY_S = 30.0
POLL_S = 0.5

T = TypeVar("T")


class Patience:
    """One wait for something that may come later.

    Args:
        what: what is waited for, to go after "waiting for".
        limit_s: the longest wait; None = without limit, or with one that whoever waits keeps.
        variable: the setting that the limit comes from.
        is_alive: whether to wait is a sign of life; it is none of the work that is waited for, where that gives its own.
    """

    def __init__(self, what: str, limit_s: float | None, variable: str = "WAIT_LIMIT_S", *, is_alive: bool = True) -> None:
        self._what = what
        self._limit_s = limit_s
        self._variable = variable
        self._is_alive = is_alive
        self._since = time.monotonic()
        self._told = -math.inf

    def tick(self) -> None:
        """Say that the wait goes on, at first and then every PROGRESS_EVERY_S.

        Raises:
            LimitError: it has gone on for longer than the limit.
        """
        now = time.monotonic()
        if self._limit_s is not None and now - self._since > self._limit_s:
            raise LimitError(f"{self._what} did not come within {self._limit_s:g} s; {self._variable} sets the limit")
        if self._is_alive:
            liveness.show()
        if now - self._told >= PROGRESS_EVERY_S:
            self._told = now
            log.info("waiting for %s seconds=%.0f", self._what, now - self._since)


def pause(seconds: float) -> None:
    """Do nothing for a time, alive."""
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        liveness.show()
        time.sleep(min(left, POLL_S))


def awaited(work: Future[T], patience: Patience) -> T:
    """The result of work in the background, waited for in the open."""
    while not work.done():
        patience.tick()
        wait([work], POLL_S)
    return work.result()
