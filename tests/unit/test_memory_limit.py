"""The memory that a worker may have, and what of it the stream may take."""

import ctypes
import mmap
from pathlib import Path

import pytest

from config import Settings
from tests.support.environments import job
from utils import give_back_memory, memory_bytes
from variables import Memory, memory

MACHINE = memory_bytes(Path("/nowhere"), Path("/nowhere"))


def group(root: Path, path: str, name: str, limit: str) -> None:
    (root / path).mkdir(parents=True, exist_ok=True)
    (root / path / name).write_text(limit + "\n")


def process(tmp_path: Path, *lines: str) -> Path:
    (tmp_path / "cgroup").write_text("".join(f"{line}\n" for line in lines))
    return tmp_path / "cgroup"


@pytest.mark.parametrize(
    ("groups", "expected"),
    [
        ({"": "1000000"}, 1_000_000),  # a container, which sees its own group as the root
        ({"pod": "3000000", "pod/worker": "max"}, 3_000_000),
        ({"pod": "3000000", "pod/worker": "2000000"}, 2_000_000),
        ({"pod/worker": "max"}, MACHINE),
        ({}, MACHINE),
    ],
)
def test_the_least_limit_of_the_groups_above_counts(tmp_path: Path, groups: dict[str, str], expected: int) -> None:
    for path, limit in groups.items():
        group(tmp_path / "groups", path, "memory.max", limit)
    assert memory_bytes(tmp_path / "groups", process(tmp_path, "0::/pod/worker")) == expected


@pytest.mark.parametrize(
    ("groups", "expected"),
    [
        ({"": "1000000"}, 1_000_000),
        ({"": "9223372036854771712", "pod/worker": "2000000"}, 2_000_000),
        ({"": "9223372036854771712"}, MACHINE),  # how the older groups spell none
    ],
)
def test_the_older_groups_are_read_as_well(tmp_path: Path, groups: dict[str, str], expected: int) -> None:
    for path, limit in groups.items():
        group(tmp_path / "groups" / "memory", path, "memory.limit_in_bytes", limit)
    lines = ("5:cpu,cpuacct:/elsewhere", "4:memory:/pod/worker", "0::/")
    assert memory_bytes(tmp_path / "groups", process(tmp_path, *lines)) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [("40%", 400), ("100%", 1000), ("512", 512), ("2Ki", 2048), ("1.5k", 1500), ("1Gi", 2**30), ("3M", 3_000_000)],
)
def test_an_amount_is_bytes_or_a_share(text: str, expected: int) -> None:
    assert memory(text).of(1000) == expected


@pytest.mark.parametrize("text", ["", "half", "0%", "101%", "-1", "1 GB", "2Gib", "1e9"])
def test_what_is_no_amount_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"give bytes as Kubernetes writes them, e\.g\. 512Mi or 2Gi, or a share"):
        memory(text)


def test_half_of_it_is_the_streams_unless_the_setting_says_otherwise() -> None:
    assert Settings.from_env(job()).data_memory == Memory(share=0.5)
    assert Settings.from_env(job(DATA_MEMORY_LIMIT="256Mi")).data_memory == Memory(bytes=2**28)


def test_memory_that_was_freed_goes_back_to_the_system() -> None:
    if not hasattr(ctypes.CDLL(None), "malloc_trim"):
        pytest.skip("the C library is not GNU's: it has no call for it")
    parts = [bytes(900) for _ in range(50_000)]
    last = parts[-1]  # behind the hole that the others leave
    del parts
    before = resident_bytes()
    give_back_memory()
    assert before - resident_bytes() > 20_000_000
    assert len(last) == 900


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * mmap.PAGESIZE
