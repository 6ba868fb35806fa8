"""A look at an architecture's JSON before any library loads it: which Keras wrote it, and that nothing in it is run or opened.

Loading a Keras model does what the JSON names: a Lambda layer calls the function that it carries, a `module` is imported, a
`vocabulary` is read from its path. So the JSON is screened as data first, with limits on its size, depth and number of objects.
What Keras then builds is its own classes alone.
"""

from __future__ import annotations

import builtins
import json
import re
from collections.abc import Iterator
from enum import Enum
from math import prod
from typing import Any

from protocol.errors import ModelError
from protocol.words import shown

MAX_BYTES = 5_000_000  # as JSON; the largest of keras.applications have a fifth of it
MAX_DEPTH = 100
MAX_OBJECTS = 20_000  # layers, initializers and the like; the largest of keras.applications have a quarter of them

MAX_LAYERS = (
    3_000  # of one model, which Keras looks through again for each; the largest of keras.applications have a third of it
)
MAX_INPUT = 2**28  # numbers that a shape of an input names, with its batch where that is fixed
MAX_COUNTS = {"ngrams": 1_000, "size": 10_000}  # of what Keras makes lists as long: words that go together, repetitions

CODE_SETTING = "ALLOW_MODEL_CODE"


class Dialect(Enum):
    """The two JSON forms of Keras models, and what each is called in a log."""

    KERAS_2 = "Keras 2"
    KERAS_3 = "Keras 3"


# What Keras calls, of what a configuration holds or names; the operator may allow it.
_CODE_CLASSES = {
    **dict.fromkeys(("Lambda", "__lambda__"), "carries code"),
    **dict.fromkeys(("ClassMethod", "InstanceMethod", "InstanceProperty", "TensorFlowOpLayer"), "calls what it names"),
    "ModuleWrapper": "calls what it names",
}
# Wrappers of Keras 2's cells hold bytecode beside the cell, and the module whose names it may use.
_CODE_KEYS = frozenset({"residual_fn", "dropout_fn", "residual_fn_module", "dropout_fn_module"})
# tf.keras writes `x + 1` or tf.reshape(x, …) between layers as TFOpLambda layers that name the function to call.
_TF_OPERATIONS = frozenset({"TFOpLambda", "SlicingOpLambda"})
_TF_FUNCTION = re.compile(
    r"(__operators__|math|nn|linalg)\.[a-z0-9_]+|reshape|concat|stack|unstack|cast|expand_dims|squeeze|transpose|identity|split"
    r"|where|tile|pad|slice|gather|shape|reverse|repeat|one_hot|ones_like|zeros_like|clip_by_value|broadcast_to|image\.resize"
)
_NEVER_CLASSES = {
    **dict.fromkeys(("TorchModuleWrapper", "FlaxLayer", "JaxLayer"), "is a model of another library"),
    **dict.fromkeys(("TypeSpec", "CompositeTensor", "__typespec__"), "is no part of a layer"),
    **dict.fromkeys(("TFSMLayer", "DenseFeatures", "SequenceFeatures", "DynamicLookup", "DynamicEmbedding"), "reads files"),
}
_SHAPE_KEYS = frozenset({"batch_shape", "batch_input_shape"})
# A text under one of these keys is a path or an address, which is opened when the layer is built. Lists and null are not.
_PATH_KEYS = frozenset({"vocabulary", "vocabulary_file", "filepath", "file_path", "filename"})

# The modules that Keras writes into its JSON: its public ones, and the private ones of some classes, by version.
_PUBLIC = (
    "layers|models|initializers|regularizers|constraints|activations|losses|metrics|optimizers|dtype_policies|mixed_precision"
)
_MODULES = re.compile(
    rf"(tf_)?keras(\.({_PUBLIC})(\.(schedules|legacy|experimental))?)?"
    r"|(tf_)?keras(\.src)?\.(engine|models)\.(functional|sequential|training|model)"
    r"|(tf_)?keras\.src\.(layers|initializers|regularizers|constraints|losses|metrics|optimizers|mixed_precision|dtype_policies)(\.[a-z0-9_]+)*"
    r"|keras\.src\.ops\.(core|image|linalg|math|nn|numpy)"
)
_FUNCTION_MODULES = re.compile(
    r"builtins|(tf_)?keras\.(activations|initializers|regularizers|constraints|losses|metrics|ops(\.(image|linalg|nn|numpy))?)"
)
_CLASS = re.compile(r"[A-Z][A-Za-z0-9_]*")
_REGISTERED = "Custom>"  # so Keras 2 calls its own optimizers; of others it finds none by that name
_FUNCTION = re.compile(r"[a-z][A-Za-z0-9_]*")
_NO_FUNCTIONS = frozenset({"get", "serialize", "deserialize", *dir(builtins)})
_VALUES = re.compile(r"__(tensor|numpy|bytes|ellipsis|slice|tuple|keras_tensor)__")  # which Keras makes without a call
_DTYPE = re.compile(r"bool|string|(u?int|b?float|complex)[0-9]{1,3}(_[a-z0-9]{1,10})?")  # others say how long an element is


def screen(text: str, place: str, *, allows_code: bool) -> Dialect:
    """Tell the dialect of an architecture that holds Keras's own layers alone.

    Args:
        allows_code: admit Lambda layers, and operations that are called by name.

    Raises:
        ModelError: no JSON, too large or too deep, of neither dialect, or with what is run, opened, or outside of Keras in it.
    """
    where = f"model_architecture: {{}}, at {place}"
    if len(text) > MAX_BYTES:
        raise ModelError(where.format(f"expected at most {MAX_BYTES} characters, received {len(text)}"))
    try:
        model = json.loads(text)
    except (ValueError, RecursionError) as exc:
        fault = f"expected the JSON of a Keras model, received '{shown(text)}' ({shown(exc)})"
        raise ModelError(where.format(fault)) from exc
    if not isinstance(model, dict) or not isinstance(model.get("config"), dict):
        raise ModelError(where.format(f"expected the JSON of a Keras model, received '{shown(text)}'"))
    screen_objects(model, where, allows_code=allows_code)
    return _dialect(model, where)


def _dialect(model: dict[str, Any], where: str) -> Dialect:
    # Keras 2 from 2.13 on writes `module` keys too, so its version decides first.
    version = model.get("keras_version")
    if isinstance(version, str) and version.startswith("2."):
        return Dialect.KERAS_2
    if "module" in model and (version is None or str(version).startswith("3.")):
        return Dialect.KERAS_3
    fault = (
        f'expected "keras_version": "2.…" (Keras 2) or a "module" key (Keras 3), received keras_version {shown(repr(version))}'
    )
    raise ModelError(where.format(fault))


def screen_objects(config: object, where: str, *, allows_code: bool) -> None:
    """Refuse what is run, opened, or outside of Keras, anywhere in the JSON of serialized Keras objects.

    Args:
        config: parsed JSON.
        where: text of the error, with {} for what is wrong.
        allows_code: as `screen` has it.

    Raises:
        ModelError: naming the first such object.
    """
    objects = 0
    for one in dictionaries(config, where):
        if "class_name" not in one:
            continue
        objects += 1
        fault = _fault_of(one, allows_code=allows_code) or _fault_of_config(one.get("config"))
        if objects > MAX_OBJECTS:
            fault = f"expected at most {MAX_OBJECTS} layers, initializers and other objects"
        if fault is not None:
            raise ModelError(where.format(fault))


def _fault_of_config(config: object) -> str | None:
    """What would open a path or an address, or take memory or time without end, when Keras makes an object of it."""
    if not isinstance(config, dict):
        return None
    for key in sorted(_PATH_KEYS & config.keys()):
        if isinstance(config[key], str):
            return f"{key} is '{shown(config[key])}', a place to read from; give what stands there"
    for key in sorted(_SHAPE_KEYS & config.keys()):
        if isinstance(config[key], list) and _numbers_in(config[key]) > MAX_INPUT:
            return f"{key} is {shown(config[key])}, of more than {MAX_INPUT} numbers"
    for key, most in MAX_COUNTS.items():
        counts = config.get(key)
        if any(isinstance(one, int) and one > most for one in (counts if isinstance(counts, list) else [counts])):
            return f"{key} is {shown(counts)}, expected at most {most}"
    layers = config.get("layers")
    if isinstance(layers, list) and len(layers) > MAX_LAYERS:
        return f"expected at most {MAX_LAYERS} layers in a model, received {len(layers)}"
    return None


def _numbers_in(shape: list[Any]) -> float:
    # In floats, which end at infinity: a product of a million sizes would take for ever.
    return prod(float(min(size, MAX_INPUT + 1)) for size in shape if isinstance(size, int))


def _fault_of(one: dict[str, Any], *, allows_code: bool) -> str | None:
    if not isinstance(one["class_name"], str):
        return f"class_name: expected a text, received {type(one['class_name']).__name__}"
    class_name, inner = one["class_name"].removeprefix(_REGISTERED), one.get("config")
    if class_name in _NEVER_CLASSES:
        return f"a {class_name} {_NEVER_CLASSES[class_name]}, which this worker does not take"
    code = _CODE_CLASSES.get(class_name)
    if isinstance(inner, dict) and not _CODE_KEYS.isdisjoint(inner):
        code = "carries code"
    if class_name in _TF_OPERATIONS:
        function = inner.get("function") if isinstance(inner, dict) else None
        if not isinstance(function, str) or not _TF_FUNCTION.fullmatch(function):
            code = f"calls tf.{shown(function)}, which is no operation of a layer"
    if code is not None:
        return None if allows_code else f"a {class_name} {code}; {CODE_SETTING}=true lets a model run code here"
    if class_name == "function":
        return _fault_of_function(inner, one.get("module"), one.get("registered_name"))
    if _VALUES.fullmatch(class_name) and one.get("module") in (None, "builtins"):
        dtype = inner.get("dtype") if isinstance(inner, dict) else None
        is_known = dtype is None or _is_one_of(_DTYPE, dtype)
        return None if is_known else f"dtype: expected the name of a type of numbers, received {shown(dtype)}"
    return _fault_of_class(class_name, one.get("module"), one.get("registered_name"))


def _fault_of_class(name: str, module: object, registered: object) -> str | None:
    if not _CLASS.fullmatch(name) or not (module is None or _is_one_of(_MODULES, module)):
        path = name if module is None else f"{module}.{name}"
        return f"{shown(path)} is outside of Keras; a custom class is code, which does not travel: use Keras's own"
    return _fault_of_registration(registered, name)


def _fault_of_function(name: object, module: object, registered: object) -> str | None:
    if (
        not isinstance(name, str)
        or not _FUNCTION.fullmatch(name)
        or name in _NO_FUNCTIONS
        or not _is_one_of(_FUNCTION_MODULES, module)
    ):
        return f"the function {shown(f'{module}.{name}')} is outside of Keras; a function is code, which does not travel"
    return None if registered == "function" else _fault_of_registration(registered, name)


def _fault_of_registration(registered: object, name: str) -> str | None:
    # Keras looks for this name as well, and takes what it finds. Its own optimizers are registered as custom ones.
    if registered in (None, name, f"{_REGISTERED}{name}", f"keras>{name}"):
        return None
    return f"{shown(registered)} is a custom class, registered for {shown(name)}; it is code, which does not travel"


def _is_one_of(modules: re.Pattern[str], module: object) -> bool:
    return isinstance(module, str) and modules.fullmatch(module) is not None


def dictionaries(root: object, where: str = "{}") -> Iterator[dict[str, Any]]:
    """All objects of parsed JSON, the outer ones first.

    Args:
        where: as `screen_objects` has it.

    Raises:
        ModelError: it is nested too deep.
    """
    # Not recursive: a hostile depth must not end in a RecursionError.
    pending: list[tuple[object, int]] = [(root, 0)]
    while pending:
        value, depth = pending.pop()
        if depth > MAX_DEPTH:
            raise ModelError(where.format(f"expected at most {MAX_DEPTH} levels of nesting"))
        if isinstance(value, dict):
            yield value
            pending.extend((part, depth + 1) for part in value.values())
        elif isinstance(value, list):
            pending.extend((part, depth + 1) for part in value)
