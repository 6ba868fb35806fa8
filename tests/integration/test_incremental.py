"""The worker as a process that trains on a stream which goes on while its rounds do."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from demo.rounds import AnnouncedModel
from demo.sensor import Sensor
from demo.topics import log_end, open_reader, read_range
from ending import STOP_LIMIT_S
from protocol.architecture import Dialect
from protocol.positions import Positions, parse_positions, parse_progress
from protocol.stream_spec import StreamRange
from protocol.topics import Federation as Names
from tests.chaos.strikes import Moment, Strike, Victim, dump
from tests.integration.conftest import Federation, announced
from tests.support import golden
from tests.support.models import classifier
from tests.support.worker import WORKER
from transport.clients import READ_UNCOMMITTED, Cluster
from transport.reader import Reader

RECORDS = 300
LIMITS = {"WINDOW_RECORDS": "40", "ROUND_WINDOWS": "3"}


def moving(federation: Federation, count: int = RECORDS, pause_s: float = 0.01, **options: Any) -> Sensor:
    digits = golden.samples()
    topic = f"{federation.model_id}-sensor"
    return Sensor(
        federation.bootstrap, topic, digits.features[:count], digits.labels[:count], "RAW", pause_s=pause_s, **options
    )


def environment(federation: Federation, sensor: Sensor, **changes: str) -> dict[str, str]:
    # The sensor begins behind the worker, when that has loaded TensorFlow and built its model.
    return federation.environment(sensor.stream, ANSWER_LIMIT_S="60", **LIMITS, **changes)


def model(dialect: Dialect, stream_timeout: int, epochs: int = 2) -> AnnouncedModel:
    return silenced(announced(classifier(dialect), dialect, epochs=epochs), stream_timeout)


def silenced(one: AnnouncedModel, stream_timeout: int) -> AnnouncedModel:
    """The same model, with another silence that ends a round."""
    return replace(one, training_settings={**one.training_settings, "stream_timeout": stream_timeout})


def replies(federation: Federation) -> list[dict[str, Any]]:
    """All replies, as a cloud has them that reads uncommitted."""
    topic = federation.cloud.federation.reply_control
    reader = open_reader(federation.bootstrap, "test", READ_UNCOMMITTED)
    end = log_end(reader, topic)
    reader.close()
    found = read_range(federation.bootstrap, StreamRange(topic, 0, 0, end), READ_UNCOMMITTED, 20)
    return [json.loads(value or b"") for _key, value, _place in found]


def assert_each_record_is_in_one_round(federation: Federation, topic: str, ends: dict[int, int]) -> None:
    """Each reply goes on where the one before ended, and tells of as many records as are between."""
    before = dict.fromkeys(ends, 0)
    for reply in replies(federation):
        positions = parse_positions(reply["positions"])
        assert positions is not None
        after = positions.of(topic, positions.topic_ids[topic])
        assert all(before[partition] <= at for partition, at in after.items())
        assert sum(after.values()) - sum(before.values()) == reply["num_data"] > 0
        before = after
    assert before == ends


@contextmanager
def looking(federation: Federation, group: str) -> Iterator[Reader]:
    with Reader(Cluster("test", "KAFKA_BOOTSTRAP", federation.bootstrap), group, 20) as reader:
        yield reader


def kept(federation: Federation) -> Positions | None:
    """What the client has committed beside the offset of what it has answered."""
    names = Names(federation.model_id, "c1")
    with looking(federation, names.group) as reader:
        committed = reader.committed(names.model_control, 0)
    return None if committed is None else parse_progress(committed[1]).positions


def test_rounds_take_what_comes_window_by_window_each_record_once(federation: Federation) -> None:
    """Two rounds of a stream that does not fall silent, and a last one that its silence ends."""
    cloud, sensor = federation.cloud, moving(federation, partitions=2)
    cloud.create_topics()
    worker = federation.start(environment(federation, sensor, TEST_RATE="0.1"))
    endless = model(Dialect.KERAS_3, -1)
    cloud.announce(endless, 0)
    worker.await_line("model built")
    with sensor:
        rounds = cloud.collect(0, clients=1)
        cloud.announce(endless, 1)
        rounds += cloud.collect(1, clients=1)
        cloud.announce(silenced(endless, 1_000), -1)
        rounds += cloud.collect(-1, clients=1)
    assert worker.wait() == 0
    assert [reply.num_data for reply in rounds] == [120, 120, 60]
    assert [len(reply.metrics["training"]["loss"]) for reply in rounds] == [6, 6, 4]  # two epochs a window
    assert [list(reply.metrics) for reply in rounds] == [["training", "validation", "test"]] * 3
    topic, ends = sensor.stream.spec, {0: 150, 1: 150}
    assert_each_record_is_in_one_round(federation, topic, ends)
    positions = kept(federation)
    assert positions is not None
    assert positions.of(topic, positions.topic_ids[topic]) == ends
    with looking(federation, Names(federation.model_id, "c1").stream_group) as reader:
        assert [reader.committed(topic, partition) for partition in ends] == [(150, positions.topic_ids[topic])] * 2
    assert worker.log.count("model built") == 1


def test_a_crash_in_a_round_or_behind_its_reply_leaves_out_no_record_and_repeats_none(
    federation: Federation, tmp_path: Path
) -> None:
    """Killed in the middle of round 0; then behind the reply to round 1, which the cloud has, and nothing is committed of."""
    cloud = federation.cloud
    cloud.create_topics()
    strike = dump([Strike(Victim.WORKER, Moment.REPLIED, due=1)])
    struck = ("-m", "tests.chaos.launcher", "0", strike, str(tmp_path / "fallen"), str(tmp_path / "none"))
    with moving(federation, pause_s=0.03) as sensor:
        job = environment(federation, sensor)
        cloud.announce(model(Dialect.KERAS_2, -1), 0)
        for arguments in (WORKER, struck):
            worker = federation.start(job, arguments=arguments)
            federation.forget(worker)
            if arguments is WORKER:
                worker.await_line("window=1 ")
                worker.send(signal.SIGKILL)
            else:
                cloud.collect(0, clients=1)
                cloud.announce(model(Dialect.KERAS_2, -1), 1)
                cloud.collect(1, clients=1)
                assert kept(federation) != parse_positions(replies(federation)[-1]["positions"])
            assert worker.wait() == -signal.SIGKILL
        cloud.announce(model(Dialect.KERAS_2, 1_500), -1)
        last = federation.start(job)
        cloud.collect(-1, clients=1)
        sensor.wait()
    assert last.wait() == 0
    assert [reply["version"] for reply in replies(federation)] == [1, 2, -1]
    assert_each_record_is_in_one_round(federation, sensor.stream.spec, {0: RECORDS})


def test_a_signal_ends_a_wait_for_records_and_a_windows_fit_and_nothing_is_sent(federation: Federation) -> None:
    cloud = federation.cloud
    cloud.create_topics()
    cloud.announce(model(Dialect.KERAS_3, -1, epochs=10_000), 0)
    silent = moving(federation, 0)
    for sensor, moment in (
        (silent, f"waiting for a record on DATA_TOPIC {silent.stream.spec}"),
        (moving(federation, 40), "epoch 1/"),
    ):
        with sensor:
            worker = federation.start(environment(federation, sensor), moment[:5])
            worker.await_line(moment)
            worker.send(signal.SIGTERM)
            assert worker.wait(STOP_LIMIT_S + 1) == 143
    assert replies(federation) == []
    assert kept(federation) is None
