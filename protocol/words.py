"""What others sent, as it may stand in an error or a log: short, on one line, in characters that every terminal has."""

from __future__ import annotations

MOST_SHOWN = 100  # characters
MOST_IN_LINE = 8_000  # characters; container runtimes cut a line of a log at 16 KiB
_CUT = " … "


def shown(text: object, most: int = MOST_SHOWN) -> str:
    """The beginning of a text, with whatever would break a line or a terminal written as an escape."""
    whole = str(text)
    start = repr(whole[:most])[1:-1]
    return start if len(whole) <= most else f"{start}…"


def in_a_line(text: str) -> str:
    """A text as one line: what would break a line or a terminal stands as an escape."""
    return text if text.isprintable() else "".join(one if one.isprintable() else repr(one)[1:-1] for one in text)


def shortened(line: str) -> str:
    """A line without its middle, where it is long: of an error the end says where it stands and what to do."""
    half = (MOST_IN_LINE - len(_CUT)) // 2
    return line if len(line) <= MOST_IN_LINE else f"{line[:half]}{_CUT}{line[-half:]}"
