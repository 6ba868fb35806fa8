"""`python -m benchmarks.soak`: a thousand rounds in one worker, whose memory, threads, files and traces must stay as they are.

Writes a table and a plot to docs/reliability.md, and ends with 1 where a bound is broken.
"""

from __future__ import annotations

import secrets
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from benchmarks.federation import announced
from benchmarks.measure import ROOT, machine, put_section, table
from benchmarks.streams import environment, write
from benchmarks.watched import Sample, read_samples
from demo.broker import kafka
from demo.cloud import Cloud
from demo.datasets import load
from demo.guard import guarded_folder
from demo.models import LIBRARIES, digits_model, import_quietly
from demo.rounds import LAST, AnnouncedModel
from demo.workers import Workers

REPORT = ROOT / "docs" / "reliability.md"
PLOT = ROOT / "docs" / "reliability-soak.png"
SETTLED = 50  # the round after which nothing may grow
GROWTH = 0.05  # by which memory may, of what it was then
SAMPLES = 640
BATCH = 32
EPOCHS = 2
END_LIMIT_S = 60.0
WATCHED = (sys.executable, "-m", "benchmarks.watched")
MIB = 2**20


@dataclass(frozen=True, slots=True)
class Soak:
    """A federation of one worker.

    Attributes:
        dialect: a key of LIBRARIES.
        kwargs_fit: beside the epochs.
        alternates: another architecture than the round before, so that each round builds and traces anew.
    """

    dialect: str
    rounds: int
    what: str
    kwargs_fit: Mapping[str, Any] = field(default_factory=dict)
    alternates: bool = False

    @property
    def name(self) -> str:
        return f"{LIBRARIES[self.dialect]}, {self.what}"

    @property
    def traces_once(self) -> bool:
        """A shuffled round makes its pipeline, two small functions, anew."""
        return not self.alternates and not self.kwargs_fit


SOAKS = [
    soak
    for dialect in LIBRARIES
    for soak in (
        Soak(dialect, 1000, "the same model"),
        Soak(dialect, 300, "the same model, shuffled", {"shuffle": True}),
        Soak(dialect, 200, "two models in turn", alternates=True),
    )
]


def broken(samples: Sequence[Sample], rounds: int, *, settled: int = SETTLED, traces_once: bool = True) -> list[str]:
    """The bounds that a worker has broken, each in words.

    Args:
        samples: one a round.
        rounds: that it should have taken part in.
        settled: the round that all later ones are held against.
        traces_once: hold traces against it too.
    """
    if len(samples) != rounds:
        return [f"rounds: {len(samples)} were seen, expected {rounds}"]
    base, last, later = samples[settled - 1], samples[-1], samples[settled:]
    faults = [
        f"{name} memory: {getattr(base, name) / MIB:.1f} MiB after round {settled}, {getattr(last, name) / MIB:.1f} MiB after "
        f"round {rounds}, expected at most {GROWTH:.0%} more"
        for name in ("resident", "peak")
        if getattr(last, name) > (1 + GROWTH) * getattr(base, name)
    ]
    for name in ("threads", "files", "traces", "functions") if traces_once else ("threads", "files"):
        before, most = getattr(base, name), max(getattr(sample, name) for sample in later)
        if most > before:
            faults.append(f"{name}: {before} after round {settled}, later {most}")
    if not base.traces:
        faults.append("traces: none was seen, so they were not counted")
    return faults


def run(bootstrap: str, soak: Soak) -> list[Sample]:
    """Let a worker take part in all rounds; returns what it was seen to take, a sample a round."""
    features, labels = load("digits")
    stream = write(bootstrap, features[:SAMPLES].reshape(SAMPLES, -1), labels[:SAMPLES], "RAW")
    model_id = f"soak-{secrets.token_hex(4)}"
    with ExitStack() as stack:
        folder = stack.enter_context(guarded_folder("kafka-ml-soak-"))
        workers = stack.enter_context(Workers(folder))
        cloud = stack.enter_context(Cloud(bootstrap, model_id, meanwhile=workers.check))
        cloud.create_topics()
        seen = folder / "samples.jsonl"
        workers.start("soak", environment(bootstrap, stream, model_id), [*WATCHED, str(seen)])
        models = _models(soak)
        for number in range(soak.rounds):
            version = LAST if number == soak.rounds - 1 else number
            at = number % len(models)
            cloud.announce(models[at], version)
            [reply] = cloud.collect(version, clients=1)
            models[at] = replace(models[at], arrays=reply.arrays)  # what a federation of one client averages to
        workers.wait(END_LIMIT_S)
        return read_samples(seen)


def _models(soak: Soak) -> list[AnnouncedModel]:
    models = [digits_model(soak.dialect)]
    if soak.alternates:
        keras = import_quietly(LIBRARIES[soak.dialect])
        layers = keras.layers
        between = [layers.Dense(64, activation="relu"), layers.BatchNormalization(), layers.Dropout(0.2)]
        model = keras.Sequential([keras.Input((64,)), *between, layers.Dense(10, activation="softmax")])
        model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
        models.append(model)
    return [announced(model, BATCH, EPOCHS, **soak.kwargs_fit) for model in models]


def _row(soak: Soak, samples: Sequence[Sample]) -> list[str]:
    base, last = samples[SETTLED - 1], samples[-1]

    def pair(name: str) -> str:
        before, after = getattr(base, name), getattr(last, name)
        return f"{before}, {after}"

    memory = [f"{getattr(base, name) / MIB:.1f}, {getattr(last, name) / MIB:.1f}" for name in ("resident", "peak")]
    growth = f"{last.resident / base.resident - 1:+.1%}"
    return [soak.name, str(len(samples)), *memory, growth, *map(pair, ("threads", "files", "traces", "functions"))]


HEADS = ("model", "rounds", "resident MiB", "peak MiB", "growth", "threads", "files", "traces", "functions")


def _draw(seen: Sequence[tuple[Soak, Sequence[Sample]]]) -> None:
    import matplotlib as mpl  # noqa: PLC0415 - for the picture alone

    mpl.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415 - as above

    figure, axes = plt.subplots(figsize=(9, 4.5))
    for soak, samples in seen:
        base = samples[SETTLED - 1].resident
        axes.plot(range(1, len(samples) + 1), [100 * (sample.resident / base - 1) for sample in samples], label=soak.name)
    axes.axhline(100 * GROWTH, linestyle="--", color="grey", label="the bound")
    axes.set(
        xlabel="rounds", ylabel=f"per cent above round {SETTLED}", xlim=0, title="Resident memory of a worker, round by round"
    )
    axes.grid(alpha=0.3)
    axes.legend()
    figure.tight_layout()
    figure.savefig(PLOT, dpi=110)


def main() -> int:
    """Run all soaks, and tell of them."""
    seen, faults = [], []
    begun = time.monotonic()
    with kafka() as bootstrap:
        for soak in SOAKS:
            print(f"{soak.name}: {soak.rounds} rounds …", flush=True)
            samples = run(bootstrap, soak)
            seen.append((soak, samples))
            faults += [f"{soak.name}: {fault}" for fault in broken(samples, soak.rounds, traces_once=soak.traces_once)]
    _draw(seen)
    told = (
        f"`make soak` on {datetime.now(UTC):%d %B %Y}, {time.monotonic() - begun:.0f} s. {machine()}.\n\n"
        f"Each pair is of the process after round {SETTLED} and after the last one.\n\n"
        f"{table(HEADS, [_row(*one) for one in seen])}\n![memory of a worker, round by round]({PLOT.name})\n"
    )
    put_section(REPORT, "soak", told)
    print(told)
    for fault in faults:
        print(f"broken: {fault}", file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
