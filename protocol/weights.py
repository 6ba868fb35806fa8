"""Weights on a topic: one message an array, key = its index, value = its pickle."""

from __future__ import annotations

from collections.abc import Iterable

from protocol.errors import ModelError
from protocol.pickles import load_array
from protocol.records import Array

_MOST_KEY_BYTES = 8


def array_key(index: int) -> bytes:
    """The key of array `index`: unsigned big-endian, as few bytes as hold it, at least one."""
    return index.to_bytes(max(1, (index.bit_length() + 7) // 8), "big")


def load_arrays(records: Iterable[tuple[bytes | None, bytes | None, str]]) -> list[Array]:
    """Rebuild a model's arrays from the messages of its range, in index order.

    Args:
        records: key, value and place of each message.

    Raises:
        ModelError: an index is missing, comes twice or is no index, or a message holds no array.
    """
    arrays: dict[int, tuple[Array, str]] = {}
    for key, value, place in records:
        if not key or value is None or len(key) > _MOST_KEY_BYTES:
            raise ModelError(f"{place}: a message of weights has an array's index as key and its pickle as value")
        index = int.from_bytes(key, "big")
        if index in arrays:
            raise ModelError(f"{place}: array {index} stands twice in the announced range, so another one is missing")
        arrays[index] = load_array(value, place), place
    for index, (_array, place) in arrays.items():
        if index >= len(arrays):
            raise ModelError(f"{place}: array index {index} in a model of {len(arrays)} messages")
    return [arrays[index][0] for index in range(len(arrays))]
