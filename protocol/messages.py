"""The JSON messages of the two control topics: the model that the cloud announces, and the reply that the worker gives.

Keys that this worker does not know are ignored, so that a newer peer can add some.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, TypeAlias

from pydantic import BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as checked_dataclass

from protocol.errors import ModelError
from protocol.positions import Positions, parse_positions
from protocol.stream_spec import OffsetRange, parse_spec
from protocol.words import shown

LAST_VERSION = -1
MAX_MESSAGE_BYTES = 5_000_000  # far above the control topic's own limit; refuses to parse what can be no model message
MAX_SPEC_LENGTH = 10_000  # characters, of some hundred ranges
_MOST = 2**31 - 1  # of what counts steps and samples
_STRICT: ConfigDict = {"strict": True}

Identity: TypeAlias = tuple[str, int]
"""A message's stream spec and version: together they tell a repeated message from a new one."""

# Kafka-ML's own forms leave a dictionary without entries out, or send null for it.
KwargsDict: TypeAlias = Annotated[dict[str, Any], BeforeValidator(lambda value: {} if value is None else value)]


@checked_dataclass(frozen=True, config=_STRICT)
class TrainingSettings:
    """How the cloud wants its model trained.

    Attributes:
        batch: samples a step.
        kwargs_fit, kwargs_val: arguments of Keras's fit, as they came.
        unsupervised: go on with pseudo-labels for the unlabelled stream.
        unsupervised_rounds: at most so many passes over it.
        confidence: the least probability that makes a prediction a pseudo-label, 0 to 1.
        stream_timeout: silence that ends an incremental round, in ms; -1 = none does.
        outputs: sub-models of a distributed model, N on the wire.
    """

    batch: Annotated[int, Field(ge=1, le=_MOST)]
    kwargs_fit: KwargsDict = field(default_factory=dict)
    kwargs_val: KwargsDict = field(default_factory=dict)
    unsupervised: bool = False
    unsupervised_rounds: Annotated[int, Field(ge=0, le=_MOST)] | None = None
    confidence: Annotated[float, Field(ge=0, le=1)] | None = None
    stream_timeout: Annotated[int, Field(ge=-1, le=_MOST)] | None = None
    outputs: Annotated[int | None, Field(ge=1, le=_MOST, validation_alias="N")] = None


@checked_dataclass(frozen=True, config=_STRICT)
class _Wire:
    topic: Annotated[str, Field(min_length=1, max_length=MAX_SPEC_LENGTH)]
    version: Annotated[int, Field(ge=LAST_VERSION, le=_MOST)]
    training_settings: TrainingSettings
    model_architecture: Annotated[str, Field(min_length=1)]
    model_compile_args: dict[str, Any]


_WIRE = TypeAdapter(_Wire)


@dataclass(frozen=True, slots=True)
class ModelMessage:
    """One "train this model".

    Attributes:
        place: where the message stands, as topic[partition]@offset.
        weights: the ranges that hold the round's weights.
        version: number of the round, or LAST_VERSION.
        architecture: JSON text of a Keras 2 or Keras 3 model.
        compile_args: as Keras writes them.
        topic_id: of the control topic, which tells it from one of the same name that was deleted.
        positions: where the moving stream goes on behind all rounds that this client has answered; None where that is not told.
    """

    place: str
    spec: str
    weights: tuple[OffsetRange, ...]
    version: int
    settings: TrainingSettings
    architecture: str
    compile_args: Mapping[str, Any]
    topic_id: str = ""
    positions: Positions | None = None

    @property
    def identity(self) -> Identity:
        return self.spec, self.version

    @property
    def is_last(self) -> bool:
        return self.version == LAST_VERSION

    @property
    def reply_version(self) -> int:
        return LAST_VERSION if self.is_last else self.version + 1


def parse_model_message(value: bytes | None, place: str) -> ModelMessage:
    """Read the value of a model control record.

    Raises:
        ModelError: every fault of the message, each as path: expected …, received … (type), and the place.
    """
    message = _parse(value, place)
    return ModelMessage(
        place=place,
        spec=message.topic,
        weights=_weights(message.topic, place),
        version=message.version,
        settings=message.training_settings,
        architecture=message.model_architecture,
        compile_args=message.model_compile_args,
    )


def _parse(value: bytes | None, place: str) -> _Wire:
    if value is None or len(value) > MAX_MESSAGE_BYTES:
        size = "nothing" if value is None else f"{len(value)} bytes"
        raise ModelError(f"a model message is JSON of at most {MAX_MESSAGE_BYTES} bytes, received {size}, at {place}")
    try:
        return _WIRE.validate_json(value)
    except ValidationError as exc:
        faults = "; ".join(_fault(error) for error in exc.errors())
        raise ModelError(f"{faults}, at {place}") from exc


def _weights(spec: str, place: str) -> tuple[OffsetRange, ...]:
    try:
        ranges = parse_spec(spec)
    except ValueError as exc:
        raise ModelError(f"topic: {exc}, at {place}") from exc
    weights = []
    for one in ranges:
        if one.partition is None or one.start is None or one.end is None or one.is_empty:
            raise ModelError(f"topic: expected topic:partition:offset:end of at least one array, received {one!s}, at {place}")
        weights.append(OffsetRange(one.topic, one.partition, one.start, one.end))
    return tuple(weights)


def _fault(error: Any) -> str:
    if error["type"] == "json_invalid":
        return f"message: expected JSON, received {error['input'][:40]!r} ({shown(error['ctx']['error'])})"
    path = ".".join(shown(part) for part in error["loc"]) or "message"
    if error["type"] == "missing":
        return f"{path}: missing"
    expected = error["msg"].removeprefix("Input should be ")
    return f"{path}: expected {expected}, received {error['input']!r:.80} ({type(error['input']).__name__})"


@dataclass(frozen=True, slots=True)
class Metrics:
    """What a round's fit reports: for each metric one number an epoch, NaN and infinity among them, None where there is none.

    Attributes:
        training, validation: the same names in both, lists of equal length.
        test: one number a metric in a list, or None where no sample was held back for test.
    """

    training: Mapping[str, Sequence[float | None]]
    validation: Mapping[str, Sequence[float | None]]
    test: Mapping[str, Sequence[float | None]] | None = None

    def as_json(self) -> dict[str, Any]:
        """Null for what JSON has no word for."""
        parts = {"training": self.training, "validation": self.validation, "test": self.test}
        return {
            part: {name: [_finite(number) for number in numbers] for name, numbers in metrics.items()}
            for part, metrics in parts.items()
            if metrics is not None
        }


def _finite(number: float | None) -> float | None:
    return number if number is not None and math.isfinite(number) else None


@dataclass(frozen=True, slots=True)
class Trained:
    """What a round's fits have to report.

    Attributes:
        num_data: what a reply says of the amount of data, the weight of this client in the average.
        positions: of the moving stream behind the round; None where there is none.
    """

    metrics: Metrics
    num_data: int
    positions: Positions | None = None


def encode_reply(weights: OffsetRange, message: ModelMessage, trained: Trained, mined: int | None = None) -> bytes:
    """The JSON value of the reply to a message.

    Args:
        weights: where the reply's arrays stand, all acknowledged.
        mined: transactions of the client's wallet that a chain had before this reply; None where there is no chain.
    """
    reply = {
        "topic": str(weights),
        "version": message.reply_version,
        "metrics": trained.metrics.as_json(),
        "num_data": trained.num_data,
        "answers": _answers(message),
    }
    if trained.positions is not None:
        reply["positions"] = trained.positions.as_json()
    if mined is not None:
        reply["mined"] = mined
    return json.dumps(reply, allow_nan=False).encode()


@dataclass(frozen=True, slots=True)
class Answer:
    """What a reply, of whichever worker, says for our own use; for what is no reply, nothing.

    Attributes:
        positions: of the moving stream behind its round.
    """

    version: object = None
    answers: object = None
    positions: Positions | None = None

    def is_to(self, message: ModelMessage) -> bool:
        """Whether it answers a message."""
        return (self.version, self.answers) == (message.reply_version, _answers(message))

    def is_beside(self, message: ModelMessage) -> bool:
        """Whether it answers a message of the same control topic."""
        return self.topic_id == message.topic_id

    @property
    def topic_id(self) -> object:
        """What tells the control topic, or the contract, that it answers a message of from all others."""
        return self.answers.get("topic_id") if isinstance(self.answers, dict) else None


def parse_answer(value: bytes | None) -> Answer:
    """Read what a reply says for our own use."""
    try:
        reply = json.loads(value or b"") if len(value or b"") <= MAX_MESSAGE_BYTES else None
    except (ValueError, RecursionError):
        return Answer()
    if not isinstance(reply, dict):
        return Answer()
    return Answer(reply.get("version"), reply.get("answers"), parse_positions(reply.get("positions")))


@checked_dataclass(frozen=True, config=_STRICT)
class _OwnWire:
    topic: Annotated[str, Field(min_length=1, max_length=MAX_SPEC_LENGTH)]
    metrics: dict[str, Any]
    num_data: Annotated[int, Field(ge=0)]
    mined: Annotated[int, Field(ge=0)] = 0


_OWN_WIRE = TypeAdapter(_OwnWire)


@dataclass(frozen=True, slots=True)
class OwnReply:
    """A reply that this client has given, as it stands on Kafka.

    Attributes:
        spec: where its arrays are, as a stream spec.
        metrics: as its JSON has them.
        mined: as `encode_reply` has it; 0 where it is not told.
    """

    spec: str
    metrics: Mapping[str, Any]
    num_data: int
    mined: int
    answer: Answer


def read_own_reply(value: bytes | None) -> OwnReply | None:
    """Read the value of a reply that has this client's key; None for what is none."""
    try:
        reply = _OWN_WIRE.validate_json(value or b"")
    except ValidationError:
        return None
    return OwnReply(reply.topic, reply.metrics, reply.num_data, reply.mined, parse_answer(value))


def _answers(message: ModelMessage) -> dict[str, str]:
    """What tells a message from all others, for ourselves: versions start over when a federation does, and so do offsets."""
    return {"topic": message.spec, "topic_id": message.topic_id}
