"""A small job: the worker's process, from its start over its first reply to its end, beside a script that fits the same."""

from __future__ import annotations

import sys
import tempfile
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.federation import VALIDATION_RATE, announced, one_round
from benchmarks.measure import Row, comparison, in_turn, process
from benchmarks.streams import write
from demo.datasets import load
from demo.device import Stream
from demo.models import LIBRARIES, digits_model
from demo.rounds import AnnouncedModel

SCRIPT = """
import sys
import numpy as np, tensorflow, {library} as keras
data = np.load(sys.argv[1])
features, labels = data["features"], data["labels"]
training = int(len(features) * (1 - {validation_rate}))
model = keras.Sequential([
    keras.Input((64,)), keras.layers.Rescaling(1 / 16),
    keras.layers.Dense(128, activation="relu"), keras.layers.Dense(10, activation="softmax"),
])
model.compile(keras.optimizers.{optimizer}(0.005), loss="sparse_categorical_crossentropy", metrics=["accuracy"])
model.fit(features[:training], labels[:training], batch_size=32, epochs={epochs},
          validation_data=(features[training:], labels[training:]), verbose=0)
"""
EPOCHS = 3
OPTIMIZERS = {"keras2": "legacy.Adam", "keras3": "Adam"}


def job(bootstrap: str, stream: Stream, model: AnnouncedModel) -> float:
    """Seconds of a worker whose one model is there when it starts."""
    return one_round(bootstrap, stream, model, VALIDATION_RATE).seconds


def run(bootstrap: str) -> str:
    """Measure each format and dialect once."""
    features, labels = load("digits")
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        arrays = Path(folder) / "digits.npz"
        for dialect, input_format in (("keras3", "RAW"), ("keras2", "RAW"), ("keras2", "AVRO"), ("keras3", "JSON")):
            vectors = features.reshape(len(features), -1).astype(np.uint8 if input_format == "RAW" else np.float32)
            np.savez(arrays, features=vectors, labels=labels)
            stream = write(bootstrap, vectors, labels, input_format)
            model = announced(digits_model(dialect), 32, EPOCHS)
            script = SCRIPT.format(
                library=LIBRARIES[dialect], optimizer=OPTIMIZERS[dialect], validation_rate=VALIDATION_RATE, epochs=EPOCHS
            )
            measured, against = in_turn(partial(job, bootstrap, stream, model), partial(_script, script, arrays))
            what = f"1797 digits as {input_format}, {EPOCHS} epochs, {LIBRARIES[dialect]}"
            rows.append(Row(what, "import, build, fit", measured, against, "at most 1.25"))
    return "Processes, from start to exit; the worker's ends with its first reply.\n\n" + comparison(rows)


def _script(script: str, arrays: Path) -> float:
    return process([sys.executable, "-c", script, str(arrays)]).seconds
