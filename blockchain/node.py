"""A node of the chain: JSON-RPC over HTTP, asked until it answers, and every fault of it or of web3's told as one of ours."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any, TypeVar

import requests
from web3 import HTTPProvider, Web3
from web3.exceptions import BadFunctionCallOutput, ContractLogicError, Web3Exception, Web3RPCError
from web3.middleware import ExtraDataToPOAMiddleware

from blockchain.functions import ABI
from blockchain.settings import Chain
from protocol.errors import AccessError, ChainError
from protocol.words import shown
from transport.patience import Patience, pause

log = logging.getLogger(__name__)

REQUEST_LIMIT_S = 10.0  # for one try
FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 5.0
_DENIED = (401, 403)  # HTTP's unauthorized and forbidden

T = TypeVar("T")


class RefusedError(Exception):
    """The contract, not the node, says no: it reverts, or answers what its functions do not give. The text is the reason."""


class UncertainError(ChainError):
    """The node did not take a request, or may have taken it without an answer."""


class Node:
    """Asks one node.

    Args:
        meanwhile: called often while it does not answer; what it raises ends the wait.
    """

    def __init__(self, chain: Chain, meanwhile: Callable[[], None] = lambda: None) -> None:
        self.chain = chain
        # web3's own retries would count beside ours.
        provider = HTTPProvider(
            chain.url.get_secret_value(), request_kwargs={"timeout": REQUEST_LIMIT_S}, exception_retry_configuration=None
        )
        provider.global_ccip_read_enabled = False  # by which a contract has its reader ask any address it likes
        # Of web3's layers the one alone that takes the longer headers of a proof-of-authority chain.
        self.web3 = Web3(provider, middleware=[(ExtraDataToPOAMiddleware, "poa")])
        self.contract: Any = self.web3.eth.contract(address=Web3.to_checksum_address(chain.contract), abi=list(ABI))
        self._meanwhile = meanwhile

    def __str__(self) -> str:
        return str(self.chain)

    def ask(self, doing: str, call: Callable[[], T]) -> T:
        """Call until the node answers or the limit has passed.

        Raises:
            RefusedError: the contract says no.
            AccessError: the node does not let this client in.
            ChainError: the limit has passed.
        """
        deadline = time.monotonic() + self.chain.answer_limit_s
        patience = Patience(f"an answer of {self} while {doing}", None)
        pause_s = FIRST_PAUSE_S
        while True:
            try:
                return self.ask_once(doing, call)
            except UncertainError as exc:
                if time.monotonic() + pause_s > deadline:
                    raise ChainError(
                        f"{self} did not answer within {self.chain.answer_limit_s:g} s while {doing}: {exc}; is it up, is the "
                        "address right, can it be reached from here? ANSWER_LIMIT_S sets the limit"
                    ) from exc
            patience.tick()
            self._meanwhile()
            pause(pause_s)
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    def ask_once(self, doing: str, call: Callable[[], T]) -> T:
        """Call once.

        Raises:
            UncertainError: the node did not answer, or refuses.
            RefusedError, AccessError: as `ask` has them.
        """
        try:
            return call()
        except (ContractLogicError, BadFunctionCallOutput) as exc:
            raise RefusedError(_contract_reason(exc)) from exc
        except Web3RPCError as exc:
            reason = _node_reason(exc)
            if "revert" in reason:  # some nodes have no code of its own for it
                raise RefusedError(reason) from exc
            raise UncertainError(reason) from exc
        except requests.HTTPError as exc:
            status, reason = exc.response.status_code, shown(exc.response.reason)
            if status in _DENIED:
                raise AccessError(
                    f"{self} does not let this client in while {doing}: HTTP {status} {reason}; check ETH_RPC_URL, and the key "
                    "or password in it"
                ) from None  # whose text has the address whole, and what is secret of it
            raise UncertainError(f"HTTP {status} {reason}") from None
        except requests.RequestException as exc:
            raise UncertainError(_connection_reason(exc)) from None
        except (Web3Exception, ValueError) as exc:
            raise UncertainError(
                f"its answer cannot be read ({type(exc).__name__}): is there a JSON-RPC at ETH_RPC_URL?"
            ) from exc


def _contract_reason(exc: ContractLogicError | BadFunctionCallOutput) -> str:
    if isinstance(exc, BadFunctionCallOutput):
        return "what it gives is not of the type that the wire contract has: is ETH_CONTRACT_ADDRESS a federation's contract?"
    return shown(exc.message or "it reverts, and does not say why")


def _node_reason(exc: Web3RPCError) -> str:
    error: Any = (exc.rpc_response or {}).get("error") or {}
    return shown(error.get("message") or exc.message)


def _connection_reason(exc: requests.RequestException) -> str:
    """What is behind it, without the address, in which there may be a key."""
    if isinstance(exc, requests.Timeout):
        return f"no answer came within {REQUEST_LIMIT_S:g} s"
    cause: BaseException = exc
    while cause.__context__ is not None:
        cause = cause.__context__
    return f"{type(cause).__name__}: {shown(cause)}" if isinstance(cause, OSError) and cause is not exc else type(exc).__name__
