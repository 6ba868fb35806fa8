"""A model message and its weights → a compiled Keras model, in the Keras that the sender speaks."""

from __future__ import annotations

import gc
import json
import logging
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from protocol.architecture import Dialect, screen
from protocol.errors import ModelError
from protocol.messages import ModelMessage
from protocol.records import Array
from protocol.words import shown
from training.causes import cause
from training.compilation import Compilation
from training.dialects import TrainableModel, allow_code, dtype_of, load_keras, output_names, path_of, unknown_classes
from training.forgetting import forget_gradients
from training.limits import Overdue, within
from training.sizes import check_outputs, variables_within
from training.state import FitState, can_be_kept

log = logging.getLogger(__name__)

BUILD_SEED = 0  # the same for every build: it goes into TensorFlow's seeds of later operations, which are the rounds' own


@dataclass(frozen=True, slots=True)
class _Built:
    """A compiled model, and the architecture and compile arguments that it was built from."""

    plan: tuple[str, Mapping[str, Any]]
    trainable: TrainableModel


class KafkaModelEngine:
    """Loads the models that a cloud announces.

    A model is built once for all rounds of the same architecture and compile arguments, so its functions are traced once.

    Args:
        fetch_weights: reads a message's arrays, in the order of the sender's `get_weights`.
        memory_bytes: what this process may have; a model that must have more is refused.
        allows_code: build models that carry code.
        build_limit_s: the longest that building a model may take, in the main thread; None = without limit.
    """

    def __init__(
        self,
        fetch_weights: Callable[[ModelMessage], Sequence[Array]],
        *,
        memory_bytes: int = sys.maxsize,
        allows_code: bool = False,
        build_limit_s: float | None = None,
    ) -> None:
        self._fetch_weights = fetch_weights
        self._memory_bytes = memory_bytes
        self._allows_code = allows_code
        self._build_limit_s = build_limit_s
        self._built: _Built | None = None

    def load(self, message: ModelMessage, seed: int) -> TrainableModel:
        """Build and compile, where that has not been done; set the weights; put everything else back to new.

        Args:
            seed: for whatever the fit draws by chance (dropout, shuffling), so that a round done again is the same.

        Raises:
            ModelError: the architecture, the compile arguments or the weights cannot be used as they are.
        """
        dialect = screen(message.architecture, message.place, allows_code=self._allows_code)
        arrays = self._fetch_weights(message)
        plan = (message.architecture, message.compile_args)
        built = self._built
        if built is None or built.plan != plan or not can_be_kept(dialect, built.trainable.model):
            self._built = None  # lets the old one go before the new one takes memory
            built = self._built = _Built(plan, self._build_within_limit(dialect, message, arrays))
        built.trainable.model.set_weights(_fitted(arrays, built.trainable.model.weights, message))
        built.trainable.state.restore(seed)
        return built.trainable

    def received(self, message: ModelMessage) -> Sequence[Array]:
        """The arrays that a message announces, as they came: read again, since a fit needs the memory more."""
        return self._fetch_weights(message)

    def _build_within_limit(self, dialect: Dialect, message: ModelMessage, arrays: Sequence[Array]) -> TrainableModel:
        try:
            with within(self._build_limit_s):
                return self._build(dialect, message, arrays)
        except Overdue as exc:  # Keras 2 goes round and round for a call that never comes
            raise ModelError(
                f"model_architecture: {dialect.value} has not built it within {self._build_limit_s:g} s; do its layers refer "
                f"to calls that it does not have? LOAD_LIMIT_S sets the limit, at {message.place}"
            ) from exc

    def _build(self, dialect: Dialect, message: ModelMessage, arrays: Sequence[Array]) -> TrainableModel:
        keras = load_keras(dialect)
        keras.backend.clear_session()
        forget_gradients()
        gc.collect()  # Keras's models refer to themselves; left to Python they pile up
        if self._allows_code:
            allow_code(keras, dialect)
        keras.utils.set_random_seed(BUILD_SEED)
        with variables_within(arrays, message):  # begun after the session is cleared, which would end it
            model = _load_model(keras, dialect, message)
            check_outputs(model, message, self._memory_bytes)
            compilation = Compilation(keras, dialect, message.place, allows_code=self._allows_code)
            arguments = compilation.arguments(model, message.compile_args)
            try:
                model.compile(**arguments)
            except Exception as exc:
                raise ModelError(
                    f"model_compile_args: {dialect.value} cannot compile with them: {cause(exc)}, at {message.place}"
                ) from exc
        log.info("model built with=%s weights=%d", keras.__name__, model.count_params())
        if len(model.outputs) > 1:
            log.info("outputs %s: each is fitted to the same labels", ", ".join(output_names(model)))
        return TrainableModel(dialect, keras, model, FitState(dialect, model))


def _load_model(keras: Any, dialect: Dialect, message: ModelMessage) -> Any:
    try:
        model = keras.models.model_from_json(message.architecture)
    except Exception as exc:
        custom = ", ".join(unknown_classes(keras, json.loads(message.architecture)))
        why = f"it has no {shown(custom)}; a custom class is code, which does not travel" if custom else cause(exc)
        raise ModelError(f"model_architecture: {dialect.value} cannot load it: {why}, at {message.place}") from exc
    if not model.built:
        raise ModelError(f"model_architecture: it names no input shape, so it has no weights to set, at {message.place}")
    return model


def _fitted(arrays: Sequence[Array], variables: Sequence[Any], message: ModelMessage) -> list[Array]:
    """The arrays in the dtypes of the variables; every difference that matters is an error that compares."""
    if len(arrays) != len(variables):
        raise ModelError(
            f"weights: received {len(arrays)} arrays in {message.spec}, the architecture wants {len(variables)}, "
            f"at {message.place}"
        )
    fitted, faults = [], []
    for index, (array, variable) in enumerate(zip(arrays, variables, strict=True)):
        shape, dtype = tuple(variable.shape), dtype_of(variable)
        label = f"array {index} ({path_of(variable)})"
        if array.shape != shape or not _converts(array, dtype):
            faults.append(f"{label}: received {array.shape} {array.dtype}, the architecture wants {shape} {dtype}")
            continue
        with np.errstate(over="ignore"):
            fitted.append(array.astype(dtype, copy=False))
        if not np.isfinite(fitted[-1]).all():
            faults.append(f"{label}: received NaN or infinity among its numbers")
        elif array.dtype != dtype:
            log.warning("%s is announced as %s, trained as %s", label, array.dtype, dtype)
    if faults:
        raise ModelError(f"weights: {'; '.join(faults)}, in {message.spec}, at {message.place}")
    return fitted


def _converts(array: Array, dtype: np.dtype[Any]) -> bool:
    """Whether an array may stand for one of another dtype: floats for floats, else the same numbers exactly.

    An aggregator that averages in numpy's float64 sends float64, also for counters that are integers here.
    """
    if array.dtype == dtype or (array.dtype.kind == "f" and dtype.kind == "f"):
        return True
    with np.errstate(invalid="ignore"):
        return bool(np.array_equal(array.astype(dtype).astype(array.dtype), array))
