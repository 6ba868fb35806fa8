"""A Kafka that goes away, hangs, comes back, moves, or loses a topic: each with a broker of the test's own, or a topic of its own.

docs/operation.md has a line for each.
"""

from __future__ import annotations

import gc
import logging
import os
import signal
import socket
import threading
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaAdminClient

from demo.broker import LOOPBACK, Broker, own_broker
from demo.device import Device
from demo.errors import PeerError
from demo.topics import create_topic
from protocol.errors import DataError, KafkaError
from protocol.stream_spec import OffsetRange, parse_spec
from protocol.topics import Federation as Names
from protocol.windows import WindowLimits
from tests.integration.conftest import Federation, announced
from transport.admin import Admin
from transport.clients import Cluster
from transport.control import ControlTopic
from transport.positions import StreamPositions
from transport.reader import Reader
from transport.sameness import same_topics
from transport.windows import MovingStream
from transport.writer import Transactions, Writer
from utils import configure_logging

HANGS_AFTER_S = 30.0  # a call that is still not back by then has no limit
RECORDS, RECORD_BYTES = 6_000, 10_000  # so much that the client does not have all of a topic at once


# kafka-python leaves the sockets of connections that failed to Python's collector.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")


@pytest.fixture(autouse=True)
def _as_quiet_as_a_worker() -> Iterator[None]:
    root, handlers, level = logging.getLogger(), logging.getLogger().handlers[:], logging.getLogger().level
    configure_logging("INFO")
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    gc.collect()


@pytest.fixture(scope="module")
def node() -> Iterator[Broker]:
    with own_broker() as broker:
        yield broker


@pytest.fixture
def broker(node: Broker) -> Broker:
    """A running broker, to be ended as a test likes."""
    if not node.is_running:
        node.start()
    return node


@pytest.fixture
def elsewhere() -> str:
    """An address that nobody listens at."""
    with socket.socket() as free:
        free.bind((LOOPBACK, 0))
        return f"{LOOPBACK}:{free.getsockname()[1]}"


@pytest.fixture
def topic() -> str:
    return f"outage-{uuid.uuid4()}"


class Parts:
    """All that reads, writes and administers a cluster, each with a client that has heard of its brokers."""

    def __init__(self, stack: ExitStack, bootstrap: str, topic: str, limit_s: float) -> None:
        cluster = Cluster("test", "KAFKA_BOOTSTRAP", bootstrap)

        def reader() -> Reader:
            one = stack.enter_context(Reader(cluster, topic, limit_s))
            one.commit(topic, 0, 1, "")
            return one

        self._topic = topic
        self.writer = stack.enter_context(Writer(cluster, topic, limit_s))
        self.send(3)
        self.admin = stack.enter_context(Admin(cluster, topic, limit_s))
        self._readers = [reader() for _ in range(4)]
        self.following = reader()
        self.begun = reader().read(OffsetRange(topic, 0, 0, 6))
        assert len(next(self.begun)) == 3
        self.following.follow({(topic, 0): 3})

    def send(self, count: int) -> list[int]:
        return self.writer.send(self._topic, [(b"k", b"v")] * count)

    def calls(self) -> dict[str, Callable[[], Any]]:
        """The calls that wait for a broker, each to a client of its own."""
        topic, readers = self._topic, self._readers
        return {
            "partitions": lambda: readers[0].partitions(topic),
            "bounds": lambda: readers[1].bounds(topic, 0),
            "committed": lambda: readers[2].committed(topic, 0),
            "commit": lambda: readers[3].commit(topic, 0, 2, "later"),
            "topic_id": lambda: self.admin.topic_id(topic),
            "send": lambda: self.send(1),
        }


def outcome(call: Callable[[], Any]) -> Any:
    try:
        return call()
    except Exception as exc:  # noqa: BLE001 - what it is is looked at
        return exc


@pytest.mark.parametrize("hangs", [False, True], ids=["killed", "hangs"])
def test_no_call_waits_longer_than_its_limit_for_a_broker_that_does_not_come_back(
    broker: Broker, topic: str, *, hangs: bool
) -> None:
    create_topic(broker.bootstrap, topic, 1)
    with ExitStack() as stack:
        parts = Parts(stack, broker.bootstrap, topic, limit_s=4)
        stop = signal.SIGSTOP if hangs else signal.SIGKILL
        os.kill(broker.process_id, stop)
        try:
            calls = parts.calls() | {"read": lambda: list(parts.begun)}
            with ThreadPoolExecutor(len(calls)) as pool:
                works = {name: pool.submit(outcome, call) for name, call in calls.items()}
                found = {name: work.result(HANGS_AFTER_S) for name, work in works.items()}
        finally:
            if hangs:
                os.kill(broker.process_id, signal.SIGCONT)
    for name, fault in found.items():
        assert isinstance(fault, KafkaError), name
        assert f"(KAFKA_BOOTSTRAP={broker.bootstrap}) did not answer within 4 s: " in str(fault), name


def test_a_device_tells_how_much_a_broker_that_hangs_has_not_acknowledged(
    broker: Broker, topic: str, caplog: pytest.LogCaptureFixture
) -> None:
    create_topic(broker.bootstrap, topic, 1)
    told = rf"1 records were not acknowledged, the first: {topic}\[0\] at .*, a record of 8 bytes: not acknowledged within 2 s"
    with pytest.raises(PeerError, match=told), Device(broker.bootstrap, topic, limit_s=2) as device:
        device.send([1], 0)
        device.flush()
        os.kill(broker.process_id, signal.SIGSTOP)
        try:
            device.send([2], 0)
            device.flush()
        finally:
            os.kill(broker.process_id, signal.SIGCONT)
    assert f"the stream is not announced; acknowledged: 1 of 2 records on {topic} ({topic}:0:0:1)" in caplog.text


def test_a_broker_that_comes_back_at_another_address_is_found_where_both_are_listed(
    broker: Broker, topic: str, elsewhere: str
) -> None:
    create_topic(broker.bootstrap, topic, 1)
    with ExitStack() as stack:
        parts = Parts(stack, f"{broker.bootstrap},{elsewhere}", topic, limit_s=30)
        broker.kill()
        broker.move(elsewhere)
        broker.start()
        found = {name: outcome(call) for name, call in parts.calls().items()}
        assert (found["partitions"], found["bounds"], found["committed"], found["send"]) == ([0], (0, 3), (1, ""), [3])
        assert [name for name, one in found.items() if isinstance(one, Exception)] == []
        parts.send(2)
        assert [record.offset() for batch in parts.begun for record in batch] == [3, 4, 5]
        assert next(heard for _ in range(20) if (heard := parts.following.poll(3)[0]))[0].offset() == 3


def test_an_outage_is_no_silence_that_ends_a_round(broker: Broker, topic: str) -> None:
    """Of a round that half a second of silence ends, and a broker that is away for longer."""
    create_topic(broker.bootstrap, topic, 1)
    cluster, ranges, is_over = Cluster("test", "KAFKA_BOOTSTRAP", broker.bootstrap), parse_spec(topic), threading.Event()

    def come_back() -> bool:
        was_over = is_over.wait(2)
        broker.start()
        return was_over

    with Writer(cluster, "w", 30) as writer, Reader(cluster, "r", 30) as reader, Admin(cluster, "a", 30) as topics:
        writer.send(topic, [(b"k", b"before")])
        where = StreamPositions(reader, topics, ranges, 30)
        windows = MovingStream(reader, where, ranges, WindowLimits(1, 30, None, 60), 30).windows(None, 0.5)
        assert [value for batch in next(windows).batches for value in batch.values] == [b"before"]
        broker.kill()
        with ThreadPoolExecutor(1) as pool:
            coming = pool.submit(come_back)
            assert list(windows) == []
            is_over.set()
            assert not coming.result()


@pytest.mark.parametrize("made_anew", [False, True])
def test_a_topic_that_is_deleted_while_it_is_read_is_a_fault_of_the_data(
    bootstrap: str, topic: str, *, made_anew: bool
) -> None:
    cluster = Cluster("test", "KAFKA_BOOTSTRAP", bootstrap)
    create_topic(bootstrap, topic, 1)
    values: list[bytes | None] = []

    def replace(writer: Writer) -> None:
        with KafkaAdminClient(bootstrap_servers=bootstrap) as admin:
            admin.delete_topics([topic])
        if made_anew:
            create_topic(bootstrap, topic, 1)
            writer.send(topic, [(b"k", b"other")] * RECORDS)

    def read(reader: Reader, writer: Writer) -> None:
        for batch in reader.read(OffsetRange(topic, 0, 0, RECORDS)):
            values.extend(record.value() for record in batch)
            if len(values) == len(batch):
                replace(writer)

    with Writer(cluster, "w", 20) as writer, Reader(cluster, "r", 1) as reader, Admin(cluster, "a", 20) as topics:
        writer.send(topic, [(b"k", bytes(RECORD_BYTES))] * RECORDS)
        with Writer(cluster, "again", 20) as again, pytest.raises(DataError) as caught, same_topics(topics, [topic]):
            read(reader, again)
    what = "deleted and made anew" if made_anew else "deleted"
    assert str(caught.value).startswith(f"topic {topic} was {what} while it was read, so what was read of it is in doubt: ")
    # Where the new one is as long, the two are mixed in one read without a word of the client.
    assert (b"other" in values, len(values) == RECORDS) == (made_anew, made_anew)


def test_a_federation_that_starts_over_in_a_round_is_not_answered_with_it(federation: Federation) -> None:
    names = Names(federation.model_id, "c1")
    cluster = Cluster("test", "KAFKA_BOOTSTRAP", federation.bootstrap)
    federation.cloud.create_topics()
    federation.cloud.announce(announced(), 3)
    with Reader(cluster, names.group, 20) as reader, Admin(cluster, names.group, 20) as topics:
        control = ControlTopic(reader, topics, names, 20)
        first = control.next_model()
        assert first is not None
        assert control.stands(first)
        with KafkaAdminClient(bootstrap_servers=federation.bootstrap) as admin:
            admin.delete_topics([names.model_control])
            while topics.topic_id(names.model_control) is not None:
                pass
        assert not control.stands(first)
        create_topic(federation.bootstrap, names.model_control, 1)
        assert not control.stands(first)
        federation.cloud.announce(announced(), 0)
        second = control.next_model()
        assert second is not None
        assert (first.version, second.version) == (3, 0)
        assert control.stands(second)


class Answers:
    """A client that replies in transactions."""

    def __init__(self, stack: ExitStack, bootstrap: str, topic: str, limit_s: float) -> None:
        cluster = Cluster("test", "KAFKA_BOOTSTRAP", bootstrap)
        reader = stack.enter_context(Reader(cluster, topic, limit_s))
        self._topic = topic
        self._reader = reader
        self.writer = stack.enter_context(Writer(cluster, topic, limit_s, Transactions(reader.membership, 60)))

    def answer(self, number: int) -> None:
        with self.writer.transaction():
            self.writer.send(self._topic, [(b"k", b"reply")])
            self.writer.commit(self._topic, 0, number, "")

    def answered(self) -> tuple[int, str] | None:
        return self._reader.committed(self._topic, 0)


@pytest.mark.timeout(90)
def test_a_client_that_has_answered_before_answers_again_after_its_broker_was_away_and_has_moved(
    broker: Broker, topic: str, elsewhere: str
) -> None:
    create_topic(broker.bootstrap, topic, 1)
    with ExitStack() as stack:
        client = Answers(stack, f"{broker.bootstrap},{elsewhere}", topic, limit_s=30)
        client.answer(1)
        broker.kill()
        broker.start()
        client.answer(2)
        broker.kill()
        broker.move(elsewhere)
        broker.start()
        client.answer(3)
        assert client.answered() == (3, "")


@pytest.mark.timeout(90)
def test_an_offset_that_a_broker_takes_no_notice_of_is_waited_for_up_to_the_limit(broker: Broker, topic: str) -> None:
    create_topic(broker.bootstrap, topic, 1)
    with ExitStack() as stack:
        client = Answers(stack, broker.bootstrap, topic, limit_s=4)
        client.answer(1)

        def answer() -> None:
            with client.writer.transaction():
                client.writer.send(topic, [(b"k", b"reply")])
                os.kill(broker.process_id, signal.SIGSTOP)
                client.writer.commit(topic, 0, 2, "")

        try:
            with pytest.raises(KafkaError, match=r"did not answer within 4 s: committing an offset: "):
                answer()
        finally:
            os.kill(broker.process_id, signal.SIGCONT)


def test_outages_cost_a_worker_time_and_no_round_and_end_it_at_the_limit(
    broker: Broker, elsewhere: str, tmp_path: Path
) -> None:
    """Down at the start, and up at the second of its addresses; away in a fit; away for good."""
    with ExitStack() as stack:
        federation = Federation(f"{broker.bootstrap},{elsewhere}", tmp_path, stack)
        federation.cloud.create_topics()
        environment = federation.environment(federation.write(), ANSWER_LIMIT_S="20")
        broker.kill()
        worker = federation.start(environment)
        worker.await_line("waiting for an answer of the cloud's Kafka")
        broker.move(elsewhere)
        broker.start()
        federation.cloud.announce(announced(epochs=150), 0)
        worker.await_line("epoch 2/150")
        broker.kill()
        broker.start()
        assert len(federation.cloud.collect(0, clients=1)) == 1
        worker.await_line("round done version=0")
        broker.kill()
        assert worker.wait() == 69
        assert worker.last_words.startswith("the cloud's Kafka (KML_CLOUD_BOOTSTRAP_SERVERS=")
        assert "did not answer within 20 s: " in worker.last_words
        assert worker.log.count("stream read records=400") == 1
