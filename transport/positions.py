"""Where the partitions of a moving stream go on."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

from protocol.errors import DataError
from protocol.positions import METADATA_LIMIT_BYTES, Partition, Positions, can_be_kept
from protocol.stream_spec import StreamRange
from transport.interfaces import LogReader, Topics
from transport.stream import await_partitions

log = logging.getLogger(__name__)


class StreamPositions:
    """Finds where a stream goes on, and keeps that in the reader's group for whoever watches it.

    A partition goes on where it is told to. Where nothing tells of its topic, it goes on at the offset that the group has
    committed, else where the spec has it, else at its beginning.

    A partition that is new, and a topic that was made anew, are read from their beginning. Where retention was faster, the
    partition goes on with what is left: a moving stream is not kept for ever, and what is gone comes from nowhere.

    Args:
        answer_limit_s: longest wait for topics and partitions.
        variable: the setting that the spec comes from.
    """

    def __init__(
        self,
        reader: LogReader,
        topics: Topics,
        spec: Sequence[StreamRange],
        answer_limit_s: float,
        variable: str = "DATA_TOPIC",
    ) -> None:
        self._reader = reader
        self._topics = topics
        self._spec = spec
        self._answer_limit_s = answer_limit_s
        self._variable = variable
        self._committed: dict[Partition, int] = {}

    def find(self, start: Positions | None) -> Positions:
        """Where each partition that is there now goes on: an offset of its log.

        Args:
            start: behind all rounds that are answered; None where nothing tells.

        Raises:
            LimitError: a topic or partition is not there.
            AccessError: this client may not read it, or may not commit its group's offsets.
            DataError: there are more partitions than positions can be kept of, or one begins beyond its end.
        """
        ids: dict[str, str] = {}
        offsets: dict[Partition, int] = {}
        for one in self._spec:
            partitions = await_partitions(self._reader, one, self._answer_limit_s, self._variable)
            topic_id = ids[one.topic] = self._topics.topic_id(one.topic) or ""
            known = None
            if start is not None and one.topic in start.topic_ids:
                known = start.of(one.topic, topic_id)
                if start.topic_ids[one.topic] != topic_id:
                    _tell_anew(one.topic)
            for partition in partitions:
                offsets[one.topic, partition] = self._start(one, partition, topic_id, known)
        found = Positions(ids, offsets)
        if not can_be_kept(found):
            raise DataError(
                f"{self._variable} has {len(offsets)} partitions, and where they go on must fit into the "
                f"{METADATA_LIMIT_BYTES} bytes that Kafka keeps beside an offset: name some of them, and let other workers "
                "train on the others"
            )
        return found

    def are_whole(self, positions: Positions) -> bool:
        """Whether they are of the topics that are there now, and of all their partitions."""
        there = {(one.topic, partition) for one in self._spec for partition in self._there(one)}
        return there == positions.offsets.keys() and all(
            self._topics.topic_id(topic) == topic_id for topic, topic_id in positions.topic_ids.items()
        )

    def commit(self, positions: Positions) -> None:
        """Commit to the group those that have changed."""
        for (topic, partition), offset in positions.offsets.items():
            if self._committed.get((topic, partition)) != offset:
                self._reader.commit(topic, partition, offset, positions.topic_ids[topic])
                self._committed[topic, partition] = offset

    def _start(self, one: StreamRange, partition: int, topic_id: str, known: Mapping[int, int] | None) -> int:
        """Where a partition goes on.

        Args:
            known: where those of its topic do, as far as they were there; None where nothing tells.
        """
        topic = one.topic
        low, high = self._reader.bounds(topic, partition)
        wanted = self._first(one, partition, topic_id, (low, high)) if known is None else known.get(partition, low)
        if wanted < low:
            log.warning(
                "retention has removed offsets %d to %d of %s[%d] before they were trained on, lost_offsets=%d: the stream "
                "goes on at offset %d; keep it longer (retention.ms and retention.bytes of the topic), or train more often",
                *(wanted, low - 1, topic, partition, low - wanted, low),
            )
        elif wanted > high:
            log.warning(
                "the log of %s[%d] ends at offset %d, and was trained on up to %d: its brokers have lost records, and the "
                "stream goes on at the end",
                *(topic, partition, high, wanted),
            )
        return min(max(wanted, low), high)

    def _first(self, one: StreamRange, partition: int, topic_id: str, bounds: tuple[int, int]) -> int:
        """Where a partition begins for a client of which no reply tells."""
        low, high = bounds
        committed = self._reader.committed(one.topic, partition)
        if committed is not None:
            offset, of_topic = committed
            if of_topic in ("", topic_id) and offset <= high:
                self._committed[one.topic, partition] = offset
                return offset
            _tell_anew(one.topic)
            return low
        if one.start is None:
            return low
        if one.start > high:
            raise DataError(
                f"{self._variable} starts at offset {one.start} of {one.topic}[{partition}], and its log ends at {high}: the "
                "spec is of another stream, or the topic was made anew"
            )
        return one.start

    def _there(self, one: StreamRange) -> list[int]:
        return self._reader.partitions(one.topic) if one.partition is None else [one.partition]


def _tell_anew(topic: str) -> None:
    log.warning("topic %s was deleted and made anew: the stream goes on at its beginning", topic)
