"""What others sent, as it may stand in an error or a log: short, on one line, in characters that every terminal has."""

from __future__ import annotations

MOST_SHOWN = 100  # characters


def shown(text: object) -> str:
    """The beginning of a text, with whatever would break a line or a terminal written as an escape."""
    whole = str(text)
    start = repr(whole[:MOST_SHOWN])[1:-1]
    return start if len(whole) <= MOST_SHOWN else f"{start}…"
