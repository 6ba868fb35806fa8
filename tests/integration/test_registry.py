"""A schema registry: a real one, what stands before it, and streams whose records name its schemas."""

from __future__ import annotations

import io
import json
import uuid
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import pytest
from confluent_kafka import Producer
from confluent_kafka.schema_registry import Schema, SchemaReference, SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroSerializer
from confluent_kafka.serialization import MessageField, SerializationContext
from pydantic import SecretStr

from checking.run import check
from config import Settings
from demo.device import Stream
from protocol.errors import AccessError, RegistryError, SettingsError
from protocol.records import Array
from protocol.schemas import RegisteredSchema, SchemaLookup, UnusableSchemaError
from reading import keep_labelled_stream, keep_unlabelled_stream
from tests.integration.conftest import Federation, announced
from tests.support import golden
from tests.support.certificates import Authority
from tests.support.environments import job
from tests.support.registry import Answer, DownloadError, FakeRegistry, Gate, gate, real_registry
from training.stopping import Stop
from training.store import Kept
from transport.registry import Registry
from transport.schemas import MAX_ANSWER_BYTES, MOST_REFERENCES, RegisteredSchemas
from transport.security import Tls
from variables import Environment

LIMIT_S = 0.4  # in which a registry that is away is asked once
PASSWORD = "s3cret-of-the-registry"  # noqa: S105 - a test's
USER = f"Basic {b64encode(f'edge-7:{PASSWORD}'.encode()).decode()}"


def schema(*fields: tuple[str, Any], name: str = "reading", **defaults: Any) -> dict[str, Any]:
    given = [{"name": one, "type": kind, **({"default": defaults[one]} if one in defaults else {})} for one, kind in fields]
    return {"type": "record", "name": name, "fields": given}


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """The address of a real registry."""
    try:
        with real_registry() as address:
            yield address
    except DownloadError as exc:
        pytest.skip(f"no schema registry: {exc}")


@pytest.fixture(scope="module")
def client(url: str) -> Iterator[SchemaRegistryClient]:
    with SchemaRegistryClient({"url": url}) as found:
        yield found


@pytest.fixture
def before(url: str) -> Iterator[Gate]:
    """A gate before the real registry."""
    with gate(url) as found:
        yield found


def registered(
    client: SchemaRegistryClient, tree: Any, *references: SchemaReference, kind: str = "AVRO", subject: str = ""
) -> int:
    subject = subject or f"subject-{uuid.uuid4()}"
    return client.register_schema(subject, Schema(json.dumps(tree), kind, list(references)))


def asking(url: str, limit_s: float = LIMIT_S, **options: Any) -> RegisteredSchemas:
    return RegisteredSchemas(Registry((url,), **options), limit_s)


class TestContract:
    """What a lookup of schemas is, over the real registry and over the dict that stands in for it."""

    @pytest.fixture(params=["real", "fake"])
    def lookup(self, request: pytest.FixtureRequest) -> Callable[[Any], tuple[SchemaLookup, int]]:
        """Makes a lookup that knows one schema, and its id."""

        def make(tree: Any) -> tuple[SchemaLookup, int]:
            if request.param == "fake":
                return FakeRegistry({7: tree}), 7
            url, client = request.getfixturevalue("url"), request.getfixturevalue("client")
            return asking(url), registered(client, tree)

        return make

    def test_an_id_that_is_known_gives_its_schema(self, lookup: Callable[[Any], tuple[SchemaLookup, int]]) -> None:
        tree = schema(("temperature", "float"))
        ask, known = lookup(tree)
        found = ask(known)
        assert (found.kind, json.loads(found.text), found.references) == ("AVRO", tree, ())

    def test_an_id_that_is_not_known_has_no_schema(self, lookup: Callable[[Any], tuple[SchemaLookup, int]]) -> None:
        ask, _known = lookup("int")
        for one in (0, 987_654_321, 2**31 - 1):
            with pytest.raises(UnusableSchemaError, match=f"^schema {one}"):
                ask(one)


class TestAsking:
    def test_what_a_schema_refers_to_comes_along_in_order(self, url: str, client: SchemaRegistryClient) -> None:
        names = [f"part-{uuid.uuid4()}" for _ in range(2)]
        trees = [
            schema(("x", "int"), name="point"),
            schema(("low", "point"), name="area"),
            schema(("area", "area"), ("at", "point")),
        ]
        references = [SchemaReference("point", names[0], 1), SchemaReference("area", names[1], 1)]
        registered(client, trees[0], subject=names[0])
        registered(client, trees[1], references[0], subject=names[1])
        found = asking(url)(registered(client, trees[2], *reversed(references)))
        assert [json.loads(text) for text in (*found.references, found.text)] == trees

    def test_a_schema_of_another_kind_says_so(self, url: str, client: SchemaRegistryClient) -> None:
        assert (
            asking(url)(
                registered(client, {"$schema": "http://json-schema.org/draft-07/schema#", "type": "object"}, kind="JSON")
            ).kind
            == "JSON"
        )

    def test_an_id_that_is_not_known_is_told_with_the_registry(self, url: str) -> None:
        with pytest.raises(UnusableSchemaError) as caught:
            asking(url)(987_654_321)
        assert str(caught.value) == (
            f"schema 987654321, or one that it refers to, is not known to the schema registry (SCHEMA_REGISTRY_URL={url}): is that "
            "the registry of whoever wrote this?"
        )

    def test_a_registry_that_was_away_is_asked_again(self, before: Gate, client: SchemaRegistryClient) -> None:
        known = registered(client, "int")
        before.answers = [Answer(503)]
        assert asking(before.url, 10)(known).text == '"int"'
        assert [path for path, _ in before.asked] == [f"/schemas/ids/{known}"] * 2

    def test_another_address_is_tried_where_one_does_not_answer(self, url: str, client: SchemaRegistryClient) -> None:
        known = registered(client, "int")
        assert RegisteredSchemas(Registry(("http://127.0.0.1:1", url)), LIMIT_S)(known).text == '"int"'

    @pytest.mark.parametrize(
        ("answer", "why"),
        [
            (Answer(503, b"busy"), "HTTP status 503, Unknown Schema Registry Error"),
            (Answer(404, b"<html>no page</html>"), "HTTP status 404, Unknown Schema Registry Error"),
            (Answer(200, b"<html>a page</html>"), "what answers there is no registry"),
            (Answer(200, b"[]"), "what answers there is no registry"),
            (Answer(200, b"{}"), "what answers there is no registry"),
            (Answer(200, b"[" * 100_000), "what answers there is no registry"),
            (Answer(200, b"{}", {"Content-Encoding": "gzip"}), "it packs its answers, and was asked not to"),
        ],
    )
    def test_what_is_no_answer_of_a_registry_ends_with_69(self, before: Gate, answer: Answer, why: str) -> None:
        before.answers = [answer] * 3
        with pytest.raises(RegistryError) as caught:
            asking(before.url)(1)
        assert str(caught.value).startswith(
            f"the schema registry (SCHEMA_REGISTRY_URL={before.url}) did not answer within 0.4 s: {why}"
        )

    def test_nobody_at_the_address_ends_with_69(self) -> None:
        with pytest.raises(
            RegistryError, match=r"did not answer within 0.4 s: .*Connection refused; is it up, is the address right"
        ):
            asking("http://127.0.0.1:1")(1)

    def test_an_answer_that_comes_byte_by_byte_does_not_hold_for_longer_than_the_limit(self, before: Gate) -> None:
        before.answers = [Answer(200, b" " * 50, pause_s=0.05)]
        with pytest.raises(RegistryError, match="it takes too long"):
            asking(before.url)(1)

    def test_an_answer_that_is_too_long_is_not_read(self, before: Gate) -> None:
        before.answers = [Answer(200, b" " * (MAX_ANSWER_BYTES + 1))]
        told = f"schema 1 has, with what it refers to, more than {MAX_ANSWER_BYTES} bytes or {MOST_REFERENCES} schemas"
        with pytest.raises(UnusableSchemaError, match=told):
            asking(before.url)(1)

    def test_schemas_that_refer_to_ever_more_are_not_followed(self, before: Gate) -> None:
        refers = [{"name": "r", "subject": f"s{index}", "version": 1} for index in range(MOST_REFERENCES + 5)]
        answers = [{"schema": '"int"', "references": [one]} for one in refers]
        before.answers = [Answer(200, json.dumps(one).encode()) for one in answers]
        with pytest.raises(UnusableSchemaError, match=f"or {MOST_REFERENCES} schemas"):
            asking(before.url, 20)(1)

    def test_schemas_that_refer_to_each_other_are_asked_for_once(self, before: Gate) -> None:
        answer = {"schema": '"int"', "references": [{"name": "r", "subject": "s", "version": 1}]}
        before.answers = [Answer(200, json.dumps(answer).encode())] * 2
        assert asking(before.url)(1) == RegisteredSchema("AVRO", '"int"', ('"int"',))

    def test_a_redirection_is_not_followed(self, before: Gate) -> None:
        before.user = USER
        before.answers = [Answer(302, b"", {"Location": "http://127.0.0.1:1/elsewhere"})]
        with pytest.raises(SettingsError, match=r"is at another address by now \(HTTP status 302\)"):
            asking(before.url, username="edge-7", password=SecretStr(PASSWORD))(1)
        assert len(before.asked) == 1


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


class TestLettingIn:
    def test_a_user_is_let_in_by_password(self, before: Gate, client: SchemaRegistryClient) -> None:
        before.user = USER
        known = registered(client, "int")
        assert asking(before.url, username="edge-7", password=SecretStr(PASSWORD))(known).text == '"int"'
        assert asking(before.url, username="edge-7", password=SecretStr(PASSWORD)).types() == ["JSON", "PROTOBUF", "AVRO"]

    @pytest.mark.parametrize(
        ("options", "check_them"),
        [
            ({}, "SCHEMA_REGISTRY_USERNAME and SCHEMA_REGISTRY_PASSWORD, which are not set"),
            ({"username": "edge-7", "password": SecretStr("wr0ng")}, "SCHEMA_REGISTRY_USERNAME and SCHEMA_REGISTRY_PASSWORD"),
        ],
    )
    def test_who_is_not_known_ends_with_77(self, before: Gate, options: dict[str, Any], check_them: str) -> None:
        before.user = USER
        with pytest.raises(AccessError) as caught:
            asking(before.url, **options)(1)
        assert str(caught.value) == (
            f"the schema registry (SCHEMA_REGISTRY_URL={before.url}) does not let this client in: HTTP status 401, Unauthorized; "
            f"check {check_them}"
        )

    def test_tls_is_had_by_an_authority_and_a_certificate_of_ones_own(
        self, url: str, client: SchemaRegistryClient, authority: Authority
    ) -> None:
        known = registered(client, "int")
        certificate, key = authority.issue("edge-7")
        tls = Tls(authority.certificate, certificate, SecretStr(key))
        with gate(url, *authority.issue("127.0.0.1"), authority.certificate) as before:
            assert asking(before.url, tls=tls)(known).text == '"int"'
            with pytest.raises(
                AccessError, match=r"refuses the certificate of this client, or that it has none .*SSL_CERTIFICATE"
            ):
                asking(before.url, tls=Tls(authority.certificate))(known)

    def test_a_certificate_that_cannot_be_trusted_ends_with_77(self, url: str, authority: Authority) -> None:
        with (
            gate(url, *authority.issue("127.0.0.1")) as before,
            pytest.raises(AccessError, match=r"certificate that cannot be trusted, .*check SCHEMA_REGISTRY_SSL_CA"),
        ):
            asking(before.url)(1)


def write(client: SchemaRegistryClient, bootstrap: str, topic: str, records: list[tuple[Any, Any, Any, Any]]) -> None:
    """Write values and keys, each with its schema, as a device does."""
    producer = Producer({"bootstrap.servers": bootstrap})
    serializers: dict[tuple[str, str], AvroSerializer] = {}

    def written(tree: Any, datum: Any, field: MessageField) -> bytes | None:
        text = json.dumps(tree)
        one = serializers.setdefault((text, field), AvroSerializer(client, text, conf={"normalize.schemas": False}))
        return one(datum, SerializationContext(topic, field))

    for key_schema, key, value_schema, value in records:
        producer.produce(topic, written(value_schema, value, MessageField.VALUE), written(key_schema, key, MessageField.KEY))
    assert producer.flush(10) == 0


def settings_of(bootstrap: str, topic: str, url: str, config: Mapping[str, Any], **changes: str) -> Settings:
    return Settings.from_env(environment(bootstrap, topic, url, config, **changes))


def environment(bootstrap: str, topic: str, url: str, config: Mapping[str, Any], **changes: str) -> dict[str, str]:
    return job(
        DATA_BOOTSTRAP_SERVERS=bootstrap,
        KML_CLOUD_BOOTSTRAP_SERVERS=bootstrap,
        DATA_TOPIC=topic,
        INPUT_FORMAT="AVRO",
        INPUT_CONFIG=json.dumps({"wire_format": "confluent"} | dict(config)),
        SCHEMA_REGISTRY_URL=url,
        ANSWER_LIMIT_S="5",
        **changes,
    )


OLD = schema(("humidity", "int"), ("temperature", "float"))
NEW = schema(("place", "string"), ("temperature", "double"), ("humidity", "int"), place="here")
WANTED = schema(("temperature", "double"), ("humidity", "double"), ("light", "double"), light=-1.0)


def readings() -> list[tuple[Any, Any, Any, Any]]:
    old = [("int", n % 2, OLD, {"humidity": n, "temperature": n / 2}) for n in range(5)]
    return [*old, *(("int", n % 2, NEW, {"place": "cellar", "humidity": n, "temperature": n / 2}) for n in range(5, 10))]


@pytest.fixture(scope="module")
def topic(bootstrap: str, client: SchemaRegistryClient) -> str:
    """Readings whose schema has changed on the way."""
    name = f"readings-{uuid.uuid4()}"
    write(client, bootstrap, name, readings())
    return name


class TestStreams:
    def test_a_stream_of_two_schemas_is_read_as_a_third(self, bootstrap: str, url: str, topic: str) -> None:
        settings = settings_of(bootstrap, topic, url, {"data_scheme": WANTED}, UNSUPERVISED_TOPIC=topic)
        decoder = settings.decoder()
        labelled = keep_labelled_stream(settings, decoder, Stop())
        expected = np.array([[n / 2, n, -1] for n in range(10)])
        assert [array.tolist() for array in arrays(labelled.kept)] == [expected.tolist(), [0, 1] * 5]
        unlabelled = keep_unlabelled_stream(settings, decoder, labelled, Stop())
        assert arrays(unlabelled.kept)[0].tolist() == expected.tolist()

    def test_check_names_the_registry_and_the_schemas(self, bootstrap: str, url: str, topic: str) -> None:
        told, _status = checked(environment(bootstrap, topic, url, {"data_scheme": WANTED}))
        assert f"passed schema registry {url} as nobody by name, types=JSON,PROTOBUF,AVRO" in told
        assert "features: float64, shape (3,), from -1 to 9" in told
        assert "passed written by schema " in told
        assert told.count(" (reading)") == 2

    def test_check_finds_a_registry_that_is_away(self, bootstrap: str, topic: str) -> None:
        told, _status = checked(environment(bootstrap, topic, "http://127.0.0.1:1", {}) | {"ANSWER_LIMIT_S": "0.4"})
        assert (
            "FAULT schema registry the schema registry (SCHEMA_REGISTRY_URL=http://127.0.0.1:1) did not answer within 0.4 s"
            in told
        )
        assert "left out records until schema registry can be used" in told

    def test_a_record_without_a_schema_is_a_bad_record(
        self, bootstrap: str, url: str, client: SchemaRegistryClient, caplog: pytest.LogCaptureFixture
    ) -> None:
        topic = f"readings-{uuid.uuid4()}"
        write(client, bootstrap, topic, readings()[:9])
        producer = Producer({"bootstrap.servers": bootstrap})
        for value in (b'{"temperature": 1}', framed(0), framed(987_654_321)):
            producer.produce(topic, value, framed(1))
        assert producer.flush(10) == 0
        settings = settings_of(bootstrap, topic, url, {"data_scheme": WANTED}, BAD_RECORDS="skip", BAD_RECORDS_LIMIT="0.3")
        assert len(keep_labelled_stream(settings, settings.decoder(), Stop()).kept) == 9
        told = [one.getMessage() for one in caplog.records if one.getMessage().startswith("left out ")]
        expected = ["9: value of 18 bytes is not in Confluent's", "10: schema 0, or one", "11: schema 987654321, or one"]
        assert [one.startswith(f"left out {topic}[0]@{words}") for one, words in zip(told, expected, strict=True)] == [True] * 3

    def test_a_worker_trains_on_them(self, federation: Federation, url: str, client: SchemaRegistryClient) -> None:
        samples = golden.samples()
        count = samples.features[0].size
        names = [f"pixel_{index}" for index in range(count)]
        older = schema(*((name, "int") for name in names), name="digit")
        newer = schema(*((name, "float") for name in reversed(names)), ("camera", "string"), name="digit")
        wanted = schema(*((name, "float") for name in names), name="digit")
        records = []
        for index, (pixels, label) in enumerate(zip(samples.features.reshape(-1, count), samples.labels, strict=True)):
            row = dict(zip(names, map(int, pixels), strict=True))
            is_new = index > len(samples) // 2
            records.append(("int", int(label), newer if is_new else older, row | ({"camera": "left"} if is_new else {})))
        topic = f"{federation.model_id}-digits"
        write(client, federation.bootstrap, topic, records)
        shape = " ".join(map(str, samples.features.shape[1:]))
        config = {"wire_format": "confluent", "data_scheme": wanted, "data_reshape": shape}
        with gate(url) as before:
            before.user = USER
            before.answers = [Answer(503)]
            environment = federation.environment(
                Stream(topic, "AVRO", config, len(samples)),
                SCHEMA_REGISTRY_URL=before.url,
                SCHEMA_REGISTRY_USERNAME="edge-7",
                SCHEMA_REGISTRY_PASSWORD=PASSWORD,
                LOG_LEVEL="DEBUG",
            )
            worker = federation.start(environment)
            federation.cloud.create_topics()
            [only] = federation.cloud.run(announced(), rounds=1, clients=1)
            assert [reply.num_data for reply in only.replies] == [len(samples)]
            assert worker.wait() == 0
        assert len(before.asked) == 4  # both schemas of values and that of keys, the first of them twice
        assert PASSWORD not in worker.log
        assert USER not in worker.log


def framed(schema_id: int) -> bytes:
    """The number 1 behind an id."""
    return b"\0" + schema_id.to_bytes(4, "big") + b"\2"


def checked(environ: Mapping[str, str]) -> tuple[str, int]:
    """The report of --check, as one line of words, and the status."""
    out = io.StringIO()
    status = check(out, Environment(environ))
    return " ".join(out.getvalue().split()), status


def arrays(kept: Kept) -> tuple[Array, Array]:
    """Features and labels."""
    return kept.samples.features, kept.samples.labels
