"""The device library over a real Kafka: what is written, and what the edge's backend is told of it."""

from __future__ import annotations

import itertools
import json
import logging
import os
import runpy
import secrets
import shlex
import signal
import sys
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NoReturn

import numpy as np
import pytest

from config import Settings
from demo.backend import environment_of
from demo.device import Device, Stream
from demo.device_command import main
from demo.errors import PeerError
from demo.topics import create_topic, log_end, open_reader, read_range
from demo.workers import REPOSITORY
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
        assert device.acknowledged == 20
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
        device.send_unlabelled(FEATURES[8])
        device.send_many_unlabelled(FEATURES[9:])
        device.send_many_unlabelled([])
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
    assert f"not announced; acknowledged: 1 of 1 records on {topic} ({topic}:0:0:1)" in caplog.text


def test_a_signal_ends_a_device_at_work_as_it_ends_any_program(
    bootstrap: str, topic: str, control: str, caplog: pytest.LogCaptureFixture
) -> None:
    def interrupt(_number: int, _frame: object) -> NoReturn:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGUSR1, interrupt)
    try:
        with (
            pytest.raises(KeyboardInterrupt),
            caplog.at_level(logging.WARNING),
            Device(bootstrap, topic, control_topic=control) as device,
        ):
            threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGUSR1)).start()
            while True:
                device.send([1], 0)
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert "the stream is not announced; acknowledged: " in caplog.text
    assert announced(bootstrap, control) == []


def test_nothing_sent_is_nothing_announced(bootstrap: str, topic: str, control: str) -> None:
    with pytest.raises(ValueError, match=f"topic {topic}: nothing was sent"), Device(bootstrap, topic, control_topic=control):
        pass
    assert announced(bootstrap, control) == []


def test_a_sample_that_is_refused_leaves_the_stream_as_it_was(bootstrap: str, topic: str, control: str) -> None:
    with Device(bootstrap, topic, "JSON", control_topic=control) as device:
        with pytest.raises(ValueError, match="NaN"):
            device.send([np.nan], 1)  # nor does it settle how the others are
        device.send([1, 2], 1)
        for x, y in (([1], 1), ([1, 2], [1, 1]), ([0.5, 1], 1), ({"a": 1, "b": 2}, 1), ([1, 2], "one")):
            with pytest.raises(ValueError, match="the stream's"):
                device.send(x, y)
        with pytest.raises(ValueError, match="send it with send_unlabelled"):
            device.send([1, 2], None)
        with pytest.raises(ValueError, match="2 data and 1 labels"):
            device.send_many(np.ones((2, 2)), np.ones(1))
        with pytest.raises(ValueError, match="the stream's"):
            device.send_many([[1, 2], [1, 2, 3]], [1, 1])
        with pytest.raises(ValueError, match=f"topic {topic} has no partition 1: it has 1"):
            device.send([1, 2], 1, partition=1)
        with pytest.raises(ValueError, match="2 samples and 1 partitions"):
            device.send_many(np.ones((2, 2), int), np.ones(2, int), [0])
        with pytest.raises(ValueError, match="give unlabelled_topic"):
            device.send_unlabelled([1, 2])
    [(_key, announcement)] = announced(bootstrap, control)
    assert announcement["topic"] == f"{topic}:0:0:1"


def test_a_record_that_kafka_refuses_is_told_with_its_topic_and_size_and_announces_nothing(
    bootstrap: str, topic: str, control: str
) -> None:
    create_topic(bootstrap, topic, 1, {"max.message.bytes": "50000"})
    told = rf"1 records were not acknowledged, the first: {topic}\[0\] at .*, a record of 60000 bytes: .*too large"
    with pytest.raises(PeerError, match=told), Device(bootstrap, topic, control_topic=control) as device:
        device.send(np.zeros(60_000, np.uint8), 1)
        with pytest.raises(PeerError, match=told):
            device.flush()
        with pytest.raises(PeerError, match=told):
            device.send(np.zeros(60_000, np.uint8), 1)
    too_much = {"message.max.bytes": 1_000}
    told = f"{topic} takes no record of 2000 bytes"
    with pytest.raises(PeerError, match=told), Device(bootstrap, topic, control_topic=control, config=too_much) as device:
        device.send(np.zeros(2_000, np.uint8), 1)
    assert announced(bootstrap, control) == []


def test_records_that_a_topic_takes_one_by_one_are_taken_however_many_there_are(bootstrap: str, topic: str) -> None:
    create_topic(bootstrap, topic, 1, {"max.message.bytes": "50000"})
    few = {"queue.buffering.max.messages": 100}  # so that it is full
    with Device(bootstrap, topic, control_topic=None, config=few) as device:
        device.send_many(np.zeros((5, 30_000), np.uint8), np.zeros(5, np.uint8))
        device.flush()
    with Device(bootstrap, topic, control_topic=None, config=few) as device:
        device.send_many(np.zeros((5_000, 100), np.uint8), np.zeros(5_000, np.uint8))
        device.flush()
        assert (device.acknowledged, device.stream.spec) == (5_000, f"{topic}:0:5:5005")


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


def test_others_may_write_to_a_stream_that_goes_on(bootstrap: str, topic: str, control: str) -> None:
    with (
        Device(bootstrap, topic, is_moving=True, control_topic=control) as device,
        Device(bootstrap, topic, control_topic=None) as other,
    ):
        for one in (device, other, device):
            one.send(FEATURES[0], LABELS[0])
            one.flush()
        assert device.stream.spec == topic
    assert len(announced(bootstrap, control)) == 1


def test_a_first_sample_that_is_refused_announces_nothing(bootstrap: str, topic: str, control: str) -> None:
    with Device(bootstrap, topic, is_moving=True, control_topic=control) as device:
        with pytest.raises(ValueError, match="the stream's"):
            device.send_many([[1, 2], [1]], [0, 0])
        odd_ones: list[Any] = [1, -1, 0.5, None]
        for odd in odd_ones:
            with pytest.raises(ValueError, match=f"has no partition {odd}: it has 1"):
                device.send_many([[1, 2], [1, 2]], [0, 0], [0, odd])
        assert announced(bootstrap, control) == []
        device.send([1], 0)
    [(_key, announcement)] = announced(bootstrap, control)
    assert announcement["input_config"]["data_reshape"] == "1"


def test_a_first_sample_without_a_label_that_is_refused_announces_nothing(bootstrap: str, topic: str, control: str) -> None:
    beside = f"{topic}-unlabelled"
    with Device(bootstrap, topic, is_moving=True, unlabelled_topic=beside, control_topic=control) as device:
        device.send([1], 0)
        with pytest.raises(ValueError, match=f"{beside} has no partition 1"):
            device.send_unlabelled([1], partition=1)
        assert announced(bootstrap, control) == []
        device.send([1], 0)  # the labelled stream is not whole yet


def test_a_control_topic_that_cannot_be_is_told_before_anything_is_sent(bootstrap: str, topic: str) -> None:
    is_open = False
    with (
        pytest.raises(PeerError, match="no:topic cannot be looked at or made"),
        Device(bootstrap, topic, control_topic="no:topic"),
    ):
        is_open = True
    assert not is_open


def test_a_control_topic_that_is_not_there_is_made(bootstrap: str, topic: str) -> None:
    with Device(bootstrap, topic, partitions=2, control_topic=f"{topic}-control") as device:
        device.send([1], 0)
    assert not create_topic(bootstrap, f"{topic}-control", 1)  # it is there, and has one partition
    assert len(announced(bootstrap, f"{topic}-control")) == 1


def test_what_another_thread_sends_at_the_end_is_acknowledged_or_refused(bootstrap: str, topic: str) -> None:
    has_begun = threading.Event()

    def send_on(device: Device) -> int:
        for count in itertools.count():
            try:
                device.send([1], 0)
            except ValueError:
                return count
            has_begun.set()
        return -1

    with ThreadPoolExecutor(1) as other:
        with Device(bootstrap, topic, is_moving=True, control_topic=None) as device:
            sent = other.submit(send_on, device)
            assert has_begun.wait(LIMIT_S)
        assert sent.result(LIMIT_S) == device.acknowledged


def test_what_a_moving_stream_was_sent_before_an_exception_is_written(
    bootstrap: str, topic: str, control: str, caplog: pytest.LogCaptureFixture
) -> None:
    with (
        pytest.raises(KeyboardInterrupt),
        caplog.at_level(logging.WARNING),
        Device(bootstrap, topic, is_moving=True, control_topic=control, config={"linger.ms": 60_000}) as device,
    ):
        device.send_many(FEATURES, LABELS)
        raise KeyboardInterrupt
    assert f"the stream has ended early; acknowledged: 20 of 20 records on {topic} ({topic}:0:0:20)" in caplog.text


def test_a_device_writes_one_stream(bootstrap: str, topic: str) -> None:
    with Device(bootstrap, topic, control_topic=None) as device:
        device.send([1], 0)
    with pytest.raises(ValueError, match="within its `with`"):
        device.send([1], 0)
    with pytest.raises(ValueError, match="a device writes one stream"), device:
        pass


def test_two_devices_may_make_a_topic_at_the_same_time(bootstrap: str, topic: str) -> None:
    def write(number: int) -> None:
        with Device(bootstrap, topic, partitions=2, is_moving=True, control_topic=None) as device:
            device.send([number], 0)

    with ThreadPoolExecutor(4) as devices:
        assert list(devices.map(write, range(4))) == [None] * 4


def test_a_topic_that_holds_records_already_is_gone_on_with(bootstrap: str, topic: str) -> None:
    for start in (0, 20):
        with Device(bootstrap, topic, control_topic=None) as device:
            device.send_many(FEATURES, LABELS)
            device.flush()
            assert device.stream == Stream(f"{topic}:0:{start}:{start + 20}", "RAW", device.stream.input_config, 20)


def test_a_kafka_that_is_not_there_is_told_within_the_limit(topic: str) -> None:
    with (
        pytest.raises(
            PeerError, match=f"topic {topic} cannot be looked at or made at 127.0.0.1:9: no answer within 1 s; .*refused"
        ),
        Device("127.0.0.1:9", topic, limit_s=1),
    ):
        pass


def test_the_command_writes_a_data_set_and_prints_the_environment_that_its_announcement_makes(
    bootstrap: str, topic: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--bootstrap", bootstrap, "--dataset", "iris", "--topic", topic, "--announce"]) == 0
    printed = dict(shlex.split(line)[1].split("=", 1) for line in capsys.readouterr().out.splitlines())
    [told] = [one for _key, one in announced(bootstrap, "FEDERATED_DATA_CONTROL_TOPIC") if one["topic"].startswith(topic)]
    assert environment_of(told, cloud_bootstrap=bootstrap, data_bootstrap=bootstrap, model_id="demo") == printed
    settings = settings_of(bootstrap, told)
    assert len(keep_labelled_stream(settings, settings.decoder(), Stop()).kept.samples.features) == 150


def test_the_command_tells_what_is_wrong_with_its_arguments(
    bootstrap: str, topic: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--bootstrap", bootstrap, "--topic", topic, "--validation-rate", "20"]) == 1
    assert capsys.readouterr().err.startswith("validation_rate=20.0 and test_rate=0.0: give shares")


def test_the_command_is_python_m_demo_device(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["device.py", "--help"])
    with pytest.raises(SystemExit, match="0"):
        runpy.run_path(str(REPOSITORY / "demo" / "device.py"), run_name="__main__")
    assert capsys.readouterr().out.startswith("usage: python -m demo.device")
