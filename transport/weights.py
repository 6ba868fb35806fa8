"""A model's announced weights, read from the cloud's Kafka."""

from __future__ import annotations

from protocol.errors import ModelError
from protocol.messages import ModelMessage
from protocol.records import Array
from protocol.weights import load_arrays
from transport.interfaces import LogReader, place


def read_weights(reader: LogReader, model: ModelMessage) -> list[Array]:
    """The arrays of a model, in the order of the sender's `get_weights`.

    Raises:
        ModelError: the announced range holds no model's arrays, or retention has removed some.
        LimitError: some did not arrive.
    """
    records = [
        (message.key(), message.value(), place(message))
        for one in model.weights
        for messages in reader.read(one, gone=ModelError)
        for message in messages
    ]
    return load_arrays(records)
