"""Which round of a contract is trained next, which is answered already, and when the federation is over."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import pytest

from federated_blockchainSingleClassicTraining import ContractRounds, Waits
from protocol.errors import LimitError, ModelError
from protocol.messages import Metrics, ModelMessage, OwnReply, Trained, encode_reply, read_own_reply
from protocol.stream_spec import OffsetRange
from tests.support.messages import model_message

METRICS = Metrics(training={"loss": [0.5]}, validation={"loss": [0.75]})


def spec(number: int) -> str:
    return f"FED-dig1-model_data_topic:0:{4 * number}:{4 * number + 4}"


@dataclass
class MemoryContract:
    """A contract that does one thing more with every look: each of `acts` is called when a look finds nothing to train."""

    is_on: bool = True
    number: int = 1
    identity: str = "1:0xC"
    fault: str = ""
    specs: dict[int, str] = field(default_factory=dict)
    acts: list[Callable[[], object]] = field(default_factory=list)
    pauses: list[float] = field(default_factory=list)

    def __str__(self) -> str:
        return "contract 0xC"

    def is_training(self) -> bool:
        if self.fault:
            raise ModelError(self.fault)
        return self.is_on

    def round(self) -> int:
        return self.number

    def spec(self, number: int) -> str:
        return self.specs.get(number, spec(number))

    def model(self, number: int, spec: str) -> ModelMessage:
        return model_message_of(number, spec, self.identity)

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        assert self.acts, "it waits for ever"
        self.acts.pop(0)()

    def turn(self, **changes: object) -> Callable[[], object]:
        """What makes it another one."""
        return lambda: vars(self).update(changes)


@dataclass
class MemoryContributions:
    made: list[tuple[OwnReply, bool]] = field(default_factory=list)

    def mined(self) -> int:
        return 3

    def make(self, reply: OwnReply, stands: Callable[[], bool], *, may_be_made: bool = False) -> bool:
        assert stands()
        self.made.append((reply, may_be_made))
        return True


def model_message_of(number: int, spec: str, identity: str) -> ModelMessage:
    return replace(model_message(version=number, topic=spec), topic_id=identity)


def reply_to(number: int, identity: str = "1:0xC") -> OwnReply:
    message = model_message_of(number, spec(number), identity)
    reply = read_own_reply(
        encode_reply(OffsetRange("FED-dig1-agg_data_topic-c1", 0, 0, 4), message, Trained(METRICS, 400), mined=2)
    )
    assert reply is not None
    return reply


@pytest.fixture
def contract(monkeypatch: pytest.MonkeyPatch) -> MemoryContract:
    contract = MemoryContract()
    monkeypatch.setattr("federated_blockchainSingleClassicTraining.pause", contract.sleep)
    return contract


def rounds_of(
    contract: MemoryContract,
    replies: Sequence[OwnReply] = (),
    contributions: MemoryContributions | None = None,
    limit_s: float | None = None,
) -> ContractRounds:
    return ContractRounds(contract, contributions or MemoryContributions(), lambda: replies, Waits(2.0, limit_s))


def next_version(rounds: ContractRounds) -> int | None:
    model = rounds.next_model()
    return None if model is None else model.version


def test_the_round_that_goes_on_is_trained(contract: MemoryContract) -> None:
    model = rounds_of(contract).next_model()
    assert model is not None
    assert (model.version, model.spec, model.topic_id) == (1, spec(1), "1:0xC")


def test_a_federation_that_has_not_begun_is_waited_for(contract: MemoryContract) -> None:
    contract.is_on = False
    contract.acts = [contract.turn(), contract.turn(is_on=True, number=1)]
    assert next_version(rounds_of(contract)) == 1
    assert contract.pauses == [2.0, 2.0]


def test_an_answered_round_does_not_come_again_and_the_next_one_is_waited_for(contract: MemoryContract) -> None:
    rounds = rounds_of(contract)
    first = rounds.next_model()
    assert first is not None
    rounds.commit(first)
    contract.acts = [contract.turn(), contract.turn(number=3)]
    assert next_version(rounds) == 3


def test_a_round_without_weights_is_one_that_is_yet_to_come(contract: MemoryContract, caplog: pytest.LogCaptureFixture) -> None:
    contract.specs[1] = ""
    contract.acts = [contract.turn(specs={})]
    assert next_version(rounds_of(contract)) == 1
    assert contract.pauses == [2.0]
    assert not caplog.records


def test_a_round_with_other_weights_is_another_one(contract: MemoryContract) -> None:
    rounds = rounds_of(contract)
    first = rounds.next_model()
    assert first is not None
    rounds.commit(first)
    contract.specs[1] = spec(7)
    again = rounds.next_model()
    assert again is not None
    assert again.spec == spec(7)


def test_the_federation_is_over_when_the_training_ends(contract: MemoryContract) -> None:
    rounds = rounds_of(contract)
    first = rounds.next_model()
    assert first is not None
    rounds.commit(first)
    contract.acts = [contract.turn(is_on=False)]
    assert rounds.next_model() is None


def test_the_federation_is_over_when_it_ends_in_a_round(contract: MemoryContract) -> None:
    rounds = rounds_of(contract)
    model = rounds.next_model()
    assert model is not None
    contract.is_on = False
    assert not rounds.stands(model)
    assert rounds.next_model() is None


def test_a_federation_that_this_client_took_part_in_before_is_over(contract: MemoryContract) -> None:
    contract.is_on = False
    assert rounds_of(contract, [reply_to(4)]).next_model() is None


def test_a_reply_to_another_contract_ends_nothing(contract: MemoryContract) -> None:
    contract.is_on = False
    contract.acts = [contract.turn(is_on=True)]
    assert next_version(rounds_of(contract, [reply_to(1, identity="1:0xD")])) == 1


@pytest.mark.parametrize(
    ("changes", "stands"),
    [
        ({"number": 2}, False),
        ({"is_on": False}, False),
        ({"specs": {1: spec(9)}}, False),
        ({"fault": "no word of it"}, True),  # what is trained is not to be lost for that
    ],
)
def test_a_round_that_is_superseded_does_not_stand(
    contract: MemoryContract,
    changes: dict[str, object],
    stands: bool,  # noqa: FBT001 - a row
) -> None:
    rounds = rounds_of(contract)
    model = rounds.next_model()
    assert model is not None
    assert rounds.stands(model)
    contract.turn(**changes)()
    assert rounds.stands(model) is stands


def test_a_round_that_a_former_life_has_answered_is_contributed_and_not_trained(contract: MemoryContract) -> None:
    contributions = MemoryContributions()
    contract.acts = [contract.turn(), contract.turn(number=2)]
    assert next_version(rounds_of(contract, [reply_to(1)], contributions)) == 2
    [(reply, may_be_made)] = contributions.made
    assert may_be_made
    assert (reply.spec, reply.metrics, reply.num_data, reply.mined) == (
        "FED-dig1-agg_data_topic-c1:0:0:4",
        {"training": {"loss": [0.5]}, "validation": {"loss": [0.75]}},
        400,
        2,
    )


def test_a_contract_that_is_not_understood_is_told_once_and_looked_at_with_longer_pauses(
    contract: MemoryContract, caplog: pytest.LogCaptureFixture
) -> None:
    contract.fault = "getTrainingStatus: no word of it"
    contract.acts = [contract.turn()] * 5 + [contract.turn(fault="other words"), contract.turn(fault="")]
    assert next_version(rounds_of(contract)) == 1
    assert contract.pauses == [4, 8, 16, 32, 60, 60, 60]
    assert [record.getMessage() for record in caplog.records if record.levelname == "WARNING"] == [
        f"the contract is not understood, and is looked at again: {fault}"
        for fault in ("getTrainingStatus: no word of it", "other words")
    ]


def test_a_wait_for_a_round_has_its_limit(contract: MemoryContract) -> None:
    contract.is_on = False
    contract.acts = [contract.turn()] * 100
    with pytest.raises(LimitError, match="the next round of contract 0xC did not come within 1e-09 s; WAIT_LIMIT_S sets"):
        rounds_of(contract, limit_s=1e-9).next_model()


@pytest.mark.parametrize("value", [None, b"", b"[]", b'{"topic": "t"}', b'{"topic": "t:0:0:1", "version": "1"}'])
def test_what_is_no_reply_of_ones_own_is_none(value: bytes | None) -> None:
    assert read_own_reply(value) is None


def test_a_reply_without_a_chain_says_nothing_of_one() -> None:
    reply = json.loads(encode_reply(OffsetRange("t", 0, 0, 1), model_message(version=1), Trained(METRICS, 400)))
    assert "mined" not in reply
