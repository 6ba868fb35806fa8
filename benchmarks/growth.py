"""As the work grows: time and memory of reading and keeping a stream, by records and by partitions."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks.measure import RUNS, call, resident_peak, table, told
from benchmarks.reading import ours
from benchmarks.streams import environment, images, write

RECORDS = (10_000, 100_000, 1_000_000)
PARTITIONS = (1, 4, 16)
PLOT = Path(__file__).parent / "results" / "growth.png"
MIB = 2**20


def keep(job: dict[str, str]) -> list[float]:
    """Seconds, and bytes by which the peak grew."""
    before = resident_peak()
    return [ours(job), resident_peak() - before]


def run(bootstrap: str) -> str:
    """Measure all pairs of records and partitions, and draw them."""
    figures: dict[tuple[int, int], list[list[float]]] = {}
    for partitions in PARTITIONS:
        for records in RECORDS:
            job = environment(bootstrap, write(bootstrap, *images(records), "RAW", partitions))
            figures[records, partitions] = [call("benchmarks.growth", "keep", job=job) for _ in range(RUNS + 1)][1:]
    lines = []
    for (records, partitions), runs in figures.items():
        seconds, peaks = zip(*runs, strict=True)
        lines.append(
            (
                f"{records}",
                f"{partitions}",
                told([1000 * one for one in seconds], "ms"),
                told([1e6 * one / records for one in seconds], "µs"),
                told([one / MIB for one in peaks], "MiB"),
            )
        )
    _draw(figures)
    heads = ("records of 784 bytes", "partitions", "time", "a record", "memory")
    slopes = [(f"{partitions}", *_line(figures, partitions)) for partitions in PARTITIONS]
    fits = table(("partitions", "µs a record", "ms besides", "bytes a record", "MiB besides"), slopes)
    return (
        table(heads, lines)
        + "\nLines through the medians of the smallest and the largest:\n\n"
        + fits
        + "\n![growth](growth.png)\n"
    )


def _medians(figures: dict[tuple[int, int], list[list[float]]], partitions: int) -> tuple[list[float], list[float]]:
    seconds, peaks = zip(*(np.median(figures[records, partitions], axis=0) for records in RECORDS), strict=True)
    return list(seconds), list(peaks)


def _line(figures: dict[tuple[int, int], list[list[float]]], partitions: int) -> tuple[str, ...]:
    told_of = []
    for values, slope_unit, base_unit in zip(_medians(figures, partitions), (1e6, 1), (1e3, 1 / MIB), strict=True):
        slope = (values[-1] - values[0]) / (RECORDS[-1] - RECORDS[0])
        told_of += [f"{slope * slope_unit:.3g}", f"{(values[0] - slope * RECORDS[0]) * base_unit:.3g}"]
    return tuple(told_of)


def _draw(figures: dict[tuple[int, int], list[list[float]]]) -> None:
    import matplotlib as mpl  # noqa: PLC0415 - for the picture alone

    mpl.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415 - as above

    figure, (times, memory) = plt.subplots(1, 2, figsize=(11, 4.5))
    for partitions in PARTITIONS:
        seconds, peaks = _medians(figures, partitions)
        label = f"{partitions} partition{'s' if partitions > 1 else ''}"
        times.plot(RECORDS, seconds, marker="o", label=label)
        memory.plot(RECORDS, [one / MIB for one in peaks], marker="o", label=label)
    memory.plot(RECORDS, [records * 785 / MIB for records in RECORDS], linestyle="--", color="grey", label="the arrays alone")
    for axes, name in ((times, "seconds"), (memory, "MiB")):
        axes.set(xlabel="records of 784 bytes", ylabel=name, xlim=0, ylim=0)
        axes.grid(alpha=0.3)
        axes.legend()
    figure.suptitle("Reading, decoding and keeping a stream")
    figure.tight_layout()
    figure.savefig(PLOT, dpi=110)
