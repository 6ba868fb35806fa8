"""A real Kafka with a listener for each way of being secure, an authorizer, and an authority for its certificates and tokens."""

from __future__ import annotations

import contextlib
import json
import time
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from kafka import KafkaAdminClient
from kafka.admin import (
    ACL,
    ACLFilter,
    ACLOperation,
    ACLPermissionType,
    ACLResourcePatternType,
    ResourcePattern,
    ResourceType,
    ScramMechanism,
    UserScramCredentialUpsertion,
)

from demo.broker import LOOPBACK, Broker, own_broker
from demo.guard import guarded_folder
from tests.support.certificates import Authority

APPLY_LIMIT_S = 20.0
ISSUER, AUDIENCE, KEY_ID = "https://tokens.test", "kafka", "k1"
MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER")
# What the listeners are called, and the security protocol of each.
LISTENERS = {
    "TLS": "SSL",
    "MUTUAL": "SSL",
    "EXPIRED": "SSL",
    "MISNAMED": "SSL",
    "SASL": "SASL_PLAINTEXT",
    "SASLTLS": "SASL_SSL",
}
PASSWORDS = {"cloud-user": "s3cret-of-the-cloud", "edge-user": "s3cret-of-the-edge"}


class TokenAuthority:
    """Issues tokens as an OAuth server does: JSON web tokens, signed with ES256 (RFC 7515, 7518)."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())

    def public_keys(self) -> str:
        """The JSON web key set, by which a broker knows the tokens."""
        numbers = self._key.public_key().public_numbers()
        x, y = (_text(number.to_bytes(32, "big")) for number in (numbers.x, numbers.y))
        key = {"kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": KEY_ID, "x": x, "y": y}
        return json.dumps({"keys": [key]})

    def token(self, subject: str, lifetime_s: float = 600.0) -> str:
        now = int(time.time())
        claims = {"iss": ISSUER, "aud": AUDIENCE, "sub": subject, "iat": now, "exp": int(now + lifetime_s), "scope": "kafka"}
        header = {"alg": "ES256", "typ": "JWT", "kid": KEY_ID}
        signed = ".".join(_text(json.dumps(part).encode()) for part in (header, claims))
        pair = decode_dss_signature(self._key.sign(signed.encode(), ec.ECDSA(SHA256())))
        return f"{signed}.{_text(b''.join(number.to_bytes(32, 'big') for number in pair))}"


def _text(value: bytes) -> str:
    return urlsafe_b64encode(value).rstrip(b"=").decode()


@dataclass(frozen=True)
class SecureKafka:
    """A broker, started, and what its clients need.

    Attributes:
        broker: `addresses` has the address of each of LISTENERS; who comes by its PLAINTEXT one may do anything.
        authority: of its certificates, and of its clients'.
        tokens: whose tokens it takes.
    """

    broker: Broker
    authority: Authority
    tokens: TokenAuthority

    def allow(self, principal: str, kind: str, name: str, *operations: str) -> None:
        """Let somebody do something with the topics or groups whose names begin so."""
        pattern = ResourcePattern(ResourceType[kind], name, ACLResourcePatternType.PREFIXED)
        acls = [ACL(f"User:{principal}", "*", ACLOperation[one], ACLPermissionType.ALLOW, pattern) for one in operations]
        with self.admin() as admin:
            admin.create_acls(acls)
            # What the controller has taken, the authorizer knows a moment later.
            wanted = ACLFilter(f"User:{principal}", "*", ACLOperation.ANY, ACLPermissionType.ANY, pattern)
            deadline = time.monotonic() + APPLY_LIMIT_S
            while len(admin.describe_acls(wanted)[0]) < len(acls):
                assert time.monotonic() < deadline, f"ACLs on {name} did not apply"
                time.sleep(0.01)

    def admin(self) -> Any:
        return KafkaAdminClient(bootstrap_servers=self.broker.bootstrap)


@contextlib.contextmanager
def secure_kafka() -> Iterator[SecureKafka]:
    authority, tokens = Authority(), TokenAuthority()
    with guarded_folder("secure-") as folder:
        keys = folder / "keys.json"
        keys.write_text(tokens.public_keys())
        properties = {
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": "User:ANONYMOUS",
            "ssl.principal.mapping.rules": "RULE:^.*CN=([^,]+).*$/$1/",
            # Kafka 4.1 chooses another one by itself, which looks at no signature.
            "sasl.oauthbearer.jwt.validator.class": "org.apache.kafka.common.security.oauthbearer.BrokerJwtValidator",
            "sasl.enabled.mechanisms": ",".join(MECHANISMS),
            **_certificates(folder, authority),
        }
        for listener in ("sasl", "sasltls"):
            users = " ".join(f'user_{user}="{password}"' for user, password in PASSWORDS.items())
            module = "org.apache.kafka.common.security"
            properties |= {
                f"listener.name.{listener}.plain.sasl.jaas.config": f"{module}.plain.PlainLoginModule required {users};",
                f"listener.name.{listener}.scram-sha-256.sasl.jaas.config": f"{module}.scram.ScramLoginModule required;",
                f"listener.name.{listener}.scram-sha-512.sasl.jaas.config": f"{module}.scram.ScramLoginModule required;",
                f"listener.name.{listener}.oauthbearer.sasl.jaas.config": f"{module}.oauthbearer.OAuthBearerLoginModule required;",
                f"listener.name.{listener}.oauthbearer.sasl.server.callback.handler.class": (
                    f"{module}.oauthbearer.OAuthBearerValidatorCallbackHandler"
                ),
                f"listener.name.{listener}.oauthbearer.sasl.oauthbearer.jwks.endpoint.url": keys.as_uri(),
                f"listener.name.{listener}.oauthbearer.sasl.oauthbearer.expected.audience": AUDIENCE,
                f"listener.name.{listener}.oauthbearer.sasl.oauthbearer.expected.issuer": ISSUER,
            }
        allowed = f"-Dorg.apache.kafka.sasl.oauthbearer.allowed.urls={keys.as_uri()}"
        with own_broker(properties, LISTENERS, [allowed]) as broker:
            made = SecureKafka(broker, authority, tokens)
            with made.admin() as admin:
                for mechanism in (ScramMechanism.SCRAM_SHA_256, ScramMechanism.SCRAM_SHA_512):  # a user at a time in one only
                    admin.alter_user_scram_credentials(
                        [UserScramCredentialUpsertion(user, mechanism, password) for user, password in PASSWORDS.items()]
                    )
            yield made


def _certificates(folder: Path, authority: Authority) -> dict[str, str]:
    names = {"EXPIRED": (LOOPBACK, True), "MISNAMED": ("another.example", False)}
    truststore = folder / "authority.pem"
    truststore.write_text(authority.certificate)
    properties: dict[str, str] = {}
    for listener, protocol in LISTENERS.items():
        if not protocol.endswith("SSL"):
            continue
        name, expired = names.get(listener, (LOOPBACK, False))
        certificate, key = authority.issue(name, expired=expired)
        keystore = folder / f"{listener}.pem"
        keystore.write_text(certificate + key)
        prefix = f"listener.name.{listener.lower()}.ssl"
        properties |= {
            f"{prefix}.keystore.type": "PEM",
            f"{prefix}.keystore.location": str(keystore),
            f"{prefix}.truststore.type": "PEM",
            f"{prefix}.truststore.location": str(truststore),
            f"{prefix}.client.auth": "required" if listener == "MUTUAL" else "none",
        }
    return properties
