"""The audit of pinned packages, by a real pip-audit that asks an index of advisories on this machine."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from demo.broker import LOOPBACK
from tests.audit import audit, judge
from tests.support.web_server import serving

ADVISORY = {
    "id": "PYSEC-2026-1",
    "affected": [
        {
            "package": {"name": "broken", "ecosystem": "PyPI"},
            "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "2.1"}]}],
        }
    ],
}


class Advisories(BaseHTTPRequestHandler):
    """Speaks as osv.dev does: it knows one fault of one package."""

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        answer = json.dumps({"vulns": [ADVISORY]} if asked["package"]["name"] == "broken" else {}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the server's name for it
        """Tell a person nothing."""


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The options by which pip-audit asks an index of this test."""
    monkeypatch.setenv("NO_PROXY", LOOPBACK)
    with serving(ThreadingHTTPServer((LOOPBACK, 0), Advisories)) as address:
        yield ["--vulnerability-service", "osv", "--osv-url", f"{address}/v1/query", "--cache-dir", str(tmp_path / "cache")]


def pins(folder: Path, *lines: str) -> Path:
    file = folder / "pins.txt"
    file.write_text("\n".join(lines))
    return file


def test_a_pinned_package_with_a_known_vulnerability_fails_the_audit(index: list[str], tmp_path: Path) -> None:
    status, text = audit(index, pins(tmp_path, "broken==2.0", "sound==1.0"))
    assert status == 1
    assert text.startswith("broken 2.0: PYSEC-2026-1, mended in 2.1\n")
    assert audit([*index, "--ignore-vuln", "PYSEC-2026-1"], pins(tmp_path, "broken==2.0"))[0] == 0


def test_packages_without_a_known_vulnerability_pass_the_audit(index: list[str], tmp_path: Path) -> None:
    told = (0, "audit: 2 pinned packages, none with a known vulnerability")
    assert audit(index, pins(tmp_path, "sound==1.0", "other==1.0")) == told


def test_an_index_that_cannot_be_reached_is_told_and_fails_nothing(
    index: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = [option.replace("127.0.0.1", "127.0.0.2") for option in index]  # where nobody listens
    monkeypatch.setenv("NO_PROXY", "127.0.0.2")
    status, text = audit(closed, pins(tmp_path, "sound==1.0"))
    assert (status, text[:66]) == (0, "audit skipped: no index of advisories can be reached (requests.exc")


def test_an_index_that_knows_none_of_the_packages_is_told() -> None:
    # What pip-audit tells of a mirror that has packages alone.
    unknown = [{"name": name, "skip_reason": f"Dependency not found on PyPI: {name} (1.0)"} for name in ("one", "other")]
    assert judge(unknown) == (0, "audit skipped: the index that answers here has no advisories on any of the 2 pinned packages")
    told = (0, "audit: 1 pinned packages, none with a known vulnerability; the index does not know one, other")
    assert judge([*unknown, {"name": "sound", "version": "1.0", "vulns": []}]) == told
