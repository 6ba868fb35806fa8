"""Who imports whom, read from the import statements: only downwards."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# What each room may import of the project. A room not named here is a finding.
MAY_IMPORT = {
    "protocol": set(),
    "decoding": {"protocol"},
    "decoders": {"decoding", "protocol"},
    "transport": {"liveness", "protocol", "watching"},
    "training": {"liveness", "protocol", "watching"},
    "watching": set(),
    "observing": {"protocol", "utils", "variables", "watching"},
    "sieve": {"decoders", "protocol", "watching"},
    "blockchain": {"protocol", "transport.patience", "variables"},
    "config": {
        "blockchain.settings",
        "clusters",
        "decoders",
        "observing.settings",
        "protocol",
        "sieve",
        "transport.clients",
        "transport.registry",
        "transport.schemas",
        "variables",
    },
    "clusters": {"transport.clients", "transport.registry", "transport.security", "transport.tokens", "variables"},
    "variables": set(),
    "checking": {
        "blockchain.connecting",
        "clusters",
        "config",
        "decoders",
        "observing.settings",
        "protocol",
        "training.split",  # numpy alone
        "transport.admin",
        "transport.clients",
        "transport.interfaces",
        "transport.reader",
        "transport.schemas",
        "transport.stream",
        "variables",
    },
    "liveness": set(),
    "utils": {"protocol"},
    "ending": {"protocol", "utils"},
    "KafkaModelEngine": {"protocol", "training"},
    "FederatedKafkaMLAggregationSink": {"protocol", "transport.interfaces", "watching"},
    "federated_mainTraining": {"protocol", "training.dialects", "watching"},
    "federated_singleClassicTraining": {"config", "decoders", "federated_mainTraining", "protocol", "sieve", "training"},
    "federated_distributedClassicTraining": {
        "config",
        "federated_mainTraining",
        "federated_singleClassicTraining",
        "protocol",
        "training",
    },
    "federated_singleIncrementalTraining": {
        "config",
        "decoders",
        "federated_mainTraining",
        "federated_singleClassicTraining",
        "protocol",
        "training",
    },
    "federated_distributedIncrementalTraining": {
        "config",
        "federated_distributedClassicTraining",
        "federated_mainTraining",
        "federated_singleIncrementalTraining",
        "training",
    },
    "kinds": {
        "config",
        "decoders",
        "federated_distributedClassicTraining",
        "federated_distributedIncrementalTraining",
        "federated_mainTraining",
        "federated_singleClassicTraining",
        "federated_singleIncrementalTraining",
        "protocol",
        "reading",
        "training",
        "transport",
        "utils",
    },
    "reading": {
        "config",
        "decoders",
        "federated_singleClassicTraining",
        "protocol",
        "sieve",
        "training",
        "transport",
        "utils",
        "watching",
    },
    "federated_blockchainSingleClassicTraining": {
        "blockchain",
        "config",
        "FederatedKafkaMLAggregationSink",
        "protocol",
        "transport.interfaces",
        "transport.patience",
        "transport.replies",
    },
}
KAFKA_CLIENTS = {"kafka", "confluent_kafka"}
OUTLETS = {"prometheus_client", "tensorboard", "opentelemetry", "mlflow"}
TENSORFLOW = {"tensorflow", "keras", "tf_keras"}
WEB3 = {"web3", "requests", "eth_account", "eth_utils"}
ENTRY = {"federated_training", "wiring"}  # these bring all rooms together
FILES = [
    path
    for path in sorted(ROOT.rglob("*.py"))
    if not path.relative_to(ROOT).parts[0].startswith((".", "tests", "demo", "benchmarks"))
]


def room(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imported(path: Path) -> set[str]:
    return {name for node in ast.walk(ast.parse(path.read_text())) for name in imported_by(node)}


def imported_by(node: ast.AST) -> set[str]:
    if isinstance(node, ast.Import):
        return {alias.name for alias in node.names}
    return {node.module or ""} if isinstance(node, ast.ImportFrom) else set()


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_room_imports_what_lies_below_it(path: Path) -> None:
    if room(path) in ENTRY:
        return
    ours = {name for name in imported(path) if name.split(".")[0] in MAY_IMPORT.keys() | ENTRY}
    allowed = MAY_IMPORT[room(path)] | {room(path)}
    assert {name for name in ours if not any(name == one or name.startswith(f"{one}.") for one in allowed)} == set()


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_kafka_clients_stay_in_the_transport_and_keras_in_training(path: Path) -> None:
    names = {name.split(".")[0] for name in imported(path)}
    if room(path) != "transport":
        assert not names & KAFKA_CLIENTS
    if room(path) not in {"training", "utils"}:
        assert not names & TENSORFLOW


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_web3_stays_in_the_blockchain_which_nothing_else_imports_before_it_is_needed(path: Path) -> None:
    if room(path) != "blockchain":
        assert not {name.split(".")[0] for name in imported(path)} & WEB3
        at_once = {name.split(".")[0] for node in ast.parse(path.read_text()).body for name in imported_by(node)}
        assert "blockchain" not in at_once


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_client_of_a_registry_is_imported_by_one_module_which_nothing_imports_before_it_is_needed(path: Path) -> None:
    if path.relative_to(ROOT).parts != ("transport", "schemas.py"):
        assert not {name for name in imported(path) if name.startswith(("confluent_kafka.schema_registry", "httpx"))}
    at_once = {name for node in ast.parse(path.read_text()).body for name in imported_by(node)}
    assert "transport.schemas" not in at_once


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_what_works_knows_no_outlet(path: Path) -> None:
    if room(path) != "observing":
        assert not {name.split(".")[0] for name in imported(path)} & OUTLETS


def test_the_environment_is_touched_by_the_settings_alone() -> None:
    def touches(path: Path) -> bool:
        nodes = ast.walk(ast.parse(path.read_text()))
        return any(isinstance(node, ast.Attribute) and node.attr in {"environ", "getenv", "putenv"} for node in nodes)

    assert [path.name for path in FILES if touches(path)] == ["config.py", "variables.py"]
