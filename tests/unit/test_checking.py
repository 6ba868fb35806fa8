"""`--check` and `--describe`, as far as they need no Kafka: the report, the variables in words, the command line."""

import io
import json
import subprocess
import sys
from pathlib import Path

import pytest

from blockchain.functions import ABI
from checking.findings import Finding, Mark, faults, left_out, notice, passed, waits
from checking.report import Report
from checking.run import check, describe
from checking.vocabulary import HIDDEN, NEEDED, SECURITY, VARIABLES, known
from config import CLOUD, EDGE, Settings
from federated_training import arguments
from protocol.errors import DataError, LimitError, SettingsError
from tests.support.environments import job
from variables import FILE, Environment

ROOT = Path(__file__).parents[2]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def told(*findings: Finding, out: io.StringIO | None = None) -> tuple[str, int]:
    out = out or io.StringIO()
    report = Report(out)
    for finding in findings:
        report.tell("a thing", finding)
    report.end()
    return out.getvalue(), report.status


def checked(environ: dict[str, str]) -> tuple[str, int]:
    out = io.StringIO()
    status = check(out, Environment(environ))
    return " ".join(out.getvalue().split()), status


def described(**changes: str) -> str:
    out = io.StringIO()
    describe(out, Environment(job(**changes)))
    return out.getvalue()


def test_the_status_is_that_of_the_first_fault() -> None:
    text, status = told(passed("one"), *faults(LimitError("two")), *faults(DataError("three")), waits("four"))
    assert status == LimitError.status == 75
    assert text.endswith("\nstatus 75: passed=1, waits=1, fault=2\n")


def test_without_a_fault_it_is_0() -> None:
    assert told(passed("one"), waits("two"), notice("three"), left_out("four"))[1] == 0


def test_what_is_found_stands_in_columns_that_a_long_text_keeps_to() -> None:
    lines = told(passed("short"), *faults(DataError("long " * 40)))[0].splitlines()
    assert lines[0] == "passed    a thing             short"
    assert lines[1].startswith("FAULT" + " " * 25 + "long long")
    assert lines[2].startswith(" " * 30 + "long long")
    assert max(map(len, lines)) <= 120


def test_colours_are_for_terminals_alone() -> None:
    assert "\x1b" not in told(passed("one"))[0]
    assert told(passed("one"), out=Terminal())[0].startswith("\x1b[32mpassed    \x1b[0ma thing")


def test_what_others_have_named_breaks_no_terminal() -> None:
    text, _status = told(notice("topic \x1b[2Ja\nb"), out=Terminal())
    assert r"topic \x1b[2Ja\nb" in text


def test_each_fault_of_the_settings_is_a_finding() -> None:
    assert faults(SettingsError(["one", "two"])) == [Finding(Mark.FAULT, "one", 78), Finding(Mark.FAULT, "two", 78)]


def test_no_variables_at_all_is_a_line_for_each_that_is_needed() -> None:
    text, status = checked({"HOSTNAME": "c1"})
    assert status == 78
    needed = [one.name for one in VARIABLES if not one.default and one.only_for is None]
    assert len(needed) == 8
    assert all(f"{name} is not set: give " in text for name in needed)
    assert text.endswith("python federated_training.py --describe tells what each variable means")


def test_what_needs_a_variable_that_is_wrong_is_left_out() -> None:
    text, _status = checked(job(KML_CLOUD_BOOTSTRAP_SERVERS=None, DATA_SECURITY_PROTOCOL="TLS"))
    assert "left out edge's Kafka until DATA_SECURITY_PROTOCOL can be used" in text
    assert "left out DATA_TOPIC until edge's Kafka can be used" in text
    assert "left out cloud's Kafka until KML_CLOUD_BOOTSTRAP_SERVERS can be used" in text


def test_a_variable_that_is_nearly_one_of_the_workers_is_asked_about() -> None:
    text, _status = checked(
        job(DATA_BOOTSTRAP_SERVERS=None, DATA_BOOTSTRAP_SERVER="edge:9092", KML_CLOUD_BOOTSTRAP_SERVERS=None)
    )
    assert "DATA_BOOTSTRAP_SERVER is set, and no worker reads it: is DATA_BOOTSTRAP_SERVERS meant?" in text


def test_a_variable_of_a_library_is_not() -> None:
    text, _status = checked({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://traces:4318/v1/traces"})
    assert "is OTEL_EXPORTER_OTLP_ENDPOINT meant?" not in text


def test_who_has_set_the_clouds_kafka_alone_is_told_of_the_edges() -> None:
    text, _status = checked({"KML_CLOUD_BOOTSTRAP_SERVERS": "no host:port"})
    assert "one Kafka may be the cloud's and the edge's: then give DATA_BOOTSTRAP_SERVERS the same address" in text


def test_each_variable_is_described_with_what_it_is_set_to() -> None:
    rows = dict(line.split(maxsplit=1) for line in described(CASE="2", TOTAL_MSG="None").splitlines() if line[:1].isupper())
    assert rows["FEDERATED_MODEL_ID"].startswith("dig1 ")
    assert rows["CASE"].startswith("2 ")
    assert rows["TEST_RATE"].startswith("(0) ")
    assert rows["TOTAL_MSG"].startswith("None ")
    assert described(DATA_TOPIC="").splitlines()[2].startswith(f"DATA_TOPIC                   ({NEEDED}) ")
    assert {one.name for one in VARIABLES} | {prefix + one.name for one in SECURITY for prefix in (CLOUD, EDGE)} <= rows.keys()


@pytest.mark.parametrize(
    "name",
    ["ETH_RPC_URL", "ETH_WALLET_KEY", *(prefix + one.name for prefix in (CLOUD, EDGE) for one in SECURITY if one.is_secret)],
)
def test_a_secret_is_not_shown_and_neither_is_what_stands_in_its_paths_place(name: str) -> None:
    for variable in (name, name + FILE):
        text = described(**{variable: "hunter2"})
        assert "hunter2" not in text
        assert f"{name} " in text
        assert HIDDEN in text


def test_the_user_of_an_address_is_not_shown() -> None:
    assert "hunter2" not in described(DATA_SASL_TOKEN_URL="https://me:hunter2@tokens.example/")  # noqa: S106 - a test's
    assert "hunter2" not in described(MLFLOW_TRACKING_URI="https://me:hunter2@mlflow.example/")


def test_the_secrets_are_those_that_the_settings_keep_to_themselves() -> None:
    assert {one.name for one in SECURITY if one.is_secret} == {
        "SASL_PASSWORD",
        "SASL_TOKEN",
        "SASL_CLIENT_SECRET",
        "SSL_KEY",
        "SSL_KEY_PASSWORD",
    }


def test_the_path_of_a_secret_is_shown() -> None:
    assert "in /secrets/edge/password" in described(DATA_SASL_PASSWORD_FILE="/secrets/edge/password")  # noqa: S106 - a path


def test_the_defaults_are_those_that_hold() -> None:
    """Set to the default that is told, a variable changes nothing."""
    texts = {one.name: one.default.split(",")[0] for one in VARIABLES if one.default and one.default != "none"}
    in_words = {"FEDERATED_CLIENT_ID", "DATA_SPILL_FOLDER", "TERMINATION_LOG", "MLFLOW_EXPERIMENT_NAME"}
    assert in_words < texts.keys()
    given = {name: text for name, text in texts.items() if name not in in_words}
    assert Settings.from_env(job(**given)) == Settings.from_env(job())
    of_chain = {"CASE": "5", "ETH_RPC_URL": "http://chain:8545", "ETH_CONTRACT_ABI": json.dumps(ABI)}
    of_chain |= dict.fromkeys(("ETH_CONTRACT_ADDRESS", "ETH_WALLET_ADDRESS"), "0x5B38Da6a701c568545dCfcB03FcB875f56beddC4")
    assert Settings.from_env(job(**given | of_chain)) == Settings.from_env(job(**of_chain))


def test_every_variable_that_may_come_from_a_file_is_known_by_both_names() -> None:
    names = set(known())
    assert {"DATA_SSL_CA", "DATA_SSL_CA_FILE", "KML_CLOUD_SASL_TOKEN_FILE", "CASE"} <= names
    assert "DATA_SASL_TOKEN_URL_FILE" not in names


@pytest.mark.parametrize("texts", [["--chek"], ["--check", "--describe"], ["now"]])
def test_arguments_that_nobody_knows_are_answered(texts: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        arguments(texts)
    assert caught.value.code == 2
    assert "usage: " in capsys.readouterr().err


def test_help_is_answered(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        arguments(["--help"])
    assert caught.value.code == 0
    assert "--describe" in capsys.readouterr().out


def test_without_arguments_a_worker_is_wanted() -> None:
    wanted = arguments([])
    assert (wanted.check, wanted.describe) == (False, False)


def test_the_process_ends_with_the_status_and_loads_no_tensorflow(tmp_path: Path) -> None:
    words = tmp_path / "words"
    ended = subprocess.run(
        [sys.executable, "-X", "importtime", "federated_training.py", "--check"],
        cwd=ROOT,
        env={"TERMINATION_LOG": str(words), "CASE": "7"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 78
    assert "CASE='7' is no kind of training" in ended.stdout
    loaded = {line.rsplit("|", 1)[-1].strip().split(".")[0] for line in ended.stderr.splitlines()}
    assert "confluent_kafka" in loaded
    assert not loaded & {"tensorflow", "keras", "tf_keras", "web3"}
    assert not words.exists()
