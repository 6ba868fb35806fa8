"""Compile arguments, in all the shapes that Keras 2 and Keras 3 write them, for the Keras that is to train.

What cannot be honoured is an error that names the field; nothing becomes a default in silence.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Mapping
from typing import Any

from protocol.architecture import Dialect, screen_objects
from protocol.errors import ModelError
from protocol.words import shown
from training.causes import cause
from training.dialects import output_names

_ROOT = "model_compile_args"
# compile itself turns these into the metric that suits the loss; `metrics.get` does not know all of them.
_BY_LOSS = frozenset({"accuracy", "acc", "crossentropy", "ce"})
# How many steps are done at a time changes nothing that is learnt; `training.fit` chooses it.
_OURS = frozenset({"steps_per_execution"})


class Compilation:
    """Turns one message's compile arguments into keyword arguments of `model.compile`.

    Args:
        keras: the library of the dialect.
        place: where the message stands, for errors.
        allows_code: as `protocol.architecture` has it.
    """

    def __init__(self, keras: Any, dialect: Dialect, place: str, *, allows_code: bool = False) -> None:
        self._keras = keras
        self._dialect = dialect
        self._place = place
        self._allows_code = allows_code

    def arguments(self, model: Any, args: Mapping[str, Any]) -> dict[str, Any]:
        """Keyword arguments for `model.compile`, of objects made anew.

        Raises:
            ModelError: naming the field that is missing, unknown, or cannot be honoured.
        """
        screen_objects(args, f"{_ROOT}: {{}}, at {self._place}", allows_code=self._allows_code)
        for name in ("optimizer", "loss"):
            if args.get(name) is None:
                raise self._error(name, "missing")
        outputs = output_names(model)
        known = set(inspect.signature(model.compile).parameters) - {"self", "kwargs"}
        arguments: dict[str, Any] = {}
        for name, value in args.items():
            if value is None or name in _OURS:
                continue  # None is what Keras writes for an argument that was not given
            if name not in known:
                raise self._error(
                    shown(name), f"compile of {self._dialect.value} does not know it; it knows {', '.join(sorted(known))}"
                )
            read = _READERS.get(name)
            arguments[name] = read(self, value, name, outputs) if read else value
        if isinstance(arguments.get("loss_weights"), list) and isinstance(arguments.get("loss"), dict):
            # Keras 2 takes a list beside a dict of losses, in the order of the outputs; Keras 3 wants both alike.
            arguments["loss_weights"] = dict(zip(outputs, arguments["loss_weights"], strict=True))
        return arguments

    def optimizer(self, value: Any, path: str, _outputs: list[str]) -> Any:
        optimizer = self._one(value, path, self._keras.optimizers)
        decay = value["config"].get("decay") if _is_object(value) else None
        if decay and "decay" not in optimizer.get_config():
            raise self._error(
                f"{path}.config.decay",
                f"{self._dialect.value} has no decay of {decay!r}; give an InverseTimeDecay schedule as learning_rate",
            )
        return optimizer

    def loss(self, value: Any, path: str, outputs: list[str]) -> Any:
        return self._nested(value, path, outputs, self._keras.losses)

    def metrics(self, value: Any, path: str, outputs: list[str]) -> Any:
        """Metrics; a flat list goes to every output, as in Keras 2."""
        if isinstance(value, str) or (isinstance(value, dict) and "class_name" in value):
            value = [value]
        is_flat = isinstance(value, list) and not any(isinstance(one, list) for one in value)
        if is_flat and len(outputs) == 1:
            value = [one for one in value if one is not None]
        if self._dialect is Dialect.KERAS_3 and len(outputs) > 1 and is_flat and len(value) != len(outputs):
            value = [value] * len(outputs)
        return self._nested(value, path, outputs, self._keras.metrics)

    def _nested(self, value: Any, path: str, outputs: list[str], library: Any) -> Any:
        """One of a library's things, or lists of them, or dicts of them by output."""
        if isinstance(value, list):
            return [self._nested(one, f"{path}.{index}", outputs, library) for index, one in enumerate(value)]
        if isinstance(value, dict) and "class_name" not in value:
            self._check_outputs(value, path, outputs)
            return {name: self._nested(one, f"{path}.{name}", outputs, library) for name, one in value.items()}
        return None if value is None else self._one(value, path, library)

    def loss_weights(self, value: Any, path: str, outputs: list[str]) -> Any:
        if isinstance(value, dict):
            self._check_outputs(value, path, outputs)
        elif isinstance(value, list) and len(value) != len(outputs):
            raise self._error(path, f"expected a number for each of the {len(outputs)} outputs, received {value!r:.80}")
        return value

    def _one(self, value: Any, path: str, library: Any) -> Any:
        """One optimizer, loss or metric: a name stays a name, of which Keras then makes what suits the model."""
        if isinstance(value, dict) and value.get("class_name") == "function":
            value = value.get("config")  # how Keras 3 writes a function
        if isinstance(value, str) and value in _BY_LOSS and library is self._keras.metrics:
            return value
        if not isinstance(value, str) and not _is_object(value):
            raise self._error(path, f"expected a name or an object with class_name and config, received {value!r:.80}")
        load: Callable[[Any], Any] = library.get if isinstance(value, str) else library.deserialize
        try:
            loaded = load(copy.deepcopy(value))  # tf_keras writes into what it is given
        except Exception as exc:
            raise self._error(path, f"{self._dialect.value} cannot make {value!r:.200}: {cause(exc)}") from exc
        if isinstance(loaded, str):  # how Keras answers a name that it does not know
            raise self._error(path, f"{self._dialect.value} knows no {loaded!r:.80}")
        return value if isinstance(value, str) and library is not self._keras.optimizers else loaded

    def _check_outputs(self, value: Mapping[str, Any], path: str, outputs: list[str]) -> None:
        unknown = [name for name in value if name not in outputs]
        if unknown:
            raise self._error(path, f"the model has the outputs {', '.join(outputs)}, received {shown(', '.join(unknown))}")

    def _error(self, path: str, text: str) -> ModelError:
        return ModelError(f"{_ROOT}.{path}: {text}, at {self._place}")


_READERS: dict[str, Callable[[Compilation, Any, str, list[str]], Any]] = {
    "optimizer": Compilation.optimizer,
    "loss": Compilation.loss,
    "metrics": Compilation.metrics,
    "weighted_metrics": Compilation.metrics,
    "loss_weights": Compilation.loss_weights,
}


def _is_object(value: object) -> bool:
    return isinstance(value, dict) and "class_name" in value and isinstance(value.get("config"), dict)
