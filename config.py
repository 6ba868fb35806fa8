"""The settings of a worker, read once from the environment that Kafka-ML gives to the Job.

Nothing else in the project touches the environment, but for what is needed before there are settings, in variables.py.
docs/operators.md has their table.
"""

from __future__ import annotations

import ast
import json
import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from clusters import read_cluster, read_registry
from decoders import CONFLUENT, DECODERS, WIRE_FORMAT, Decoder, InputConfigError, make_decoder, names_schemas
from observing.settings import Outlets, read_outlets
from protocol.errors import SettingsError
from protocol.stream_spec import StreamRange, check_topic, parse_spec
from protocol.topics import Federation
from protocol.windows import WindowLimits
from protocol.words import shown
from sieve import Sieve
from transport.clients import READ_COMMITTED, READ_UNCOMMITTED, Cluster, Isolation
from transport.registry import Registry
from variables import (
    WHOLE,
    Environment,
    Memory,
    count,
    file,
    folder,
    limit,
    memory,
    number,
    one_of,
    seconds,
    share,
    transaction_seconds,
)

if TYPE_CHECKING:
    from blockchain.settings import Chain

Delivery = Literal["exactly-once", "at-least-once"]

KIND_NAMES = {
    1: "single classic",
    2: "single incremental",
    3: "distributed classic",
    4: "distributed incremental",
    5: "single classic on a blockchain",
}
MOVING = (2, 4)  # kinds that train on what arrives
BLOCKCHAIN = 5

DEFAULT_WAIT_LIMIT_S = 604_800.0  # a week: federations rest for hours, and over weekends
DEFAULT_ANSWER_LIMIT_S = 120.0
DEFAULT_TRANSACTION_LIMIT_S = 300.0  # 100 MB at 3 Mbit/s
DELIVERIES: tuple[Delivery, ...] = ("exactly-once", "at-least-once")
ISOLATIONS = (READ_UNCOMMITTED, READ_COMMITTED)
DEFAULT_LOAD_LIMIT_S = 600.0
DEFAULT_DATA_MEMORY = Memory(share=0.5)  # the other half is for TensorFlow, the model and the fit
FAIL, SKIP, RETURN = "fail", "skip", "return"
NON_FINITES = (FAIL, RETURN)
DEFAULT_BAD_RECORDS_LIMIT = 0.01
DEFAULT_WINDOW_RECORDS = 1_000
DEFAULT_WINDOW_LIMIT_S = 10.0
DEFAULT_ROUND_LIMIT_S = 300.0
EXAMPLE_CONFIG = '{"data_type": "uint8", "label_type": "uint8", "data_reshape": "28 28", "label_reshape": ""}'
CLOUD, EDGE = "KML_CLOUD_", "DATA_"  # what the variables of the two clusters begin with
MACHINE_NAME = "the machine's name"
REGISTRY_URL = "SCHEMA_REGISTRY_URL"
REGISTRY_EXTRA = "requirements-registry.txt"
LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that the environment says.

    Attributes:
        stream: ranges of the labelled stream, as the spec names them.
        unsupervised_stream: ranges of the unlabelled one.
        registry: that has the schemas which records may name; None where there is none.
        validation_rate, test_rate: shares of the stream in [0, 1).
        total_msg: records that the stream is announced to have; None where it has no end.
        case: kind of training, a key of KIND_NAMES.
        chain: the blockchain that rounds come from; None with every kind but that.
        wait_limit_s: longest wait for what may come later (the cloud's topics, the next model); None = no limit.
        answer_limit_s: longest wait for what must be there (a broker's answer, announced weights, offsets of the stream).
        load_limit_s: longest wait for TensorFlow, which loads from the image's disk, and for it to build a model.
        delivery: whether a reply is one transaction with the offset of what it answers.
        cloud_isolation: which replies the cloud reads.
        transaction_limit_s: the longest that a reply may take to be sent in a transaction.
        bad_records: what becomes of records that cannot be decoded: FAIL, SKIP, or the edge's topic that they go to.
        bad_records_limit: share of the stream in [0, 1) that may be such records.
        non_finite: what becomes of a fit that diverged: FAIL or RETURN.
        windows: how much of a moving stream goes into a window, and into a round.
        data_memory: what the decoded stream may take in memory.
        spill_folder: where it is kept beyond that.
        allow_model_code: train models that carry code, Lambda layers above all.
        liveness_file: whose modification time shows that the worker gets on; None = none.
        outlets: what is to tell of the rounds.
    """

    cloud: Cluster
    data: Cluster
    federation: Federation
    client_id_source: str
    stream: tuple[StreamRange, ...]
    unsupervised_stream: tuple[StreamRange, ...] | None
    input_format: str
    input_config: Mapping[str, Any]
    registry: Registry | None
    validation_rate: float
    test_rate: float
    total_msg: int | None
    case: int
    chain: Chain | None
    wait_limit_s: float | None
    answer_limit_s: float
    load_limit_s: float
    delivery: Delivery
    cloud_isolation: Isolation
    transaction_limit_s: float
    bad_records: str
    bad_records_limit: float
    non_finite: str
    windows: WindowLimits
    data_memory: Memory
    spill_folder: Path
    allow_model_code: bool
    liveness_file: Path | None
    log_level: str
    outlets: Outlets

    @classmethod
    def from_env(cls, environ: Mapping[str, str] = os.environ) -> Settings:
        """Read the settings.

        Raises:
            SettingsError: with every fault, each naming variable, value and remedy.
        """
        env = Environment(environ)
        settings = cls.read(env)
        if env.faults:
            raise SettingsError(env.faults)
        return settings

    @classmethod
    def read(cls, env: Environment) -> Settings:
        """The same, with the faults left in `env`: of a variable that is not good nothing is to be used."""
        federation, client_id_source = _federation(env)
        input_format = env.read("INPUT_FORMAT", _format, remedy="RAW, AVRO or JSON")
        input_config = env.read("INPUT_CONFIG", _json_object, remedy="the JSON object that describes the records")
        validation_rate = env.read("VALIDATION_RATE", share, remedy="the share of the stream to validate with, e.g. 0.2")
        test_rate = env.read("TEST_RATE", share, default=0.0)
        stream = env.read("DATA_TOPIC", _spec, remedy="the stream spec, e.g. digits:0:0:313")
        unsupervised_stream = env.read("UNSUPERVISED_TOPIC", _spec, default=None)
        case = env.read("CASE", _case, default=1)
        answer_limit_s = env.read("ANSWER_LIMIT_S", seconds, default=DEFAULT_ANSWER_LIMIT_S)
        settings = cls(
            cloud=read_cluster(env, "cloud", CLOUD),
            data=read_cluster(env, "edge", EDGE),
            federation=federation,
            client_id_source=client_id_source,
            stream=stream,
            unsupervised_stream=unsupervised_stream,
            input_format=input_format,
            input_config=input_config,
            registry=read_registry(env),
            validation_rate=validation_rate,
            test_rate=test_rate,
            total_msg=_total(env),
            case=case,
            chain=_chain(env, answer_limit_s) if case == BLOCKCHAIN else None,
            wait_limit_s=_wait_limit(env),
            answer_limit_s=answer_limit_s,
            load_limit_s=env.read("LOAD_LIMIT_S", seconds, default=DEFAULT_LOAD_LIMIT_S),
            delivery=env.read("DELIVERY", one_of(*DELIVERIES), default=DELIVERIES[0]),
            cloud_isolation=env.read("CLOUD_ISOLATION", one_of(*ISOLATIONS), default=READ_UNCOMMITTED),
            transaction_limit_s=env.read("TRANSACTION_LIMIT_S", transaction_seconds, default=DEFAULT_TRANSACTION_LIMIT_S),
            bad_records=_bad_records(env, stream, unsupervised_stream),
            bad_records_limit=env.read("BAD_RECORDS_LIMIT", share, default=DEFAULT_BAD_RECORDS_LIMIT),
            non_finite=env.read("NON_FINITE", one_of(*NON_FINITES), default=FAIL),
            windows=_windows(env),
            data_memory=env.read("DATA_MEMORY_LIMIT", memory, default=DEFAULT_DATA_MEMORY),
            spill_folder=env.read("DATA_SPILL_FOLDER", folder, default=Path(env.text("TMPDIR") or "/tmp")),  # noqa: S108 - a default
            allow_model_code=env.read("ALLOW_MODEL_CODE", one_of("true", "false"), default="false") == "true",
            liveness_file=env.read("LIVENESS_FILE", file, default=None),
            log_level=env.read("LOG_LEVEL", one_of(*LOG_LEVELS), default="INFO"),
            outlets=read_outlets(env),
        )
        if env.are_good("VALIDATION_RATE", "TEST_RATE") and validation_rate + test_rate >= 1:
            env.note(
                "VALIDATION_RATE",
                f"VALIDATION_RATE={validation_rate} and TEST_RATE={test_rate} leave nothing to train with: "
                "keep their sum below 1",
            )
        if env.are_good("CASE", "DATA_TOPIC", "UNSUPERVISED_TOPIC") and settings.case in MOVING:
            _check_moving(env, *settings.moving_stream)
        if env.are_good("INPUT_FORMAT", "INPUT_CONFIG"):
            try:
                make_decoder(input_format, input_config)
                _check_registry(env, needs_one=settings.asks_registry)
            except InputConfigError as exc:
                env.note("INPUT_CONFIG", *exc.faults)
        return settings

    def summary(self) -> str:
        """One line for the log, with where the client's id comes from."""
        federation, windows = self.federation, self.windows
        moving = (
            f"window_records={windows.records} window_limit_s={windows.seconds:g} round_windows={windows.round_windows} "
            f"round_limit_s={windows.round_seconds:g} "
        )
        labelled, unlabelled = (",".join(map(str, spec or ())) or "none" for spec in (self.stream, self.unsupervised_stream))
        return (
            f"federation={federation.model_id} client={federation.client_id} (from {self.client_id_source}) case={self.case} "
            f"stream={labelled} unlabelled={unlabelled} format={self.input_format} validation_rate={self.validation_rate:g} "
            f"test_rate={self.test_rate:g} total_msg={self.total_msg} delivery={self.delivery} bad_records={self.bad_records} "
            f"bad_records_limit={self.bad_records_limit:g} non_finite={self.non_finite} "
            f"{moving if self.case in MOVING else ''}"
            f"cloud={self.cloud.security} edge={self.data.security}"
            + (f" registry={','.join(self.registry.urls)}" if self.registry is not None and self.asks_registry else "")
            + ("" if self.chain is None else f" contract={self.chain.contract} wallet={self.chain.wallet}")
        )

    @property
    def moving_stream(self) -> tuple[str, tuple[StreamRange, ...]]:
        """Which stream goes on in an incremental kind, by its variable: the unlabelled one, where there is one."""
        if self.unsupervised_stream is not None:
            return "UNSUPERVISED_TOPIC", self.unsupervised_stream
        return "DATA_TOPIC", self.stream

    @property
    def asks_registry(self) -> bool:
        """Whether records name schemas of the registry."""
        return names_schemas(self.input_format, self.input_config)

    @property
    def bad_record_topic(self) -> str | None:
        """Where bad records go; None where they go nowhere."""
        return None if self.bad_records in {FAIL, SKIP} else self.bad_records

    def sieve(self, most: int, decoder: Decoder | None = None) -> Sieve:
        """For records of the stream, of which at most so many will come; a decoder knows what those before have settled."""
        return Sieve(decoder or self.decoder(), most, None if self.bad_records == FAIL else self.bad_records_limit)

    def decoder(self) -> Decoder:
        """A new decoder for the stream's records; what it asks a registry for, it asks for when a record names it."""
        if self.registry is None or not self.asks_registry:
            return make_decoder(self.input_format, self.input_config)
        from transport.schemas import RegisteredSchemas  # noqa: PLC0415 - and with it packages that no other worker needs

        return make_decoder(self.input_format, self.input_config, RegisteredSchemas(self.registry, self.answer_limit_s))


def quieten_libraries() -> None:
    """Let TensorFlow tell of errors alone, and MLflow nothing, to its makers least, unless the environment says otherwise.

    MLflow is not to try for long either. Each reads it when it loads, or works.
    """
    quiet = {
        "TF_CPP_MIN_LOG_LEVEL": "2",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
        "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    }
    for name, value in quiet.items():
        os.environ.setdefault(name, value)


def _federation(env: Environment) -> tuple[Federation, str]:
    """The federation's names, and which variable the client id came from."""
    model_id = env.read("FEDERATED_MODEL_ID", str, remedy="the federation's id, as the cloud has it")
    # A pod that Kubernetes starts again keeps its HOSTNAME, and so its consumer group and its reply topic.
    source = next((name for name in ("FEDERATED_CLIENT_ID", "HOSTNAME") if env.text(name) is not None), MACHINE_NAME)
    federation = Federation(model_id or "", env.text(source) or platform.node())
    if not federation.client_id:
        env.note("FEDERATED_CLIENT_ID", "FEDERATED_CLIENT_ID is not set, and the machine has no name: give this client's id")
    topics = (federation.reply_data, *(() if model_id is None else federation.cloud_topics))
    try:
        for topic in sorted(topics, key=len, reverse=True):
            check_topic(topic)
    except ValueError as exc:
        named = f"FEDERATED_MODEL_ID='{shown(model_id)}' with client id '{shown(federation.client_id)}' ({source})"
        env.note("FEDERATED_MODEL_ID", f"{named}: {exc}")
    return federation, source


def _check_registry(env: Environment, *, needs_one: bool) -> None:
    if not needs_one:
        return
    if env.text(REGISTRY_URL) is None and env.are_good(REGISTRY_URL):
        env.note(
            REGISTRY_URL,
            f'{REGISTRY_URL} is not set, and INPUT_CONFIG says "{WIRE_FORMAT}": "{CONFLUENT}": give the address of the schema '
            "registry, e.g. http://registry:8081",
        )
    for package in ("authlib", "httpx2"):
        env.needs(REGISTRY_URL, package, REGISTRY_EXTRA)


def _chain(env: Environment, answer_limit_s: float) -> Chain:
    from blockchain.settings import read_chain  # noqa: PLC0415 - web3 with it, which no other kind is to wait for

    return read_chain(env, answer_limit_s)


def _wait_limit(env: Environment) -> float | None:
    # "None" is a value here: a wait without limit.
    if env.is_missing("WAIT_LIMIT_S"):
        return DEFAULT_WAIT_LIMIT_S
    return env.read("WAIT_LIMIT_S", limit, default=None)


def _total(env: Environment) -> int | None:
    # "None" is a value here: a stream without end.
    if env.is_missing("TOTAL_MSG"):
        env.note("TOTAL_MSG", "TOTAL_MSG is not set: give the number of records of the stream, or None for one without end")
    return env.read("TOTAL_MSG", count, default=None)


def _windows(env: Environment) -> WindowLimits:
    return WindowLimits(
        records=env.read("WINDOW_RECORDS", number, default=DEFAULT_WINDOW_RECORDS),
        seconds=env.read("WINDOW_LIMIT_S", seconds, default=DEFAULT_WINDOW_LIMIT_S),
        round_windows=env.read("ROUND_WINDOWS", number, default=None),
        round_seconds=env.read("ROUND_LIMIT_S", seconds, default=DEFAULT_ROUND_LIMIT_S),
    )


def _check_moving(env: Environment, variable: str, stream: tuple[StreamRange, ...]) -> None:
    named = [(one.topic, one.partition) for one in stream]
    twice = [f"{topic}:{partition}" for topic, partition in dict.fromkeys(named) if named.count((topic, partition)) > 1]
    if twice:
        env.note(
            variable,
            f"{variable}={','.join(map(str, stream))!r} names {twice[0]} more than once: a moving stream goes on, so name a "
            "partition once",
        )


def _bad_records(env: Environment, *streams: tuple[StreamRange, ...] | None) -> str:
    wanted = env.read("BAD_RECORDS", _bad_record_goal, default=FAIL)
    if wanted in {one.topic for stream in streams for one in stream or ()}:
        env.note(
            "BAD_RECORDS",
            f"BAD_RECORDS={wanted!r} is a topic of the stream itself, which would hold its bad records twice: give another one",
        )
    return wanted


def _bad_record_goal(text: str) -> str:
    if text.lower() in {FAIL, SKIP}:
        return text.lower()
    try:
        check_topic(text)
    except ValueError as exc:
        raise ValueError(f"is neither {FAIL} nor {SKIP}, and {exc}") from exc
    return text


def _spec(text: str) -> tuple[StreamRange, ...]:
    try:
        return parse_spec(text)
    except ValueError as exc:
        raise ValueError(f"is no stream spec: {exc}") from exc


def _json_object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as exc:
        meant = _from_python(text)
        if meant is not None:
            raise ValueError(f"is a dict as Python writes it, and no JSON: give {meant}") from exc
        raise ValueError(f"is not JSON ({exc}): give an object such as {EXAMPLE_CONFIG}") from exc
    if not isinstance(value, dict):
        raise ValueError(f"is JSON of a {type(value).__name__}: give an object such as {EXAMPLE_CONFIG}")  # noqa: TRY004 - a bad value
    return value


def _from_python(text: str) -> str | None:
    """The JSON of what may be a dict as Python writes one, with single quotes, True and None; None where it is not."""
    try:
        value = ast.literal_eval(text)
        return json.dumps(value) if isinstance(value, dict) else None
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return None


def _format(text: str) -> str:
    if text.upper() not in DECODERS:
        raise ValueError(f"is unknown: choose one of {', '.join(DECODERS)}")
    return text.upper()


def _case(text: str) -> int:
    if not WHOLE.fullmatch(text) or int(text) not in KIND_NAMES:
        known = ", ".join(f"{number} ({name})" for number, name in KIND_NAMES.items())
        raise ValueError(f"is no kind of training: give one of {known}")
    return int(text)
