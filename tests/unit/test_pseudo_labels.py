"""A model labels what it is sure of and is trained on with it, as plain Keras is with arrays that are joined."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from KafkaModelEngine import KafkaModelEngine
from protocol.architecture import Dialect
from protocol.errors import ModelError
from protocol.records import Array, Samples
from tests.support import golden
from tests.support.messages import PLACE
from tests.support.models import CHAINED_ARGS, DIALECTS, SPARSE, announced, chained, compile_args
from tests.support.streams import fit_data, kept
from training.compilation import Compilation
from training.datasets import FitData
from training.dialects import TrainableModel, load_keras
from training.fit import Epoch
from training.labelling import labelling_of
from training.pseudo_labels import fit_with_pseudo_labels, fit_with_windows
from training.stopping import Stop
from training.unlabelled import Unlabelled

SEED = 7
BATCH = 32
LABELLED = 100
DIGITS = golden.samples()
LOGITS = {"class_name": "SparseCategoricalCrossentropy", "config": {"from_logits": True}}


@dataclass(frozen=True)
class Form:
    """A form that labels may have, with the loss that wants it."""

    labels: Callable[[Array], Array]
    loss: Any = SPARSE
    last_activation: str | None = "softmax"


FORMS = {
    "scalars": Form(lambda classes: classes),
    "of one number, from logits": Form(lambda classes: classes.reshape(-1, 1).astype(np.float32), LOGITS, None),
    "one-hot": Form(lambda classes: np.eye(10, dtype=np.int16)[classes], "categorical_crossentropy"),
}


def model_of(dialect: Dialect, last_activation: str | None = "softmax") -> Any:
    keras = load_keras(dialect)
    keras.utils.set_random_seed(1)
    layers = keras.layers
    middle = [layers.Flatten(), layers.Dense(32, activation="relu")]
    return keras.Sequential([layers.Input((8, 8)), *middle, layers.Dense(10, activation=last_activation)])


def labelled(form: Form = FORMS["scalars"], stop: Stop | None = None) -> FitData:
    return fit_data(Samples(DIGITS.features[:LABELLED], form.labels(DIGITS.labels[:LABELLED])), stop=stop)


def unlabelled(features: Array = DIGITS.features[LABELLED:], stop: Stop | None = None, **options: Any) -> Unlabelled:
    return Unlabelled(kept(Samples(features, np.empty((len(features), 0), np.uint8)), **options), stop or Stop())


def loaded(model: Any, loss: Any = SPARSE, **settings: Any) -> tuple[TrainableModel, Any]:
    """A model that a message announces, and the message."""
    args = CHAINED_ARGS if len(model.outputs) > 1 else compile_args(loss=loss)
    wanted = {"batch": BATCH, "kwargs_fit": {"epochs": 3}, "unsupervised": True} | settings
    message, arrays = announced(model, training_settings=wanted, model_compile_args=args)
    return KafkaModelEngine(lambda _message: arrays).load(message, SEED), message


def trained(model: Any, form: Form = FORMS["scalars"], **settings: Any) -> tuple[list[Epoch], list[Array]]:
    trainable, message = loaded(model, form.loss, **settings)
    epochs = fit_with_pseudo_labels(trainable, labelled(form), unlabelled, message, SEED)
    return epochs, trainable.trained_arrays()


def reference(
    dialect: Dialect, model: Any, form: Form, passes: int, confidence: float
) -> tuple[dict[str, list[float]], list[Array], list[int]]:
    """History and weights that plain Keras reaches with arrays, and how many samples each pass keeps."""
    args = CHAINED_ARGS if len(model.outputs) > 1 else compile_args(loss=form.loss)
    model.compile(**Compilation(load_keras(dialect), dialect, PLACE).arguments(model, args))
    samples = labelled(form).kept.samples
    x, y = samples.features[:80], samples.labels[:80]
    validation = samples.features[80:], samples.labels[80:]
    left = DIGITS.features[LABELLED:]
    history: dict[str, list[float]] = {}
    kept_counts = []

    def fit() -> None:
        def spread(labels: Array) -> Any:
            return labels if len(model.outputs) == 1 else [labels] * len(model.outputs)

        options = {"batch_size": BATCH, "epochs": 3, "shuffle": False, "verbose": 0}
        fitted = model.fit(x, spread(y), validation_data=(validation[0], spread(validation[1])), **options)
        for name, numbers in fitted.history.items():
            history.setdefault(name, []).extend(numbers)

    fit()
    for _ in range(passes):
        predicted = model.predict(left, batch_size=BATCH, verbose=0)
        predicted = predicted[-1] if isinstance(predicted, list) else predicted
        probabilities = tf.nn.softmax(predicted).numpy() if form.last_activation is None else predicted
        sure = probabilities.max(axis=1) >= confidence
        kept_counts.append(int(sure.sum()))
        if not sure.any():
            break
        x = np.concatenate([x, left[sure]])
        y = np.concatenate([y, form.labels(probabilities[sure].argmax(axis=1)).astype(y.dtype)])
        left = left[~sure]
        fit()
        if not len(left):
            break
    return history, model.get_weights(), kept_counts


def assert_alike(reached: tuple[list[Epoch], list[Array]], expected: tuple[dict[str, list[float]], list[Array]]) -> None:
    epochs, weights = reached
    assert {name: len(numbers) for name, numbers in expected[0].items()} == dict.fromkeys(epochs[0], len(epochs))
    for name, numbers in expected[0].items():
        np.testing.assert_allclose([epoch[name] for epoch in epochs], numbers, rtol=0, atol=1e-5)
    for array, other in zip(weights, expected[1], strict=True):
        np.testing.assert_allclose(array, other, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "dialect"),
    [
        ("scalars", Dialect.KERAS_2),
        ("scalars", Dialect.KERAS_3),
        ("of one number, from logits", Dialect.KERAS_2),
        ("one-hot", Dialect.KERAS_3),
    ],
)
def test_passes_reach_what_plain_keras_reaches_with_joined_arrays(
    name: str, dialect: Dialect, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    form = FORMS[name]
    history, weights, counts = reference(dialect, model_of(dialect, form.last_activation), form, 2, 0.3)
    assert len(counts) == 2
    assert all(0 < count < 300 for count in counts)  # so that passes have something to keep and something to leave
    reached = trained(model_of(dialect, form.last_activation), form, unsupervised_rounds=2, confidence=0.3)
    assert_alike(reached, (history, weights))
    told = [
        re.match(r"pseudo-labels pass=(\d)/2 kept=(\d+) of=(\d+) mean_confidence=0\.\d{4}$", one) for one in caplog.messages
    ]
    left = [300, 300 - counts[0]]
    assert [tuple(map(int, one.groups())) for one in told if one] == [(at + 1, counts[at], left[at]) for at in range(2)]


@pytest.mark.parametrize("dialect", DIALECTS)
def test_the_last_output_of_a_distributed_model_labels(dialect: Dialect) -> None:
    history, weights, counts = reference(dialect, chained(dialect), FORMS["scalars"], 1, 0.2)
    assert all(0 < count < 300 for count in counts)
    assert_alike(trained(chained(dialect), unsupervised_rounds=1, confidence=0.2), (history, weights))


@pytest.mark.parametrize(
    ("passes", "confidence", "fits", "told"),
    [
        (5, 0.0, 2, ["pass=1/5 kept=300 of=300 mean_confidence=0."]),
        (0, 0.0, 1, []),
    ],
)
def test_passes_end_where_none_is_left(
    passes: int, confidence: float, fits: int, told: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    epochs, _weights = trained(model_of(Dialect.KERAS_3), unsupervised_rounds=passes, confidence=confidence)
    assert len(epochs) == 3 * fits
    lines = [one.removeprefix("pseudo-labels ") for one in caplog.messages if one.startswith("pseudo-labels ")]
    assert [line.startswith(start) for line, start in zip(lines, told, strict=True)] == [True] * len(told)


def test_no_pass_asks_for_no_unlabelled_stream() -> None:
    trainable, message = loaded(model_of(Dialect.KERAS_3), unsupervised_rounds=0)
    fit_with_pseudo_labels(trainable, labelled(), lambda: pytest.fail("asked"), message, SEED)


def test_passes_end_where_none_is_kept_and_what_the_message_leaves_open_has_defaults_that_are_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    epochs, _weights = trained(model_of(Dialect.KERAS_3), confidence=1.0)
    assert len(epochs) == 3  # it ends where none is kept
    assert "training_settings leave it to us: unsupervised_rounds=5 confidence=1" in caplog.text
    assert "pseudo-labels pass=1/5 kept=0 of=300 highest_confidence=0." in caplog.text
    trainable, message = loaded(model_of(Dialect.KERAS_3))
    assert labelling_of(trainable, labelled(), message).confidence == 0.9


def fault_of(model: Any, data: FitData, loss: Any) -> str:
    trainable, message = loaded(model, loss, unsupervised_rounds=1, confidence=0.5)
    with pytest.raises(ModelError) as caught:
        fit_with_pseudo_labels(trainable, data, lambda: pytest.fail("asked"), message, SEED)
    assert int(trainable.model.optimizer.iterations.numpy()) == 0  # nothing was fitted
    assert str(caught.value).endswith(f", at {PLACE}")
    return str(caught.value)


def ending_in(dialect: Dialect, *layers: Any) -> Any:
    keras = load_keras(dialect)
    return keras.Sequential([keras.layers.Input((8, 8)), *layers])


@pytest.mark.parametrize(
    ("units", "loss", "labels", "told"),
    [
        (
            1,
            "mse",
            np.zeros(LABELLED, np.float32),
            "has the shape (None, 1), expected (None, classes) with two of them or more",
        ),
        (1, "binary_crossentropy", np.zeros(LABELLED, np.uint8), "has the shape (None, 1), expected "),
        (4, "mse", np.zeros((LABELLED, 4)), "has the loss mse, expected sparse_categorical_crossentropy or another"),
        (4, "binary_crossentropy", np.zeros((LABELLED, 4)), "has the loss binary_crossentropy, expected "),
        (
            10,
            SPARSE,
            np.zeros((LABELLED, 10), np.uint8),
            f"has 10 of them and the loss {SPARSE}, which wants labels of the shape () or (1,) in a type that holds them, "
            "received (10,) uint8",
        ),
        (300, SPARSE, np.zeros(LABELLED, np.uint8), f"has 300 of them and the loss {SPARSE}, which wants labels of the shape "),
        (10, "categorical_crossentropy", np.zeros(LABELLED, np.uint8), "which wants labels of the shape (10,) in a type"),
        (10, SPARSE, np.array([b"one"] * LABELLED, object), "received () object"),
    ],
)
def test_a_model_or_labels_for_which_an_arg_max_makes_no_sense_are_refused_before_any_fit(
    units: int, loss: str, labels: Array, told: str
) -> None:
    layers = load_keras(Dialect.KERAS_3).layers
    model = ending_in(Dialect.KERAS_3, layers.Flatten(), layers.Dense(units))
    fault = fault_of(model, fit_data(Samples(DIGITS.features[:LABELLED], labels)), loss)
    assert fault.startswith("training_settings.unsupervised: a pseudo-label is the most probable of several classes, of which ")
    assert told in fault


@pytest.mark.parametrize("dialect", DIALECTS)
def test_an_output_of_more_axes_is_refused(dialect: Dialect) -> None:
    layers = load_keras(dialect).layers
    labels = np.zeros((LABELLED, 8), np.uint8)
    fault = fault_of(ending_in(dialect, layers.Dense(5)), fit_data(Samples(DIGITS.features[:LABELLED], labels)), SPARSE)
    assert "has the shape (None, 8, 5), expected (None, classes) with two of them or more" in fault


@pytest.mark.parametrize("dialect", DIALECTS)
def test_rounds_and_passes_are_one_trace(dialect: Dialect) -> None:
    trainable, message = loaded(model_of(dialect), unsupervised_rounds=3, confidence=0.3)
    data, source = labelled(), unlabelled()
    traced = []
    step = trainable.model.train_step

    def counted(batch: Any) -> Any:
        if tf.inside_function():
            traced.append(1)
        return step(batch)

    trainable.model.train_step = counted
    for seed in (1, 2):
        trainable.state.restore(seed)
        fit_with_pseudo_labels(trainable, data, lambda: source, message, seed)
    assert len(traced) == (2 if dialect is Dialect.KERAS_2 else 1)  # Keras 2 looks at its loop's body twice
    assert trainable.last_output.experimental_get_tracing_count() == 1


def test_a_stop_ends_a_prediction() -> None:
    stop = Stop()
    trainable, message = loaded(model_of(Dialect.KERAS_3), unsupervised_rounds=1, confidence=0.5)
    source = unlabelled(stop=stop)
    asked = threading.Event()

    def waited() -> Unlabelled:
        stop.set()
        asked.set()
        return source

    with pytest.raises(ModelError, match="the worker is to stop"):
        fit_with_pseudo_labels(trainable, labelled(), waited, message, SEED)
    assert asked.is_set()


def test_windows_are_trained_on_one_by_one_with_the_labelled_samples(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    dialect = Dialect.KERAS_2
    blank = np.zeros((40, 8, 8), np.float32)  # of which a model is sure of nothing
    parts = [DIGITS.features[100:160], blank, DIGITS.features[160:400]]
    trainable, message = loaded(model_of(dialect), confidence=0.3)
    epochs = fit_with_windows(trainable, labelled(), map(unlabelled, parts), message, SEED)

    model = model_of(dialect)
    model.compile(**Compilation(load_keras(dialect), dialect, PLACE).arguments(model, compile_args()))
    x, y = DIGITS.features[:80], DIGITS.labels[:80]
    options: dict[str, Any] = {"batch_size": BATCH, "epochs": 3, "shuffle": False, "verbose": 0}
    options |= {"validation_data": (DIGITS.features[80:100], DIGITS.labels[80:100])}
    losses = model.fit(x, y, **options).history["loss"]
    for part in (parts[0], parts[2]):
        probabilities = model.predict(part, batch_size=BATCH, verbose=0)
        sure = probabilities.max(axis=1) >= 0.3
        assert 0 < sure.sum() < len(part)
        kept_labels = probabilities[sure].argmax(axis=1).astype(np.uint8)
        losses += model.fit(np.concatenate([x, part[sure]]), np.concatenate([y, kept_labels]), **options).history["loss"]
    np.testing.assert_allclose([epoch["loss"] for epoch in epochs], losses, rtol=0, atol=1e-5)
    for array, expected in zip(trainable.trained_arrays(), model.get_weights(), strict=True):
        np.testing.assert_allclose(array, expected, rtol=0, atol=1e-5)
    assert any(line.startswith("pseudo-labels window=2 kept=0 of=40 highest_confidence=0.") for line in caplog.messages)
    assert "windows of which nothing was sure enough passed_over=1" in caplog.messages
