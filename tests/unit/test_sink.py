"""A reply: its topic is made to take it, its arrays stand before it, and it says where."""

import json

import numpy as np
import pytest

from FederatedKafkaMLAggregationSink import FederatedKafkaMLAggregationSink
from protocol.errors import KafkaError
from protocol.messages import Metrics, Trained
from protocol.metrics import collect
from protocol.records import Array
from protocol.stream_spec import OffsetRange
from protocol.topics import CONTROL_LIMIT_BYTES, Federation
from protocol.weights import load_arrays
from tests.support.fake_kafka import FakeKafka, FakeReader, FakeSender, FakeTopics
from tests.support.messages import model_message

FEDERATION = Federation("dig1", "c1")
REPLIES = "FED-dig1-agg_data_topic-c1"
METRICS = Metrics(training={"loss": [0.5]}, validation={"loss": [0.75]})
ARRAYS: list[Array] = [np.arange(6, dtype=np.float32).reshape(2, 3), np.array(4, np.int64)]
LARGEST = max(array.nbytes for array in ARRAYS)


@pytest.fixture
def kafka() -> FakeKafka:
    kafka = FakeKafka()
    kafka.create(FEDERATION.reply_control, message_bytes=CONTROL_LIMIT_BYTES)
    return kafka


def sink_of(kafka: FakeKafka) -> FederatedKafkaMLAggregationSink:
    return FederatedKafkaMLAggregationSink(FakeSender(kafka), FakeTopics(kafka), FEDERATION)


def replies(kafka: FakeKafka) -> list[tuple[bytes | None, bytes | None]]:
    return list(kafka.topics[FEDERATION.reply_control].logs[0].records.values())


def test_the_reply_topic_has_one_partition_and_the_contracts_limit(kafka: FakeKafka) -> None:
    sink_of(kafka).prepare(LARGEST)
    assert len(kafka.topics[REPLIES].logs) == 1
    assert kafka.topics[REPLIES].message_bytes == 10_000_000


def test_the_reply_topic_takes_the_largest_array(kafka: FakeKafka) -> None:
    large = np.zeros(3_000_000, np.float32)
    sink = sink_of(kafka)
    sink.prepare(large.nbytes)
    assert json.loads(sink.send([*ARRAYS, large], model_message(), Trained(METRICS, 400)))["topic"] == f"{REPLIES}:0:0:3"


@pytest.mark.parametrize("beyond", range(-400, 400, 40))
def test_an_array_around_the_contracts_limit_is_taken(kafka: FakeKafka, beyond: int) -> None:
    sink, array = sink_of(kafka), np.zeros(10_000_000 + beyond, np.uint8)
    sink.prepare(array.nbytes)
    sink.send([array], model_message(), Trained(METRICS, 400))


def test_arrays_stand_in_index_order_before_a_reply_that_names_them(kafka: FakeKafka) -> None:
    sink = sink_of(kafka)
    for version in (0, 1):
        sink.prepare(LARGEST)
        sink.send(ARRAYS, model_message(version=version), Trained(METRICS, 400))
    [(_key, _first), (key, value)] = replies(kafka)
    assert key == b"FED-MODEL-dig1-CLIENT-c1"
    assert value is not None
    assert json.loads(value) == {
        "topic": f"{REPLIES}:0:2:4",
        "version": 2,
        "metrics": {"training": {"loss": [0.5]}, "validation": {"loss": [0.75]}},
        "num_data": 400,
        "answers": {"topic": "FED-dig1-model_data_topic:0:0:4", "topic_id": ""},
    }
    [records] = FakeReader(kafka, "cloud").read(OffsetRange(REPLIES, 0, 2, 4))
    for sent, array in zip(load_arrays([(one.key(), one.value(), "") for one in records]), ARRAYS, strict=True):
        np.testing.assert_array_equal(sent, array)
        assert sent.dtype == array.dtype


def test_a_history_of_thousands_of_epochs_fits_the_control_topic(kafka: FakeKafka) -> None:
    metrics = collect([{"loss": 1 / 3 + epoch, "val_loss": 2 / 3 + epoch} for epoch in range(5_000)])
    sink = sink_of(kafka)
    sink.prepare(LARGEST)
    sink.send(ARRAYS, model_message(), Trained(metrics, 400))
    [(key, value)] = replies(kafka)
    assert key is not None
    assert value is not None
    assert 45_000 < len(key) + len(value) < CONTROL_LIMIT_BYTES
    assert json.loads(value)["metrics"]["training"]["loss"][-1] == 1 / 3 + 4_999


@pytest.mark.parametrize("when", ["before the round", "in its fit"])
def test_a_reply_topic_that_was_taken_away_is_made_again_as_it_was(kafka: FakeKafka, when: str) -> None:
    sink = sink_of(kafka)
    sink.prepare(LARGEST)
    if when == "in its fit":
        sink.prepare(LARGEST)
    kafka.delete(REPLIES)
    if when == "before the round":
        sink.prepare(LARGEST)
    sink.send(ARRAYS, model_message(), Trained(METRICS, 400))
    assert kafka.topics[REPLIES].message_bytes == 10_000_000


def test_a_reply_is_not_sent_where_the_cloud_has_taken_its_topic_away(kafka: FakeKafka) -> None:
    sink = sink_of(kafka)
    sink.prepare(LARGEST)
    kafka.delete(FEDERATION.reply_control)
    with pytest.raises(KafkaError, match="FED-dig1-agg_control_topic is gone"):
        sink.send(ARRAYS, model_message(), Trained(METRICS, 400))
    assert FEDERATION.reply_control not in kafka.topics


def test_arrays_that_something_else_was_written_between_are_not_announced(kafka: FakeKafka) -> None:
    class Interrupted(FakeSender):
        def send(self, topic, records):  # type: ignore[no-untyped-def]
            offsets = []
            for record in records:
                offsets += super().send(topic, [record])
                kafka.write(topic, [(b"\x00", b"another worker's")])
            return offsets

    sink = FederatedKafkaMLAggregationSink(Interrupted(kafka), FakeTopics(kafka), FEDERATION)
    sink.prepare(LARGEST)
    with pytest.raises(KafkaError, match=r"at offsets \[0, 2\]: another worker with this client id writes between them"):
        sink.send(ARRAYS, model_message(), Trained(METRICS, 400))
    assert not replies(kafka)
