"""What Python does while some code runs, told by its own audit events, and the memory that it takes."""

from __future__ import annotations

import sys
import threading
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

# Whatever is imported, compiled, run, opened, connected or found by name. Source: Python's table of audit events.
_ACTS = (
    "import",
    "compile",
    "exec",
    "open",
    "os.",
    "subprocess.",
    "socket.",
    "ctypes.",
    "marshal.",
    "pickle.",
    "shutil.",
    "code.",
)


MOST_SHOWN = 400  # characters of an argument, which may be megabytes


@dataclass
class Watch:
    """Acts, as (event, first argument), and the greatest number of bytes that were held beyond what was before."""

    acts: list[tuple[str, str]] = field(default_factory=list)
    peak_bytes: int = 0


_watches: list[tuple[int, Watch]] = []
_is_hooked = False


def _note(event: str, args: tuple[object, ...]) -> None:
    for thread, watch in _watches:
        if thread == threading.get_ident() and event.startswith(_ACTS):
            watch.acts.append((event, str(args[0])[:MOST_SHOWN] if args else ""))


@contextmanager
def acts() -> Iterator[Watch]:
    """Note what this thread does."""
    global _is_hooked  # noqa: PLW0603 - an audit hook stays as long as the process
    if not _is_hooked:
        sys.addaudithook(_note)
        _is_hooked = True
    watch = Watch()
    _watches.append((threading.get_ident(), watch))
    try:
        yield watch
    finally:
        _watches.pop()


@contextmanager
def memory() -> Iterator[Watch]:
    """Note the memory that Python and numpy take."""
    watch = Watch()
    was_tracing = tracemalloc.is_tracing()
    if not was_tracing:
        tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    tracemalloc.reset_peak()
    try:
        yield watch
    finally:
        watch.peak_bytes = tracemalloc.get_traced_memory()[1] - before
        if not was_tracing:
            tracemalloc.stop()
