"""What a check finds: one thing, which is one entry of the report."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from protocol.errors import STATUS_DONE, SettingsError, WorkerError


class Mark(StrEnum):
    """How a thing stands."""

    PASSED = "passed"
    NOTICE = "notice"  # the worker runs with it, and perhaps not as it was meant
    WAITS = "waits"  # for what may come later
    FAULT = "FAULT"  # with it the worker would end, now or later
    LEFT_OUT = "left out"  # a fault is in the way


@dataclass(frozen=True, slots=True)
class Finding:
    """How one thing stands.

    Attributes:
        text: of a fault with its remedy.
        status: that the worker would end with.
    """

    mark: Mark
    text: str
    status: int = STATUS_DONE


def passed(text: str) -> Finding:
    """What is as it should be."""
    return Finding(Mark.PASSED, text)


def notice(text: str) -> Finding:
    """What may not be meant so, or cannot be told."""
    return Finding(Mark.NOTICE, text)


def waits(text: str) -> Finding:
    """What may come later."""
    return Finding(Mark.WAITS, text)


def left_out(text: str) -> Finding:
    """What cannot be looked at."""
    return Finding(Mark.LEFT_OUT, text)


def faults(exc: WorkerError) -> list[Finding]:
    """What a worker would end with; the settings' faults each by itself."""
    texts = exc.faults if isinstance(exc, SettingsError) else (str(exc),)
    return [Finding(Mark.FAULT, text, exc.status) for text in texts]
