"""A federation's contract, as one who reads it sees it: whether there is training, which round it is, what is to be trained."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from typing import Any, final

from blockchain.functions import ARCHITECTURE, COMPILE_ARGS, MODEL, ROUND, SETTINGS, STATUS, Function
from blockchain.node import Node, RefusedError
from protocol.errors import ModelError
from protocol.messages import ModelMessage, parse_model_message
from protocol.words import shown
from transport.patience import Patience, pause

log = logging.getLogger(__name__)


@final
class Contract:
    """Reads the contract. `open` comes before everything else.

    What is not understood, be it a call that reverts or a text that is no JSON, is a ModelError.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        self._chain_id = 0

    def __str__(self) -> str:
        return f"contract {self._node.chain.contract}"

    @property
    def identity(self) -> str:
        """What tells this contract from every other, whatever their chains."""
        return f"{self._chain_id}:{self._node.chain.contract}"

    def open(self) -> None:
        """See whether there is a contract at the address.

        Raises:
            LimitError: there was none within the limit of an answer.
            WorkerError: as `Node.ask` does.
        """
        node, address = self._node, self._node.contract.address
        self._chain_id = node.ask("asking for its chain's id", lambda: node.web3.eth.chain_id)
        patience = Patience(
            f"a contract at ETH_CONTRACT_ADDRESS={address} on chain {self._chain_id} of {node}",
            node.chain.answer_limit_s,
            "ANSWER_LIMIT_S",
        )
        while not node.ask("looking for the contract", lambda: node.web3.eth.get_code(address)):
            patience.tick()
            pause(node.chain.poll_s)
        log.info("connected to %s chain=%d", node, self._chain_id)

    def is_training(self) -> bool:
        """Whether the training goes on."""
        return bool(self._read(STATUS))

    def round(self) -> int:
        """The number of the round that goes on."""
        return int(self._read(ROUND))

    def spec(self, number: int) -> str:
        """Where a round's weights are, as a stream spec; empty where they are not there yet."""
        return str(self._read(MODEL, number))

    def model(self, number: int, spec: str) -> ModelMessage:
        """What is to be trained in a round, checked as a message on the control topic is."""
        place = f"{self}: round {number}"
        message = {
            "topic": spec,
            "version": number,
            "training_settings": self._json(SETTINGS, place),
            "model_architecture": self._read(ARCHITECTURE),
            "model_compile_args": self._json(COMPILE_ARGS, place),
        }
        return replace(parse_model_message(json.dumps(message).encode(), place), topic_id=self.identity)

    def _read(self, function: Function, *arguments: int) -> Any:
        call = self._node.contract.functions[function.name](*arguments)
        try:
            return self._node.ask(f"reading {function.name}", call.call)
        except RefusedError as exc:
            raise ModelError(f"{function.name}: expected {', '.join(function.gives)}, received none: {exc}, at {self}") from exc

    def _json(self, function: Function, place: str) -> Any:
        text = self._read(function)
        try:
            return json.loads(text)
        except (ValueError, RecursionError) as exc:
            raise ModelError(f"{function.name}: expected JSON, received '{shown(text)}' ({exc}), at {place}") from exc
