"""Messages captured from the public Kafka-ML pair, in tests/golden."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

from protocol.records import Samples

FOLDER = Path(__file__).parent.parent / "golden"
NAMES = ("dense", "gru", "distributed", "cnn-batchnorm")
DETERMINISTIC = NAMES[:3]
SAMPLES = 400


@dataclass(frozen=True)
class GoldenRecord:
    topic: str
    offset: int
    key: bytes
    value: bytes


def model_id(name: str) -> str:
    """The federation id that the messages were captured under."""
    return f"golden-{name}"


def records(name: str, kind: str) -> list[GoldenRecord]:
    """The records whose topic holds a word such as model_control, model_data, agg_control or agg_data."""
    lines = map(json.loads, (FOLDER / f"{name}.jsonl").read_text().splitlines())
    return [
        GoldenRecord(one["topic"], one["offset"], base64.b64decode(one["key"]), base64.b64decode(one["value"]))
        for one in lines
        if f"-{kind}_" in one["topic"]
    ]


def samples() -> Samples:
    """The data that the captured worker was trained on: features (400, 8, 8) float32, labels (400,) uint8."""
    images, labels = load_digits(return_X_y=True)
    return Samples((images[:SAMPLES] / 16).astype(np.float32).reshape(-1, 8, 8), labels[:SAMPLES].astype(np.uint8))
