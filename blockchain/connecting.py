"""From the settings of a chain to its contract, and to what tells the contract of replies."""

from __future__ import annotations

from collections.abc import Callable

from blockchain.contract import Contract
from blockchain.contributions import Contributions
from blockchain.node import Node
from blockchain.settings import Chain
from blockchain.wallet import Wallet


def connect(chain: Chain, meanwhile: Callable[[], None]) -> tuple[Contract, Contributions]:
    """See that node, contract and wallet are there and can be used.

    Args:
        meanwhile: called often while the node does not answer; what it raises ends the wait.

    Raises:
        WorkerError: one of them is not, or cannot.
    """
    node = Node(chain, meanwhile)
    contract, wallet = Contract(node), Wallet(node)
    contract.open()
    wallet.open()
    return contract, Contributions(wallet, chain.attempts, chain.backoff_s)
