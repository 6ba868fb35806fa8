"""The replies that the cloud has from one client, committed or not."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

from protocol.messages import ModelMessage, parse_answer
from protocol.positions import Positions
from protocol.stream_spec import OffsetRange
from protocol.topics import Federation
from transport.interfaces import LogReader

PARTITION = 0


@dataclass(frozen=True, slots=True)
class Replied:
    """What a client has replied to.

    Attributes:
        is_answered: whether that is among it which was asked for.
        positions: of the moving stream behind the newest reply; None where it tells of none.
    """

    is_answered: bool = False
    positions: Positions | None = None


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

    def look(self, message: ModelMessage) -> Replied:
        """What this client has replied to, a message and others of its control topic.

        A cloud that has such a reply may have announced a newer model since: then no model that waits is answered, and yet the
        stream goes on behind that reply.
        """
        found = Replied()
        with self._open_reader() as reader:
            if PARTITION not in reader.partitions(self._topic):
                return found
            low, high = reader.bounds(self._topic, PARTITION)
            for records in reader.read(OffsetRange(self._topic, PARTITION, low, high)):
                for answer in (parse_answer(record.value()) for record in records if record.key() == self._key):
                    if answer.is_beside(message):
                        found = Replied(found.is_answered or answer.is_to(message), answer.positions or found.positions)
        return found
