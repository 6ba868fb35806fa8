"""The replies that the cloud has from one client, committed or not."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

from protocol.messages import ModelMessage, is_reply_to
from protocol.stream_spec import OffsetRange
from protocol.topics import Federation
from transport.interfaces import LogReader

PARTITION = 0


class ReplyLog:
    """Looks for replies on the aggregation control topic, as a reader of one isolation sees it.

    A cloud that reads uncommitted has a reply whose transaction was aborted, and another one would be another round to it.

    Args:
        open_reader: a reader of the cloud's isolation, for the time of a look.
    """

    def __init__(self, open_reader: Callable[[], AbstractContextManager[LogReader]], federation: Federation) -> None:
        self._open_reader = open_reader
        self._topic = federation.reply_control
        self._key = federation.group.encode()

    def holds(self, message: ModelMessage) -> bool:
        """Whether this client has replied to a message."""
        with self._open_reader() as reader:
            if PARTITION not in reader.partitions(self._topic):
                return False
            low, high = reader.bounds(self._topic, PARTITION)
            return any(
                record.key() == self._key and is_reply_to(record.value(), message)
                for records in reader.read(OffsetRange(self._topic, PARTITION, low, high))
                for record in records
            )
