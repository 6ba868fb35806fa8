"""The README tells of every variable, exit status and dependency, and of no other."""

import re
from pathlib import Path

import protocol.errors
from clusters import BY_SASL, BY_TLS, PROTOCOLS
from config import CLOUD, EDGE
from protocol.errors import STATUS_BUG, STATUS_DONE, WorkerError

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def first_column(heading: str) -> list[str]:
    """The first cells of the table whose heading row begins so."""
    lines = README.splitlines()
    start = next(at for at, line in enumerate(lines) if line.startswith(f"| {heading} |")) + 2
    rows = []
    for line in lines[start:]:
        if not line.startswith("|"):
            break
        rows.append(line.split("|")[1].strip())
    return rows


def test_every_variable_that_is_read_stands_in_the_table() -> None:
    source = (ROOT / "config.py").read_text()
    read = set(re.findall(r'"([A-Z][A-Z_]+)"', source)) - {
        "TF_CPP_MIN_LOG_LEVEL",
        "HOSTNAME",
        "TMPDIR",
        "DEBUG",
        "INFO",
        "WARNING",
        "ERROR",
    }
    prefixes = {CLOUD, EDGE}
    assert set(first_column("variable")) == read - prefixes | {f"{prefix}BOOTSTRAP_SERVERS" for prefix in prefixes}


def test_every_variable_of_a_clusters_security_stands_in_its_table() -> None:
    told = [name.strip() for row in first_column("KML_CLOUD_… and DATA_…") for name in row.split(",")]
    assert sorted(told) == sorted(["SECURITY_PROTOCOL", *BY_TLS, *BY_SASL])
    source = (ROOT / "clusters.py").read_text()
    assert set(re.findall(r'"(S(?:SL|ASL|ECURITY)_[A-Z_]+)"', source)) - {*PROTOCOLS} == set(told)


def test_every_exit_status_stands_in_the_table() -> None:
    kinds = [one for one in vars(protocol.errors).values() if isinstance(one, type) and issubclass(one, WorkerError)]
    statuses = {one.status for one in kinds} | {STATUS_BUG, STATUS_DONE, 130, 143}
    assert sorted(int(number) for row in first_column("exit status") for number in row.split(",")) == sorted(statuses)


def test_every_dependency_stands_in_the_table_and_is_pinned() -> None:
    told = {name.strip() for row in first_column("package") for name in row.split(",")}
    lines = [
        line
        for file in sorted(ROOT.glob("requirements*.txt"))
        for line in file.read_text().splitlines()
        if line and not line.startswith(("#", "-"))
    ]
    pinned = {line.split("==")[0] for line in lines if re.match(r"[\w-]+==[\w.]+( |$)", line)}
    assert len(pinned) == len(lines)
    assert told == pinned
