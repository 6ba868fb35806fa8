"""What the rest relies on behind the seams of the transport, the same over a Kafka in memory and over a real one."""

from __future__ import annotations

import itertools
import json
import socket
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
import pytest
from confluent_kafka import KafkaError as ClientError
from confluent_kafka import Producer
from kafka import KafkaAdminClient, KafkaProducer, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType, NewTopic

from FederatedKafkaMLAggregationSink import FederatedKafkaMLAggregationSink
from protocol.errors import DataError, FencedError, KafkaError, LimitError, ModelError
from protocol.messages import Metrics, Trained
from protocol.positions import METADATA_LIMIT_BYTES, Positions, Progress, can_be_kept, parse_progress
from protocol.stream_spec import OffsetRange
from protocol.topics import Federation
from tests.support.fake_kafka import FakeKafka, FakeReader, FakeSender, FakeTopics
from tests.support.messages import model_message
from tests.support.patience import eventually
from transport.admin import Admin
from transport.clients import READ_COMMITTED, READ_UNCOMMITTED, Cluster, Isolation
from transport.interfaces import LogReader, Offsets, Record, Sender, Topics, place
from transport.reader import Reader
from transport.replies import Replied, ReplyLog
from transport.writer import Transactions, Writer

LIMIT_S = 1.0
Pairs = Sequence[tuple[bytes | None, bytes | None]]


class TransactionalSender(Sender, Offsets, Protocol):
    """What keeps an offset together with what it sends."""


class AnyKafka(Protocol):
    """A Kafka to prepare, and the parts under test that look at it."""

    topics: Topics
    sender: Sender

    def reader(self, group: str, isolation: Isolation = READ_COMMITTED) -> LogReader: ...
    def transactional(self, client: str, group: str) -> TransactionalSender: ...
    def create(self, topic: str, partitions: int = 1, message_bytes: int = 1_048_588) -> None: ...
    def delete(self, topic: str) -> None: ...
    def write(self, topic: str, records: Pairs, partition: int = 0) -> list[int]: ...
    def expire(self, topic: str, low: int) -> None: ...
    def leave_gap(self, topic: str) -> None: ...
    def exists(self, topic: str) -> bool: ...


class InMemory:
    def __init__(self, _bootstrap: str, _stack: ExitStack) -> None:
        self._kafka = FakeKafka()
        self.topics = FakeTopics(self._kafka)
        self.sender = FakeSender(self._kafka)
        self.create, self.delete, self.write, self.expire = (
            self._kafka.create,
            self._kafka.delete,
            self._kafka.write,
            self._kafka.expire,
        )

    def reader(self, group: str, isolation: Isolation = READ_COMMITTED) -> LogReader:
        return FakeReader(self._kafka, group, isolation)

    def transactional(self, client: str, group: str) -> TransactionalSender:
        return FakeSender(self._kafka, client, group)

    def leave_gap(self, topic: str) -> None:
        self._kafka.pass_over(topic, 2)

    def exists(self, topic: str) -> bool:
        return topic in self._kafka.topics


class Real:
    def __init__(self, bootstrap: str, stack: ExitStack) -> None:
        self._stack = stack
        self._bootstrap = bootstrap
        self._cluster = Cluster("test", "KAFKA_BOOTSTRAP", bootstrap)
        self._admin: Any = stack.enter_context(KafkaAdminClient(bootstrap_servers=bootstrap))
        self._producer: Any = KafkaProducer(bootstrap_servers=bootstrap)
        stack.callback(self._producer.close)
        self.topics = stack.enter_context(Admin(self._cluster, "contract", LIMIT_S))
        self.sender = stack.enter_context(Writer(self._cluster, "contract", LIMIT_S))

    def reader(self, group: str, isolation: Isolation = READ_COMMITTED) -> LogReader:
        return self._stack.enter_context(Reader(self._cluster, group, LIMIT_S, isolation))

    def transactional(self, client: str, group: str) -> TransactionalSender:
        member = self._stack.enter_context(Reader(self._cluster, group, LIMIT_S))
        transactions = Transactions(member.membership, limit_s=60)
        return self._stack.enter_context(Writer(self._cluster, client, 10, transactions))

    def create(self, topic: str, partitions: int = 1, message_bytes: int = 1_048_588, compression: str = "producer") -> None:
        configs = {"max.message.bytes": str(message_bytes), "compression.type": compression}
        self._admin.create_topics([NewTopic(topic, partitions, -1, topic_configs=configs)], wait_for_metadata=True)

    def delete(self, topic: str) -> None:
        self._admin.delete_topics([topic])

    def write(self, topic: str, records: Pairs, partition: int = 0) -> list[int]:
        sent = [self._producer.send(topic, key=key, value=value, partition=partition) for key, value in records]
        return [one.get(10).offset for one in sent]

    def expire(self, topic: str, low: int) -> None:
        self._admin.delete_records({TopicPartition(topic, 0): low})

    def leave_gap(self, topic: str) -> None:
        """An aborted transaction of one record: it and its marker are offsets without a committed record."""
        producer: Any = KafkaProducer(bootstrap_servers=self._bootstrap, transactional_id=str(uuid.uuid4()))
        producer.init_transactions()
        producer.begin_transaction()
        offset = producer.send(topic, key=b"k", value=b"aborted").get(10).offset
        producer.abort_transaction()
        producer.close()
        reader = self.reader("gap")
        eventually(lambda: reader.bounds(topic, 0)[1], offset + 2)  # the marker comes after the answer

    def exists(self, topic: str) -> bool:
        return topic in self._admin.list_topics()

    def limit(self, topic: str) -> int:
        described = self._admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)], config_filter="all")
        return int(described["topic"][topic]["max.message.bytes"]["value"])


@pytest.fixture(params=[InMemory, Real])
def kafka(request: pytest.FixtureRequest) -> Iterator[AnyKafka]:
    bootstrap = request.getfixturevalue("bootstrap") if request.param is Real else ""
    with ExitStack() as stack:
        yield request.param(bootstrap, stack)


@pytest.fixture
def topic() -> str:
    return f"contract-{uuid.uuid4()}"


def numbered(start: int, end: int) -> list[tuple[bytes, bytes]]:
    return [(b"k", b"%d" % number) for number in range(start, end)]


def values(batches: Iterator[list[Record]]) -> list[bytes | None]:
    return [record.value() for record in itertools.chain.from_iterable(batches)]


def test_looking_at_a_topic_does_not_create_it(kafka: AnyKafka, topic: str) -> None:
    reader = kafka.reader("looker")
    assert reader.partitions(topic) == []
    assert kafka.topics.topic_id(topic) is None
    with pytest.raises(LimitError):
        values(reader.read(OffsetRange(topic, 0, 0, 1)))
    assert not kafka.exists(topic)


def test_partitions_are_told_in_order(kafka: AnyKafka, topic: str) -> None:
    kafka.create(topic, 3)
    assert kafka.reader("g").partitions(topic) == [0, 1, 2]


def test_a_range_is_read_in_offset_order_up_to_its_end(kafka: AnyKafka, topic: str) -> None:
    kafka.create(topic)
    kafka.write(topic, numbered(0, 10))
    records = list(itertools.chain.from_iterable(kafka.reader("g").read(OffsetRange(topic, 0, 2, 7))))
    assert [record.offset() for record in records] == [2, 3, 4, 5, 6]
    assert [record.value() for record in records] == [b"2", b"3", b"4", b"5", b"6"]
    assert (records[0].key(), place(records[0])) == (b"k", f"{topic}[0]@2")


def test_an_empty_range_holds_nothing(kafka: AnyKafka, topic: str) -> None:
    assert values(kafka.reader("g").read(OffsetRange(topic, 0, 5, 5))) == []


def test_records_without_key_or_value_are_told_as_such(kafka: AnyKafka, topic: str) -> None:
    kafka.create(topic)
    kafka.write(topic, [(None, b"v"), (b"k", None), (b"", b"")])
    [records] = kafka.reader("g").read(OffsetRange(topic, 0, 0, 3))
    assert [(record.key(), record.value()) for record in records] == [(None, b"v"), (b"k", None), (b"", b"")]


def test_a_range_that_ends_in_a_gap_ends(kafka: AnyKafka, topic: str) -> None:
    kafka.create(topic)
    kafka.write(topic, numbered(0, 2))
    kafka.leave_gap(topic)
    assert kafka.reader("g").bounds(topic, 0) == (0, 4)
    assert values(kafka.reader("g").read(OffsetRange(topic, 0, 0, 4))) == [b"0", b"1"]


def test_a_range_with_a_gap_before_more_records_ends(kafka: AnyKafka, topic: str) -> None:
    kafka.create(topic)
    kafka.write(topic, numbered(0, 2))
    kafka.leave_gap(topic)
    kafka.write(topic, numbered(2, 4))
    reader = kafka.reader("g")
    assert values(reader.read(OffsetRange(topic, 0, 0, 3))) == [b"0", b"1"]
    assert values(reader.read(OffsetRange(topic, 0, 0, 6))) == [b"0", b"1", b"2", b"3"]


def test_an_end_that_does_not_come_is_an_error_that_names_the_offsets(kafka: AnyKafka, topic: str) -> None:
    kafka.create(topic)
    kafka.write(topic, numbered(0, 3))
    with pytest.raises(LimitError, match=rf"offsets 3 to 9 of {topic}\[0\] did not arrive within"):
        values(kafka.reader("g").read(OffsetRange(topic, 0, 0, 10)))


def test_a_start_beyond_the_log_is_waited_for(kafka: AnyKafka, topic: str) -> None:
    kafka.create(topic)
    kafka.write(topic, numbered(0, 3))
    with pytest.raises(LimitError, match=rf"offsets 3 to 9 of {topic}\[0\] did not arrive within"):
        values(kafka.reader("g").read(OffsetRange(topic, 0, 7, 10)))


@pytest.mark.parametrize("error", [DataError, ModelError])
def test_a_start_that_retention_removed_is_an_error_that_names_the_offsets(
    kafka: AnyKafka, topic: str, error: type[DataError | ModelError]
) -> None:
    kafka.create(topic)
    kafka.write(topic, numbered(0, 10))
    kafka.expire(topic, 4)
    assert kafka.reader("g").bounds(topic, 0) == (4, 10)
    with pytest.raises(error, match=rf"offsets 1 to 3 of {topic}\[0\] are gone"):
        values(kafka.reader("g").read(OffsetRange(topic, 0, 1, 10), gone=error))


def test_a_followed_partition_tells_what_comes(kafka: AnyKafka, topic: str) -> None:
    kafka.create(topic)
    kafka.write(topic, numbered(0, 2))
    reader = kafka.reader("g")
    reader.follow({(topic, 0): 1})
    heard: list[bytes | None] = []
    position = 1
    for _ in range(20):
        records, reached = reader.poll()
        heard += [record.value() for record in records]
        position = max(position, reached.get((topic, 0), 0))
        if position == 2:
            kafka.write(topic, numbered(2, 3))
        if position == 3:
            break
    assert (heard, position) == ([b"1", b"2"], 3)


def test_following_an_offset_that_is_gone_is_an_error(kafka: AnyKafka, topic: str) -> None:
    kafka.create(topic)
    kafka.write(topic, numbered(0, 2))
    reader = kafka.reader("g")
    reader.follow({(topic, 0): 50})
    with pytest.raises(DataError, match=rf"offset 50 of {topic}\[0\] is gone"):
        next(heard for _ in range(20) if (heard := reader.poll()[0]))


def test_followed_partitions_tell_what_comes_to_each_of_them(kafka: AnyKafka, topic: str) -> None:
    more = f"{topic}-more"
    kafka.create(topic, 2)
    kafka.create(more)
    kafka.write(topic, numbered(0, 3), partition=1)
    kafka.write(more, numbered(7, 9))
    reader = kafka.reader("g")
    reader.follow({(topic, 0): 0, (topic, 1): 1, (more, 0): 0})
    heard: dict[tuple[str | None, int | None], list[bytes | None]] = {}
    positions: dict[tuple[str, int], int] = {}
    kept_up = {(topic, 0): 0, (topic, 1): 3, (more, 0): 2}
    for _ in range(40):
        records, reached = reader.poll(100, 0.2)
        for record in records:
            heard.setdefault((record.topic(), record.partition()), []).append(record.value())
        assert all(positions.get(one, 0) <= position for one, position in reached.items())
        positions |= reached
        if positions == kept_up:
            kafka.write(topic, numbered(3, 5))
        if positions == kept_up | {(topic, 0): 2}:
            break
    assert heard == {(topic, 0): [b"3", b"4"], (topic, 1): [b"1", b"2"], (more, 0): [b"7", b"8"]}
    reader.follow({(topic, 1): 2})
    assert [record.value() for _ in range(10) for record in reader.poll(100, 0.2)[0]] == [b"2"]


def test_what_is_followed_ends_behind_a_transaction_that_was_aborted(kafka: AnyKafka, topic: str) -> None:
    kafka.create(topic)
    kafka.write(topic, numbered(0, 2))
    kafka.leave_gap(topic)
    reader = kafka.reader("g")
    reader.follow({(topic, 0): 0})
    positions = [reached[topic, 0] for _ in range(10) if (reached := reader.poll(100, 0.2)[1])]
    assert positions[-1] == 4


def test_positions_of_many_partitions_are_kept_beside_an_offset(kafka: AnyKafka, topic: str) -> None:
    """As many as the worker admits, and with offsets of as many digits as it reckons with."""
    kafka.create(topic)
    kafka.write(topic, numbered(0, 1))
    most = next(count for count in itertools.count(1) if not can_be_kept(many(topic, count, 0))) - 1
    assert most > 150
    positions = many(topic, most, 10**14)
    text = Progress("x" * 22, positions).text()
    assert METADATA_LIMIT_BYTES - 50 < len(text) <= METADATA_LIMIT_BYTES
    writer = kafka.transactional(topic, topic)
    with writer.transaction():
        writer.commit(topic, 0, 1, text)
    committed = kafka.reader(topic).committed(topic, 0)
    assert committed is not None
    assert parse_progress(committed[1]) == Progress("x" * 22, positions)
    with pytest.raises(KafkaError, match="OFFSET_METADATA_TOO_LARGE"), writer.transaction():
        writer.commit(topic, 0, 1, "x" * (METADATA_LIMIT_BYTES + 1))


def many(topic: str, count: int, offset: int) -> Positions:
    """Positions of the first partitions of a topic whose name and id are of usual length."""
    return Positions({topic[:20]: "y" * 22}, {(topic[:20], partition): offset for partition in range(count)})


def test_a_group_keeps_its_offset_and_metadata(kafka: AnyKafka, topic: str) -> None:
    kafka.create(topic)
    kafka.write(topic, numbered(0, 5))
    group, other = f"g-{topic}", f"other-{topic}"
    reader = kafka.reader(group)
    assert reader.committed(topic, 0) is None
    reader.commit(topic, 0, 3, "some-id")
    assert kafka.reader(group).committed(topic, 0) == (3, "some-id")
    assert kafka.reader(other).committed(topic, 0) is None


def test_a_topic_made_anew_has_another_id(kafka: AnyKafka, topic: str) -> None:
    kafka.create(topic)
    first = kafka.topics.topic_id(topic)
    assert first == kafka.topics.topic_id(topic)
    kafka.delete(topic)
    eventually(lambda: kafka.topics.topic_id(topic), None)
    kafka.create(topic)
    eventually(lambda: kafka.topics.topic_id(topic) not in (None, first), True)  # noqa: FBT003 - what it comes to


def test_a_reply_topic_is_made_with_one_partition_and_takes_what_it_must(kafka: AnyKafka, topic: str) -> None:
    kafka.topics.ensure_topic(topic, 3_000_000)
    assert kafka.reader("g").partitions(topic) == [0]
    assert kafka.sender.send(topic, [(b"\x00", bytes(2_999_800))]) == [0]


def test_a_reply_topic_that_takes_less_is_made_to_take_more_and_never_less(kafka: AnyKafka, topic: str) -> None:
    kafka.create(topic, 1, 50_000)
    kafka.topics.ensure_topic(topic, 2_000_000)
    assert kafka.sender.send(topic, [(b"\x00", bytes(1_999_800))]) == [0]
    kafka.topics.ensure_topic(topic, 10_000)
    assert kafka.sender.send(topic, [(b"\x00", bytes(1_999_800))]) == [1]


def test_what_is_sent_stands_in_order_and_its_offsets_are_told(kafka: AnyKafka, topic: str) -> None:
    kafka.create(topic, 1, 50_000)
    # More small records than fit into one message of the topic's size.
    records = [(b"%d" % number, bytes(15_000)) for number in range(40)]
    assert kafka.sender.send(topic, records) == list(range(40))
    found = itertools.chain.from_iterable(kafka.reader("g").read(OffsetRange(topic, 0, 0, 40)))
    assert [record.key() for record in found] == [key for key, _value in records]


def test_a_record_that_the_topic_refuses_is_an_error(kafka: AnyKafka, topic: str) -> None:
    kafka.create(topic, 1, 50_000)
    with pytest.raises(KafkaError, match=rf"{topic}.*MSG_SIZE_TOO_LARGE"):
        kafka.sender.send(topic, [(b"k", bytes(60_000))])


def everything(reader: LogReader, topic: str) -> list[bytes | None]:
    return values(reader.read(OffsetRange(topic, 0, *reader.bounds(topic, 0))))


def test_what_a_transaction_holds_is_seen_at_once_with_its_offset(kafka: AnyKafka, topic: str) -> None:
    replies = f"{topic}-replies"
    kafka.create(topic)
    kafka.create(replies)
    committed, uncommitted = kafka.reader(topic), kafka.reader(topic, READ_UNCOMMITTED)
    writer = kafka.transactional(topic, topic)
    for offset in (1, 2):  # a transaction leaves nothing behind that is in the way of the next one
        with writer.transaction():
            writer.send(topic, numbered(0, 2))
            writer.send(replies, [(b"k", b"reply")])
            writer.commit(topic, 0, offset, "some-id")
            assert len(everything(committed, replies)) == offset - 1
            assert len(everything(uncommitted, replies)) == offset
        eventually(lambda: len(everything(committed, topic)), 2 * offset)  # markers come after the answer
        eventually(lambda: len(everything(committed, replies)), offset)
        assert committed.committed(topic, 0) == (offset, "some-id")


def test_a_transaction_that_is_not_finished_leaves_nothing_for_who_reads_committed(kafka: AnyKafka, topic: str) -> None:
    kafka.create(topic)
    writer = kafka.transactional(topic, topic)
    with pytest.raises(KeyboardInterrupt), writer.transaction():
        writer.send(topic, numbered(0, 2))
        writer.commit(topic, 0, 1, "")
        raise KeyboardInterrupt
    assert everything(kafka.reader(topic), topic) == []
    assert everything(kafka.reader(topic, READ_UNCOMMITTED), topic) == [b"0", b"1"]
    assert kafka.reader(topic).committed(topic, 0) is None
    with writer.transaction():
        writer.send(topic, numbered(2, 3))
    eventually(lambda: everything(kafka.reader(topic), topic), [b"2"])


def test_a_successor_ends_what_was_left_open_and_fences(kafka: AnyKafka, topic: str) -> None:
    kafka.create(topic)
    older = kafka.transactional(topic, topic)
    with pytest.raises(FencedError, match=f"another process answers for {topic}"), older.transaction():
        older.send(topic, numbered(0, 1))
        newer = kafka.transactional(topic, topic)
        assert everything(kafka.reader(topic), topic) == []
        older.commit(topic, 0, 1, "")
        older.send(topic, numbered(1, 2))
    with newer.transaction():
        newer.send(topic, numbered(2, 3))
    eventually(lambda: everything(kafka.reader(topic), topic), [b"2"])


def test_without_transactions_what_is_sent_stands_at_once(kafka: AnyKafka, topic: str) -> None:
    kafka.create(topic)
    with pytest.raises(KeyboardInterrupt), kafka.sender.transaction():
        kafka.sender.send(topic, numbered(0, 1))
        raise KeyboardInterrupt
    assert everything(kafka.reader("g"), topic) == [b"0"]


@pytest.mark.parametrize(("isolation", "seen"), [(READ_UNCOMMITTED, 1), (READ_COMMITTED, 0)])
def test_a_reply_that_was_not_committed_is_seen_by_whoever_reads_uncommitted(
    kafka: AnyKafka, topic: str, isolation: Isolation, seen: int
) -> None:
    federation = Federation(topic, "c1")
    kafka.create(federation.reply_control)
    writer = kafka.transactional(federation.group, federation.group)
    sink = FederatedKafkaMLAggregationSink(writer, kafka.topics, federation)
    message, metrics = model_message(version=3), Metrics(training={"loss": [0.5]}, validation={"loss": [0.5]})
    positions = Positions({"sensors": "an-id"}, {("sensors", 0): 7})
    with pytest.raises(KeyboardInterrupt), sink.transaction():
        sink.send([np.zeros(3)], message, Trained(metrics, 1, positions))
        raise KeyboardInterrupt
    replies = ReplyLog(lambda: nullcontext(kafka.reader(topic, isolation)), federation)
    assert replies.look(message) == (Replied(is_answered=True, positions=positions) if seen else Replied())
    for other in (replace(message, version=4), replace(message, spec="other:0:0:4")):
        assert replies.look(other) == (Replied(is_answered=False, positions=positions) if seen else Replied())
    assert replies.look(replace(message, topic_id="of a topic made anew")) == Replied()
    of_other = ReplyLog(lambda: nullcontext(kafka.reader(topic, isolation)), Federation(topic, "c2"))
    assert of_other.look(message) == Replied()


def test_a_clients_own_replies_are_read_again_in_their_order(kafka: AnyKafka, topic: str) -> None:
    federation, metrics = Federation(topic, "c1"), Metrics(training={"loss": [0.5]}, validation={"loss": [None]})
    kafka.create(federation.reply_control)
    messages = [replace(model_message(version=version), topic_id="7:0xC") for version in (3, 4)]
    sink = FederatedKafkaMLAggregationSink(kafka.sender, kafka.topics, federation)
    for mined, message in enumerate(messages):
        sink.send([np.zeros(3)], message, Trained(metrics, 400), mined=mined)
    key = federation.group.encode()
    elsewhere = {"topic": "others:0:0:1", "version": 4, "metrics": {}, "num_data": 1, "answers": {}}
    for odd in (b"{", b'{"version": 4}', json.dumps(elsewhere).encode()):  # forged, or another program's
        kafka.sender.send(federation.reply_control, [(key, odd)])
    replies = ReplyLog(lambda: nullcontext(kafka.reader(topic)), federation).own()
    assert [[reply.answer.is_to(message) for message in messages] for reply in replies] == [[True, False], [False, True]]
    assert [(reply.spec, reply.mined, reply.answer.topic_id, reply.num_data) for reply in replies] == [
        (f"{federation.reply_data}:0:0:1", 0, "7:0xC", 400),
        (f"{federation.reply_data}:0:1:2", 1, "7:0xC", 400),
    ]
    assert replies[0].metrics == {"training": {"loss": [0.5]}, "validation": {"loss": [None]}}


def test_a_transaction_that_brokers_do_not_let_last_so_long_is_named(bootstrap: str) -> None:
    cluster = Cluster("test", "KAFKA_BOOTSTRAP", bootstrap)
    with (
        pytest.raises(KafkaError, match=r"does not let a transaction be open for 1e\+06 s: lower TRANSACTION_LIMIT_S"),
        Writer(cluster, "contract", LIMIT_S, Transactions(lambda: None, 1_000_000)),
    ):
        pass


@pytest.mark.parametrize("answer_limit_s", [1e-9, 3.0, 31_536_000.0])
@pytest.mark.parametrize("limit_s", [None, 1.0, 10.05, 2_147_483.0])
def test_whatever_the_settings_admit_is_taken_by_librdkafka(answer_limit_s: float, limit_s: float | None) -> None:
    transactions = None if limit_s is None else Transactions(lambda: None, limit_s)
    Producer(
        Writer(Cluster("test", "KAFKA_BOOTSTRAP", "127.0.0.1:1"), "c", answer_limit_s, transactions)._config | {"log_level": 0}
    )


def test_a_transactional_id_that_brokers_have_forgotten_is_not_taken_for_another_process() -> None:
    writer = Writer(
        Cluster("test", "KAFKA_BOOTSTRAP", "127.0.0.1:1"), "FED-MODEL-m-CLIENT-c", 1, Transactions(lambda: None, 60)
    )
    fault = writer._failed(ClientError(ClientError.INVALID_PRODUCER_ID_MAPPING), "sending to a topic", "WRITE on a topic")
    assert (type(fault), fault.passes) == (KafkaError, True)
    assert str(fault) == (
        "the test's Kafka (KAFKA_BOOTSTRAP=127.0.0.1:1) has forgotten the transactional id FED-MODEL-m-CLIENT-c, as brokers do "
        "with one that rests for transactional.id.expiration.ms: start the worker again to do the round again"
    )


def test_a_reply_that_takes_longer_than_a_transaction_may_is_named(bootstrap: str, topic: str) -> None:
    with ExitStack() as stack:
        kafka = Real(bootstrap, stack)
        kafka.create(topic)
        member = stack.enter_context(Reader(kafka._cluster, topic, LIMIT_S))
        writer = stack.enter_context(Writer(kafka._cluster, topic, LIMIT_S, Transactions(member.membership, 1)))
        told = r"within 1 s, and its transaction was aborted; TRANSACTION_LIMIT_S sets the limit"
        with pytest.raises(LimitError, match=told), writer.transaction():
            writer.send(topic, numbered(0, 1))
            time.sleep(13)  # a broker looks for transactions to abort every 10 s
            writer.send(topic, numbered(1, 2))
        assert everything(kafka.reader("g"), topic) == []


def test_an_open_transaction_ends_the_committed_log(bootstrap: str, topic: str) -> None:
    with ExitStack() as stack:
        kafka = Real(bootstrap, stack)
        kafka.create(topic)
        kafka.write(topic, numbered(0, 3))
        producer: Any = KafkaProducer(bootstrap_servers=bootstrap, transactional_id=str(uuid.uuid4()))
        producer.init_transactions()
        producer.begin_transaction()
        producer.send(topic, key=b"k", value=b"open").get(10)
        reader = kafka.reader("g")
        assert reader.bounds(topic, 0) == (0, 3)
        assert values(reader.read(OffsetRange(topic, 0, 0, 3))) == [b"0", b"1", b"2"]
        with pytest.raises(LimitError, match=r"offsets 3 to 3 of .* did not arrive .* has it committed its transaction"):
            values(reader.read(OffsetRange(topic, 0, 0, 4)))
        producer.abort_transaction()
        producer.close()


@pytest.mark.parametrize("size", [9_999_800, 9_999_990, 12_000_000])
def test_arrays_around_and_above_the_contracts_limit_travel(bootstrap: str, topic: str, size: int) -> None:
    with ExitStack() as stack:
        kafka = Real(bootstrap, stack)
        federation = Federation(topic, "c1")
        kafka.create(federation.reply_control)
        sink = FederatedKafkaMLAggregationSink(kafka.sender, kafka.topics, federation)
        array = np.zeros(size, np.uint8)
        sink.prepare(array.nbytes)
        metrics = Metrics(training={"loss": [0.5]}, validation={"loss": [0.5]})
        assert json.loads(sink.send([array], model_message(), Trained(metrics, 1)))["topic"] == f"{federation.reply_data}:0:0:1"


@pytest.mark.parametrize("codec", ["gzip", "snappy", "lz4", "zstd"])
def test_topics_that_a_broker_compresses_are_read(bootstrap: str, topic: str, codec: str) -> None:
    with ExitStack() as stack:
        kafka = Real(bootstrap, stack)
        kafka.create(topic, compression=codec)
        kafka.write(topic, numbered(0, 3))
        assert values(kafka.reader("g").read(OffsetRange(topic, 0, 0, 3))) == [b"0", b"1", b"2"]


def test_a_broker_whose_name_does_not_resolve_is_named_as_such() -> None:
    cluster = Cluster("test", "KAFKA_BOOTSTRAP", "no-such-host.invalid:9092")
    with pytest.raises(KafkaError, match=r"KAFKA_BOOTSTRAP=no-such-host\.invalid:9092\) did not answer within 1 s: .*resolve"):
        stack_of(Reader(cluster, "g", LIMIT_S))


def stack_of(reader: Reader) -> None:
    with reader:
        pass


def test_more_than_the_client_keeps_at_a_time_is_sent_as_it_goes(bootstrap: str, topic: str) -> None:
    with ExitStack() as stack:
        kafka = Real(bootstrap, stack)
        kafka.create(topic, message_bytes=2_000_000)
        writer = Writer(Cluster("test", "KAFKA_BOOTSTRAP", bootstrap), "contract", 20)
        writer._config |= {"queue.buffering.max.kbytes": 3_000}
        with writer:
            assert writer.send(topic, [(b"k", bytes(1_000_000))] * 12) == list(range(12))


def test_a_broker_that_is_not_there_when_something_is_sent_is_named_as_such() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        cluster = Cluster("test", "KAFKA_BOOTSTRAP", f"127.0.0.1:{closed.getsockname()[1]}")
        with (
            Writer(cluster, "g", LIMIT_S) as writer,
            pytest.raises(KafkaError, match=r"did not answer within 1 s: sending to replies: .*Connection refused"),
        ):
            writer.send("replies", [(b"k", b"v")])
