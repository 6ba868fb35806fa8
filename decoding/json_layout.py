"""How the numbers of a JSON value lie in it: learnt from the first record, asked of all others."""

from __future__ import annotations

import itertools
import math
import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from decoding.column import UnfitError
from decoding.shapes import MAX_DIMENSIONS, Shape

_NUMBERS = frozenset({int, float, bool})


class Layout(Protocol):
    """Takes the numbers out of one value."""

    @property
    def shape(self) -> Shape:
        """Sizes of the value; () for a number, (count,) for an object."""

    @property
    def is_single(self) -> bool:
        """Whether it is one number, in no array."""

    def take(self, value: Any, row: list[float]) -> None:
        """Append the value's numbers, in order.

        Raises:
            UnfitError: with the path of what is not as in the first record.
        """

    def pick(self, value: Any) -> Sequence[Any]:
        """The same without a look at what stands where numbers should: names of fields may be among it, or characters.

        Raises:
            TypeError, LookupError, ValueError: something else is not as in the first record.
        """


@dataclass(frozen=True, slots=True)
class Number:
    """A number or a boolean."""

    path: str
    shape: Shape = ()
    is_single: bool = True

    def take(self, value: Any, row: list[float]) -> None:
        if type(value) not in _NUMBERS:
            raise UnfitError(f"{self.path} is {_name(value)}, expected a number")
        row.append(value)

    def pick(self, value: Any) -> Sequence[Any]:
        return (value,)


@dataclass(frozen=True, slots=True)
class Grid:
    """Arrays in arrays of numbers, of the same length at each depth."""

    path: str
    shape: Shape
    is_single: bool = False

    def take(self, value: Any, row: list[float]) -> None:
        self._take(value, self.shape, self.path, row)

    def pick(self, value: Any) -> Sequence[Any]:
        is_regular = len(value) == self.shape[0]
        for size in self.shape[1:]:
            is_regular = is_regular and set(map(len, value)) == {size}
            value = list(itertools.chain.from_iterable(value))
        if not is_regular:
            raise ValueError
        return value  # type: ignore[no-any-return]

    def _take(self, value: Any, shape: Shape, path: str, row: list[float]) -> None:
        if type(value) is not list:
            raise UnfitError(f"{path} is {_name(value)}, expected an array of {shape[0]}")
        if len(value) != shape[0]:
            raise UnfitError(
                f"{path} is an array of {len(value)}, expected {shape[0]} (shape {' '.join(map(str, self.shape))})"
            )
        if len(shape) > 1:
            for index, inner in enumerate(value):
                self._take(inner, shape[1:], f"{path}[{index}]", row)
            return
        if not _NUMBERS.issuperset(map(type, value)):
            index = next(index for index, inner in enumerate(value) if type(inner) not in _NUMBERS)
            raise UnfitError(f"{path}[{index}] is {_name(value[index])}, expected a number")
        row.extend(value)


@dataclass(frozen=True, slots=True)
class Fields:
    """An object, its fields taken in the order of `layouts`, wherever they stand in the text.

    Attributes:
        is_exact: fields that are not in `layouts` are refused; else they do not count.
        pick_all: takes the values of several fields at once, where each is a number.
    """

    path: str
    layouts: Mapping[str, Layout]
    shape: Shape
    is_exact: bool
    pick_all: Callable[[Any], Sequence[Any]] | None

    @property
    def is_single(self) -> bool:
        return len(self.layouts) == 1 and all(layout.is_single for layout in self.layouts.values())

    def take(self, value: Any, row: list[float]) -> None:
        _check_object(value, self.path, self.layouts)
        if self.is_exact and len(value) != len(self.layouts):
            extra = next(name for name in value if name not in self.layouts)
            raise UnfitError(f"{self.path} has the field {extra}, which the first record has not")
        for name, layout in self.layouts.items():
            layout.take(value[name], row)

    def pick(self, value: Any) -> Sequence[Any]:
        if self.is_exact and len(value) != len(self.layouts):
            raise ValueError
        if self.pick_all is not None:
            return self.pick_all(value)
        row: list[Any] = []
        for name, layout in self.layouts.items():
            row += layout.pick(value[name])
        return row


def learn(value: Any, path: str, depth: int = 0) -> Layout:
    """The layout of a first value.

    Raises:
        UnfitError: it holds what is no number, nothing at all, or too many levels.
    """
    if depth > MAX_DIMENSIONS:
        raise UnfitError(f"{path} is nested deeper than {MAX_DIMENSIONS} levels")
    if isinstance(value, dict):
        if not value:
            raise UnfitError(f"{path} is an object without fields")
        layouts = {name: learn(inner, f"{path}.{name}", depth + 1) for name, inner in value.items()}
        return _fields(path, layouts, is_exact=True)
    return Grid(path, _sizes(value, path)) if isinstance(value, list) else Number(path)


def learn_fields(value: Any, path: str, names: Sequence[str]) -> Layout:
    """The layout of an object's fields `names`, in this order.

    Raises:
        UnfitError: as `learn`; or it is no object, or lacks one of them.
    """
    _check_object(value, path, names)
    return _fields(path, {name: learn(value[name], f"{path}.{name}", 1) for name in names}, is_exact=False)


def _fields(path: str, layouts: Mapping[str, Layout], *, is_exact: bool) -> Fields:
    are_numbers = len(layouts) > 1 and all(isinstance(layout, Number) for layout in layouts.values())
    pick_all = operator.itemgetter(*layouts) if are_numbers else None
    return Fields(path, layouts, (sum(math.prod(layout.shape) for layout in layouts.values()),), is_exact, pick_all)


def _sizes(value: Any, path: str) -> Shape:
    sizes: list[int] = []
    while isinstance(value, list):
        if not value:
            raise UnfitError(f"{path} holds an empty array")
        sizes.append(len(value))
        value = value[0]
        if len(sizes) > MAX_DIMENSIONS:
            raise UnfitError(f"{path} is nested deeper than {MAX_DIMENSIONS} levels")
    return tuple(sizes)


def _check_object(value: Any, path: str, names: Iterable[str]) -> None:
    if not isinstance(value, dict):
        raise UnfitError(f"{path} is {_name(value)}, expected an object with {', '.join(names)}")
    for name in names:
        if name not in value:
            raise UnfitError(f"{path} lacks the field {name}")


def _name(value: Any) -> str:
    """A value that is not what it should be, in words."""
    if isinstance(value, str):
        return f"the text {value!r:.80}"
    if isinstance(value, list):
        return f"an array of {len(value)}"
    if isinstance(value, dict):
        return "an object"
    return "null" if value is None else f"the number {value!r}"
