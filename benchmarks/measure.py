"""Figures, ratios of figures taken in turn, and how both are told."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from demo.workers import ABSENT

RUNS = 5
LOOK_S = 0.01  # how often a process is looked at
ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("tensorflow", "keras", "tf_keras", "numpy", "confluent-kafka", "kafka-python", "fastavro", "avro", "orjson")
_CALL = "import json, sys; from {0} import {1} as work; print(json.dumps(work(**json.loads(sys.argv[1]))))"


@dataclass(frozen=True, slots=True)
class Ended:
    """A process that has ended well.

    Attributes:
        seconds: from its start to its end.
        peak_bytes: the most memory that it had resident.
        output: what it wrote on standard output.
    """

    seconds: float
    peak_bytes: int
    output: str


@dataclass(frozen=True, slots=True)
class Row:
    """One thing that was measured, beside what it is held against.

    Attributes:
        what, beside: in words.
        measured, against: seconds of each run.
        goal: such as "at most 0.75".
        is_rate: the ratio is that of rates, the inverse of that of times.
    """

    what: str
    beside: str
    measured: Sequence[float]
    against: Sequence[float]
    goal: str
    is_rate: bool = False

    def ratios(self) -> list[float]:
        pairs = zip(self.measured, self.against, strict=True)
        return [other / one if self.is_rate else one / other for one, other in pairs]

    def cells(self) -> tuple[str, ...]:
        return (
            self.what,
            told(self.measured, "s"),
            self.beside,
            told(self.against, "s"),
            told(self.ratios()),
            self.goal,
        )


def told(figures: Sequence[float], unit: str = "") -> str:
    """The median, and the least and greatest in brackets."""
    return f"{statistics.median(figures):.3g} ({min(figures):.3g} to {max(figures):.3g}) {unit}".rstrip()


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def comparison(rows: Sequence[Row]) -> str:
    """Rows as a table: medians of all runs, least to greatest in brackets; ratios are taken run by run."""
    return table(("what", "measured", "beside", "measured", "ratio", "goal"), [row.cells() for row in rows])


def in_turn(*works: Callable[[], float]) -> list[list[float]]:
    """Figures of several works, one after the other in each run, so that what the machine does meanwhile meets all of them.

    A first run, which warms what can be warm, does not count.
    """
    figures = [[work() for work in works] for _ in range(RUNS + 1)]
    return [list(column) for column in zip(*figures[1:], strict=True)]


def call(module: str, function: str, **arguments: Any) -> Any:
    """Call a function in a process of its own; returns what it returns, by way of JSON."""
    ended = process([sys.executable, "-c", _CALL.format(module, function), json.dumps(arguments)])
    return json.loads(ended.output.splitlines()[-1])


def process(command: Sequence[str], environment: Mapping[str, str] | None = None) -> Ended:
    """Run a process to its end.

    Raises:
        CalledProcessError: it ended with another status than 0; its output has been shown by then.
    """
    quiet = {"TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONPATH": f"{ROOT}{os.pathsep}{ABSENT}"}
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
        begun = time.perf_counter()
        environ = {**os.environ, **quiet, **(environment or {})}
        started = subprocess.Popen(command, cwd=ROOT, env=environ, stdout=output, stderr=errors)
        peak = 0
        while started.poll() is None:
            peak = max(peak, resident_peak(started.pid))
            time.sleep(LOOK_S)
        seconds = time.perf_counter() - begun
        output.seek(0)
        errors.seek(0)
        text = output.read()
        if started.returncode:
            print(text, errors.read(), file=sys.stderr)
            raise subprocess.CalledProcessError(started.returncode, command)
    return Ended(seconds, peak, text)


def resident_peak(pid: int | str = "self") -> int:
    """The most bytes that a process has had resident, as the kernel counts them; 0 where it has ended."""
    # Not ru_maxrss, which begins with what the process that started it had.
    with contextlib.suppress(OSError):
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")), 0)
    return 0


def put_section(report: Path, name: str, text: str) -> None:
    """Put a text between the marks of its section, `<!-- NAME -->` and `<!-- end of NAME -->`."""
    before, found, rest = report.read_text().partition(f"<!-- {name} -->\n")
    _old, ended, after = rest.partition(f"<!-- end of {name} -->\n")
    if not (found and ended):
        raise ValueError(f"{report} has no section {name}: expected a line <!-- {name} -->, later one <!-- end of {name} -->")
    report.write_text(before + found + text + ended + after)


def machine() -> str:
    """What the figures were taken on."""
    model = next((line.split(":")[1].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")), "unknown")
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    packages = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    return (
        f"{len(os.sched_getaffinity(0))} cores ({model}), {memory:.0f} GiB, Linux {platform.release()}, "
        f"Python {platform.python_version()}, {packages}; Apache Kafka 4.1.0 on the same machine"
    )


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines()
