"""Which outlets the environment asks for, and whether the packages that each needs are there."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from variables import Environment, folder, one_of, port

EXTRA = "requirements-observability.txt"
ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
OTLP = ("http/protobuf",)  # of OpenTelemetry's protocols, the one that the extra has an exporter for

LogFormat = Literal["plain", "json"]
LOG_FORMATS: tuple[LogFormat, ...] = ("plain", "json")


@dataclass(frozen=True, slots=True)
class Outlets:
    """What is to tell of the rounds.

    Attributes:
        log_format: of the log's lines.
        metrics_port: where Prometheus finds metrics; None = nowhere.
        tensorboard_folder: where TensorBoard finds the epochs; None = nowhere.
        sends_traces: whether OpenTelemetry's variables name a collector; its SDK reads them itself.
        mlflow_uri: where MLflow keeps runs, which may hold a password; None = nowhere.
        mlflow_experiment: that the run belongs to; None = the federation's.
    """

    log_format: LogFormat
    metrics_port: int | None
    tensorboard_folder: Path | None
    sends_traces: bool
    mlflow_uri: str | None = field(repr=False)
    mlflow_experiment: str | None

    @property
    def is_json(self) -> bool:
        """Whether the log is for a program to read."""
        return self.log_format == "json"


def read_outlets(env: Environment) -> Outlets:
    """Read the outlets' variables; what is wrong with them is noted."""
    outlets = Outlets(
        log_format=env.read("LOG_FORMAT", one_of(*LOG_FORMATS), default="plain"),
        metrics_port=env.read("METRICS_PORT", port, default=None),
        tensorboard_folder=env.read("TENSORBOARD_LOG_DIR", folder, default=None),
        sends_traces=_sends_traces(env),
        mlflow_uri=env.text("MLFLOW_TRACKING_URI"),
        mlflow_experiment=env.text("MLFLOW_EXPERIMENT_NAME"),
    )
    endpoint = next((name for name in ENDPOINTS if env.text(name)), ENDPOINTS[0])
    for variable, package, is_wanted in (
        ("METRICS_PORT", "prometheus-client", outlets.metrics_port is not None),
        ("TENSORBOARD_LOG_DIR", "tensorboard", outlets.tensorboard_folder is not None),
        (endpoint, "opentelemetry-exporter-otlp-proto-http", outlets.sends_traces),
        ("MLFLOW_TRACKING_URI", "mlflow-skinny", outlets.mlflow_uri is not None),
    ):
        if is_wanted:
            env.needs(variable, package, EXTRA)
    return outlets


def _sends_traces(env: Environment) -> bool:
    is_off = (env.text("OTEL_SDK_DISABLED") or "").lower() == "true" or env.text("OTEL_TRACES_EXPORTER") == "none"
    if is_off or not any(env.text(name) for name in ENDPOINTS):
        return False
    for name in ("OTEL_EXPORTER_OTLP_PROTOCOL", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"):
        env.read(name, one_of(*OTLP), default=OTLP[0])
    return True
