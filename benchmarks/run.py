"""`python -m benchmarks.run` measures everything, `python -m benchmarks.run reading memory` these parts alone.

Each part is printed, and written to benchmarks/results/PART.md with the machine, the versions and the command.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.measure import RUNS, machine
from demo.broker import kafka

PARTS = ("reading", "fitting", "rounds", "starting", "memory", "growth", "job")
RESULTS = Path(__file__).parent / "results"


def main() -> int:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.run", description="Measure the worker.")
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"one of {', '.join(PARTS)}; all if none is given")
    parts = parser.parse_args().parts or list(PARTS)
    if unknown := set(parts) - set(PARTS):
        parser.error(f"no part {', '.join(sorted(unknown))}: choose from {', '.join(PARTS)}")
    RESULTS.mkdir(exist_ok=True)
    with kafka() as bootstrap:
        for part in parts:
            module = importlib.import_module(f"benchmarks.{part}")
            begun = time.monotonic()
            section = module.run(bootstrap)
            title = (module.__doc__ or part).strip().splitlines()[0]
            told = (
                f"# {title}\n\n`make bench PARTS={part}` on {datetime.now(UTC):%d %B %Y}, {time.monotonic() - begun:.0f} s. "
                f"Medians of at least {RUNS} runs, least and greatest in brackets.\n{machine()}.\n\n{section}"
            )
            (RESULTS / f"{part}.md").write_text(told)
            print(told, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
