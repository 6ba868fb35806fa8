"""Whatever is killed when, a model is answered once in the view of the cloud's isolation: the short form of `make chaos`."""

from __future__ import annotations

import gc
import json
import random
import secrets
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from kafka import KafkaProducer

import tests.chaos.judge
from demo.cloud import Cloud
from demo.errors import PeerError
from demo.rounds import following
from protocol.topics import Federation
from tests.chaos.federation import ISOLATIONS, Form, faults, federate
from tests.chaos.judge import judge
from tests.chaos.strikes import Moment, Strike, Victim, dealt, dump, load
from tests.integration.conftest import announced

# kafka-python leaves the sockets of connections that failed to Python's collector.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")


@pytest.fixture(autouse=True)
def _collect() -> Iterator[None]:
    yield
    gc.collect()  # here, where it is expected


UNCOMMITTED, COMMITTED = ISOLATIONS
WORKER, BROKER = Victim
BOTH = {
    "c1": [
        Strike(WORKER, Moment.REPLIED, due=0),
        Strike(BROKER, Moment.COMMITTING, due=1, delay_s=0.002),
        Strike(WORKER, Moment.COMMITTING, due=2, delay_s=0.002),
    ],
    "c2": [Strike(WORKER, Moment.REPLIED, due=1)],
}


def test_a_cloud_that_reads_uncommitted_has_each_model_answered_once_whatever_is_killed() -> None:
    form = Form(3, UNCOMMITTED, BOTH, delivery={"c2": "at-least-once"})
    outcome = federate(form, announced(), random.Random(1))
    assert faults(form, outcome) == []
    assert Counter(outcome.strikes) == Counter(strike for plan in BOTH.values() for strike in plan)
    assert outcome.restarts == 1
    assert "c1 0" in outcome.views[COMMITTED].lost  # so the first reply stood in a transaction that was aborted


def test_a_cloud_that_reads_committed_has_each_model_answered_once_whatever_is_killed() -> None:
    form = Form(1, COMMITTED, {"c1": [Strike(WORKER, Moment.OFFSET)]})
    outcome = federate(form, announced(), random.Random(1))
    assert faults(form, outcome) == []
    assert outcome.views[UNCOMMITTED].doubled == ["c1 -1"]  # so the first reply stood, and the cloud did not count it


ASKED = (0, 1, -1)


@pytest.mark.parametrize(
    ("replies", "lost", "doubled", "strays"),
    [
        (ASKED, [], [], 0),
        ((0, -1), ["c1 1"], [], 0),
        ((0, 1, 1, -1), [], ["c1 1"], 0),
        ((0, 1, -1, 7), [], [], 1),
    ],
)
def test_the_judge_finds_what_is_not_as_it_should_be(
    bootstrap: str, replies: Sequence[int], lost: list[str], doubled: list[str], strays: int
) -> None:
    model_id = f"judged-{secrets.token_hex(4)}"
    names = Federation(model_id, "c1")
    with Cloud(bootstrap, model_id) as cloud:
        cloud.create_topics()
        for version in ASKED:
            cloud.send_control({"topic": f"weights of {version}", "version": version})
    producer: Any = KafkaProducer(bootstrap_servers=bootstrap)
    for version in replies:
        content = {"version": following(version), "answers": {"topic": f"weights of {version}"}}
        producer.send(names.reply_control, key=names.group.encode(), value=json.dumps(content).encode()).get(10)
    producer.close()
    for isolation in ISOLATIONS:
        view = judge(bootstrap, model_id, ["c1"], isolation)
        assert (view.replies, view.lost, view.doubled, len(view.strays)) == (len(replies), lost, doubled, strays)


def test_a_transaction_that_nobody_ended_is_told(bootstrap: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tests.chaos.judge, "READ_LIMIT_S", 1.0)
    model_id = f"judged-{secrets.token_hex(4)}"
    with Cloud(bootstrap, model_id) as cloud:
        cloud.create_topics()
        cloud.send_control({"topic": "weights", "version": 0})
        producer: Any = KafkaProducer(bootstrap_servers=bootstrap, transactional_id=model_id)
        producer.init_transactions()
        producer.begin_transaction()
        producer.send(cloud.federation.reply_control, b"{}").get(10)
        with pytest.raises(PeerError, match=r"ends at 1, and read_committed did not get there within 1 s"):
            judge(bootstrap, model_id, ["c1"], "read_committed")
        producer.abort_transaction()
        producer.close()


def test_strikes_travel_by_a_command_line() -> None:
    strikes = [Strike(Victim.WORKER, Moment.COMMITTING, 3, 0.001), Strike(Victim.BROKER, Moment.ANY_TIME)]
    assert load(dump(strikes)) == strikes


def test_strikes_are_dealt_over_the_rounds_and_the_same_for_a_seed() -> None:
    kinds = Counter({(Victim.WORKER, Moment.COMMITTING): 12, (Victim.BROKER, Moment.REPLIED): 6})
    strikes = dealt(kinds, 20, random.Random(3))
    assert strikes == dealt(kinds, 20, random.Random(3))
    assert Counter((one.victim, one.moment) for one in strikes) == kinds
    assert [one.due for one in strikes] == list(range(18))
