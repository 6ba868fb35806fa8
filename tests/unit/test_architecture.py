"""An architecture's JSON is looked at before a library loads it."""

import json
import re
from typing import Any

import pytest

from protocol.architecture import Dialect, screen, screen_objects
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


def fault_of(model: Any, *, allows_code: bool = False) -> str:
    with pytest.raises(ModelError) as caught:
        screen(model if isinstance(model, str) else json.dumps(model), PLACE, allows_code=allows_code)
    return str(caught.value)


def dialect_of(model: Any, *, allows_code: bool = False) -> Dialect:
    return screen(model if isinstance(model, str) else json.dumps(model), PLACE, allows_code=allows_code)


def holding(layer: Any, dialect: dict[str, Any] = KERAS_2) -> dict[str, Any]:
    return dialect | {"config": {"layers": [{"class_name": "TimeDistributed", "config": {"layer": layer}}]}}


@pytest.mark.parametrize("name", golden.NAMES)
def test_captured_architectures_are_keras_2(name: str) -> None:
    message = json.loads(golden.records(name, "model_control")[0].value)
    assert dialect_of(message["model_architecture"]) is Dialect.KERAS_2


def test_module_keys_without_a_keras_2_version_are_keras_3() -> None:
    assert dialect_of(KERAS_3) is Dialect.KERAS_3


def test_a_keras_2_version_decides_before_module_keys() -> None:
    assert dialect_of(KERAS_3 | {"keras_version": "2.15.0"}) is Dialect.KERAS_2


KERAS_3_LAMBDA = {
    "module": "keras.layers",
    "class_name": "Lambda",
    "config": {"function": {"class_name": "__lambda__", "config": {"code": "4wEAAAAA", "defaults": None, "closure": None}}},
    "registered_name": None,
}
KERAS_2_LAMBDA = {
    "class_name": "Lambda",
    "config": {"function": ["4wEAAAAA", None, None], "function_type": "lambda", "module": "__main__"},
}
CODE: dict[str, tuple[dict[str, Any], str]] = {
    "Keras 2's Lambda": (KERAS_2_LAMBDA, "a Lambda carries code"),
    "Keras 2's Lambda of a name": (
        {"class_name": "Lambda", "config": {"function": "print", "module": "builtins", "function_type": "function"}},
        "a Lambda carries code",
    ),
    "a Lambda that is registered": (KERAS_2_LAMBDA | {"class_name": "Custom>Lambda"}, "a Lambda carries code"),
    "Keras 3's Lambda": (KERAS_3_LAMBDA, "a Lambda carries code"),
    "a wrapper of a cell": (
        {"class_name": "ResidualWrapper", "config": {"residual_fn": ["4wEAAAAA", None, None], "residual_fn_type": "lambda"}},
        "a ResidualWrapper carries code",
    ),
    "another wrapper of a cell, which looks through a module": (
        {
            "module": "tf_keras.src.layers.rnn.cell_wrappers",
            "class_name": "DropoutWrapper",
            "config": {"dropout_fn_module": "os"},
        },
        "a DropoutWrapper carries code",
    ),
    "a method of anything": (
        {"module": "keras.engine.functional", "class_name": "ModuleWrapper", "config": {"method_name": "__call__"}},
        "a ModuleWrapper calls what it names",
    ),
    "a lambda as an activation": (
        {"class_name": "Dense", "config": {"activation": {"class_name": "__lambda__", "config": {}}}},
        "a __lambda__ ",
    ),
    "an operation of a graph": (
        {"class_name": "TensorFlowOpLayer", "config": {"node_def": "WriteFile"}},
        "a TensorFlowOpLayer calls",
    ),
    "a method of a class": (
        {"class_name": "ClassMethod", "config": {"cls_symbol": "io.gfile.GFile", "method_name": "write"}},
        "a ClassMethod calls what it names",
    ),
    "a method of a tensor": (
        {"class_name": "InstanceMethod", "config": {"attr_name": "eval"}},
        "a InstanceMethod calls what it names",
    ),
    "an attribute of a tensor": (
        {"class_name": "InstanceProperty", "config": {"attr_name": "__class__"}},
        "a InstanceProperty calls",
    ),
    "a file, written": (
        {"class_name": "TFOpLambda", "config": {"function": "io.write_file"}},
        "a TFOpLambda calls tf.io.write_file",
    ),
    "a file, read": (
        {"class_name": "TFOpLambda", "config": {"function": "io.read_file"}},
        "a TFOpLambda calls tf.io.read_file",
    ),
    "a function of Python": (
        {"class_name": "TFOpLambda", "config": {"function": "py_function"}},
        "a TFOpLambda calls tf.py_function",
    ),
    "what begins like an operation": (
        {"class_name": "TFOpLambda", "config": {"function": "reshape.__globals__"}},
        "a TFOpLambda calls tf.reshape.__globals__",
    ),
    "a slice of anything": (
        {"class_name": "SlicingOpLambda", "config": {"function": "io.read_file"}},
        "a SlicingOpLambda calls tf.io",
    ),
    "no function at all": ({"class_name": "TFOpLambda", "config": []}, "a TFOpLambda calls tf.None"),
}
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "a module of torch": (
        {"module": "keras.layers", "class_name": "TorchModuleWrapper", "config": {"module": {"class_name": "__bytes__"}}},
        "a TorchModuleWrapper is a model of another library, which this worker does not take",
    ),
    "a layer of flax": (
        {"module": "keras.layers", "class_name": "FlaxLayer", "config": {}},
        "a FlaxLayer is a model of another",
    ),
    "a layer of jax": ({"module": "keras.layers", "class_name": "JaxLayer", "config": {}}, "a JaxLayer is a model of another"),
    "a saved model": (
        {"module": "keras.layers", "class_name": "TFSMLayer", "config": {"filepath": "/models/1"}},
        "a TFSMLayer reads files, which this worker does not take",
    ),
    "a saved model that is registered": ({"class_name": "Custom>TFSMLayer", "config": {}}, "a TFSMLayer reads files"),
    "feature columns": ({"class_name": "DenseFeatures", "config": {}}, "a DenseFeatures reads files"),
    "a vocabulary from a path": (
        {"class_name": "StringLookup", "config": {"vocabulary": "/etc/passwd"}},
        "vocabulary is '/etc/passwd', a place to read from; give what stands there",
    ),
    "a vocabulary from an address": (
        {"module": "keras.layers", "class_name": "TextVectorization", "config": {"vocabulary": "https://example.org/words"}},
        "vocabulary is 'https://example.org/words', a place to read from",
    ),
    "a type by its name": (
        {"class_name": "TypeSpec", "type_spec": "tf.RaggedTensorSpec", "serialized": []},
        "a TypeSpec is no part",
    ),
    "another type by its name": (
        {"class_name": "__typespec__", "spec_name": "system", "module": "os", "registered_name": None, "config": []},
        "a __typespec__ is no part of a layer",
    ),
    "a module of Python": (
        {"module": "os", "class_name": "system", "config": {}},
        "os.system is outside of Keras; a custom class is",
    ),
    "a builtin": ({"module": "builtins", "class_name": "eval", "config": {}}, "builtins.eval is outside of Keras"),
    "a builtin with underscores": (
        {"module": "builtins", "class_name": "__import__", "config": {}},
        "builtins.__import__ is outside",
    ),
    "a class of a builtin module": (
        {"module": "builtins", "class_name": "Exception", "config": {}},
        "builtins.Exception is outside",
    ),
    "what looks like Keras": (
        {"module": "kerasx.layers", "class_name": "Dense", "config": {}},
        "kerasx.layers.Dense is outside",
    ),
    "a tool of Keras": (
        {"module": "keras.utils", "class_name": "Progbar", "config": {}},
        "keras.utils.Progbar is outside of Keras",
    ),
    "a private module of Keras": (
        {"module": "keras.src.saving.serialization_lib", "class_name": "SafeModeScope", "config": {}},
        "keras.src.saving.serialization_lib.SafeModeScope is outside",
    ),
    "a function of Keras in a class's place": (
        {"module": "keras.models", "class_name": "load_model", "config": {}},
        "keras.models.load_model is outside of Keras",
    ),
    "a class in a class": (
        {"module": "keras.layers", "class_name": "Dense.__init__", "config": {}},
        "keras.layers.Dense.__init__ is",
    ),
    "a module that is none": (
        {"module": ["keras"], "class_name": "Dense", "config": {}},
        "['keras'].Dense is outside of Keras",
    ),
    "a class name that is none": ({"class_name": ["Lambda"], "config": {}}, "class_name: expected a text, received list"),
    "a custom class of a notebook": (
        {"module": "__main__", "class_name": "MyDense", "config": {}, "registered_name": "MyDense"},
        "__main__.MyDense is outside of Keras; a custom class is code, which does not travel: use Keras's own",
    ),
    "a custom class by its package": (
        {"class_name": "mine>MyDense", "config": {}},
        "mine>MyDense is outside of Keras; a custom class",
    ),
    "a custom class that is registered": (
        {"module": None, "class_name": "MyDense", "config": {}, "registered_name": "mine>MyDense"},
        "mine>MyDense is a custom class, registered for MyDense; it is code, which does not travel",
    ),
    "another class under a good one's name": (
        {"module": "keras.layers", "class_name": "Dense", "config": {}, "registered_name": "Lambda"},
        "Lambda is a custom class, registered for Dense",
    ),
    "a function of Python's": (
        {"module": "builtins", "class_name": "function", "config": "print", "registered_name": "function"},
        "the function builtins.print is outside of Keras; a function is code, which does not travel",
    ),
    "a function of Python's under a good one's name": (
        {"module": "builtins", "class_name": "function", "config": "relu", "registered_name": "eval"},
        "eval is a custom class, registered for relu",
    ),
    "a function of a module": (
        {"module": "os", "class_name": "function", "config": "system"},
        "the function os.system is outside",
    ),
    "a function of Keras's tools": (
        {"module": "keras.utils", "class_name": "function", "config": "get_file"},
        "the function keras.utils.get_file is outside of Keras",
    ),
    "a function that reads models": (
        {"module": "keras.models", "class_name": "function", "config": "load_model", "registered_name": "function"},
        "the function keras.models.load_model is outside of Keras",
    ),
    "an array of long elements": (
        {"module": None, "class_name": "__numpy__", "config": {"value": ["a"], "dtype": "S2000000000"}},
        "dtype: expected the name of a type of numbers, received S2000000000",
    ),
    "a list of a billion": (
        {"class_name": "TextVectorization", "config": {"ngrams": 10**9}},
        "ngrams is 1000000000, expected at most 1000",
    ),
    "a list of a billion of one axis": (
        {"class_name": "UpSampling2D", "config": {"size": [2, 10**9]}},
        "size is [2, 1000000000], expected at most 10000",
    ),
    "a function that makes objects": (
        {"module": "keras.layers", "class_name": "function", "config": "deserialize"},
        "the function keras.layers.deserialize is outside of Keras",
    ),
    "a function without a name": (
        {"module": "builtins", "class_name": "function", "config": {"a": 1}},
        "the function builtins.",
    ),
    "a class that would break the line": ({"class_name": "a\nb\ud800", "config": {}}, r"a\nb\ud800 is outside of Keras"),
    "an input of a billion": (
        {"class_name": "InputLayer", "config": {"batch_input_shape": [None, 2**30]}},
        "batch_input_shape is [None, ",
    ),
    "an input of a million a side": (
        {"class_name": "InputLayer", "config": {"batch_shape": [2, 10**6, 10**6]}},
        "batch_shape is [2, 1000000, 1000000], of more than 268435456 numbers",
    ),
    "an input of a million axes": (
        {"class_name": "InputLayer", "config": {"batch_shape": [2**62] * 100_000}},
        "batch_shape is [46116",
    ),
}


def nested(inner: dict[str, Any]) -> dict[str, Any]:
    """In the places where Keras keeps objects in objects."""
    return {
        "a layer": inner,
        "wrapped": {"class_name": "TimeDistributed", "config": {"layer": inner}},
        "twice wrapped": {"class_name": "Bidirectional", "config": {"layer": {"class_name": "RNN", "config": {"cell": inner}}}},
        "in a model": {
            "class_name": "Functional",
            "config": {"name": "m", "layers": [{"class_name": "Dense", "config": inner}]},
        },
        "as an initializer": {"class_name": "Dense", "config": {"kernel_initializer": inner}},
        "in the arguments of a call": {
            "class_name": "Dense",
            "config": {},
            "inbound_nodes": [{"args": [[inner]], "kwargs": {"x": inner}}],
        },
        "in compile arguments": {"class_name": "Dense", "config": {}, "compile_config": {"loss": [inner]}},
    }


def test_code_is_refused_wherever_it_stands() -> None:
    for dialect in (KERAS_2, KERAS_3):
        for kind, (layer, fault) in (CODE | REFUSED).items():
            for place, whole in nested(layer).items():
                text = fault_of(holding(whole, dialect))
                assert text.startswith(f"model_architecture: {fault}"), (kind, place)
                assert text.endswith(f", at {PLACE}"), (kind, place)
                assert text.isprintable(), (kind, place)


def test_compile_arguments_are_screened_as_architectures_are() -> None:
    for layer, fault in (CODE | REFUSED).values():
        for args in (
            {"loss": layer},
            {"metrics": ["accuracy", [layer]]},
            {"optimizer": {"class_name": "Adam", "config": {"learning_rate": layer}}},
        ):
            with pytest.raises(ModelError, match=f"^model_compile_args: {re.escape(fault)}"):
                screen_objects(args, f"model_compile_args: {{}}, at {PLACE}", allows_code=False)


@pytest.mark.parametrize("kind", CODE)
def test_code_is_admitted_where_the_operator_allows_it(kind: str) -> None:
    layer, _fault = CODE[kind]
    assert fault_of(holding(layer)).endswith(f"; ALLOW_MODEL_CODE=true lets a model run code here, at {PLACE}")
    assert dialect_of(holding(layer), allows_code=True) is Dialect.KERAS_2


@pytest.mark.parametrize("kind", REFUSED)
def test_files_and_custom_classes_are_refused_even_where_code_is_allowed(kind: str) -> None:
    layer, fault = REFUSED[kind]
    assert fault_of(holding(layer), allows_code=True).startswith(f"model_architecture: {fault}")


@pytest.mark.parametrize("function", ["__operators__.add", "math.multiply", "nn.relu", "reshape"])
def test_operations_between_layers_are_admitted(function: str) -> None:
    assert dialect_of(holding({"class_name": "TFOpLambda", "config": {"function": function}})) is Dialect.KERAS_2


def test_words_of_a_vocabulary_are_admitted() -> None:
    assert dialect_of(holding({"class_name": "StringLookup", "config": {"vocabulary": ["a", "b"]}})) is Dialect.KERAS_2


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
        (" " * 5_000_001, "expected at most 5000000 characters, received 5000001"),
        ('{"config": ' + "9" * 5_000 + "}", "expected the JSON of a Keras model, received "),
    ],
)
def test_what_is_no_architecture_says_why(text: str, fault: str) -> None:
    found = fault_of(text)
    assert found.startswith("model_architecture: ")
    assert fault in found
    assert found.endswith(f"at {PLACE}")


def test_more_objects_than_any_model_has_are_refused() -> None:
    many = [{"class_name": "Flatten", "config": {}}]
    assert "expected at most 3000 layers in a model, received 3001" in fault_of(KERAS_2 | {"config": {"layers": many * 3_001}})
    assert "expected at most 20000 layers, initializers and other objects" in fault_of(
        KERAS_2 | {"config": {"x": many * 20_001}}
    )


def test_an_output_may_be_called_like_a_file() -> None:
    screen_objects({"loss": {"vocabulary": "mse", "filename": "mse"}}, "{}", allows_code=False)


def test_nesting_beyond_any_model_is_refused() -> None:
    nested: Any = {}
    for _ in range(150):
        nested = {"config": nested}
    assert "expected at most 100 levels of nesting" in fault_of(nested | {"keras_version": "2.7.0"})
