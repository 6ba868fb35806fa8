"""Reads spoiled pickles by the million, led by what they reach in the reader: `make fuzz`."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
import tracemalloc

import atheris

with atheris.instrument_imports(include=["protocol.pickles"]):
    import protocol.pickles  # noqa: F401 - what is imported here is led by

from tests.fuzz.pickles import MOST_BYTES, Judge, Mutator, seeds
from tests.support import watch


def main() -> None:
    """Read so many, then tell what became of them. A finding ends it with a traceback and the pickle."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1_000_000, help="pickles to read")
    parser.add_argument("--seed", type=int, default=1, help="from which all of them follow")
    arguments = parser.parse_args()
    print(f"fuzz pickles count={arguments.count} seed={arguments.seed}", flush=True)
    pool = seeds()
    mutator, begun, read = Mutator(pool), time.monotonic(), 0
    tracemalloc.start()
    with watch.acts() as watched:
        judge = Judge(watched)

        def read_one(pickled: bytes) -> None:
            nonlocal read
            judge.read(pickled or pool[0])
            read += 1
            if read == arguments.count:
                _tell(judge, time.monotonic() - begun)

        def spoil(pickled: bytes, most: int, seed: int) -> bytes:
            # What led on before is spoiled further, and every other one begins anew.
            return mutator.spoil(pickled if pickled and seed % 2 else pool[seed // 2 % len(pool)], seed)[:most]

        options = (
            *(f"-runs={arguments.count}", f"-seed={arguments.seed}", f"-max_len={MOST_BYTES}", "-verbosity=0"),
            *("-len_control=0", "-timeout=0", "-rss_limit_mb=0", f"-artifact_prefix={tempfile.gettempdir()}/"),
        )
        atheris.Setup([sys.argv[0], *options], read_one, custom_mutator=spoil)
        atheris.Fuzz()


def _tell(judge: Judge, seconds: float) -> None:
    print("\n| outcome | pickles |\n|---|---|")
    for outcome, times in judge.outcomes.most_common():
        print(f"| {outcome} | {times} |")
    print(f"\nseconds={seconds:.0f} largest_bytes={judge.largest_bytes}", flush=True)


if __name__ == "__main__":
    main()
