"""A chain of one node, from nothing but pip: a real EVM in memory (eth-tester with py-evm) behind JSON-RPC over HTTP.

A block comes with each transaction, as long as nobody holds blocks back.
"""

from __future__ import annotations

import contextlib
import json
import sys
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TypeAlias

from eth_tester import EthereumTester, PyEVMBackend
from eth_tester.exceptions import TransactionFailed
from web3 import EthereumTesterProvider, Web3
from web3.types import RPCEndpoint

from blockchain import RECURSION_LIMIT

sys.setrecursionlimit(RECURSION_LIMIT)  # py-evm raises it, for contracts that call one another a thousand levels deep

LOOPBACK = "127.0.0.1"
REVERTED = 3  # how nodes number it in JSON-RPC's error
FAILED = -32000
STOP_POLL_S = 0.05
MAX_REQUEST_BYTES = 1_000_000

Answer: TypeAlias = dict[str, Any]


class ChainNode:
    """The chain's node.

    Attributes:
        url: of its JSON-RPC.
        away: methods that are answered with HTTP 503, as the proxy of a node that is away does; "*" for all.
        asked: methods that were asked for, in their order.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.away: set[str] = set()
        self.asked: list[str] = []
        self._evm = EthereumTester(PyEVMBackend())
        provider = EthereumTesterProvider(self._evm)
        web3 = Web3(provider, middleware=[])  # what a client's web3 makes of an answer is made there
        self._request = provider.request_func(web3, web3.middleware_onion)
        self._lock = threading.Lock()

    def wallets(self) -> dict[str, str]:
        """The wallets that it keeps, all with funds: their addresses, and the key of each."""
        keys = [key.to_hex() for key in self._evm.backend.account_keys]
        return dict(zip(self._evm.get_accounts(), keys, strict=True))

    def hold(self) -> None:
        """Make no more blocks: transactions are pending from now on."""
        with self._lock:
            self._evm.disable_auto_mine_transactions()

    def release(self) -> None:
        """Make a block of what is pending, and one of each transaction from now on."""
        with self._lock:
            self._evm.enable_auto_mine_transactions()

    def answer(self, request: Mapping[str, Any]) -> Answer:
        """Answer a JSON-RPC request."""
        method, params = str(request.get("method")), list(request.get("params") or [])
        head = {"jsonrpc": "2.0", "id": request.get("id")}
        with self._lock:
            try:
                answer: Answer = dict(self._request(RPCEndpoint(method), params))
                if method == "eth_getTransactionCount" and params[1:] == ["pending"]:
                    answer["result"] += self._pending(params[0])
            except TransactionFailed as exc:
                return head | {"error": {"code": REVERTED, "message": str(exc)}}
            except Exception as exc:  # noqa: BLE001 - whatever an EVM objects to, whoever asked is told
                return head | {"error": {"code": FAILED, "message": _told(exc)}}
        if "error" in answer:
            return head | {"error": answer["error"]}
        return head | {"result": _wire(answer["result"])}

    def _pending(self, address: str) -> int:
        """How many transactions of a wallet wait for a block; eth-tester counts those that have one."""
        waiting = self._evm._pending_transactions  # noqa: SLF001 - it has no other word for them
        return sum(one["from"].lower() == address.lower() for one in waiting)


@contextlib.contextmanager
def chain() -> Iterator[ChainNode]:
    """Lend a chain whose node listens on the loopback interface."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"  # one connection for many requests,
        disable_nagle_algorithm = True  # and no wait between an answer's head and the rest of it

        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(min(int(self.headers["Content-Length"]), MAX_REQUEST_BYTES)))
            node.asked.append(request["method"])
            is_away = bool(node.away & {request["method"], "*"})
            answer = b"" if is_away else json.dumps(node.answer(request)).encode()
            self.send_response(503 if is_away else 200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_arguments: Any) -> None:
            pass

    with ThreadingHTTPServer((LOOPBACK, 0), Handler) as server:
        server.daemon_threads = True
        node = ChainNode(f"http://{LOOPBACK}:{server.server_port}")
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": STOP_POLL_S}, daemon=True)
        thread.start()
        try:
            yield node
        finally:
            server.shutdown()
            thread.join()


def _told(exc: Exception) -> str:
    """As other nodes put it, where a client may look at the words."""
    text = f"{type(exc).__name__}: {exc}"
    return f"insufficient funds for gas * price + value ({text})" if "cannot afford" in text else text


def _camel(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(map(str.capitalize, others))


def _wire(value: Any) -> Any:
    """A result as JSON-RPC has it: numbers and bytes as hex, names in its spelling."""
    if isinstance(value, bool | float | str) or value is None:
        return value
    if isinstance(value, int):
        return hex(value)
    if isinstance(value, bytes):
        return "0x" + value.hex()
    if isinstance(value, Mapping):
        is_transaction = "nonce" in value and "data" in value
        return {"input" if is_transaction and name == "data" else _camel(name): _wire(one) for name, one in value.items()}
    return [_wire(one) for one in value]
