"""The README, the docs and the Dockerfile tell of every variable, exit status, limit and dependency, and of no other."""

import json
import re
from pathlib import Path

import protocol.errors
from blockchain.node import REQUEST_LIMIT_S as NODE_LIMIT_S
from blockchain.settings import DEFAULT_RECEIPT_LIMIT_S
from checking.vocabulary import OF_REGISTRY, SECURITY, VARIABLES
from clusters import BY_BASIC, BY_SASL, BY_TLS, PROTOCOLS
from config import (
    CLOUD,
    DEFAULT_ANSWER_LIMIT_S,
    DEFAULT_LOAD_LIMIT_S,
    DEFAULT_ROUND_LIMIT_S,
    DEFAULT_TRANSACTION_LIMIT_S,
    DEFAULT_WAIT_LIMIT_S,
    DEFAULT_WINDOW_LIMIT_S,
    EDGE,
)
from ending import STOP_LIMIT_S
from protocol.errors import STATUS_BUG, STATUS_DONE, WorkerError
from transport.admin import REQUEST_LIMIT_S
from transport.reader import CLOSE_LIMIT_S
from transport.tokens import ANSWER_LIMIT_S as TOKEN_LIMIT_S
from transport.writer import ABORT_LIMIT_S

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
OPERATORS = (ROOT / "docs/operators.md").read_text()


def first_column(text: str, heading: str) -> list[str]:
    """The first cells of the table whose heading row begins so."""
    return [cells[0] for cells in rows(text, heading)]


def test_every_variable_that_is_read_stands_in_the_table() -> None:
    rooms = ("config.py", "variables.py", "blockchain/settings.py", "observing/settings.py")
    source = "".join((ROOT / name).read_text() for name in rooms)
    read = set(re.findall(r'"([A-Z][A-Z_]+)"', source)) - {
        *re.findall(r'"((?:TF|MLFLOW)_[A-Z_]+)": "', source),  # set, not read
        *(set(re.findall(r'"(OTEL_[A-Z_]+)"', source)) - {"OTEL_EXPORTER_OTLP_ENDPOINT"}),  # OpenTelemetry has told of them
        "HOSTNAME",
        "TMPDIR",
        "DEBUG",
        "INFO",
        "WARNING",
        "ERROR",
    }
    prefixes = {CLOUD, EDGE}
    assert set(first_column(OPERATORS, "variable")) == read - prefixes | {f"{prefix}BOOTSTRAP_SERVERS" for prefix in prefixes}


def test_every_variable_is_described_with_the_default_that_the_table_has() -> None:
    assert [(one.name, one.default) for one in VARIABLES] == [
        (name, default) for name, default, _ in rows(OPERATORS, "variable")
    ]
    told = [
        (name.strip(), default) for names, default, _ in rows(OPERATORS, "KML_CLOUD_… and DATA_…") for name in names.split(",")
    ]
    assert sorted((one.name, one.default) for one in SECURITY) == sorted(told)


def test_every_variable_of_the_registry_stands_in_its_table_with_its_default() -> None:
    told = [(name.strip(), default) for names, default, _ in rows(OPERATORS, "SCHEMA_REGISTRY_…") for name in names.split(",")]
    assert [(one.name, one.default) for one in OF_REGISTRY] == told
    assert [name for name, _ in told] == [*BY_BASIC, *BY_TLS]


def test_every_variable_of_a_clusters_security_stands_in_its_table() -> None:
    told = [name.strip() for row in first_column(OPERATORS, "KML_CLOUD_… and DATA_…") for name in row.split(",")]
    assert sorted(told) == sorted(["SECURITY_PROTOCOL", *BY_TLS, *BY_SASL])
    source = (ROOT / "clusters.py").read_text()
    assert set(re.findall(r'"(S(?:SL|ASL|ECURITY)_[A-Z_]+)"', source)) - {*PROTOCOLS} == set(told)


def test_every_dependency_stands_in_the_table_and_is_pinned() -> None:
    told = {name.strip() for row in first_column(README, "package") for name in row.split(",")}
    lines = [
        line
        for file in sorted(ROOT.glob("requirements*.txt"))
        for line in file.read_text().splitlines()
        if line and not line.startswith(("#", "-"))
    ]
    pins = [re.match(r"([\w-]+)(\[[\w-]+\])?==[\w.]+( |$)", line) for line in lines]
    assert [line for line, pin in zip(lines, pins, strict=True) if pin is None] == []
    pinned = {pin[1] for pin in pins if pin is not None}
    assert told == pinned


def rows(text: str, heading: str) -> list[list[str]]:
    """The cells of the table whose heading row begins so."""
    table = text[text.index(f"| {heading} |") :].split("\n\n", maxsplit=1)[0].splitlines()[2:]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in table]


def kinds() -> list[type[WorkerError]]:
    return [one for one in vars(protocol.errors).values() if isinstance(one, type) and issubclass(one, WorkerError)]


def test_a_restart_helps_where_the_table_says_so() -> None:
    told = {int(number): helps for statuses, helps, _ in rows(OPERATORS, "exit status") for number in statuses.split(",")}
    expected = {one.status: "yes" if one.passes else "no" for one in kinds() if one is not WorkerError}
    assert told == expected | {STATUS_DONE: "", STATUS_BUG: "perhaps", 130: "yes", 143: "yes"}


def test_the_tree_of_errors_says_what_its_classes_do() -> None:
    told = re.findall(r"(\w+) +(\d+)  (permanent|passing) ", protocol.errors.__doc__ or "")
    expected = {
        (one.__name__, str(one.status), "passing" if one.passes else "permanent")
        for one in kinds()
        if one.__bases__ == (WorkerError,)
    }
    assert set(told) == expected | {("Stopped", "143", "passing")}


def test_every_setting_of_a_wait_stands_in_the_table_of_waits_with_its_default() -> None:
    told = {(setting, default) for _, setting, default, _ in rows((ROOT / "docs/operation.md").read_text(), "wait for")}
    assert {one for one in told if one[0].endswith("_S")} == {
        ("WAIT_LIMIT_S", "a week"),
        ("ANSWER_LIMIT_S", f"{DEFAULT_ANSWER_LIMIT_S:g} s"),
        ("LOAD_LIMIT_S", f"{DEFAULT_LOAD_LIMIT_S:g} s"),
        ("TRANSACTION_LIMIT_S", f"{DEFAULT_TRANSACTION_LIMIT_S:g} s"),
        ("WINDOW_LIMIT_S", f"{DEFAULT_WINDOW_LIMIT_S:g} s"),
        ("ROUND_LIMIT_S", f"{DEFAULT_ROUND_LIMIT_S:g} s"),
        ("ETH_RECEIPT_LIMIT_S", f"{DEFAULT_RECEIPT_LIMIT_S:g} s"),
    }
    assert DEFAULT_WAIT_LIMIT_S == 7 * 24 * 3600
    assert {default for setting, default in told if setting == "fixed"} == {
        f"{limit:g} s" for limit in (STOP_LIMIT_S, CLOSE_LIMIT_S, ABORT_LIMIT_S, REQUEST_LIMIT_S, TOKEN_LIMIT_S, NODE_LIMIT_S)
    }


def test_process_1_of_the_image_is_python_and_is_stopped_by_sigterm() -> None:
    lines = (ROOT / "Dockerfile").read_text().splitlines()
    starts = [line.split(" ", 1) for line in lines if re.match(r"(CMD|ENTRYPOINT|STOPSIGNAL|SHELL) ", line)]
    # A list is what Docker runs as it is; a text would run in a shell, which keeps signals to itself.
    assert [(word, json.loads(what)) for word, what in starts] == [("CMD", ["python", "federated_training.py"])]


def test_the_image_is_given_every_room_of_the_worker() -> None:
    rooms = {path.parent.name for path in ROOT.glob("*/__init__.py")} - {"benchmarks", "demo", "tests"}
    let_in = (ROOT / ".dockerignore").read_text().splitlines()
    copied = re.findall(r"^COPY (\w+) \./\1$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert rooms == set(copied) == {room for room in copied if f"!{room}" in let_in}
