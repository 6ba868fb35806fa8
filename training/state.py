"""What a fit changes in a model beside its weights, and how it gets back to new for the next round."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, final

import numpy as np

from protocol.architecture import Dialect
from protocol.records import Array


@final
class FitState:
    """The state of a model that has just been compiled: its optimizer's, metrics' and layers', and its generators of chance.

    Restored, the model fits as if it had been built anew: the next round neither builds nor traces it.
    """

    def __init__(self, dialect: Dialect, model: Any) -> None:
        self._model = model
        self._variables = [*_beside_weights(model), *_build_optimizer(model)]
        self._values = [_compact(variable.numpy()) for variable in self._variables]
        self._reseeders = list(_RESEED[dialect](model))
        # Keras 2's recurrent layers keep their states beside all variables; those of Keras 3 are among them.
        self._stateful = [layer for layer in layers_of(model) if is_stateful(layer) and hasattr(layer, "reset_states")]

    def restore(self, seed: int) -> None:
        """Put all of it back to new.

        Args:
            seed: of this round, for those generators whose layer was given none of its own.
        """
        for variable, value in zip(self._variables, self._values, strict=True):
            variable.assign(value)
        for index, reseed in enumerate(self._reseeders):
            reseed(seed_of(seed, index))
        for layer in self._stateful:
            layer.reset_states()
        self._model.reset_metrics()


def seed_of(seed: int, number: int) -> int:
    """The seed of one of several things that follow from a seed. 32 bit, unsigned."""
    return zlib.crc32(f"{seed} {number}".encode())


def can_be_kept(dialect: Dialect, model: Any) -> bool:
    """Whether an optimizer's state is the same for whatever weights: in Keras 2 one that averages them begins with them."""
    return dialect is Dialect.KERAS_3 or not getattr(model.optimizer, "use_ema", False)


def layers_of(model: Any) -> list[Any]:
    """All layers, however nested, with the cells of recurrent ones."""
    return list(model._flatten_layers())  # noqa: SLF001 - cells are in no public list


def is_stateful(layer: Any) -> bool:
    """Whether a layer goes on from batch to batch, which must then be of one size."""
    return getattr(layer, "stateful", False) is True


def _beside_weights(model: Any) -> list[Any]:
    weights = {id(variable) for variable in model.weights}
    return [variable for variable in model.variables if id(variable) not in weights]


def _build_optimizer(model: Any) -> Sequence[Any]:
    """Make an optimizer's variables, as the first step of a fit would; returns them."""
    optimizer, trained = model.optimizer, model.trainable_variables
    if hasattr(optimizer, "build"):
        optimizer.build(trained)
        variables = list(optimizer.variables)
    else:  # Keras 2's older optimizers, which have no public way to it
        optimizer._create_all_weights(trained)  # noqa: SLF001
        variables = list(optimizer.variables())
    listed = {id(variable) for variable in variables}
    # Keras 2's Nadam has one that it does not list.
    return variables + [one for one in vars(optimizer).values() if hasattr(one, "assign") and id(one) not in listed]


def _compact(value: Array) -> Array:
    """An array of one number over, as most of an optimizer's are at first, without the memory of all of it."""
    value = np.asarray(value)
    is_uniform = value.size > 1 and bool((value == value.flat[0]).all())
    return np.broadcast_to(value.flat[0], value.shape) if is_uniform else value


def _reseed_keras_3(model: Any) -> Iterator[Callable[[int], None]]:
    for layer in layers_of(model):
        for name in ("seed_generator", "generator"):  # dropout and noise have the one, augmentation the other
            generator: Any = getattr(layer, name, None)
            if hasattr(generator, "state") and getattr(layer, "seed", None) is None:
                yield partial(_start_over, generator.state)  # those with a seed of their own are among the variables


def _start_over(state: Any, seed: int) -> None:
    state.assign([seed, 0])


def _reseed_keras_2(model: Any) -> Iterator[Callable[[int], None]]:
    for layer in layers_of(model):
        random: Any = getattr(layer, "_random_generator", None)
        generator = getattr(random, "_generator", None)
        if generator is not None:
            own = random._seed  # noqa: SLF001 - where the layer's configuration gives one
            yield generator.reset_from_seed if own is None else partial(_reset_to, generator, own)


def _reset_to(generator: Any, own: int, _seed: int) -> None:
    generator.reset_from_seed(own)


_RESEED: dict[Dialect, Callable[[Any], Iterator[Callable[[int], None]]]] = {
    Dialect.KERAS_2: _reseed_keras_2,
    Dialect.KERAS_3: _reseed_keras_3,
}
