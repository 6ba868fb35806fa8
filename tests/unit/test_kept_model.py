"""A model is built and traced once for all rounds, and each round finds it as if it were new."""

import gc
import weakref
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from KafkaModelEngine import KafkaModelEngine
from protocol.architecture import Dialect
from protocol.messages import ModelMessage
from protocol.records import Array, Samples
from tests.support import golden
from tests.support.models import DIALECTS, announced, classifier, compile_args
from tests.support.streams import fit_data
from tests.support.traces import count_traces
from training.datasets import FitData
from training.dialects import load_keras
from training.fit import Epoch, fit

KERAS_2, KERAS_3 = Dialect.KERAS_2, Dialect.KERAS_3
DATA = fit_data(golden.samples(), test_rate=0.1)
SHORT = fit_data(Samples(golden.samples().features[:320], golden.samples().labels[:320]))  # for what is slow
WHOLE = fit_data(golden.samples(), validation_rate=0)  # for what validation has no part in
OPTIMIZERS = {
    KERAS_3: ["SGD", "Adam", "AdamW", "Adamax", "Nadam", "RMSprop", "Adagrad", "Adadelta", "Ftrl", "Lion"],
    KERAS_2: ["SGD", "Adam", "Adamax", "Nadam", "RMSprop", "Adagrad", "Adadelta", "Ftrl"],
}
CASES: list[tuple[Dialect, str, dict[str, Any]]] = [(dialect, name, {}) for dialect in DIALECTS for name in OPTIMIZERS[dialect]]
# Keras 2 makes older optimizers unless it is told otherwise; an average of the weights begins with them.
EMA = {"use_ema": True, "ema_momentum": 0.5, "momentum": 0.9}
NEWER = {"is_legacy_optimizer": False}
CASES += [(KERAS_2, name, NEWER) for name in ("SGD", "Adam", "AdamW", "Adagrad", "Ftrl", "RMSprop", "Nadam")]
CASES += [(KERAS_3, "SGD", EMA), (KERAS_2, "SGD", NEWER | EMA)]


def random_model(dialect: Dialect) -> Any:
    """A model with whatever draws by chance or keeps a state."""
    keras = load_keras(dialect)
    layers = keras.layers
    return keras.Sequential(
        [
            layers.Input((8, 8)),
            layers.GaussianNoise(0.1),
            layers.LSTM(6, dropout=0.2, return_sequences=True),
            layers.Bidirectional(layers.GRU(4, recurrent_dropout=0.2)),
            layers.BatchNormalization(),
            layers.Dropout(0.3),
            layers.Dropout(0.2, seed=42),
            layers.Dense(10, activation="softmax"),
        ]
    )


def announcement(model: Any, optimizer: str = "Adam", **config: Any) -> tuple[ModelMessage, Sequence[Array]]:
    chosen = {"class_name": optimizer, "config": {"learning_rate": 0.01} | config}
    return announced(
        model,
        training_settings={"batch": 32, "kwargs_fit": {"epochs": 2, "shuffle": True}},
        model_compile_args=compile_args(optimizer=chosen),
    )


def reached(
    engine: KafkaModelEngine, message: ModelMessage, seed: int, data: FitData = DATA
) -> tuple[list[Epoch], list[Array]]:
    trainable = engine.load(message, seed)
    return fit(trainable, data, message, seed), trainable.trained_arrays()


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("kwargs", [{}, {"shuffle": True}, {"steps_per_epoch": 6}, {"class_weight": {"3": 2.0}}])
def test_three_rounds_are_one_build_and_one_trace(dialect: Dialect, kwargs: dict[str, Any]) -> None:
    message, arrays = announced(classifier(dialect), training_settings={"batch": 32, "kwargs_fit": {"epochs": 2} | kwargs})
    engine = KafkaModelEngine(lambda _message: arrays)
    first = engine.load(message, 1)
    traced = count_traces(first)
    fit(first, DATA, message, 1)
    # Keras 2's loop over steps is Python that TensorFlow makes a loop of; to that end it looks at the body twice.
    looks = 2 if dialect is KERAS_2 else 1
    assert sorted(traced) == ["test_step"] * looks + ["train_step"] * looks
    for seed in (2, 3):
        again = engine.load(message, seed)
        assert again.model is first.model
        fit(again, DATA, message, seed)
    assert len(traced) == 2 * looks


def assert_same(one: tuple[list[Epoch], list[Array]], other: tuple[list[Epoch], list[Array]]) -> None:
    assert one[0] == other[0]
    for array, its_twin in zip(one[1], other[1], strict=True):
        np.testing.assert_array_equal(array, its_twin)


def assert_kept_is_new(model: Any, optimizer: str) -> None:
    """The second round on a kept model is that on a new one; its first one comes again with its seed."""
    message, arrays = announcement(model, optimizer)
    kept = KafkaModelEngine(lambda _message: arrays)
    first = reached(kept, message, 1, SHORT)
    second = reached(kept, message, 2, SHORT)
    anew = reached(KafkaModelEngine(lambda _message: arrays), message, 2, SHORT)
    assert_same(second, anew)
    assert second[0] != first[0]
    assert reached(kept, message, 1, SHORT)[0] == first[0]


@pytest.mark.parametrize(("dialect", "optimizer", "config"), CASES)
def test_no_optimizer_takes_its_state_to_the_next_round(dialect: Dialect, optimizer: str, config: dict[str, Any]) -> None:
    message, arrays = announcement(classifier(dialect, "Dropout"), optimizer, **config)
    kept = KafkaModelEngine(lambda _message: arrays)
    first, second = (reached(kept, message, 1, WHOLE) for _ in range(2))
    assert_same(second, first)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_nothing_that_draws_by_chance_or_keeps_a_state_goes_on_to_the_next_round(dialect: Dialect) -> None:
    assert_kept_is_new(random_model(dialect), "Adam")


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_layer_that_goes_on_from_batch_to_batch_starts_anew_in_each_round(dialect: Dialect) -> None:
    keras = load_keras(dialect)
    layers = keras.layers
    inputs = keras.Input(batch_shape=(32, 8, 8)) if dialect is KERAS_3 else keras.Input((8, 8), batch_size=32)
    inner = keras.Sequential([layers.LSTM(4, stateful=True)])
    message, arrays = announced(keras.Model(inputs, layers.Dense(10, activation="softmax")(inner(inputs))))
    kept = KafkaModelEngine(lambda _message: arrays)
    rounds = []
    for engine in (kept, kept, KafkaModelEngine(lambda _message: arrays)):
        trainable = engine.load(message, 1)
        rounds.append(fit(trainable, SHORT, message, 1))
    assert rounds[0] == rounds[1] == rounds[2]


def test_augmentation_in_keras_3_draws_by_the_rounds_seed() -> None:
    keras = load_keras(KERAS_3)
    layers = keras.layers
    augmentation = keras.Sequential([layers.RandomFlip(), layers.RandomTranslation(0.2, 0.2)])
    ends = [layers.Flatten(), layers.Dense(10, activation="softmax")]
    assert_kept_is_new(keras.Sequential([layers.Input((8, 8)), layers.Reshape((8, 8, 1)), augmentation, *ends]), "SGD")


@pytest.mark.parametrize("dialect", DIALECTS)
def test_another_architecture_or_compilation_is_built_anew(dialect: Dialect) -> None:
    message, arrays = announcement(classifier(dialect))
    engine = KafkaModelEngine(lambda _message: arrays)
    first = engine.load(message, 1)
    assert engine.load(announcement(classifier(dialect))[0], 1).model is first.model
    slower = announcement(classifier(dialect), learning_rate=0.001)[0]
    assert engine.load(slower, 1).model is not first.model
    assert float(engine.load(slower, 1).model.optimizer.learning_rate) == pytest.approx(0.001)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_model_that_another_one_replaces_leaves_nothing_of_its_traces(dialect: Dialect) -> None:
    def graphs() -> weakref.WeakSet[Any]:
        return weakref.WeakSet(one for one in gc.get_objects() if isinstance(one, tf.__internal__.FuncGraph))

    small, large = (announced(classifier(dialect, *layers)) for layers in ([], ["Dropout", "BatchNormalization"]))
    current = iter([small[1], large[1]])
    engine = KafkaModelEngine(lambda _message: next(current))
    list(DATA.dataset(DATA.split.training, 32)), list(DATA.dataset(DATA.split.validation, 32))  # pipelines are kept
    before = graphs()
    fit(engine.load(small[0], 1), DATA, small[0], 1)
    traced = graphs() - before
    assert traced
    engine.load(large[0], 1)
    gc.collect()
    assert [graph.name for graph in traced] == []
