"""The cloud's side of a federation on a chain: a contract that tells rounds and is told of replies, and who evaluates them."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from vyper import compile_code
from web3 import HTTPProvider, Web3

from demo.cloud import ROUND_LIMIT_S, Cloud
from demo.errors import NoReplyError, PeerError
from demo.rounds import AnnouncedModel, Reply, Round, federated_average, following, parse_reply
from protocol.records import Array

SOURCE = Path(__file__).with_name("federation.vy")
POLL_S = 0.2


class Evaluator:
    """Deploys a contract for a model, begins its rounds, and averages what clients contribute.

    Unlike Kafka-ML's it waits for all of them, and averages them as `demo.cloud` does.

    Attributes:
        address: of the contract.
        abi: the contract's, as JSON text.
    """

    def __init__(self, url: str, cloud: Cloud, model: AnnouncedModel, meanwhile: Callable[[], None] = lambda: None) -> None:
        """Deploy the contract, from the first wallet that the node keeps.

        Args:
            url: of the node's JSON-RPC.
            cloud: what sends and reads weights on Kafka.
            model: what is to be trained.
            meanwhile: called with every look at the contract; what it raises ends the wait.
        """
        self._web3 = Web3(HTTPProvider(url))
        self._own = {"from": self._web3.eth.accounts[0]}
        self._cloud = cloud
        self._model = model
        self._meanwhile = meanwhile
        abi, code = compiled()
        self.abi = json.dumps(abi)
        factory: Any = self._web3.eth.contract(abi=abi, bytecode=code)
        texts = json.dumps(model.training_settings), model.architecture, json.dumps(model.compile_args)
        self.address = str(self._done(factory.constructor(*texts))["contractAddress"])
        self._contract: Any = self._web3.eth.contract(address=Web3.to_checksum_address(self.address), abi=abi)

    def publish(self, arrays: Sequence[Array]) -> int:
        """Send a model's weights to Kafka, and begin a round with them; returns the round's number."""
        return self.publish_spec(str(self._cloud.send_arrays(arrays)))

    def publish_spec(self, spec: str) -> int:
        """Begin a round with the weights that stand there; returns its number."""
        self._done(self._contract.functions.publish(spec))
        return int(self._contract.functions.getCurrentRound().call())

    def finish(self) -> None:
        """End the training."""
        self._done(self._contract.functions.finish())

    def refuse(self, wallet: str, reason: str) -> None:
        """Take nothing more from a wallet; with an empty reason that is taken back."""
        self._done(self._contract.functions.refuse(wallet, reason))

    def contributions(self, number: int) -> list[Reply]:
        """What the contract was told in a round, in its order; their arrays are not read yet."""
        logs = self._contract.events.Contributed().get_logs(argument_filters={"round": number}, from_block=0)
        return [_reply(log["args"]) for log in logs]

    def collect(self, number: int, *, clients: int, limit_s: float = ROUND_LIMIT_S) -> list[Reply]:
        """Wait until so many wallets have contributed to a round.

        Returns:
            The first contribution of each, with its arrays.

        Raises:
            NoReplyError: they did not within `limit_s` seconds.
            PeerError: a contribution, or what it points to, breaks the contract.
        """
        deadline = time.monotonic() + limit_s
        while True:
            first = {reply.client: reply for reply in reversed(self.contributions(number))}
            if len(first) >= clients:
                return [replace(reply, arrays=self._cloud.read_arrays(reply)) for reply in first.values()]
            if time.monotonic() > deadline:
                raise NoReplyError(
                    f"{len(first)} of {clients} contributions to round {number} came within {limit_s:.0f} s (from "
                    f"{', '.join(first) or 'nobody'})"
                )
            self._meanwhile()
            time.sleep(POLL_S)

    def run(self, *, rounds: int, clients: int) -> Iterator[Round]:
        """Train the model in so many rounds, and end the training; yields each round when it is complete."""
        arrays = self._model.arrays
        for _ in range(rounds):
            number = self.publish(arrays)
            replies = self.collect(number, clients=clients)
            arrays = federated_average(replies, arrays)
            yield Round(number, replies, arrays)
        self.finish()

    def _done(self, call: Any) -> Any:
        receipt = self._web3.eth.wait_for_transaction_receipt(call.transact(self._own), poll_latency=POLL_S)
        if not receipt["status"]:
            raise PeerError(f"the chain has reverted a transaction of the evaluator: {receipt}")
        return receipt


@cache
def compiled() -> tuple[Any, str]:
    """The contract's ABI and code."""
    made = compile_code(SOURCE.read_text(), output_formats=["abi", "bytecode"])
    return made["abi"], made["bytecode"]


def _reply(contribution: Any) -> Reply:
    reply = {
        "topic": contribution["topic"],
        "version": following(contribution["round"]),
        "metrics": json.loads(contribution["metrics"]),
        "num_data": contribution["data_amount"],
    }
    place = f"contribution of {contribution['client']} to round {contribution['round']}"
    return parse_reply(contribution["client"].encode(), json.dumps(reply).encode(), place)
