"""The settings of a schema registry: where it is, and how it and the worker know each other."""

from __future__ import annotations

from dataclasses import dataclass, field

from pydantic import SecretStr

from transport.security import Tls


@dataclass(frozen=True, slots=True)
class Registry:
    """A schema registry that speaks Confluent's API.

    Attributes:
        urls: addresses of it, of which the next is tried where one does not answer.
        username, password: for HTTP's basic authentication; both, or none.
        tls: what its certificate is held against, and this client's own, where an address is https.
    """

    urls: tuple[str, ...]
    username: str | None = None
    password: SecretStr | None = None
    tls: Tls = field(default_factory=Tls)

    def __str__(self) -> str:
        return f"the schema registry (SCHEMA_REGISTRY_URL={','.join(self.urls)})"
