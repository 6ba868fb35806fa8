"""A model message and its weights become a compiled model of the sender's Keras."""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from KafkaModelEngine import KafkaModelEngine
from protocol.architecture import Dialect
from protocol.errors import ModelError
from protocol.messages import ModelMessage, parse_model_message
from protocol.records import Array
from protocol.weights import load_arrays
from tests.support import golden
from tests.support.messages import PLACE
from tests.support.models import DIALECTS, announced, classifier
from tests.support.streams import fit_data
from training.dialects import TrainableModel, load_keras
from training.fit import fit

SEED = 7


def load(message: ModelMessage, arrays: Sequence[Array]) -> TrainableModel:
    return KafkaModelEngine(lambda _message: arrays).load(message, SEED)


def fault_of(message: ModelMessage, arrays: Sequence[Array]) -> str:
    with pytest.raises(ModelError) as caught:
        load(message, arrays)
    return str(caught.value)


def captured(name: str, kind: str, version_index: int) -> list[Array]:
    records = golden.records(name, kind)
    half = len(records) // 2
    return load_arrays([(one.key, one.value, "") for one in records[version_index * half : (version_index + 1) * half]])


@pytest.mark.parametrize("name", golden.DETERMINISTIC)
@pytest.mark.parametrize("version_index", [0, 1])
def test_the_captured_rounds_are_reached(name: str, version_index: int) -> None:
    message = parse_model_message(golden.records(name, "model_control")[version_index].value, PLACE)
    trainable = load(message, captured(name, "model_data", version_index))
    metrics = fit(trainable, fit_data(golden.samples()), message, SEED)
    expected = json.loads(golden.records(name, "agg_control")[version_index].value)["metrics"]
    assert list(metrics.training) == list(expected["training"])
    for part, reached in (("training", metrics.training), ("validation", metrics.validation)):
        for metric, numbers in expected[part].items():
            np.testing.assert_allclose(reached[metric], numbers, rtol=0, atol=1e-6)  # type: ignore[arg-type]
    for reached_array, array in zip(trainable.trained_arrays(), captured(name, "agg_data", version_index), strict=True):
        np.testing.assert_allclose(reached_array, array, rtol=0, atol=1e-6)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_weights_keep_the_order_of_the_sender(dialect: Dialect) -> None:
    message, arrays = announced(classifier(dialect, "BatchNormalization", "LayerNormalization"))
    numbered = [np.full(array.shape, index, array.dtype) for index, array in enumerate(arrays)]
    trainable = load(message, numbered)
    assert trainable.keras is load_keras(dialect)
    assert [float(array.flat[0]) for array in trainable.trained_arrays()] == list(range(len(arrays)))


def test_seed_states_of_keras_3_are_no_weights() -> None:
    model = classifier(Dialect.KERAS_3, "Dropout")
    message, arrays = announced(model)
    assert len(load(message, arrays).trained_arrays()) == len(arrays) == 4 < len(model.variables)


@pytest.mark.parametrize("version", ["2.7.0", "2.15.0"])
def test_a_keras_2_model_with_and_without_module_keys_goes_to_tf_keras(version: str) -> None:
    model = classifier(Dialect.KERAS_2)
    message, arrays = announced(model)
    written = json.loads(message.architecture if version == "2.7.0" else model.to_json())
    changed = json.dumps(written | {"keras_version": version})
    loaded = load(announced(model)[0].__class__(**{**_fields(message), "architecture": changed}), arrays)
    assert loaded.dialect is Dialect.KERAS_2


def _fields(message: ModelMessage) -> dict[str, Any]:
    return {name: getattr(message, name) for name in message.__dataclass_fields__}


@pytest.mark.parametrize("dialect", DIALECTS)
def test_every_array_that_differs_is_named_and_compared(dialect: Dialect) -> None:
    message, arrays = announced(classifier(dialect))
    wrong = [array.T if array.ndim == 2 else array for array in arrays]
    fault = fault_of(message, wrong)
    layers = ("dense", "dense_1")
    assert "received (16, 64) float32, the architecture wants (64, 16) float32" in fault
    assert "received (10, 16) float32, the architecture wants (16, 10) float32" in fault
    assert fault.startswith("weights: array 0 (")
    assert "; array 2 (" in fault
    assert "/kernel)" in fault
    assert layers[0] in fault
    assert fault.endswith(f"in {message.spec}, at {PLACE}")


@pytest.mark.parametrize("dialect", DIALECTS)
def test_too_few_arrays_are_counted(dialect: Dialect) -> None:
    message, arrays = announced(classifier(dialect))
    assert fault_of(message, arrays[:3]) == (
        f"weights: received 3 arrays in {message.spec}, the architecture wants 4, at {PLACE}"
    )


@pytest.mark.parametrize("dialect", DIALECTS)
def test_numbers_of_another_kind_are_refused(dialect: Dialect) -> None:
    message, arrays = announced(classifier(dialect))
    odd = [np.full(arrays[0].shape, 2**53 + 1, np.int64), *arrays[1:]]
    assert "received (64, 16) int64, the architecture wants (64, 16) float32" in fault_of(message, odd)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_an_average_in_float64_is_trained_in_the_architectures_float32(
    dialect: Dialect, caplog: pytest.LogCaptureFixture
) -> None:
    message, arrays = announced(classifier(dialect))
    trainable = load(message, [array.astype(np.float64) for array in arrays])
    assert {str(array.dtype) for array in trainable.trained_arrays()} == {"float32"}
    assert "is announced as float64, trained as float32" in caplog.text


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("odd", [np.nan, np.inf, 1e300])
def test_numbers_that_are_not_finite_among_announced_weights_are_refused(dialect: Dialect, odd: float) -> None:
    message, announced_arrays = announced(classifier(dialect))
    arrays = [array.astype(np.float64) for array in announced_arrays]
    arrays[1][3] = odd
    fault = fault_of(message, arrays)
    assert "array 1 (" in fault
    assert "received NaN or infinity among its numbers" in fault


@pytest.mark.parametrize("dialect", DIALECTS)
def test_bfloat16_weights_are_set(dialect: Dialect) -> None:
    keras = load_keras(dialect)
    message, arrays = announced(keras.Sequential([keras.layers.Input((3,)), keras.layers.Dense(2, dtype="bfloat16")]))
    trainable = load(message, arrays)
    assert [str(array.dtype) for array in trainable.trained_arrays()] == ["bfloat16", "bfloat16"]


@pytest.mark.parametrize("dialect", DIALECTS)
def test_variables_without_axes_are_set(dialect: Dialect) -> None:
    keras = load_keras(dialect)
    model = keras.Sequential([keras.layers.Input((3,)), keras.layers.Normalization(), keras.layers.Dense(2)])
    message, arrays = announced(model)
    assert () in [array.shape for array in arrays]
    counted = [np.array(5, array.dtype) if array.shape == () else array for array in arrays]
    assert [int(array) for array in load(message, counted).trained_arrays() if array.shape == ()] == [5]


@pytest.mark.parametrize("dialect", DIALECTS)
def test_an_average_of_integers_that_became_float_is_set_where_it_is_whole(dialect: Dialect) -> None:
    keras = load_keras(dialect)
    message, arrays = announced(keras.Sequential([keras.layers.Input((3,)), keras.layers.Normalization()]))
    counters = [index for index, array in enumerate(arrays) if array.dtype.kind == "i"]
    averaged = [np.full(array.shape, 4.0) if index in counters else array for index, array in enumerate(arrays)]
    assert [int(load(message, averaged).trained_arrays()[index]) for index in counters] == [4 for _ in counters]


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_class_that_keras_does_not_have_is_named(dialect: Dialect) -> None:
    message, arrays = announced(classifier(dialect))
    changed = message.architecture.replace('"Flatten"', '"Squash"')
    fault = fault_of(message.__class__(**{**_fields(message), "architecture": changed}), arrays)
    assert fault.startswith(f"model_architecture: {dialect.value} cannot load it: ")
    assert "Squash" in fault
    assert fault.endswith(f"at {PLACE}")


def test_a_model_without_input_shape_is_refused() -> None:
    keras = load_keras(Dialect.KERAS_2)
    unbuilt = keras.Sequential([keras.layers.Dense(2)])
    message, _arrays = announced(classifier(Dialect.KERAS_2))
    fault = fault_of(message.__class__(**{**_fields(message), "architecture": unbuilt.to_json()}), [])
    assert fault == f"model_architecture: it names no input shape, so it has no weights to set, at {PLACE}"


@pytest.mark.parametrize("dialect", DIALECTS)
def test_loading_twice_with_one_seed_trains_the_same(dialect: Dialect) -> None:
    message, arrays = announced(
        classifier(dialect, "Dropout"),
        training_settings={"batch": 32, "kwargs_fit": {"epochs": 2, "shuffle": True}},
    )
    data = fit_data(golden.samples())
    reached = []
    for _ in range(2):
        trainable = load(message, arrays)
        reached.append((fit(trainable, data, message, SEED), trainable.trained_arrays()))
    assert reached[0][0] == reached[1][0]
    for one, other in zip(reached[0][1], reached[1][1], strict=True):
        np.testing.assert_array_equal(one, other)
