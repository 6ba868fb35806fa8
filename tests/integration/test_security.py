"""A Kafka that lets in whom it knows: each way in works, each fault is told at once, and what is not allowed as well."""

from __future__ import annotations

import base64
import contextlib
import itertools
import secrets
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

import transport.probe
from clusters import read_cluster
from demo.device import Device
from demo.errors import PeerError
from FederatedKafkaMLAggregationSink import FederatedKafkaMLAggregationSink
from protocol.errors import AccessError, KafkaError, WorkerError
from protocol.stream_spec import OffsetRange
from protocol.topics import Federation as Names
from tests.integration.conftest import Federation, announced
from tests.support.certificates import Authority, encrypted
from tests.support.fake_kafka import FakeKafka, FakeReader, FakeSender, FakeTopics
from tests.support.patience import eventually
from tests.support.secure_kafka import PASSWORDS, SecureKafka
from tests.support.token_server import TokenServer, token_server
from transport.admin import Admin
from transport.clients import Cluster
from transport.control import ControlTopic
from transport.interfaces import LogReader, Sender, Topics
from transport.probe import probe
from transport.reader import Reader
from transport.security import Security
from transport.tokens import Tokens
from transport.tokens import TokenServer as Source
from transport.writer import Transactions, Writer
from variables import Environment

LIMIT_S = 600.0  # longer than a test may last: whoever waits for it fails
USER = "edge-user"
KEY_PASSWORD = "opens-the-key"  # noqa: S105 - a test's


def cluster(kafka: SecureKafka, listener: str, **variables: str) -> Cluster:
    """A cluster as the settings make it, of the variables that come with its prefix."""
    environ = {f"DATA_{name}": text for name, text in variables.items()}
    env = Environment({"DATA_BOOTSTRAP_SERVERS": kafka.broker.addresses[listener]} | environ)
    made = read_cluster(env, "edge", "DATA_")
    assert env.faults == []
    return made


def user(mechanism: str = "SCRAM-SHA-256", name: str = USER, password: str = PASSWORDS[USER]) -> dict[str, str]:
    return {"SASL_MECHANISM": mechanism, "SASL_USERNAME": name, "SASL_PASSWORD": password}


def encrypting(kafka: SecureKafka, protocol: str = "SASL_SSL") -> dict[str, str]:
    return {"SECURITY_PROTOCOL": protocol, "SSL_CA": kafka.authority.certificate}


@pytest.fixture
def topic() -> str:
    """A name of which nobody may do anything yet."""
    return f"guarded-{secrets.token_hex(4)}"


@pytest.fixture
def allowed(secure: SecureKafka, topic: str) -> str:
    """The same, with which edge-user may do whatever the worker does, and with a group of the same name."""
    secure.allow(USER, "TOPIC", topic, "READ", "WRITE", "CREATE", "DESCRIBE_CONFIGS", "ALTER_CONFIGS")
    secure.allow(USER, "GROUP", topic, "READ")
    return topic


def travel(edge: Cluster, topic: str) -> None:
    """Make a topic, write to it, read it, and commit: everything that the worker does with a Kafka."""

    def send() -> list[int]:
        with Writer(edge, topic, 20) as writer:
            try:
                return writer.send(topic, [(b"k", bytes(1_500_000))])
            except KafkaError:  # a broker takes a moment to know of a limit that was raised
                return []

    with Admin(edge, topic, 20) as admin, Reader(edge, topic, 20) as reader:
        admin.ensure_topic(topic, 50_000)
        admin.ensure_topic(topic, 2_000_000)
        eventually(send, [0])
        [record] = itertools.chain.from_iterable(reader.read(OffsetRange(topic, 0, 0, 1)))
        assert record.value() == bytes(1_500_000)
        reader.follow({(topic, 0): 0})
        assert any(reader.poll()[0] for _ in range(20))
        reader.commit(topic, 0, 1, "m")
        assert reader.committed(topic, 0) == (1, "m")


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])
def test_a_user_with_a_password_reads_and_writes(secure: SecureKafka, allowed: str, mechanism: str) -> None:
    travel(cluster(secure, "SASLTLS", **user(mechanism), **encrypting(secure)), allowed)


def test_without_encryption_as_well(secure: SecureKafka, allowed: str) -> None:
    travel(cluster(secure, "SASL", SECURITY_PROTOCOL="SASL_PLAINTEXT", **user()), allowed)


def test_the_owner_of_a_token_in_a_file_reads_and_writes(secure: SecureKafka, allowed: str, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(secure.tokens.token(USER))
    bearer = {"SASL_MECHANISM": "OAUTHBEARER", "SASL_TOKEN_FILE": str(file)}
    travel(cluster(secure, "SASLTLS", **bearer, **encrypting(secure)), allowed)


def test_a_client_of_a_token_server_reads_and_writes(secure: SecureKafka, allowed: str) -> None:
    with token_server() as server:
        server.answer = {"access_token": secure.tokens.token(USER), "expires_in": 600}
        travel(cluster(secure, "SASLTLS", **of(server), **encrypting(secure)), allowed)
        assert len(server.asked) == 1  # one token serves all


def test_a_client_without_a_certificate_reads_and_writes_over_tls(secure: SecureKafka, topic: str) -> None:
    travel(cluster(secure, "TLS", **encrypting(secure, "SSL")), topic)


@pytest.mark.parametrize("password", ["", KEY_PASSWORD])
def test_the_owner_of_a_certificate_reads_and_writes(secure: SecureKafka, allowed: str, password: str) -> None:
    certificate, key = secure.authority.issue("edge.example", common_name=USER)
    shown = {"SSL_CERTIFICATE": certificate, "SSL_KEY": encrypted(key, password) if password else key}
    shown |= {"SSL_KEY_PASSWORD": password} if password else {}
    travel(cluster(secure, "MUTUAL", **encrypting(secure, "SSL"), **shown), allowed)


def connect(edge: Cluster) -> None:
    with Reader(edge, "g", LIMIT_S):
        pass


def send(edge: Cluster) -> None:
    with Writer(edge, "g", LIMIT_S) as writer:
        writer.send("replies", [(b"k", b"v")])


def look(edge: Cluster) -> None:
    with Admin(edge, "g", LIMIT_S) as admin:
        admin.topic_id("replies")


def foreign(_kafka: SecureKafka) -> dict[str, str]:
    return {"SECURITY_PROTOCOL": "SSL", "SSL_CA": Authority().certificate}


def unmarked(_kafka: SecureKafka) -> dict[str, str]:
    return {}


def over_tls(kafka: SecureKafka) -> dict[str, str]:
    return encrypting(kafka, "SSL")


def shown_by_another(kafka: SecureKafka) -> dict[str, str]:
    certificate, key = Authority().issue("edge.example", common_name=USER)
    return over_tls(kafka) | {"SSL_CERTIFICATE": certificate, "SSL_KEY": key}


def with_password(mechanism: str, name: str = USER) -> Callable[[SecureKafka], dict[str, str]]:
    return lambda kafka: encrypting(kafka) | user(mechanism, name, "not-the-password")


def bearing(kafka: SecureKafka) -> dict[str, str]:
    token = kafka.tokens.token(USER)
    return encrypting(kafka) | {"SASL_MECHANISM": "OAUTHBEARER", "SASL_TOKEN": token[:-8] + "A" * 8}


def in_clear(_kafka: SecureKafka) -> dict[str, str]:
    return {"SECURITY_PROTOCOL": "SASL_PLAINTEXT"} | user()


def known(kafka: SecureKafka) -> dict[str, str]:
    return encrypting(kafka) | user()


CERTIFICATE = "its certificate cannot be trusted, "
FAULTS = {
    "unknown authority": ("TLS", foreign, rf"{CERTIFICATE}.*issuer.*: trust the authority that signed it; check DATA_SSL_CA$"),
    "no authority": (
        "TLS",
        lambda _kafka: {"SECURITY_PROTOCOL": "SSL"},
        rf"{CERTIFICATE}.*: trust the authority that signed it; check DATA_SSL_CA$",
    ),
    "expired": ("EXPIRED", over_tls, rf"{CERTIFICATE}certificate has expired: give the broker a new one$"),
    "another's name": (
        "MISNAMED",
        over_tls,
        rf"{CERTIFICATE}IP address mismatch, certificate is not valid for '127\.0\.0\.1': reach the broker by a name that "
        r"stands in it, or give it one with this name; check DATA_BOOTSTRAP_SERVERS$",
    ),
    "no client certificate": (
        "MUTUAL",
        over_tls,
        r"it refuses the certificate of this client, or that it has none \(.*certificate required\); "
        r"show one that it trusts; check DATA_SSL_CERTIFICATE and DATA_SSL_KEY$",
    ),
    "client certificate of an unknown authority": (
        "MUTUAL",
        shown_by_another,
        r"it refuses the certificate of this client, or that it has none \(.*certificate unknown\); show one that it trusts; ",
    ),
    "no TLS where it is asked for": ("TLS", unmarked, r"its listener is one with TLS; check DATA_SECURITY_PROTOCOL$"),
    "a user without TLS where it is asked for": (
        "SASLTLS",
        in_clear,
        r"its listener is one with TLS; check DATA_SECURITY_PROTOCOL$",
    ),
    "no user where one is asked for": (
        "SASL",
        unmarked,
        r"its listener asks for a user: it is one with SASL; check DATA_SECURITY_PROTOCOL$",
    ),
    "TLS and no user where one is asked for": (
        "SASLTLS",
        over_tls,
        r"its listener asks for a user: it is one with SASL; check DATA_SECURITY_PROTOCOL$",
    ),
    "TLS where there is none": ("PLAINTEXT", over_tls, r"its listener is without TLS; check DATA_SECURITY_PROTOCOL$"),
    "TLS and a user where there is none": ("SASL", known, r"its listener is without TLS; check DATA_SECURITY_PROTOCOL$"),
    "a user where none is asked for": (
        "TLS",
        known,
        r"handshake failed: .*; check DATA_SECURITY_PROTOCOL and DATA_SASL_MECHANISM$",
    ),
    "wrong password, PLAIN": (
        "SASLTLS",
        with_password("PLAIN"),
        r"Invalid username or password; check DATA_SASL_USERNAME and DATA_SASL_PASSWORD$",
    ),
    "wrong password, SCRAM": (
        "SASLTLS",
        with_password("SCRAM-SHA-512"),
        r"invalid credentials with SASL mechanism SCRAM-SHA-512; check DATA_SASL_USERNAME and DATA_SASL_PASSWORD$",
    ),
    "unknown user": (
        "SASLTLS",
        with_password("SCRAM-SHA-256", "somebody"),
        r"invalid credentials with SASL mechanism SCRAM-SHA-256; check DATA_SASL_USERNAME and DATA_SASL_PASSWORD$",
    ),
    "a token that is no good": ("SASLTLS", bearing, r"invalid_token.*; check DATA_SASL_TOKEN$"),
}


@pytest.mark.parametrize("part", [connect, send, look])
@pytest.mark.parametrize("fault", FAULTS)
def test_where_there_is_no_way_in_it_is_told_at_once(secure: SecureKafka, part: Callable[[Cluster], None], fault: str) -> None:
    listener, variables, expected = FAULTS[fault]
    edge = cluster(secure, listener, **variables(secure))
    with pytest.raises(AccessError, match=expected) as caught:
        part(edge)
    assert str(caught.value).startswith(f"the edge's Kafka (DATA_BOOTSTRAP_SERVERS={edge.bootstrap}) cannot be used: ")
    assert caught.value.status == 77
    assert "not-the-password" not in str(caught.value)


def test_a_token_that_has_expired_is_told_before_anything_connects(secure: SecureKafka) -> None:
    bearer = {"SASL_MECHANISM": "OAUTHBEARER", "SASL_TOKEN": secure.tokens.token(USER, -60)}
    with pytest.raises(AccessError, match=r"^the token in DATA_SASL_TOKEN is good until .*Z alone, and that has passed"):
        connect(cluster(secure, "SASLTLS", **bearer, **encrypting(secure)))


def test_a_token_is_renewed_while_nobody_asks(secure: SecureKafka, allowed: str) -> None:
    with token_server() as server:
        server.answer = {"access_token": secure.tokens.token(USER), "expires_in": 2}
        edge = cluster(secure, "SASLTLS", **of(server), **encrypting(secure))
        with Reader(edge, allowed, 20) as reader:
            deadline = time.monotonic() + 20
            while len(server.asked) < 3:
                assert time.monotonic() < deadline
                time.sleep(0.1)
            assert reader.partitions(allowed) == []


def test_a_token_server_that_is_away_for_a_while_ends_nothing(secure: SecureKafka, allowed: str) -> None:
    with token_server() as server:
        server.answer = {"access_token": secure.tokens.token(USER), "expires_in": 2}
        edge = cluster(secure, "SASLTLS", **of(server), **encrypting(secure))
        with Reader(edge, allowed, 20) as reader:
            server.status = 503
            deadline = time.monotonic() + 20
            while len(server.asked) < 2:
                assert time.monotonic() < deadline
                time.sleep(0.1)
            assert reader.partitions(allowed) == []


@pytest.mark.parametrize("protocol", ["PLAINTEXT", "SSL"])
def test_a_listener_that_closes_at_once_may_be_one_that_starts(protocol: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=close_all, args=(listener,), daemon=True).start()
        security = read_cluster(Environment({"DATA_SECURITY_PROTOCOL": protocol}), "edge", "DATA_").security
        assert probe(f"127.0.0.1:{listener.getsockname()[1]}", security) is False
        listener.shutdown(socket.SHUT_RDWR)


def test_a_listener_that_answers_byte_by_byte_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport.probe, "CONNECT_LIMIT_S", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def drip() -> None:
            with listener.accept()[0] as asking, contextlib.suppress(OSError):
                asking.sendall((60_000).to_bytes(4, "big"))
                while True:
                    asking.sendall(b"\x00")
                    time.sleep(0.05)

        threading.Thread(target=drip, daemon=True).start()
        assert probe(f"127.0.0.1:{listener.getsockname()[1]}", Security()) is False


@pytest.mark.parametrize("name", ["a..b", "x" * 64])
def test_a_broker_that_calls_itself_what_nobody_can_be_called_is_one_that_does_not_answer(name: str) -> None:
    assert probe(f"{name}:9092", Security()) is False


def close_all(listener: socket.socket) -> None:
    try:
        while True:
            listener.accept()[0].close()
    except OSError:
        return


# What an authorizer forbids: the same over the fake and the real Kafka.


class InMemory:
    def __init__(self, _kafka: SecureKafka | None, topic: str, _stack: ExitStack) -> None:
        self._kafka = FakeKafka()
        self._topic = topic
        self.reader: LogReader = FakeReader(self._kafka, topic)
        self.topics: Topics = FakeTopics(self._kafka)
        self.sender: Sender = FakeSender(self._kafka)

    def let(self, *operations: str, group: bool = True) -> None:
        """Let the client do these with its topic, which is there, and commit to its group or not."""
        self._kafka.create(self._topic)
        self._kafka.write(self._topic, [(b"k", b"v")])
        self._kafka.forbidden = {(one, "topic", self._topic) for one in {"READ", "WRITE"} - set(operations)}
        if not group:
            self._kafka.forbidden.add(("READ", "group", self._topic))


class Real:
    def __init__(self, kafka: SecureKafka, topic: str, stack: ExitStack) -> None:
        self._kafka = kafka
        self._topic = topic
        edge = cluster(kafka, "SASL", SECURITY_PROTOCOL="SASL_PLAINTEXT", **user())
        self.reader: LogReader = stack.enter_context(Reader(edge, topic, LIMIT_S))
        self.topics: Topics = stack.enter_context(Admin(edge, topic, 20))
        self.sender: Sender = stack.enter_context(Writer(edge, topic, LIMIT_S))

    def let(self, *operations: str, group: bool = True) -> None:
        """The same."""
        super_user = Cluster("edge", "KAFKA_BOOTSTRAP", self._kafka.broker.bootstrap)
        with Writer(super_user, "g", 20) as writer, Admin(super_user, "g", 20) as admin:
            admin.ensure_topic(self._topic, 50_000)
            writer.send(self._topic, [(b"k", b"v")])
        self._kafka.allow(USER, "TOPIC", self._topic, "DESCRIBE", *operations)
        if group:
            self._kafka.allow(USER, "GROUP", self._topic, "READ")


@pytest.fixture(params=[InMemory, Real])
def guarded(request: pytest.FixtureRequest, topic: str) -> Iterator[Any]:
    with ExitStack() as stack:
        yield request.param(request.getfixturevalue("secure"), topic, stack)


def test_a_topic_that_may_not_be_read_is_told_at_once(guarded: InMemory | Real, topic: str) -> None:
    guarded.let("WRITE")
    with pytest.raises(AccessError, match=rf"its ACLs must allow READ on topic {topic}$"):
        list(guarded.reader.read(OffsetRange(topic, 0, 0, 1)))


def test_a_topic_that_may_not_be_written_to_is_told_at_once_and_before(guarded: InMemory | Real, topic: str) -> None:
    guarded.let("READ")
    with pytest.raises(AccessError, match=rf"its ACLs must allow WRITE on topic {topic}$"):
        guarded.topics.check_writable(topic)
    with pytest.raises(AccessError, match=rf"its ACLs must allow WRITE on topic {topic}$"):
        guarded.sender.send(topic, [(b"k", b"v")])


def test_a_group_that_may_not_be_committed_to_is_told_at_once(guarded: InMemory | Real, topic: str) -> None:
    guarded.let("READ", "WRITE", group=False)
    with pytest.raises(AccessError, match=rf"its ACLs must allow READ on group {topic}$"):
        guarded.reader.committed(topic, 0)
    with pytest.raises(AccessError, match=rf"its ACLs must allow READ on group {topic}$"):
        guarded.reader.commit(topic, 0, 1, "")


def test_what_is_allowed_goes_on(guarded: InMemory | Real, topic: str) -> None:
    guarded.let("READ", "WRITE")
    guarded.topics.check_writable(topic)
    assert guarded.sender.send(topic, [(b"k", b"w")]) == [1]
    read = itertools.chain.from_iterable(guarded.reader.read(OffsetRange(topic, 0, 0, 2)))
    assert [record.value() for record in read] == [b"v", b"w"]


def test_a_topic_of_which_nothing_may_be_known_is_not_waited_for(secure: SecureKafka, topic: str) -> None:
    edge = cluster(secure, "SASL", SECURITY_PROTOCOL="SASL_PLAINTEXT", **user())
    with Reader(edge, topic, LIMIT_S) as reader, pytest.raises(AccessError) as caught:
        reader.partitions(topic)
    assert str(caught.value) == (
        f"the edge's Kafka (DATA_BOOTSTRAP_SERVERS={edge.bootstrap}) does not let user 'edge-user' go on with looking at topic "
        f"{topic}: Broker: Topic authorization failed; its ACLs must allow DESCRIBE on topic {topic}, as READ and WRITE do"
    )


@pytest.mark.parametrize(
    ("state", "operations", "needed"),
    [
        ("missing", ["DESCRIBE"], "CREATE"),
        ("missing", ["DESCRIBE", "CREATE"], "DESCRIBE_CONFIGS"),
        ("there", ["DESCRIBE"], "DESCRIBE_CONFIGS"),
        ("there", ["DESCRIBE", "DESCRIBE_CONFIGS"], "ALTER_CONFIGS"),
    ],
)
def test_a_reply_topic_that_may_not_be_made_or_changed_is_told(
    secure: SecureKafka, topic: str, state: str, operations: list[str], needed: str
) -> None:
    if state == "there":
        with Admin(Cluster("edge", "KAFKA_BOOTSTRAP", secure.broker.bootstrap), "g", 20) as admin:
            admin.ensure_topic(topic, 50_000)
    secure.allow(USER, "TOPIC", topic, *operations)
    edge = cluster(secure, "SASL", SECURITY_PROTOCOL="SASL_PLAINTEXT", **user())
    with Admin(edge, "g", 20) as admin, pytest.raises(AccessError, match=rf"its ACLs must allow {needed} on topic {topic}$"):
        admin.ensure_topic(topic, 2_000_000)


def test_transactions_that_are_not_allowed_are_told_with_the_setting_that_does_without(secure: SecureKafka, topic: str) -> None:
    edge = cluster(secure, "SASL", SECURITY_PROTOCOL="SASL_PLAINTEXT", **user())
    needed = rf"WRITE and DESCRIBE on transactional id {topic}, or DELIVERY=at-least-once must be set$"
    with (
        Reader(edge, topic, LIMIT_S) as reader,
        pytest.raises(AccessError, match=needed),
        Writer(edge, topic, LIMIT_S, Transactions(reader.membership, 60)),
    ):
        pass


class Client:
    """The worker's parts on the cloud's side, of a user with the rights that a test gives it."""

    def __init__(self, kafka: SecureKafka, model_id: str, stack: ExitStack) -> None:
        self.names = Names(model_id, "c1")
        cloud = cluster(kafka, "SASL", SECURITY_PROTOCOL="SASL_PLAINTEXT", **user())
        self._parts = (
            stack.enter_context(Reader(cloud, self.names.group, LIMIT_S)),
            stack.enter_context(Admin(cloud, self.names.group, 20)),
            stack.enter_context(Writer(cloud, self.names.group, LIMIT_S)),
        )

    def control(self) -> ControlTopic:
        return ControlTopic(self._parts[0], self._parts[1], self.names, None)

    def sink(self) -> FederatedKafkaMLAggregationSink:
        return FederatedKafkaMLAggregationSink(self._parts[2], self._parts[1], self.names)


@pytest.fixture
def guarded_federation(secure: SecureKafka, tmp_path: Path) -> Iterator[tuple[Federation, Client]]:
    with ExitStack() as stack:
        federation = Federation(secure.broker.bootstrap, tmp_path, stack)
        federation.cloud.create_topics()
        yield federation, Client(secure, federation.model_id, stack)


def test_a_control_topic_that_may_not_be_read_is_told_at_once(
    secure: SecureKafka, guarded_federation: tuple[Federation, Client]
) -> None:
    _federation, client = guarded_federation
    secure.allow(USER, "GROUP", client.names.group, "READ")
    for name in (client.names.model_control, client.names.model_data, client.names.reply_control):
        secure.allow(USER, "TOPIC", name, "DESCRIBE")
    with pytest.raises(AccessError, match=rf"its ACLs must allow READ on topic {client.names.model_control}$"):
        client.control().next_model()


def test_a_group_that_may_not_be_committed_to_is_told_before_the_first_round(
    secure: SecureKafka, guarded_federation: tuple[Federation, Client]
) -> None:
    federation, client = guarded_federation
    secure.allow(USER, "TOPIC", f"FED-{federation.model_id}", "READ", "WRITE")
    secure.allow(USER, "GROUP", client.names.group, "DESCRIBE")
    with pytest.raises(AccessError, match=rf"its ACLs must allow READ on group {client.names.group}$"):
        client.control().next_model()


def test_a_reply_that_may_not_be_written_is_told_before_the_fit(
    secure: SecureKafka, guarded_federation: tuple[Federation, Client]
) -> None:
    _federation, client = guarded_federation
    secure.allow(USER, "TOPIC", client.names.reply_data, "CREATE", "WRITE", "DESCRIBE_CONFIGS")
    secure.allow(USER, "TOPIC", client.names.reply_control, "DESCRIBE")
    with pytest.raises(AccessError, match=rf"its ACLs must allow WRITE on topic {client.names.reply_control}$"):
        client.sink().prepare(1_000)


# The worker as a process.


def secured(federation: Federation, kafka: SecureKafka, folder: Path) -> dict[str, str]:
    """Another user, mechanism and way of giving secrets for each of the two clusters."""
    for name, text in {"password": PASSWORDS["edge-user"], "ca": kafka.authority.certificate}.items():
        (folder / name).write_text(f"{text}\n")
    kafka.allow("cloud-user", "TOPIC", f"FED-{federation.model_id}", "READ", "WRITE", "CREATE", "DESCRIBE_CONFIGS")
    kafka.allow("cloud-user", "GROUP", f"FED-MODEL-{federation.model_id}", "READ")
    kafka.allow("cloud-user", "TRANSACTIONAL_ID", f"FED-MODEL-{federation.model_id}", "WRITE", "DESCRIBE")
    kafka.allow("edge-user", "TOPIC", federation.model_id, "READ")
    return {
        "KML_CLOUD_BOOTSTRAP_SERVERS": kafka.broker.addresses["SASLTLS"],
        "KML_CLOUD_SECURITY_PROTOCOL": "SASL_SSL",
        "KML_CLOUD_SASL_MECHANISM": "PLAIN",
        "KML_CLOUD_SASL_USERNAME": "cloud-user",
        "KML_CLOUD_SASL_PASSWORD": PASSWORDS["cloud-user"],
        "KML_CLOUD_SSL_CA": kafka.authority.certificate,
        "DATA_BOOTSTRAP_SERVERS": kafka.broker.addresses["SASLTLS"],
        "DATA_SECURITY_PROTOCOL": "SASL_SSL",
        "DATA_SASL_MECHANISM": "SCRAM-SHA-512",
        "DATA_SASL_USERNAME": "edge-user",
        "DATA_SASL_PASSWORD_FILE": str(folder / "password"),
        "DATA_SSL_CA_FILE": str(folder / "ca"),
        "LOG_LEVEL": "DEBUG",
    }


def assert_no_secret(log: str, *more: str) -> None:
    for secret in (*PASSWORDS.values(), *more):
        for form in (secret, base64.b64encode(secret.encode()).decode().rstrip("="), secret.encode().hex()):
            assert form not in log


def test_a_worker_takes_part_over_two_secured_clusters_and_shows_no_secret(
    secure: SecureKafka, guarded_federation: tuple[Federation, Client], tmp_path: Path
) -> None:
    federation, _client = guarded_federation
    environment = federation.environment(federation.write()) | secured(federation, secure, tmp_path)
    worker = federation.start(environment)
    federation.cloud.announce(announced(), -1)
    [reply] = federation.cloud.collect(-1, clients=1)
    assert worker.wait() == 0
    assert reply.num_data == 400
    assert "cloud=SASL_SSL/PLAIN edge=SASL_SSL/SCRAM-SHA-512" in worker.log
    assert " DEBUG " in worker.log
    assert_no_secret(worker.log)


def test_a_worker_with_a_wrong_password_ends_with_its_status_and_shows_none(
    secure: SecureKafka, guarded_federation: tuple[Federation, Client], tmp_path: Path
) -> None:
    federation, _client = guarded_federation
    wrong = {"KML_CLOUD_SASL_PASSWORD": "not-the-password", "ANSWER_LIMIT_S": "600"}
    worker = federation.start(federation.environment(federation.write()) | secured(federation, secure, tmp_path) | wrong)
    assert worker.wait() == 77
    assert worker.log.splitlines()[-1].endswith(
        "Invalid username or password; check KML_CLOUD_SASL_USERNAME and KML_CLOUD_SASL_PASSWORD"
    )
    assert_no_secret(worker.log, "not-the-password")


# A token server, without a Kafka.


def of(server: TokenServer, **more: str) -> dict[str, str]:
    named = {"SASL_TOKEN_URL": server.url, "SASL_CLIENT_ID": "edge client", "SASL_CLIENT_SECRET": "s3cret+of the client"}
    return {"SASL_MECHANISM": "OAUTHBEARER"} | named | more


def tokens(server: TokenServer, **more: str) -> Tokens:
    environ = {"SECURITY_PROTOCOL": "SASL_SSL", **of(server, **more)}
    env = Environment({f"DATA_{name}": text for name, text in environ.items()} | {"DATA_BOOTSTRAP_SERVERS": "edge:9092"})
    security: Security = read_cluster(env, "edge", "DATA_").security
    assert env.faults == []
    assert security.sasl is not None
    assert security.sasl.tokens is not None
    return security.sasl.tokens


def test_a_token_server_is_asked_as_its_standard_has_it() -> None:
    with token_server() as server:
        server.answer = {"access_token": "abc", "expires_in": 600, "token_type": "Bearer"}
        made = tokens(server, SASL_SCOPE="kafka read")
        token = made.fetch()
        assert token.text.get_secret_value() == "abc"
        assert token.until == pytest.approx(time.time() + 600, abs=60)
        assert made.fetch() is token
        [(authorization, body)] = server.asked
        assert base64.b64decode(authorization.removeprefix("Basic ")) == b"edge+client:s3cret%2Bof+the+client"
        assert body == "grant_type=client_credentials&scope=kafka+read"


@pytest.mark.parametrize(
    ("status", "answer", "error", "expected"),
    [
        (
            401,
            {"error": "invalid_client"},
            AccessError,
            r"gives no token to client 'edge client': HTTP status 401, invalid_client; "
            r"check DATA_SASL_CLIENT_ID, DATA_SASL_CLIENT_SECRET, DATA_SASL_SCOPE, and the address$",
        ),
        (404, b"<html>", AccessError, r"HTTP status 404, Not Found; check "),
        (503, b"", KafkaError, r"cannot answer now: HTTP status 503$"),
        (429, b"", KafkaError, r"cannot answer now: HTTP status 429$"),
        (200, b"<html>", AccessError, r"holds no token: is that a token endpoint of OAuth 2\.0\?$"),
        (200, {"access_token": 7}, AccessError, r"holds no token"),
        (200, {"access_token": "abc", "expires_in": 0}, AccessError, r"holds no token"),
        (200, b'{"access_token": "abc", "expires_in": ' + b"9" * 400 + b"}", AccessError, r"holds no token"),
        (200, b"[" * 100_000, AccessError, r"holds no token"),
        (400, b"[" * 100_000, AccessError, r"HTTP status 400, Bad Request; check "),
        (200, {"access_token": ""}, AccessError, r"holds no token"),
        (200, {"access_token": "abc\x01auth=Bearer def"}, AccessError, r"holds no token"),
        (200, b'{"access_token": "\\ud800"}', AccessError, r"holds no token"),
        (302, b"", AccessError, r"HTTP status 302, Found; check "),
    ],
)
def test_what_a_token_server_answers_instead_is_told(status: int, answer: Any, error: type[WorkerError], expected: str) -> None:
    with token_server() as server:
        server.status, server.answer = status, answer
        server.headers = {"Location": f"{server.url}/elsewhere"} if status == 302 else {}
        with pytest.raises(error, match=rf"^the token server \(DATA_SASL_TOKEN_URL={server.url}\) .*{expected}") as caught:
            tokens(server).fetch()
        assert "s3cret" not in str(caught.value)
        assert len(server.asked) == 1


def test_a_token_server_that_is_not_there_may_come_back() -> None:
    with token_server() as server:
        pass
    with pytest.raises(KafkaError, match=r"does not answer: .*refused; is it up, and is the address right\?$"):
        tokens(server).fetch()


def test_a_token_server_that_comes_up_later_is_waited_for() -> None:
    with token_server() as server:
        server.status, server.answer = 503, {"access_token": "abc"}

        def come_up() -> None:
            while not server.asked:
                time.sleep(0.01)
            server.status = 200

        threading.Thread(target=come_up, daemon=True).start()
        assert tokens(server).first(20).text.get_secret_value() == "abc"
        assert len(server.asked) == 2


def test_a_token_server_that_does_not_come_up_is_waited_for_up_to_the_limit() -> None:
    with token_server() as server:
        server.status = 503
        with pytest.raises(KafkaError, match=r"HTTP status 503; it was asked for 1\.5 s, ANSWER_LIMIT_S sets the limit$"):
            tokens(server).first(1.5)
        assert len(server.asked) == 2


def test_a_token_server_that_answers_byte_by_byte_has_a_limit_for_the_whole() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/"

        def drip() -> None:
            with listener.accept()[0] as asking, contextlib.suppress(OSError):
                asking.recv(65_536)
                asking.sendall(b"HTTP/1.0 200 OK\r\n\r\n")
                while True:
                    asking.sendall(b" ")
                    time.sleep(0.05)

        threading.Thread(target=drip, daemon=True).start()
        server = Source("DATA_".__add__, url, "edge", SecretStr("s3cret"), None, ssl.create_default_context(), limit_s=0.3)
        with pytest.raises(KafkaError, match=rf"\(DATA_SASL_TOKEN_URL={url}\) has not answered within 0\.3 s: "):
            server()


def test_a_token_server_is_trusted_by_the_clusters_authority_and_by_no_other() -> None:
    authority = Authority()
    with token_server(*authority.issue("127.0.0.1")) as server:
        server.answer = {"access_token": "abc"}
        assert tokens(server, SSL_CA=authority.certificate).fetch().text.get_secret_value() == "abc"
        with pytest.raises(AccessError, match=r"has a certificate that cannot be trusted: .*issuer"):
            tokens(server, SSL_CA=Authority().certificate).fetch()


def test_after_a_failure_there_is_the_last_token_and_the_reason() -> None:
    with token_server() as server:
        server.answer = {"access_token": "abc", "expires_in": 0.001}
        made = tokens(server)
        made.fetch()
        time.sleep(0.01)
        server.status = 503
        assert made.last().text.get_secret_value() == "abc"
        assert isinstance(made.fault, KafkaError)
        server.status = 200
        made.last()
        assert made.fault is None


def test_a_device_gets_in_with_its_password_which_nothing_shows(secure: SecureKafka, caplog: pytest.LogCaptureFixture) -> None:
    topic = f"device-{secrets.token_hex(4)}"
    secure.allow(USER, "TOPIC", topic, "CREATE", "DESCRIBE", "WRITE")
    address = secure.broker.addresses["SASLTLS"]
    config = {
        "security.protocol": "SASL_SSL",
        "sasl.mechanism": "SCRAM-SHA-256",
        "sasl.username": USER,
        "sasl.password": PASSWORDS[USER],
        "ssl.ca.pem": secure.authority.certificate,
    }
    wrong = config | {"sasl.password": "s3cret"}
    with caplog.at_level("DEBUG"):
        with Device(address, topic, control_topic=f"{topic}-control", config=config) as device:
            device.send([1], 0)
        told = r"no answer within 1 s; the connection: .*[Aa]uthentication failed"
        with pytest.raises(PeerError, match=told) as refused, Device(address, topic, limit_s=1, config=wrong):
            pass
    assert device.acknowledged == 1
    assert not any(secret in f"{refused.value} {device} {caplog.text}" for secret in ("s3cret", PASSWORDS[USER]))
