"""The settings of two Kafkas become clusters, or a list of everything that is wrong with them; their secrets do not show."""

from __future__ import annotations

import ssl
import time
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from pathlib import Path

import pytest
from pydantic import SecretStr

from clusters import BY_SASL, BY_TLS
from config import Settings
from protocol.errors import AccessError, SettingsError
from tests.support.certificates import Authority, encrypted
from tests.support.environments import job
from transport.clients import librdkafka_admin_config, librdkafka_config, librdkafka_producer_config
from transport.security import Security
from transport.tokens import UNKNOWN_LIFETIME_S, Given

PASSWORD = "hunter-2-and-more"  # noqa: S105 - a test's
AUTHORITY = Authority()
CERTIFICATE, KEY = AUTHORITY.issue("edge.example", common_name="edge")
USER = {
    "DATA_SECURITY_PROTOCOL": "SASL_PLAINTEXT",
    "DATA_SASL_MECHANISM": "PLAIN",
    "DATA_SASL_USERNAME": "edge",
    "DATA_SASL_PASSWORD": PASSWORD,
}
TOKENS = {"DATA_SECURITY_PROTOCOL": "SASL_PLAINTEXT", "DATA_SASL_MECHANISM": "OAUTHBEARER"}
SERVER = TOKENS | {
    "DATA_SASL_TOKEN_URL": "https://tokens.example/token",
    "DATA_SASL_CLIENT_ID": "edge",
    "DATA_SASL_CLIENT_SECRET": PASSWORD,
}
TLS = {"DATA_SECURITY_PROTOCOL": "SSL", "DATA_SSL_CA": AUTHORITY.certificate}
MUTUAL = TLS | {"DATA_SSL_CERTIFICATE": CERTIFICATE, "DATA_SSL_KEY": KEY}


def settings(*changes: dict[str, str]) -> Settings:
    return Settings.from_env(job(**{name: value for one in changes for name, value in one.items()}))


def faults(*changes: Mapping[str, str | None]) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        Settings.from_env(job(**{name: value for one in changes for name, value in one.items()}))
    return list(caught.value.faults)


def test_without_more_settings_both_are_spoken_to_as_before() -> None:
    both = settings()
    assert both.cloud.security == both.data.security == Security()
    assert librdkafka_config(both.cloud, "g", 5)["security.protocol"] == "PLAINTEXT"


@pytest.mark.parametrize("absent", ["", "None"])
def test_what_is_left_empty_is_not_set(absent: str) -> None:
    names = (*BY_TLS, *BY_SASL, "SECURITY_PROTOCOL")
    assert settings({f"DATA_{name}{end}": absent for name in names for end in ("", "_FILE")}).data.security == Security()


def test_a_password_is_taken_as_it_is() -> None:
    assert librdkafka_config(settings(USER, {"DATA_SASL_PASSWORD": "a b "}).data, "g", 5)["sasl.password"] == "a b "


def test_the_two_clusters_have_nothing_of_one_another() -> None:
    both = settings(USER, {"KML_CLOUD_SECURITY_PROTOCOL": "SSL", "KML_CLOUD_SSL_CA": AUTHORITY.certificate})
    assert (str(both.cloud.security), str(both.data.security)) == ("SSL", "SASL_PLAINTEXT/PLAIN")
    assert "cloud=SSL edge=SASL_PLAINTEXT/PLAIN" in both.summary()
    cloud, edge = (librdkafka_config(one, "g", 5) for one in (both.cloud, both.data))
    assert cloud["ssl.ca.pem"] == AUTHORITY.certificate
    assert not {"sasl.mechanism", "sasl.username", "sasl.password"} & cloud.keys()
    assert not {"ssl.ca.pem", "ssl.key.pem"} & edge.keys()


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "scram-sha-512"])
def test_a_user_and_a_password_reach_all_clients(mechanism: str) -> None:
    edge = settings(USER, {"DATA_SASL_MECHANISM": mechanism}).data
    for config in (librdkafka_config(edge, "g", 5), librdkafka_producer_config(edge, "g"), librdkafka_admin_config(edge, "g")):
        told = {name: config[name] for name in ("security.protocol", "sasl.mechanism", "sasl.username", "sasl.password")}
        assert list(told.values()) == ["SASL_PLAINTEXT", mechanism.upper(), "edge", PASSWORD]


def test_a_secret_may_be_a_file_and_its_last_line_end_is_none_of_it(tmp_path: Path) -> None:
    for name, text in {"password": f"{PASSWORD}\n", "ca": f"Autoridad de certificación\n{AUTHORITY.certificate}"}.items():
        (tmp_path / name).write_text(text)
    files = {"DATA_SASL_PASSWORD_FILE": str(tmp_path / "password"), "DATA_SSL_CA_FILE": str(tmp_path / "ca")}
    user = {name: value for name, value in USER.items() if name != "DATA_SASL_PASSWORD"}
    config = librdkafka_config(settings(user, files, {"DATA_SECURITY_PROTOCOL": "SASL_SSL"}).data, "g", 5)
    assert (config["security.protocol"], config["sasl.password"]) == ("SASL_SSL", PASSWORD)
    assert config["ssl.ca.pem"].endswith(AUTHORITY.certificate)


def test_a_client_certificate_reaches_clients_and_the_look_at_a_listener() -> None:
    edge = settings(MUTUAL).data
    config = librdkafka_config(edge, "g", 5)
    assert (config["ssl.certificate.pem"], config["ssl.key.pem"]) == (CERTIFICATE, KEY)
    assert edge.security.tls is not None
    context = edge.security.tls.context()
    assert (context.check_hostname, context.verify_mode) == (True, ssl.CERT_REQUIRED)
    [trusted] = context.get_ca_certs()
    assert tuple(part for part in trusted["subject"] if part[0][0] == "organizationName") == ((("organizationName", "test"),),)


def test_a_key_may_have_a_password() -> None:
    edge = settings(MUTUAL, {"DATA_SSL_KEY": encrypted(KEY, PASSWORD), "DATA_SSL_KEY_PASSWORD": PASSWORD}).data
    assert librdkafka_config(edge, "g", 5)["ssl.key.password"] == PASSWORD


@pytest.mark.parametrize("variables", [USER, MUTUAL, SERVER, TOKENS | {"DATA_SASL_TOKEN": PASSWORD}])
def test_no_secret_stands_in_a_repr(variables: dict[str, str]) -> None:
    both = settings(variables)
    for shown in (repr(both), str(both), repr(both.data), f"{both.data}", both.summary(), repr(both.data.security)):
        assert PASSWORD not in shown
        assert KEY.splitlines()[1] not in shown


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        (
            {"DATA_SECURITY_PROTOCOL": "TLS"},
            "DATA_SECURITY_PROTOCOL='TLS' is no security protocol: give one of PLAINTEXT, SSL, SASL_PLAINTEXT, SASL_SSL",
        ),
        (
            {"DATA_SECURITY_PROTOCOL": "SASL_SSL"},
            "DATA_SASL_MECHANISM is not set: give one of PLAIN, SCRAM-SHA-256, SCRAM-SHA-512, OAUTHBEARER",
        ),
        (
            USER | {"DATA_SASL_MECHANISM": "GSSAPI"},
            "DATA_SASL_MECHANISM='GSSAPI' is no SASL mechanism of this worker: "
            "give one of PLAIN, SCRAM-SHA-256, SCRAM-SHA-512, OAUTHBEARER",
        ),
        (
            USER | {"DATA_SASL_PASSWORD": None},
            "DATA_SASL_PASSWORD is not set: give the user's password, in it or in a file that DATA_SASL_PASSWORD_FILE names",
        ),
        (
            USER | {"DATA_SASL_USERNAME": None},
            "DATA_SASL_USERNAME is not set: give the user's name, in it or in a file that DATA_SASL_USERNAME_FILE names",
        ),
        (
            USER | {"DATA_SASL_PASSWORD_FILE": "/secrets/password"},
            "DATA_SASL_PASSWORD is set, and DATA_SASL_PASSWORD_FILE too: give one of the two",
        ),
        (
            USER | {"DATA_SASL_PASSWORD": None, "DATA_SASL_PASSWORD_FILE": "/no/such/file"},
            "DATA_SASL_PASSWORD_FILE='/no/such/file' cannot be read (No such file or directory): "
            "mount a file there that this process may read",
        ),
        (
            USER | {"DATA_SASL_PASSWORD": None, "DATA_SASL_PASSWORD_FILE": "/dev/null"},
            "DATA_SASL_PASSWORD_FILE='/dev/null' is empty: expected what DATA_SASL_PASSWORD would hold",
        ),
        (
            USER | {"DATA_SASL_PASSWORD": None, "DATA_SASL_PASSWORD_FILE": PASSWORD},
            "DATA_SASL_PASSWORD_FILE, which is to hold the path of a file, cannot be read (No such file or directory): "
            "mount a file there that this process may read",
        ),
        (
            MUTUAL | {"DATA_SSL_KEY": None, "DATA_SSL_KEY_FILE": KEY * 20},
            "DATA_SSL_KEY_FILE, which is to hold the path of a file, cannot be read (File name too long): "
            "mount a file there that this process may read",
        ),
        (
            USER | {"DATA_SASL_PASSWORD_FILE": "/dev/zero", "DATA_SASL_PASSWORD": None},
            "DATA_SASL_PASSWORD_FILE='/dev/zero' has more than 1048576 bytes: expected what DATA_SASL_PASSWORD would hold",
        ),
        (
            USER | {"DATA_SASL_PASSWORD": f"{PASSWORD}\udcff"},
            "DATA_SASL_PASSWORD holds a byte of 0, or bytes that are no UTF-8: expected a text",
        ),
        *(
            (given, f"DATA_{name} begins with white space, which librdkafka leaves off: give one that does not")
            for given, name in (
                (USER | {"DATA_SASL_PASSWORD": f" {PASSWORD}"}, "SASL_PASSWORD"),
                (USER | {"DATA_SASL_USERNAME": "\tedge"}, "SASL_USERNAME"),
                (MUTUAL | {"DATA_SSL_KEY": encrypted(KEY, " a"), "DATA_SSL_KEY_PASSWORD": " a"}, "SSL_KEY_PASSWORD"),
            )
        ),
        (
            TOKENS | {"DATA_SASL_TOKEN": f"Bearer {PASSWORD}"},
            "DATA_SASL_TOKEN holds no token: expected one word of letters, digits and signs",
        ),
        (
            SERVER | {"DATA_SASL_SCOPE": "kafka  read"},
            "DATA_SASL_SCOPE='kafka  read' is no scope: give words of letters, digits and signs, with a space between two",
        ),
        (
            MUTUAL | {"DATA_SSL_KEY": encrypted(KEY, PASSWORD), "DATA_SSL_KEY_PASSWORD": "long" * 1_000},
            "DATA_SSL_KEY_PASSWORD does not open DATA_SSL_KEY, or that cannot be read",
        ),
        (
            USER | {"DATA_SASL_TOKEN": PASSWORD},
            "DATA_SASL_TOKEN is set, and DATA_SASL_MECHANISM=PLAIN takes no token: leave it out, or choose OAUTHBEARER",
        ),
        (
            SERVER | {"DATA_SASL_PASSWORD": PASSWORD},
            "DATA_SASL_PASSWORD is set, and DATA_SASL_MECHANISM=OAUTHBEARER takes tokens: "
            "leave it out, or choose another mechanism",
        ),
        (
            TOKENS,
            "DATA_SASL_TOKEN is not set: give the token, or DATA_SASL_TOKEN_URL, in it or in a file that "
            "DATA_SASL_TOKEN_FILE names",
        ),
        (
            SERVER | {"DATA_SASL_TOKEN": PASSWORD},
            "DATA_SASL_TOKEN is set, and DATA_SASL_TOKEN_URL is set, too: give a token, or a server of tokens",
        ),
        (
            SERVER | {"DATA_SASL_TOKEN_URL": "file:///etc/passwd"},
            "DATA_SASL_TOKEN_URL='file:///etc/passwd' is no address of a token endpoint: "
            "give e.g. https://tokens.example/oauth2/token",
        ),
        (
            SERVER | {"DATA_SASL_TOKEN_URL": f"https://edge:{PASSWORD}@tokens.example/token"},
            "DATA_SASL_TOKEN_URL holds a user: give DATA_SASL_CLIENT_ID and DATA_SASL_CLIENT_SECRET for it",
        ),
        (
            SERVER | {"DATA_SASL_CLIENT_SECRET": None},
            "DATA_SASL_CLIENT_SECRET is not set: give the client's secret at the token endpoint, in it or in a file that "
            "DATA_SASL_CLIENT_SECRET_FILE names",
        ),
        (
            {"DATA_SSL_CA": AUTHORITY.certificate},
            "DATA_SSL_CA is set, and DATA_SECURITY_PROTOCOL=PLAINTEXT uses no TLS: give SSL or SASL_SSL, or leave it out",
        ),
        (
            {"DATA_SECURITY_PROTOCOL": "SSL", "DATA_SASL_PASSWORD_FILE": "/secrets/password"},
            "DATA_SASL_PASSWORD is set, and DATA_SECURITY_PROTOCOL=SSL uses no SASL: "
            "give SASL_SSL or SASL_PLAINTEXT, or leave it out",
        ),
        (TLS | {"DATA_SSL_CA": PASSWORD}, "DATA_SSL_CA holds no PEM of certificates: expected a text with -----BEGIN …"),
        (
            TLS | {"DATA_SSL_CA": AUTHORITY.certificate[:200]},
            "DATA_SSL_CA holds certificates that cannot be read: give them as PEM",
        ),
        (
            MUTUAL | {"DATA_SSL_KEY": CERTIFICATE},
            "DATA_SSL_KEY holds no PEM of a private key: expected a text with -----BEGIN …",
        ),
        (
            MUTUAL | {"DATA_SSL_KEY": None},
            "DATA_SSL_CERTIFICATE is set, and DATA_SSL_KEY is not: give both, or none",
        ),
        (
            MUTUAL | {"DATA_SSL_CERTIFICATE": None},
            "DATA_SSL_KEY is set, and DATA_SSL_CERTIFICATE is not: give both, or none",
        ),
        (
            TLS | {"DATA_SSL_KEY_PASSWORD": PASSWORD},
            "DATA_SSL_KEY_PASSWORD is set, and DATA_SSL_KEY is not: give both, or none",
        ),
        (
            MUTUAL | {"DATA_SSL_KEY": AUTHORITY.issue("other.example")[1]},
            "DATA_SSL_KEY is not the key of DATA_SSL_CERTIFICATE: give the two that belong together",
        ),
        (
            MUTUAL | {"DATA_SSL_KEY": encrypted(KEY, PASSWORD)},
            "DATA_SSL_KEY holds a key that is encrypted: give DATA_SSL_KEY_PASSWORD",
        ),
        (
            MUTUAL | {"DATA_SSL_KEY": encrypted(KEY, PASSWORD), "DATA_SSL_KEY_PASSWORD": "another"},
            "DATA_SSL_KEY_PASSWORD does not open DATA_SSL_KEY, or that cannot be read",
        ),
        (
            MUTUAL | {"DATA_SSL_KEY": "-----BEGIN PRIVATE KEY-----\nno\n-----END PRIVATE KEY-----\n"},
            "DATA_SSL_KEY or DATA_SSL_CERTIFICATE cannot be read: give both as PEM",
        ),
    ],
)
def test_what_contradicts_or_is_not_there_is_named_with_its_remedy(changes: dict[str, str | None], fault: str) -> None:
    assert faults(changes) == [fault]


@pytest.mark.parametrize("address", ["a..b", ".", "[::::]", "[1.2.3.4]", f"{'x' * 64}.example", ".".join(["x" * 60] * 5)])
def test_a_name_that_no_machine_can_have_is_no_address(address: str) -> None:
    for name, text, what in (
        ("DATA_BOOTSTRAP_SERVERS", f"{address}:9092", "no host:port"),
        ("DATA_SASL_TOKEN_URL", f"https://{address}/token", "no address of a token endpoint"),
    ):
        [fault] = faults(SERVER, {name: text})
        assert fault.startswith(f"{name}=")
        assert what in fault


@pytest.mark.parametrize(
    "url", ["http://[::1]:8080/a?b=c", "https://tokens.example.", "http://127.0.0.1:65535", "https://a_b/~"]
)
def test_addresses_of_token_endpoints_are_taken(url: str) -> None:
    settings(SERVER, {"DATA_SASL_TOKEN_URL": url})


@pytest.mark.parametrize("url", ["http://a:0/", "http://a:65536/", "ftp://a/", "https://a/ b"])
def test_what_is_no_address_of_a_token_endpoint_is_named(url: str) -> None:
    [fault] = faults(SERVER, {"DATA_SASL_TOKEN_URL": url})
    assert fault.startswith(f"DATA_SASL_TOKEN_URL={url!r} is no address of a token endpoint: ")


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"\xff\xfe\x00", "cannot be read (it is no text): mount a file there that this process may read"),
        (b"hunter\x002", "holds a byte of 0, or bytes that are no UTF-8: expected a text"),
    ],
)
def test_a_file_of_bytes_is_no_secret(content: bytes, fault: str, tmp_path: Path) -> None:
    (tmp_path / "password").write_bytes(content)
    named = {"DATA_SASL_PASSWORD": None, "DATA_SASL_PASSWORD_FILE": str(tmp_path / "password")}
    assert faults(USER, named) == [f"DATA_SASL_PASSWORD_FILE='{tmp_path}/password' {fault}"]


@pytest.mark.parametrize("content", ["\ufeffpä ss\r\n", "pä ss\n\n", "pä ss"])
def test_what_editors_put_around_a_secret_is_none_of_it(content: str, tmp_path: Path) -> None:
    (tmp_path / "password").write_bytes(content.encode())
    named = {"DATA_SASL_PASSWORD": None, "DATA_SASL_PASSWORD_FILE": str(tmp_path / "password")}
    edge = Settings.from_env(job(**(USER | named))).data
    assert librdkafka_config(edge, "g", 5)["sasl.password"] == "pä ss"


def test_the_faults_of_both_clusters_are_told_with_all_others_and_show_no_secret() -> None:
    wrong = {"KML_CLOUD_SECURITY_PROTOCOL": "SASL_SSL", "KML_CLOUD_SASL_MECHANISM": "PLAIN", "KML_CLOUD_SSL_KEY": KEY}
    found = faults(wrong, MUTUAL, {"DATA_SASL_PASSWORD": PASSWORD, "DATA_SSL_KEY_PASSWORD": "", "TOTAL_MSG": None})
    assert [fault.split(" ", 1)[0] for fault in found] == [
        "KML_CLOUD_SSL_KEY",
        "KML_CLOUD_SASL_USERNAME",
        "KML_CLOUD_SASL_PASSWORD",
        "DATA_SASL_PASSWORD",
        "TOTAL_MSG",
    ]
    assert not any(PASSWORD in fault or KEY.splitlines()[1] in fault for fault in found)


def test_a_token_in_a_file_is_read_anew(tmp_path: Path) -> None:
    file = tmp_path / "token"
    given = Given("DATA_SASL_TOKEN_FILE", file=file)
    file.write_text("one\n")
    first = given()
    file.write_text("two\n")
    assert (first.text.get_secret_value(), given().text.get_secret_value()) == ("one", "two")
    assert first.until == pytest.approx(time.time() + UNKNOWN_LIFETIME_S, abs=60)
    file.unlink()
    with pytest.raises(AccessError, match=rf"^DATA_SASL_TOKEN_FILE={file} cannot be read .*: mount the token there$"):
        given()


def token_with(claims: str) -> SecretStr:
    return SecretStr(f"e30.{urlsafe_b64encode(claims.encode()).decode().rstrip('=')}.c2ln")


@pytest.mark.parametrize("claims", ["{}", "[]", '{"exp": NaN}', '{"exp": "soon"}', f'{{"exp": {"9" * 400}}}', "[" * 100_000])
def test_a_token_that_does_not_say_when_it_ends_is_taken_for_some_time(claims: str) -> None:
    token = Given("DATA_SASL_TOKEN", text=token_with(claims))()
    assert token.until == pytest.approx(time.time() + UNKNOWN_LIFETIME_S, abs=60)


@pytest.mark.parametrize("end", ["1e999", "1e300", "99999999999"])
def test_a_token_that_is_good_for_ever_is_asked_for_anew_once_a_day(end: str) -> None:
    token = Given("DATA_SASL_TOKEN", text=token_with(f'{{"exp": {end}}}'))()
    assert token.until == pytest.approx(time.time() + 86_400, abs=60)


@pytest.mark.parametrize(("end", "told"), [("-1e300", "1970-01-01T00:00:00Z"), ("86400", "1970-01-02T00:00:00Z")])
def test_a_token_that_has_ended_is_told_with_its_end(end: str, told: str) -> None:
    with pytest.raises(AccessError, match=rf"^the token in DATA_SASL_TOKEN is good until {told} alone, and that has passed"):
        Given("DATA_SASL_TOKEN", text=token_with(f'{{"exp": {end}}}'))()


@pytest.mark.parametrize("content", ["", "two words", "na\u00efve", "a\x01b"])
def test_a_file_that_holds_no_token_any_more_is_named(content: str, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(content)
    with pytest.raises(AccessError, match=r"^DATA_SASL_TOKEN_FILE=.*/token holds no token: expected one word of letters, "):
        Given("DATA_SASL_TOKEN_FILE", file=tmp_path / "token")()
