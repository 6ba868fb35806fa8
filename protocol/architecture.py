"""A look at an architecture's JSON before any library loads it: which Keras wrote it, and that no code is in it.

Loading a Keras model runs what the JSON names: a Lambda layer calls the function it carries, a `module` is imported. So the
JSON is screened as data first, with limits on its size and depth.
"""

from __future__ import annotations

import builtins
import json
from collections.abc import Iterator
from enum import Enum
from typing import Any

from protocol.errors import ModelError

MAX_DEPTH = 100
MAX_BYTES = 10_000_000

_CODE_CLASSES = frozenset({"Lambda", "__lambda__", "TensorFlowOpLayer"})
# tf.keras writes `x + 1` or tf.reshape(x, …) between layers as TFOpLambda layers that name the function to call.
_TF_FUNCTIONS = ("__operators__.", "math.", "nn.", "linalg.")
_TF_FUNCTION_NAMES = frozenset(
    {"reshape", "concat", "stack", "cast", "expand_dims", "squeeze", "transpose", "identity", "split"}
)
_KERAS_PACKAGES = frozenset({"keras", "tf_keras"})


class Dialect(Enum):
    """The two JSON forms of Keras models, and what each is called in a log."""

    KERAS_2 = "Keras 2"
    KERAS_3 = "Keras 3"


def screen(text: str, place: str) -> Dialect:
    """Tell the dialect of an architecture that holds layers alone.

    Raises:
        ModelError: no JSON, too large or too deep, of neither dialect, or with code or a module outside of Keras in it.
    """
    where = f"model_architecture: {{}}, at {place}"
    if len(text) > MAX_BYTES:
        raise ModelError(where.format(f"expected at most {MAX_BYTES} characters, received {len(text)}"))
    try:
        model = json.loads(text)
    except (ValueError, RecursionError) as exc:
        raise ModelError(where.format(f"expected the JSON of a Keras model, received {text[:40]!r} ({exc})")) from exc
    if not isinstance(model, dict) or not isinstance(model.get("config"), dict):
        raise ModelError(where.format(f"expected the JSON of a Keras model, received {text[:40]!r}"))
    screen_objects(model, where)
    return _dialect(model, where)


def _dialect(model: dict[str, Any], where: str) -> Dialect:
    # Keras 2 from 2.13 on writes `module` keys too, so its version decides first.
    version = model.get("keras_version")
    if isinstance(version, str) and version.startswith("2."):
        return Dialect.KERAS_2
    if "module" in model and (version is None or str(version).startswith("3.")):
        return Dialect.KERAS_3
    raise ModelError(
        where.format(
            f'expected "keras_version": "2.…" (Keras 2) or a "module" key (Keras 3), received keras_version {version!r}'
        )
    )


def screen_objects(config: object, where: str) -> None:
    """Refuse code, and modules outside of Keras, anywhere in the JSON of serialized Keras objects.

    Args:
        config: parsed JSON.
        where: text of the error, with {} for what is wrong.

    Raises:
        ModelError: naming the first such object.
    """
    for one in _objects(config, where):
        class_name, module = one.get("class_name"), one.get("module")
        if class_name in _CODE_CLASSES:
            raise ModelError(where.format(f"a {class_name} carries code, which this worker does not run"))
        if class_name == "TFOpLambda":
            function = str(one.get("config", {}).get("function")) if isinstance(one.get("config"), dict) else "None"
            if not function.startswith(_TF_FUNCTIONS) and function not in _TF_FUNCTION_NAMES:
                raise ModelError(where.format(f"a TFOpLambda calls tf.{function}, which is no operation of a layer"))
        if class_name == "function" and isinstance(one.get("config"), str) and hasattr(builtins, one["config"]):
            raise ModelError(where.format(f"the Python function {one['config']!r} is code, which this worker does not run"))
        if isinstance(class_name, str) and module is not None and not _is_keras(module, class_name):
            raise ModelError(where.format(f"{module}.{class_name} is outside of Keras; use Keras's own classes"))


def _is_keras(module: object, class_name: str) -> bool:
    if module == "builtins":
        return class_name == "function" or class_name.startswith("__")
    return isinstance(module, str) and module.split(".")[0] in _KERAS_PACKAGES


def _objects(root: object, where: str) -> Iterator[dict[str, Any]]:
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
