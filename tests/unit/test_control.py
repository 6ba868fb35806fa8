"""Which model is trained next, whatever came while nobody looked."""

import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest

import transport.control
from protocol.errors import DataError, LimitError, WorkerError
from protocol.messages import ModelMessage
from protocol.positions import Partition, Positions
from protocol.topics import Federation
from tests.support.fake_kafka import FakeKafka, FakeReader, FakeTopics
from tests.support.messages import model_json
from tests.support.rounds import noted
from transport.control import ControlTopic, Delivery
from transport.interfaces import POLL_S, Record
from transport.replies import Replied
from watching import Lag

FEDERATION = Federation("dig1", "c1")


class Cloud:
    """Announces models on a fake Kafka, each with weights of its own."""

    def __init__(self) -> None:
        self.kafka = FakeKafka()
        self._weights = 0

    def create_topics(self) -> None:
        for topic in FEDERATION.cloud_topics:
            self.kafka.create(topic)

    def announce(self, version: int) -> dict[str, Any]:
        topic = f"{FEDERATION.model_data}:0:{self._weights}:{self._weights + 4}"
        self._weights += 4
        message = model_json(topic=topic, version=version)
        self.repeat(message)
        return message

    def repeat(self, message: dict[str, Any]) -> None:
        self.kafka.write(FEDERATION.model_control, [(b"1", json.dumps(message).encode())])

    def client(self, wait_limit_s: float | None = 0.0) -> ControlTopic:
        return ControlTopic(FakeReader(self.kafka, FEDERATION.group), FakeTopics(self.kafka), FEDERATION, wait_limit_s)


@pytest.fixture
def cloud() -> Cloud:
    cloud = Cloud()
    cloud.create_topics()
    return cloud


def answer(client: ControlTopic) -> ModelMessage:
    model = client.next_model()
    assert model is not None
    client.commit(model)
    return model


def test_rounds_are_given_one_after_the_other(cloud: Cloud) -> None:
    client = cloud.client()
    for version in (0, 1, 2, -1):
        cloud.announce(version)
        assert answer(client).version == version


def test_a_worker_that_was_busy_sees_the_last_model(cloud: Cloud) -> None:
    client = cloud.client()
    cloud.announce(0)
    model = client.next_model()
    assert model is not None
    cloud.announce(-1)
    client.commit(model)
    assert answer(client).version == -1


def test_superseded_versions_are_skipped(cloud: Cloud) -> None:
    client = cloud.client()
    for version in (0, 1, 2):
        cloud.announce(version)
    assert answer(client).version == 2
    with pytest.raises(LimitError):
        client.next_model()


def test_a_late_worker_answers_the_last_version_alone(cloud: Cloud) -> None:
    for version in (0, 1, -1):
        cloud.announce(version)
    assert answer(cloud.client()).version == -1


def test_the_same_message_again_is_not_answered_twice(cloud: Cloud) -> None:
    client = cloud.client()
    first = cloud.announce(0)
    answer(client)
    cloud.repeat(first)
    with pytest.raises(LimitError):
        client.next_model()


def test_a_repeated_message_hides_no_new_one(cloud: Cloud) -> None:
    client = cloud.client()
    first = cloud.announce(0)
    answer(client)
    cloud.announce(1)
    cloud.repeat(first)
    assert answer(client).version == 1


def test_a_superseded_message_that_is_repeated_is_not_answered(cloud: Cloud) -> None:
    client = cloud.client()
    first = cloud.announce(0)
    cloud.announce(1)
    assert answer(client).version == 1
    cloud.repeat(first)
    with pytest.raises(LimitError):
        client.next_model()


def test_a_lower_version_with_other_weights_is_a_cloud_that_started_over(cloud: Cloud) -> None:
    client = cloud.client()
    for version in (4, 0):
        cloud.announce(version)
        assert answer(client).version == version


def test_a_restarted_worker_goes_on_after_what_it_answered(cloud: Cloud) -> None:
    first = cloud.announce(0)
    answer(cloud.client())
    cloud.repeat(first)
    with pytest.raises(LimitError):
        cloud.client().next_model()
    cloud.announce(1)
    assert answer(cloud.client()).version == 1


def test_a_round_that_was_not_committed_is_given_again(cloud: Cloud) -> None:
    cloud.announce(3)
    for _ in range(2):
        model = cloud.client().next_model()
        assert model is not None
        assert model.version == 3


def test_a_worker_restarted_after_the_last_round_is_done(cloud: Cloud) -> None:
    cloud.announce(-1)
    answer(cloud.client())
    assert cloud.client().next_model() is None


def test_a_new_federation_under_the_same_id_is_joined_after_the_last_round(cloud: Cloud) -> None:
    cloud.announce(-1)
    answer(cloud.client())
    cloud.announce(0)
    assert answer(cloud.client()).version == 0


def test_offsets_without_records_do_not_hide_a_model(cloud: Cloud) -> None:
    cloud.kafka.pass_over(FEDERATION.model_control, 3)
    cloud.announce(0)
    cloud.kafka.pass_over(FEDERATION.model_control)
    assert answer(cloud.client()).version == 0


def test_models_that_retention_has_removed_do_not_matter(cloud: Cloud) -> None:
    for version in (0, 1, 2):
        cloud.announce(version)
    cloud.kafka.expire(FEDERATION.model_control, 2)
    assert answer(cloud.client()).version == 2


def test_topics_made_anew_while_nobody_looked_are_all_new(cloud: Cloud) -> None:
    message = cloud.announce(0)
    cloud.announce(1)
    answer(cloud.client())
    cloud.create_topics()
    cloud.repeat(message)
    assert answer(cloud.client()).version == 0


def test_topics_made_anew_during_a_fit_are_all_new(cloud: Cloud) -> None:
    client = cloud.client()
    message = cloud.announce(0)
    answer(client)
    cloud.create_topics()
    cloud.repeat(message)
    assert answer(client).version == 0


def test_a_model_stands_until_its_topic_is_deleted_or_made_anew(cloud: Cloud) -> None:
    client = cloud.client()
    cloud.announce(0)
    model = client.next_model()
    assert model is not None
    assert client.stands(model)
    cloud.kafka.delete(FEDERATION.model_control)
    assert not client.stands(model)
    cloud.create_topics()
    cloud.announce(0)
    assert not client.stands(model)
    again = client.next_model()
    assert again is not None
    assert client.stands(again)


class WatchedReader(FakeReader):
    """Does something the moment that somebody waits."""

    def __init__(self, kafka: FakeKafka, meanwhile: Callable[[], None]) -> None:
        super().__init__(kafka, FEDERATION.group)
        self._meanwhile: Callable[[], None] | None = meanwhile

    def poll(
        self, most: int = 1, limit_s: float = POLL_S, *, gone: type[WorkerError] = DataError
    ) -> tuple[list[Record], Mapping[Partition, int]]:
        if self._meanwhile is not None:
            meanwhile, self._meanwhile = self._meanwhile, None
            meanwhile()
        return super().poll(most, limit_s, gone=gone)


@pytest.mark.parametrize("messages", [1, 2, 5])
def test_topics_made_anew_under_a_waiting_worker_are_all_new(
    cloud: Cloud, messages: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether the new log ends before, at or after the offset that is waited for."""
    monkeypatch.setattr(transport.control, "LOOK_EVERY_S", 0.0)
    announced = [cloud.announce(version) for version in (0, 1)]

    def start_over() -> None:
        cloud.create_topics()
        for _ in range(messages):
            cloud.repeat(announced[0])

    reader = WatchedReader(cloud.kafka, start_over)
    client = ControlTopic(reader, FakeTopics(cloud.kafka), FEDERATION, wait_limit_s=5.0)
    assert answer(client).version == 1
    assert answer(client).version == 0


def test_a_topic_deleted_under_a_waiting_worker_is_waited_for(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport.control, "LOOK_EVERY_S", 0.0)
    reader = WatchedReader(cloud.kafka, lambda: cloud.kafka.delete(FEDERATION.model_control))
    client = ControlTopic(reader, FakeTopics(cloud.kafka), FEDERATION, wait_limit_s=0.2)
    with pytest.raises(LimitError, match="the cloud to create the topics of federation dig1"):
        client.next_model()


BAD: dict[str, bytes | None] = {
    "no JSON": b"hello",
    "nothing": None,
    "no UTF-8": b"\xff\xfe\x00",
    "half of a message": json.dumps(model_json()).encode()[:200],
    "a list": b"[]",
    "keys missing": b'{"version": -1}',
    "a wrong type": json.dumps(model_json(version="0")).encode(),
    "a bad stream spec": json.dumps(model_json(topic="w:0:5:2")).encode(),
    "a spec of nothing": json.dumps(model_json(topic="w:0:0:0")).encode(),
    "too large": b" " * 5_000_001,
    "too deep": b"[" * 100_000,
    "a last one that cannot be understood": json.dumps(model_json(version=-1, training_settings={})).encode(),
}


def warnings_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]


@pytest.mark.parametrize("kind", BAD)
def test_a_message_that_cannot_be_understood_is_passed_over(cloud: Cloud, kind: str, caplog: pytest.LogCaptureFixture) -> None:
    """As the only one it is waited past, as the newest it hides no good one, and behind one it is passed over too."""
    client = cloud.client()
    cloud.kafka.write(FEDERATION.model_control, [(b"1", BAD[kind])])
    with pytest.raises(LimitError):
        client.next_model()
    cloud.announce(3)
    cloud.kafka.write(FEDERATION.model_control, [(b"1", BAD[kind])])
    assert answer(client).version == 3
    assert client.skipped == 2
    told = warnings_of(caplog)
    assert [line.startswith("passed over a message that cannot be understood: ") for line in told] == [True, True]
    assert told[0].endswith(f", at {FEDERATION.model_control}[0]@0; skipped_messages=1")
    assert told[1].endswith(f", at {FEDERATION.model_control}[0]@2; skipped_messages=2")
    assert all(len(line) < 600 for line in told)


def test_a_message_that_cannot_be_understood_is_told_of_once(cloud: Cloud, caplog: pytest.LogCaptureFixture) -> None:
    client = cloud.client()
    cloud.kafka.write(FEDERATION.model_control, [(b"1", b"hello")])
    for version in (0, 1):
        cloud.announce(version)
        assert answer(client).version == version
    with pytest.raises(LimitError):
        client.next_model()
    assert len(warnings_of(caplog)) == 1


def test_a_restart_tells_nothing_of_bad_messages_before_what_was_answered(
    cloud: Cloud, caplog: pytest.LogCaptureFixture
) -> None:
    cloud.kafka.write(FEDERATION.model_control, [(b"1", b"hello")])
    cloud.announce(0)
    answer(cloud.client())
    caplog.clear()
    again = cloud.client()
    cloud.announce(1)
    assert answer(again).version == 1
    assert (again.skipped, warnings_of(caplog)) == (0, [])


def test_a_restart_meets_a_bad_message_after_what_was_answered_and_goes_on(cloud: Cloud) -> None:
    cloud.announce(0)
    cloud.kafka.write(FEDERATION.model_control, [(b"1", b"hello")])
    answer(cloud.client())
    again = cloud.client()
    with pytest.raises(LimitError):
        again.next_model()
    assert again.skipped == 1
    cloud.announce(1)
    assert answer(again).version == 1
    assert cloud.kafka.offsets[FEDERATION.group, FEDERATION.model_control, 0][0] == 3


def test_a_bad_message_after_the_last_round_ends_nothing_and_begins_nothing(cloud: Cloud) -> None:
    cloud.announce(-1)
    answer(cloud.client())
    cloud.kafka.write(FEDERATION.model_control, [(b"1", b"hello")])
    again = cloud.client()
    assert again.next_model() is None
    assert again.skipped == 1


def test_a_bad_message_in_a_wait_does_not_end_it(cloud: Cloud) -> None:
    bad = [(b"1", b"hello")] * 3

    def speak() -> None:
        cloud.kafka.write(FEDERATION.model_control, bad)
        cloud.announce(7)
        cloud.kafka.write(FEDERATION.model_control, bad)

    client = ControlTopic(WatchedReader(cloud.kafka, speak), FakeTopics(cloud.kafka), FEDERATION, wait_limit_s=5.0)
    assert answer(client).version == 7
    assert client.skipped == 6


@pytest.mark.parametrize("missing", FEDERATION.cloud_topics)
def test_a_worker_waits_for_each_of_the_clouds_topics_and_makes_none(cloud: Cloud, missing: str) -> None:
    cloud.kafka.delete(missing)
    with pytest.raises(LimitError) as caught:
        cloud.client().next_model()
    assert str(caught.value) == (
        "the cloud to create the topics of federation dig1 did not come within 0 s; WAIT_LIMIT_S sets the limit"
    )
    assert missing not in cloud.kafka.topics


def test_a_wait_says_so_and_ends_at_its_limit(cloud: Cloud, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    with pytest.raises(LimitError, match=r"the next model on FED-dig1-model_control_topic did not come within 0\.05 s"):
        cloud.client(wait_limit_s=0.05).next_model()
    assert [record.getMessage() for record in caplog.records if record.getMessage().startswith("waiting")] == [
        "waiting for the next model on FED-dig1-model_control_topic seconds=0"
    ]


def client_that_answered(cloud: Cloud, *answered: int, positions: Positions | None = None) -> ControlTopic:
    """A client that begins anew, and of which a former life has left replies to these versions, none of them committed."""
    reader = FakeReader(cloud.kafka, FEDERATION.group)
    delivery = Delivery(reader, lambda model: Replied(model.version in answered, positions))
    return ControlTopic(reader, FakeTopics(cloud.kafka), FEDERATION, 0.0, delivery=delivery)


def test_a_model_that_was_answered_and_not_committed_is_committed_alone(cloud: Cloud) -> None:
    cloud.announce(0)
    cloud.announce(1)
    with pytest.raises(LimitError, match="the next model on"):
        client_that_answered(cloud, 1).next_model()
    assert cloud.kafka.offsets[FEDERATION.group, FEDERATION.model_control, 0][0] == 2
    cloud.announce(2)
    assert answer(cloud.client()).version == 2


def test_an_answer_to_a_superseded_model_is_none_to_the_newest(cloud: Cloud) -> None:
    cloud.announce(0)
    cloud.announce(1)
    assert answer(client_that_answered(cloud, 0)).version == 1


def test_a_last_round_that_was_answered_and_not_committed_ends_the_federation(cloud: Cloud) -> None:
    cloud.announce(-1)
    assert client_that_answered(cloud, -1).next_model() is None


def test_what_stands_behind_a_model_that_is_about_to_be_answered_is_told_to_whoever_watches(cloud: Cloud) -> None:
    client = cloud.client()
    cloud.announce(0)
    model = client.next_model()
    assert model is not None
    for version in (1, 2):
        cloud.announce(version)
    with noted() as events:
        assert client.stands(model)
    assert events == [Lag(2)]


def test_a_model_tells_which_topic_it_stands_on(cloud: Cloud) -> None:
    cloud.announce(0)
    first = answer(cloud.client())
    cloud.create_topics()
    cloud.announce(0)
    assert answer(cloud.client()).topic_id not in ("", first.topic_id)


def at(offset: int) -> Positions:
    return Positions({"sensors": "id-9"}, {("sensors", 0): offset, ("sensors", 1): 0})


def test_positions_of_the_stream_go_on_from_round_to_round_and_from_life_to_life(cloud: Cloud) -> None:
    client = cloud.client()
    cloud.announce(0)
    first = client.next_model()
    assert first is not None
    assert first.positions is None
    client.commit(first, at(5))
    for again in (client, cloud.client()):
        cloud.announce(1)
        model = again.next_model()
        assert model is not None
        assert model.positions == at(5)


def test_positions_outlive_a_cloud_that_starts_over(cloud: Cloud) -> None:
    client = cloud.client()
    cloud.announce(0)
    model = client.next_model()
    assert model is not None
    client.commit(model, at(5))
    cloud.create_topics()
    cloud.announce(0)
    for one in (client, cloud.client()):
        again = one.next_model()
        assert again is not None
        assert again.positions == at(5)


def test_a_reply_that_was_not_committed_tells_the_positions(cloud: Cloud) -> None:
    """Also where a newer model waits: the cloud that has the reply has announced it."""
    cloud.announce(0)
    client = cloud.client()
    model = client.next_model()
    assert model is not None
    client.commit(model, at(5))
    cloud.announce(1)
    cloud.announce(2)
    pending = client_that_answered(cloud, 1, positions=at(8)).next_model()
    assert pending is not None
    assert (pending.version, pending.positions) == (2, at(8))


def test_positions_of_a_reply_that_is_committed_alone_are_kept(cloud: Cloud) -> None:
    cloud.announce(0)
    with pytest.raises(LimitError):
        client_that_answered(cloud, 0, positions=at(8)).next_model()
    cloud.announce(1)
    model = cloud.client().next_model()
    assert model is not None
    assert (model.version, model.positions) == (1, at(8))


@pytest.mark.parametrize("metadata", ["", "id-0", "[]", "{", '{"id": 3}', "[" * 5_000])
def test_an_offset_that_somebody_else_has_committed_counts_and_tells_no_positions(cloud: Cloud, metadata: str) -> None:
    cloud.announce(0)
    cloud.kafka.offsets[FEDERATION.group, FEDERATION.model_control, 0] = (1, metadata)
    cloud.announce(1)
    model = cloud.client().next_model()
    assert model is not None
    assert (model.version, model.positions) == (1, None)
