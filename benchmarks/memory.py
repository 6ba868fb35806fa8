"""Memory: a worker's peak, above that of a worker whose stream is a batch; and the speed of a stream that is kept on disk."""

from __future__ import annotations

import re
import statistics

from benchmarks.federation import announced, image_model, one_round
from benchmarks.measure import RUNS, Ended, Row, comparison, table, told
from benchmarks.streams import IMAGES, images, write
from demo.device import Stream

BATCH = 128
EPOCHS = 2
LONG = 1_000_000
LIMIT = "256Mi"
LIMIT_BYTES = 256 * 2**20
RECORD_BYTES = 28 * 28 + 1
PLENTY = "8Gi"
MIB = 2**20


def job(bootstrap: str, stream: Stream, limit: str) -> Ended:
    """A worker with one round on a stream."""
    return one_round(bootstrap, stream, announced(image_model("keras3"), BATCH, EPOCHS), 0.0, DATA_MEMORY_LIMIT=limit)


def seconds_an_epoch(ended: Ended) -> float:
    """Of the last epoch, which a warm page cache serves."""
    return float(re.findall(r"epoch \d+/\d+ seconds=([\d.]+)", ended.output)[-1])


def run(bootstrap: str) -> str:
    """Measure peaks and speed."""
    batch, some, many = (write(bootstrap, *images(count), "RAW") for count in (BATCH, IMAGES, LONG))
    bases = [job(bootstrap, batch, PLENTY).peak_bytes for _ in range(RUNS)]
    base = statistics.median(bases)
    lines = [("128 images, which stand for TensorFlow, model and fit", told([one / MIB for one in bases], "MiB"), "", "", "")]
    speeds = {}
    for what, stream, limit, allowed in (
        ("70 k images in memory", some, PLENTY, 1.3 * IMAGES * RECORD_BYTES),
        ("1 M images in memory", many, PLENTY, 1.3 * LONG * RECORD_BYTES),
        (f"1 M images, DATA_MEMORY_LIMIT={LIMIT}", many, LIMIT, LIMIT_BYTES),
    ):
        ended = [job(bootstrap, stream, limit) for _ in range(RUNS)]
        speeds[what] = [seconds_an_epoch(one) for one in ended]
        arrays = (stream.total or 0) * RECORD_BYTES
        above = [one.peak_bytes - base for one in ended]
        lines.append(
            (
                what,
                told([one.peak_bytes / MIB for one in ended], "MiB"),
                told([one / MIB for one in above], "MiB"),
                told([one / arrays for one in above]),
                f"at most {allowed / MIB:.0f} MiB above",
            )
        )
    heads = ("stream", "peak resident", "above 128 images", "over the decoded arrays", "goal")
    in_memory, spilled = list(speeds.values())[1:]
    row = Row("an epoch of 1 M images, kept on disk", "in memory", spilled, in_memory, "at least 0.7", is_rate=True)
    return table(heads, lines) + "\nSamples a second, from a warm page cache:\n\n" + comparison([row])
