"""The keys of an unlabelled stream, which carry nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import numpy as np

from protocol.records import Array


@final
class NoColumn:
    """A column, and the plan of one, that makes labels of no number of whatever the keys are."""

    open_keys: tuple[str, ...] = ()

    def settle(self, _first: bytes) -> NoColumn:
        return self

    def decode(self, raws: Sequence[bytes]) -> Array:
        return np.empty((len(raws), 0), np.uint8)


NO_LABEL = NoColumn()
