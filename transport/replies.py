"""The replies that the cloud has from one client, committed or not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass

from protocol.messages import ModelMessage, OwnReply, parse_answer, read_own_reply
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
        self._arrays = f"{federation.reply_data}:{PARTITION}:"
        self._key = federation.group.encode()

    def look(self, message: ModelMessage) -> Replied:
        """What this client has replied to, a message and others of its control topic.

        A cloud that has such a reply may have announced a newer model since: then no model that waits is answered, and yet the
        stream goes on behind that reply.
        """
        found = Replied()
        for answer in map(parse_answer, self._values()):
            if answer.is_beside(message):
                found = Replied(found.is_answered or answer.is_to(message), answer.positions or found.positions)
        return found

    def own(self) -> list[OwnReply]:
        """All that this client has replied, in the order in which it did; what does not name its own arrays is none."""
        replies = map(read_own_reply, self._values())
        return [reply for reply in replies if reply is not None and reply.spec.startswith(self._arrays)]

    def _values(self) -> Iterator[bytes | None]:
        with self._open_reader() as reader:
            if PARTITION not in reader.partitions(self._topic):
                return
            low, high = reader.bounds(self._topic, PARTITION)
            for records in reader.read(OffsetRange(self._topic, PARTITION, low, high)):
                yield from (record.value() for record in records if record.key() == self._key)
