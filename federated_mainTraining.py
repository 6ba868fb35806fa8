"""The rounds of a federation, the same for every kind of training.

Who owns what:
    where rounds come from, and which are answered    Rounds      transport.control.ControlTopic, or a blockchain's contract
    a message and its weights → a compiled model      Engine      KafkaModelEngine
    a model and the samples of its round → a fit      Train       federated_singleClassicTraining
    weights and metrics → a reply                     Sink        FederatedKafkaMLAggregationSink
    what is sent, in which order, with which seed     here
    that reply, offset and positions stand together   Sink's transaction
"""

from __future__ import annotations

import logging
import time
import zlib
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Protocol, TypeAlias

import watching
from protocol.errors import DivergedError
from protocol.messages import Metrics, ModelMessage, Trained
from protocol.metrics import check_loss
from protocol.positions import Positions
from protocol.records import Array
from training.dialects import TrainableModel
from watching import ROUND, RoundAnswered, RoundDropped

log = logging.getLogger(__name__)


class Rounds(Protocol):
    """Where models to train come from."""

    def next_model(self) -> ModelMessage | None:
        """Wait for the newest model that is not answered; None where the last round is answered already."""

    def stands(self, model: ModelMessage) -> bool:
        """Whether a model is still one of the federation that is there."""

    def commit(self, model: ModelMessage, positions: Positions | None) -> None:
        """Keep that a model is answered, and where the moving stream goes on."""


class Engine(Protocol):
    """What makes a Keras model of a message."""

    def load(self, message: ModelMessage, seed: int) -> TrainableModel: ...

    def received(self, message: ModelMessage) -> Sequence[Array]:
        """The weights of a message as they came."""


class Sink(Protocol):
    """Where replies go."""

    def prepare(self, largest_bytes: int) -> None:
        """Make sure, before the fit, that arrays of up to so many bytes can be sent after it."""

    def send(self, arrays: Sequence[Array], message: ModelMessage, trained: Trained) -> object: ...

    def transaction(self) -> AbstractContextManager[None]:
        """Within it, what is sent and the offset that is committed stand together or not at all."""


# A kind of training: fits a model on the samples of its round, with a seed for what is drawn by chance.
Train: TypeAlias = Callable[[TrainableModel, ModelMessage, int], Trained]


def take_part(  # noqa: PLR0913 - the parts of a round
    rounds: Rounds,
    engine: Engine,
    train: Train,
    sink: Sink,
    client: str,
    *,
    returns_received: bool = False,
    answered: Callable[[Trained], object] = lambda _trained: None,
) -> int:
    """Train and answer models until the federation's last round is answered.

    A round is committed after its reply is acknowledged, in the reply's transaction: a crash before does the round again.

    Args:
        client: the client's group, for its seeds.
        returns_received: answer a fit that diverged with the weights as they came, and no data; else it is an error.
        answered: called when a reply stands.

    Returns:
        Rounds answered.

    Raises:
        DivergedError: the weights or the loss of a fit are NaN or infinite.
    """

    def next_model() -> ModelMessage | None:
        with watching.phase("wait"):
            return rounds.next_model()

    count = 0
    while (message := next_model()) is not None:
        with watching.phase(ROUND, message.version):
            begun = time.monotonic()
            log.info("round begun version=%d spec=%s", message.version, message.spec)
            seed = round_seed(client, message)
            with watching.phase("load"):
                trainable = engine.load(message, seed)
            with watching.phase("prepare"):
                sink.prepare(trainable.largest_bytes())
            with watching.phase("train"):
                trained = train(trainable, message, seed)
            try:
                arrays: Sequence[Array] = trainable.trained_arrays()
                check_loss(trained.metrics)
            except DivergedError as exc:
                if not returns_received:
                    raise
                log.warning("%s; the weights go back as they came, with num_data=0", exc)
                arrays, trained = engine.received(message), replace(trained, num_data=0)
            if not rounds.stands(message):
                log.warning(
                    "round dropped version=%d: its federation is gone, or has gone on without this reply", message.version
                )
                watching.tell(RoundDropped(message.version))
                continue
            with watching.phase("reply"), sink.transaction():
                sink.send(arrays, message, trained)
                rounds.commit(message, trained.positions)
            count += 1
            last = _last(trained.metrics)
            log.info(
                "round done version=%d samples=%d seconds=%.1f %s",
                message.version,
                trained.num_data,
                time.monotonic() - begun,
                " ".join(f"{name}={value:.4g}" for name, value in last.items()),
            )
            watching.tell(RoundAnswered(message.version, trained.num_data, last))
            answered(trained)
        if message.is_last:
            return count
    log.info("the last round of the federation was answered before, or is over; nothing newer is announced")
    return count


def round_seed(client: str, message: ModelMessage) -> int:
    """A seed that is the same when a round is done again, and another for every client and round. 32 bit, unsigned."""
    return zlib.crc32(f"{client} {message.spec} {message.version}".encode())


def _last(metrics: Metrics) -> dict[str, float]:
    """The last number of each metric that has one."""
    parts = {"": metrics.training, "val_": metrics.validation, "test_": metrics.test or {}}
    last = {prefix + name: values[-1] for prefix, part in parts.items() for name, values in part.items()}
    return {name: value for name, value in last.items() if value is not None}
