"""What a cloud says and hears in a round, and how it averages. Pure: no Kafka, no TensorFlow."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np

from demo.errors import PeerError
from protocol.records import Array
from protocol.stream_spec import StreamRange, parse_spec

LAST = -1  # the version that ends a federation


@dataclass(frozen=True, slots=True)
class AnnouncedModel:
    """A model as the cloud announces it, in either dialect of Keras.

    Attributes:
        architecture: the text of `model.to_json()`.
        compile_args: optimizer, loss, metrics, weighted_metrics, loss_weights, as the contract has them.
        training_settings: batch, kwargs_fit, kwargs_val, unsupervised and the like.
        arrays: `model.get_weights()`.
    """

    architecture: str
    compile_args: Mapping[str, Any]
    training_settings: Mapping[str, Any]
    arrays: Sequence[Array]

    def message(self, weights: StreamRange, version: int) -> dict[str, Any]:
        """The control message that announces the model under a version, its weights being where `weights` tells."""
        return {
            "topic": str(weights),
            "version": version,
            "training_settings": dict(self.training_settings),
            "model_architecture": self.architecture,
            "model_compile_args": dict(self.compile_args),
        }


@dataclass(frozen=True, slots=True)
class Reply:
    """One worker's reply.

    Attributes:
        client: the key of the message, FED-MODEL-M-CLIENT-C.
        version: as the reply has it: the trained model's plus one, or LAST.
        metrics: metric name → one number an epoch, null where there is none, under "training" and "validation".
        num_data: samples that it stands for; 0 where it stands for none, and has no weight.
        where: the ranges that its arrays are in.
        arrays: in the order of the model's; empty until they have been read.
    """

    client: str
    version: int
    metrics: Mapping[str, Mapping[str, Sequence[Any]]]
    num_data: int
    where: tuple[StreamRange, ...]
    arrays: Sequence[Array] = ()


@dataclass(frozen=True, slots=True)
class Round:
    """A complete round: the version that was trained, every client's reply, and their average."""

    version: int
    replies: Sequence[Reply]
    arrays: Sequence[Array]


def following(version: int) -> int:
    """The version that a reply to `version` has."""
    return LAST if version == LAST else version + 1


def parse_reply(key: bytes | None, value: bytes | None, place: str) -> Reply:
    """Read a reply, as strictly as the public cloud needs it; its arrays are not read yet.

    Raises:
        PeerError: key or JSON are not the contract's; a training metric has no number, or no twin under "validation", at which
            the public cloud would drop the reply and wait for ever.
    """
    try:
        client = (key or b"").decode()
        content = json.loads(value or b"", parse_constant=_no_json)
        reply = Reply(client, content["version"], content["metrics"], content["num_data"], parse_spec(content["topic"]))
        training, validation = reply.metrics["training"], reply.metrics["validation"]
        faults = [name for name, numbers in training.items() if not numbers or not validation.get(name)]
        numbers_are_whole = type(reply.version) is int and type(reply.num_data) is int
    except (KeyError, TypeError, ValueError, AttributeError) as exc:
        raise PeerError(f"{place}: not a reply of the contract ({type(exc).__name__}: {exc}): {value!r:.300}") from exc
    if not client:
        raise PeerError(f"{place}: a reply's key is its client's group, received {key!r}")
    if not numbers_are_whole:
        raise PeerError(f"{place}: version and num_data are whole numbers, received {reply.version!r} and {reply.num_data!r}")
    if reply.num_data < 0:
        raise PeerError(f"{place}: num_data is a number of records, received {reply.num_data}")
    if faults:
        raise PeerError(f"{place}: no number under training or under validation for {', '.join(faults)}")
    return reply


def federated_average(replies: Sequence[Reply], announced: Sequence[Array]) -> Sequence[Array]:
    """Average the clients' arrays, each client weighted by its num_data.

    A client that answers without data, since its fit came to nothing, has no part in it, whatever its arrays are; where there
    is no other, the model stays as it was announced. Floats are averaged in float64 and cast back; integers and booleans are
    rounded, to even at a half, and keep their type.

    Raises:
        PeerError: clients whose arrays differ in number, shape or type.
    """
    replies = [reply for reply in replies if reply.num_data]
    if not replies:
        return announced
    first, *others = replies
    for other in others:
        _compare(first, other)
    return [
        _average([reply.arrays[index] for reply in replies], [reply.num_data for reply in replies])
        for index in range(len(first.arrays))
    ]


def _average(arrays: Sequence[Array], weights: Sequence[int]) -> Array:
    # Whole weights, and one division at the end: equal arrays come out as they are.
    dtype = arrays[0].dtype
    weighted = sum(np.asarray(array, np.float64) * weight for array, weight in zip(arrays, weights, strict=True))
    mean: Array = np.asarray(weighted / sum(weights))
    return (np.rint(mean) if dtype.kind in "iub" else mean).astype(dtype)


def _compare(one: Reply, other: Reply) -> None:
    if len(one.arrays) != len(other.arrays):
        raise PeerError(f"{one.client} sent {len(one.arrays)} arrays, {other.client} {len(other.arrays)}")
    for index, (mine, its) in enumerate(zip(one.arrays, other.arrays, strict=True)):
        if (mine.shape, mine.dtype) != (its.shape, its.dtype):
            raise PeerError(
                f"array {index}: {one.client} sent {mine.shape} {mine.dtype}, {other.client} {its.shape} {its.dtype}"
            )


def _no_json(word: str) -> NoReturn:
    raise ValueError(f"{word} is not JSON")
