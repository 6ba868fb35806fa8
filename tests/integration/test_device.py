"""The device library over a real Kafka: what is written, and what the edge's backend is told of it."""

from __future__ import annotations

import json
import logging
import secrets
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from config import Settings
from demo.backend import environment_of
from demo.device import CONTROL_TOPIC, Device, Stream
from demo.errors import PeerError
from demo.topics import create_topic, log_end, open_reader, read_range
from protocol.stream_spec import StreamRange
from reading import keep_labelled_stream, keep_unlabelled_stream
from training.stopping import Stop

FEATURES = np.arange(60, dtype=np.float32).reshape(20, 3)
LABELS = (np.arange(20) % 3).astype(np.uint8)
ISOLATION = "read_uncommitted"
LIMIT_S = 20.0


@pytest.fixture
def topic() -> str:
    return f"device-{secrets.token_hex(4)}"


@pytest.fixture
def control(topic: str, bootstrap: str) -> str:
    create_topic(bootstrap, f"{topic}-control", 1)
    return f"{topic}-control"


def announced(bootstrap: str, control: str) -> list[tuple[bytes | None, dict[str, Any]]]:
    """All that a backend finds on its control topic."""
    reader = open_reader(bootstrap, "backend", ISOLATION)
    end = log_end(reader, control)
    reader.close()
    found = read_range(bootstrap, StreamRange(control, 0, 0, end), ISOLATION, LIMIT_S) if end else []
    return [(key, json.loads(value or b"")) for key, value, _place in found]


def settings_of(bootstrap: str, announcement: Mapping[str, Any], **known: Any) -> Settings:
    """Those of the worker that a backend starts for an announced stream."""
    known = {"cloud_bootstrap": bootstrap, "data_bootstrap": bootstrap, "model_id": "m", "client_id": "c"} | known
    return Settings.from_env(environment_of(announcement, **known))


@pytest.mark.parametrize("input_format", ["RAW", "AVRO", "JSON"])
def test_a_worker_reads_what_a_device_has_announced(bootstrap: str, topic: str, control: str, input_format: str) -> None:
    with Device(
        bootstrap,
        topic,
        input_format,
        partitions=2,
        validation_rate=0.25,
        test_rate=0.1,
        restrictions={"features": {"label": "digit"}},
        description="numbers",
        deployment_id=300,
        control_topic=control,
    ) as device:
        for x, y in zip(FEATURES, LABELS, strict=True):
            device.send(x, y)
    [(key, announcement)] = announced(bootstrap, control)
    assert key == b"\x01\x2c"
    assert announcement | {"input_config": None} == {
        "topic": f"{topic}:0:0:10,{topic}:1:0:10",
        "unsupervised_topic": None,
        "input_format": input_format,
        "description": "numbers",
        "dataset_restrictions": '{"features": {"label": "digit"}}',
        "input_config": None,
        "validation_rate": 0.25,
        "test_rate": 0.1,
        "total_msg": 20,
        "incremental": False,
    }
    assert announcement["input_config"]["data_reshape"] == "3"  # by which a backend finds the model
    settings = settings_of(bootstrap, announcement)
    assert (settings.case, settings.total_msg) == (1, 20)
    kept = keep_labelled_stream(settings, settings.decoder(), Stop()).kept.samples
    in_turn = [*range(0, 20, 2), *range(1, 20, 2)]
    np.testing.assert_array_equal(kept.features, FEATURES[in_turn])
    np.testing.assert_array_equal(kept.labels, LABELS[in_turn])


def test_a_moving_stream_is_announced_with_its_first_sample(bootstrap: str, topic: str, control: str) -> None:
    with Device(bootstrap, topic, is_moving=True, validation_rate=0.1, control_topic=control) as device:
        assert announced(bootstrap, control) == []
        device.send(FEATURES[0], LABELS[0])
        [(_key, announcement)] = announced(bootstrap, control)
        device.send_many(FEATURES[1:], LABELS[1:])
        device.flush()
        assert device.acknowledged == 21  # the announcement is one
    assert (announcement["topic"], announcement["total_msg"], announcement["incremental"]) == (topic, None, True)
    settings = settings_of(bootstrap, announcement, is_distributed=True)
    assert (settings.case, settings.total_msg, settings.stream) == (4, None, (StreamRange(topic, None, None, None),))
    assert len(announced(bootstrap, control)) == 1


@pytest.mark.parametrize("is_moving", [False, True])
def test_an_unlabelled_stream_is_announced_beside_the_labelled_one(
    bootstrap: str, topic: str, control: str, *, is_moving: bool
) -> None:
    beside = f"{topic}-unlabelled"
    with Device(bootstrap, topic, is_moving=is_moving, unlabelled_topic=beside, control_topic=control) as device:
        device.send_many(FEATURES[:8], LABELS[:8])
        for x in FEATURES[8:]:
            device.send_unlabelled(x)
        if is_moving:
            with pytest.raises(ValueError, match="is announced, and whole"):
                device.send(FEATURES[0], LABELS[0])
    [(_key, announcement)] = announced(bootstrap, control)
    assert (announcement["topic"], announcement["total_msg"]) == (f"{topic}:0:0:8", 8)
    assert announcement["unsupervised_topic"] == (beside if is_moving else f"{beside}:0:0:12")
    settings = settings_of(bootstrap, announcement)
    assert settings.case == (2 if is_moving else 1)
    decoder = settings.decoder()
    labelled = keep_labelled_stream(settings, decoder, Stop())
    unlabelled = keep_unlabelled_stream(settings, decoder, labelled, Stop())
    np.testing.assert_array_equal(unlabelled.kept.samples.features, FEATURES[8:])
    [(key, _value, _place)] = read_range(bootstrap, StreamRange(beside, 0, 0, 1), ISOLATION, LIMIT_S)
    assert key == b"\x00"


def test_what_ends_with_an_exception_is_not_announced(
    bootstrap: str, topic: str, control: str, caplog: pytest.LogCaptureFixture
) -> None:
    with (
        pytest.raises(KeyboardInterrupt),
        caplog.at_level(logging.WARNING),
        Device(bootstrap, topic, control_topic=control) as device,
    ):
        device.send(FEATURES[0], LABELS[0])
        device.flush()
        raise KeyboardInterrupt
    assert announced(bootstrap, control) == []
    assert f"not announced; acknowledged: 1 of 1 records on {topic}" in caplog.text


def test_nothing_sent_is_nothing_announced(bootstrap: str, topic: str, control: str) -> None:
    with pytest.raises(ValueError, match=f"topic {topic}: nothing was sent"), Device(bootstrap, topic, control_topic=control):
        pass
    assert announced(bootstrap, control) == []


def test_a_sample_that_is_refused_leaves_the_stream_as_it_was(bootstrap: str, topic: str, control: str) -> None:
    with Device(bootstrap, topic, "JSON", control_topic=control) as device:
        with pytest.raises(ValueError, match="NaN"):
            device.send([np.nan], 1)  # nor does it settle how the others are
        device.send([1, 2], 1)
        for x, y in (([1], 1), ([1, 2], [1, 1]), ([0.5, 1], 1)):
            with pytest.raises(ValueError, match="the stream's"):
                device.send(x, y)
        with pytest.raises(ValueError, match="send it with send_unlabelled"):
            device.send([1, 2], None)
        with pytest.raises(ValueError, match="2 data and 1 labels"):
            device.send_many(np.ones((2, 2)), np.ones(1))
        with pytest.raises(ValueError, match="give unlabelled_topic"):
            device.send_unlabelled([1, 2])
    [(_key, announcement)] = announced(bootstrap, control)
    assert announcement["topic"] == f"{topic}:0:0:1"


def test_a_record_that_kafka_refuses_is_told_with_its_topic_and_announces_nothing(
    bootstrap: str, topic: str, control: str
) -> None:
    create_topic(bootstrap, topic, 1, {"max.message.bytes": "1000"})
    with (
        pytest.raises(PeerError, match=rf"1 records were not acknowledged, the first: {topic}\[0\].*too large"),
        Device(bootstrap, topic, control_topic=control) as device,
    ):
        device.send(np.zeros(2_000, np.uint8), 1)
    with (
        pytest.raises(PeerError, match=f"{topic}: a record of 2000000 bytes was not taken"),
        Device(bootstrap, topic, control_topic=control) as device,
    ):
        device.send(np.zeros(2_000_000, np.uint8), 1)
    assert announced(bootstrap, control) == []


def test_records_of_someone_else_in_between_are_told(bootstrap: str, topic: str, control: str) -> None:
    with (
        pytest.raises(PeerError, match=rf"{topic}\[0\]: the records do not stand one after the other"),
        Device(bootstrap, topic, control_topic=control) as device,
        Device(bootstrap, topic, control_topic=None) as other,
    ):
        for one in (device, other, device):
            one.send(FEATURES[0], LABELS[0])
            one.flush()
    assert announced(bootstrap, control) == []


def test_a_topic_that_holds_records_already_is_gone_on_with(bootstrap: str, topic: str) -> None:
    for start in (0, 20):
        with Device(bootstrap, topic, control_topic=None) as device:
            device.send_many(FEATURES, LABELS)
            device.flush()
            assert device.stream == Stream(f"{topic}:0:{start}:{start + 20}", "RAW", device.stream.input_config, 20)


def test_a_kafka_that_is_not_there_is_told_within_the_limit(topic: str) -> None:
    with (
        pytest.raises(PeerError, match=f"topic {topic} cannot be looked at or made at 127.0.0.1:9"),
        Device("127.0.0.1:9", topic, limit_s=1),
    ):
        pass


def test_more_of_librdkafkas_configuration_is_taken_and_no_secret_is_shown(
    bootstrap: str, topic: str, caplog: pytest.LogCaptureFixture
) -> None:
    wrong = {"security.protocol": "SASL_PLAINTEXT", "sasl.mechanism": "PLAIN", "sasl.username": "u", "sasl.password": "s3cret"}
    with caplog.at_level(logging.DEBUG), pytest.raises(PeerError) as told, Device(bootstrap, topic, limit_s=1, config=wrong):
        pass
    assert "s3cret" not in f"{told.value} {caplog.text}"


def test_the_control_topic_is_kafka_mls() -> None:
    assert CONTROL_TOPIC == "FEDERATED_DATA_CONTROL_TOPIC"
