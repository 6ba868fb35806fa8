"""Tokens by which a Kafka knows its client: SASL's OAUTHBEARER."""

from __future__ import annotations

import json
import math
import re
import ssl
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from base64 import b64encode, urlsafe_b64decode
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any, Protocol, final

from pydantic import SecretStr

from protocol.errors import AccessError, KafkaError, WorkerError
from transport.patience import Patience

ANSWER_LIMIT_S = 10.0
MAX_ANSWER_BYTES = 1_048_576
UNKNOWN_LIFETIME_S = 300.0  # of a token that does not say when it ends
MAX_LIFETIME_S = 86_400.0  # one that is good for longer is fetched anew all the same
RETRY_S = 1.0
TOKEN = re.compile(r"[!-~]+")
SPENT = 0.7  # share of its life after which another one is fetched; librdkafka asks for one after 0.8
AGAIN_S = 10.0  # so long after a failure it is tried again
MAX_SHOWN = 100  # characters of a server's reason


@dataclass(frozen=True, slots=True)
class Token:
    """A token, and until when, in seconds of the epoch, it is good."""

    text: SecretStr
    until: float


class Source(Protocol):
    """Where tokens come from."""

    def __call__(self) -> Token:
        """A token that is good.

        Raises:
            AccessError: none is given to this client.
            KafkaError: none can be had now.
        """


@final
class Tokens:
    """The tokens of one client. Kafka's clients ask for them, from threads of their own.

    Attributes:
        fault: why the last try to get one failed; None where it did not.
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self._lock = threading.Lock()
        self._token: Token | None = None
        self._renew_at = 0.0
        self.fault: WorkerError | None = None

    def fetch(self) -> Token:
        """A token, the last one while it is good for some time yet.

        Raises:
            WorkerError: as the source has it.
        """
        with self._lock:
            if self._token is None or time.time() >= self._renew_at:
                self._token = self._source()
                now = time.time()
                self._renew_at = now + SPENT * (self._token.until - now)
            self.fault = None
            return self._token

    def first(self, limit_s: float) -> Token:
        """The same, of a source that is asked until one can be had, or the limit is over.

        Raises:
            WorkerError: as the source has it.
        """
        deadline = time.monotonic() + limit_s
        patience = Patience("a token", None)
        while True:
            try:
                return self.fetch()
            except KafkaError as exc:
                if time.monotonic() + RETRY_S > deadline:
                    raise KafkaError(f"{exc}; it was asked for {limit_s:g} s, ANSWER_LIMIT_S sets the limit") from exc
            patience.tick()
            time.sleep(RETRY_S)

    def last(self) -> Token:
        """The same, for callers that cannot take an error: after one it is `fault`, and they get what there was.

        A broker then refuses what has expired, and `fault` says why.
        """
        try:
            return self.fetch()
        except WorkerError as exc:
            self.fault = exc
            text = SecretStr("none") if self._token is None else self._token.text
            return Token(text, time.time() + AGAIN_S)


@dataclass(frozen=True, slots=True)
class Given:
    """A token that an environment holds, or a file, which is read anew each time: Kubernetes renews it there."""

    name: str
    text: SecretStr | None = None
    file: Path | None = None

    def __call__(self) -> Token:
        text = self._read()
        until = _end(text)
        if until is not None and until <= time.time():
            ended = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(max(until, 0)))
            raise AccessError(f"the token in {self.name} is good until {ended} alone, and that has passed: give a newer one")
        now = time.time()
        return Token(SecretStr(text), now + UNKNOWN_LIFETIME_S if until is None else min(until, now + MAX_LIFETIME_S))

    def _read(self) -> str:
        if self.file is None:
            return "" if self.text is None else self.text.get_secret_value()
        try:
            text = self.file.read_text(encoding="utf-8-sig").strip()
        except (OSError, UnicodeError) as exc:
            raise AccessError(f"{self.name}={self.file} cannot be read ({exc}): mount the token there") from exc
        if not TOKEN.fullmatch(text):
            raise AccessError(f"{self.name}={self.file} holds no token: expected one word of letters, digits and signs")
        return text


def _end(text: str) -> float | None:
    """When a JSON web token says that it ends (RFC 7519); None where it does not, or is something else."""
    try:
        claims = json.loads(urlsafe_b64decode(text.split(".")[1] + "=="))
        until = float(claims["exp"])
    except (IndexError, KeyError, OverflowError, RecursionError, TypeError, ValueError):
        return None
    return None if math.isnan(until) else until


@dataclass(frozen=True, slots=True)
class TokenServer:
    """Gives a token for a client's id and secret (RFC 6749, section 4.4).

    Attributes:
        name: gives the whole name of a variable, for an error.
        context: whose certificates are trusted, where its address is https.
        limit_s: for its whole answer.
    """

    name: Callable[[str], str]
    url: str
    client_id: str
    client_secret: SecretStr
    scope: str | None
    context: ssl.SSLContext
    limit_s: float = ANSWER_LIMIT_S

    def __call__(self) -> Token:
        where = f"the token server ({self.name('SASL_TOKEN_URL')}={self.url})"
        # From beside: Python's limit is for each piece of an answer, and a server may send it byte by byte.
        asking = ThreadPoolExecutor(1, "token")
        try:
            return asking.submit(self._fetch, where).result(self.limit_s)
        except TimeoutError as exc:
            raise KafkaError(
                f"{where} has not answered within {self.limit_s:g} s: is it up, and is the address right?"
            ) from exc
        finally:
            asking.shutdown(wait=False)

    def _fetch(self, where: str) -> Token:
        try:
            answer = self._ask()
        except urllib.error.HTTPError as exc:
            with exc:
                raise self._refusal(where, exc) from exc
        except (OSError, HTTPException) as exc:  # urllib's URLError is one
            reason = getattr(exc, "reason", exc)
            if isinstance(reason, ssl.SSLCertVerificationError):
                raise AccessError(
                    f"{where} has a certificate that cannot be trusted: {reason.verify_message}; "
                    f"the system's authorities are, and those of {self.name('SSL_CA')}"
                ) from exc
            raise KafkaError(f"{where} does not answer: {reason}; is it up, and is the address right?") from exc
        return self._token(where, answer)

    def _ask(self) -> bytes:
        fields = {"grant_type": "client_credentials"} | ({} if self.scope is None else {"scope": self.scope})
        pair = (urllib.parse.quote_plus(part) for part in (self.client_id, self.client_secret.get_secret_value()))
        headers = {"Authorization": f"Basic {b64encode(':'.join(pair).encode()).decode()}", "Accept": "application/json"}
        request = urllib.request.Request(self.url, urllib.parse.urlencode(fields).encode(), headers)  # noqa: S310 - http or https, see the settings
        opener = urllib.request.build_opener(urllib.request.HTTPSHandler(context=self.context), _NoRedirection)
        with opener.open(request, timeout=self.limit_s) as response:
            return bytes(response.read(MAX_ANSWER_BYTES))

    def _refusal(self, where: str, exc: urllib.error.HTTPError) -> WorkerError:
        if exc.code == 429 or exc.code >= 500:  # noqa: PLR2004 - HTTP's "too many requests", and the server's own faults
            return KafkaError(f"{where} cannot answer now: HTTP status {exc.code}")
        try:
            reason = str(json.loads(exc.read(MAX_ANSWER_BYTES))["error"])[:MAX_SHOWN]
        except (OSError, KeyError, RecursionError, TypeError, ValueError):
            reason = exc.reason
        return AccessError(
            f"{where} gives no token to client {self.client_id!r}: HTTP status {exc.code}, {reason}; check "
            f"{self.name('SASL_CLIENT_ID')}, {self.name('SASL_CLIENT_SECRET')}, {self.name('SASL_SCOPE')}, and the address"
        )

    def _token(self, where: str, answer: bytes) -> Token:
        try:
            found = json.loads(answer)
            text = found["access_token"]
            lifetime_s = min(float(found.get("expires_in", UNKNOWN_LIFETIME_S)), MAX_LIFETIME_S)
        except (AttributeError, KeyError, OverflowError, RecursionError, TypeError, ValueError):
            text, lifetime_s = None, 0.0
        if not isinstance(text, str) or not TOKEN.fullmatch(text) or not lifetime_s > 0:
            raise AccessError(f"{where} answers with something that holds no token: is that a token endpoint of OAuth 2.0?")
        return Token(SecretStr(text), time.time() + lifetime_s)


class _NoRedirection(urllib.request.HTTPRedirectHandler):
    """The secret is for the server that was named, and for no other."""

    def redirect_request(self, *_arguments: Any) -> None:
        return None
