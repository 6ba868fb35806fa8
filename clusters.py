"""The settings of one Kafka, or of the schema registry: where it is, and how it and the worker know each other.

The cloud's and the edge's have variables of their own, that begin with KML_CLOUD_ and DATA_; what follows is the same.
Those of the registry begin with SCHEMA_REGISTRY_.
"""

from __future__ import annotations

import re
import ssl
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv6Address
from pathlib import Path

from pydantic import SecretStr

from transport.clients import Cluster
from transport.registry import Registry
from transport.security import Sasl, Security, Tls
from transport.tokens import TOKEN, Given, Tokens, TokenServer
from variables import FILE, Environment

BOOTSTRAP = "BOOTSTRAP_SERVERS"
REGISTRY = "SCHEMA_REGISTRY_"
PROTOCOLS = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")
MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER")

# Each of these may also be given as a file, by a variable with FILE at its end.
BY_TLS = ("SSL_CA", "SSL_CERTIFICATE", "SSL_KEY", "SSL_KEY_PASSWORD")
BY_PASSWORD = ("SASL_USERNAME", "SASL_PASSWORD")
BY_TOKEN = ("SASL_TOKEN",)
BY_TOKEN_SERVER = ("SASL_TOKEN_URL", "SASL_CLIENT_ID", "SASL_CLIENT_SECRET", "SASL_SCOPE")
BY_BASIC = ("USERNAME", "PASSWORD")
TRIMMED = ("SASL_USERNAME", "SASL_PASSWORD", "SSL_KEY_PASSWORD")
BY_SASL = ("SASL_MECHANISM", *BY_PASSWORD, *BY_TOKEN, *BY_TOKEN_SERVER)

_ADDRESS = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):([0-9]{1,5})")
_SERVER = r"https?://(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::([0-9]{1,5}))?"
_URL = re.compile(_SERVER + r"(?:/[!-~]*)?")
_REGISTRY_URL = re.compile(_SERVER + r"(?:/[A-Za-z0-9._~%/-]*)?")  # paths are put behind it, so it ends with one
_HOST = re.compile(r"(?=.{1,253}$)[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*\.?")
_SCOPE = re.compile(r"[!-~]+( [!-~]+)*")
_MAX_PORT = 65_535
_CERTIFICATE = "-----BEGIN CERTIFICATE-----"
_KEY = re.compile(r"-----BEGIN ((ENCRYPTED|RSA|EC) )?PRIVATE KEY-----")
_ENCRYPTED = re.compile(r"BEGIN ENCRYPTED|^Proc-Type: 4,ENCRYPTED", re.MULTILINE)


def names_of(prefix: str) -> tuple[str, ...]:
    """The variables of one cluster, without those of its files."""
    return tuple(prefix + name for name in (BOOTSTRAP, "SECURITY_PROTOCOL", *BY_TLS, *BY_SASL))


def read_cluster(env: Environment, name: str, prefix: str) -> Cluster:
    """The settings of one cluster; faults are noted.

    Args:
        name: which of the two it is, for a log.
        prefix: what its variables begin with.
    """
    variable = prefix + BOOTSTRAP
    bootstrap = env.read(variable, _bootstrap, remedy=f"host:port of the {name}'s brokers, comma-separated")
    return Cluster(name, variable, bootstrap, _Reader(env, prefix).security())


def names_of_registry() -> tuple[str, ...]:
    """The variables of the schema registry, without those of its files."""
    return tuple(REGISTRY + name for name in ("URL", *BY_BASIC, *BY_TLS))


def read_registry(env: Environment) -> Registry | None:
    """The settings of the schema registry; None where it has no address, or a fault is noted."""
    return _Reader(env, REGISTRY).registry()


@dataclass(frozen=True, slots=True)
class _Reader:
    env: Environment
    prefix: str

    def registry(self) -> Registry | None:
        if not self._is_set("URL"):
            self._refuse((*BY_BASIC, *BY_TLS), f"{self._name('URL')} is not: give both, or leave it out")
            return None
        urls = self._urls()
        username, password = map(self._text, BY_BASIC)
        for given, there, missing, other in (
            ("USERNAME", username, "PASSWORD", password),
            ("PASSWORD", password, "USERNAME", username),
        ):
            if there is not None and other is None and self._are_good(missing):
                self._note(given, f"is set, and {self._name(missing)} is not: give both, or none")
        if username is not None and ":" in username:
            self._note("USERNAME", "holds a colon, which ends a name in HTTP's basic authentication: give one without")
        if self._are_good("URL") and not any(url.startswith("https:") for url in urls):
            self._refuse(BY_TLS, f"no address in {self._name('URL')} begins with https: give one that does, or leave it out")
        tls = self._tls()
        if tls is None or not self._are_good("URL", *BY_BASIC, *BY_TLS):
            return None
        return Registry(urls, username, _secret(password), tls)

    def _urls(self) -> tuple[str, ...]:
        if "@" in (self.env.text(self._name("URL")) or ""):  # whose password must not be shown
            self._note("URL", f"holds a user: give {self._name('USERNAME')} and {self._name('PASSWORD')} for it")
            return ()
        return self.env.read(self._name("URL"), _registry_urls, default=())

    def security(self) -> Security:
        protocol = self.env.read(self._name("SECURITY_PROTOCOL"), _protocol, default=PROTOCOLS[0])
        if not self.env.are_good(self._name("SECURITY_PROTOCOL")):
            return Security()
        tls = sasl = None
        chosen = f"{self._name('SECURITY_PROTOCOL')}={protocol}"
        if protocol.endswith("SSL"):
            tls = self._tls()
        else:
            self._refuse(BY_TLS, f"{chosen} uses no TLS: give SSL or SASL_SSL, or leave it out")
        if protocol.startswith("SASL"):
            sasl = self._sasl(tls)
        else:
            self._refuse(BY_SASL, f"{chosen} uses no SASL: give SASL_SSL or SASL_PLAINTEXT, or leave it out")
        return Security(tls, sasl)

    def _tls(self) -> Tls | None:
        ca = self._pem("SSL_CA", "certificates")
        certificate = self._pem("SSL_CERTIFICATE", "certificates")
        key = self._pem("SSL_KEY", "a private key")
        password = self._text("SSL_KEY_PASSWORD")
        if not self._are_good(*BY_TLS):
            return None
        for given, there, missing in (
            ("SSL_CERTIFICATE", certificate, ("SSL_KEY", key)),
            ("SSL_KEY", key, ("SSL_CERTIFICATE", certificate)),
            ("SSL_KEY_PASSWORD", password, ("SSL_KEY", key)),
        ):
            if there is not None and missing[1] is None:
                self._note(given, f"is set, and {self._name(missing[0])} is not: give both, or none")
        if key is not None and password is None and _ENCRYPTED.search(key):
            self._note("SSL_KEY", f"holds a key that is encrypted: give {self._name('SSL_KEY_PASSWORD')}")
        tls = Tls(ca, certificate, _secret(key), _secret(password))
        return tls if self._are_good(*BY_TLS) and self._fits(tls) else None

    def _fits(self, tls: Tls) -> bool:
        """Whether TLS can be had by it: what it is made of is there, and is PEM by its looks."""
        try:
            Tls(tls.ca).context()
        except ssl.SSLError:
            self._note("SSL_CA", "holds certificates that cannot be read: give them as PEM")
            return False
        try:
            tls.context()
        except (ssl.SSLError, ValueError) as exc:  # a password that is too long is the second
            if getattr(exc, "reason", None) == "KEY_VALUES_MISMATCH":
                self._note("SSL_KEY", f"is not the key of {self._name('SSL_CERTIFICATE')}: give the two that belong together")
            elif tls.key_password is not None:
                self._note("SSL_KEY_PASSWORD", f"does not open {self._name('SSL_KEY')}, or that cannot be read")
            else:
                self._note("SSL_KEY", f"or {self._name('SSL_CERTIFICATE')} cannot be read: give both as PEM")
            return False
        return True

    def _sasl(self, tls: Tls | None) -> Sasl | None:
        name = self._name("SASL_MECHANISM")
        mechanism = self.env.read(name, _mechanism, remedy=f"one of {', '.join(MECHANISMS)}")
        if not self.env.are_good(name):
            return None
        if mechanism == "OAUTHBEARER":
            self._refuse(BY_PASSWORD, f"{name}={mechanism} takes tokens: leave it out, or choose another mechanism")
            tokens = self._tokens(tls)
            return None if tokens is None else Sasl(mechanism, tokens=tokens)
        self._refuse(BY_TOKEN + BY_TOKEN_SERVER, f"{name}={mechanism} takes no token: leave it out, or choose OAUTHBEARER")
        username = self._needed("SASL_USERNAME", "the user's name")
        password = self._needed("SASL_PASSWORD", "the user's password")
        return Sasl(mechanism, username, _secret(password))

    def _tokens(self, tls: Tls | None) -> Tokens | None:
        by_server = [name for name in BY_TOKEN_SERVER if self._is_set(name)]
        if not by_server:
            return self._given_token()
        self._refuse(BY_TOKEN, f"{self._name(by_server[0])} is set, too: give a token, or a server of tokens")
        url = self._url()
        client_id = self._needed("SASL_CLIENT_ID", "the client's id at the token endpoint")
        client_secret = self._needed("SASL_CLIENT_SECRET", "the client's secret at the token endpoint")
        scope = self.env.read(self._name("SASL_SCOPE"), _scope)
        context = ssl.create_default_context()
        if tls is not None and tls.ca is not None:
            context.load_verify_locations(cadata=tls.ca)
        if not self._are_good(*BY_TOKEN_SERVER):
            return None
        return Tokens(TokenServer(self._name, url, client_id, SecretStr(client_secret), scope, context))

    def _url(self) -> str:
        name = "SASL_TOKEN_URL"
        if "@" in (self.env.text(self._name(name)) or ""):  # whose password must not be shown
            self._note(name, f"holds a user: give {self._name('SASL_CLIENT_ID')} and {self._name('SASL_CLIENT_SECRET')} for it")
            return ""
        return self.env.read(self._name(name), _url, remedy="the address of the token endpoint")

    def _given_token(self) -> Tokens | None:
        text = self._needed("SASL_TOKEN", f"the token, or {self._name('SASL_TOKEN_URL')}")
        if self._are_good("SASL_TOKEN") and not TOKEN.fullmatch(text.strip()):
            self._note("SASL_TOKEN", "holds no token: expected one word of letters, digits and signs")
        if not self._are_good("SASL_TOKEN"):
            return None
        file = self.env.text(self._name("SASL_TOKEN") + FILE)
        if file is None:
            return Tokens(Given(self._name("SASL_TOKEN"), text=SecretStr(text.strip())))
        return Tokens(Given(self._name("SASL_TOKEN") + FILE, file=Path(file)))

    def _name(self, name: str) -> str:
        return self.prefix + name

    def _is_set(self, name: str) -> bool:
        return any(self.env.text(one) is not None for one in (self._name(name), self._name(name) + FILE))

    def _are_good(self, *names: str) -> bool:
        return self.env.are_good(*map(self._name, names))

    def _note(self, name: str, fault: str) -> None:
        self.env.note(self._name(name), f"{self._name(name)} {fault}")

    def _refuse(self, names: tuple[str, ...], why: str) -> None:
        for name in names:
            if self._is_set(name):
                self._note(name, f"is set, and {why}")

    def _text(self, name: str) -> str | None:
        text = self.env.text_or_file(self._name(name), FILE)
        if text is not None and name in TRIMMED and text[0] in " \t\n\v\f\r":
            self._note(name, "begins with white space, which librdkafka leaves off: give one that does not")
        return text

    def _needed(self, name: str, remedy: str) -> str:
        text = self._text(name)
        if text is None and self._are_good(name):
            self._note(name, f"is not set: give {remedy}, in it or in a file that {self._name(name)}{FILE} names")
        return text or ""

    def _pem(self, name: str, what: str) -> str | None:
        text = self._text(name)
        if text is None:
            return None
        is_pem = _KEY.search(text) if name == "SSL_KEY" else _CERTIFICATE in text
        if not is_pem:
            self._note(name, f"holds no PEM of {what}: expected a text with -----BEGIN …")
        return text.encode("ascii", "ignore").decode() + "\n"  # there may be words in it beside the PEM


def _secret(text: str | None) -> SecretStr | None:
    return None if text is None else SecretStr(text)


def _bootstrap(text: str) -> str:
    addresses = [part.strip() for part in text.split(",")]
    for address in addresses:
        match = _ADDRESS.fullmatch(address)
        if match is None or not _is_place(match[1], match[2]):
            raise ValueError(
                f"holds {address!r}, which is no host:port: give e.g. kafka-edge:9092, comma-separated where several"
            )
    return ",".join(addresses)


def _is_place(host: str, port: str) -> bool:
    """Whether a host, of which the outline is right, is a name or an address, and the port one too."""
    if not 0 < int(port) <= _MAX_PORT:
        return False
    if not host.startswith("["):
        return _HOST.fullmatch(host) is not None
    with suppress(ValueError):
        return bool(IPv6Address(host[1:-1]).packed)
    return False


def _scope(text: str) -> str:
    if not _SCOPE.fullmatch(text):
        raise ValueError("is no scope: give words of letters, digits and signs, with a space between two")
    return text


def _protocol(text: str) -> str:
    if text.upper() not in PROTOCOLS:
        raise ValueError(f"is no security protocol: give one of {', '.join(PROTOCOLS)}")
    return text.upper()


def _mechanism(text: str) -> str:
    if text.upper() not in MECHANISMS:
        raise ValueError(f"is no SASL mechanism of this worker: give one of {', '.join(MECHANISMS)}")
    return text.upper()


def _is_url(pattern: re.Pattern[str], text: str) -> bool:
    match = pattern.fullmatch(text)
    return match is not None and _is_place(match[1], match[2] or "443")


def _registry_urls(text: str) -> tuple[str, ...]:
    urls = [part.strip() for part in text.split(",")]
    for url in urls:
        if not _is_url(_REGISTRY_URL, url):
            raise ValueError(
                f"holds {url!r}, which is no address of a schema registry: give e.g. http://registry:8081, comma-separated "
                "where it has several"
            )
    return tuple(url.rstrip("/") for url in urls)


def _url(text: str) -> str:
    if not _is_url(_URL, text):
        raise ValueError("is no address of a token endpoint: give e.g. https://tokens.example/oauth2/token")
    return text
