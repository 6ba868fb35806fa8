"""The model control topic, seen by one client: which model is to be trained next."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import watching
from protocol.errors import DataError, KafkaError, ModelError
from protocol.messages import Identity, ModelMessage, parse_model_message
from protocol.positions import Positions, Progress, parse_progress
from protocol.stream_spec import OffsetRange
from protocol.topics import Federation
from transport.interfaces import LogReader, Offsets, Record, Topics, offset_of, place
from transport.patience import Patience
from transport.replies import Replied
from watching import Lag

log = logging.getLogger(__name__)

PARTITION = 0
POLL_S = 0.5
LOOK_EVERY_S = 5.0  # how often a quiet topic is looked at, in case that it was made anew


@dataclass(frozen=True, slots=True)
class _Announced:
    """A record of the control topic that this client has not answered: a model, or a text that says why it is none."""

    offset: int
    model: ModelMessage | None
    fault: str = ""


@dataclass(frozen=True, slots=True)
class Delivery:
    """How a model comes to be answered once, whatever ends a worker when.

    Attributes:
        offsets: what commits the offset of a model that is answered.
        replied: what a former life has replied to, where it may have ended between a reply and its commit.
    """

    offsets: Offsets
    replied: Callable[[ModelMessage], Replied] = lambda _model: Replied()


class ControlTopic:
    """Gives the newest model that this client has not answered, and keeps what it has.

    The group's committed offset is the one after the last answered message. Its metadata is the topic's id, so that a topic
    deleted and made again is not taken for the old one, and how far a moving stream has been trained on. What stands before it,
    answered or superseded, is known by identity: the same again is a repetition.

    A message that cannot be understood is warned of, counted and passed over, wherever it stands: the next good one is trained.
    It is committed with the next that is answered.

    Args:
        wait_limit_s: longest wait for the cloud's topics, and for a model; None = without limit.
        delivery: None = the reader commits, and nothing is answered that is not committed.
        meanwhile: called often while it waits; what it raises ends the wait.
    """

    def __init__(
        self,
        reader: LogReader,
        topics: Topics,
        federation: Federation,
        wait_limit_s: float | None,
        *,
        delivery: Delivery | None = None,
        meanwhile: Callable[[], None] = lambda: None,
    ) -> None:
        self._reader = reader
        self._topics = topics
        self._federation = federation
        self._topic = federation.model_control
        self._wait_limit_s = wait_limit_s
        self._delivery = delivery or Delivery(reader)
        self._meanwhile = meanwhile
        self._topic_id: str | None = None
        self._position = 0
        self._past: set[Identity] = set()
        self._unanswered: list[_Announced] = []
        self._stream: Positions | None = None
        self._is_finished = False
        self._is_following = False
        self._looked = 0.0
        self.skipped = 0  # messages that could not be understood

    def next_model(self) -> ModelMessage | None:
        """Wait for the next model to train; None where this client has answered the last round, and no newer one is there.

        Raises:
            LimitError: none came within the limit.
        """
        if self._topic_id is not None:
            self._starts_over()  # a fit may have lasted for hours
        try:
            self._catch_up()
            patience = Patience(f"the next model on {self._topic}", self._wait_limit_s)
            while True:
                model = self._newest()
                if model is not None or self._is_finished:
                    return model
                patience.tick()
                self._meanwhile()
                self._hear()
        finally:
            self._reader.unfollow()

    def stands(self, model: ModelMessage) -> bool:
        """Whether the topic that a model stands on is still there: a cloud that starts over deletes it.

        An answer to another federation's model would be counted as one to a model of its own.
        """
        if self._starts_over() or not any(one.model is not None and one.model.place == model.place for one in self._unanswered):
            return False
        if watching.is_watched():
            _low, high = self._reader.bounds(self._topic, PARTITION)
            watching.tell(Lag(high - self._position))
        return True

    def commit(self, model: ModelMessage, positions: Positions | None = None) -> None:
        """Note that a model is answered; neither it nor what it superseded comes again, also after a restart.

        Args:
            positions: of the moving stream behind its round.
        """
        self._stream = positions
        self._commit(model, self._delivery.offsets)

    def _commit(self, model: ModelMessage, offsets: Offsets) -> None:
        [answered] = [one for one in self._unanswered if one.model is not None and one.model.place == model.place]
        self._settle(answered.offset + 1)
        self._is_finished = model.is_last
        offsets.commit(self._topic, PARTITION, answered.offset + 1, self._progress())

    def _progress(self) -> str:
        return Progress(self._topic_id or "", self._stream).text()

    def _open(self) -> None:
        """Wait for the cloud's topics, then read the control topic's past."""
        patience = Patience(f"the cloud to create the topics of federation {self._federation.model_id}", self._wait_limit_s)
        while missing := [topic for topic in self._federation.cloud_topics if not self._reader.partitions(topic)]:
            log.debug("not there yet: %s", missing)
            patience.tick()
            self._meanwhile()
            time.sleep(POLL_S)
        self._topic_id = self._topics.topic_id(self._topic)
        self._position, self._past, self._unanswered, self._is_finished = 0, set(), [], False
        self._catch_up()
        answered_end = self._answered_end()
        answered = [one.model for one in self._unanswered if one.offset < answered_end and one.model is not None]
        self._is_finished = bool(answered) and answered[-1].is_last
        self._settle(answered_end)
        log.info("joined federation=%s as client=%s", self._federation.model_id, self._federation.client_id)
        pending = self._newest()
        if pending is None:
            return
        replied = self._delivery.replied(pending)
        self._stream = replied.positions or self._stream
        if replied.is_answered:
            log.info(
                "version=%d was answered by a worker that ended before it could commit, at %s", pending.version, pending.place
            )
            self._commit(pending, self._reader)

    def _answered_end(self) -> int:
        committed = self._reader.committed(self._topic, PARTITION)
        if committed is None:
            # Nothing is answered. To say so tells whether this group may be committed to before a round, and not after each.
            self._reader.commit(self._topic, PARTITION, 0, self._progress())
            return 0
        offset, progress = committed[0], parse_progress(committed[1])
        self._stream = progress.positions or self._stream
        if progress.topic_id not in ("", self._topic_id) or offset > self._position:
            log.warning("topic %s was made anew since this client last answered; its messages are all new", self._topic)
            return 0
        return offset

    def _settle(self, end: int) -> None:
        """Everything before offset `end` is the past: answered, or superseded by what was."""
        settled = [one for one in self._unanswered if one.offset < end]
        self._past.update(one.model.identity for one in settled if one.model is not None)
        self._unanswered = self._unanswered[len(settled) :]

    def _catch_up(self) -> None:
        """Take in what stands on the topic now."""
        if self._topic_id is None:
            self._open()
        low, high = self._reader.bounds(self._topic, PARTITION)
        start = max(self._position, low)
        for messages in self._reader.read(OffsetRange(self._topic, PARTITION, start, max(start, high))):
            self._unanswered.extend(_announced(message) for message in messages)
        self._position = max(self._position, high)
        self._is_following = False  # the reader has left the topic

    def _hear(self) -> None:
        """Wait for a moment for something new."""
        if not self._is_following:
            self._reader.follow({(self._topic, PARTITION): self._position})
            self._is_following, self._looked = True, time.monotonic()
        try:
            messages, reached = self._reader.poll()
        except (KafkaError, DataError):
            if not self._starts_over():
                raise
            messages, reached = [], {}
        self._unanswered.extend(_announced(message) for message in messages)
        self._position = max(self._position, reached.get((self._topic, PARTITION), 0))
        is_quiet = not messages and time.monotonic() - self._looked > LOOK_EVERY_S
        if messages or self._topic_id is None or (is_quiet and self._starts_over()):
            self._catch_up()
        elif is_quiet:
            self._looked = time.monotonic()

    def _newest(self) -> ModelMessage | None:
        self._pass_over()
        new = [one.model for one in self._unanswered if one.model is not None and one.model.identity not in self._past]
        if not new:
            return None
        if len(new) > 1:
            log.info("superseded models=%d, trained is the newest", len(new) - 1)
        return replace(new[-1], topic_id=self._topic_id or "", positions=self._stream)

    def _pass_over(self) -> None:
        """Tell of what cannot be understood, once."""
        for one in self._unanswered:
            if one.model is None:
                self.skipped += 1
                log.warning("passed over a message that cannot be understood: %s; skipped_messages=%d", one.fault, self.skipped)
        self._unanswered = [one for one in self._unanswered if one.model is not None]

    def _starts_over(self) -> bool:
        """Whether the topic is no longer the one that was opened."""
        if self._topics.topic_id(self._topic) == self._topic_id:
            return False
        log.warning("topic %s was deleted or made anew: the cloud starts over", self._topic)
        self._topic_id = None
        return True


def _announced(record: Record) -> _Announced:
    try:
        return _Announced(offset_of(record), parse_model_message(record.value(), place(record)))
    except ModelError as exc:
        return _Announced(offset_of(record), None, str(exc))
