"""Waiting for what a broker does in its own time."""

from __future__ import annotations

import time
from collections.abc import Callable

EVENTUALLY_S = 20.0


def eventually(look: Callable[[], object], expected: object) -> None:
    """Look until something is as expected."""
    deadline = time.monotonic() + EVENTUALLY_S
    while (seen := look()) != expected:
        assert time.monotonic() < deadline, f"still {seen}, expected {expected}"
        time.sleep(0.01)
