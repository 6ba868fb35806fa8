"""The settings of a chain: its node, the federation's contract, this client's wallet, and how patient to be with them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from pydantic import SecretStr
from web3 import Account, Web3

from blockchain.functions import check_abi
from variables import FILE, Environment, number, seconds

DEFAULT_POLL_S = 2.0
DEFAULT_RECEIPT_LIMIT_S = 300.0  # some 25 blocks of Ethereum
DEFAULT_ATTEMPTS = 6
DEFAULT_BACKOFF_S = 2.0  # doubled each time: a minute in all
_URL = re.compile(r"https?://[!-~]+")
_ADDRESS = re.compile(r"(0[xX])?[0-9A-Fa-f]{40}")
_KEY = re.compile(r"(0[xX])?[0-9A-Fa-f]{64}")


@dataclass(frozen=True, slots=True)
class Chain:
    """How to take part in a contract's federation.

    Attributes:
        url: of the node's JSON-RPC; a secret, since providers put a key into it.
        contract, wallet: addresses, with their checksum.
        key: of the wallet; None where the node signs for it.
        answer_limit_s: longest wait for the node's answer.
        poll_s: pause between two looks at the contract.
        receipt_limit_s: longest wait for a transaction to be mined.
        attempts: how often a contribution is tried.
        backoff_s: pause before the second try; each one after it is twice as long.
    """

    url: SecretStr
    contract: str
    wallet: str
    key: SecretStr | None
    answer_limit_s: float
    poll_s: float
    receipt_limit_s: float
    attempts: int
    backoff_s: float

    def __str__(self) -> str:
        """The node, without what may be a key in its address."""
        url = urlsplit(self.url.get_secret_value())
        return f"the chain's node (ETH_RPC_URL={url.scheme}://{url.netloc.rpartition('@')[2]})"


def read_chain(env: Environment, answer_limit_s: float) -> Chain:
    """The settings of the chain; faults are noted."""
    env.read("ETH_CONTRACT_ABI", check_abi, remedy="the contract's ABI, as JSON")
    wallet = env.read("ETH_WALLET_ADDRESS", _address, remedy="the address of this client's wallet")
    return Chain(
        url=SecretStr(_url(env)),
        contract=env.read("ETH_CONTRACT_ADDRESS", _address, remedy="the address of the federation's contract"),
        wallet=wallet,
        key=_key(env, wallet),
        answer_limit_s=answer_limit_s,
        poll_s=env.read("ETH_POLL_S", seconds, default=DEFAULT_POLL_S),
        receipt_limit_s=env.read("ETH_RECEIPT_LIMIT_S", seconds, default=DEFAULT_RECEIPT_LIMIT_S),
        attempts=env.read("ETH_ATTEMPTS", number, default=DEFAULT_ATTEMPTS),
        backoff_s=env.read("ETH_BACKOFF_S", seconds, default=DEFAULT_BACKOFF_S),
    )


def _url(env: Environment) -> str:
    text = env.text_or_file("ETH_RPC_URL", FILE)
    if text is None:
        if env.are_good("ETH_RPC_URL"):
            env.note(
                "ETH_RPC_URL",
                "ETH_RPC_URL is not set: give the address of a node's JSON-RPC, in it or in a file that "
                f"ETH_RPC_URL{FILE} names",
            )
        return ""
    try:
        is_good = _URL.fullmatch(text.strip()) is not None and urlsplit(text.strip()).hostname is not None
        urlsplit(text.strip()).port  # noqa: B018 - where it is none, this says so
    except ValueError:
        is_good = False
    if not is_good:  # nothing of it is shown: there may be a key in it
        env.note("ETH_RPC_URL", "ETH_RPC_URL is no address of a JSON-RPC over HTTP: give e.g. http://chain:8545")
    return text.strip()


def _address(text: str) -> str:
    """With its checksum, whichever it came with: a wallet's may lack it."""
    if not _ADDRESS.fullmatch(text):
        raise ValueError("is no address: give 40 hex digits, e.g. 0x5B38Da6a701c568545dCfcB03FcB875f56beddC4")
    return Web3.to_checksum_address("0x" + text[-40:].lower())


def _key(env: Environment, wallet: str | None) -> SecretStr | None:
    text = env.text_or_file("ETH_WALLET_KEY", FILE)
    if text is None:
        return None
    digits = text.strip()
    if not _KEY.fullmatch(digits):
        env.note("ETH_WALLET_KEY", "ETH_WALLET_KEY is no private key: give its 64 hex digits")
        return None
    key = "0x" + digits[-64:].lower()
    try:
        owner = Account.from_key(key).address
    except Exception:  # noqa: BLE001 - whatever it is that the curve does not take, nothing of it may be shown
        env.note("ETH_WALLET_KEY", "ETH_WALLET_KEY is no private key: it is outside the numbers of the curve secp256k1")
        return None
    if wallet is not None and owner != wallet:
        env.note(
            "ETH_WALLET_KEY",
            f"ETH_WALLET_KEY is the key of {owner}, and ETH_WALLET_ADDRESS={wallet}: give the two that belong together",
        )
    return SecretStr(key)
