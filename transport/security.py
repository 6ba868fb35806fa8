"""How a Kafka knows its client, and the client its Kafka: TLS and SASL."""

from __future__ import annotations

import contextlib
import os
import ssl
from collections.abc import Iterator
from dataclasses import dataclass, field

from pydantic import SecretStr

from transport.tokens import Tokens


@dataclass(frozen=True, slots=True)
class Tls:
    """An encrypted connection to a broker whose certificate is checked, its host name included.

    Attributes:
        ca: PEM of the certificates that may vouch for a broker; None = the system's.
        certificate: PEM of the client's own, and of what it is signed by; None where it shows none.
        key: PEM of the certificate's key.
        key_password: where the key is encrypted.
    """

    ca: str | None = field(default=None, repr=False)
    certificate: str | None = field(default=None, repr=False)
    key: SecretStr | None = None
    key_password: SecretStr | None = None

    def context(self) -> ssl.SSLContext:
        """The same for Python.

        Raises:
            ssl.SSLError: a PEM cannot be read, the key is not the certificate's, or its password is wrong.
        """
        context = ssl.create_default_context(cadata=self.ca)
        # Python 3.13 wants more of a certificate than librdkafka does, and one answer must come from both.
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        if self.certificate is not None and self.key is not None:
            password = "" if self.key_password is None else self.key_password.get_secret_value()
            with _readable(self.certificate) as certificate, _readable(self.key.get_secret_value()) as key:
                context.load_cert_chain(certificate, key, password)  # with None for a password it would ask at the terminal
        return context


@contextlib.contextmanager
def _readable(text: str) -> Iterator[str]:
    """Lend the name of a file that is in memory alone: Python reads a client's certificate and key from files only."""
    descriptor = os.memfd_create("pem")
    try:
        os.write(descriptor, text.encode())
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)


@dataclass(frozen=True, slots=True)
class Sasl:
    """Who the client is, and how it proves it.

    Attributes:
        mechanism: PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512, with name and password; OAUTHBEARER, with tokens.
    """

    mechanism: str
    username: str | None = None
    password: SecretStr | None = None
    tokens: Tokens | None = None


@dataclass(frozen=True, slots=True)
class Security:
    """Both, or one, or none."""

    tls: Tls | None = None
    sasl: Sasl | None = None

    @property
    def protocol(self) -> str:
        """As Kafka calls it."""
        encryption = "PLAINTEXT" if self.tls is None else "SSL"
        return encryption if self.sasl is None else f"SASL_{encryption}"

    def __str__(self) -> str:
        return self.protocol if self.sasl is None else f"{self.protocol}/{self.sasl.mechanism}"
