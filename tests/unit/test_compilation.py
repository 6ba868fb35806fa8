"""Compile arguments are honoured in every shape that Keras writes, or refused by the name of the field."""

import json
from typing import Any

import numpy as np
import pytest

from protocol.architecture import Dialect
from protocol.errors import ModelError
from tests.support.messages import PLACE
from tests.support.models import DIALECTS, classifier, compile_args, two_outputs
from training.compilation import Compilation
from training.dialects import load_keras

KERAS_2, KERAS_3 = Dialect.KERAS_2, Dialect.KERAS_3
X, Y = np.zeros((4, 8, 8), np.float32), np.zeros(4, np.uint8)


def arguments(dialect: Dialect, model: Any = None, **changes: Any) -> dict[str, Any]:
    model = model or classifier(dialect)
    return Compilation(load_keras(dialect), dialect, PLACE).arguments(model, compile_args(**changes))


def history_names(dialect: Dialect, model: Any = None, **changes: Any) -> set[str]:
    """What a model compiled with these arguments reports of a step."""
    model = model or classifier(dialect)
    model.compile(**arguments(dialect, model, **changes))
    return set(model.fit(X, Y if len(model.outputs) == 1 else [Y] * len(model.outputs), verbose=0).history)


def fault_of(dialect: Dialect, model: Any = None, **changes: Any) -> str:
    with pytest.raises(ModelError) as caught:
        arguments(dialect, model, **changes)
    assert str(caught.value).endswith(f", at {PLACE}")
    return str(caught.value)


def test_a_keras_2_optimizer_with_decay_decays() -> None:
    config = {"name": "Adam", "learning_rate": 0.01, "decay": 0.5}
    optimizer = arguments(KERAS_2, optimizer={"class_name": "Adam", "config": config})["optimizer"]
    assert optimizer.get_config()["decay"] == 0.5


def test_keras_2_calls_its_own_optimizers_registered_ones() -> None:
    keras = load_keras(KERAS_2)
    written = keras.optimizers.serialize(keras.optimizers.Adam(0.01), use_legacy_format=True)
    assert written["class_name"] == "Custom>Adam"
    optimizer = arguments(KERAS_2, optimizer=json.loads(json.dumps(written, default=float)))["optimizer"]
    assert isinstance(optimizer, keras.optimizers.Adam)


def test_decay_that_keras_3_would_drop_in_silence_is_refused() -> None:
    config = {"name": "Adam", "learning_rate": 0.01, "decay": 0.5}
    with pytest.warns(UserWarning, match="`decay` is no longer supported"):
        fault = fault_of(KERAS_3, optimizer={"class_name": "Adam", "config": config})
    assert fault.startswith(
        "model_compile_args.optimizer.config.decay: Keras 3 has no decay of 0.5; give an InverseTimeDecay schedule as learning_rate"
    )


@pytest.mark.filterwarnings("ignore:Argument `decay`")
def test_decay_of_nothing_is_honoured_by_both() -> None:
    optimizer = {"class_name": "SGD", "config": {"name": "SGD", "learning_rate": 0.25, "decay": 0.0}}
    for dialect in DIALECTS:
        assert float(np.asarray(arguments(dialect, optimizer=optimizer)["optimizer"].learning_rate)) == 0.25


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("name", ["adam", "sgd", "RMSprop"])
def test_an_optimizer_can_be_a_name(dialect: Dialect, name: str) -> None:
    assert type(arguments(dialect, optimizer=name)["optimizer"]).__name__.lower() == name.lower()


@pytest.mark.parametrize(
    ("dialect", "schedule"),
    [
        (
            KERAS_2,
            {"class_name": "ExponentialDecay", "config": {"initial_learning_rate": 0.1, "decay_steps": 10, "decay_rate": 0.5}},
        ),
        (
            KERAS_3,
            {
                "module": "keras.optimizers.schedules",
                "class_name": "ExponentialDecay",
                "config": {"initial_learning_rate": 0.1, "decay_steps": 10, "decay_rate": 0.5, "staircase": False, "name": "e"},
                "registered_name": None,
            },
        ),
    ],
)
def test_a_learning_rate_can_be_a_schedule(dialect: Dialect, schedule: dict[str, Any]) -> None:
    optimizer = arguments(dialect, optimizer={"class_name": "Adam", "config": {"name": "Adam", "learning_rate": schedule}})[
        "optimizer"
    ]
    schedule_made = optimizer._learning_rate if dialect is KERAS_3 else optimizer.get_config()["learning_rate"]
    config = schedule_made.get_config() if dialect is KERAS_3 else schedule_made["config"]
    assert (config["initial_learning_rate"], config["decay_steps"], config["decay_rate"]) == (0.1, 10, 0.5)


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize(
    "loss",
    [
        "sparse_categorical_crossentropy",
        {
            "module": "builtins",
            "class_name": "function",
            "config": "sparse_categorical_crossentropy",
            "registered_name": "function",
        },
        ["sparse_categorical_crossentropy"],
    ],
)
def test_a_loss_can_be_a_name_a_function_or_a_list(dialect: Dialect, loss: Any) -> None:
    assert history_names(dialect, loss=loss) == {"loss", "accuracy"}


@pytest.mark.parametrize(("dialect", "reduction"), [(KERAS_2, "auto"), (KERAS_3, "sum_over_batch_size")])
def test_a_loss_can_be_an_object(dialect: Dialect, reduction: str) -> None:
    loss = {"class_name": "SparseCategoricalCrossentropy", "config": {"reduction": reduction, "name": "x", "ignore_class": 7}}
    made = arguments(dialect, loss=loss)["loss"]
    assert (made.get_config()["name"], made.get_config()["ignore_class"]) == ("x", 7)
    assert history_names(dialect, loss=loss) == {"loss", "accuracy"}


@pytest.mark.parametrize("dialect", DIALECTS)
def test_losses_can_be_a_dict_by_output_with_weights_as_a_list(dialect: Dialect) -> None:
    losses = {"edge": "sparse_categorical_crossentropy", "cloud": "sparse_categorical_crossentropy"}
    names = history_names(dialect, two_outputs(dialect), loss=losses, loss_weights=[0.1, 0.9])
    assert {"loss", "edge_loss", "cloud_loss", "edge_accuracy", "cloud_accuracy"} == names


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize(
    "metrics",
    [
        ["accuracy"],
        [["accuracy"], ["accuracy"]],
        {"edge": ["accuracy"], "cloud": "accuracy"},
    ],
)
def test_metrics_of_two_outputs_come_in_every_shape(dialect: Dialect, metrics: Any) -> None:
    names = history_names(dialect, two_outputs(dialect), loss=["sparse_categorical_crossentropy"] * 2, metrics=metrics)
    assert {"edge_accuracy", "cloud_accuracy"} <= names


@pytest.mark.parametrize("dialect", DIALECTS)
def test_metrics_can_be_names_and_objects(dialect: Dialect) -> None:
    top = {"class_name": "SparseTopKCategoricalAccuracy", "config": {"name": "top3", "k": 3}}
    assert history_names(dialect, metrics=["accuracy", top, "sparse_categorical_crossentropy"]) == {
        "loss",
        "accuracy",
        "top3",
        "sparse_categorical_crossentropy",
    }


@pytest.mark.parametrize("dialect", DIALECTS)
def test_metrics_can_be_null(dialect: Dialect) -> None:
    assert history_names(dialect, metrics=[None, "accuracy"]) == {"loss", "accuracy"}
    assert history_names(dialect, metrics=None, weighted_metrics=None, loss_weights=None) == {"loss"}


@pytest.mark.parametrize("dialect", DIALECTS)
def test_weighted_metrics_are_honoured(dialect: Dialect) -> None:
    assert history_names(dialect, metrics=None, weighted_metrics=["accuracy"]) == {"loss", "accuracy"}


@pytest.mark.parametrize("dialect", DIALECTS)
def test_what_compile_knows_beyond_the_contract_is_handed_on(dialect: Dialect) -> None:
    made = arguments(dialect, run_eagerly=True, jit_compile=None)
    assert made["run_eagerly"] is True
    assert "jit_compile" not in made


@pytest.mark.parametrize("dialect", DIALECTS)
def test_steps_per_execution_change_nothing_that_is_learnt_and_are_the_workers_own(dialect: Dialect) -> None:
    assert "steps_per_execution" not in arguments(dialect, steps_per_execution="auto")


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"optimizer": "adamx"}, "model_compile_args.optimizer: {keras} cannot make 'adamx': "),
        ({"optimizer": {"class_name": "Adamx", "config": {}}}, "model_compile_args.optimizer: {keras} knows no 'Adamx'"),
        (
            {"optimizer": {"class_name": "Adam", "config": {"learning_rate": 0.01, "foo": 1}}},
            "model_compile_args.optimizer: {keras} cannot make ",
        ),
        ({"optimizer": None}, "model_compile_args.optimizer: missing"),
        ({"loss": None}, "model_compile_args.loss: missing"),
        (
            {"optimizer": {"class_name": "Adam", "config": []}},
            "model_compile_args.optimizer: expected a name or an object with class_name and config, received {{'class_name': 'Adam'",
        ),
        ({"optimizer": 3}, "model_compile_args.optimizer: expected a name or an object with class_name and config, received 3"),
        ({"loss": "msex"}, "model_compile_args.loss: {keras} cannot make 'msex': "),
        ({"loss": {"class_name": "Foo", "config": {}}}, "model_compile_args.loss: {keras} knows no 'Foo'"),
        ({"loss": {"there": "mse"}}, "model_compile_args.loss: the model has the outputs "),
        ({"loss": ["mse", "msex"]}, "model_compile_args.loss.1: {keras} cannot make 'msex': "),
        (
            {"metrics": ["accuracy", {"class_name": "Foo", "config": {}}]},
            "model_compile_args.metrics.1: {keras} knows no 'Foo'",
        ),
        (
            {"metrics": [["accuracy", 7]]},
            "model_compile_args.metrics.0.1: expected a name or an object with class_name and config, received 7",
        ),
        ({"weighted_metrics": ["foo"]}, "model_compile_args.weighted_metrics.0: {keras} "),
        (
            {"loss_weights": [0.5, 0.5]},
            "model_compile_args.loss_weights: expected a number for each of the 1 outputs, received [0.5, 0.5]",
        ),
        ({"loss_weights": {"there": 1.0}}, "model_compile_args.loss_weights: the model has the outputs "),
        ({"colour": "blue"}, "model_compile_args.colour: compile of {keras} does not know it; it knows "),
    ],
)
def test_what_cannot_be_honoured_is_named(dialect: Dialect, changes: dict[str, Any], fault: str) -> None:
    assert fault_of(dialect, **changes).startswith(fault.format(keras=dialect.value))


@pytest.mark.parametrize("missing", ["optimizer", "loss"])
def test_a_missing_argument_is_named(missing: str) -> None:
    args = {name: value for name, value in compile_args().items() if name != missing}
    with pytest.raises(ModelError, match=f"^model_compile_args.{missing}: missing, at "):
        Compilation(load_keras(KERAS_3), KERAS_3, PLACE).arguments(classifier(KERAS_3), args)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_function_of_python_is_refused_as_a_loss(dialect: Dialect) -> None:
    fault = fault_of(dialect, loss={"module": "builtins", "class_name": "function", "config": "print"})
    assert fault.startswith(
        "model_compile_args: the function builtins.print is outside of Keras; a function is code, which does not"
    )
