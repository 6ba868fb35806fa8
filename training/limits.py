"""A limit of time for what Keras may do without end."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Iterator
from types import FrameType
from typing import NoReturn


class Overdue(BaseException):
    """What was begun is not done within its limit. No exception that a library may swallow."""


@contextlib.contextmanager
def within(limit_s: float | None) -> Iterator[None]:
    """Have something done within a limit.

    It is a signal that ends it, which only the main thread hears: in any other there is no limit.

    Args:
        limit_s: None = without limit.

    Raises:
        Overdue: it took longer.
    """
    if limit_s is None or threading.current_thread() is not threading.main_thread():
        yield
        return
    begun = time.monotonic()
    handler = signal.signal(signal.SIGALRM, _end)
    left, interval = signal.setitimer(signal.ITIMER_REAL, limit_s)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)
        if left:  # somebody else's alarm rings when it would have
            signal.setitimer(signal.ITIMER_REAL, max(left - (time.monotonic() - begun), 0.001), interval)


def _end(_number: int, _frame: FrameType | None) -> NoReturn:
    raise Overdue
