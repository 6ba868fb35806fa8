"""A federation within one process: a worker's own parts over a real Kafka, and when each step of a round was done."""

from __future__ import annotations

import secrets
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measure import ROOT, Ended, process
from benchmarks.streams import environment
from demo.cloud import Cloud
from demo.device import Stream
from demo.models import LIBRARIES, describe, import_quietly
from demo.rounds import LAST, AnnouncedModel
from federated_mainTraining import take_part
from FederatedKafkaMLAggregationSink import FederatedKafkaMLAggregationSink
from KafkaModelEngine import KafkaModelEngine
from protocol.messages import ModelMessage, Trained
from protocol.metrics import collect
from protocol.records import Array, Samples
from protocol.topics import Federation
from training.datasets import FitData
from training.dialects import TrainableModel
from training.fit import fit
from training.split import split
from training.stopping import Stop
from training.store import Store
from transport.admin import Admin
from transport.clients import Cluster
from transport.control import ControlTopic, Delivery
from transport.reader import Reader
from transport.weights import read_weights
from transport.writer import Transactions, Writer
from utils import in_background, memory_bytes

VALIDATION_RATE = 0.2
WORKER = (sys.executable, str(ROOT / "federated_training.py"))
LIMIT_S = 60.0
SETTLED_S = 0.3  # between weights and message: what is measured begins with the message


@dataclass(frozen=True, slots=True)
class Times:
    """Seconds of one round, from the control message on.

    Attributes:
        total: to the acknowledged reply.
        fit: of them, in the fit.
    """

    total: float
    fit: float

    @property
    def overhead(self) -> float:
        return self.total - self.fit


def image_model(dialect: str) -> Any:
    """A classifier of 28 x 28 images, compiled."""
    keras = import_quietly(LIBRARIES[dialect])
    layers = keras.layers
    model = keras.Sequential(
        [keras.Input((28, 28)), layers.Flatten(), layers.Dense(128, activation="relu"), layers.Dense(10, activation="softmax")]
    )
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def announced(model: Any, batch: int, epochs: int, **kwargs_fit: Any) -> AnnouncedModel:
    """What a cloud would announce of a compiled model."""
    architecture, compile_args = describe(model)
    settings = {"batch": batch, "kwargs_fit": {"epochs": epochs} | kwargs_fit, "kwargs_val": {}, "unsupervised": False}
    return AnnouncedModel(architecture, compile_args, settings, model.get_weights())


def fit_data(features: Array, labels: Array) -> FitData:
    """Arrays as the worker keeps them."""
    store = Store(len(features), 2**40, Path())
    store.add(Samples(features, labels))
    return FitData(store.finish(), split(len(features), validation_rate=VALIDATION_RATE, test_rate=0), Stop())


def take_rounds(bootstrap: str, model: AnnouncedModel, data: FitData, rounds: int) -> list[Times]:
    """Announce a model so many times, each time when the last one is answered; returns the times of the rounds."""
    model_id = f"bench-{secrets.token_hex(4)}"
    federation, cluster = Federation(model_id, "bench"), Cluster("cloud", "KAFKA_BOOTSTRAP", bootstrap)
    fits: list[float] = []
    answered = threading.Semaphore(0)
    replied: list[float] = []

    def train(trainable: TrainableModel, message: ModelMessage, seed: int) -> Trained:
        begun = time.perf_counter()
        epochs = fit(trainable, data, message, seed)
        fits.append(time.perf_counter() - begun)
        return Trained(collect(epochs), len(data.kept))

    with ExitStack() as stack:
        cloud = stack.enter_context(Cloud(bootstrap, model_id))
        reader = stack.enter_context(Reader(cluster, federation.group, LIMIT_S))
        admin = stack.enter_context(Admin(cluster, federation.group, LIMIT_S))
        writer = stack.enter_context(Writer(cluster, federation.group, LIMIT_S, Transactions(reader.membership, LIMIT_S)))
        cloud.create_topics()
        control = ControlTopic(reader, admin, federation, LIMIT_S, delivery=Delivery(writer))

        class TimedSink(FederatedKafkaMLAggregationSink):
            @contextmanager
            def transaction(self) -> Iterator[None]:
                with super().transaction():
                    yield
                replied.append(time.perf_counter())
                answered.release()

        engine = KafkaModelEngine(lambda message: read_weights(reader, message, memory_bytes() // 2))
        sink = TimedSink(writer, admin, federation)
        parts = (control, engine, train, sink)
        worker = in_background("worker", lambda: take_part(*parts, federation.group))
        announced_at = [_announce(cloud, model, version, answered, worker) for version in [*range(rounds - 1), LAST]]
        worker.result()
    return [Times(end - start, one) for start, end, one in zip(announced_at, replied, fits, strict=True)]


def _announce(cloud: Cloud, model: AnnouncedModel, version: int, answered: threading.Semaphore, worker: Future[int]) -> float:
    weights = cloud.send_arrays(model.arrays)
    time.sleep(SETTLED_S)
    message = model.message(weights, version)
    begun = time.perf_counter()
    cloud.send_control(message)
    while not answered.acquire(timeout=1):
        if worker.done():
            worker.result()
    return begun


def one_round(bootstrap: str, stream: Stream, model: AnnouncedModel, validation_rate: float, **changes: str) -> Ended:
    """A worker as a process, whose one model is there when it starts.

    Args:
        changes: variables beyond the Job's.
    """
    model_id = f"bench-{secrets.token_hex(4)}"
    with Cloud(bootstrap, model_id) as cloud:
        cloud.create_topics()
        cloud.announce(model, LAST)
        ended = process(WORKER, environment(bootstrap, stream, model_id, validation_rate) | changes)
        cloud.collect(LAST, clients=1)
    return ended


def arrays_of(total_bytes: int, count: int) -> list[Array]:
    """So many float32 arrays, square, of so many bytes together."""
    side = int((total_bytes / count / 4) ** 0.5)
    random = np.random.default_rng(1)
    return [random.standard_normal((side, side), np.float32) / side for _ in range(count)]
