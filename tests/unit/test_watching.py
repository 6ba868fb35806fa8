"""What works tells of itself: phases, counts and losses, and nothing where nobody watches."""

import json
import logging
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import watching
from config import Settings
from decoders import make_decoder
from observing.json_lines import JsonLines
from observing.mlflow import Tracking
from observing.outlets import observed
from observing.prometheus import Metrics
from observing.settings import Outlets
from observing.tensorboard import Board
from protocol.architecture import Dialect
from protocol.errors import ModelError, SettingsError
from protocol.records import RecordBatch
from protocol.stream_spec import OffsetRange
from sieve import Sieve
from tests.support.environments import job
from tests.support.fake_kafka import FakeKafka, FakeReader
from tests.support.models import DIALECTS, classifier
from tests.support.rounds import FEDERATION, Noting, noted, tell_of_rounds
from tests.support.watch import acts
from tests.unit.test_rounds import Notes
from training.dialects import load_keras
from transport.stream import Counts, read_stream
from variables import is_log_json
from watching import (
    BadRecords,
    EpochDone,
    Event,
    PhaseBegun,
    PhaseEnded,
    RecordsRead,
    RoundAnswered,
    RoundDropped,
    watched_by,
)

ROOT = Path(__file__).parents[2]


def phases(events: Sequence[Event]) -> list[str]:
    """Begins as `name`, ends as `/name`, with the fault."""
    named = []
    for one in events:
        if isinstance(one, PhaseBegun):
            named.append(one.name)
        elif isinstance(one, PhaseEnded):
            named.append(f"/{one.name}" + (f" {one.fault}" if one.fault else ""))
    return named


def of_kind(events: Sequence[Event], kind: type) -> list[Any]:
    return [one for one in events if isinstance(one, kind)]


ROUND = ["wait", "/wait", "round", "load", "/load", "prepare", "/prepare", "train", "/train", "reply", "/reply", "/round"]


def test_a_round_tells_its_phases_and_how_it_was_answered() -> None:
    with noted() as events:
        Notes(-1).run()
    assert phases(events) == ROUND
    assert of_kind(events, PhaseBegun)[1] == PhaseBegun("round", -1)
    assert of_kind(events, RoundAnswered) == [RoundAnswered(-1, 400, {"loss": 0.5})]


def test_a_phase_that_fails_tells_with_what() -> None:
    with noted() as events, pytest.raises(ModelError):
        Notes(0, fails_at="train").run()
    assert phases(events)[-3:] == ["train", "/train ModelError", "/round ModelError"]


def test_a_round_whose_federation_is_gone_is_told_as_dropped() -> None:
    with noted() as events:
        Notes(4, -1, gone=[4]).run()
    assert of_kind(events, RoundDropped) == [RoundDropped(4)]
    assert [one.version for one in of_kind(events, RoundAnswered)] == [-1]


def test_where_nobody_watches_nothing_is_done() -> None:
    with acts() as watch, observed(Settings.from_env(job()).outlets, FEDERATION):
        tell_of_rounds([], [0.5])
        assert not watching.is_watched()
    assert watch.acts == []


def test_a_watcher_that_fails_is_told_of_once_and_hears_no_more(caplog: pytest.LogCaptureFixture) -> None:
    class Failing:
        setting = "FAILING"
        heard = 0

        def tell(self, _event: Event) -> None:
            self.heard += 1
            raise ValueError("a secret")

    failing, noting = Failing(), Noting()
    tell_of_rounds([failing, noting], [0.5], [0.25])
    assert failing.heard == 1
    assert len(of_kind(noting.events, RoundAnswered)) == 2
    assert caplog.messages == ["FAILING has failed (ValueError), and is told nothing more; the training goes on"]


def test_bad_records_that_are_left_out_are_told() -> None:
    batch = RecordBatch("digits", 0, range(3), [b"\1"] * 3, [b"\1\2", b"\1", b"\3\4"])
    decoder = make_decoder("RAW", {"data_type": "uint8", "label_type": "uint8", "data_reshape": "2", "label_reshape": ""})
    with noted() as events:
        list(Sieve(decoder, 3, 0.5).samples([batch]))
    assert events == [BadRecords("digits", 1)]


def test_records_that_are_read_are_told_with_their_bytes() -> None:
    kafka = FakeKafka()
    kafka.create("digits")
    kafka.write("digits", [(b"k", b"four"), (b"k", None), (b"key", b"")])
    with noted() as events:
        list(read_stream(FakeReader(kafka, "g"), [OffsetRange("digits", 0, 0, 3)], Counts()))
    assert events == [RecordsRead("digits", 2, len(b"kfour") + len(b"key"))]


def lines_of(caplog: pytest.LogCaptureFixture, lines: JsonLines) -> list[dict[str, Any]]:
    formatted = [lines.format(record) for record in caplog.records]
    assert all("\n" not in line for line in formatted)
    return [json.loads(line) for line in formatted]


class TestJsonLines:
    def test_a_line_has_model_client_and_version_of_the_round(self, capsys: pytest.CaptureFixture[str]) -> None:
        lines = JsonLines(FEDERATION)
        handler = logging.StreamHandler(sys.stdout)
        handler.setFormatter(lines)
        logger = logging.getLogger("federated_mainTraining")
        logger.addHandler(handler)
        logger.setLevel("INFO")
        try:
            with watched_by([lines]):
                Notes(3, -1).run()
                logger.info("behind them")
        finally:
            logger.removeHandler(handler)
            logger.setLevel(logging.NOTSET)
        told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        assert [(one["message"].split(" ")[:2], one["version"]) for one in told] == [
            (["round", "begun"], 3),
            (["round", "done"], 3),
            (["round", "begun"], -1),
            (["round", "done"], -1),
            (["behind", "them"], None),
        ]
        assert {(one["model"], one["client"], one["level"], one["logger"]) for one in told} == {
            ("dig1", "c1", "INFO", "federated_mainTraining")
        }

    def test_a_traceback_stays_on_its_line(self, caplog: pytest.LogCaptureFixture) -> None:
        try:
            "one\nand \u2028 two".index("three\n")
        except ValueError:
            logging.getLogger("any").exception("a fault\nof two lines")
        [line] = lines_of(caplog, JsonLines())
        assert (line["message"], line["model"], line["version"]) == ("a fault\\nof two lines", None, None)
        assert line["traceback"].startswith("Traceback (most recent call last):\n")
        assert line["traceback"].endswith("\nValueError: substring not found")


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """Step and value of each scalar, as TensorBoard's own reader finds them."""
    from tensorboard.backend.event_processing.event_multiplexer import EventMultiplexer  # noqa: PLC0415 - seconds of start-up

    found = EventMultiplexer().AddRunsFromDirectory(str(folder)).Reload()
    return {
        f"{run}/{tag}": [
            (
                one.step,
                float(np.asarray(one.tensor_proto.float_val or np.frombuffer(one.tensor_proto.tensor_content, "<f4"))[0]),
            )
            for one in found.Tensors(run, tag)
        ]
        for run, tags in found.Runs().items()
        for tag in tags["tensors"]
    }


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of what TensorBoard imports
@pytest.mark.parametrize("dialect", DIALECTS)
def test_tensorboard_reads_the_epochs_of_all_rounds_in_sequence_also_behind_a_restart(dialect: Dialect, tmp_path: Path) -> None:
    keras = load_keras(dialect)
    told: list[dict[str, float]] = []
    for epochs in (3, 1):  # of a worker, and of the next one
        board, model = Board(tmp_path, FEDERATION), classifier(dialect)
        model.compile("sgd")
        for _ in range(epochs):
            told.append({"loss": 1 / (1 + len(told)), "val_accuracy": len(told) / 8})
            board.tell(EpochDone(told[-1], keras, model))
        board.close()
    found, run = scalars(tmp_path), FEDERATION.group
    for name, key in (("train/epoch_loss", "loss"), ("validation/epoch_accuracy", "val_accuracy")):
        assert [step for step, _value in found[f"{run}/{name}"]] == [0, 1, 2, 3]
        assert [value for _step, value in found[f"{run}/{name}"]] == pytest.approx([numbers[key] for numbers in told])


class TestMlflow:
    @pytest.fixture
    def store(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
        monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
        monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
        return f"file://{tmp_path}/runs"

    @pytest.mark.filterwarnings("ignore")  # those of a library's start
    def test_a_clients_rounds_are_one_run_also_behind_a_restart(self, store: str) -> None:
        import mlflow  # noqa: PLC0415 - seconds of start-up

        for losses, fault in (([[0.5, 0.25], [0.125]], "KafkaError"), ([[0.0625]], "")):
            tracking = Tracking(store, "FED-dig1", FEDERATION)
            tell_of_rounds([tracking], *losses)
            tracking.close(fault)
        client = mlflow.MlflowClient(store)
        experiment = client.get_experiment_by_name("FED-dig1")
        [run] = client.search_runs([experiment.experiment_id])
        assert (run.info.run_name, run.info.status) == ("c1", "FINISHED")
        losses = client.get_metric_history(run.info.run_id, "loss")
        assert [(one.step, one.value) for one in losses] == [(0, 0.5), (1, 0.25), (2, 0.125), (3, 0.0625)]
        versions = client.get_metric_history(run.info.run_id, "version")
        assert [(one.step, one.value) for one in versions] == [(1, 0), (2, 1), (3, 0)]
        assert run.data.metrics["samples"] == 397
        assert run.data.metrics["test_loss"] == 0.5

    @pytest.mark.filterwarnings("ignore")
    def test_a_store_that_takes_nothing_is_told_of_once(self, caplog: pytest.LogCaptureFixture) -> None:
        tracking = Tracking("unheard://user:secret@of", "FED-dig1", FEDERATION)
        tell_of_rounds([tracking], [0.5, 0.25], [0.125])
        tracking.close("")
        assert caplog.messages == [
            "MLFLOW_TRACKING_URI: runs cannot be kept there; the training goes on, and this is told once"
        ]


@pytest.fixture
def labels() -> dict[str, set[str]]:
    """Labels by the name of the sample, of all that is there when everything has been told once."""
    metrics = Metrics(FEDERATION)
    tell_of_rounds([metrics], [0.5])
    families = list(metrics.registry.collect())
    return {sample.name: set(sample.labels) for family in families for sample in family.samples}


class TestWhatIsToldOfTheMetrics:
    def test_the_dashboard_asks_for_metrics_that_are_there_by_labels_that_they_have(self, labels: dict[str, set[str]]) -> None:
        dashboard = json.loads((ROOT / "deploy/grafana/dashboard.json").read_text())
        targets = [target for panel in dashboard["panels"] for target in panel["targets"]]
        assert len(targets) >= 15
        for target in targets:
            names = re.findall(r"\b(?:kafka_ml|process)_\w+", target["expr"])
            assert [name for name in names if name not in labels] == []
            wanted = set(re.findall(r"{{(\w+)}}|[{,](\w+)[!=]|by \((\w+)\)", target["legendFormat"] + target["expr"]))
            asked = {one for row in wanted for one in row if one}
            assert asked <= set().union(*(labels[name] for name in names)), target
        variables = [one["query"] for one in dashboard["templating"]["list"] if one["type"] == "query"]
        assert [re.findall(r"kafka_ml_\w+", query) for query in variables] == [["kafka_ml_rounds_total"]] * 2

    def test_the_page_has_each_of_them(self, labels: dict[str, set[str]]) -> None:
        told = set(re.findall(r"^\| (kafka_ml_\w+) \|", (ROOT / "docs/watching.md").read_text(), re.MULTILINE))
        ours = {name for name in labels if name.startswith("kafka_ml_")}
        assert told == {re.sub("_seconds_(sum|count)$", "_seconds", name) for name in ours}

    def test_the_page_has_each_setting_with_the_packages_that_it_needs(self) -> None:
        page, pinned = ((ROOT / name).read_text() for name in ("docs/watching.md", "requirements-observability.txt"))
        rows = re.findall(r"^\| ([A-Z_]+)(?:=json)? \| [^|]+ \| ([^|]+) \|$", page, re.MULTILINE)
        packages = {name for _setting, names in rows for name in names.split(", ")} - {"none"}
        assert packages == set(re.findall(r"^([\w-]+)==", pinned, re.MULTILINE))


class TestSettings:
    def test_nothing_is_told_unless_it_is_asked_for(self) -> None:
        assert Settings.from_env(job()).outlets == Outlets("plain", None, None, False, None, None)  # noqa: FBT003 - a column

    def test_each_outlet_is_asked_for_by_its_variable(self, tmp_path: Path) -> None:
        outlets = Settings.from_env(
            job(
                LOG_FORMAT="JSON",
                METRICS_PORT="9090",
                TENSORBOARD_LOG_DIR=str(tmp_path),
                OTEL_EXPORTER_OTLP_TRACES_ENDPOINT="http://collector:4318/v1/traces",
                MLFLOW_TRACKING_URI="https://u:secret@mlflow",
                MLFLOW_EXPERIMENT_NAME="edges",
            )
        ).outlets
        assert outlets == Outlets("json", 9090, tmp_path, True, "https://u:secret@mlflow", "edges")  # noqa: FBT003 - a column
        assert outlets.is_json
        assert "secret" not in repr(outlets)

    @pytest.mark.parametrize(
        ("changes", "fault"),
        [
            ({"LOG_FORMAT": "xml"}, "LOG_FORMAT='xml' is unknown: choose one of plain, json"),
            ({"METRICS_PORT": "0"}, "METRICS_PORT='0' is no port: give a whole number from 1 to 65535, e.g. 9090"),
            ({"METRICS_PORT": "65536"}, "METRICS_PORT='65536' is no port: give a whole number from 1 to 65535, e.g. 9090"),
            (
                {"TENSORBOARD_LOG_DIR": "/nowhere"},
                "TENSORBOARD_LOG_DIR='/nowhere' is no folder: create it, or mount a volume there",
            ),
            (
                {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4317", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},
                "OTEL_EXPORTER_OTLP_PROTOCOL='grpc' is unknown: choose one of http/protobuf",
            ),
        ],
    )
    def test_what_is_wrong_is_a_fault(self, changes: dict[str, str], fault: str) -> None:
        with pytest.raises(SettingsError) as caught:
            Settings.from_env(job(**changes))
        assert caught.value.faults == (fault,)

    @pytest.mark.parametrize("off", [{"OTEL_SDK_DISABLED": "true"}, {"OTEL_TRACES_EXPORTER": "none"}])
    def test_traces_can_be_turned_off(self, off: dict[str, str]) -> None:
        assert not Settings.from_env(job(OTEL_EXPORTER_OTLP_ENDPOINT="http://c:4318", **off)).outlets.sends_traces

    def test_a_package_that_is_not_there_is_a_fault_that_names_the_extra(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sys, "path", [str(tmp_path)])  # where nothing is installed
        with pytest.raises(SettingsError) as caught:
            Settings.from_env(
                job(
                    METRICS_PORT="9090",
                    TENSORBOARD_LOG_DIR=str(tmp_path),
                    OTEL_EXPORTER_OTLP_ENDPOINT="x",
                    MLFLOW_TRACKING_URI="x",
                )
            )
        remedy = "python -m pip install -r requirements-observability.txt, or unset it"
        assert caught.value.faults == tuple(
            f"{variable} is set, and the package {package} is not there: {remedy}"
            for variable, package in (
                ("METRICS_PORT", "prometheus-client"),
                ("TENSORBOARD_LOG_DIR", "tensorboard"),
                ("OTEL_EXPORTER_OTLP_ENDPOINT", "opentelemetry-exporter-otlp-proto-http"),
                ("MLFLOW_TRACKING_URI", "mlflow-skinny"),
            )
        )

    def test_the_log_is_json_also_where_other_settings_are_wrong(self) -> None:
        assert is_log_json({"LOG_FORMAT": " Json "})
        assert not is_log_json({"LOG_FORMAT": "plain"})
        assert not is_log_json({})
