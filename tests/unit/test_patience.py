"""A wait says so at first and now and then, and ends at its limit."""

import time

import pytest

from protocol.errors import LimitError
from transport.patience import PROGRESS_EVERY_S, Patience


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage().split(" seconds=")[0] for record in caplog.records]


def test_a_wait_is_told_at_first_and_then_not_at_every_look(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    patience = Patience("a model", None)
    for _ in range(3):
        patience.tick()
    assert lines(caplog) == ["waiting for a model"]


def test_a_long_wait_is_told_again(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    caplog.set_level("INFO")
    patience = Patience("a model", None)
    patience.tick()
    later = time.monotonic() + PROGRESS_EVERY_S
    monkeypatch.setattr(time, "monotonic", lambda: later)
    patience.tick()
    assert lines(caplog) == ["waiting for a model"] * 2


def test_a_wait_ends_at_its_limit() -> None:
    with pytest.raises(LimitError, match=r"^a model did not come within 0 s; WAIT_LIMIT_S sets the limit$"):
        Patience("a model", 0.0).tick()


def test_a_limit_is_named_by_its_setting() -> None:
    with pytest.raises(LimitError, match=r"^a library did not come within 0 s; LOAD_LIMIT_S sets the limit$"):
        Patience("a library", 0.0, "LOAD_LIMIT_S").tick()
