"""A contract, a wallet and its contributions, over JSON-RPC with a real EVM behind it. No Kafka, no worker."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from eth_account.typed_transactions.typed_transaction import TypedTransaction
from hexbytes import HexBytes
from pydantic import SecretStr
from web3 import Account, HTTPProvider, Web3

from blockchain.contract import Contract
from blockchain.contributions import Contributions
from blockchain.functions import ABI
from blockchain.node import Node, UncertainError
from blockchain.settings import Chain
from blockchain.wallet import Contribution, ContributionError, Wallet
from checking.run import check
from demo.broker import LOOPBACK
from demo.chain import ChainNode, chain
from demo.cloud import Cloud
from demo.evaluator import Evaluator
from demo.rounds import AnnouncedModel
from protocol.errors import AccessError, ChainError, LimitError, ModelError
from protocol.messages import Answer, OwnReply
from tests.support.environments import job
from tests.support.web_server import serving
from variables import Environment

WEIGHTS = "FED-dig1-model_data_topic:0:0:4"
MODEL = AnnouncedModel("{}", {"optimizer": "adam", "loss": "mse"}, {"batch": 32, "kwargs_fit": {"epochs": 2}}, [])
METRICS = {"training": {"loss": [0.5]}, "validation": {"loss": [1]}}
REPLY = OwnReply("FED-dig1-agg_data_topic-c1:0:0:4", METRICS, 400, 0, Answer())
CONTRIBUTION = Contribution(REPLY.spec, json.dumps(REPLY.metrics), REPLY.num_data, 0)
NOBODY = "0x5B38Da6a701c568545dCfcB03FcB875f56beddC4"


class Federation:
    """A contract on a chain of its own, and how a worker with its second wallet would see it."""

    def __init__(self, node: ChainNode) -> None:
        self.node = node
        self.evaluator = Evaluator(node.url, Cloud("127.0.0.1:1", "dig1"), MODEL)
        self.wallet, self.key = list(node.wallets().items())[1]

    def chain(self, **changes: Any) -> Chain:
        settings: dict[str, Any] = {
            "url": SecretStr(self.node.url),
            "contract": self.evaluator.address,
            "wallet": self.wallet,
            "key": SecretStr(self.key),
            "answer_limit_s": 5.0,
            "poll_s": 0.05,
            "receipt_limit_s": 5.0,
            "attempts": 4,
            "backoff_s": 0.05,
        }
        return Chain(**settings | changes)

    def contract(self, **changes: Any) -> Contract:
        contract = Contract(Node(self.chain(**changes)))
        contract.open()
        return contract

    def wallet_of(self, **changes: Any) -> Wallet:
        return Wallet(Node(self.chain(**changes)))

    def contributions(self, **changes: Any) -> Contributions:
        settings = self.chain(**changes)
        return Contributions(Wallet(Node(settings)), settings.attempts, settings.backoff_s)

    def told(self, number: int = 1) -> list[str]:
        """Who has contributed to a round."""
        return [reply.client for reply in self.evaluator.contributions(number)]

    def change(self, method: str, how: Callable[[dict[str, Any]], object]) -> None:
        """Let the node answer otherwise."""
        answer = self.node.answer

        def changed(request: Any) -> dict[str, Any]:
            answered = answer(request)
            if request["method"] == method:
                how(answered)
            return answered

        self.node.answer = changed  # type: ignore[method-assign]

    def last_transaction(self) -> Any:
        block: Any = Web3(HTTPProvider(self.node.url)).eth.get_block("latest", full_transactions=True)
        return block["transactions"][-1]


def unknown(answer: dict[str, Any]) -> None:
    """What a node answers to what it does not know."""
    answer.pop("result")
    answer["error"] = {"code": -32601, "message": "the method does not exist"}


@pytest.fixture
def federation() -> Iterator[Federation]:
    with chain() as node:
        yield Federation(node)


@contextmanager
def odd_node(*answers: tuple[int, Any]) -> Iterator[str]:
    """A node that gives these HTTP statuses and bodies, the last of them for ever; yields its address."""
    left = list(answers)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            status, body = left.pop(0) if len(left) > 1 else left[0]
            self.send_response(status)
            self.end_headers()
            if isinstance(body, dict):
                body = json.dumps({"jsonrpc": "2.0", "id": request["id"], **body}).encode()
            self.wfile.write(body)

        def log_message(self, *_arguments: Any) -> None:
            pass

    with serving(ThreadingHTTPServer((LOOPBACK, 0), Handler)) as address:
        yield f"{address}/v3/key-7"


def test_a_round_is_read_as_a_model_message(federation: Federation) -> None:
    contract = federation.contract()
    assert not contract.is_training()
    number = federation.evaluator.publish_spec(WEIGHTS)
    assert contract.is_training()
    assert contract.round() == number == 1
    model = contract.model(number, contract.spec(number))
    assert (model.version, model.spec, model.settings.batch) == (1, WEIGHTS, 32)
    assert (model.settings.kwargs_fit, model.compile_args) == ({"epochs": 2}, {"optimizer": "adam", "loss": "mse"})
    assert model.place == f"contract {federation.evaluator.address}: round 1"
    assert model.topic_id == f"131277322940537:{federation.evaluator.address}"
    assert contract.spec(2) == ""
    federation.evaluator.finish()
    assert not contract.is_training()


@pytest.mark.parametrize(
    ("spec", "fault"),
    [
        ("a b:0:0:4", "topic: 'a b' is no name of a Kafka topic: "),
        ("weights:0", "topic: expected topic:partition:offset:end of at least one array, received weights:0, "),
    ],
)
def test_a_round_is_checked_as_a_message_of_kafka_is(federation: Federation, spec: str, fault: str) -> None:
    with pytest.raises(ModelError) as caught:
        federation.contract().model(1, spec)
    assert str(caught.value).startswith(fault)
    assert str(caught.value).endswith(f"at contract {federation.evaluator.address}: round 1")


def test_a_contract_of_another_kind_is_told_from_one_that_trains(federation: Federation) -> None:
    other = Evaluator(federation.node.url, Cloud("127.0.0.1:1", "dig1"), AnnouncedModel("{", {}, {}, []))
    contract = federation.contract(contract=other.address)
    with pytest.raises(ModelError, match=r"training_settings\.batch: missing"):
        contract.model(1, WEIGHTS)


def test_an_address_without_a_contract_is_waited_for_and_named(federation: Federation) -> None:
    with pytest.raises(LimitError, match=f"a contract at ETH_CONTRACT_ADDRESS={NOBODY} on chain 131277322940537 of the"):
        federation.contract(contract=NOBODY, answer_limit_s=0.2)


@pytest.mark.parametrize("signs", ["worker", "node"])
def test_a_contribution_is_signed_and_mined(federation: Federation, signs: str) -> None:
    federation.evaluator.publish_spec(WEIGHTS)
    wallet = federation.wallet_of(**({} if signs == "worker" else {"key": None}))
    wallet.open()
    wallet.send(CONTRIBUTION)
    [reply] = federation.evaluator.contributions(1)
    assert (reply.client, reply.num_data, reply.metrics) == (federation.wallet, 400, REPLY.metrics)
    assert ",".join(map(str, reply.where)) == REPLY.spec
    assert ("eth_sendRawTransaction" in federation.node.asked) == (signs == "worker")
    assert wallet.mined() == 1


def test_fees_leave_room_for_the_base_fee_to_double(federation: Federation) -> None:
    federation.evaluator.publish_spec(WEIGHTS)
    base = Web3(HTTPProvider(federation.node.url)).eth.get_block("latest")["baseFeePerGas"]
    federation.wallet_of().send(CONTRIBUTION)
    sent = federation.last_transaction()
    assert sent["type"] == 2
    assert sent["maxPriorityFeePerGas"] == 10**9
    assert sent["maxFeePerGas"] == 2 * base + 10**9


def test_a_transaction_comes_after_what_the_wallet_has_pending(federation: Federation) -> None:
    federation.evaluator.publish_spec(WEIGHTS)
    answer, sent = federation.node.answer, []

    def with_seven_pending(request: Any) -> dict[str, Any]:
        if request["method"] == "eth_sendRawTransaction":
            sent.append(TypedTransaction.from_bytes(HexBytes(request["params"][0])).as_dict())
        answered = answer(request)
        return answered | {"result": "0x7"} if request["params"][1:] == ["pending"] else answered

    federation.node.answer = with_seven_pending  # type: ignore[method-assign]
    with pytest.raises(UncertainError):  # which this chain does not take
        federation.wallet_of().send(CONTRIBUTION)
    assert [(one["nonce"], one["chainId"]) for one in sent] == [(7, 131277322940537)]


def test_a_chain_without_base_fee_is_paid_by_its_gas_price(federation: Federation) -> None:
    federation.evaluator.publish_spec(WEIGHTS)
    federation.change("eth_getBlockByNumber", lambda answer: answer["result"].pop("baseFeePerGas"))
    federation.wallet_of().send(CONTRIBUTION)
    sent = federation.last_transaction()
    assert (sent["type"], sent["gasPrice"]) == (0, 10**9)


def test_a_node_that_does_not_advise_on_tips_is_asked_what_others_gave(federation: Federation) -> None:
    federation.evaluator.publish_spec(WEIGHTS)
    federation.change("eth_maxPriorityFeePerGas", unknown)
    federation.wallet_of().send(CONTRIBUTION)
    assert "eth_feeHistory" in federation.node.asked
    assert federation.told() == [federation.wallet]


def test_a_node_without_wallets_is_told_at_once(federation: Federation) -> None:
    federation.change("eth_accounts", unknown)
    with pytest.raises(AccessError, match=f"has no wallet {federation.wallet}, and cannot sign for it"):
        federation.wallet_of(key=None).open()


def test_a_wallet_that_the_node_does_not_keep_is_told_at_once(federation: Federation) -> None:
    with pytest.raises(AccessError, match=f"has no wallet {NOBODY}, and cannot sign for it: give ETH_WALLET_KEY"):
        federation.wallet_of(wallet=NOBODY, key=None).open()


def test_a_wallet_without_funds_is_warned_of_and_then_named(federation: Federation, caplog: pytest.LogCaptureFixture) -> None:
    federation.evaluator.publish_spec(WEIGHTS)
    key = f"0x{12:064x}"  # to which the chain has given nothing
    wallet = federation.wallet_of(wallet=Account.from_key(key).address, key=SecretStr(key))
    wallet.open()
    assert "is empty, and a contribution costs gas" in caplog.text
    with pytest.raises(ContributionError, match=r"cannot pay for a contribution on the chain's node .* give it funds"):
        wallet.send(CONTRIBUTION)


def test_a_contract_that_refuses_is_asked_again_and_then_named_with_its_reason(federation: Federation) -> None:
    federation.evaluator.publish_spec(WEIGHTS)
    federation.evaluator.refuse(federation.wallet, "it is not on the list")
    with pytest.raises(AccessError) as caught:
        federation.contributions(attempts=2).make(REPLY, lambda: True)
    assert f"contract {federation.evaluator.address} refuses a contribution of wallet {federation.wallet}: " in str(
        caught.value
    )
    assert "it is not on the list" in str(caught.value)
    assert federation.told() == []


def test_a_refusal_that_passes_is_none(federation: Federation) -> None:
    federation.evaluator.publish_spec(WEIGHTS)
    federation.evaluator.refuse(federation.wallet, "not yet")
    looks: list[int] = []

    def stands() -> bool:
        looks.append(len(looks))
        if len(looks) == 2:
            federation.evaluator.refuse(federation.wallet, "")
        return True

    assert federation.contributions().make(REPLY, stands)
    assert federation.told() == [federation.wallet]


def test_a_transaction_that_is_reverted_in_its_block_is_named_with_its_reason(federation: Federation) -> None:
    federation.evaluator.publish_spec(WEIGHTS)
    node = federation.node
    node.hold()
    contract: Any = federation.evaluator._contract
    contract.functions.finish().transact(federation.evaluator._own)  # first in the block that is to come
    wallet = federation.wallet_of()
    release = threading.Timer(0.3, node.release)
    release.start()
    with pytest.raises(ContributionError, match="there is no training"):
        wallet.send(CONTRIBUTION)
    release.join()
    assert wallet.mined() == 1
    assert not wallet.has_sent(CONTRIBUTION)  # what was reverted is not made


def test_a_contribution_to_a_round_that_is_over_is_dropped(federation: Federation) -> None:
    federation.evaluator.publish_spec(WEIGHTS)
    federation.evaluator.finish()
    assert not federation.contributions().make(REPLY, lambda: False)
    assert federation.told() == []


def test_what_is_not_mined_in_time_is_waited_for_again_and_not_sent_again(federation: Federation) -> None:
    federation.evaluator.publish_spec(WEIGHTS)
    federation.node.hold()
    release = threading.Timer(0.8, federation.node.release)
    release.start()
    assert federation.contributions(receipt_limit_s=0.3, attempts=9).make(REPLY, lambda: True)
    release.join()
    assert federation.told() == [federation.wallet]


def test_what_is_never_mined_is_named_with_its_limit(federation: Federation) -> None:
    federation.evaluator.publish_spec(WEIGHTS)
    federation.node.hold()
    with pytest.raises(LimitError, match="ETH_RECEIPT_LIMIT_S sets the limit"):
        federation.contributions(receipt_limit_s=0.1, attempts=2).make(REPLY, lambda: True)
    federation.node.release()
    assert federation.told() == [federation.wallet]


@pytest.mark.parametrize("away", [{"eth_estimateGas"}, {"eth_sendRawTransaction"}, {"eth_getTransactionReceipt"}, {"*"}])
def test_a_node_that_comes_back_is_told_once(federation: Federation, away: set[str]) -> None:
    federation.evaluator.publish_spec(WEIGHTS)
    node = federation.node
    node.away = set(away)
    back = threading.Timer(0.5, node.away.clear)
    back.start()
    assert federation.contributions(attempts=9).make(REPLY, lambda: True)
    back.join()
    assert federation.told() == [federation.wallet]


def test_a_node_that_took_a_contribution_and_died_before_it_said_so_is_told_once(federation: Federation) -> None:
    federation.evaluator.publish_spec(WEIGHTS)
    node, answer = federation.node, federation.node.answer

    def takes_and_dies(request: Any) -> Any:
        answered = answer(request)
        if request["method"] == "eth_sendRawTransaction":
            node.answer = answer  # type: ignore[method-assign]
            raise ConnectionAbortedError
        return answered

    node.answer = takes_and_dies  # type: ignore[method-assign]
    assert federation.contributions().make(REPLY, lambda: True)
    assert federation.told() == [federation.wallet]


def test_what_a_former_life_has_contributed_is_found_among_other_transactions(federation: Federation) -> None:
    federation.evaluator.publish_spec(WEIGHTS)
    wallet = federation.wallet_of()
    before = wallet.mined()
    wallet.send(Contribution("FED-dig1-agg_data_topic-c1:0:4:8", CONTRIBUTION.metrics, 400, before))
    wallet.send(CONTRIBUTION)
    federation.evaluator.refuse(NOBODY, "a block between")
    wallet.send(Contribution("FED-dig1-agg_data_topic-c1:0:8:12", CONTRIBUTION.metrics, 400, before))
    assert federation.contributions().make(REPLY, lambda: True, may_be_made=True)
    assert len(federation.told()) == 3


def test_nothing_is_looked_through_where_the_wallet_has_sent_nothing_since(federation: Federation) -> None:
    federation.evaluator.publish_spec(WEIGHTS)
    federation.node.asked.clear()
    assert not federation.wallet_of().has_sent(CONTRIBUTION)
    assert federation.node.asked == ["eth_getTransactionCount"] * 2


def test_what_stands_before_the_reply_is_not_looked_through(federation: Federation) -> None:
    federation.evaluator.publish_spec(WEIGHTS)
    wallet = federation.wallet_of()
    wallet.send(CONTRIBUTION)
    wallet.send(Contribution("FED-dig1-agg_data_topic-c1:0:4:8", CONTRIBUTION.metrics, 400, 1))
    since = Contribution(CONTRIBUTION.spec, CONTRIBUTION.metrics, 400, 1)
    federation.node.asked.clear()
    assert not wallet.has_sent(since)
    assert federation.node.asked.count("eth_getBlockByNumber") == 1


def test_a_node_that_is_away_for_longer_than_its_limit_is_named_without_what_is_secret(federation: Federation) -> None:
    url = "http://user:pass-1@127.0.0.1:9/v3/key-7"
    with pytest.raises(ChainError) as caught:
        federation.contract(url=SecretStr(url), answer_limit_s=0.3)
    told = str(caught.value)
    assert told.startswith("the chain's node (ETH_RPC_URL=http://127.0.0.1:9) did not answer within 0.3 s while asking for its")
    assert "Connection refused" in told
    assert told.endswith("ANSWER_LIMIT_S sets the limit")
    assert not any(secret in told for secret in ("pass-1", "key-7"))


@pytest.mark.parametrize(
    ("status", "body", "error", "fault"),
    [
        (
            401,
            b"",
            AccessError,
            "does not let this client in while asking for its chain's id: HTTP 401 Unauthorized; check ETH",
        ),
        (403, b"", AccessError, "HTTP 403 Forbidden; check ETH_RPC_URL"),
        (429, b"", ChainError, "HTTP 429 Too Many Requests"),
        (200, b"<html>", ChainError, "its answer cannot be read (JSONDecodeError): is there a JSON-RPC at ETH_RPC_URL?"),
        (200, b"[]", ChainError, "its answer cannot be read"),
        (200, {"error": {"code": -32005, "message": "limit exceeded\n"}}, ChainError, "limit exceeded\\n"),
    ],
)
def test_what_a_node_answers_in_the_place_of_an_answer_is_told(
    federation: Federation, status: int, body: Any, error: type[Exception], fault: str
) -> None:
    with odd_node((status, body)) as url, pytest.raises(error) as caught:
        federation.contract(url=SecretStr(url), answer_limit_s=0.3)
    assert fault in str(caught.value)
    assert "key-7" not in str(caught.value)


def test_a_fault_that_passes_is_asked_again(federation: Federation) -> None:
    with odd_node(
        (503, b""), (200, {"error": {"code": -32000, "message": "header not found"}}), (200, {"result": "0x7"})
    ) as url:
        contract = Contract(Node(federation.chain(url=SecretStr(url))))
        contract.open()
    assert contract.identity == f"7:{federation.evaluator.address}"


@pytest.mark.parametrize(
    ("answer", "fault"),
    [
        ({"error": {"code": 3, "message": "execution reverted: not for you"}}, "execution reverted: not for you"),
        ({"error": {"code": -32000, "message": "VM Exception while processing transaction: revert no"}}, "revert no"),
        ({"result": "0x"}, "what it gives is not of the type that the wire contract has"),
        ({"result": "0x01"}, "what it gives is not of the type that the wire contract has"),
    ],
)
def test_a_contract_that_does_not_answer_as_agreed_is_not_understood(
    federation: Federation, answer: dict[str, Any], fault: str
) -> None:
    with odd_node((200, answer)) as url, pytest.raises(ModelError) as caught:
        Contract(Node(federation.chain(url=SecretStr(url)))).is_training()
    assert str(caught.value).startswith("getTrainingStatus: expected bool, received none: ")
    assert fault in str(caught.value)


def test_a_contract_cannot_have_its_reader_ask_another_address(federation: Federation) -> None:
    """EIP-3668, by which a contract that reverts in a certain way names addresses to be asked."""
    with odd_node((200, {"result": "0x"})) as asked:
        types = ["address", "string[]", "bytes", "bytes4", "bytes"]
        values = [federation.evaluator.address, [asked], b"", b"1234", b""]
        data = "0x556f1830" + Web3().codec.encode(types, values).hex()
        error = {"error": {"code": 3, "message": "execution reverted", "data": data}}
        with odd_node((200, error)) as url, pytest.raises(ModelError):
            Contract(Node(federation.chain(url=SecretStr(url)))).is_training()


def test_the_long_headers_of_a_proof_of_authority_chain_are_read(federation: Federation) -> None:
    block = {"number": "0x7", "extraData": "0x" + "ab" * 97, "baseFeePerGas": "0x9", "gasLimit": "0x1", "transactions": []}
    with odd_node((200, {"result": block})) as url:
        node = Node(federation.chain(url=SecretStr(url)))
        assert node.ask("reading", lambda: node.web3.eth.get_block("latest")["baseFeePerGas"]) == 9


def test_a_check_looks_at_contract_and_wallet_and_tells_them_nothing(federation: Federation) -> None:
    environ = job(
        KML_CLOUD_BOOTSTRAP_SERVERS=None,
        DATA_BOOTSTRAP_SERVERS=None,
        CASE="5",
        ETH_RPC_URL=federation.node.url,
        ETH_CONTRACT_ADDRESS=federation.evaluator.address,
        ETH_CONTRACT_ABI=json.dumps(ABI),
        ETH_WALLET_ADDRESS=federation.wallet,
        ETH_WALLET_KEY=federation.key,
        ANSWER_LIMIT_S="5",
    )

    def checked(**changes: str) -> str:
        out = io.StringIO()
        check(out, Environment(environ | changes))
        return " ".join(out.getvalue().split())

    assert f"waits contract contract {federation.evaluator.address} at the chain's node" in checked()
    federation.evaluator.publish_spec(WEIGHTS)
    before = federation.last_transaction()
    text = checked()
    assert "passed contract contract" in text
    assert "round=1" in text
    assert federation.key.removeprefix("0x") not in text
    assert f"has no wallet {NOBODY}" in checked(ETH_WALLET_ADDRESS=NOBODY, ETH_WALLET_KEY="")
    assert federation.last_transaction() == before
