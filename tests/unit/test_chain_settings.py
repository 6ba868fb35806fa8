"""The settings of a chain: checked all at once, needed for CASE 5 alone, and silent about what is secret."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from blockchain.functions import ABI
from config import Settings
from demo.workers import REPOSITORY
from protocol.errors import SettingsError
from tests.support.environments import job

# Of the keys 1 and 2, which every book on the curve secp256k1 has.
KEY, OTHER_KEY = (f"{number:064x}" for number in (1, 2))
WALLET = "0x7E5F4552091A69125d5DfCb7b8C2659029395Bdf"
CONTRACT = "0x5B38Da6a701c568545dCfcB03FcB875f56beddC4"
URL = "https://user:pass-1@chain.example:8545/v3/key-7"
CHAIN: dict[str, str | None] = {
    "CASE": "5",
    "ETH_RPC_URL": URL,
    "ETH_CONTRACT_ADDRESS": CONTRACT,
    "ETH_CONTRACT_ABI": json.dumps(ABI),
    "ETH_WALLET_ADDRESS": WALLET,
}


def settings_of(**changes: str | None) -> Settings:
    return Settings.from_env(job(**CHAIN | changes))


def faults(**changes: str | None) -> tuple[str, ...]:
    with pytest.raises(SettingsError) as caught:
        settings_of(**changes)
    return caught.value.faults


def abi(*without: str, **changes: dict[str, Any]) -> str:
    """The ABI without some functions, and with some changed, by their names."""
    return json.dumps([entry | changes.get(entry["name"], {}) for entry in ABI if entry["name"] not in without])


def test_the_chains_variables_are_read_and_the_others_have_defaults() -> None:
    chain = settings_of().chain
    assert chain is not None
    assert (chain.url.get_secret_value(), chain.contract, chain.wallet, chain.key) == (URL, CONTRACT, WALLET, None)
    assert (chain.poll_s, chain.receipt_limit_s, chain.attempts, chain.backoff_s) == (2, 300, 6, 2)
    assert chain.answer_limit_s == 120
    chosen = settings_of(ETH_POLL_S="0.5", ETH_RECEIPT_LIMIT_S="60", ETH_ATTEMPTS="3", ETH_BACKOFF_S="1").chain
    assert chosen is not None
    assert (chosen.poll_s, chosen.receipt_limit_s, chosen.attempts, chosen.backoff_s) == (0.5, 60, 3, 1)


@pytest.mark.parametrize("spelled", [WALLET.lower(), WALLET[2:], WALLET.upper().replace("0X", "0x"), WALLET.swapcase()])
def test_an_address_may_lack_its_checksum_or_have_a_wrong_one(spelled: str) -> None:
    chain = settings_of(ETH_WALLET_ADDRESS=spelled, ETH_WALLET_KEY=KEY).chain
    assert chain is not None
    assert chain.wallet == WALLET


@pytest.mark.parametrize("key", [KEY, f"0x{KEY}", f" {KEY}\n"])
def test_a_key_belongs_to_the_wallet(key: str) -> None:
    chain = settings_of(ETH_WALLET_KEY=key).chain
    assert chain is not None
    assert chain.key is not None
    assert chain.key.get_secret_value() == f"0x{KEY}"


def test_a_key_and_the_nodes_address_may_come_from_files(tmp_path: Path) -> None:
    (tmp_path / "key").write_text(f"{KEY}\n")
    (tmp_path / "url").write_text(f"{URL}\n")
    chain = settings_of(
        ETH_WALLET_KEY_FILE=str(tmp_path / "key"), ETH_RPC_URL=None, ETH_RPC_URL_FILE=str(tmp_path / "url")
    ).chain
    assert chain is not None
    assert chain.key is not None
    assert (chain.key.get_secret_value(), chain.url.get_secret_value()) == (f"0x{KEY}", URL)


def test_neither_the_key_nor_what_may_be_one_in_the_address_is_shown() -> None:
    settings = settings_of(ETH_WALLET_KEY=KEY)
    told = f"{settings!r} {settings.summary()} {settings.chain} {settings.chain!r}"
    assert not any(secret in told for secret in (KEY, "pass-1", "key-7"))
    assert "https://chain.example:8545)" in str(settings.chain)
    assert f"contract={CONTRACT} wallet={WALLET}" in settings.summary()


def test_a_key_of_another_wallet_is_named_by_its_address() -> None:
    [fault] = faults(ETH_WALLET_KEY=OTHER_KEY)
    assert fault == (
        f"ETH_WALLET_KEY is the key of 0x2B5AD5c4795c026514f8317c7a215E218DcCD6cF, and ETH_WALLET_ADDRESS={WALLET}: give the two "
        "that belong together"
    )


@pytest.mark.parametrize(
    ("name", "value", "fault"),
    [
        ("ETH_RPC_URL", "ws://chain/key-7", "ETH_RPC_URL is no address of a JSON-RPC over HTTP: give e.g. http://chain:8545"),
        ("ETH_RPC_URL", "http://:8545", "ETH_RPC_URL is no address of a JSON-RPC over HTTP: give e.g. http://chain:8545"),
        ("ETH_RPC_URL", "http://chain:x", "ETH_RPC_URL is no address of a JSON-RPC over HTTP: give e.g. http://chain:8545"),
        (
            "ETH_CONTRACT_ADDRESS",
            "0x12",
            "ETH_CONTRACT_ADDRESS='0x12' is no address: give 40 hex digits, e.g. 0x5B38Da6a701c568545dCfcB03FcB875f56beddC4",
        ),
        (
            "ETH_WALLET_ADDRESS",
            "me",
            "ETH_WALLET_ADDRESS='me' is no address: give 40 hex digits, e.g. 0x5B38Da6a701c568545dCfcB03FcB875f56beddC4",
        ),
        ("ETH_WALLET_KEY", "secret", "ETH_WALLET_KEY is no private key: give its 64 hex digits"),
        (
            "ETH_WALLET_KEY",
            "0" * 64,
            "ETH_WALLET_KEY is no private key: it is outside the numbers of the curve secp256k1",
        ),
        ("ETH_ATTEMPTS", "0", "ETH_ATTEMPTS='0' is no whole number above 0: give one, e.g. 100"),
        ("ETH_POLL_S", "0", "ETH_POLL_S='0' is no limit: give seconds above 0 and up to 31536000, e.g. 120"),
    ],
)
def test_a_wrong_value_is_named_with_its_remedy(name: str, value: str, fault: str) -> None:
    assert faults(**{name: value}) == (fault,)


@pytest.mark.parametrize("name", ["ETH_RPC_URL", "ETH_CONTRACT_ADDRESS", "ETH_CONTRACT_ABI", "ETH_WALLET_ADDRESS"])
def test_a_missing_variable_is_named(name: str) -> None:
    [fault] = faults(**{name: None})
    assert fault.startswith(f"{name} is not set: give ")


def test_all_faults_are_told_at_once_and_beside_others() -> None:
    found = faults(
        ETH_RPC_URL=None, ETH_CONTRACT_ADDRESS="x", ETH_CONTRACT_ABI="{", ETH_WALLET_KEY="y", ETH_POLL_S="z", TEST_RATE="7"
    )
    assert sorted(fault.split("=")[0].split(" ")[0] for fault in found) == [
        "ETH_CONTRACT_ABI",
        "ETH_CONTRACT_ADDRESS",
        "ETH_POLL_S",
        "ETH_RPC_URL",
        "ETH_WALLET_KEY",
        "TEST_RATE",
    ]


@pytest.mark.parametrize(
    ("text", "fault"),
    [("{", "is not JSON ("), ('{"abi": []}', "is no list of JSON objects: "), ("[1]", "is no list of JSON objects: ")],
)
def test_what_is_no_abi_is_told(text: str, fault: str) -> None:
    [found] = faults(ETH_CONTRACT_ABI=text)
    assert f"' {fault}" in found
    assert "give the contract's ABI, such as [{" in found


def test_the_functions_that_an_abi_lacks_are_named_all_at_once() -> None:
    [fault] = faults(ETH_CONTRACT_ABI=abi("getCurrentRound", "sendClientContribution"))
    assert fault.endswith(
        " lacks getCurrentRound() → uint256, sendClientContribution(string, string, uint256): give the whole ABI of the contract"
    )


def test_a_function_with_other_types_is_shown_beside_the_one_that_is_needed() -> None:
    [fault] = faults(ETH_CONTRACT_ABI=abi(getGlobalModel={"inputs": [{"type": "bytes32"}]}))
    assert " lacks getGlobalModel(uint256) → string (it has getGlobalModel(bytes32) → string): " in fault


def test_a_whole_abi_has_more_than_is_needed() -> None:
    event = {"type": "event", "name": "getCurrentRound", "inputs": [{"name": "x", "type": "uint256", "indexed": True}]}
    overloaded = {"type": "function", "name": "getGlobalModel", "inputs": [], "outputs": [{"type": "string"}]}
    given = {"sendClientContribution": {"outputs": [{"type": "bool"}]}}
    more: list[Any] = [{"type": "constructor", "inputs": []}, {"type": "receive"}, event, overloaded]
    assert settings_of(ETH_CONTRACT_ABI=json.dumps(more + json.loads(abi(**given)))).chain is not None


def test_deep_json_is_refused_and_does_not_crash_a_process_that_has_loaded_web3() -> None:
    program = (
        "import web3, blockchain.connecting; from protocol.messages import Answer, parse_answer\n"
        "web3.Account.sign_transaction({'nonce': 0, 'gas': 1, 'gasPrice': 1, 'chainId': 1, 'value': 0}, 32 * b'1')\n"
        "print(parse_answer(b'[' * 1_000_000) == Answer())"
    )
    ended = subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, check=True)  # noqa: S603
    assert ended.stdout.splitlines()[-1] == "True"


def test_no_other_kind_of_training_loads_or_asks_for_any_of_it() -> None:
    program = (
        "import sys, wiring; from config import Settings; from tests.support.environments import job\n"
        "assert Settings.from_env(job(ETH_WALLET_KEY='x', ETH_RPC_URL='y')).chain is None\n"
        "print([name for name in sys.modules if name.split('.')[0] in {'web3', 'eth_account', 'requests', 'blockchain'}])"
    )
    ended = subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, check=True)  # noqa: S603
    assert ended.stdout.splitlines()[-1] == "[]"
