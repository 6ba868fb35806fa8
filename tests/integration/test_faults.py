"""What goes wrong ends the worker with its own status, and a last line that names cause, place and remedy."""

from __future__ import annotations

import json
import socket
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from kafka import KafkaAdminClient, KafkaProducer, TopicPartition

from demo.device import Stream
from demo.rounds import AnnouncedModel
from protocol.records import Samples
from tests.integration.conftest import Federation, announced
from tests.support import golden
from tests.support.environments import job
from tests.support.messages import model_json

NOTHING = Stream("no-topic:0:0:10", "RAW", {"data_type": "uint8", "label_type": "uint8"}, 10)


def ended(federation: Federation, model: AnnouncedModel, **changes: str) -> tuple[int, str]:
    """Status and last line of a worker that is given a model."""
    federation.cloud.create_topics()
    federation.cloud.announce(model, 0)
    worker = federation.start(federation.environment(federation.write()) | changes)
    return worker.wait(), worker.last_words


def test_all_faults_of_the_environment_are_told_before_anything_connects(federation: Federation) -> None:
    wrong = job(VALIDATION_RATE="20", INPUT_FORMAT="XML", INPUT_CONFIG="{", DATA_TOPIC="a:b", TOTAL_MSG=None)
    worker = federation.start(wrong)
    assert worker.wait() == 78
    log = worker.log
    assert "VALIDATION_RATE='20' is outside [0, 1): give a fraction, e.g. 0.2 for 20 %" in log
    assert "INPUT_CONFIG='{' is not JSON (" in log
    assert "DATA_TOPIC='a:b' is no stream spec: 'a:b' is not topic[:partition[:offset[:end]]]" in log
    assert "TOTAL_MSG is not set: give the number of records of the stream" in log
    assert "INPUT_FORMAT='XML' is unknown: choose one of RAW, AVRO, JSON" in log
    assert len(log.splitlines()) == 5  # a line for each of the five
    assert len(worker.last_words.splitlines()) == 5
    assert "Traceback" not in log


def test_a_broker_that_does_not_answer_is_named_with_its_variable(federation: Federation) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{closed.getsockname()[1]}"
        worker = federation.start(federation.environment(NOTHING, DATA_BOOTSTRAP_SERVERS=address, ANSWER_LIMIT_S="2"))
        assert worker.wait() == 69
    line = worker.last_words
    assert line.startswith(f"the edge's Kafka (DATA_BOOTSTRAP_SERVERS={address}) did not answer within 2 s: ")
    assert "Connection refused" in line
    assert line.endswith("is it up, is the address right, can it be reached from here? ANSWER_LIMIT_S sets the limit")


def test_a_data_topic_that_is_not_there_is_waited_for_and_not_made(federation: Federation) -> None:
    worker = federation.start(federation.environment(NOTHING, ANSWER_LIMIT_S="2"))
    assert worker.wait() == 75
    assert worker.last_words.startswith("DATA_TOPIC: no-topic is no topic on the edge's Kafka (DATA_BOOTSTRAP_SERVERS=")
    with KafkaAdminClient(bootstrap_servers=federation.bootstrap) as admin:
        assert "no-topic" not in admin.list_topics()


def test_offsets_that_retention_removed_are_named(federation: Federation) -> None:
    stream = federation.write()
    topic = stream.spec.split(":")[0]
    with KafkaAdminClient(bootstrap_servers=federation.bootstrap) as admin:
        admin.delete_records({TopicPartition(topic, 0): 120})
    worker = federation.start(federation.environment(stream))
    assert worker.wait() == 65
    assert worker.last_words.startswith(
        f"offsets 0 to 119 of {topic}[0] are gone: retention has removed them, its log starts at 120; write the stream again"
    )


def test_offsets_that_do_not_arrive_are_named(federation: Federation) -> None:
    stream = federation.write()
    topic = stream.spec.split(":")[0]
    worker = federation.start(federation.environment(stream, DATA_TOPIC=f"{topic}:0:0:500", ANSWER_LIMIT_S="2"))
    assert worker.wait() == 75
    assert worker.last_words.startswith(f"offsets 400 to 499 of {topic}[0] did not arrive within 2 s on the edge's Kafka")


def test_a_record_that_cannot_be_decoded_is_named_by_its_offset(federation: Federation) -> None:
    stream = federation.write()
    topic = stream.spec.split(":")[0]
    producer: Any = KafkaProducer(bootstrap_servers=federation.bootstrap)
    producer.send(topic, key=b"\x01", value=bytes(255)).get(10)
    producer.close()
    worker = federation.start(federation.environment(stream, DATA_TOPIC=topic))
    assert worker.wait() == 65
    assert worker.last_words.startswith(f"{topic}[0]@400: value has 255 bytes, expected 256")


def test_a_stream_that_cannot_be_read_ends_the_wait_for_a_model(federation: Federation) -> None:
    worker = federation.start(federation.environment(NOTHING, ANSWER_LIMIT_S="8", WAIT_LIMIT_S="120"))
    worker.await_line("waiting for the cloud to create the topics")
    assert worker.wait(30) == 75
    assert worker.last_words.startswith("DATA_TOPIC: no-topic is no topic")


def test_a_disk_that_is_full_is_named_with_its_variable(federation: Federation, tmp_path: Path) -> None:
    mounted = tmp_path / "small"
    mounted.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(mounted)], check=False).returncode:  # noqa: S603, S607
        pytest.skip("a small disk cannot be mounted here: this needs the right to mount")
    try:
        changes = {"DATA_MEMORY_LIMIT": "1Ki", "DATA_SPILL_FOLDER": str(mounted)}
        worker = federation.start(federation.environment(federation.write(), **changes))
        assert worker.wait() == 71
        assert worker.last_words.startswith(
            f"DATA_SPILL_FOLDER={mounted} takes no more of the stream (No space left on device), free_bytes="
        )
    finally:
        subprocess.run(["umount", str(mounted)], check=True)  # noqa: S603, S607


def test_a_wait_that_is_limited_ends(federation: Federation) -> None:
    federation.cloud.create_topics()
    worker = federation.start(federation.environment(federation.write(), WAIT_LIMIT_S="2"))
    assert worker.wait() == 75
    control = federation.cloud.federation.model_control
    assert worker.last_words == f"the next model on {control} did not come within 2 s; WAIT_LIMIT_S sets the limit"


def test_weights_that_are_not_the_architectures_are_compared(federation: Federation) -> None:
    model = announced()
    status, line = ended(federation, replace(model, arrays=[model.arrays[0][:, :5], *model.arrays[1:]]))
    assert status == 76
    assert line.startswith("weights: array 0 (")
    assert "): received (64, 5) float32, the architecture wants (64, 16) float32, in FED-" in line
    assert line.endswith(f"at {federation.cloud.federation.model_control}[0]@0")


def test_weights_that_do_not_come_are_named(federation: Federation) -> None:
    federation.cloud.create_topics()
    weights = federation.cloud.federation.model_data
    federation.cloud.send_control(model_json(topic=f"{weights}:0:0:4", model_architecture=announced().architecture))
    worker = federation.start(federation.environment(federation.write(), ANSWER_LIMIT_S="2"))
    assert worker.wait() == 75
    assert worker.last_words.startswith(f"offsets 0 to 3 of {weights}[0] did not arrive within 2 s on the cloud's Kafka")


def test_a_pickle_that_is_no_array_is_not_run(federation: Federation, tmp_path: Any) -> None:
    federation.cloud.create_topics()
    producer: Any = KafkaProducer(bootstrap_servers=federation.bootstrap)
    target = tmp_path / "attacked"
    command = f"touch {target}".encode()
    attack = b"\x80\x02cos\nsystem\nX" + len(command).to_bytes(4, "little") + command + b"\x85R."
    for index in range(4):
        producer.send(federation.cloud.federation.model_data, key=bytes([index]), value=attack).get(10)
    producer.close()
    weights = f"{federation.cloud.federation.model_data}:0:0:4"
    federation.cloud.send_control(model_json(topic=weights, model_architecture=announced().architecture))
    worker = federation.start(federation.environment(federation.write()))
    assert worker.wait() == 76
    assert worker.last_words.endswith("@0: names os.system; expected the pickle of a numeric numpy array")
    assert not target.exists()


def test_an_architecture_with_code_is_refused(federation: Federation) -> None:
    model = announced()
    architecture = json.loads(model.architecture)
    architecture["config"]["layers"].append({"class_name": "Lambda", "config": {"function": "print", "module": "builtins"}})
    status, line = ended(federation, replace(model, architecture=json.dumps(architecture)))
    assert status == 76
    assert line.startswith("model_architecture: a Lambda carries code; ALLOW_MODEL_CODE=true lets a model run code here, at ")


def test_a_control_message_that_is_none_is_passed_over_and_the_next_is_trained(federation: Federation) -> None:
    federation.cloud.create_topics()
    federation.cloud.send_control({"version": "0"})
    worker = federation.start(federation.environment(federation.write()))
    line = worker.await_line("WARNING passed over a message that cannot be understood: ")
    assert ": topic: missing; version: expected a valid integer, received '0' (str); " in line
    assert line.endswith(f"at {federation.cloud.federation.model_control}[0]@0; skipped_messages=1")
    federation.cloud.announce(announced(), -1)
    federation.cloud.collect(-1, clients=1)
    assert worker.wait() == 0
    log = worker.log
    assert log.count("cannot be understood") == 1
    assert "messages of the cloud could not be understood skipped_messages=1" in log.splitlines()[-2]


def test_an_argument_that_fit_does_not_know_is_named(federation: Federation) -> None:
    status, line = ended(federation, announced(epohcs=3))
    assert status == 76
    assert line.startswith(
        "training_settings.kwargs_fit.epohcs: fit of Keras 3 does not know it; it knows class_weight, epochs, "
    )


def test_a_stream_that_does_not_fit_the_model_is_shown_beside_it(federation: Federation) -> None:
    federation.cloud.create_topics()
    federation.cloud.announce(announced(), 0)
    digits = golden.samples()
    stream = federation.write("RAW", Samples(digits.features.reshape(400, 64)[:, :60], digits.labels))
    worker = federation.start(federation.environment(stream))
    assert worker.wait() == 76
    log = worker.log
    assert "Keras 3 cannot fit the model to the stream: model inputs (None, 8, 8), outputs (None, 10); " in log
    assert "stream features (320, 60) float32, labels (320,) uint8; " in log


def test_labels_that_look_sorted_are_warned_of(federation: Federation) -> None:
    digits = golden.samples()
    order = np.argsort(digits.labels, kind="stable")
    stream = federation.write("RAW", Samples(digits.features[order], digits.labels[order]))
    federation.cloud.create_topics()
    worker = federation.start(federation.environment(stream))
    federation.cloud.announce(announced(), 0)
    federation.cloud.collect(0, clients=1)
    warning = 'the training labels look sorted and nothing shuffles them: a model learns little so; set "shuffle": true'
    assert warning in worker.log
    federation.cloud.announce(announced(shuffle=True), -1)
    federation.cloud.collect(-1, clients=1)
    assert worker.wait() == 0
    assert worker.log.count(warning) == 1
