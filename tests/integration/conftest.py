"""A federation for a test: a cloud and workers over the real Kafka, each test with ids of its own."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest

from config import Settings
from demo.backend import job_environment
from demo.cloud import Cloud
from demo.device import Stream
from demo.models import describe
from demo.rounds import AnnouncedModel
from demo.write import write_stream
from ending import LastWords, Stopping
from protocol.architecture import Dialect
from protocol.records import Samples
from tests.support import golden
from tests.support.models import classifier
from tests.support.secure_kafka import SecureKafka, secure_kafka
from tests.support.worker import WorkerProcess
from utils import in_background
from wiring import federate

END_LIMIT_S = 60.0
COMPILE = {"optimizer": "adam", "loss": "sparse_categorical_crossentropy", "metrics": ["accuracy"]}


class Federation:
    """What a test of the whole worker needs. Whatever it starts ends with the test."""

    def __init__(self, bootstrap: str, folder: Path, stack: ExitStack) -> None:
        self.bootstrap = bootstrap
        self.model_id = f"fed-{secrets.token_hex(4)}"
        self._folder = folder
        self._stack = stack
        self._workers: list[WorkerProcess] = []
        self.checks: list[Callable[[], object]] = []  # called while replies are awaited
        self.cloud = stack.enter_context(Cloud(bootstrap, self.model_id, meanwhile=self.check))

    def write(self, input_format: str = "RAW", samples: Samples | None = None, **options: Any) -> Stream:
        """Write a labelled stream to a topic of its own; the first 400 digits where no samples are given."""
        samples = samples or golden.samples()
        topic = f"{self.model_id}-{secrets.token_hex(2)}"
        return write_stream(self.bootstrap, topic, samples.features, samples.labels, input_format, **options)

    def environment(self, stream: Stream, client_id: str = "c1", **changes: str | None) -> dict[str, str]:
        """The Job's environment for a stream, with some variables changed, or left out where None."""
        environment: dict[str, str | None] = {
            **job_environment(
                stream,
                cloud_bootstrap=self.bootstrap,
                data_bootstrap=self.bootstrap,
                model_id=self.model_id,
                validation_rate=0.2,
                test_rate=0.0,
                client_id=client_id,
            ),
            "ANSWER_LIMIT_S": "20",
            "WAIT_LIMIT_S": "60",
        }
        return {name: value for name, value in (environment | changes).items() if value is not None}

    def start(self, environment: dict[str, str], name: str = "worker", **options: Any) -> WorkerProcess:
        """Start a worker, with options of WorkerProcess; one of the same name goes on in the same log."""
        log = self._folder / f"{name}.log"
        worker = self._stack.enter_context(WorkerProcess(environment, log, **options))
        self._workers.append(worker)
        return worker

    def forget(self, worker: WorkerProcess) -> None:
        """Expect nothing more of a worker: while replies are awaited, it may end as it likes."""
        self._workers.remove(worker)

    def check(self) -> None:
        """Fail where a worker that is not forgotten has ended with an error."""
        for worker in self._workers:
            worker.check()
        for check in self.checks:
            check()


@contextmanager
def worker_here(federation: Federation, environment: Mapping[str, str]) -> Iterator[None]:
    """A worker in this process, which takes part to the last round in the `with`."""
    settings = Settings.from_env(environment)
    ended = in_background("worker", lambda: federate(settings, Stopping(LastWords(None))))

    def check() -> None:
        if ended.done():
            ended.result()

    federation.checks.append(check)
    yield
    ended.result(END_LIMIT_S)


@pytest.fixture(scope="session")
def secure() -> Iterator[SecureKafka]:
    """A real Kafka that lets in whom it knows, started once for all tests that ask for it."""
    with secure_kafka() as kafka:
        yield kafka


@pytest.fixture
def federation(bootstrap: str, tmp_path: Path) -> Iterator[Federation]:
    with ExitStack() as stack:
        yield Federation(bootstrap, tmp_path, stack)


def announced(
    model: Any = None,
    dialect: Dialect = Dialect.KERAS_3,
    compiled: Mapping[str, Any] = MappingProxyType(COMPILE),
    **kwargs_fit: Any,
) -> AnnouncedModel:
    """A model as a cloud announces it: compiled, with these kwargs_fit."""
    model = model or classifier(dialect)
    model.compile(**compiled)
    architecture, compile_args = describe(model)
    settings = {"batch": 32, "kwargs_fit": {"epochs": 1} | kwargs_fit, "kwargs_val": {}, "unsupervised": False}
    return AnnouncedModel(architecture, compile_args, settings, [np.asarray(array) for array in model.get_weights()])
