"""The sign of life is renewed by what gets on, and by nothing else."""

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

import liveness
from protocol.architecture import Dialect
from tests.support.models import DIALECTS
from tests.support.watch import acts
from tests.unit.test_fit import digits, trained
from training.fit import _between_steps
from transport.patience import Patience, pause

LONG_AGO = (1.0, 1.0)  # seconds since 1970, of access and modification


@pytest.fixture
def sign(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "life" / "sign"
    path.parent.mkdir()
    liveness.show_in(path)
    yield path
    liveness.show_in(None)


def grow_old(sign: Path) -> None:
    os.utime(sign, LONG_AGO)


def is_old(sign: Path) -> bool:
    return sign.stat().st_mtime == LONG_AGO[1]


def later(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    now = time.monotonic() + seconds
    monkeypatch.setattr(time, "monotonic", lambda: now)


def test_it_is_there_from_the_start(sign: Path) -> None:
    assert time.time() - sign.stat().st_mtime < 60


def test_it_is_renewed_once_a_second_at_most(sign: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    grow_old(sign)
    liveness.show()
    assert is_old(sign)
    later(monkeypatch, 1)
    liveness.show()
    assert not is_old(sign)


def test_where_none_is_wanted_nothing_is_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    liveness.show_in(None)
    later(monkeypatch, 10)
    with acts() as watch:
        liveness.show()
    assert (watch.acts, list(tmp_path.iterdir()), liveness.is_shown()) == ([], [], False)


def test_a_wait_that_goes_on_shows_it(sign: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    grow_old(sign)
    later(monkeypatch, 1)
    Patience("a model", None).tick()
    assert not is_old(sign)


def test_a_wait_for_work_that_shows_its_own_does_not(sign: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    grow_old(sign)
    later(monkeypatch, 1)
    Patience("the stream", None, is_alive=False).tick()
    assert is_old(sign)


def test_one_that_was_removed_is_made_again(sign: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sign.unlink()
    later(monkeypatch, 1)
    liveness.show()
    assert sign.exists()


def test_where_it_cannot_be_shown_that_is_told_once(
    sign: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    sign.unlink()
    sign.parent.rmdir()
    for seconds in (1, 2):
        later(monkeypatch, seconds)
        liveness.show()
    assert caplog.messages == [
        f"no sign of life can be shown in LIVENESS_FILE={sign} (No such file or directory): give a file that this process may "
        "write to"
    ]


def test_the_longest_silence_is_told_when_it_was_longer_by_half(
    sign: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    start = time.monotonic()
    for seconds in (5, 25, 45, 105):  # silences of 5, 20, 20 and 60 s
        monkeypatch.setattr(time, "monotonic", lambda seconds=seconds: start + seconds)
        liveness.show()
    assert caplog.messages == [
        f"no sign of life for seconds={silence}, the longest so far: a probe must allow for more than that"
        for silence in (20, 60)
    ]
    assert sign.exists()


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_fit_shows_it_whenever_keras_comes_back_from_some_steps(
    sign: Path, monkeypatch: pytest.MonkeyPatch, dialect: Dialect
) -> None:
    monkeypatch.setattr(liveness, "EVERY_S", 0.0)
    data = digits(validation_rate=0.2, test_rate=0.2)
    with acts() as watch:
        trained(dialect, data, epochs=2, steps_per_epoch=32)
    # Batches of 32, 16 of them in a call: two calls train and one validates in an epoch, one tests at the end. Two come before.
    assert watch.acts.count(("os.utime", str(sign))) == 2 * (2 + 1) + 1 + 2


def test_a_fit_without_it_has_no_callback_that_costs_time() -> None:
    assert not liveness.is_shown()
    assert _between_steps(cast("Any", None), digits()) == []


def test_a_pause_is_a_sign_of_life_and_lasts_its_time(sign: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    grow_old(sign)
    later(monkeypatch, 5.0)
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        later(monkeypatch, seconds)

    monkeypatch.setattr(time, "sleep", sleep)
    pause(1.2)
    assert not is_old(sign)
    assert sum(slept) == pytest.approx(1.2, abs=0.1)
