"""Looking at a broker's listener: why does a client not get through?

librdkafka has one text for most of what can be wrong with a certificate, and none for a listener of another
security protocol. Python's TLS tells them apart, and two small requests of Kafka do the rest.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import time

from transport.security import Security

CONNECT_LIMIT_S = 2.0
# Of a request: its length, its kind, the kind's version, a number to know the answer by, and no client id.
_REQUEST = struct.Struct(">ihhih")
_API_VERSIONS, _METADATA = 18, 3  # anybody may ask for the first; the second only who is known, where SASL is asked for
_NO_TOPICS = struct.pack(">i", 0)
_NUMBER = 1
# By OpenSSL's number for what is wrong with a certificate: what to do, and the variables to look at.
_MISNAMED = ("reach the broker by a name that stands in it, or give it one with this name", "BOOTSTRAP_SERVERS")
_REMEDIES: dict[int, tuple[str, ...]] = {
    9: ("it begins later: compare the clocks of both machines",),
    10: ("give the broker a new one",),
    62: _MISNAMED,
    64: _MISNAMED,  # an address in place of a name
}
_NOT_KNOWN = ("trust the authority that signed it", "SSL_CA")


class Wrong(Exception):  # noqa: N818 - a finding
    """What is wrong with a listener, or with what it is shown, and what to do; `names` are the variables to look at."""

    def __init__(self, text: str, *names: str) -> None:
        super().__init__(text)
        self.names = names


def probe(address: str, security: Security) -> bool:
    """Come to a listener as a client with these settings would, up to SASL.

    Returns:
        Whether it answers as it should; False where it does not answer, which may pass.

    Raises:
        Wrong: it does not let such a client in, whenever it comes.
    """
    host, _, port = address.rpartition(":")
    place = (host.strip("[]"), int(port))
    if security.tls is None:
        return _without_tls(place, has_user=security.sasl is not None)
    return _with_tls(place, security.tls.context(), has_user=security.sasl is not None)


def _with_tls(place: tuple[str, int], context: ssl.SSLContext, *, has_user: bool) -> bool:
    try:
        with _connected(place) as plain, context.wrap_socket(plain, server_hostname=place[0]) as broker:
            return _answers(broker, _API_VERSIONS) and _lets_in(broker, has_user=has_user)
    except ssl.SSLCertVerificationError as exc:
        remedy, *names = _REMEDIES.get(exc.verify_code, _NOT_KNOWN)
        raise Wrong(f"its certificate cannot be trusted, {exc.verify_message.rstrip('.')}: {remedy}", *names) from exc
    except ssl.SSLError as exc:
        if _is_refusal(exc):
            raise Wrong(
                f"it refuses the certificate of this client, or that it has none ({_words(exc)}); show one that it trusts",
                "SSL_CERTIFICATE",
                "SSL_KEY",
            ) from exc
    except OSError:
        pass
    with contextlib.suppress(OSError), _connected(place) as plain:
        if _answers(plain, _API_VERSIONS):
            raise Wrong("its listener is without TLS", "SECURITY_PROTOCOL")
    return False


def _without_tls(place: tuple[str, int], *, has_user: bool) -> bool:
    with contextlib.suppress(OSError), _connected(place) as plain:
        if _answers(plain, _API_VERSIONS):
            return _lets_in(plain, has_user=has_user)
    blind = ssl.create_default_context()
    blind.check_hostname, blind.verify_mode = False, ssl.CERT_NONE  # nothing but the handshake is looked at
    try:
        with _connected(place) as plain, blind.wrap_socket(plain, server_hostname=place[0]):
            pass
    except OSError as exc:
        if not (isinstance(exc, ssl.SSLError) and _is_refusal(exc)):
            return False
    raise Wrong("its listener is one with TLS", "SECURITY_PROTOCOL")


def _lets_in(broker: socket.socket, *, has_user: bool) -> bool:
    if has_user or _answers(broker, _METADATA, _NO_TOPICS):
        return True
    raise Wrong("its listener asks for a user: it is one with SASL", "SECURITY_PROTOCOL")


def _connected(place: tuple[str, int]) -> socket.socket:
    try:
        return socket.create_connection(place, timeout=CONNECT_LIMIT_S)
    except UnicodeError as exc:  # so Python tells of a name that nobody can have
        raise OSError(f"{place[0]} is no name of a machine") from exc


def _answers(broker: socket.socket, kind: int, body: bytes = b"") -> bool:
    """Whether a request is answered; where it is not, the connection has been closed."""
    request = _REQUEST.pack(_REQUEST.size - 4 + len(body), kind, 0, _NUMBER, -1)
    try:
        broker.sendall(request + body)
        length = _received(broker, 4)
        return _received(broker, int.from_bytes(length, "big"))[:4] == struct.pack(">i", _NUMBER)
    except ConnectionError:
        return False


def _received(broker: socket.socket, size: int) -> bytes:
    """So many bytes, at most a page; fewer where the connection ends, or where they are long in coming."""
    parts, deadline = b"", time.monotonic() + CONNECT_LIMIT_S
    wanted = min(size, 65_536)
    while len(parts) < wanted and time.monotonic() < deadline and (part := broker.recv(wanted - len(parts))):
        parts += part
    return parts


def _is_refusal(exc: ssl.SSLError) -> bool:
    """Whether the other side has told why it breaks off, and it is no trouble of its own."""
    reason = exc.reason or ""
    return "ALERT" in reason and "INTERNAL_ERROR" not in reason


def _words(exc: ssl.SSLError) -> str:
    return (exc.reason or "").lower().replace("_", " ")
