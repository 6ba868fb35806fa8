"""A decoded stream is kept in memory up to a limit, and on disk beyond it."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from protocol.errors import SpaceLackError
from protocol.records import Array, Samples
from tests.support.streams import PLENTY
from training.datasets import FitData
from training.split import split
from training.stopping import Stop
from training.store import Kept, Store

ROW_BYTES = 9  # two float32 and a uint8
DTYPES = ["bool", "uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64", "float16", "float32", "float64"]


def numbered(start: int, count: int) -> Samples:
    labels = np.arange(start, start + count, dtype=np.uint8)
    return Samples(np.stack([labels, labels + 100], axis=1).astype(np.float32), labels)


def keep(memory_bytes: int, folder: Path, *counts: int, most: int = 50) -> Kept:
    store = Store(most, memory_bytes, folder)
    for count in counts:
        store.add(numbered(len(store), count))
    return store.finish()


def assert_numbered(kept: Kept, total: int) -> None:
    assert len(kept) == total
    np.testing.assert_array_equal(kept.samples.features, numbered(0, total).features)
    np.testing.assert_array_equal(kept.samples.labels, numbered(0, total).labels)


def test_a_stream_within_the_limit_stays_in_memory(tmp_path: Path) -> None:
    kept = keep(20 * ROW_BYTES, tmp_path, 7, 13)
    assert_numbered(kept, 20)
    assert kept.maps == ()


@pytest.mark.parametrize("counts", [(7, 13, 1), (21,), (20, 1), (1,) * 21])
def test_a_stream_beyond_the_limit_goes_to_disk(
    tmp_path: Path, counts: tuple[int, ...], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    kept = keep(20 * ROW_BYTES, tmp_path, *counts)
    assert_numbered(kept, 21)
    assert len(kept.maps) == 2
    kept.release()
    assert_numbered(kept, 21)
    [line] = [record.getMessage() for record in caplog.records]
    assert line.startswith(
        f"stream takes more than DATA_MEMORY_LIMIT bytes=180, so it is kept in DATA_SPILL_FOLDER={tmp_path} expected_bytes=450 "
    )


def test_what_a_stream_takes_in_memory_is_known_to_whoever_keeps_another_one(tmp_path: Path) -> None:
    assert keep(20 * ROW_BYTES, tmp_path, 20).memory_bytes == 20 * ROW_BYTES
    assert keep(20 * ROW_BYTES, tmp_path, 21).memory_bytes == 0


@pytest.mark.parametrize("memory_bytes", [PLENTY, 0])
def test_labels_may_have_no_numbers(tmp_path: Path, memory_bytes: int) -> None:
    store = Store(50, memory_bytes, tmp_path)
    for start in (0, 5):
        store.add(Samples(numbered(start, 5).features, np.empty((5, 0), np.uint8)))
    samples = store.finish().samples
    np.testing.assert_array_equal(samples.features, numbered(0, 10).features)
    np.testing.assert_array_equal(samples.labels, np.empty((10, 0), np.uint8), strict=True)


def test_a_limit_below_one_sample_is_one_for_the_disk(tmp_path: Path) -> None:
    assert_numbered(keep(1, tmp_path, 3), 3)


def test_a_file_on_disk_has_no_name(tmp_path: Path) -> None:
    kept = keep(1, tmp_path, 3)
    assert list(tmp_path.iterdir()) == []
    assert_numbered(kept, 3)


@pytest.mark.parametrize("memory_bytes", [PLENTY, 1])
@pytest.mark.parametrize("dtype", DTYPES)
def test_tensorflow_sees_the_kept_numbers_as_they_lie(tmp_path: Path, dtype: str, memory_bytes: int) -> None:
    features, labels = np.arange(12).reshape(4, 3).astype(dtype), np.arange(4).astype(dtype)
    store = Store(4, memory_bytes, tmp_path)
    store.add(Samples(features, labels))
    kept = store.finish()
    data = FitData(kept, split(4, validation_rate=0, test_rate=0), Stop())
    [(batch, batch_labels)] = list(data.dataset(range(4), 4))
    np.testing.assert_array_equal(batch.numpy(), features)
    np.testing.assert_array_equal(batch_labels.numpy(), labels)
    first_tensor, _labels = data._tensors
    kept.samples.features[0, 1] = 0  # one memory: a change in the one is seen in the other
    assert first_tensor.numpy()[0, 1] == 0


def test_text_stays_in_memory_and_is_told_where_it_is_too_much() -> None:
    texts = np.array([b"one", b"two", b"three"], dtype=object)
    store = Store(3, PLENTY, Path())
    store.add(Samples(texts, np.arange(3)))
    assert store.finish().samples.features.tolist() == texts.tolist()
    with pytest.raises(SpaceLackError) as caught, Store(3, 100, Path()) as full:
        full.add(Samples(texts, np.arange(3)))
    assert str(caught.value) == (
        "the stream's text takes more than DATA_MEMORY_LIMIT, 100 bytes, and text cannot be kept on disk: "
        "raise the limit, or send a shorter stream"
    )


def spill_in_a_process(folder: Path, most_bytes: int) -> str:
    """What a process says that spills 1 MB, and whose files may have so many bytes."""
    code = f"""
import resource, numpy as np
from pathlib import Path
from protocol.errors import SpaceLackError
from protocol.records import Samples
from training.store import Store
resource.setrlimit(resource.RLIMIT_FSIZE, ({most_bytes}, {most_bytes}))
store = Store(100, 1, Path({str(folder)!r}))
try:
    for _ in range(100):
        store.add(Samples(np.zeros((1, 10_000), np.uint8), np.zeros(1, np.uint8)))
    print(len(store.finish()))
except SpaceLackError as exc:
    print(exc)
"""
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60).stdout.strip()  # noqa: S603


def test_a_disk_that_takes_no_more_is_a_clear_error(tmp_path: Path) -> None:
    assert spill_in_a_process(tmp_path, 2_000_000) == "100"
    told = spill_in_a_process(tmp_path, 500_000)
    assert told.startswith(f"DATA_SPILL_FOLDER={tmp_path} takes no more of the stream (File too large), free_bytes=")
    assert told.endswith(": give it more space, name another folder, or raise DATA_MEMORY_LIMIT")


def test_what_a_pass_over_a_spilled_stream_reads_does_not_pile_up(tmp_path: Path) -> None:
    rows: Array = np.ones((2_000, 10_000), np.uint8)
    store = Store(len(rows), 1, tmp_path)
    store.add(Samples(rows, np.zeros(len(rows), np.uint8)))
    kept = store.finish()

    def resident() -> int:
        lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("Rss:")) * 1024

    kept.release()
    before = resident()
    assert kept.samples.features.sum() == rows.size
    assert resident() - before > rows.nbytes * 0.9
    kept.release()
    assert resident() - before < rows.nbytes * 0.1
