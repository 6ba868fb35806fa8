"""`--check` over a real Kafka: what it finds, with which status, and that it changes nothing."""

from __future__ import annotations

import contextlib
import io
import json
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient, ConfigResource, OffsetSpec, ResourceType

from checking.run import check
from demo.device import Stream
from demo.rounds import LAST
from demo.topics import create_topic
from protocol.records import Samples
from tests.integration.conftest import Federation, announced
from tests.support.secure_kafka import PASSWORDS, SecureKafka
from variables import Environment

SETTLED_LIMIT_S = 20.0


def checked(environ: Mapping[str, str]) -> tuple[str, int]:
    """The report, with its columns and lines as one line of words, and the status."""
    out = io.StringIO()
    status = check(out, Environment(environ))
    return " ".join(out.getvalue().split()), status


def state(bootstrap: str) -> dict[Any, Any]:
    """All that a Kafka holds: topics with their settings, and where each log ends, its own logs of offsets and transactions too."""
    admin = AdminClient({"bootstrap.servers": bootstrap})
    topics = admin.list_topics(timeout=10).topics
    latest = OffsetSpec.latest()  # type: ignore[no-untyped-call]
    places = {TopicPartition(name, number): latest for name, one in topics.items() for number in one.partitions}
    ends = {(one.topic, one.partition): found.result().offset for one, found in admin.list_offsets(places).items()}
    described = admin.describe_configs([ConfigResource(ResourceType.TOPIC, name) for name in topics])
    configs = {one.name: {key: entry.value for key, entry in found.result().items()} for one, found in described.items()}
    return {"ends": ends, "configs": configs}


def settled(bootstrap: str) -> dict[Any, Any]:
    """The same, once nobody writes any more."""
    before, deadline = state(bootstrap), time.monotonic() + SETTLED_LIMIT_S
    while True:
        time.sleep(0.5)
        now = state(bootstrap)
        if now == before:
            return now
        before = now
        assert time.monotonic() < deadline, "somebody writes"


def write(bootstrap: str, topic: str, *records: tuple[bytes | None, bytes | None]) -> None:
    producer = Producer({"bootstrap.servers": bootstrap})
    for key, value in records:
        producer.produce(topic, value, key, partition=0)
    assert producer.flush(10) == 0


@pytest.fixture(scope="module")
def shared(bootstrap: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Federation]:
    """One of which the cloud has made no topic, for all tests that need no other."""
    with contextlib.ExitStack() as stack:
        yield Federation(bootstrap, tmp_path_factory.mktemp("shared"), stack)


@pytest.fixture
def stream(shared: Federation) -> Stream:
    """A stream on a topic of its own."""
    return shared.write()


def topic_of(stream: Stream) -> str:
    return stream.spec.split(":")[0]


def test_a_check_changes_nothing_and_leaves_a_running_worker_alone(federation: Federation, stream: Stream) -> None:
    federation.cloud.create_topics()
    environment = federation.environment(stream, BAD_RECORDS=f"{federation.model_id}-bad", TOTAL_MSG="399")
    create_topic(federation.bootstrap, f"{federation.model_id}-bad", 1)
    worker = federation.start(environment)
    federation.cloud.announce(announced(), 0)
    federation.cloud.collect(0, clients=1)
    before = settled(federation.bootstrap)
    text, status = checked(environment)
    other, its_status = checked(environment | {"FEDERATED_CLIENT_ID": "c2", "FEDERATED_MODEL_ID": "nobodys"})
    assert state(federation.bootstrap) == before
    assert (status, its_status) == (0, 0), text
    names = f"FED-{federation.model_id}"
    assert f"{names}-agg_data_topic-c1 may be written, with messages of 10000000 bytes" in text
    assert f"passed {names}-agg_control_topic may be written" in text
    assert f"FED-MODEL-{federation.model_id}-CLIENT-c1 may commit offsets" in text
    assert "waits cloud's topics FED-nobodys-model_control_topic, FED-nobodys-model_data_topic" in other
    assert "FED-nobodys-agg_data_topic-c2 is not there" in other
    federation.cloud.announce(announced(), LAST)
    federation.cloud.collect(LAST, clients=1)
    assert worker.wait() == 0  # and not 73: its transactional id is still its own


def test_samples_are_shown_as_a_model_would_get_them(shared: Federation) -> None:
    features = np.arange(12, dtype=np.float32).reshape(6, 2) - 3
    stream = shared.write(samples=Samples(features, np.array([0, 2, 2, 0, 2, 1], np.uint8)), partitions=2)
    text, status = checked(shared.environment(stream, TOTAL_MSG="7", VALIDATION_RATE="0.5"))
    assert status == 0
    assert f"passed DATA_TOPIC {stream.spec.replace(',', ', ')}, offsets=6" in text
    assert "training=3 validation=3 test=0" in text
    assert "decoded=6 of 6" in text
    assert "features: float32, shape (2,), from -3 to 8" in text
    assert "labels: uint8, shape (), 0=2 1=1 2=3" in text
    assert "TOTAL_MSG=7, by which a cloud weighs this client, and the stream has 6 offsets" in text


def test_what_a_newcomer_does_wrong_is_told_all_at_once(federation: Federation, stream: Stream) -> None:
    topic = topic_of(stream)
    federation.cloud.create_topics()
    text, status = checked(
        federation.environment(
            stream,
            DATA_TOPIC=f"{topic[:-1]}",
            INPUT_CONFIG=str(dict(stream.input_config)),
            FEDERATED_MODEL_ID=f"{federation.model_id}x",
            BAD_RECORDS="no-topic-of-anybody",
        )
    )
    assert status == 78  # of INPUT_CONFIG, the first
    assert f"is a dict as Python writes it, and no JSON: give {json.dumps(stream.input_config)}" in text
    assert f"FAULT DATA_TOPIC DATA_TOPIC: {topic[:-1]} is no topic on the edge's Kafka" in text
    assert f"is {topic} " in text or f"or {topic} " in text
    assert "left out records until INPUT_CONFIG and DATA_TOPIC can be used" in text
    assert "FAULT BAD_RECORDS BAD_RECORDS: no-topic-of-anybody is no topic" in text
    assert f"FEDERATED_MODEL_ID={federation.model_id}x; is " in text
    assert federation.model_id in text.split("x; is ")[1].split(" meant?")[0]
    assert "fault=3" in text


@pytest.mark.parametrize(
    ("spec", "status", "told"),
    [
        (
            "{}:0:0:500",
            75,
            "has offsets 0 to 399, and 100 of the spec's are not there: give {}:0:0:400, or let the device write on",
        ),
        ("{}:0:450:500", 75, "50 of the spec's are not there: let the device write there, or mend the spec"),
        ("{}:0:450", 65, "has offsets 0 to 399, and ends before the spec begins"),
        ("{}:3", 75, "{} has no partition 3, its last is 0; no number means all"),
        ("{}:0:400", 65, "holds no record: has the device written its stream?"),
        ("{}:0:0:1", 65, "leaves none to train on"),
    ],
)
def test_a_spec_is_held_against_the_log(shared: Federation, stream: Stream, spec: str, status: int, told: str) -> None:
    topic = topic_of(stream)
    text, ended = checked(shared.environment(stream, DATA_TOPIC=spec.format(topic)))
    assert told.format(topic) in text
    assert ended == status


def test_records_that_retention_has_removed_are_told(shared: Federation, stream: Stream) -> None:
    topic = topic_of(stream)
    admin = AdminClient({"bootstrap.servers": shared.bootstrap})
    [removed] = admin.delete_records([TopicPartition(topic, 0, 10)]).values()
    removed.result(10)
    text, status = checked(shared.environment(stream))
    assert "has offsets 10 to 399, and 0 to 9 are gone by retention" in text
    assert status == 65
    # A stream that goes on does so with what is left.
    text, status = checked(shared.environment(stream, CASE="2"))
    assert "goes on at 10: retention has removed 0 to 9" in text
    assert status == 0


def test_a_wrong_shape_is_told_with_its_place(shared: Federation, stream: Stream) -> None:
    config = {**stream.input_config, "data_reshape": "28 28"}
    text, status = checked(shared.environment(stream, INPUT_CONFIG=json.dumps(config)))
    assert (
        f"400 of 400 records looked at cannot be decoded, the first: {topic_of(stream)}[0]@0: value has 256 bytes, expected"
        in text
    )
    assert status == 65


def test_a_last_record_that_is_bad_is_found_and_may_be_left_out(shared: Federation, stream: Stream) -> None:
    topic = topic_of(stream)
    write(shared.bootstrap, topic, (b"\1", b"short"), (b"\1", None), (None, bytes(256)))
    environment = shared.environment(stream, DATA_TOPIC=topic)
    text, status = checked(environment)
    assert f"1 of 401 records looked at cannot be decoded, the first: {topic}[0]@400: value has 5 bytes" in text
    assert "without a value=1 without a key, which is the label=1" in text
    assert status == 65
    text, status = checked(environment | {"BAD_RECORDS": "skip"})
    assert "notice records" in text
    assert status == 0


def test_the_unlabelled_stream_is_read_as_the_labelled_one_is(shared: Federation, stream: Stream) -> None:
    unlabelled = f"{topic_of(stream)}-unlabelled"
    create_topic(shared.bootstrap, unlabelled, 1)
    environment = shared.environment(stream, UNSUPERVISED_TOPIC=unlabelled)
    text, status = checked(environment)
    assert f"FAULT UNSUPERVISED_TOPIC UNSUPERVISED_TOPIC: {unlabelled}:0:0:0 holds no record" in text
    assert status == 65
    # With an incremental kind it goes on, so its records may come later.
    text, status = checked(environment | {"CASE": "4"})
    assert f"waits UNSUPERVISED_TOPIC {unlabelled}:0:0:0 has nothing new yet" in text
    assert status == 0
    write(shared.bootstrap, unlabelled, (None, bytes(256)), (None, b"short"))
    text, status = checked(environment)
    assert f"1 of 2 records looked at cannot be decoded, the first: {unlabelled}[0]@1: value has 5 bytes" in text
    assert status == 65


def test_a_topic_of_bad_records_that_would_lose_some_is_told(shared: Federation, stream: Stream) -> None:
    bad = f"{topic_of(stream)}-bad"
    create_topic(shared.bootstrap, bad, 1, {"cleanup.policy": "compact", "max.message.bytes": "1000"})
    text, status = checked(shared.environment(stream, BAD_RECORDS=bad))
    assert f"{bad} is compacted" in text
    assert f"{bad} takes messages of 1000 bytes" in text
    assert status == 0


def test_a_control_topic_that_takes_no_reply_is_a_fault(federation: Federation, stream: Stream) -> None:
    topic = f"FED-{federation.model_id}-agg_control_topic"
    create_topic(federation.bootstrap, topic, 1, {"max.message.bytes": "1000"})
    text, status = checked(federation.environment(stream))
    assert f"{topic} takes messages of 1000 bytes, and replies have up to 50000: set its max.message.bytes=50000" in text
    assert status == 69


def test_a_kafka_that_is_not_there_hides_nothing_of_the_other(shared: Federation, stream: Stream) -> None:
    text, status = checked(shared.environment(stream, DATA_BOOTSTRAP_SERVERS="127.0.0.1:1", ANSWER_LIMIT_S="0.5"))
    assert "FAULT edge's Kafka the edge's Kafka (DATA_BOOTSTRAP_SERVERS=127.0.0.1:1) did not answer within 0.5 s" in text
    assert "left out DATA_TOPIC until edge's Kafka can be used" in text
    assert "passed cloud's Kafka" in text
    assert status == 69


def secured(kafka: SecureKafka, stream: Stream, model_id: str, **changes: str) -> dict[str, str]:
    """The environment of edge-user, who may do nothing yet."""
    who = {"SECURITY_PROTOCOL": "SASL_PLAINTEXT", "SASL_MECHANISM": "PLAIN", "SASL_USERNAME": "edge-user"}
    who |= {"SASL_PASSWORD": PASSWORDS["edge-user"], "BOOTSTRAP_SERVERS": kafka.broker.addresses["SASL"]}
    return {
        "DATA_TOPIC": stream.spec,
        "INPUT_FORMAT": stream.input_format,
        "INPUT_CONFIG": json.dumps(stream.input_config),
        "VALIDATION_RATE": "0.2",
        "TOTAL_MSG": str(stream.total),
        "FEDERATED_MODEL_ID": model_id,
        "FEDERATED_CLIENT_ID": "c1",
        **{prefix + name: text for prefix in ("KML_CLOUD_", "DATA_") for name, text in who.items()},
        **changes,
    }


def test_each_right_that_is_missing_is_told_and_with_all_of_them_it_passes(secure: SecureKafka, tmp_path: Path) -> None:
    with contextlib.ExitStack() as stack:
        there = Federation(secure.broker.bootstrap, tmp_path, stack)
        stream, names = there.write(), f"FED-{there.model_id}"
        there.cloud.create_topics()
        before = state(secure.broker.bootstrap)["configs"].keys()
        text, status = checked(secured(secure, stream, there.model_id))
        assert status == 77
        assert "passed edge's Kafka" in text
        for topic in (
            topic_of(stream),
            f"{names}-model_control_topic",
            f"{names}-model_data_topic",
            f"{names}-agg_control_topic",
        ):
            assert f"DESCRIBE on topic {topic}, as READ and WRITE do" in text
        assert f"READ on group FED-MODEL-{there.model_id}-CLIENT-c1" in text
        assert "fault=6" in text
        assert PASSWORDS["edge-user"] not in text

        # All but WRITE where replies go, and CREATE.
        secure.allow("edge-user", "TOPIC", topic_of(stream), "READ")
        secure.allow("edge-user", "TOPIC", names, "READ", "DESCRIBE_CONFIGS")
        secure.allow("edge-user", "GROUP", f"FED-MODEL-{there.model_id}", "READ")
        text, status = checked(secured(secure, stream, there.model_id))
        assert f"its ACLs must allow WRITE on topic {names}-agg_control_topic" in text
        assert f"its ACLs must allow CREATE on topic {names}-agg_data_topic-c1" in text
        assert (status, "fault=2" in text) == (77, True), text

        secure.allow("edge-user", "TOPIC", names, "WRITE", "CREATE")
        text, status = checked(secured(secure, stream, there.model_id))
        assert status == 0, text
        assert f"{names}-agg_data_topic-c1 is not there" in text
        assert state(secure.broker.bootstrap)["configs"].keys() == before
