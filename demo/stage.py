"""What every kind's demo stands on: a broker, a folder for logs, workers, a cloud; and how a round is shown."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from demo.backend import job_environment
from demo.broker import kafka
from demo.cloud import Cloud
from demo.course import Course
from demo.device import Stream
from demo.guard import guarded_folder
from demo.models import LIBRARIES, describe
from demo.rounds import AnnouncedModel, Reply, Round
from demo.workers import Workers
from protocol.records import Array
from protocol.topics import Federation

END_LIMIT_S = 60.0
ROW = "{:>5}  {:<14} {:>7} {:>8} {:>8} {:>8} {:>12} {:>17}"
HEAD = ("round", "client", "samples", "loss", "accuracy", "val_loss", "val_accuracy", "held-out accuracy")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a demo came to.

    Attributes:
        told: the result, for a person.
        course: how it came to it.
        fault: what is wrong with it; None where it is as good as it should be.
    """

    told: str
    course: Course
    fault: str | None = None


@dataclass(frozen=True, slots=True)
class Stage:
    """A broker, a cloud that has made its topics, and workers that take part.

    Attributes:
        names: what to call each client, by its group.
    """

    bootstrap: str
    model_id: str
    cloud: Cloud
    workers: Workers
    names: dict[str, str] = field(default_factory=dict)

    def start_worker(self, name: str, stream: Stream, *, validation_rate: float, **changes: str) -> None:
        """Start a worker for a device's stream, with some variables changed."""
        client_id = secrets.token_hex(4)
        self.names[Federation(self.model_id, client_id).group] = name
        environment = job_environment(
            stream,
            cloud_bootstrap=self.bootstrap,
            data_bootstrap=self.bootstrap,
            model_id=self.model_id,
            validation_rate=validation_rate,
            test_rate=0.0,
            client_id=client_id,
        )
        say(f"worker {name} started as process {self.workers.start(name, environment | changes)}, client id {client_id}")

    def announced(self, model: Any, dialect: str, settings: Mapping[str, Any], rounds: int) -> AnnouncedModel:
        """A compiled model as the cloud announces it."""
        architecture, compile_args = describe(model)
        say(f"cloud announces a {LIBRARIES[dialect]} model of {model.count_params()} weights, {rounds} rounds")
        return AnnouncedModel(architecture, compile_args, settings, model.get_weights())

    def end(self) -> None:
        """Wait until the workers have ended well."""
        self.workers.wait(END_LIMIT_S)
        say("all workers ended with status 0")


@contextmanager
def stage() -> Iterator[Stage]:
    """Set everything up; whoever leaves the `with` leaves no process and no file behind."""
    model_id = f"demo-{secrets.token_hex(4)}"
    with ExitStack() as stack:
        folder = stack.enter_context(guarded_folder("kafka-ml-demo-"))
        say("starting a Kafka broker …")
        bootstrap = stack.enter_context(kafka())
        say(f"broker listens on {bootstrap}")
        workers = stack.enter_context(Workers(folder))
        cloud = stack.enter_context(Cloud(bootstrap, model_id, meanwhile=workers.check))
        cloud.create_topics()
        yield Stage(bootstrap, model_id, cloud, workers)


@contextmanager
def beside(other: Stage) -> Iterator[Stage]:
    """A second federation over the same broker, whose workers end with the first one's."""
    model_id = f"demo-{secrets.token_hex(4)}"
    with Cloud(other.bootstrap, model_id, meanwhile=other.workers.check) as cloud:
        cloud.create_topics()
        yield Stage(other.bootstrap, model_id, cloud, other.workers)


def held_out_accuracy(model: Any, arrays: Sequence[Array], features: Array, labels: Array) -> float:
    """The share of samples, 0 to 1, that a model with these weights gets right."""
    model.set_weights(arrays)
    return float(np.mean(model.predict(features, verbose=0, batch_size=len(features)).argmax(axis=-1) == labels))


def table_rows(number: int, one: Round, names: Mapping[str, str], accuracy: float) -> list[str]:
    """A line a client, with the numbers of its last epoch, and one for the global model after them."""
    rows = [
        (number, names.get(reply.client, reply.client), reply.num_data, *_last_epoch(reply), "")
        for reply in sorted(one.replies, key=lambda reply: names.get(reply.client, reply.client))
    ]
    total = sum(reply.num_data for reply in one.replies)
    rows.append((number, "global model", total, "", "", "", "", f"{accuracy:.4f}"))
    return [ROW.format(*row).rstrip() for row in rows]


def _last_epoch(reply: Reply) -> list[str]:
    kinds = (("training", "loss"), ("training", "accuracy"), ("validation", "loss"), ("validation", "accuracy"))
    numbers = [reply.metrics[kind].get(name, [None])[-1] for kind, name in kinds]
    return ["" if number is None else f"{number:.4f}" for number in numbers]


def say(text: str) -> None:
    """Tell a person what is happening, at once."""
    print(text, flush=True)
