"""A model's announced weights, read from the cloud's Kafka."""

from __future__ import annotations

from collections.abc import Iterator

import watching
from protocol.errors import ModelError, SpaceLackError
from protocol.messages import ModelMessage
from protocol.records import Array
from protocol.weights import load_arrays
from transport.interfaces import LogReader, Record, place
from watching import WeightsMoved

RECORD_OVERHEAD_BYTES = 1_000  # what an array takes in Python, with its place, beside its numbers


def read_weights(reader: LogReader, model: ModelMessage, limit_bytes: int) -> list[Array]:
    """The arrays of a model, in the order of the sender's `get_weights`.

    Each message is looked at as it comes, so that a range of anything else is not read to its end.

    Args:
        limit_bytes: what all of them may take.

    Raises:
        ModelError: the announced range holds no model's arrays, or retention has removed some.
        SpaceLackError: they take more than the limit.
        LimitError: some did not arrive.
    """
    return load_arrays((record.key(), record.value(), place(record)) for record in _records(reader, model, limit_bytes))


def _records(reader: LogReader, model: ModelMessage, limit_bytes: int) -> Iterator[Record]:
    taken = 0
    for one in model.weights:
        for records in reader.read(one, gone=ModelError):
            for record in records:
                size = len(record.value() or b"")
                taken += size + RECORD_OVERHEAD_BYTES
                if taken > limit_bytes:
                    raise SpaceLackError(
                        f"weights: {model.spec} holds more than {limit_bytes} bytes, half of this worker's memory: "
                        f"give the pod more, at {model.place}"
                    )
                watching.tell(WeightsMoved("received", size))
                yield record
