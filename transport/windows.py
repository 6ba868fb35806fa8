"""A moving stream, read in windows from several partitions at once, from round to round."""

from __future__ import annotations

import itertools
import logging
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from protocol.errors import DataError
from protocol.positions import Partition, Positions
from protocol.records import BadRecord, RecordBatch
from protocol.stream_spec import StreamRange
from protocol.windows import Window, WindowLimits
from transport.bad_records import BadRecordTopic
from transport.interfaces import POLL_S, LogReader, Record, offset_of, partition_of
from transport.patience import Patience
from transport.positions import StreamPositions
from transport.stream import Counts, batch_of, tell_left_out

log = logging.getLogger(__name__)

LOOK_EVERY_S = 5.0  # how often a stream is looked at while it is silent: a topic may have more partitions, or be made anew
LEAST_POLL_S = 0.02  # so that what has to wait for something else does not spin
READ_BATCH = 2_000  # records at a time


class _GoneError(DataError):
    """Retention was faster than the reading."""


@dataclass(slots=True)
class _Round:
    """A round as far as it has got, in seconds of the monotonic clock.

    Attributes:
        heard: when its last record came, or its last window was taken.
        begun, opened: when the first record of the round, and of the window in hand, came; None where none has yet.
        batches: of the window in hand, in the order in which they came.
        windows: those that were taken.
    """

    heard: float
    begun: float | None = None
    opened: float | None = None
    batches: list[RecordBatch] = field(default_factory=list)
    windows: int = 0

    def add(self, batches: Sequence[RecordBatch]) -> None:
        if batches:
            self.heard = time.monotonic()
            self.begun, self.opened = self.begun or self.heard, self.opened or self.heard
            self.batches += batches

    def take(self) -> None:
        self.windows += 1
        self.heard = time.monotonic()
        self.drop()

    def drop(self) -> None:
        self.batches, self.opened = [], None
        if not self.windows:
            self.begun = None

    def __len__(self) -> int:
        return sum(map(len, self.batches))


class MovingStream:
    """The windows of a stream that goes on.

    It keeps no position from round to round, but begins each where it is told to: a round that comes to nothing is read again.

    Args:
        spec: the stream, at most one range of a partition.
        where: finds where its partitions go on.
        wait_limit_s: longest wait for a round's first record; None = without limit.
        bad_records: where they go; None = nowhere.
        variable: the setting that the spec comes from.
        needs_key: leave out records without a key, as a label is one.

    Attributes:
        counts: what was met.
    """

    def __init__(  # noqa: PLR0913 - what is read, by whom, and how long its waits may be
        self,
        reader: LogReader,
        where: StreamPositions,
        spec: Sequence[StreamRange],
        limits: WindowLimits,
        wait_limit_s: float | None,
        *,
        bad_records: BadRecordTopic | None = None,
        variable: str = "DATA_TOPIC",
        needs_key: bool = True,
    ) -> None:
        self._reader = reader
        self._where = where
        self._spec = spec
        self._limits = limits
        self._wait_limit_s = wait_limit_s
        self._bad_records = bad_records
        self._variable = variable
        self._needs_key = needs_key
        self._ids: Mapping[str, str] = {}
        self._at: dict[Partition, int] = {}  # as far as it is read
        self._ends: dict[Partition, int] = {}  # of those of which the spec has one
        self._looked = 0.0
        self.counts = Counts()

    def windows(self, start: Positions | None, silence_s: float | None) -> Iterator[Window]:
        """Yield the windows of one round as they come, at least one.

        A window ends by its limits, and with the round. A round ends by its limits, and where the stream has been silent since
        its last record came, or since the last window was taken if that was later.

        Args:
            start: where the stream goes on.
            silence_s: so many seconds; None = silence ends no round.

        Raises:
            LimitError: no record came within the limit.
            DataError: the spec has an end, up to which all of the stream has been trained on.
        """
        self._begin(start)
        self._check_end()
        if self._bad_records is not None:
            self._bad_records.begin(start)
        left_out = self.counts.tombstones, self.counts.keyless
        now = _Round(time.monotonic())
        patience = Patience(f"a record on {self._variable} {','.join(map(str, self._spec))}", self._wait_limit_s)
        try:
            while True:
                self._hear(now, silence_s)
                is_over = self._is_over(now) or self._is_silent(now, silence_s)
                is_full = len(now) > 0 and (is_over or self._is_full(now))
                if is_full or time.monotonic() - self._looked > LOOK_EVERY_S:
                    self._look(now)
                if is_full and now.batches:
                    yield Window(now.batches, self._reached())
                    now.take()
                    is_over = is_over or self._is_over(now)
                if is_over and now.windows:
                    return
                if now.begun is None:
                    patience.tick()
        finally:
            self._reader.unfollow()
            self._tell_left_out(*left_out)

    def commit(self, positions: Positions) -> None:
        """Tell whoever watches the group of the stream that it is trained on up to these positions."""
        self._where.commit(positions)

    def hand_over(self, bad: Sequence[BadRecord]) -> None:
        """Copy the bad records of a window to the topic that is named for them, if one is."""
        if self._bad_records is not None:
            self._bad_records.take(bad)

    def _begin(self, start: Positions | None) -> None:
        """Follow each partition that is there now, from where it goes on."""
        found = self._where.find(start)
        self._ids, self._at, self._looked = found.topic_ids, dict(found.offsets), time.monotonic()
        ends = {(one.topic, one.partition): one.end for one in self._spec}
        self._ends = {one: end for one in self._at if (end := ends.get(one)) is not None}
        self._reader.follow({one: at for one, at in self._at.items() if not self._is_at_end(one)})

    def _reached(self) -> Positions:
        return Positions(self._ids, dict(self._at))

    def _hear(self, now: _Round, silence_s: float | None) -> None:
        """Take in what comes within a moment, which ends no later than something is due."""
        quiet_since = None if now.begun is None else now.heard
        waits = [(now.opened, self._limits.seconds), (now.begun, self._limits.round_seconds), (quiet_since, silence_s)]
        due = min(math.inf if since is None or limit_s is None else since + limit_s for since, limit_s in waits)
        limit_s = min(POLL_S, max(LEAST_POLL_S, due - time.monotonic()))
        try:
            records, reached = self._reader.poll(min(READ_BATCH, self._limits.records - len(now)), limit_s, gone=_GoneError)
        except _GoneError:
            self._begin_anew(now)
            return
        for one, position in reached.items():
            self._at[one] = min(position, self._ends.get(one, position))
        if self._ends:
            records = [record for record in records if offset_of(record) < self._ends.get(partition_of(record), math.inf)]
        now.add(self._batches(records))

    def _batches(self, records: Sequence[Record]) -> list[RecordBatch]:
        batches = [
            batch_of(topic, partition, list(those), self.counts, needs_key=self._needs_key)
            for (topic, partition), those in itertools.groupby(records, partition_of)
        ]
        return [batch for batch in batches if len(batch)]

    def _is_full(self, now: _Round) -> bool:
        return len(now) >= self._limits.records or _has_passed(now.opened, self._limits.seconds)

    def _is_over(self, now: _Round) -> bool:
        return now.begun is not None and (
            now.windows == self._limits.round_windows or _has_passed(now.begun, self._limits.round_seconds) or self._has_ended()
        )

    def _is_silent(self, now: _Round, silence_s: float | None) -> bool:
        """Whether silence ends the round: its time has passed, and nothing is only late."""
        if now.begun is None or silence_s is None or not _has_passed(now.heard, silence_s):
            return False
        self._look(now)  # a partition that is gone has no end to be asked for
        return now.begun is not None and all(
            self._reader.bounds(*one)[1] <= at for one, at in self._at.items() if not self._is_at_end(one)
        )

    def _look(self, now: _Round) -> None:
        """See whether the topics are still the ones that they were, with the same partitions."""
        self._looked = time.monotonic()
        if not self._where.are_whole(self._reached()):
            self._begin_anew(now)

    def _begin_anew(self, now: _Round) -> None:
        """Follow what is there now.

        What was read of a topic that was made anew since the last look is in doubt, and dropped: a client goes on at its old
        offset, and mixes the two.
        """
        before = self._reached()
        self._begin(before)
        if self._ids != before.topic_ids:
            now.drop()

    def _tell_left_out(self, tombstones: int, keyless: int) -> None:
        tell_left_out(self.counts.tombstones - tombstones, self.counts.keyless - keyless)

    def _is_at_end(self, one: Partition) -> bool:
        return one in self._ends and self._at[one] >= self._ends[one]

    def _has_ended(self) -> bool:
        return all(map(self._is_at_end, self._at))

    def _check_end(self) -> None:
        if self._has_ended():
            raise DataError(
                f"{self._variable} has an end, and all before it has been trained on: leave it out of the spec, since a moving "
                "stream goes on"
            )


def _has_passed(since: float | None, limit_s: float) -> bool:
    return since is not None and time.monotonic() - since >= limit_s
