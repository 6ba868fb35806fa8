"""Labelled streams to measure on."""

from __future__ import annotations

import secrets

import numpy as np

from demo.backend import job_environment
from demo.device import Stream
from demo.write import write_stream
from protocol.records import Array

SEED = 1
IMAGES = 70_000


def images(count: int) -> tuple[Array, Array]:
    """Images (count, 28, 28) uint8 of noise, and labels (count,) uint8 below 10."""
    random = np.random.default_rng(SEED)
    return random.integers(0, 256, (count, 28, 28), np.uint8), random.integers(0, 10, count, np.uint8)


def numbers(count: int, fields: int, dtype: str) -> tuple[Array, Array]:
    """Vectors (count, fields) and labels (count,), both of the dtype."""
    random = np.random.default_rng(SEED)
    values = random.random((count, fields)) if dtype.startswith("float") else random.integers(0, 256, (count, fields))
    return values.astype(dtype), random.integers(0, 10, count).astype(dtype)


def write(bootstrap: str, features: Array, labels: Array, input_format: str, partitions: int = 1) -> Stream:
    """Write a stream to a topic of its own."""
    topic = f"bench-{input_format}-{secrets.token_hex(4)}"
    return write_stream(bootstrap, topic, features, labels, input_format, partitions=partitions)


def environment(bootstrap: str, stream: Stream, model_id: str = "bench", validation_rate: float = 0.2) -> dict[str, str]:
    """The Job's environment for a stream."""
    return job_environment(
        stream,
        cloud_bootstrap=bootstrap,
        data_bootstrap=bootstrap,
        model_id=model_id,
        validation_rate=validation_rate,
        test_rate=0.0,
        client_id="bench",
    )
