"""Certificates that are made when a test needs them: good ones, and ones with a fault each."""

from __future__ import annotations

import datetime as dt

import trustme
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

HOUR = dt.timedelta(hours=1)


class Authority:
    """A certificate authority."""

    def __init__(self, name: str = "test") -> None:
        self._authority = trustme.CA(organization_name=name)

    @property
    def certificate(self) -> str:
        """Its own certificate, PEM."""
        return self._authority.cert_pem.bytes().decode()

    def issue(self, *names: str, common_name: str | None = None, expired: bool = False) -> tuple[str, str]:
        """A certificate for host names and addresses, and its key as PKCS #8, which is what Java reads; both PEM."""
        now = dt.datetime.now(dt.UTC)
        end = now - HOUR if expired else now + HOUR
        issued = self._authority.issue_cert(*names, common_name=common_name, not_before=now - 2 * HOUR, not_after=end)
        [certificate] = issued.cert_chain_pems
        return certificate.bytes().decode(), _pkcs8(issued.private_key_pem.bytes())


def encrypted(key: str, password: str) -> str:
    """A key, with a password."""
    return _pkcs8(key.encode(), password)


def _pkcs8(key: bytes, password: str = "") -> str:
    encryption = BestAvailableEncryption(password.encode()) if password else NoEncryption()
    return load_pem_private_key(key, None).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption).decode()
