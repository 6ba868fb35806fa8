"""The rounds of a federation, over parts that only note what they are asked."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

from federated_mainTraining import Kind, round_seed, take_part
from protocol.architecture import Dialect
from protocol.errors import ModelError
from protocol.messages import Metrics, ModelMessage
from protocol.records import Array
from tests.support.messages import model_message
from training.dialects import TrainableModel

METRICS = Metrics(training={"loss": [0.5]}, validation={"loss": [None]})


class FakeModel:
    """A model whose weights tell whether it was trained."""

    def __init__(self) -> None:
        self.is_trained = False
        self.weights = self.get_weights()

    def get_weights(self) -> list[Array]:
        return [np.array(self.is_trained)]


class Notes:
    """Rounds, engine, kind and sink at once: notes what it is asked, in order."""

    def __init__(self, *versions: int, fails_at: str = "") -> None:
        self.noted: list[Any] = []
        self._messages = [model_message(version=version, topic=f"w:0:{at}:{at + 1}") for at, version in enumerate(versions)]
        self._fails_at = fails_at

    def _note(self, *what: Any) -> None:
        self.noted.append(what if len(what) > 1 else what[0])
        if what[0] == self._fails_at:
            raise ModelError(f"failed at {what[0]}")

    def next_model(self) -> ModelMessage | None:
        return self._messages.pop(0) if self._messages else None

    def commit(self, model: ModelMessage) -> None:
        self._note("commit", model.version)

    def load(self, message: ModelMessage, _seed: int) -> TrainableModel:
        self._note("load", message.version)
        return TrainableModel(Dialect.KERAS_3, None, FakeModel(), state=None)  # type: ignore[arg-type]

    def prepare(self, largest_bytes: int) -> None:
        self._note("prepare", largest_bytes)

    def train(self, trainable: TrainableModel, message: ModelMessage, _seed: int) -> Metrics:
        trainable.model.is_trained = True
        self._note("train", message.version)
        return METRICS

    @contextmanager
    def transaction(self) -> Iterator[None]:
        self._note("begin")
        yield
        self._note("end")

    def send(self, arrays: Sequence[Array], message: ModelMessage, metrics: Metrics, num_data: int) -> object:
        assert metrics is METRICS
        self._note("send", message.version, bool(arrays[0]), num_data)
        return None

    def run(self) -> int:
        return take_part(self, self, Kind(train=self.train, num_data=lambda: 400), self, "FED-MODEL-dig1-CLIENT-c1")


def test_a_round_is_prepared_before_the_fit_and_committed_in_the_replys_transaction() -> None:
    notes = Notes(-1)
    assert notes.run() == 1
    assert notes.noted == [
        ("load", -1),
        ("prepare", 1),
        ("train", -1),
        "begin",
        ("send", -1, True, 400),
        ("commit", -1),
        "end",
    ]


def test_rounds_go_on_to_the_last_one_and_no_further() -> None:
    notes = Notes(0, 1, 5, -1, 0)
    assert notes.run() == 4
    assert [version for what, *version in notes.noted if what == "commit"] == [[0], [1], [5], [-1]]


def test_a_federation_that_is_over_needs_no_round() -> None:
    assert Notes().run() == 0


@pytest.mark.parametrize("fails_at", ["load", "prepare", "train", "send"])
def test_a_round_that_fails_is_not_committed(fails_at: str) -> None:
    notes = Notes(0, fails_at=fails_at)
    with pytest.raises(ModelError, match=f"failed at {fails_at}"):
        notes.run()
    assert "commit" not in [what for what, *_ in notes.noted]


def test_a_seed_is_the_rounds_own_and_comes_again() -> None:
    first, other = model_message(version=0), model_message(version=1)
    assert round_seed("c1", first) == round_seed("c1", first)
    assert len({round_seed("c1", first), round_seed("c1", other), round_seed("c2", first)}) == 3


def test_a_round_leaves_one_line_that_says_how_it_went(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    Notes(-1).run()
    [line] = [record.getMessage() for record in caplog.records if record.getMessage().startswith("round done")]
    assert line.startswith("round done version=-1 samples=400 seconds=")
    assert line.endswith(" loss=0.5")
