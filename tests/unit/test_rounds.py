"""The rounds of a federation, over parts that only note what they are asked."""

import math
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from federated_mainTraining import round_seed, take_part
from protocol.architecture import Dialect
from protocol.errors import DivergedError, ModelError
from protocol.messages import Metrics, ModelMessage, Trained
from protocol.positions import Positions
from protocol.records import Array
from tests.support.messages import model_message
from training.dialects import TrainableModel

METRICS = Metrics(training={"loss": [0.5]}, validation={"loss": [None]})
DIVERGED = Metrics(training={"loss": [math.nan]}, validation={"loss": [None]})
RECEIVED = [np.array(0.25)]
POSITIONS = Positions({"sensors": "id-0"}, {("sensors", 0): 400})


class FakeModel:
    """A model of one weight, which is 0 until it is trained."""

    def __init__(self) -> None:
        self.weight = 0.0
        self.weights = [SimpleNamespace(shape=(), dtype=np.dtype(float), name="only/weight")]

    def get_weights(self) -> list[Array]:
        return [np.array(self.weight)]


class Notes:
    """Rounds, engine, kind and sink at once: notes what it is asked, in order."""

    def __init__(
        self, *versions: int, fails_at: str = "", metrics: Metrics = METRICS, weight: float = 1.0, gone: Sequence[int] = ()
    ) -> None:
        self.noted: list[Any] = []
        self._messages = [model_message(version=version, topic=f"w:0:{at}:{at + 1}") for at, version in enumerate(versions)]
        self._fails_at = fails_at
        self._metrics = metrics
        self._weight = weight
        self._gone = gone

    def _note(self, *what: Any) -> None:
        self.noted.append(what if len(what) > 1 else what[0])
        if what[0] == self._fails_at:
            raise ModelError(f"failed at {what[0]}")

    def next_model(self) -> ModelMessage | None:
        return self._messages.pop(0) if self._messages else None

    def stands(self, model: ModelMessage) -> bool:
        return model.version not in self._gone

    def commit(self, model: ModelMessage, positions: Positions | None) -> None:
        assert positions is POSITIONS
        self._note("commit", model.version)

    def load(self, message: ModelMessage, _seed: int) -> TrainableModel:
        self._note("load", message.version)
        return TrainableModel(Dialect.KERAS_3, None, FakeModel(), state=None)  # type: ignore[arg-type]

    def received(self, message: ModelMessage) -> Sequence[Array]:
        self._note("received", message.version)
        return RECEIVED

    def prepare(self, largest_bytes: int) -> None:
        self._note("prepare", largest_bytes)

    def train(self, trainable: TrainableModel, message: ModelMessage, _seed: int) -> Trained:
        trainable.model.weight = self._weight
        self._note("train", message.version)
        return Trained(self._metrics, 400, POSITIONS)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        self._note("begin")
        yield
        self._note("end")

    def send(self, arrays: Sequence[Array], message: ModelMessage, trained: Trained) -> object:
        assert trained.metrics is self._metrics
        assert trained.positions is POSITIONS
        self._note("send", message.version, float(arrays[0]), trained.num_data)
        return None

    def run(self, *, returns_received: bool = False) -> int:
        return take_part(
            self,
            self,
            self.train,
            self,
            "FED-MODEL-dig1-CLIENT-c1",
            returns_received=returns_received,
            answered=lambda trained: self._note("answered", trained.positions is POSITIONS),
        )


def test_a_round_is_prepared_before_the_fit_and_committed_in_the_replys_transaction() -> None:
    notes = Notes(-1)
    assert notes.run() == 1
    assert notes.noted == [
        ("load", -1),
        ("prepare", 8),
        ("train", -1),
        "begin",
        ("send", -1, 1.0, 400),
        ("commit", -1),
        "end",
        ("answered", True),
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


@pytest.mark.parametrize(
    ("parts", "told"),
    [
        ({"metrics": DIVERGED}, "the fit diverged: the loss of its last epoch is nan"),
        ({"weight": math.inf}, r"the fit diverged: array 0 \(only/weight\) holds NaN or infinity"),
        ({"metrics": DIVERGED, "weight": math.nan}, r"the fit diverged: array 0 \(only/weight\) holds NaN or infinity"),
    ],
)
class TestDiverged:
    def test_nothing_is_sent_and_the_round_fails(self, parts: dict[str, Any], told: str) -> None:
        notes = Notes(0, **parts)
        with pytest.raises(DivergedError, match=told):
            notes.run()
        assert [what for what, *_ in notes.noted] == ["load", "prepare", "train"]

    def test_the_received_weights_go_back_without_data_where_that_is_wanted(
        self, parts: dict[str, Any], told: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        notes = Notes(0, **parts)
        assert notes.run(returns_received=True) == 1
        expected = [("received", 0), "begin", ("send", 0, 0.25, 0), ("commit", 0), "end", ("answered", True)]
        assert notes.noted[3:] == expected
        [warning] = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
        assert re.match(told, warning)
        assert warning.endswith("; the weights go back as they came, with num_data=0")


def test_a_fit_that_did_not_diverge_is_sent_also_where_others_would_be_returned() -> None:
    notes = Notes(0)
    notes.run(returns_received=True)
    assert notes.noted[3:] == ["begin", ("send", 0, 1.0, 400), ("commit", 0), "end", ("answered", True)]


def test_a_round_whose_federation_is_gone_is_neither_sent_nor_committed_and_the_next_one_is_trained() -> None:
    notes = Notes(4, -1, 0, -1, gone=[4])
    assert notes.run() == 1
    assert [version for what, *version in notes.noted if what == "train"] == [[4], [-1]]
    assert [version for what, *version in notes.noted if what in {"send", "commit", "answered"}] == [
        [-1, 1.0, 400],
        [-1],
        [True],
    ]


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
