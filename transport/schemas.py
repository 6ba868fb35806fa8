"""Schemas of a registry by their ids: the only importer of confluent-kafka's client of one, loaded where records name them."""

from __future__ import annotations

import contextlib
import logging
import ssl
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar, final

import httpx2
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient
from confluent_kafka.schema_registry.error import SchemaRegistryError

from protocol.errors import AccessError, RegistryError, SettingsError, WorkerError
from protocol.schemas import AVRO, RegisteredSchema, UnusableSchemaError
from protocol.words import shown
from transport.patience import Patience, pause
from transport.registry import Registry

log = logging.getLogger(__name__)

MAX_ANSWER_BYTES = 1_048_576  # of a schema, and of all that it refers to together
MOST_REFERENCES = 100
REQUEST_LIMIT_S = 10.0  # for one try: a registry that hangs must not keep the wait from its limit
RETRY_S = 0.5
_UNKNOWN = range(40400, 40500)  # the registry's own codes for what it does not have; any server may answer 404
_MAX_WHY = 200  # characters

T = TypeVar("T")


class _AwayError(Exception):
    """No answer, or none of a registry, which may pass; the text is the reason."""


class _TooLongError(Exception):
    """An answer is longer than MAX_ANSWER_BYTES."""


@final
class RegisteredSchemas:
    """Asks a registry for schemas; keeps none, and no connection: whoever asks does so once a schema.

    A registry that does not answer is asked again, until the limit is over.
    """

    def __init__(self, registry: Registry, answer_limit_s: float) -> None:
        self._registry = registry
        self._limit_s = answer_limit_s

    def __call__(self, schema_id: int) -> RegisteredSchema:
        """The schema of an id, with those that it refers to.

        Raises:
            UnusableSchemaError: there is none, or it is too long.
            RegistryError: the registry did not answer within the limit.
            AccessError: it does not let this client in, or may not be trusted.
            SettingsError: its address is another one.
        """
        try:
            found = self._asked(lambda client: _with_references(client, schema_id))
        except _TooLongError as exc:
            raise UnusableSchemaError(
                f"schema {schema_id} has, with what it refers to, more than {MAX_ANSWER_BYTES} bytes or {MOST_REFERENCES} "
                "schemas: register a shorter one"
            ) from exc
        if found is None:
            raise UnusableSchemaError(
                f"schema {schema_id}, or one that it refers to, is not known to {self._registry}: is that the registry of "
                "whoever wrote this?"
            )
        log.info("schema id=%d type=%s bytes=%d references=%d", schema_id, found.kind, len(found.text), len(found.references))
        return found

    def types(self) -> list[str]:
        """The types of schemas that the registry can have, which shows that it is one.

        Raises:
            WorkerError: as for a schema.
        """
        return [str(one) for one in self._asked(lambda client: client.get_schema_types()) or ()]

    def _asked(self, question: Callable[[SchemaRegistryClient], T]) -> T | None:
        """The answer; None where the registry has no such thing."""
        deadline = time.monotonic() + self._limit_s
        patience = Patience(str(self._registry), None)
        while True:
            try:
                return self._once(question, max(RETRY_S, min(REQUEST_LIMIT_S, deadline - time.monotonic())))
            except _AwayError as exc:
                if time.monotonic() + RETRY_S > deadline:
                    raise RegistryError(
                        f"{self._registry} did not answer within {self._limit_s:g} s: {exc}; is it up, is the address right, "
                        "its path included, can it be reached from here? ANSWER_LIMIT_S sets the limit"
                    ) from exc
            patience.tick()
            pause(RETRY_S)

    def _once(self, question: Callable[[SchemaRegistryClient], T], limit_s: float) -> T | None:
        # From beside: the client's limit is for each piece of an answer, and a server may send it byte by byte.
        asking = ThreadPoolExecutor(1, "registry")
        try:
            return asking.submit(self._ask, question).result(limit_s)
        except TimeoutError as exc:
            raise _AwayError("it takes too long") from exc
        except SchemaRegistryError as exc:
            self._hear_refusal(exc)
            return None
        except (_AwayError, _TooLongError, WorkerError):
            raise
        except httpx2.TransportError as exc:
            raise self._unreached(exc) from exc
        except (
            AttributeError,
            KeyError,
            RecursionError,
            TypeError,
            ValueError,
        ) as exc:  # so the client tells of an answer that it cannot read
            raise _AwayError("what answers there is no registry") from exc
        finally:
            asking.shutdown(wait=False)

    def _ask(self, question: Callable[[SchemaRegistryClient], T]) -> T:
        with _opened(self._registry) as client:
            return question(client)

    def _hear_refusal(self, exc: SchemaRegistryError) -> None:
        """Let pass that the registry has no such thing.

        Raises:
            WorkerError, _AwayError: any other refusal.
        """
        status, why = exc.http_status_code, shown(exc.error_message, _MAX_WHY)
        if exc.error_code in _UNKNOWN:
            return
        if status in (401, 403):
            check = "SCHEMA_REGISTRY_USERNAME and SCHEMA_REGISTRY_PASSWORD"
            check += "" if self._registry.username is not None else ", which are not set"
            raise AccessError(f"{self._registry} does not let this client in: HTTP status {status}, {why}; check {check}")
        if 300 <= status < 400:  # noqa: PLR2004 - HTTP's redirections
            raise SettingsError(
                [f"{self._registry} is at another address by now (HTTP status {status}): give that one in SCHEMA_REGISTRY_URL"]
            )
        raise _AwayError(f"HTTP status {status}, {why}")

    def _unreached(self, exc: Exception) -> Exception:
        for cause in _causes(exc):
            if isinstance(cause, ssl.SSLCertVerificationError):
                return AccessError(
                    f"{self._registry} has a certificate that cannot be trusted, {cause.verify_message.rstrip('.')}; check "
                    "SCHEMA_REGISTRY_SSL_CA and SCHEMA_REGISTRY_URL"
                )
            if isinstance(cause, ssl.SSLError) and "ALERT" in (cause.reason or ""):
                words = (cause.reason or "").lower().replace("_", " ")
                return AccessError(
                    f"{self._registry} refuses the certificate of this client, or that it has none ({words}); check "
                    "SCHEMA_REGISTRY_SSL_CERTIFICATE and SCHEMA_REGISTRY_SSL_KEY"
                )
        return _AwayError(shown(str(exc) or type(exc).__name__, _MAX_WHY))


@contextlib.contextmanager
def _opened(registry: Registry) -> Iterator[SchemaRegistryClient]:
    """A client that reads no more than it may, and follows no redirection: the password is for the server that was named."""
    password = "" if registry.password is None else registry.password.get_secret_value()
    client = SchemaRegistryClient({"url": ",".join(registry.urls), "max.retries": 0})
    client.close()
    # It cannot be told of certificates that are in memory, nor of the most that it may read.
    client._rest_client.session = httpx2.Client(
        verify=registry.tls.context(),
        auth=None if registry.username is None else (registry.username, password),
        timeout=REQUEST_LIMIT_S,
        headers={"Accept-Encoding": "identity"},  # a few bytes may unpack to any number
        event_hooks={"response": [_limit]},
    )
    with client:
        yield client


def _limit(response: httpx2.Response) -> None:
    """Read an answer, as long as it is not longer than it may be."""
    if response.headers.get("Content-Encoding", "identity") != "identity":
        raise _AwayError("it packs its answers, and was asked not to")
    response.stream = _Limited(response.stream)


class _Limited(httpx2.SyncByteStream):
    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def __iter__(self) -> Iterator[bytes]:
        left, deadline = MAX_ANSWER_BYTES, time.monotonic() + REQUEST_LIMIT_S
        for part in self._stream:
            left -= len(part)
            if time.monotonic() > deadline:
                raise _AwayError("its answer goes on and on")
            if left < 0:
                raise _TooLongError
            yield part

    def close(self) -> None:
        self._stream.close()


def _with_references(client: SchemaRegistryClient, schema_id: int) -> RegisteredSchema:
    found = client.get_schema(schema_id)
    texts: list[str] = []
    if found.schema_type == AVRO:
        _add_references(client, found, texts, set())
    text = _text(found)
    if len(text) + sum(map(len, texts)) > MAX_ANSWER_BYTES:
        raise _TooLongError
    return RegisteredSchema(str(found.schema_type), text, tuple(texts))


def _add_references(client: SchemaRegistryClient, of: Schema, texts: list[str], asked: set[tuple[str, int]]) -> None:
    for one in of.references or ():
        place = (str(one.subject), int(one.version or 0))
        if place in asked:
            continue
        asked.add(place)
        if len(asked) > MOST_REFERENCES:
            raise _TooLongError
        # Also one that was deleted since, as Confluent's own deserializer does.
        referred = client.get_version(*place, deleted=True).schema
        _add_references(client, referred, texts, asked)
        texts.append(_text(referred))


def _text(schema: Schema) -> str:
    if not isinstance(schema.schema_str, str):
        raise TypeError("an answer without a schema")
    return schema.schema_str


def _causes(exc: BaseException | None) -> Iterator[BaseException]:
    while exc is not None:
        yield exc
        exc = exc.__cause__ or exc.__context__
