"""Records that cannot be decoded, over a real Kafka: left out, or on a topic of the edge as they were."""

from __future__ import annotations

import socket
import uuid
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from confluent_kafka import Producer
from kafka import KafkaAdminClient, KafkaProducer
from kafka.admin import NewTopic

from config import Settings
from federated_singleClassicTraining import num_data
from protocol.errors import DataError, KafkaError, LimitError
from protocol.positions import Positions
from protocol.records import BadRecord
from protocol.stream_spec import OffsetRange
from reading import keep_labelled_stream
from tests.integration.conftest import Federation, announced
from tests.support.environments import job
from tests.support.patience import eventually
from training.datasets import FitData
from training.stopping import Stop
from transport.bad_records import NEAR, BadRecordTopic, await_bad_record_topic, hand_over, runs
from transport.clients import Cluster
from transport.reader import Reader
from transport.writer import Writer

LIMIT_S = 5.0
LONG_AGO_MS = 1_600_000_000_000
Headers = Sequence[tuple[str, bytes | None]]


class Bytes(str):
    """A name of a header that kafka-python writes as bytes which are no UTF-8."""

    __slots__ = ()

    def encode(self, *_how: str) -> bytes:
        return b"\xff\xfe"


@dataclass(frozen=True)
class Written:
    """A record to write, or one that stands there."""

    value: bytes | None
    key: bytes | None = b"\x07"
    partition: int = 0
    headers: Headers = ()
    timestamp_ms: int = LONG_AGO_MS


class Edge:
    """An edge's Kafka with a stream and a topic for bad records."""

    stream: str
    bad: str

    def __init__(self, bootstrap: str, stack: ExitStack) -> None:
        self.bootstrap = bootstrap
        self._producer = Producer({"bootstrap.servers": bootstrap, "enable.idempotence": True, "log_level": 2})
        self.begin()
        self.admin: Any = stack.enter_context(KafkaAdminClient(bootstrap_servers=bootstrap))
        cluster = Cluster("edge", "DATA_BOOTSTRAP_SERVERS", bootstrap)
        self.reader = stack.enter_context(Reader(cluster, "bad-records", LIMIT_S))
        self.writer = stack.enter_context(Writer(cluster, "bad-records", LIMIT_S))

    def begin(self) -> None:
        """Take topics of its own for a test."""
        self.stream, self.bad = f"stream-{uuid.uuid4()}", f"bad-{uuid.uuid4()}"

    def create(self, topic: str, partitions: int = 1, **configs: str) -> None:
        # Kept without end: the records are as old as they say.
        configs = {"retention.ms": "-1"} | {name.replace("_", "."): value for name, value in configs.items()}
        self.admin.create_topics([NewTopic(topic, partitions, -1, topic_configs=configs)])
        eventually(lambda: len(self.reader.partitions(topic)), partitions)  # the controller is ahead of its broker

    def write(self, topic: str, *records: Written) -> None:
        for one in records:
            self._producer.produce(
                topic, one.value, one.key, one.partition, timestamp=one.timestamp_ms, headers=list(one.headers)
            )
        assert self._producer.flush(10) == 0

    def read(self, topic: str) -> list[Written]:
        """All of a topic, by partition and offset."""
        return [
            Written(one.value(), one.key(), partition, one.headers() or (), one.timestamp()[1])
            for partition in self.reader.partitions(topic)
            for records in self.reader.read(OffsetRange(topic, partition, *self.reader.bounds(topic, partition)))
            for one in records
        ]

    def hand_over(self, *places: tuple[int, int], reason: str = "a reason") -> None:
        """Hand over records of the stream, each a partition and an offset."""
        hand_over(self.reader, self.writer, self.bad, [BadRecord(self.stream, *place, reason) for place in places])

    def settings(self, **changes: str) -> Settings:
        """Of a stream of single bytes, with a cloud where nobody listens."""
        with socket.socket() as closed:
            closed.bind(("127.0.0.1", 0))
            cloud = f"127.0.0.1:{closed.getsockname()[1]}"
        environment = job(
            DATA_BOOTSTRAP_SERVERS=self.bootstrap,
            KML_CLOUD_BOOTSTRAP_SERVERS=cloud,
            DATA_TOPIC=self.stream,
            INPUT_CONFIG='{"data_type": "uint8", "label_type": "uint8", "data_reshape": "", "label_reshape": ""}',
            ANSWER_LIMIT_S=str(LIMIT_S),
        )
        return Settings.from_env(environment | changes)


@pytest.fixture(scope="module")
def connected(bootstrap: str) -> Iterator[Edge]:
    with ExitStack() as stack:
        yield Edge(bootstrap, stack)


@pytest.fixture
def edge(connected: Edge) -> Edge:
    connected.begin()
    connected.create(connected.stream, 3)
    return connected


def source(edge: Edge, partition: int, offset: int, reason: str = "a reason") -> Headers:
    return [
        ("bad-record.topic", edge.stream.encode()),
        ("bad-record.partition", b"%d" % partition),
        ("bad-record.offset", b"%d" % offset),
        ("bad-record.reason", reason.encode()),
    ]


class TestHandingOver:
    def test_a_record_stays_as_it_is_and_gets_headers(self, edge: Edge) -> None:
        records = [
            Written(b"value", b"key"),
            Written(b"", b""),
            Written(bytes(range(256)), b"\x00"),
            Written(b"value", headers=[("trace", b"\x00\xff"), ("trace", None), ("empty", b"")]),
            Written(bytes(500_000), timestamp_ms=1),
        ]
        edge.create(edge.bad)
        edge.write(edge.stream, Written(b"before"), *records, Written(b"behind"))
        edge.hand_over(*((0, offset) for offset in range(1, 6)), reason="größer als 2")
        assert edge.read(edge.bad) == [
            replace(record, headers=[*record.headers, *source(edge, 0, offset, "größer als 2")])
            for offset, record in enumerate(records, 1)
        ]

    def test_records_near_and_far_are_found_in_their_order(self, edge: Edge) -> None:
        edge.create(edge.bad)
        edge.write(edge.stream, *(Written(b"%d" % number) for number in range(2 * NEAR + 10)))
        edge.write(edge.stream, Written(b"other", partition=2))
        offsets = [0, 3, 4, NEAR + 20, 2 * NEAR + 9]
        edge.hand_over(*((0, offset) for offset in offsets), (2, 0))
        assert [one.value for one in edge.read(edge.bad)] == [*(b"%d" % offset for offset in offsets), b"other"]

    def test_what_lies_between_records_far_apart_is_not_read(self) -> None:
        bad = [
            BadRecord("t", partition, offset, "") for partition, offset in ((0, 5), (0, NEAR), (0, 3 * NEAR), (1, 3 * NEAR + 1))
        ]
        assert [str(run) for run in runs(bad)] == [
            f"t:0:5:{NEAR + 1}",
            f"t:0:{3 * NEAR}:{3 * NEAR + 1}",
            f"t:1:{3 * NEAR + 1}:{3 * NEAR + 2}",
        ]

    @pytest.mark.parametrize(("partitions", "expected"), [(1, [0, 0, 0]), (2, [0, 1, 0]), (5, [0, 1, 2])])
    def test_records_of_a_partition_stay_together(self, edge: Edge, partitions: int, expected: list[int]) -> None:
        edge.create(edge.bad, partitions)
        edge.write(edge.stream, *(Written(b"%d" % partition, partition=partition) for partition in range(3)))
        edge.hand_over((0, 0), (1, 0), (2, 0))
        assert sorted((one.value, one.partition) for one in edge.read(edge.bad)) == [
            (b"%d" % number, partition) for number, partition in enumerate(expected)
        ]

    def test_a_record_that_stands_there_is_not_copied_again(self, edge: Edge, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level("INFO")
        edge.create(edge.bad, 2)
        edge.write(edge.stream, *(Written(b"%d" % number, partition=number % 3) for number in range(6)))
        edge.hand_over((0, 0), (1, 1))
        edge.hand_over((0, 0), (1, 0), (1, 1), (2, 1))
        assert sorted(one.value or b"" for one in edge.read(edge.bad)) == [b"0", b"1", b"4", b"5"]
        lines = [record.getMessage() for record in caplog.records if record.name == "transport.bad_records"]
        assert lines == [
            f"bad records copied to {edge.bad}=2, there already=0",
            f"bad records copied to {edge.bad}=2, there already=2",
        ]

    def test_windows_are_handed_over_one_by_one_and_a_round_that_is_read_again_copies_nothing_twice(self, edge: Edge) -> None:
        """By a former life that did not answer, by the one after it, and by that once more, whose round came to nothing."""
        edge.create(edge.bad)
        edge.write(edge.stream, *(Written(b"%d" % number) for number in range(6)))
        start = Positions({edge.stream: "id"}, {(edge.stream, 0): 1})
        edge.hand_over((0, 0))
        former, latter = (BadRecordTopic(edge.reader, edge.writer, edge.bad) for _ in range(2))
        for one, windows in ((former, [[1, 2], [4]]), (latter, [[1], [2, 4, 5]]), (latter, [[1, 2, 4, 5]])):
            one.begin(start)
            for window in windows:
                one.take([BadRecord(edge.stream, 0, offset, "a reason") for offset in window])
        latter.begin(Positions({edge.stream: "id"}, {(edge.stream, 0): 6}))
        edge.write(edge.stream, Written(b"6"))
        latter.take([BadRecord(edge.stream, 0, 6, "a reason")])
        assert [one.value for one in edge.read(edge.bad)] == [b"0", b"1", b"2", b"4", b"5", b"6"]

    def test_another_record_at_the_same_offset_of_a_topic_made_anew_is_copied(self, edge: Edge) -> None:
        edge.create(edge.bad)
        edge.write(edge.bad, Written(b"old", headers=source(edge, 0, 0)), Written(b"new", b"key", headers=source(edge, 0, 0)))
        edge.write(edge.stream, Written(b"new"))
        edge.hand_over((0, 0))
        assert [one.value for one in edge.read(edge.bad)] == [b"old", b"new", b"new"]

    def test_what_others_write_there_does_not_matter(self, edge: Edge) -> None:
        names = ("bad-record.topic", "bad-record.partition", "bad-record.offset")
        others: list[Headers] = [
            (),
            [(names[0], edge.stream.encode())],
            [(name, None) for name in names],
            list(zip(names, (b"\xff", b"zero", b"0"), strict=True)),
        ]
        edge.create(edge.bad)
        edge.write(edge.bad, *(Written(b"ours", headers=headers) for headers in others))
        edge.write(edge.stream, Written(b"ours"))
        edge.hand_over((0, 0))
        assert len(edge.read(edge.bad)) == len(others) + 1

    def test_headers_whose_names_are_no_text_are_left_out_and_end_nothing(
        self, edge: Edge, caplog: pytest.LogCaptureFixture
    ) -> None:
        edge.create(edge.bad)
        producer: Any = KafkaProducer(bootstrap_servers=edge.bootstrap)
        for topic in (edge.bad, edge.stream):  # a stranger's, and a bad record's own
            producer.send(topic, b"ours", headers=[(Bytes("name"), b"1"), ("trace", b"2")], partition=0).get(10)
        producer.close()
        for _ in range(2):
            edge.hand_over((0, 0))
        assert "[0]@0 is copied without its own headers: their names are no text" in caplog.text
        [[copy]] = edge.reader.read(OffsetRange(edge.bad, 0, 1, 2))
        assert (copy.value(), copy.headers()) == (b"ours", source(edge, 0, 0))
        assert edge.reader.bounds(edge.bad, 0) == (0, 2)

    def test_a_topic_that_takes_less_is_an_error(self, edge: Edge) -> None:
        edge.create(edge.bad, max_message_bytes="1000")
        edge.write(edge.stream, Written(bytes(2_000)))
        with pytest.raises(KafkaError, match=rf"refused while sending to {edge.bad}: .*MSG_SIZE_TOO_LARGE"):
            edge.hand_over((0, 0))

    def test_a_topic_that_is_gone_is_an_error_and_not_made(self, edge: Edge) -> None:
        edge.write(edge.stream, Written(b"ours"))
        with pytest.raises(KafkaError, match=rf"^BAD_RECORDS: {edge.bad} is gone from the edge's Kafka "):
            edge.hand_over((0, 0))
        assert edge.bad not in edge.admin.list_topics()

    def test_a_topic_that_does_not_come_is_an_error_and_not_made(self, edge: Edge) -> None:
        with pytest.raises(LimitError) as caught:
            await_bad_record_topic(edge.reader, edge.bad, 0.1)
        assert str(caught.value) == (
            f"BAD_RECORDS: {edge.bad} is no topic on the edge's Kafka (DATA_BOOTSTRAP_SERVERS={edge.bootstrap}) after 0.1 s: make "
            "it, with a retention that suits the data, or set BAD_RECORDS to fail or skip; ANSWER_LIMIT_S sets the limit"
        )
        assert edge.bad not in edge.admin.list_topics()


def keep(settings: Settings) -> FitData:
    return keep_labelled_stream(settings, settings.decoder(), Stop())


class TestStream:
    """The labelled stream of 99 good records and a bad one, of one or more bytes."""

    @pytest.fixture(autouse=True)
    def _write(self, edge: Edge) -> None:
        edge.write(edge.stream, Written(b"xx", b"\x00"))  # bad, and of a length that a reshape of null would take
        edge.write(edge.stream, *(Written(bytes([number]), partition=number % 3) for number in range(99)))

    @pytest.mark.parametrize("goes", ["skip", "topic"])
    def test_the_good_ones_are_kept_in_order_and_counted(self, edge: Edge, goes: str, caplog: pytest.LogCaptureFixture) -> None:
        edge.create(edge.bad)
        settings = edge.settings(BAD_RECORDS=edge.bad if goes == "topic" else "skip", TOTAL_MSG="100")
        data = keep(settings)
        np.testing.assert_array_equal(data.kept.samples.features, [*range(0, 99, 3), *range(1, 99, 3), *range(2, 99, 3)])
        assert num_data(settings, data) == 99
        lines = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
        assert lines[:2] == [
            f"left out {edge.stream}[0]@0: value has 2 bytes, expected 1 (uint8, a scalar)",
            "bad records=1 of 100, BAD_RECORDS_LIMIT=0.01",
        ]
        assert len(edge.read(edge.bad)) == (goes == "topic")

    def test_a_worker_that_starts_again_leaves_one_copy(self, edge: Edge) -> None:
        edge.create(edge.bad)
        for _ in range(3):
            keep(edge.settings(BAD_RECORDS=edge.bad))
        reason = "value has 2 bytes, expected 1 (uint8, a scalar)"
        assert edge.read(edge.bad) == [Written(b"xx", b"\x00", headers=source(edge, 0, 0, reason))]

    def test_beyond_the_limit_nothing_is_copied(self, edge: Edge) -> None:
        edge.create(edge.bad)
        edge.write(edge.stream, Written(b"", partition=2))
        with pytest.raises(DataError, match=r"^2 of 101 records cannot be decoded, and BAD_RECORDS_LIMIT=0\.01 of them may"):
            keep(edge.settings(BAD_RECORDS=edge.bad))
        assert edge.read(edge.bad) == []

    def test_tombstones_and_records_without_a_key_are_no_bad_records(
        self, edge: Edge, caplog: pytest.LogCaptureFixture
    ) -> None:
        edge.create(edge.bad)
        edge.write(edge.stream, Written(None), Written(b"no label", None))
        data = keep(edge.settings(BAD_RECORDS=edge.bad))
        assert (len(data.kept), data.bad, len(edge.read(edge.bad))) == (99, 1, 1)
        assert "left out tombstones=1 and records without a key=1: they are no samples" in caplog.text

    def test_a_topic_that_is_not_there_is_told_before_anything_is_read(
        self, edge: Edge, caplog: pytest.LogCaptureFixture
    ) -> None:
        with pytest.raises(LimitError, match=rf"^BAD_RECORDS: {edge.bad} is no topic on "):
            keep(edge.settings(BAD_RECORDS=edge.bad, ANSWER_LIMIT_S="0.1"))
        assert "left out" not in caplog.text


def test_a_worker_answers_without_data_where_its_fit_diverged_and_trains_on_without_its_bad_records(
    federation: Federation,
) -> None:
    stream = federation.write()
    topic = stream.spec.split(":")[0]
    with ExitStack() as stack:
        edge = Edge(federation.bootstrap, stack)
        edge.create(edge.bad)
        edge.write(topic, Written(bytes(255)), Written(bytes(256), b""))
        federation.cloud.create_topics()
        changes = {"BAD_RECORDS": edge.bad, "NON_FINITE": "return", "DATA_TOPIC": topic, "TOTAL_MSG": "402"}
        worker = federation.start(federation.environment(stream, **changes))
        good = announced(epochs=2)
        steep = good.compile_args["optimizer"]
        steep = steep | {"config": steep["config"] | {"learning_rate": 1e38}}
        federation.cloud.announce(replace(good, compile_args={**good.compile_args, "optimizer": steep}), 0)
        [diverged] = federation.cloud.collect(0, clients=1)
        federation.cloud.announce(good, -1)
        [trained] = federation.cloud.collect(-1, clients=1)
        assert worker.wait() == 0
        assert len(edge.read(edge.bad)) == 2
    assert (diverged.num_data, trained.num_data) == (0, 400)
    for array, sent in zip(diverged.arrays, good.arrays, strict=True):
        np.testing.assert_array_equal(array, sent, strict=True)
    assert diverged.metrics["training"]["loss"][-1] is None
    assert set(diverged.metrics["training"]) == set(diverged.metrics["validation"]) == {"loss", "accuracy"}
    assert "the fit diverged: array 0 (" in worker.log
    assert trained.metrics["training"]["loss"][-1] < trained.metrics["training"]["loss"][0]
