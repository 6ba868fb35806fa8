"""Weights and metrics → one reply on Kafka."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace

import watching
from protocol.errors import KafkaError
from protocol.messages import Metrics, ModelMessage, Trained, encode_reply
from protocol.metrics import thin_to_fit
from protocol.pickles import dump_array
from protocol.records import Array
from protocol.stream_spec import OffsetRange
from protocol.topics import CONTROL_LIMIT_BYTES, WEIGHTS_LIMIT_BYTES, Federation
from protocol.weights import array_key
from transport.interfaces import Sender, Topics
from watching import WeightsMoved

log = logging.getLogger(__name__)

# What a record adds to its key and value in the broker's count: 70 to 79 bytes were measured.
RECORD_OVERHEAD_BYTES = 128
PICKLE_OVERHEAD_BYTES = 256  # above the 150 bytes and some for each axis that numpy's pickles begin with
PARTITION = 0


class FederatedKafkaMLAggregationSink:
    """Answers models for one client.

    Every array is acknowledged before the reply is sent, so whoever reads the reply finds the weights.
    """

    def __init__(self, sender: Sender, topics: Topics, federation: Federation) -> None:
        self._sender = sender
        self._topics = topics
        self._federation = federation
        self._prepared: tuple[str | None, int] = (None, 0)  # the id of the reply topic, and the bytes that it is known to take

    def transaction(self) -> AbstractContextManager[None]:
        """Within it, the reply, its arrays and the offset of what it answers stand together."""
        return self._sender.transaction()

    def prepare(self, largest_bytes: int) -> None:
        """Make sure that arrays of up to so many bytes, and a reply, can be sent; before the fit, so that none is in vain.

        What was made sure of once needs no look before each fit: sending looks.
        """
        largest = max(largest_bytes + PICKLE_OVERHEAD_BYTES + RECORD_OVERHEAD_BYTES, WEIGHTS_LIMIT_BYTES)
        if largest > self._prepared[1]:
            self._make_sure(largest)

    def _make_sure(self, largest: int) -> None:
        replies = self._federation.reply_data
        self._topics.ensure_topic(replies, largest)
        for topic in (replies, self._federation.reply_control):
            self._topics.check_writable(topic)
        self._prepared = self._topics.topic_id(replies), largest

    def send(self, arrays: Sequence[Array], message: ModelMessage, trained: Trained, mined: int | None = None) -> bytes:
        """Answer a model.

        Args:
            arrays: in the order of the sender's `get_weights`.
            mined: what a reply tells of the client's wallet, where there is a chain.

        Returns:
            The reply, as it stands on the control topic; it says where the arrays are.

        Raises:
            AccessError: this client may not write there.
            KafkaError: a record was not taken, or something else wrote between the arrays.
            ModelError: the metrics are too many for one message.
        """
        topic = self._federation.reply_data
        self.prepare(max((array.nbytes for array in arrays), default=0))
        prepared, taken = self._prepared
        # Whoever has taken the topic away, the producer would make it with a low limit.
        if prepared is None or self._topics.topic_id(topic) != prepared:
            self._make_sure(taken)
        offsets = self._sender.send(topic, ((array_key(index), dump_array(array)) for index, array in enumerate(arrays)))
        if offsets != list(range(offsets[0], offsets[0] + len(arrays))):
            raise KafkaError(
                f"{topic} took the arrays at offsets {offsets}: another worker with this client id writes between them"
            )
        watching.tell(WeightsMoved("sent", sum(array.nbytes for array in arrays)))
        # Never the log's end: after a transaction it lies one further, and the cloud waits for a record there.
        weights = OffsetRange(topic, PARTITION, offsets[0], offsets[-1] + 1)
        return self._send_reply(
            trained.metrics, lambda kept: encode_reply(weights, message, replace(trained, metrics=kept), mined)
        )

    def _send_reply(self, metrics: Metrics, encode: Callable[[Metrics], bytes]) -> bytes:
        topic, key = self._federation.reply_control, self._federation.group.encode()
        limit = CONTROL_LIMIT_BYTES - RECORD_OVERHEAD_BYTES - len(key)
        reply = thin_to_fit(metrics, encode, limit)
        if self._topics.topic_id(topic) is None:
            raise KafkaError(
                f"{topic} is gone, and a reply sent now would create it with the wrong limits: has the cloud ended?"
            )
        self._sender.send(topic, [(key, reply)])
        return reply
