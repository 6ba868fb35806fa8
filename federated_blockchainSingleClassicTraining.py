"""CASE 5: trained as CASE 1 is, in rounds that a smart contract tells, which is told of each reply.

A round is answered on Kafka first, with the weights; then the contract is told where they are. A worker that ends in between is
found out by its next life: its reply stands on Kafka, and the chain says whether the contract was told.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from config import Settings
from FederatedKafkaMLAggregationSink import FederatedKafkaMLAggregationSink
from protocol.errors import ModelError
from protocol.messages import Identity, ModelMessage, OwnReply, Trained, read_own_reply
from protocol.positions import Positions
from protocol.records import Array
from transport.interfaces import LogReader
from transport.patience import Patience, pause
from transport.replies import ReplyLog

if TYPE_CHECKING:
    from blockchain.settings import Chain

log = logging.getLogger(__name__)

LONGEST_PAUSE_S = 60.0  # between two looks at a contract that is not understood
TOPIC_PAUSE_S = 0.5


class ContractReader(Protocol):
    """What a round is read from: blockchain.contract.Contract, or one in memory for tests."""

    @property
    def identity(self) -> str: ...

    def is_training(self) -> bool: ...

    def round(self) -> int: ...

    def spec(self, number: int) -> str: ...

    def model(self, number: int, spec: str) -> ModelMessage: ...


class ContractTeller(Protocol):
    """What a contract is told by: blockchain.contributions.Contributions."""

    def mined(self) -> int: ...

    def make(self, reply: OwnReply, stands: Callable[[], bool], *, may_be_made: bool = False) -> bool: ...


@dataclass(frozen=True, slots=True)
class Waits:
    """How long, and how often.

    Attributes:
        poll_s: pause between two looks at the contract.
        limit_s: longest wait for the next round; None = no limit.
        meanwhile: called with every look; what it raises ends the wait.
    """

    poll_s: float
    limit_s: float | None
    meanwhile: Callable[[], None] = lambda: None


class ContractRounds:
    """Gives the round of the contract that this client has not answered, and knows which it has.

    A contract without training is one whose federation has not begun, and is waited for; unless it has been seen training, or a
    reply of this client to one of its rounds stands on Kafka: then the federation is over.

    What cannot be understood is told once, and looked at again, after longer and longer pauses.

    Args:
        replies: waits for the topic of replies; all that this client has replied there in former lives.
    """

    def __init__(
        self, contract: ContractReader, contributions: ContractTeller, replies: Callable[[], Sequence[OwnReply]], waits: Waits
    ) -> None:
        self._contract = contract
        self._contributions = contributions
        self._ask_replies = replies
        self._waits = waits
        self._former: list[OwnReply] | None = None
        self._has_begun = False
        self._answered: set[Identity] = set()

    def next_model(self) -> ModelMessage | None:
        """Wait for the next round to train; None where the federation is over.

        Raises:
            LimitError: none came within the limit.
        """
        if self._former is None:
            self._former = [one for one in self._ask_replies() if one.answer.topic_id == self._contract.identity]
            self._has_begun = bool(self._former)
        patience = Patience(f"the next round of {self._contract}", self._waits.limit_s)
        pause_s, told = self._waits.poll_s, ""
        while True:
            try:
                if self._contract.is_training():
                    self._has_begun = True
                    model = self._unanswered()
                    if model is not None:
                        return model
                elif self._has_begun:
                    return None
                pause_s = self._waits.poll_s
            except ModelError as exc:
                if str(exc) != told:
                    told = str(exc)
                    log.warning("the contract is not understood, and is looked at again: %s", told)
                pause_s = min(2 * pause_s, max(LONGEST_PAUSE_S, self._waits.poll_s))
            patience.tick()
            self._waits.meanwhile()
            pause(pause_s)

    def stands(self, model: ModelMessage) -> bool:
        """Whether the contract still has the round of a model; where it is not understood, that is presumed."""
        try:
            goes_on = self._contract.is_training() and self._contract.round() == model.version
            return goes_on and self._contract.spec(model.version) == model.spec
        except ModelError as exc:
            log.warning("the contract is not understood: %s", exc)
            return True

    def commit(self, model: ModelMessage, _positions: Positions | None = None) -> None:
        """Note that a model is answered on Kafka, where its reply says so to later lives."""
        self._answered.add(model.identity)

    def _unanswered(self) -> ModelMessage | None:
        """The round that goes on; None where it has no weights yet, or is answered."""
        number = self._contract.round()
        spec = self._contract.spec(number)
        if not spec or (spec, number) in self._answered:
            return None
        model = self._contract.model(number, spec)
        reply = next((one for one in self._former or () if one.answer.is_to(model)), None)
        if reply is None:
            return model
        log.info("version=%d was answered by a worker that ended afterwards, at %s", model.version, model.place)
        self._contributions.make(reply, lambda: self.stands(model), may_be_made=True)
        self.commit(model)
        return None


class ContributingSink:
    """Answers on Kafka, then tells the contract.

    Args:
        stands: whether the contract still has the round of a model.
    """

    def __init__(
        self, kafka: FederatedKafkaMLAggregationSink, contributions: ContractTeller, stands: Callable[[ModelMessage], bool]
    ) -> None:
        self._kafka = kafka
        self._contributions = contributions
        self._stands = stands
        self._mined = 0
        self._sent: tuple[ModelMessage, bytes] | None = None

    def prepare(self, largest_bytes: int) -> None:
        self._kafka.prepare(largest_bytes)

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """Within it the reply stands or does not; the contract is told when it does."""
        self._mined = self._contributions.mined()
        self._sent = None
        with self._kafka.transaction():
            yield
        if self._sent is None:
            return
        model, value = self._sent
        reply = read_own_reply(value)
        if reply is None:
            raise AssertionError("a reply that is none")
        self._contributions.make(reply, lambda: self._stands(model))

    def send(self, arrays: Sequence[Array], message: ModelMessage, trained: Trained) -> None:
        self._sent = message, self._kafka.send(arrays, message, trained, self._mined)


def join_contract(
    settings: Settings,
    chain: Chain,
    reader: LogReader,
    replies: ReplyLog,
    sink: FederatedKafkaMLAggregationSink,
    meanwhile: Callable[[], None],
) -> tuple[ContractRounds, ContributingSink]:
    """Where the rounds of CASE 5 come from, and where their replies go.

    Args:
        reader: of the cloud's Kafka.
        replies: those that are committed.
        sink: to the cloud's Kafka.
        meanwhile: called often while something is waited for.

    Raises:
        WorkerError: there is no such node, contract or wallet.
    """
    from blockchain.connecting import connect  # noqa: PLC0415 - web3 with it, which no other kind is to wait for

    contract, contributions = connect(chain, meanwhile)

    def own_replies() -> Sequence[OwnReply]:
        topic = settings.federation.reply_control
        patience = Patience(f"the cloud to create {topic}", settings.wait_limit_s)
        while not reader.partitions(topic):
            patience.tick()
            meanwhile()
            pause(TOPIC_PAUSE_S)
        return replies.own()

    rounds = ContractRounds(contract, contributions, own_replies, Waits(chain.poll_s, settings.wait_limit_s, meanwhile))
    return rounds, ContributingSink(sink, contributions, rounds.stands)
