"""An architecture's JSON is looked at before a library loads it."""

import json
from typing import Any

import pytest

from protocol.architecture import Dialect, screen
from protocol.errors import ModelError
from tests.support import golden
from tests.support.messages import PLACE

KERAS_2: dict[str, Any] = {
    "class_name": "Sequential",
    "config": {"layers": []},
    "keras_version": "2.7.0",
    "backend": "tensorflow",
}
KERAS_3: dict[str, Any] = {"module": "keras", "class_name": "Sequential", "config": {"layers": []}, "registered_name": None}


def fault_of(model: Any) -> str:
    with pytest.raises(ModelError) as caught:
        screen(model if isinstance(model, str) else json.dumps(model), PLACE)
    return str(caught.value)


def holding(layer: Any, dialect: dict[str, Any] = KERAS_2) -> dict[str, Any]:
    return dialect | {"config": {"layers": [{"class_name": "TimeDistributed", "config": {"layer": layer}}]}}


@pytest.mark.parametrize("name", golden.NAMES)
def test_captured_architectures_are_keras_2(name: str) -> None:
    message = json.loads(golden.records(name, "model_control")[0].value)
    assert screen(message["model_architecture"], PLACE) is Dialect.KERAS_2


def test_module_keys_without_a_keras_2_version_are_keras_3() -> None:
    assert screen(json.dumps(KERAS_3), PLACE) is Dialect.KERAS_3


def test_a_keras_2_version_decides_before_module_keys() -> None:
    assert screen(json.dumps(KERAS_3 | {"keras_version": "2.15.0"}), PLACE) is Dialect.KERAS_2


@pytest.mark.parametrize(
    "layer",
    [
        {"class_name": "Lambda", "config": {"function": "print", "module": "builtins", "function_type": "function"}},
        {"module": "keras.layers", "class_name": "Lambda", "config": {"function": {"class_name": "__lambda__"}}},
        {"class_name": "__lambda__", "config": {"value": "4wEAAAAA"}},
        {"class_name": "TensorFlowOpLayer", "config": {"node_def": "WriteFile"}},
    ],
)
@pytest.mark.parametrize("dialect", [KERAS_2, KERAS_3])
def test_a_layer_that_carries_code_is_refused(layer: dict[str, Any], dialect: dict[str, Any]) -> None:
    assert fault_of(holding(layer, dialect)) == (
        f"model_architecture: a {layer['class_name']} carries code, which this worker does not run, at {PLACE}"
    )


@pytest.mark.parametrize(
    ("layer", "named"),
    [
        ({"module": "os", "class_name": "system", "config": {}}, "os.system is outside of Keras"),
        ({"module": "builtins", "class_name": "eval", "config": {}}, "builtins.eval is outside of Keras"),
        ({"module": "kerasx.layers", "class_name": "Dense", "config": {}}, "kerasx.layers.Dense is outside of Keras"),
        ({"module": "builtins", "class_name": "function", "config": "print"}, "the Python function 'print' is code"),
        ({"class_name": "TFOpLambda", "config": {"function": "io.write_file"}}, "a TFOpLambda calls tf.io.write_file"),
    ],
)
def test_what_is_outside_of_keras_is_refused(layer: dict[str, Any], named: str) -> None:
    assert named in fault_of(holding(layer))


@pytest.mark.parametrize("function", ["__operators__.add", "math.multiply", "nn.relu", "reshape"])
def test_operations_between_layers_are_admitted(function: str) -> None:
    assert screen(json.dumps(holding({"class_name": "TFOpLambda", "config": {"function": function}})), PLACE) is Dialect.KERAS_2


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "expected the JSON of a Keras model, received ''"),
        ("{", "expected the JSON of a Keras model, received '{'"),
        ("[]", "expected the JSON of a Keras model, received '[]'"),
        ('{"class_name": "Sequential"}', "expected the JSON of a Keras model"),
        ("[" * 100_000, "expected the JSON of a Keras model, received '[[["),
        (
            '{"config": {}}',
            'expected "keras_version": "2.…" (Keras 2) or a "module" key (Keras 3), received keras_version None',
        ),
        ('{"config": {}, "keras_version": "1.2"}', "received keras_version '1.2'"),
        (" " * 10_000_001, "expected at most 10000000 characters, received 10000001"),
    ],
)
def test_what_is_no_architecture_says_why(text: str, fault: str) -> None:
    found = fault_of(text)
    assert found.startswith("model_architecture: ")
    assert fault in found
    assert found.endswith(f"at {PLACE}")


def test_nesting_beyond_any_model_is_refused() -> None:
    nested: Any = {}
    for _ in range(150):
        nested = {"config": nested}
    assert "expected at most 100 levels of nesting" in fault_of(nested | {"keras_version": "2.7.0"})
