"""A client's wallet: its transactions to the contract, sent, waited for, and found again."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, final

from web3 import Account, Web3
from web3.exceptions import MethodUnavailable, TransactionNotFound

from blockchain.functions import CONTRIBUTE
from blockchain.node import Node, RefusedError, UncertainError
from protocol.errors import AccessError
from transport.patience import Patience, pause

log = logging.getLogger(__name__)

GAS_MARGIN = 1.25  # others may write between an estimate and the block, and what then is new to store costs more
_UNPAID = ("insufficient funds", "exceeds allowance", "enough funds")  # as nodes put it
_Transaction = dict[str, Any]


class ContributionError(AccessError):
    """The contract refuses a contribution, or the wallet cannot pay for it."""


@dataclass(frozen=True, slots=True)
class Contribution:
    """What a contract is told of a reply on Kafka.

    Attributes:
        spec: where the reply's arrays are, as a stream spec.
        metrics: the reply's, as JSON text.
        num_data: the reply's.
        mined: transactions of the wallet that the chain had before the reply.
    """

    spec: str
    metrics: str
    num_data: int
    mined: int


@final
class Wallet:
    """Sends contributions. With its key they are signed here, without it by the node."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._eth: Any = node.web3.eth
        self._address: Any = Web3.to_checksum_address(node.chain.wallet)

    def __str__(self) -> str:
        return f"wallet {self._address}"

    def open(self) -> None:
        """See whether it can be used, before anything is trained.

        Raises:
            AccessError: without its key the node has to know it, and does not.
        """
        if self._node.chain.key is None and self._address not in self._node.ask("asking for its wallets", self._known):
            raise AccessError(
                f"{self._node} has no {self}, and cannot sign for it: give ETH_WALLET_KEY, or a node that keeps the wallet"
            )
        funds, price = self._node.ask(
            "looking at the wallet", lambda: (self._eth.get_balance(self._address), self._eth.gas_price)
        )
        log.info("%s signs=%s funds_wei=%d", self, "node" if self._node.chain.key is None else "worker", funds)
        if not funds and price:
            log.warning("%s is empty, and a contribution costs gas of %d wei each: give it funds", self, price)

    def mined(self) -> int:
        """How many transactions of it the chain has. Never less than it was."""
        return self._count("latest")

    def send(self, contribution: Contribution) -> None:
        """Contribute, and wait until it is mined.

        Raises:
            ContributionError: it is refused, or cannot be paid.
            UncertainError: the node did not take it, or may have taken it.
            LimitError: it was not mined within the limit.
        """
        call = self._call(contribution)
        doing = "sending a contribution"
        try:
            sent = self._node.ask_once(doing, lambda: self._sent(call))
        except RefusedError as exc:
            raise ContributionError(self._refusal(str(exc))) from exc
        except UncertainError as exc:
            if any(sign in str(exc) for sign in _UNPAID):
                raise ContributionError(f"{self} cannot pay for a contribution on {self._node}: {exc}; give it funds") from exc
            raise UncertainError(f"a contribution of {self} was not taken by {self._node}: {exc}") from exc
        log.info("contribution sent spec=%s transaction=%s", contribution.spec, Web3.to_hex(sent))
        receipt = self._receipt(sent)
        if not _is_good(receipt):
            raise ContributionError(self._refusal(self._why(call, receipt)))
        log.info("contribution mined block=%d gas=%d", receipt["blockNumber"], receipt["gasUsed"])

    def has_sent(self, contribution: Contribution) -> bool:
        """Whether a contribution is on the chain already. What is pending is waited for: it may be the one.

        Raises:
            LimitError: a pending transaction was not mined within the limit.
        """
        mined, pending = self._count("latest"), self._count("pending")
        if max(mined, pending) <= contribution.mined:
            return False
        self._await_mined(pending)
        data = self._node.contract.encode_abi(CONTRIBUTE.name, args=list(_arguments(contribution)))
        patience = Patience(f"all blocks to be looked through for a contribution of {self}", None)
        number = self._node.ask("asking for its last block", lambda: self._eth.block_number)
        while number >= 0:
            for one in reversed(self._own(number)):
                if one["to"] == self._node.contract.address and Web3.to_hex(one["input"]) == data:
                    receipt = self._receipt(one["hash"])
                    if _is_good(receipt):
                        return True
                if one["nonce"] <= contribution.mined:
                    return False
            patience.tick()
            number -= 1
        return False

    def _known(self) -> Sequence[str]:
        """The wallets that the node keeps, where it keeps any."""
        try:
            known: Sequence[str] = self._eth.accounts
        except MethodUnavailable:
            return ()
        return known

    def _call(self, contribution: Contribution) -> Any:
        return self._node.contract.functions[CONTRIBUTE.name](*_arguments(contribution))

    def _sent(self, call: Any) -> Any:
        """The hash of a call's transaction, which the node has taken."""
        chain, block = self._node.chain, self._eth.get_block("latest")
        gas = int(call.estimate_gas({"from": self._address}) * GAS_MARGIN)
        transaction = {"from": self._address, "gas": min(gas, block["gasLimit"])}
        if chain.key is None:
            return call.transact(transaction)
        nonce = self._eth.get_transaction_count(self._address, "pending")
        transaction |= {"nonce": nonce, "chainId": self._eth.chain_id, **self._fees(block)}
        signed = Account.sign_transaction(call.build_transaction(transaction), chain.key.get_secret_value())
        return self._eth.send_raw_transaction(signed.raw_transaction)

    def _fees(self, block: Any) -> dict[str, int]:
        """By EIP-1559 where the chain has a base fee, which may double before it is too high for this transaction."""
        base = block.get("baseFeePerGas")
        if base is None:
            return {"gasPrice": self._eth.gas_price}
        with warnings.catch_warnings(
            action="ignore"
        ):  # that a node does not advise on tips, and web3 reckons one from its blocks
            tip = self._eth.max_priority_fee
        return {"maxPriorityFeePerGas": tip, "maxFeePerGas": 2 * base + tip}

    def _count(self, block: str) -> int:
        return self._node.ask(
            "counting the wallet's transactions", lambda: int(self._eth.get_transaction_count(self._address, block))
        )

    def _own(self, number: int) -> list[_Transaction]:
        """The wallet's transactions in a block, in their order."""
        block = self._node.ask(f"reading block {number}", lambda: self._eth.get_block(number, full_transactions=True))
        return [one for one in block["transactions"] if one["from"] == self._address]

    def _await_mined(self, count: int) -> None:
        """Wait until the chain has so many of its transactions, or the node has given the others up."""
        patience = Patience(f"the receipts of what {self} has sent", self._node.chain.receipt_limit_s, "ETH_RECEIPT_LIMIT_S")
        while self._count("latest") < min(count, self._count("pending")):
            patience.tick()
            pause(self._node.chain.poll_s)

    def _receipt(self, sent: Any) -> _Transaction:
        def receipt() -> _Transaction | None:
            try:
                return dict(self._eth.get_transaction_receipt(sent))
            except TransactionNotFound:
                return None

        patience = Patience(
            f"the receipt of transaction {Web3.to_hex(sent)}", self._node.chain.receipt_limit_s, "ETH_RECEIPT_LIMIT_S"
        )
        while (found := self._node.ask("asking for a receipt", receipt)) is None:
            patience.tick()
            pause(self._node.chain.poll_s)
        return found

    def _why(self, call: Any, receipt: _Transaction) -> str:
        """Why a transaction was reverted, which the chain does not keep: asked again in the state that its block left."""
        try:
            again = {"from": self._address}
            self._node.ask_once("asking for a reason", lambda: call.call(again, block_identifier=receipt["blockNumber"]))
        except RefusedError as exc:
            return str(exc)
        except UncertainError as exc:
            log.debug("no reason was to be had: %s", exc)
        return f"it does not say why, with gas of {receipt['gasUsed']} used"

    def _refusal(self, reason: str) -> str:
        return f"contract {self._node.contract.address} refuses a contribution of {self}: {reason}; may it contribute?"


def _arguments(contribution: Contribution) -> tuple[str, str, int]:
    return contribution.spec, contribution.metrics, contribution.num_data


def _is_good(receipt: _Transaction) -> bool:
    return bool(receipt.get("status", 1))  # chains from before 2017 have none
