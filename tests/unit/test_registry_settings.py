"""The settings of a schema registry become its address and how to get in, or what is wrong with them; secrets do not show."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

import pytest

from checking.checks import settings as look_at_settings
from checking.desk import Desk
from checking.findings import notice
from config import Settings
from protocol.errors import SettingsError
from tests.support.certificates import Authority
from tests.support.environments import job
from transport.registry import Registry
from variables import Environment

ROOT = Path(__file__).parents[2]
PASSWORD = "hunter-2-and-more"  # noqa: S105 - a test's
AUTHORITY = Authority()
CERTIFICATE, KEY = AUTHORITY.issue("edge.example", common_name="edge")
CONFLUENT = {"INPUT_FORMAT": "AVRO", "INPUT_CONFIG": json.dumps({"wire_format": "confluent"})}
URL = {"SCHEMA_REGISTRY_URL": "https://registry.example/apis/ccompat/v7/"}
USER = {"SCHEMA_REGISTRY_USERNAME": "edge", "SCHEMA_REGISTRY_PASSWORD": PASSWORD}
TLS = {"SCHEMA_REGISTRY_SSL_CA": AUTHORITY.certificate}
MUTUAL = TLS | {"SCHEMA_REGISTRY_SSL_CERTIFICATE": CERTIFICATE, "SCHEMA_REGISTRY_SSL_KEY": KEY}
EXAMPLE = "give e.g. http://registry:8081, comma-separated where it has several"


def registry(*changes: Mapping[str, str]) -> Registry:
    found = Settings.from_env(job(**{name: value for one in (CONFLUENT, *changes) for name, value in one.items()})).registry
    assert found is not None
    return found


def faults(*changes: Mapping[str, str]) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        registry(*changes)
    return list(caught.value.faults)


def test_without_an_address_there_is_none() -> None:
    assert Settings.from_env(job()).registry is None


def test_an_address_may_have_a_path_and_an_end_of_a_slash() -> None:
    assert registry(URL).urls == ("https://registry.example/apis/ccompat/v7",)


def test_there_may_be_several_addresses() -> None:
    assert registry({"SCHEMA_REGISTRY_URL": "http://a:8081, http://[::1]:8081/"}).urls == ("http://a:8081", "http://[::1]:8081")


def test_who_gets_in_by_password_certificate_or_both() -> None:
    found = registry(URL, USER, MUTUAL)
    assert (found.username, found.password and found.password.get_secret_value()) == ("edge", PASSWORD)
    assert (found.tls.ca, found.tls.certificate) == (AUTHORITY.certificate, CERTIFICATE)


def test_secrets_may_come_from_files(tmp_path: Path) -> None:
    for name, value in (USER | MUTUAL).items():
        (tmp_path / name).write_text(f"{value}\n")
    assert registry(URL, {f"{name}_FILE": str(tmp_path / name) for name in USER | MUTUAL}) == registry(URL, USER, MUTUAL)


def test_secrets_do_not_show() -> None:
    found = Settings.from_env(job(**CONFLUENT, **URL, **USER, **MUTUAL))
    for told in (repr(found), str(found.registry), found.summary()):
        assert PASSWORD not in told
        assert "BEGIN" not in told
    assert "registry=https://registry.example/apis/ccompat/v7" in found.summary()


def test_records_that_name_schemas_need_an_address() -> None:
    assert faults() == [
        'SCHEMA_REGISTRY_URL is not set, and INPUT_CONFIG says "wire_format": "confluent": give the address of the schema '
        "registry, e.g. http://registry:8081"
    ]


@pytest.mark.parametrize(
    "url", ["registry:8081", "ftp://a", "http://", "http://a:99999", "http://a?b=c", "http://a,", "http://a b"]
)
def test_what_is_no_address(url: str) -> None:
    wrong = url.rsplit(",", maxsplit=1)[-1]
    told = f"SCHEMA_REGISTRY_URL={url!r} holds {wrong!r}, which is no address of a schema registry: {EXAMPLE}"
    assert faults({"SCHEMA_REGISTRY_URL": url}) == [told]


def test_a_user_in_an_address_is_not_shown() -> None:
    assert faults({"SCHEMA_REGISTRY_URL": f"http://edge:{PASSWORD}@registry:8081"}) == [
        "SCHEMA_REGISTRY_URL holds a user: give SCHEMA_REGISTRY_USERNAME and SCHEMA_REGISTRY_PASSWORD for it"
    ]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        (
            {"SCHEMA_REGISTRY_USERNAME": "a"},
            "SCHEMA_REGISTRY_USERNAME is set, and SCHEMA_REGISTRY_PASSWORD is not: give both, or none",
        ),
        (
            {"SCHEMA_REGISTRY_PASSWORD": "a"},
            "SCHEMA_REGISTRY_PASSWORD is set, and SCHEMA_REGISTRY_USERNAME is not: give both, or none",
        ),
        (
            USER | {"SCHEMA_REGISTRY_USERNAME": "a:b"},
            "SCHEMA_REGISTRY_USERNAME holds a colon, which ends a name in HTTP's basic authentication: give one without",
        ),
        (
            {"SCHEMA_REGISTRY_SSL_CERTIFICATE": CERTIFICATE},
            "SCHEMA_REGISTRY_SSL_CERTIFICATE is set, and SCHEMA_REGISTRY_SSL_KEY is not: give both, or none",
        ),
        (
            TLS | {"SCHEMA_REGISTRY_URL": "http://registry:8081"},
            "SCHEMA_REGISTRY_SSL_CA is set, and no address in SCHEMA_REGISTRY_URL begins with https: give one that does, or leave it out",
        ),
    ],
)
def test_what_does_not_go_together(changes: dict[str, str], told: str) -> None:
    assert faults(URL, changes) == [told]


def test_what_is_of_a_registry_without_an_address() -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.from_env(job(**USER))
    assert list(caught.value.faults) == [
        f"{name} is set, and SCHEMA_REGISTRY_URL is not: give both, or leave it out" for name in USER
    ]


def test_a_package_that_is_not_there_is_a_fault_that_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [str(tmp_path)])  # where nothing is installed
    remedy = "python -m pip install -r requirements-registry.txt, or unset it"
    assert faults(URL) == [
        f"SCHEMA_REGISTRY_URL is set, and the package {package} is not there: {remedy}" for package in ("authlib", "httpx2")
    ]


def test_check_tells_of_an_address_that_nothing_is_asked_at() -> None:
    env = Environment(job(**URL))
    with ExitStack() as stack:
        found = list(look_at_settings(Desk(env, Settings.read(env), stack)))
    assert found[1:] == [
        notice(
            'SCHEMA_REGISTRY_URL is set, and not asked: records name its schemas with INPUT_FORMAT=AVRO and "wire_format": '
            '"confluent" in INPUT_CONFIG'
        )
    ]


@pytest.mark.parametrize(("environ", "is_loaded"), [({}, False), (URL, False), (URL | CONFLUENT, True)])
def test_the_client_is_loaded_where_it_is_asked_for_alone(environ: dict[str, str], is_loaded: bool) -> None:  # noqa: FBT001 - a case
    program = "import sys; from config import Settings; Settings.from_env().decoder(); print('httpx2' in sys.modules)"
    done = subprocess.run(  # noqa: S603 - ours
        [sys.executable, "-c", program], cwd=ROOT, env=job(**environ), check=True, capture_output=True, text=True
    )
    assert done.stdout == f"{is_loaded}\n"
