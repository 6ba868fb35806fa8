"""What the soak holds a worker's samples against, and where it tells of them."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks.measure import put_section
from benchmarks.soak import broken
from benchmarks.watched import Sample

STEADY = Sample(resident=100 * 2**20, peak=110 * 2**20, threads=25, files=30, traces=18, functions=60)


def then(**changes: Any) -> list[Sample]:
    """Nineteen rounds alike, and a last one that differs."""
    return [STEADY] * 19 + [replace(STEADY, **changes)]


def test_a_worker_that_stays_as_it_is_breaks_no_bound() -> None:
    assert broken(then(resident=105 * 2**20, threads=24, files=29), 20, settled=10) == []


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        (
            {"resident": 106 * 2**20},
            "resident memory: 100.0 MiB after round 10, 106.0 MiB after round 20, expected at most 5% more",
        ),
        ({"peak": 120 * 2**20}, "peak memory: 110.0 MiB after round 10, 120.0 MiB after round 20, expected at most 5% more"),
        ({"threads": 26}, "threads: 25 after round 10, later 26"),
        ({"files": 31}, "files: 30 after round 10, later 31"),
        ({"traces": 19}, "traces: 18 after round 10, later 19"),
        ({"functions": 61}, "functions: 60 after round 10, later 61"),
    ],
)
def test_what_grows_breaks_its_bound(changes: dict[str, int], fault: str) -> None:
    assert broken(then(**changes), 20, settled=10) == [fault]


def test_what_grows_for_a_while_breaks_its_bound_as_well() -> None:
    samples = [*then()[:15], replace(STEADY, threads=40), *then()[:4]]
    assert broken(samples, 20, settled=10) == ["threads: 25 after round 10, later 40"]


def test_models_that_are_built_anew_may_trace() -> None:
    assert broken(then(traces=40, functions=61), 20, settled=10, traces_once=False) == []


def test_a_soak_that_saw_too_little_has_failed() -> None:
    assert broken(then()[:7], 20, settled=10) == ["rounds: 7 were seen, expected 20"]
    untraced = [replace(sample, traces=0) for sample in then()]
    assert broken(untraced, 20, settled=10) == ["traces: none was seen, so they were not counted"]


def test_a_section_takes_the_place_of_the_one_before_and_no_more(tmp_path: Path) -> None:
    report = tmp_path / "report.md"
    report.write_text("above\n<!-- soak -->\nold\n<!-- end of soak -->\nbelow\n")
    put_section(report, "soak", "new\n")
    assert report.read_text() == "above\n<!-- soak -->\nnew\n<!-- end of soak -->\nbelow\n"
    with pytest.raises(ValueError, match="has no section chaos"):
        put_section(report, "chaos", "new\n")
