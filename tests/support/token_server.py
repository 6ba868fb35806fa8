"""A token endpoint of OAuth 2.0 on the loopback interface, that answers as a test says."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from demo.broker import LOOPBACK
from tests.support.web_server import serving


@dataclass
class TokenServer:
    """What it answers, and what it was asked.

    Attributes:
        status, answer: of the answers to come.
        asked: Authorization header and body of each request so far.
    """

    url: str = ""
    status: int = 200
    answer: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    asked: list[tuple[str, str]] = field(default_factory=list)


@contextlib.contextmanager
def token_server(certificate: str = "", key: str = "") -> Iterator[TokenServer]:
    """Lend one that is up, with https where it is given a certificate."""
    told = TokenServer()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            told.asked.append((self.headers["Authorization"], body))
            self.send_response(told.status)
            for name, value in told.headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(told.answer if isinstance(told.answer, bytes) else json.dumps(told.answer).encode())

        def log_message(self, *_arguments: Any) -> None:
            pass

    with serving(ThreadingHTTPServer((LOOPBACK, 0), Handler), certificate, key) as address:
        told.url = f"{address}/token"
        yield told
