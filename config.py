"""The settings of a worker, read once from the environment that Kafka-ML gives to the Job.

Nothing else in the project touches the environment. The README has the table of the variables.
"""

from __future__ import annotations

import json
import os
import platform
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from decoders import DECODERS, Decoder, InputConfigError, make_decoder
from protocol.errors import SettingsError
from protocol.stream_spec import StreamRange, check_topic, parse_spec
from protocol.topics import Federation
from transport.clients import Cluster

KIND_NAMES = {
    1: "single classic",
    2: "single incremental",
    3: "distributed classic",
    4: "distributed incremental",
    5: "single classic on a blockchain",
}
KINDS_BUILT = (1,)

DEFAULT_ANSWER_LIMIT_S = 120.0
EXAMPLE_CONFIG = '{"data_type": "uint8", "label_type": "uint8", "data_reshape": "28 28", "label_reshape": ""}'
MACHINE_NAME = "the machine's name"
MAX_SHOWN = 100  # characters of a wrong value
MAX_LIMIT_S = 31_536_000.0  # a year
LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")
_ABSENT = ("", "None")  # the backend writes Python's None for what a data source left out
_ADDRESS = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):([0-9]{1,5})")
_WHOLE = re.compile(r"[0-9]{1,18}")
_MAX_PORT = 65_535

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that the environment says.

    Attributes:
        stream: ranges of the labelled stream, as the spec names them.
        unsupervised_stream: ranges of the unlabelled one.
        validation_rate, test_rate: shares of the stream in [0, 1).
        total_msg: records that the stream is announced to have; None where it has no end.
        case: kind of training, a key of KIND_NAMES.
        wait_limit_s: longest wait for what may come later (the cloud's topics, the next model); None = no limit.
        answer_limit_s: longest wait for what must be there (a broker's answer, announced weights, offsets of the stream).
    """

    cloud: Cluster
    data: Cluster
    federation: Federation
    client_id_source: str
    stream: tuple[StreamRange, ...]
    unsupervised_stream: tuple[StreamRange, ...] | None
    input_format: str
    input_config: Mapping[str, Any]
    validation_rate: float
    test_rate: float
    total_msg: int | None
    case: int
    wait_limit_s: float | None
    answer_limit_s: float
    log_level: str

    @classmethod
    def from_env(cls, environ: Mapping[str, str] = os.environ) -> Settings:
        """Read the settings.

        Raises:
            SettingsError: with every fault, each naming variable, value and remedy.
        """
        env = _Environment(environ)
        federation, client_id_source = _federation(env)
        input_format = env.read("INPUT_FORMAT", _format, remedy="RAW, AVRO or JSON")
        input_config = env.read("INPUT_CONFIG", _json_object, remedy="the JSON object that describes the records")
        validation_rate = env.read("VALIDATION_RATE", _share, remedy="the share of the stream to validate with, e.g. 0.2")
        test_rate = env.read("TEST_RATE", _share, default=0.0)
        settings = cls(
            cloud=_cluster(env, "cloud", "KML_CLOUD_BOOTSTRAP_SERVERS"),
            data=_cluster(env, "edge", "DATA_BOOTSTRAP_SERVERS"),
            federation=federation,
            client_id_source=client_id_source,
            stream=env.read("DATA_TOPIC", _spec, remedy="the stream spec, e.g. digits:0:0:313"),
            unsupervised_stream=env.read("UNSUPERVISED_TOPIC", _spec, default=None),
            input_format=input_format,
            input_config=input_config,
            validation_rate=validation_rate,
            test_rate=test_rate,
            total_msg=_total(env),
            case=env.read("CASE", _case, default=1),
            wait_limit_s=env.read("WAIT_LIMIT_S", _limit, default=None),
            answer_limit_s=env.read("ANSWER_LIMIT_S", _seconds, default=DEFAULT_ANSWER_LIMIT_S),
            log_level=env.read("LOG_LEVEL", _log_level, default="INFO"),
        )
        if env.are_good("VALIDATION_RATE", "TEST_RATE") and validation_rate + test_rate >= 1:
            env.note(
                "VALIDATION_RATE",
                f"VALIDATION_RATE={validation_rate} and TEST_RATE={test_rate} leave nothing to train with: "
                "keep their sum below 1",
            )
        if env.are_good("INPUT_FORMAT", "INPUT_CONFIG"):
            try:
                settings.decoder()
            except InputConfigError as exc:
                env.note("INPUT_CONFIG", *exc.faults)
        if env.faults:
            raise SettingsError(env.faults)
        return settings

    def summary(self) -> str:
        """One line for the log, with where the client's id comes from."""
        federation = self.federation
        return (
            f"federation={federation.model_id} client={federation.client_id} (from {self.client_id_source}) case={self.case} "
            f"stream={','.join(map(str, self.stream))} format={self.input_format} validation_rate={self.validation_rate:g} "
            f"test_rate={self.test_rate:g} total_msg={self.total_msg}"
        )

    def decoder(self) -> Decoder:
        """A new decoder for the stream's records."""
        return make_decoder(self.input_format, self.input_config)


def quieten_tensorflow() -> None:
    """Let TensorFlow, which reads it when it loads, tell of errors alone, unless the environment says otherwise."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")


class _Environment:
    """Reads variables and keeps the faults, so that all of them can be told at once."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self._faulty: set[str] = set()
        self.faults: list[str] = []

    def note(self, name: str, *faults: str) -> None:
        self._faulty.add(name)
        self.faults.extend(faults)

    def is_missing(self, name: str) -> bool:
        return not self._environ.get(name, "").strip()

    def are_good(self, *names: str) -> bool:
        return self._faulty.isdisjoint(names)

    def text(self, name: str) -> str | None:
        """The variable's text; None where it is absent, as the backend and a person may spell that."""
        text = self._environ.get(name, "").strip()
        return None if text in _ABSENT else text

    def read(self, name: str, parse: Callable[[str], T], *, default: T | None = None, remedy: str = "") -> T:
        """The parsed value, or the default where it is absent. A remedy in place of a default makes absence a fault.

        After a fault the default stands in for the value; whoever has looked at `faults` does not use it.
        """
        text = self.text(name)
        if text is None:
            if remedy:
                self.note(name, f"{name} is not set: give {remedy}")
            return cast("T", default)
        try:
            return parse(text)
        except ValueError as exc:
            shown = text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}…"
            self.note(name, f"{name}={shown!r} {exc}")
            return cast("T", default)


def _federation(env: _Environment) -> tuple[Federation, str]:
    """The federation's names, and which variable the client id came from."""
    model_id = env.read("FEDERATED_MODEL_ID", str, remedy="the federation's id, as the cloud has it")
    # A pod that Kubernetes starts again keeps its HOSTNAME, and so its consumer group and its reply topic.
    source = next((name for name in ("FEDERATED_CLIENT_ID", "HOSTNAME") if env.text(name) is not None), MACHINE_NAME)
    federation = Federation(model_id or "", env.text(source) or platform.node())
    topics = [federation.reply_data] if model_id is None else [federation.model_control, federation.reply_data]
    try:
        for topic in topics:
            check_topic(topic)
    except ValueError as exc:
        env.note(
            "FEDERATED_MODEL_ID",
            f"FEDERATED_MODEL_ID={model_id!r} with client id {federation.client_id!r} ({source}): {exc}",
        )
    return federation, source


def _cluster(env: _Environment, name: str, variable: str) -> Cluster:
    return Cluster(name, variable, env.read(variable, _bootstrap, remedy="host:port of its brokers, comma-separated"))


def _total(env: _Environment) -> int | None:
    # "None" is a value here: a stream without end.
    if env.is_missing("TOTAL_MSG"):
        env.note("TOTAL_MSG", "TOTAL_MSG is not set: give the number of records of the stream, or None for one without end")
    return env.read("TOTAL_MSG", _count, default=None)


def _bootstrap(text: str) -> str:
    addresses = [part.strip() for part in text.split(",")]
    for address in addresses:
        match = _ADDRESS.fullmatch(address)
        if match is None or not 0 < int(match[2]) <= _MAX_PORT:
            raise ValueError(
                f"holds {address!r}, which is no host:port: give e.g. kafka-edge:9092, comma-separated where several"
            )
    return ",".join(addresses)


def _spec(text: str) -> tuple[StreamRange, ...]:
    try:
        return parse_spec(text)
    except ValueError as exc:
        raise ValueError(f"is no stream spec: {exc}") from exc


def _json_object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as exc:
        raise ValueError(f"is not JSON ({exc}): give an object such as {EXAMPLE_CONFIG}") from exc
    if not isinstance(value, dict):
        raise ValueError(f"is JSON of a {type(value).__name__}: give an object such as {EXAMPLE_CONFIG}")  # noqa: TRY004 - a bad value
    return value


def _format(text: str) -> str:
    if text.upper() not in DECODERS:
        raise ValueError(f"is unknown: choose one of {', '.join(DECODERS)}")
    return text.upper()


def _share(text: str) -> float:
    value = _number(text, "a fraction, e.g. 0.2 for 20 %")
    if not 0 <= value < 1:
        raise ValueError("is outside [0, 1): give a fraction, e.g. 0.2 for 20 %")
    return value


def _count(text: str) -> int:
    if not _WHOLE.fullmatch(text) or int(text) == 0:
        raise ValueError("is no number of records: give a whole number above 0, or None for a stream without end")
    return int(text)


def _case(text: str) -> int:
    known = ", ".join(f"{number} ({name})" for number, name in KIND_NAMES.items() if number in KINDS_BUILT)
    if not _WHOLE.fullmatch(text) or int(text) not in KIND_NAMES:
        raise ValueError(f"is no kind of training: give one of {known}")
    if int(text) not in KINDS_BUILT:
        raise ValueError(f"({KIND_NAMES[int(text)]}) is a kind of training that this worker does not have: give one of {known}")
    return int(text)


def _limit(text: str) -> float | None:
    return None if text.lower() == "none" else _seconds(text)


def _seconds(text: str) -> float:
    value = _number(text, "seconds, e.g. 120")
    if not 0 < value <= MAX_LIMIT_S:
        raise ValueError(f"is no limit: give seconds above 0 and up to {MAX_LIMIT_S:.0f}, e.g. 120")
    return value


def _number(text: str, wanted: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"is no number: give {wanted}") from None


def _log_level(text: str) -> str:
    if text.upper() not in LOG_LEVELS:
        raise ValueError(f"is no log level: give one of {', '.join(LOG_LEVELS)}")
    return text.upper()
