"""Windows of a moving stream over a real Kafka."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from kafka import KafkaAdminClient
from kafka.admin import NewPartitions

import transport.windows
from demo.topics import create_topic
from protocol.positions import Partition, Positions
from protocol.stream_spec import parse_spec
from protocol.windows import Window, WindowLimits
from tests.integration.test_transport_contract import Real
from tests.support.patience import eventually
from transport.admin import Admin
from transport.clients import Cluster
from transport.positions import StreamPositions
from transport.reader import Reader
from transport.windows import MovingStream

LIMIT_S = 20.0
SILENCE_S = 0.5


class Edge:
    """An edge's Kafka with a topic of a test's own."""

    def __init__(self, bootstrap: str, stack: ExitStack) -> None:
        self.topic, self.group = f"moving-{uuid.uuid4()}", f"group-{uuid.uuid4()}"
        self.kafka = Real(bootstrap, stack)
        self.admin: Any = stack.enter_context(KafkaAdminClient(bootstrap_servers=bootstrap))
        self.bootstrap = bootstrap
        cluster = Cluster("edge", "DATA_BOOTSTRAP_SERVERS", bootstrap)
        self.reader = stack.enter_context(Reader(cluster, self.group, LIMIT_S))
        self.topics = stack.enter_context(Admin(cluster, self.group, LIMIT_S))

    def stream(self, spec: str, *, records: int = 100, round_windows: int | None = None) -> MovingStream:
        ranges = parse_spec(spec)
        limits = WindowLimits(records, LIMIT_S, round_windows, 3 * LIMIT_S)
        where = StreamPositions(self.reader, self.topics, ranges, LIMIT_S)
        return MovingStream(self.reader, where, ranges, limits, LIMIT_S)

    def write(self, *numbers: int, partition: int = 0, topic: str | None = None) -> None:
        self.kafka.write(topic or self.topic, [(b"k", b"%d" % number) for number in numbers], partition)


@pytest.fixture
def edge(bootstrap: str) -> Iterator[Edge]:
    with ExitStack() as stack:
        yield Edge(bootstrap, stack)


def numbers(window: Window) -> list[int]:
    return [int(value) for batch in window.batches for value in batch.values]


def offsets(window: Window) -> dict[Partition, int]:
    return dict(window.positions.offsets)


def test_rounds_go_on_over_several_partitions_of_several_topics(edge: Edge) -> None:
    more = f"{edge.topic}-more"
    create_topic(edge.bootstrap, edge.topic, 3)
    create_topic(edge.bootstrap, more, 1)
    for partition in range(3):
        edge.write(*range(10 * partition, 10 * partition + 7), partition=partition)
    edge.write(90, 91, topic=more)
    stream = edge.stream(f"{edge.topic},{more}:0:1", records=10)
    first = list(stream.windows(None, SILENCE_S))
    assert [len(window) for window in first] == [10, 10, 2]
    assert sorted(number for window in first for number in numbers(window)) == [*range(7), *range(10, 17), *range(20, 27), 91]
    assert offsets(first[-1]) == {**{(edge.topic, partition): 7 for partition in range(3)}, (more, 0): 2}
    edge.write(7, partition=1)
    edge.write(92, topic=more)
    [second] = stream.windows(first[-1].positions, SILENCE_S)
    assert sorted(numbers(second)) == [7, 92]
    stream.commit(second.positions)
    assert edge.reader.committed(edge.topic, 1) == (8, edge.topics.topic_id(edge.topic))
    # Without anything else that tells, it goes on at what its group has committed.
    edge.write(8, partition=2)
    assert [numbers(window) for window in edge.stream(f"{edge.topic},{more}").windows(None, SILENCE_S)] == [[8]]


def test_what_an_aborted_transaction_left_is_no_record_and_no_end_of_silence(edge: Edge) -> None:
    create_topic(edge.bootstrap, edge.topic, 1)
    edge.write(1)
    edge.kafka.leave_gap(edge.topic)
    [window] = edge.stream(edge.topic).windows(None, SILENCE_S)
    assert (numbers(window), offsets(window)) == ([1], {(edge.topic, 0): 3})


def test_retention_before_and_in_a_round_is_told_and_the_stream_goes_on(edge: Edge, caplog: pytest.LogCaptureFixture) -> None:
    create_topic(edge.bootstrap, edge.topic, 1)
    edge.write(*range(6))
    edge.kafka.expire(edge.topic, 4)
    windows = edge.stream(edge.topic, records=1).windows(at(edge, 1), SILENCE_S)
    assert numbers(next(windows)) == [4]
    edge.reader.unfollow()  # whatever was fetched ahead is gone with it
    edge.write(*range(6, 9))
    edge.kafka.expire(edge.topic, 8)
    edge.reader.follow({(edge.topic, 0): 5})
    assert [numbers(window) for window in windows] == [[8]]
    told = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert [line.split(" before they were trained on")[0] for line in told] == [
        f"retention has removed offsets 1 to 3 of {edge.topic}[0]",
        f"retention has removed offsets 5 to 7 of {edge.topic}[0]",
    ]


def at(edge: Edge, offset: int) -> Positions:
    return Positions({edge.topic: edge.topics.topic_id(edge.topic) or ""}, {(edge.topic, 0): offset})


@pytest.mark.parametrize("count", [1, 5])
def test_a_topic_that_is_made_anew_in_a_round_is_read_from_its_beginning(
    edge: Edge, count: int, caplog: pytest.LogCaptureFixture
) -> None:
    """Whether it has less or more than what was read of the one before."""
    create_topic(edge.bootstrap, edge.topic, 1)
    edge.write(*range(3))
    windows = edge.stream(edge.topic, records=3).windows(None, SILENCE_S)
    assert numbers(next(windows)) == [0, 1, 2]
    edge.kafka.delete(edge.topic)
    eventually(lambda: edge.topics.topic_id(edge.topic), None)
    create_topic(edge.bootstrap, edge.topic, 1)
    edge.write(*range(10, 10 + count))
    found = list(windows)
    assert [number for window in found for number in numbers(window)] == list(range(10, 10 + count))
    assert found[-1].positions == at(edge, count)
    assert f"topic {edge.topic} was deleted and made anew: the stream goes on at its beginning" in caplog.text


def test_partitions_that_are_added_in_a_round_are_read(edge: Edge, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport.windows, "LOOK_EVERY_S", 0.2)
    create_topic(edge.bootstrap, edge.topic, 1)
    edge.write(0)
    windows = edge.stream(edge.topic, records=1, round_windows=2).windows(None, None)
    assert numbers(next(windows)) == [0]
    edge.admin.create_partitions({edge.topic: NewPartitions(3)})
    eventually(lambda: edge.reader.partitions(edge.topic), [0, 1, 2])
    with ExitStack() as stack:  # another client: the first one knows of one partition
        Real(edge.bootstrap, stack).write(edge.topic, [(b"k", b"7")], 2)
    [window] = windows
    assert (numbers(window), offsets(window)) == ([7], {(edge.topic, 0): 1, (edge.topic, 1): 0, (edge.topic, 2): 1})
