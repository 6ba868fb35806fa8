"""A fit does what kwargs_fit and kwargs_val ask for, and reports every epoch."""

import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import training.fit
from KafkaModelEngine import KafkaModelEngine
from protocol.architecture import Dialect
from protocol.errors import DivergedError, ModelError
from protocol.messages import Metrics
from protocol.metrics import check_loss, collect
from protocol.records import Samples
from tests.support import golden
from tests.support.messages import PLACE
from tests.support.models import DIALECTS, announced, classifier, compile_args
from tests.support.rounds import noted
from tests.support.streams import fit_data, kept
from training.datasets import FitData
from training.dialects import load_keras
from training.fit import evaluate, fit, steps_at_a_time
from training.fit_arguments import complete_class_weight
from training.pipelines import PREFETCHED
from training.stopping import Stop
from watching import EpochDone

SEED = 7


def trained(
    dialect: Dialect,
    data: FitData | None = None,
    kwargs_val: dict[str, Any] | None = None,
    compiled: dict[str, Any] | None = None,
    model: Any = None,
    **kwargs_fit: Any,
) -> Metrics:
    """Fit a model, a classifier where none is given, on the digits with these arguments of compile and fit."""
    message, arrays = announced(
        model or classifier(dialect),
        training_settings={"batch": 32, "kwargs_fit": kwargs_fit, "kwargs_val": kwargs_val or {}},
        model_compile_args=compile_args(**(compiled or {})),
    )
    trainable = KafkaModelEngine(lambda _message: arrays).load(message, SEED)
    data = data or digits()
    epochs = fit(trainable, data, message, SEED)
    trainable.trained_arrays()
    return collect(epochs, evaluate(trainable, data, message))


def digits(validation_rate: float = 0.2, test_rate: float = 0.0) -> FitData:
    return fit_data(golden.samples(), validation_rate=validation_rate, test_rate=test_rate)


def sgd(**config: Any) -> dict[str, Any]:
    return {"class_name": "SGD", "config": {"name": "SGD"} | config}


def regression(dialect: Dialect) -> Any:
    keras = load_keras(dialect)
    return keras.Sequential([keras.layers.Input((8, 8)), keras.layers.Flatten(), keras.layers.Dense(1)])


def fault_of(dialect: Dialect, data: FitData | None = None, **kwargs: Any) -> str:
    with pytest.raises(ModelError) as caught:
        trained(dialect, data, **kwargs)
    return str(caught.value)


def rows(dataset: Any) -> list[list[int]]:
    return [labels.numpy().tolist() for _features, labels in dataset]


def numbered(total: int) -> FitData:
    return fit_data(Samples(np.arange(total, dtype=np.float32).reshape(-1, 1), np.arange(total)), validation_rate=0.3)


def test_batches_keep_the_streams_order() -> None:
    assert rows(numbered(10).dataset(range(7), 3)) == [[0, 1, 2], [3, 4, 5], [6]]
    assert rows(numbered(10).dataset(range(7, 10), 2)) == [[7, 8], [9]]


def test_batches_pair_features_with_their_labels_when_shuffled() -> None:
    for features, labels in numbered(50).dataset(range(10, 50), 8, shuffle_seed=SEED):
        assert features.numpy()[:, 0].tolist() == labels.numpy().tolist()


def test_a_shuffled_epoch_is_another_order_of_the_same_samples_and_comes_again_with_its_seed() -> None:
    dataset = numbered(60).dataset(range(10, 60), 8, shuffle_seed=SEED)
    first, second = ([label for row in rows(dataset) for label in row] for _ in range(2))
    assert sorted(first) == sorted(second) == list(range(10, 60))
    assert first != second != list(range(10, 60))
    assert [len(row) for row in rows(dataset)] == [8, 8, 8, 8, 8, 8, 2]
    again = numbered(60).dataset(range(10, 60), 8, shuffle_seed=SEED)
    assert [label for row in rows(again) for label in row] == first


def test_repeated_batches_start_again() -> None:
    assert rows(numbered(5).dataset(range(3), 2, repeat=True).take(4)) == [[0, 1], [2], [0, 1], [2]]


def test_text_is_handed_on() -> None:
    samples = Samples(np.array([b"one", b"two"], dtype=object), np.array([0, 1]))
    assert [features.numpy().tolist() for features, _labels in fit_data(samples, validation_rate=0).dataset(range(2), 2)] == [
        [b"one", b"two"]
    ]


@pytest.mark.parametrize("dialect", DIALECTS)
def test_every_epoch_reports_training_and_validation(dialect: Dialect) -> None:
    with noted() as events:
        metrics = trained(dialect, epochs=3)
    assert {name: len(values) for name, values in metrics.training.items()} == {"loss": 3, "accuracy": 3}
    losses = [event.numbers["loss"] for event in events if isinstance(event, EpochDone)]
    assert losses == metrics.training["loss"]
    assert set(metrics.validation) == {"loss", "accuracy"}
    assert None not in metrics.validation["loss"]
    assert metrics.test is None


@pytest.mark.parametrize("dialect", DIALECTS)
def test_without_validation_samples_the_twins_are_null(dialect: Dialect) -> None:
    metrics = trained(dialect, digits(validation_rate=0), epochs=2, validation_steps=3)
    assert metrics.validation == {"loss": [None, None], "accuracy": [None, None]}


@pytest.mark.parametrize("dialect", DIALECTS)
def test_test_samples_are_evaluated_after_the_fit(dialect: Dialect) -> None:
    metrics = trained(dialect, digits(test_rate=0.1))
    assert metrics.test is not None
    assert {name: len(values) for name, values in metrics.test.items()} == {"loss": 1, "accuracy": 1}


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize(
    ("kwargs", "epochs"),
    [
        ({"epochs": "3"}, 3),
        ({"epochs": 2.0}, 2),
        ({"epochs": 5, "initial_epoch": 3}, 2),
        ({}, 1),
        ({"epochs": None}, 1),
        ({"epochs": 2, "class_weight": {str(label): 1.0 + label for label in range(10)}}, 2),
        ({"epochs": 2, "class_weight": {}}, 2),
        ({"epochs": 2, "class_weight": {"2": 0.5}}, 2),
        ({"epochs": 2, "verbose": "0"}, 2),
        ({"epochs": 2, "shuffle": True}, 2),
        ({"epochs": 2, "steps_per_epoch": 25}, 2),
        ({"epochs": 2, "steps_per_epoch": "3"}, 2),
        ({"epochs": 2, "validation_batch_size": 7}, 2),
        ({"epochs": 2, "validation_steps": 9}, 2),
    ],
)
def test_what_fit_knows_is_honoured(dialect: Dialect, kwargs: dict[str, Any], epochs: int) -> None:
    metrics = trained(dialect, **kwargs)
    assert len(metrics.training["loss"]) == epochs
    assert None not in metrics.validation["loss"]


@pytest.mark.parametrize("dialect", DIALECTS)
def test_epochs_of_none_report_a_loss_of_null(dialect: Dialect) -> None:
    assert trained(dialect, epochs=0) == Metrics(training={"loss": [None]}, validation={"loss": [None]})


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize(
    "kwargs", [{}, {"steps_per_epoch": 3}, {"steps_per_epoch": 32, "validation_steps": 12}, {"shuffle": True}]
)
def test_many_steps_in_one_call_learn_what_single_steps_do(
    dialect: Dialect, kwargs: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    many = trained(dialect, epochs=2, **kwargs)
    monkeypatch.setattr(training.fit, "MOST_STEPS", 1)
    assert trained(dialect, epochs=2, **kwargs) == many


@pytest.mark.parametrize(
    ("options", "steps"),
    [
        ({}, 16),
        ({"steps_per_epoch": 32}, 16),
        ({"steps_per_epoch": 20}, 10),
        ({"steps_per_epoch": 20, "validation_steps": 6}, 2),
        ({"validation_steps": 17}, 1),
        ({"steps_per_epoch": 5}, 5),
    ],
)
def test_steps_at_a_time_divide_the_steps_that_are_asked_for(options: dict[str, int], steps: int) -> None:
    assert steps_at_a_time(options) == steps


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("shuffle", [True, False])
def test_a_stream_on_disk_is_trained_as_one_in_memory(dialect: Dialect, *, shuffle: bool, tmp_path: Path) -> None:
    on_disk = FitData(kept(golden.samples(), memory_bytes=1, folder=tmp_path), digits(test_rate=0.1).split, Stop())
    assert on_disk.kept.maps
    assert trained(dialect, on_disk, epochs=2, shuffle=shuffle) == trained(
        dialect, digits(test_rate=0.1), epochs=2, shuffle=shuffle
    )


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("shuffle", [True, False])
def test_a_fit_that_is_stopped_ends_after_the_batch_in_hand_and_the_one_after_it(dialect: Dialect, *, shuffle: bool) -> None:
    keras = load_keras(dialect)
    wide = [keras.layers.Dense(2048, activation="relu") for _ in range(2)]  # so that a step lasts
    model = keras.Sequential(
        [keras.layers.Input((8, 8)), keras.layers.Flatten(), *wide, keras.layers.Dense(10, activation="softmax")]
    )
    message, arrays = announced(
        model,
        training_settings={"batch": 100, "kwargs_fit": {"epochs": 1000, "shuffle": shuffle}},
        model_compile_args=compile_args(optimizer="sgd"),
    )
    trainable = KafkaModelEngine(lambda _message: arrays).load(message, SEED)
    rows, flag = np.arange(64 * 100) % 400, Stop()
    data = fit_data(Samples(golden.samples().features[rows], golden.samples().labels[rows]), validation_rate=0, stop=flag)
    steps = trainable.model.optimizer.iterations
    seen = []

    def stop() -> None:
        while int(steps.numpy()) < 3:
            time.sleep(0.01)
        flag.set()
        seen.append(int(steps.numpy()))

    stopping = threading.Thread(target=stop)
    stopping.start()
    with pytest.raises(ModelError, match="the worker is to stop"):
        fit(trainable, data, message, SEED)
    stopping.join()
    done = int(steps.numpy()) - seen[0]
    assert done <= 1 + PREFETCHED


@pytest.mark.parametrize("dialect", DIALECTS)
def test_steps_beyond_the_stream_repeat_it(dialect: Dialect) -> None:
    # 320 samples in batches of 32 are 10 steps: 20 steps are the stream twice, as two epochs are.
    once = trained(dialect, epochs=1, steps_per_epoch=20)
    twice = trained(dialect, epochs=2)
    assert once.validation["loss"][-1] == pytest.approx(twice.validation["loss"][-1], abs=1e-6)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_class_weights_change_what_is_learnt(dialect: Dialect) -> None:
    weighted = trained(dialect, class_weight={str(label): float(label == 3) for label in range(10)})
    assert weighted.training["loss"] != trained(dialect).training["loss"]


@pytest.mark.parametrize("dialect", DIALECTS)
def test_kwargs_val_reach_fit(dialect: Dialect) -> None:
    metrics = trained(dialect, epochs=3, kwargs_val={"validation_freq": 2})
    assert [loss is None for loss in metrics.validation["loss"]] == [True, False, True]


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize(
    ("kwargs", "fault"),
    [
        (
            {"epohcs": 3},
            "training_settings.kwargs_fit.epohcs: fit of {keras} does not know it; it knows class_weight, epochs, ",
        ),
        ({"epochs": "many"}, "training_settings.kwargs_fit.epochs: expected int >= 0, received 'many' (str)"),
        ({"epochs": 2.5}, "training_settings.kwargs_fit.epochs: expected int >= 0, received 2.5 (float)"),
        ({"epochs": True}, "training_settings.kwargs_fit.epochs: expected int >= 0, received True (bool)"),
        ({"steps_per_epoch": 0}, "training_settings.kwargs_fit.steps_per_epoch: expected int >= 1, received 0 (int)"),
        ({"shuffle": "yes"}, "training_settings.kwargs_fit.shuffle: expected true or false, received 'yes' (str)"),
        ({"class_weight": [1]}, "training_settings.kwargs_fit.class_weight: expected an object from class to weight"),
        ({"batch_size": 3}, "training_settings.kwargs_fit.batch_size: leave it out, training_settings.batch sets it"),
        (
            {"validation_split": 0.1},
            "training_settings.kwargs_fit.validation_split: leave it out, VALIDATION_RATE takes it from the stream",
        ),
        ({"callbacks": []}, "training_settings.kwargs_fit.callbacks: leave it out, a callback is code, which does not travel"),
        (
            {"validation_freq": 2, "kwargs_val": {"validation_freq": 3}},
            "training_settings.kwargs_val.validation_freq: kwargs_fit has 2, received 3",
        ),
    ],
)
def test_what_fit_cannot_honour_is_named(dialect: Dialect, kwargs: dict[str, Any], fault: str) -> None:
    found = fault_of(dialect, **kwargs)
    assert found.startswith(fault.format(keras=dialect.value))
    assert found.endswith(f", at {PLACE}")


def test_what_keras_2_alone_knows_is_honoured_there_and_named_elsewhere() -> None:
    assert len(trained(Dialect.KERAS_2, max_queue_size="4", workers=1).training["loss"]) == 1
    assert fault_of(Dialect.KERAS_3, workers=1).startswith(
        "training_settings.kwargs_fit.workers: fit of Keras 3 does not know it; it knows "
    )


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_model_that_does_not_fit_the_stream_is_an_error_that_shows_both(dialect: Dialect) -> None:
    images = golden.samples()
    flat = Samples(images.features.reshape(400, 64)[:, :60], images.labels)
    fault = fault_of(dialect, fit_data(flat, validation_rate=0))
    assert fault.startswith(
        f"{dialect.value} cannot fit the model to the stream: model inputs (None, 8, 8), outputs (None, 10); "
        "stream features (400, 60) float32, labels (400,) uint8; "
    )
    assert fault.endswith(f"at {PLACE}. Do INPUT_CONFIG's types and reshapes, the loss and kwargs_fit suit the model?")


def test_a_log_gets_a_line_an_epoch(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    trained(Dialect.KERAS_3, epochs=2)
    lines = [record.getMessage() for record in caplog.records if record.getMessage().startswith("epoch ")]
    assert [line.split(" seconds=")[0] for line in lines] == ["epoch 1/2", "epoch 2/2"]
    assert all("loss=" in line and "val_accuracy=" in line for line in lines)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_fit_that_diverged_names_the_first_array_and_sends_nothing(dialect: Dialect) -> None:
    images = golden.samples()
    features = images.features.copy()
    features[5] = np.nan
    fault = fault_of(dialect, fit_data(Samples(features, images.labels), validation_rate=0))
    assert fault.startswith("the fit diverged: array 0 (")
    assert "/kernel) holds NaN or infinity, and is not sent; lower the learning rate" in fault


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_learning_rate_that_diverges_names_the_first_array(dialect: Dialect) -> None:
    fault = fault_of(dialect, compiled={"optimizer": sgd(learning_rate=1e30)}, epochs=2)
    assert fault.startswith("the fit diverged: array 0 (")


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_loss_may_diverge_before_the_weights_do(dialect: Dialect) -> None:
    # Gradients are cut off at 1, so the weights stay below 1e22, whose square is beyond float32.
    compiled = {"optimizer": sgd(learning_rate=1e20, clipvalue=1.0), "loss": "mse", "metrics": ["mae"]}
    metrics = trained(dialect, compiled=compiled, model=regression(dialect), epochs=2)
    assert metrics.training["loss"][-1] == np.inf
    with pytest.raises(DivergedError, match=r"^the fit diverged: the loss of its last epoch is inf, "):
        check_loss(metrics)
    assert metrics.as_json()["training"]["loss"][-1] is None


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_round_after_one_that_diverged_is_as_if_it_were_the_first(dialect: Dialect) -> None:
    model = classifier(dialect, "Dropout", "BatchNormalization")
    message, arrays = announced(
        model,
        training_settings={"batch": 32, "kwargs_fit": {"epochs": 2}},
        model_compile_args=compile_args(optimizer=sgd(learning_rate=0.1, momentum=0.9)),
    )
    features = golden.samples().features.copy()
    features[7] = np.nan
    spoilt, engine = fit_data(Samples(features, golden.samples().labels)), KafkaModelEngine(lambda _message: arrays)
    after = []
    for data in (digits(), spoilt, digits()):
        trainable = engine.load(message, SEED)
        metrics = fit(trainable, data, message, SEED)
        if data is spoilt:
            with pytest.raises(DivergedError):
                trainable.trained_arrays()
        else:
            after.append((metrics, trainable.trained_arrays()))
    assert after[0][0] == after[1][0]
    for one, other in zip(after[0][1], after[1][1], strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_metric_of_several_numbers_is_named(dialect: Dialect) -> None:
    f1 = {"class_name": "F1Score", "config": {"name": "f1"}}
    images = golden.samples()
    one_hot = fit_data(Samples(images.features, np.eye(10, dtype=np.float32)[images.labels]), validation_rate=0)
    fault = fault_of(dialect, one_hot, compiled={"loss": "categorical_crossentropy", "metrics": [f1]})
    assert fault == (
        "model_compile_args.metrics: f1 gives 10 numbers an epoch, and a reply has one; average them "
        f'(for an F1Score "average": "macro"), at {PLACE}'
    )


@pytest.mark.parametrize("dialect", DIALECTS)
def test_what_keras_says_of_a_misfit_is_one_line_that_holds_the_cause(dialect: Dialect) -> None:
    images = golden.samples()
    beyond = fit_data(Samples(images.features, images.labels + 30), validation_rate=0)
    fault = fault_of(dialect, beyond)
    assert "\n" not in fault
    assert 'File "' not in fault
    assert "valid range of [0, 10)" in fault


def test_classes_without_a_weight_weigh_one() -> None:
    assert complete_class_weight({1: 0.5}, 4, PLACE) == {0: 1.0, 1: 0.5, 2: 1.0, 3: 1.0}


@pytest.mark.parametrize("label", ["10", "-1", "30000000"])
def test_a_weight_of_a_class_that_the_model_does_not_have_is_refused(label: str) -> None:
    assert fault_of(Dialect.KERAS_3, class_weight={label: 2.0}) == (
        f"training_settings.kwargs_fit.class_weight: expected classes 0 to 9, received {label}, at {PLACE}"
    )
