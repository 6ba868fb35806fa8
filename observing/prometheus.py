"""METRICS_PORT: the worker's numbers as Prometheus scrapes them."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping
from typing import Any, final

from protocol.errors import SettingsError
from protocol.topics import Federation
from watching import (
    ROUND,
    BadRecords,
    EpochDone,
    Event,
    Lag,
    PhaseBegun,
    PhaseEnded,
    RecordsRead,
    RoundAnswered,
    RoundDropped,
    WeightsMoved,
)

ADDRESS = "0.0.0.0"  # noqa: S104 - whoever scrapes is on another machine
MOST_NAMES = 200  # of numbers of a round: the cloud names them, and each new one is kept for good
_PREFIX = "kafka_ml_"


@final
class Metrics:
    """The numbers, each with the labels `model` and `client`."""

    setting = "METRICS_PORT"

    def __init__(self, federation: Federation) -> None:
        import prometheus_client as prometheus  # noqa: PLC0415 - an optional extra

        prometheus.disable_created_metrics()
        self.registry = prometheus.CollectorRegistry()
        prometheus.ProcessCollector(registry=self.registry)
        self._ids = (federation.model_id, federation.client_id)
        self._names: set[str] = set()

        def make(kind: Any, name: str, what: str, *labels: str) -> Any:
            return kind(_PREFIX + name, what, ("model", "client", *labels), registry=self.registry)

        counter, gauge, summary = prometheus.Counter, prometheus.Gauge, prometheus.Summary
        self._rounds = make(counter, "rounds", "Rounds that were answered.")
        self._dropped = make(
            counter,
            "rounds_dropped",
            "Rounds that were not answered, as their federation was gone or had gone on.",
        )
        self._version = make(gauge, "version", "Version of the model that is trained, or was trained last; -1 is the last one.")
        self._answered = make(gauge, "answered_version", "Version of the model that was answered last.")
        self._answered_at = make(gauge, "answered_timestamp_seconds", "When it was answered, in seconds since 1970.")
        self._lag = make(gauge, "lag_models", "Messages behind that model on the control topic, just before its reply.")
        self._samples = make(gauge, "samples", "num_data of the last reply.")
        self._epochs = make(counter, "epochs", "Epochs that were trained.")
        self._number = make(gauge, "epoch_metric", "Losses and metrics of the last epoch, by Keras's names.", "metric")
        self._result = make(gauge, "round_metric", "Losses and metrics of the last reply, by Keras's names.", "metric")
        self._records = make(counter, "records_read", "Records that were read from a stream.", "topic")
        self._bad = make(counter, "bad_records", "Records of a stream that could not be decoded, and are left out.", "topic")
        self._read = make(counter, "read_bytes", "Bytes of the keys and values of those that were read.", "topic")
        self._weights = make(counter, "weights_bytes", "Bytes of weights that were received, or sent.", "direction")
        self._phases = make(summary, "phase_seconds", "Seconds of each phase of the worker.", "phase")
        # There from the start, so that a rate has its first step.
        for one in (self._rounds, self._dropped, self._epochs, self._lag):
            self._of(one)

    def tell(self, event: Event) -> None:
        """Count it."""
        match event:
            case PhaseBegun(name, version) if name == ROUND and version is not None:
                self._of(self._version).set(version)
            case PhaseEnded(name, seconds):
                self._of(self._phases, name).observe(seconds)
            case RoundAnswered(version, samples, numbers):
                self._of(self._rounds).inc()
                self._of(self._answered).set(version)
                self._of(self._answered_at).set(time.time())
                self._of(self._samples).set(samples)
                self._set(self._result, numbers)
            case RoundDropped():
                self._of(self._dropped).inc()
            case EpochDone(numbers):
                self._of(self._epochs).inc()
                self._set(self._number, numbers)
            case RecordsRead(topic, records, size):
                self._of(self._records, topic).inc(records)
                self._of(self._read, topic).inc(size)
            case BadRecords(topic, records):
                self._of(self._bad, topic).inc(records)
            case WeightsMoved(direction, size):
                self._of(self._weights, direction).inc(size)
            case Lag(models):
                self._of(self._lag).set(models)

    def _of(self, metric: Any, *labels: str) -> Any:
        return metric.labels(*self._ids, *labels)

    def _set(self, metric: Any, numbers: Mapping[str, float]) -> None:
        for name, value in numbers.items():
            if name in self._names or len(self._names) < MOST_NAMES:
                self._names.add(name)
                self._of(metric, name).set(value)


@contextlib.contextmanager
def scraped(metrics: Metrics, port: int) -> Iterator[int]:
    """Serve the numbers over HTTP; yields the port.

    Args:
        port: 0 = any that is free.

    Raises:
        SettingsError: it cannot be listened on.
    """
    import prometheus_client as prometheus  # noqa: PLC0415 - an optional extra

    try:
        server, _thread = prometheus.start_http_server(port, ADDRESS, metrics.registry)
    except OSError as exc:
        raise SettingsError(
            [f"METRICS_PORT={port} cannot be listened on ({exc.strerror}): give a port that is free, and from 1024 up"]
        ) from exc
    try:
        yield server.server_port
    finally:
        server.shutdown()  # which waits for a scrape no longer than half a second
        server.server_close()
