"""One side's keys of INPUT_CONFIG, read with their faults kept, so that all of them can be told at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

from decoding.column import Side

_SHOWN_CHARACTERS = 80

T = TypeVar("T")


class Options:
    """Reads `data_*` or `label_*` keys. null is the same as absent.

    Attributes:
        faults: each names key, value and remedy.
    """

    def __init__(self, config: Mapping[str, object], side: Side) -> None:
        self._config = config
        self.side = side
        self.faults: list[str] = []
        self._elsewhere: dict[str, str] = {}

    def key(self, suffix: str) -> str:
        """The name of what the suffix stands for, in an error."""
        return self._elsewhere.get(suffix) or f"{self.side.name}_{suffix}"

    def with_schema(self, name: str) -> Options:
        """The same keys beside a schema of that name, which INPUT_CONFIG does not hold; with faults of their own."""
        other = Options(self._config, self.side)
        other._elsewhere["scheme"] = name
        return other

    def is_given(self, suffix: str) -> bool:
        return self._config.get(self.key(suffix)) is not None

    def read(self, suffix: str, parse: Callable[[object], T], *, remedy: str = "") -> T | None:
        """The parsed value; None where it is absent or faulty. With a remedy, absence is a fault too.

        Args:
            parse: raises ValueError with what to say after key and value.
        """
        value = self._config.get(self.key(suffix))
        if value is None:
            if remedy:
                self.faults.append(f"INPUT_CONFIG.{self.key(suffix)} is not set: give {remedy}")
            return None
        try:
            return parse(value)
        except ValueError as exc:
            self.note(suffix, str(exc))
            return None

    def note(self, suffix: str, words: str) -> None:
        """Keep a fault of a key that is given, or of the schema that stands elsewhere."""
        if suffix in self._elsewhere:
            self.faults.append(f"{self.key(suffix)} {words}")
            return
        value = repr(self._config[self.key(suffix)])
        if len(value) > _SHOWN_CHARACTERS:
            value = value[:_SHOWN_CHARACTERS] + "..."
        self.faults.append(f"INPUT_CONFIG.{self.key(suffix)}={value} {words}")
