"""What is told over HTTP: metrics that Prometheus' own parser reads, and traces that a collector is sent."""

import gzip
import http.server
import socket
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from prometheus_client.parser import text_string_to_metric_families

from config import Settings
from demo.broker import LOOPBACK
from observing.opentelemetry import Traces
from observing.outlets import CLOSE_LIMIT_S, observed
from observing.prometheus import MOST_NAMES, Metrics, scraped
from protocol.errors import SettingsError
from tests.support.environments import job
from tests.support.rounds import FEDERATION, tell_of_rounds
from tests.support.web_server import serving
from watching import EpochDone, phase, watched_by


def scrape(port: int) -> dict[tuple[str, str], float]:
    """Values by name and last label, of the samples that are ours."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        families = list(text_string_to_metric_families(answer.read().decode()))
    found = {}
    for sample in (sample for family in families for sample in family.samples if sample.name.startswith("kafka_ml_")):
        labels = dict(sample.labels)
        assert (labels.pop("model"), labels.pop("client")) == ("dig1", "c1")
        found[sample.name.removeprefix("kafka_ml_"), ",".join(labels.values())] = sample.value
    return found


class TestPrometheus:
    def test_a_scrape_tells_of_rounds_records_weights_losses_and_phases(self) -> None:
        metrics = Metrics(FEDERATION)
        with scraped(metrics, 0) as port:
            before = scrape(port)
            assert (before["rounds_total", ""], before["lag_models", ""]) == (0, 0)
            since = time.time()
            tell_of_rounds([metrics], [0.5, 0.25], [0.125])
            found = scrape(port)
        seconds = {key: found.pop(key) for key in list(found) if key[0] == "phase_seconds_sum"}
        assert since <= found.pop(("answered_timestamp_seconds", "")) <= time.time()
        assert found == {
            ("rounds_total", ""): 2,
            ("rounds_dropped_total", ""): 1,
            ("version", ""): 1,
            ("answered_version", ""): 1,
            ("lag_models", ""): 2,
            ("samples", ""): 397,
            ("epochs_total", ""): 3,
            ("epoch_metric", "loss"): 0.125,
            ("epoch_metric", "val_loss"): 0.25,
            ("round_metric", "loss"): 0.125,
            ("round_metric", "test_loss"): 0.5,
            ("records_read_total", "digits"): 400,
            ("read_bytes_total", "digits"): 26_000,
            ("bad_records_total", "digits"): 3,
            ("weights_bytes_total", "received"): 8_000,
            ("weights_bytes_total", "sent"): 8_200,
            **{("phase_seconds_count", name): 2 for name in ("round", "load", "weights", "train", "reply")},
        }
        assert seconds["phase_seconds_sum", "round"] > seconds["phase_seconds_sum", "weights"] > 0

    def test_names_that_the_cloud_makes_up_do_not_grow_without_end(self) -> None:
        metrics = Metrics(FEDERATION)
        with watched_by([metrics]):
            for number in range(MOST_NAMES + 10):
                metrics.tell(EpochDone({f"m{number}": 1.0}, None, None))
        with scraped(metrics, 0) as port:
            assert len([name for name, _label in scrape(port) if name == "epoch_metric"]) == MOST_NAMES

    def test_a_port_that_is_taken_is_a_fault_of_the_settings(self) -> None:
        with socket.create_server(("0.0.0.0", 0)) as taken:  # noqa: S104 - as the endpoint does
            port = taken.getsockname()[1]
            outlets = Settings.from_env(job(METRICS_PORT=str(port))).outlets
            with pytest.raises(SettingsError) as caught, observed(outlets, FEDERATION):
                pass
        assert caught.value.faults == (
            f"METRICS_PORT={port} cannot be listened on (Address already in use): give a port that is free, and from 1024 up",
        )


@contextmanager
def collector() -> Iterator[tuple[str, list[ExportTraceServiceRequest]]]:
    """An endpoint of OTLP over HTTP, and what it is sent."""
    received = []

    class Receiver(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            body = gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body
            assert self.path == "/v1/traces"
            received.append(ExportTraceServiceRequest.FromString(body))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_args: object) -> None:
            pass

    with serving(http.server.ThreadingHTTPServer((LOOPBACK, 0), Receiver)) as address:
        yield address, received


class TestTraces:
    def test_a_collector_gets_the_phases_of_a_round_within_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with collector() as (url, received):
            monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", url)
            outlets = Settings.from_env(job(OTEL_EXPORTER_OTLP_ENDPOINT=url)).outlets
            with pytest.raises(ZeroDivisionError), observed(outlets, FEDERATION), phase("round", 4):
                with phase("load"), phase("weights"):
                    pass
                with phase("train"):
                    raise ZeroDivisionError("a value")
        [resource] = [one for request in received for one in request.resource_spans]
        attributes = {one.key: one.value.string_value for one in resource.resource.attributes}
        assert (attributes["service.name"], attributes["kafka_ml.model"], attributes["kafka_ml.client"]) == (
            "kafka-ml-federated-worker",
            "dig1",
            "c1",
        )
        spans = {span.name: span for scope in resource.scope_spans for span in scope.spans}
        names = {span.span_id: name for name, span in spans.items()}
        around = {name: names.get(span.parent_span_id) for name, span in spans.items()}
        assert around == {"round": None, "load": "round", "weights": "load", "train": "round"}
        assert len({span.trace_id for span in spans.values()}) == 1
        [version] = spans["round"].attributes
        assert (version.key, version.value.int_value) == ("kafka_ml.version", 4)
        faults = {
            name: span.status.message for name, span in spans.items() if span.status.code == span.status.STATUS_CODE_ERROR
        }
        assert faults == {"round": "ZeroDivisionError", "train": "ZeroDivisionError"}

    def test_variables_that_opentelemetry_refuses_are_a_fault_of_the_settings(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "0")
        outlets = Settings.from_env(job(OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:4318")).outlets
        with pytest.raises(SettingsError) as caught, observed(outlets, FEDERATION):
            pass
        assert caught.value.faults == (
            "OTEL_…: OpenTelemetry cannot use its variables (ValueError): mend them, or set OTEL_SDK_DISABLED=true",
        )

    @pytest.mark.parametrize("away", ["refuses", "is silent"])
    def test_a_collector_that_is_away_holds_up_neither_rounds_nor_the_end(
        self, away: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        with socket.create_server(("127.0.0.1", 0)) as silent:
            url = f"http://user:secret@127.0.0.1:{silent.getsockname()[1]}"
            if away == "refuses":
                silent.close()
            for name, value in {
                "OTEL_EXPORTER_OTLP_ENDPOINT": url,
                "OTEL_BSP_SCHEDULE_DELAY": "1",  # ms
                "OTEL_EXPORTER_OTLP_TIMEOUT": "0.1",  # s
            }.items():
                monkeypatch.setenv(name, value)
            outlets = Settings.from_env(job(OTEL_EXPORTER_OTLP_ENDPOINT=url)).outlets
            begun = time.monotonic()
            with observed(outlets, FEDERATION):
                for _ in range(3):
                    with phase("round", 0):
                        time.sleep(0.15)
            assert time.monotonic() - begun < 0.45 + CLOSE_LIMIT_S + 2  # of which 2 for a busy machine
        once = f"{Traces.setting}: traces cannot be sent there; the training goes on, and this is told once"
        assert caplog.messages.count(once) == 1
        assert "secret" not in caplog.text
