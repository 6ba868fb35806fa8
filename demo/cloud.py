"""The cloud's side of the contract for one federation: announces models, collects replies, averages them.

Unlike the public cloud it averages every client's reply of a round with the others', and waits for all of them.
"""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Any, Self

from confluent_kafka import TopicPartition
from kafka import KafkaProducer
from kafka.errors import KafkaError as ClientError

from demo.errors import NoReplyError, PeerError
from demo.rounds import LAST, AnnouncedModel, Reply, Round, federated_average, following, parse_reply
from demo.topics import ANSWER_LIMIT_S, create_topic, follow, log_end, open_reader, read_range
from protocol.errors import ModelError
from protocol.pickles import dump_array
from protocol.records import Array
from protocol.stream_spec import StreamRange
from protocol.topics import CONTROL_LIMIT_BYTES, WEIGHTS_LIMIT_BYTES, Federation
from protocol.weights import array_key, load_arrays

ROUND_LIMIT_S = 120.0
RESULT_ID = b"1"  # a key of control messages, which the worker does not need


class Cloud:
    """An aggregator. Within `with` it is connected; `create_topics` comes before everything else.

    A round's replies are those of distinct clients with the version that follows. The first of a client counts; others are
    counted in `ignored`, by their reason.
    """

    def __init__(
        self,
        bootstrap: str,
        model_id: str,
        meanwhile: Callable[[], None] = lambda: None,
        isolation: str = "read_uncommitted",
    ) -> None:
        """Take part in nothing yet.

        Args:
            bootstrap: host:port list of the cloud's Kafka.
            model_id: the federation's id.
            meanwhile: called at least once a second while replies are awaited; what it raises ends the wait.
            isolation: how it reads replies; the public cloud reads uncommitted.
        """
        self.federation = Federation(model_id, client_id="")
        self.ignored: Counter[str] = Counter()
        self._bootstrap = bootstrap
        self._meanwhile = meanwhile
        self._isolation = isolation
        self._producer: Any = None  # made when something is to be sent

    def __enter__(self) -> Self:
        self._replies = open_reader(self._bootstrap, f"{self.federation.group}cloud", self._isolation)
        return self

    def __exit__(self, _type: type[BaseException] | None, _exc: BaseException | None, _tb: TracebackType | None) -> None:
        self._replies.close()
        self._close_producer(ANSWER_LIMIT_S)

    def create_topics(self) -> None:
        """Make the cloud's three topics; those that exist are kept. Replies are read from their end as it is now.

        Raises:
            PeerError: Kafka refuses, or one exists and is not the contract's.
        """
        names = self.federation
        for topic, limit in (
            (names.model_data, WEIGHTS_LIMIT_BYTES),
            (names.reply_control, CONTROL_LIMIT_BYTES),
            (names.model_control, CONTROL_LIMIT_BYTES),
        ):
            create_topic(self._bootstrap, topic, 1, {"max.message.bytes": str(limit)})
        self._replies.assign([TopicPartition(names.reply_control, 0, log_end(self._replies, names.reply_control))])

    def announce(self, model: AnnouncedModel, version: int) -> dict[str, Any]:
        """Send a model's weights, then the message that tells of them.

        Returns:
            The control message.

        Raises:
            PeerError: Kafka refuses a message.
        """
        message = model.message(self.send_arrays(model.arrays), version)
        self.send_control(message)
        return message

    def send_arrays(self, arrays: Sequence[Array]) -> StreamRange:
        """Send weights, one message an array, in order and all acknowledged; returns where they are."""
        topic = self.federation.model_data
        offsets = self._send(topic, [(array_key(index), dump_array(array)) for index, array in enumerate(arrays)])
        if not offsets or offsets != list(range(offsets[0], offsets[0] + len(offsets))):
            raise PeerError(f"{topic}: the arrays stand at {offsets}, expected one after the other: another cloud writes there")
        return StreamRange(topic, 0, offsets[0], offsets[-1] + 1)

    def send_control(self, message: Mapping[str, Any]) -> int:
        """Send a control message as it is, acknowledged; returns its offset."""
        return self._send(self.federation.model_control, [(RESULT_ID, json.dumps(message).encode())])[0]

    def _send(self, topic: str, records: Sequence[tuple[bytes, bytes]]) -> list[int]:
        try:
            self._producer = self._producer or _open_producer(self._bootstrap)
            futures = [self._producer.send(topic, value=value, key=key, partition=0) for key, value in records]
            return [future.get(ANSWER_LIMIT_S).offset for future in futures]
        except ClientError as exc:
            self._close_producer(0)  # after a refusal an idempotent producer takes nothing any more
            raise PeerError(f"{topic} at {self._bootstrap}: a message was not taken: {exc}") from exc

    def _close_producer(self, limit_s: float) -> None:
        if self._producer is not None:
            self._producer.close(timeout=limit_s)
            self._producer = None

    def collect(self, version: int, *, clients: int, limit_s: float = ROUND_LIMIT_S) -> list[Reply]:
        """Wait for the replies of so many clients to `version`.

        Returns:
            One a client with its arrays, in the order in which they came.

        Raises:
            NoReplyError: they did not come within `limit_s` seconds.
            PeerError: a reply, or what it points to, breaks the contract.
        """
        replies: dict[str, Reply] = {}
        for position, message in follow(self._replies, self._meanwhile, limit_s):
            if message is None:
                continue
            place = f"{self.federation.reply_control}[0]@{position - 1}"
            reply = parse_reply(message.key(), message.value(), place)
            if reply.version != following(version):
                self.ignored["another version"] += 1
            elif reply.client in replies:
                self.ignored["a client's second reply"] += 1
            else:
                replies[reply.client] = replace(reply, arrays=self.read_arrays(reply))
            if len(replies) == clients:
                return list(replies.values())
        raise NoReplyError(
            f"{len(replies)} of {clients} replies to version {version} came within {limit_s:.0f} s "
            f"(from {', '.join(replies) or 'nobody'}; ignored: {dict(self.ignored) or 'none'})"
        )

    def read_arrays(self, reply: Reply) -> list[Array]:
        """Read the arrays that a reply points to.

        Raises:
            PeerError: they are not there, or are no arrays.
        """
        try:
            ranges = [read_range(self._bootstrap, one, self._isolation, ANSWER_LIMIT_S) for one in reply.where]
            return load_arrays(list(itertools.chain.from_iterable(ranges)))
        except ModelError as exc:
            raise PeerError(f"reply of {reply.client}: {exc}") from exc

    def run(self, model: AnnouncedModel, *, rounds: int, clients: int, round_limit_s: float = ROUND_LIMIT_S) -> Iterator[Round]:
        """Train a model in rounds 0, 1, 2 …, the last of which is announced as LAST; yields each when it is complete.

        Raises:
            PeerError: as `announce`, `collect` and `federated_average` do.
        """
        for number in range(rounds):
            version = LAST if number == rounds - 1 else number
            self.announce(model, version)
            replies = self.collect(version, clients=clients, limit_s=round_limit_s)
            model = replace(model, arrays=federated_average(replies, model.arrays))
            yield Round(version, replies, model.arrays)


def _open_producer(bootstrap: str) -> KafkaProducer:
    # Idempotent, by default: what is sent stands once and in order, whatever has to be sent again.
    return KafkaProducer(
        bootstrap_servers=bootstrap,
        max_request_size=2 * WEIGHTS_LIMIT_BYTES,  # the topic judges; the client reckons some bytes too many
        max_block_ms=int(ANSWER_LIMIT_S * 1000),
    )
