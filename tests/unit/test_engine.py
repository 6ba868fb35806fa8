"""A model message and its weights become a compiled model of the sender's Keras."""

import json
import re
import signal
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from KafkaModelEngine import KafkaModelEngine
from protocol.architecture import Dialect
from protocol.errors import ModelError
from protocol.messages import ModelMessage, parse_model_message
from protocol.metrics import collect
from protocol.records import Array
from protocol.weights import load_arrays
from tests.support import golden, watch
from tests.support.messages import PLACE
from tests.support.models import DIALECTS, announced, classifier, compile_args
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
    metrics = collect(fit(trainable, fit_data(golden.samples()), message, SEED))
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


def engine_of(arrays: Sequence[Array], **changes: Any) -> KafkaModelEngine:
    return KafkaModelEngine(lambda _message: arrays, **changes)


def with_architecture(message: ModelMessage, architecture: str) -> ModelMessage:
    return message.__class__(**{**_fields(message), "architecture": architecture})


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_lambda_is_trained_where_the_operator_allows_it_and_refused_elsewhere(dialect: Dialect) -> None:
    keras = load_keras(dialect)
    double = lambda x: x * 2.0  # noqa: E731 - a function with a name would not travel
    doubled = keras.Sequential(
        [
            keras.layers.Input((8, 8)),
            keras.layers.Flatten(),
            keras.layers.Lambda(double),
            keras.layers.Dense(10, activation="softmax"),
        ]
    )
    message, arrays = announced(doubled, training_settings={"batch": 32, "kwargs_fit": {"epochs": 1}})
    trainable = engine_of(arrays, allows_code=True).load(message, SEED)
    inputs = golden.samples().features[:5]
    np.testing.assert_allclose(trainable.model.predict(inputs, verbose=0), doubled.predict(inputs, verbose=0), atol=1e-6)
    fit(trainable, fit_data(golden.samples()), message, SEED)
    assert not np.array_equal(trainable.trained_arrays()[0], arrays[0])
    fault = fault_of(message, arrays)
    assert fault == f"model_architecture: a Lambda carries code; ALLOW_MODEL_CODE=true lets a model run code here, at {PLACE}"


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_custom_class_is_refused_by_its_name(dialect: Dialect) -> None:
    keras = load_keras(dialect)

    @keras.utils.register_keras_serializable(package="mine")
    class Squared(keras.layers.Layer):  # type: ignore[misc, name-defined]
        def call(self, inputs: Any) -> Any:
            return inputs * inputs

    model = keras.Sequential([keras.layers.Input((8,)), Squared(), keras.layers.Dense(2)])
    message, arrays = announced(model)
    fault = fault_of(with_architecture(message, model.to_json()), arrays)
    assert "Squared" in fault
    assert "a custom class" in fault
    assert "is code, which does not travel" in fault


HUGE = 10**12


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("kind", ["Dense", "LSTM", "Embedding"])
def test_an_architecture_of_more_numbers_than_its_weights_makes_no_variable_of_them(
    dialect: Dialect,
    kind: str,
    nested: bool,  # noqa: FBT001 - a row
) -> None:
    layers = load_keras(dialect).layers
    makers: dict[str, tuple[Callable[[], Any], str]] = {
        "Dense": (lambda: layers.TimeDistributed(layers.Dense(77)), '"units": 77'),
        "LSTM": (lambda: layers.Bidirectional(layers.LSTM(77)), '"units": 77'),
        "Embedding": (lambda: layers.Embedding(77, 2), '"input_dim": 77'),
    }
    make, own = makers[kind]
    layer = make()
    keras = load_keras(dialect)
    inputs = keras.layers.Input((8,) if kind == "Embedding" else (8, 4))
    model = keras.Model(inputs, layer(inputs))
    if nested:
        outer = keras.layers.Input(inputs.shape[1:])
        model = keras.Model(outer, model(outer))
    message, arrays = announced(model)
    huge = message.architecture.replace(own, own.replace("77", str(HUGE)))
    assert huge != message.architecture
    with watch.memory() as taken:
        fault = fault_of(with_architecture(message, huge), arrays)
    assert taken.peak_bytes < 100_000_000
    assert fault.startswith("model_architecture: with a variable ")
    assert "000000000000" in fault
    assert f"the weights announced in {message.spec} have {sum(array.size for array in arrays)}, at {PLACE}" in fault


@pytest.mark.parametrize("dialect", DIALECTS)
def test_many_layers_of_some_size_make_no_more_variables_than_the_weights_have(dialect: Dialect) -> None:
    keras = load_keras(dialect)
    message, arrays = announced(keras.Sequential([keras.layers.Input((300,)), *(keras.layers.Dense(300) for _ in range(20))]))
    fault = fault_of(message, arrays[:2])
    # 2 * 90 300 of the weights and 2 ** 20 more: after 13 layers no kernel fits any more. Keras 2 begins with three counters.
    assert re.search(r"of \(300, 300\) the model wants 126390\d numbers, and the weights announced in ", fault)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_metric_of_more_numbers_than_the_weights_is_not_made(dialect: Dialect) -> None:
    metric = {"class_name": "MeanIoU", "config": {"num_classes": 10**6, "name": "iou"}}
    message, arrays = announced(classifier(dialect), model_compile_args=compile_args(metrics=[metric]))
    assert "of (1000000, 1000000) the model wants " in fault_of(message, arrays)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_layer_whose_output_is_beyond_the_memory_is_named(dialect: Dialect) -> None:
    layers = load_keras(dialect).layers
    stack = [layers.Input((4,)), layers.Dense(4), layers.RepeatVector(7), layers.GlobalMaxPooling1D()]
    message, arrays = announced(load_keras(dialect).Sequential(stack))
    huge = with_architecture(message, message.architecture.replace('"n": 7', f'"n": {10**9}'))
    with pytest.raises(ModelError) as caught:
        engine_of(arrays, memory_bytes=2**33).load(huge, SEED)
    assert "makes (None, 1000000000, 4) of each sample, 16000000000 bytes, and this worker has 8589934592, at " in str(
        caught.value
    )


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_layer_that_refers_to_a_call_which_never_comes_is_not_waited_for_without_end(dialect: Dialect) -> None:
    """Keras 3 tells of it, Keras 2 goes round and round."""
    keras = load_keras(dialect)
    inputs = keras.layers.Input((4,), name="first")
    message, arrays = announced(keras.Model(inputs, keras.layers.Dense(4)(keras.layers.Dense(4, name="second")(inputs))))
    architecture, count = re.subn(r'\["second", 0, 0', '["second", 7, 0', message.architecture)
    assert count == 1
    before = signal.getsignal(signal.SIGALRM), signal.getitimer(signal.ITIMER_REAL)[0] > 0
    with pytest.raises(ModelError) as caught:
        limit_s = 1.0 if dialect is Dialect.KERAS_2 else None
        engine_of(arrays, build_limit_s=limit_s).load(with_architecture(message, architecture), SEED)
    told = {
        Dialect.KERAS_2: "Keras 2 has not built it within 1 s; do its layers refer to calls that it does not have? LOAD_LIMIT_S ",
        Dialect.KERAS_3: "Keras 3 cannot load it: Invalid Functional model configuration. ",
    }
    assert str(caught.value).startswith(f"model_architecture: {told[dialect]}")
    assert (signal.getsignal(signal.SIGALRM), signal.getitimer(signal.ITIMER_REAL)[0] > 0) == before


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_layer_that_is_called_twice_is_looked_at_each_time(dialect: Dialect) -> None:
    keras = load_keras(dialect)
    inputs = keras.layers.Input((4,))
    repeat = keras.layers.RepeatVector(7)
    pool = keras.layers.GlobalMaxPooling1D()
    message, arrays = announced(keras.Model(inputs, keras.layers.Dense(4)(pool(repeat(pool(repeat(inputs)))))))
    huge = with_architecture(message, message.architecture.replace('"n": 7', f'"n": {10**9}'))
    with pytest.raises(ModelError, match=r"makes \(None, 1000000000, 4\) of each sample, 16000000000 bytes"):
        engine_of(arrays, memory_bytes=2**33).load(huge, SEED)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_an_operation_whose_output_is_beyond_the_memory_is_named(dialect: Dialect) -> None:
    import tensorflow as tf  # noqa: PLC0415 - seconds of start-up

    keras = load_keras(dialect)
    inputs = keras.layers.Input((4,))
    if dialect is Dialect.KERAS_3:
        hidden = keras.ops.max(keras.ops.tile(inputs, (1, 7)), axis=1, keepdims=True)
    else:
        hidden = tf.reduce_max(tf.tile(inputs, (1, 7)), axis=1, keepdims=True)
    message, arrays = announced(keras.Model(inputs, keras.layers.Dense(4)(hidden)))
    huge = with_architecture(message, re.sub(r"\b1, 7\b", f"1, {10**9}", message.architecture))
    with pytest.raises(ModelError, match=r"makes \(None, 4000000000\) of each sample, 16000000000 bytes"):
        engine_of(arrays, memory_bytes=2**33).load(huge, SEED)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_vocabulary_is_not_read_from_a_path(dialect: Dialect, tmp_path: Any) -> None:
    words = tmp_path / "words"
    words.write_text("secret\n")
    layers = load_keras(dialect).layers
    stack = [layers.Input((1,), dtype="string"), layers.StringLookup(vocabulary=["word"]), layers.Embedding(2, 2)]
    message, arrays = announced(load_keras(dialect).Sequential(stack))
    changed = with_architecture(message, message.architecture.replace('["word"]', json.dumps(str(words))))
    assert changed.architecture != message.architecture
    with watch.acts() as done:
        fault = fault_of(changed, arrays)
    assert fault == f"model_architecture: vocabulary is '{words}', a place to read from; give what stands there, at {PLACE}"
    assert [act for act in done.acts if act[0] == "open"] == []


@pytest.mark.parametrize("dialect", DIALECTS)
def test_what_keras_writes_of_its_own_layers_is_admitted(dialect: Dialect) -> None:
    """Operations between layers, wrappers, cells, functions, policies, constraints and nested models."""
    keras = load_keras(dialect)
    layers = keras.layers
    inputs = layers.Input((8, 4))
    hidden = layers.Bidirectional(layers.LSTM(3, return_sequences=True, kernel_constraint="max_norm"))(inputs)
    hidden = layers.TimeDistributed(layers.Dense(6, activation=keras.activations.gelu, kernel_regularizer="l2"))(hidden)
    hidden = layers.RNN(layers.StackedRNNCells([layers.GRUCell(6), layers.LSTMCell(6)]))(hidden * 2.0 + 1.0)
    inner = keras.Sequential([layers.Input((6,)), layers.Dense(6, dtype="mixed_bfloat16"), layers.PReLU(), layers.Dropout(0.1)])
    outputs = layers.Dense(10, dtype="float32")(layers.Concatenate()([inner(hidden[:, :6]), hidden]))
    model = keras.Model(inputs, outputs)
    message, arrays = announced(model)
    for architecture in (message.architecture, model.to_json()):
        assert load(with_architecture(message, architecture), arrays).model.count_params() == model.count_params()
