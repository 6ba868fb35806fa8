"""Epochs become the metrics of a reply: complete, finite, and small enough."""

import itertools
import json
import math

import pytest

from protocol.errors import DivergedError, ModelError
from protocol.messages import Metrics
from protocol.metrics import check_loss, collect, thin_to_fit


def encode(metrics: Metrics) -> bytes:
    return json.dumps(metrics.as_json()).encode()


def test_every_training_metric_has_its_validation_twin() -> None:
    metrics = collect([{"loss": 2.0, "accuracy": 0.5, "val_loss": 3.0, "val_accuracy": 0.25}])
    assert metrics.training == {"loss": [2.0], "accuracy": [0.5]}
    assert metrics.validation == {"loss": [3.0], "accuracy": [0.25]}


def test_without_validation_the_twins_hold_nulls() -> None:
    metrics = collect([{"loss": 2.0, "accuracy": 0.5}, {"loss": 1.0, "accuracy": 0.75}])
    assert metrics.validation == {"loss": [None, None], "accuracy": [None, None]}


def test_epochs_without_validation_keep_their_place() -> None:
    metrics = collect([{"loss": 3.0}, {"loss": 2.0, "val_loss": 4.0}, {"loss": 1.0}])
    assert metrics.validation == {"loss": [None, 4.0, None]}


def test_numbers_that_json_has_no_word_for_become_null_in_a_reply() -> None:
    metrics = collect([{"loss": math.nan, "mae": math.inf, "val_loss": -math.inf}], test={"loss": math.nan})
    assert metrics.as_json() == {
        "training": {"loss": [None], "mae": [None]},
        "validation": {"loss": [None], "mae": [None]},
        "test": {"loss": [None]},
    }


@pytest.mark.parametrize("loss", [math.nan, math.inf, -math.inf])
def test_a_last_loss_that_is_no_number_is_refused(loss: float) -> None:
    with pytest.raises(
        DivergedError, match=f"^the fit diverged: the loss of its last epoch is {loss}, and nothing of it is sent"
    ):
        check_loss(collect([{"loss": 0.5}, {"loss": loss}]))


@pytest.mark.parametrize(
    "epochs", [[], [{"loss": math.nan}, {"loss": 0.5}], [{"loss": 0.5, "mae": math.nan, "val_loss": math.inf}], [{"mae": 0.5}]]
)
def test_no_other_number_is_the_fits_loss(epochs: list[dict[str, float]]) -> None:
    check_loss(collect(epochs))


def test_a_fit_without_epochs_still_names_its_loss() -> None:
    assert collect([]) == Metrics(training={"loss": [None]}, validation={"loss": [None]})


def test_a_history_that_fits_is_sent_whole() -> None:
    metrics = collect([{"loss": float(epoch)} for epoch in range(100)])
    assert thin_to_fit(metrics, encode, 10_000) == encode(metrics)


@pytest.mark.parametrize("epochs", [500, 1000, 4999])
@pytest.mark.parametrize("limit", [200, 1500])
def test_a_long_history_is_thinned_evenly_and_keeps_its_last_epoch(epochs: int, limit: int) -> None:
    metrics = collect([{"loss": float(epoch), "val_loss": float(epoch)} for epoch in range(epochs)])
    encoded = thin_to_fit(metrics, encode, limit)
    assert len(encoded) <= limit
    loss = json.loads(encoded)["training"]["loss"]
    assert json.loads(encoded)["validation"]["loss"] == loss
    assert loss[-1] == epochs - 1
    steps = [after - before for before, after in itertools.pairwise(loss)]
    assert max(steps) - min(steps) <= 1
    # One more epoch would not have fitted: each takes a comma, a space and at least "1.0" in both lists.
    assert len(encoded) > limit - 2 * len(", 4999.0") * 2


def test_metrics_that_no_reply_can_hold_are_an_error() -> None:
    metrics = collect([{f"metric_{index}": 0.5 for index in range(100)}])
    with pytest.raises(ModelError, match=r"the metrics of one epoch \(100 names\) make a reply of over 500 bytes"):
        thin_to_fit(metrics, encode, 500)
