"""MLFLOW_TRACKING_URI: the epochs of all rounds as one run of MLflow."""

from __future__ import annotations

import logging
import queue
import time
from collections.abc import Iterable, Mapping
from typing import Any, final

from protocol.topics import Federation
from utils import in_background
from watching import EpochDone, Event, RoundAnswered

log = logging.getLogger(__name__)

MOST_WAITING = 1_000  # events that wait to be sent; what comes on top of them is lost
_MODEL, _CLIENT = "kafka_ml.model", "kafka_ml.client"  # the tags by which a client finds its run again
_QUIET = ("mlflow", "urllib3", "git")  # they tell of each try; once is enough


@final
class Tracking:
    """One run a client, which goes on when the worker starts again. The steps are epochs, from round to round.

    All that is sent is sent by a thread, which also loads the library: a server that is away holds up nobody.

    Args:
        uri: of the server, or of another store that MLflow knows.
        experiment: that the run belongs to.
    """

    setting = "MLFLOW_TRACKING_URI"

    def __init__(self, uri: str, experiment: str, federation: Federation) -> None:
        self._uri = uri
        self._experiment = experiment
        self._federation = federation
        self._waiting: queue.Queue[Event | str] = queue.Queue(MOST_WAITING)
        self._is_told = False
        self._client: Any = None
        self._run = ""
        self._step = 0
        self._work = in_background("mlflow", self._send)

    def tell(self, event: Event) -> None:
        match event:
            case EpochDone(numbers):
                self._put(EpochDone(numbers, None, None))  # a model must not be kept for it
            case RoundAnswered():
                self._put(event)

    def close(self, fault: str) -> None:
        """Send what has not been sent yet, and end the run.

        Args:
            fault: that the worker ends with; empty for none.
        """
        self._put("FAILED" if fault else "FINISHED")
        self._work.result()

    def _put(self, what: Event | str) -> None:
        try:
            self._waiting.put_nowait(what)
        except queue.Full:
            self._tell()

    def _send(self) -> None:
        while True:
            what = self._waiting.get()
            try:
                self._take(what)
            except Exception:  # noqa: BLE001 - whatever a library raises of a server; it may name what is secret
                self._tell()
            if isinstance(what, str):
                return

    def _take(self, what: Event | str) -> None:
        if self._client is None:
            self._open()
        match what:
            case EpochDone(numbers):
                self._log(numbers)
                self._step += 1
            case RoundAnswered(version, samples, numbers):
                tested = {name: value for name, value in numbers.items() if name.startswith("test_")}
                self._log({"version": version, "samples": samples} | tested, max(0, self._step - 1))
            case str():
                self._client.set_terminated(self._run, what)

    def _log(self, numbers: Mapping[str, float], step: int | None = None) -> None:
        from mlflow.entities import Metric  # noqa: PLC0415 - an optional extra

        now_ms, at = int(time.time() * 1000), self._step if step is None else step
        self._client.log_batch(self._run, [Metric(name, float(value), now_ms, at) for name, value in numbers.items()])

    def _open(self) -> None:
        """Find the run, or make it."""
        import mlflow  # noqa: PLC0415 - an optional extra

        _quieten(_QUIET)
        client = mlflow.MlflowClient(self._uri)
        found = client.get_experiment_by_name(self._experiment)
        experiment = client.create_experiment(self._experiment) if found is None else found.experiment_id
        tags = {_MODEL: self._federation.model_id, _CLIENT: self._federation.client_id}
        mine = " and ".join(f"tags.`{name}` = '{value}'" for name, value in tags.items())  # names of topics have no quotes
        runs = client.search_runs([experiment], mine, max_results=1, order_by=["attributes.start_time DESC"])
        if runs:
            self._run = runs[0].info.run_id
            client.update_run(self._run, "RUNNING")
            self._step = 1 + max((one.step for one in client.get_metric_history(self._run, "loss")), default=-1)
        else:
            self._run = client.create_run(experiment, tags=tags, run_name=self._federation.client_id).info.run_id
        self._client = client

    def _tell(self) -> None:
        if not self._is_told:
            self._is_told = True
            log.warning("%s: runs cannot be kept there; the training goes on, and this is told once", self.setting)


def _quieten(names: Iterable[str]) -> None:
    for name in names:
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
