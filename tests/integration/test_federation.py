"""The worker in federations over a real Kafka: as a process, or in this one where that is enough."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from kafka import KafkaAdminClient, KafkaProducer

from benchmarks.soak import broken
from benchmarks.watched import read_samples
from demo.cloud import Cloud
from demo.errors import NoReplyError
from demo.topics import create_topic
from ending import STOP_LIMIT_S, LastWords, Stopping
from protocol.architecture import Dialect
from protocol.errors import Stopped
from protocol.records import Samples
from protocol.stream_spec import OffsetRange, parse_spec
from protocol.weights import load_arrays
from tests.integration.conftest import Federation, announced, worker_here
from tests.support import golden
from tests.support.models import classifier
from tests.support.patience import eventually
from training.dialects import load_keras
from transport.clients import READ_UNCOMMITTED, Cluster
from transport.reader import Reader
from transport.writer import Transactions, Writer

KERAS_2, KERAS_3 = Dialect.KERAS_2, Dialect.KERAS_3


def free_port() -> int:
    with socket.create_server(("0.0.0.0", 0)) as server:  # noqa: S104 - as the endpoint does
        port: int = server.getsockname()[1]
        return port


def scraped(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        text: str = answer.read().decode()
        return text


@pytest.mark.parametrize(
    ("input_format", "dialect"), [("RAW", KERAS_3), ("AVRO", KERAS_2), ("JSON", KERAS_3), ("JSON", KERAS_2)]
)
def test_a_federation_is_taken_part_in_to_its_last_round(federation: Federation, input_format: str, dialect: Dialect) -> None:
    digits = golden.samples()
    samples = Samples(digits.features.reshape(400, 64), digits.labels)
    keras = load_keras(dialect)
    model = keras.Sequential([keras.layers.Input((64,)), keras.layers.Dense(10, activation="softmax")])
    port = free_port()
    watched = {"LOG_FORMAT": "json", "METRICS_PORT": str(port)}
    worker = federation.start(federation.environment(federation.write(input_format, samples), TEST_RATE="0.1", **watched))
    federation.cloud.create_topics()
    running = federation.cloud.run(announced(model, epochs=2), rounds=3, clients=1)
    rounds = [next(running)]
    labels = f'client="c1",model="{federation.model_id}",topic="'
    assert re.search(rf'^kafka_ml_records_read_total{{{labels}[^"]+"}} 400.0$', scraped(port), re.MULTILINE)
    rounds += running
    assert worker.wait() == 0
    lines = [json.loads(line) for line in worker.log.splitlines() if line.startswith("{")]
    assert {(line["client"], line["version"]) for line in lines} == {("c1", version) for version in (None, 0, 1, -1)}
    assert [one.version for one in rounds] == [0, 1, -1]
    [first], [last] = rounds[0].replies, rounds[-1].replies
    assert [reply.version for one in rounds for reply in one.replies] == [1, 2, -1]
    assert first.client == f"FED-MODEL-{federation.model_id}-CLIENT-c1"
    assert first.num_data == 400
    assert {part: {name: len(numbers) for name, numbers in metrics.items()} for part, metrics in first.metrics.items()} == {
        "training": {"loss": 2, "accuracy": 2},
        "validation": {"loss": 2, "accuracy": 2},
        "test": {"loss": 1, "accuracy": 1},
    }
    assert last.metrics["training"]["loss"][-1] < first.metrics["training"]["loss"][0]
    assert "federation done rounds=3" in worker.log


@pytest.mark.parametrize("dialect", [KERAS_2, KERAS_3])
def test_thirty_rounds_are_one_read_one_build_and_no_more_traces_threads_or_files(
    federation: Federation, tmp_path: Path, dialect: Dialect
) -> None:
    seen = tmp_path / "samples.jsonl"
    watched = ("-m", "benchmarks.watched", str(seen))
    worker = federation.start(federation.environment(federation.write(partitions=2)), arguments=watched)
    federation.cloud.create_topics()
    rounds = list(federation.cloud.run(announced(dialect=dialect, epochs=2), rounds=30, clients=1))
    assert worker.wait() == 0
    assert len(rounds) == 30
    assert worker.log.count("stream read records=400") == 1
    assert worker.log.count("model built") == 1
    assert broken(read_samples(seen), 30, settled=10) == []


def test_a_stream_beyond_the_memory_limit_is_trained_from_disk(
    federation: Federation, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    folder = tmp_path / "spilled"
    folder.mkdir()
    federation.cloud.create_topics()
    environment = federation.environment(federation.write(), DATA_MEMORY_LIMIT="64Ki", DATA_SPILL_FOLDER=str(folder))
    federation.cloud.announce(announced(epochs=2), -1)
    with worker_here(federation, environment):
        [reply] = federation.cloud.collect(-1, clients=1)
    assert f"is kept in DATA_SPILL_FOLDER={folder}" in caplog.text
    assert reply.metrics["training"]["loss"][-1] < reply.metrics["training"]["loss"][0]
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("name", golden.NAMES)
def test_the_captured_federation_is_read_trained_and_answered(bootstrap: str, federation: Federation, name: str) -> None:
    """Replays the public cloud's messages, byte for byte, and compares with what the public worker replied."""
    federation.model_id = golden.model_id(name)
    stream = federation.write()
    with Cloud(bootstrap, federation.model_id) as cloud, KafkaAdminClient(bootstrap_servers=bootstrap) as admin:
        cloud.create_topics()
        producer: Any = KafkaProducer(bootstrap_servers=bootstrap)
        control, weights = golden.records(name, "model_control"), golden.records(name, "model_data")
        replies = []
        with worker_here(federation, federation.environment(stream, CASE=None, TEST_RATE=None, UNSUPERVISED_TOPIC=None)):
            for index, message in enumerate(control):
                half = len(weights) // 2
                for record in [*weights[index * half : (index + 1) * half], message]:
                    assert producer.send(record.topic, key=record.key, value=record.value).get(10).offset == record.offset
                replies += cloud.collect(json.loads(message.value)["version"], clients=1)
        producer.close()
        captured = [json.loads(record.value) for record in golden.records(name, "agg_control")]
        reply_topic = f"FED-{federation.model_id}-agg_data_topic-c1"
        for index, (reply, one) in enumerate(zip(replies, captured, strict=True)):
            [where], [told] = reply.where, parse_spec(one["topic"])
            assert (where.topic, where.partition, told.partition) == (reply_topic, 0, 0)
            # Behind each reply's arrays stands the marker of its transaction, which no spec names.
            assert (where.start, where.end) == ((told.start or 0) + index, (told.end or 0) + index)
        assert [(reply.version, reply.num_data) for reply in replies] == [(one["version"], one["num_data"]) for one in captured]
        arrays = load_arrays([(bytes([at]), one.value, "") for at, one in enumerate(golden.records(name, "agg_data"))])
        answered = [array for reply in replies for array in reply.arrays]
        for reply, one in zip(replies, captured, strict=True):
            for part in ("training", "validation"):
                assert list(reply.metrics[part]) == list(one["metrics"][part])
                if name in golden.DETERMINISTIC:  # dropout draws by chance
                    reached, expected = list(reply.metrics[part].values()), list(one["metrics"][part].values())
                    np.testing.assert_allclose(reached, expected, rtol=0, atol=1e-6)
        for array, captured_array in zip(answered, arrays, strict=True):
            assert (array.shape, array.dtype) == (captured_array.shape, captured_array.dtype)
            if name in golden.DETERMINISTIC:
                np.testing.assert_allclose(array, captured_array, rtol=0, atol=1e-6)
        admin.delete_topics([*cloud.federation.cloud_topics, reply_topic])


def test_two_workers_make_one_global_model(federation: Federation) -> None:
    digits = golden.samples()
    halves = [Samples(digits.features[part], digits.labels[part]) for part in (slice(0, 150), slice(150, 400))]
    federation.cloud.create_topics()
    workers = [
        federation.start(federation.environment(federation.write("RAW", half), client_id=name), name)
        for name, half in zip(("c1", "c2"), halves, strict=True)
    ]
    rounds = list(federation.cloud.run(announced(), rounds=2, clients=2))
    assert [worker.wait() for worker in workers] == [0, 0]
    assert sorted(reply.num_data for reply in rounds[0].replies) == [150, 250]
    assert not np.array_equal(rounds[0].replies[0].arrays[0], rounds[0].replies[1].arrays[0])
    small, large = sorted(rounds[0].replies, key=lambda reply: reply.num_data)
    for averaged, one, other in zip(rounds[0].arrays, small.arrays, large.arrays, strict=True):
        np.testing.assert_allclose(averaged, (150 * one + 250 * other) / 400, rtol=1e-5, atol=1e-7)


def test_a_worker_started_before_the_cloud_waits_and_makes_no_topic(federation: Federation) -> None:
    worker = federation.start(federation.environment(federation.write()))
    line = worker.await_line("waiting for the cloud to create the topics of federation")
    assert federation.model_id in line
    with KafkaAdminClient(bootstrap_servers=federation.bootstrap) as admin:
        made = [topic for topic in admin.list_topics() if topic.startswith(f"FED-{federation.model_id}")]
    assert made == []
    federation.cloud.create_topics()
    worker.await_line("waiting for the next model")
    federation.cloud.announce(announced(), -1)
    assert len(federation.cloud.collect(-1, clients=1)) == 1
    assert worker.wait() == 0


def test_a_stream_over_three_partitions_with_odd_records_is_read_once_in_order(
    federation: Federation, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    stream = federation.write("RAW", partitions=3, deal="runs")
    topic = stream.spec.split(":")[0]
    producer: Any = KafkaProducer(bootstrap_servers=federation.bootstrap)
    for key, value in ((b"\x01", None), (None, b"no label")):
        producer.send(topic, key=key, value=value, partition=1).get(10)
    producer.close()
    ranges = stream.spec.split(",")
    ranges[1] = ranges[1].rsplit(":", 1)[0]  # up to the end, with the odd records
    federation.cloud.create_topics()
    federation.cloud.announce(announced(), -1)
    with worker_here(federation, federation.environment(stream, DATA_TOPIC=",".join(ranges[::-1]), TOTAL_MSG="500")):
        [reply] = federation.cloud.collect(-1, clients=1)
    assert reply.num_data == 500
    log = caplog.text
    assert "left out tombstones=1 and records without a key=1" in log
    assert "TOTAL_MSG=500, and the stream has 400 records with value and key" in log
    read = next(line for line in log.splitlines() if "stream read records=400" in line)
    assert read.index(f"{topic}:0:") < read.index(f"{topic}:1:") < read.index(f"{topic}:2:")


def test_a_model_of_three_hundred_arrays_goes_there_and_back(federation: Federation) -> None:
    keras = load_keras(KERAS_2)  # whose architecture of so many layers still fits the control topic
    layers = [keras.layers.BatchNormalization(trainable=False) for _ in range(74)]
    ends = [keras.layers.Dense(10), keras.layers.Dense(10, activation="softmax")]
    model = keras.Sequential([keras.layers.Input((8, 8)), keras.layers.Flatten(), *layers, *ends])
    announcement = announced(model)
    assert len(announcement.arrays) == 300
    federation.cloud.create_topics()
    federation.cloud.announce(announcement, -1)
    with worker_here(federation, federation.environment(federation.write())):
        [reply] = federation.cloud.collect(-1, clients=1)
    assert [array.shape for array in reply.arrays] == [array.shape for array in announcement.arrays]


@pytest.mark.parametrize("dialect", [KERAS_2, KERAS_3])
def test_the_moving_averages_of_batch_normalization_travel(federation: Federation, dialect: Dialect) -> None:
    federation.cloud.create_topics()
    announcement = announced(classifier(dialect, "BatchNormalization"))
    federation.cloud.announce(announcement, -1)
    with worker_here(federation, federation.environment(federation.write())):
        [reply] = federation.cloud.collect(-1, clients=1)
    assert len(reply.arrays) == 8
    assert not any(np.array_equal(after, before) for after, before in zip(reply.arrays, announcement.arrays, strict=True))


def test_a_person_at_a_terminal_sees_keras_own_bar(federation: Federation) -> None:
    federation.cloud.create_topics()
    worker = federation.start(federation.environment(federation.write()), on_terminal=True)
    federation.cloud.announce(announced(epochs=2), -1)
    federation.cloud.collect(-1, clients=1)
    assert worker.wait() == 0
    assert "Epoch 1/2" in worker.log
    assert "10/10" in worker.log
    assert "INFO    epoch 1/2" not in worker.log


def test_a_worker_that_was_busy_answers_the_last_model_alone(federation: Federation) -> None:
    federation.cloud.create_topics()
    worker = federation.start(federation.environment(federation.write()))
    federation.cloud.announce(announced(epochs=40), 0)
    worker.await_line("epoch 2/40")
    for version in (1, 2, -1):
        federation.cloud.announce(announced(), version)
    assert len(federation.cloud.collect(-1, clients=1)) == 1
    assert worker.wait() == 0
    assert "superseded models=2, trained is the newest" in worker.log
    assert federation.cloud.ignored == {"another version": 1}


def test_a_worker_killed_in_its_fit_does_the_round_again(federation: Federation) -> None:
    federation.cloud.create_topics()
    environment = federation.environment(federation.write(), FEDERATED_CLIENT_ID=None, HOSTNAME="kml-job-7-x2v")
    federation.cloud.announce(announced(epochs=10_000), 0)
    killed = federation.start(environment)
    killed.await_line("epoch 1/")
    killed.send(signal.SIGKILL)
    assert killed.wait() == -signal.SIGKILL
    federation.forget(killed)
    federation.cloud.announce(announced(), -1)
    again = federation.start(environment)
    [reply] = federation.cloud.collect(-1, clients=1)
    assert again.wait() == 0
    assert reply.client == f"FED-MODEL-{federation.model_id}-CLIENT-kml-job-7-x2v"
    # Started once more after the last round, it has nothing left to do.
    assert federation.start(environment).wait() == 0
    assert "the last round of the federation was answered before" in again.log


def test_a_worker_whose_place_another_one_has_taken_ends_and_answers_nothing(federation: Federation) -> None:
    federation.cloud.create_topics()
    environment = federation.environment(federation.write())
    older = federation.start(environment, "older")
    older.await_line("waiting for the next model")
    federation.forget(older)
    newer = federation.start(environment, "newer")
    newer.await_line("waiting for the next model")
    federation.cloud.announce(announced(), -1)
    assert len(federation.cloud.collect(-1, clients=1)) == 1
    assert newer.wait() == 0
    assert older.wait() == 73, older.log
    group = f"FED-MODEL-{federation.model_id}-CLIENT-c1"
    assert f"another process answers for {group} and has taken this one's place" in older.log.splitlines()[-1]
    with pytest.raises(NoReplyError):
        federation.cloud.collect(-1, clients=1, limit_s=1)


@pytest.mark.parametrize(
    ("number", "status", "moment"),
    [
        (signal.SIGTERM, 143, "settings federation="),  # TensorFlow loads, and the stream is read
        (signal.SIGTERM, 143, "waiting for the next model"),
        (signal.SIGTERM, 143, "epoch 1/"),
        (signal.SIGINT, 130, "epoch 1/"),
    ],
)
def test_a_signal_ends_the_worker_with_its_status_and_nothing_is_sent(
    federation: Federation, number: signal.Signals, status: int, moment: str
) -> None:
    federation.cloud.create_topics()
    if moment.startswith("epoch"):
        federation.cloud.announce(announced(epochs=10_000), 0)
    worker = federation.start(federation.environment(federation.write()))
    worker.await_line(moment)
    worker.send(number)
    assert worker.wait(STOP_LIMIT_S + 1) == status
    assert worker.last_words == f"told to stop by {number.name}; start the worker again to go on where it was"
    with Reader(Cluster("test", "KAFKA_BOOTSTRAP", federation.bootstrap), "looker", 20) as reader:
        assert reader.bounds(federation.cloud.federation.reply_control, 0) == (0, 0)


def test_a_worker_that_is_stopped_while_it_sends_a_hundred_megabytes_leaves_off(bootstrap: str, federation: Federation) -> None:
    topic, limit_s = f"{federation.model_id}-large", 20
    create_topic(bootstrap, topic, 1, {"max.message.bytes": "2000000"})
    cluster = Cluster("test", "KAFKA_BOOTSTRAP", bootstrap)
    sent = threading.Event()

    def records() -> Iterator[tuple[bytes, bytes]]:
        for number in range(100):
            yield b"k", bytes(1_000_000)
            if number == 10:
                eventually(lambda: beside.bounds(topic, 0)[1] > 0, True)  # noqa: FBT003 - what it comes to
                sent.set()

    def stop() -> None:
        sent.wait(limit_s)
        os.kill(os.getpid(), signal.SIGTERM)

    with (
        Stopping(LastWords(None)) as stopping,
        Reader(cluster, topic, limit_s) as reader,
        Reader(cluster, topic, limit_s, READ_UNCOMMITTED) as beside,
    ):
        transactions = Transactions(reader.membership, limit_s)
        threading.Thread(target=stop).start()
        with (
            pytest.raises(Stopped),
            stopping.raised(),
            Writer(cluster, topic, limit_s, transactions) as writer,
            writer.transaction(),
        ):
            writer.send(topic, records())
        low, high = reader.bounds(topic, 0)
        assert high < 100
        assert list(reader.read(OffsetRange(topic, 0, low, high))) == []
        assert 0 < beside.bounds(topic, 0)[1] < 100
