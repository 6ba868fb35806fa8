"""The whole job of a federation, process start to exit, beside a pipeline that reads the topic for every epoch."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from benchmarks.federation import VALIDATION_RATE, WORKER, announced, image_model
from benchmarks.measure import ROOT, Row, comparison, in_turn, process
from benchmarks.streams import IMAGES, environment, images, write
from demo.cloud import Cloud
from demo.device import Stream
from demo.rounds import LAST, AnnouncedModel
from utils import in_background

BATCH = 128
ROUND_LIMIT_S = 600.0
EPOCHS = 5
PEER = Path(__file__).parent / "peer" / "worker.py"
PEER_PYTHON = ROOT / ".venv-peer" / "bin" / "python"
THEIRS = (str(PEER_PYTHON), str(PEER))


def job(bootstrap: str, stream: Stream, model: AnnouncedModel, command: Sequence[str]) -> float:
    """Seconds of a worker in a federation of two rounds, whose second model is announced when the first is answered."""
    model_id = f"bench-{secrets.token_hex(4)}"
    with Cloud(bootstrap, model_id) as cloud:
        cloud.create_topics()
        other_side = in_background("cloud", lambda: _two_rounds(cloud, model))
        ended = process(command, environment(bootstrap, stream, model_id, VALIDATION_RATE))
        other_side.result()
    return ended.seconds


def _two_rounds(cloud: Cloud, model: AnnouncedModel) -> None:
    for version in (0, LAST):
        cloud.announce(model, version)
        cloud.collect(version, clients=1, limit_s=ROUND_LIMIT_S)


def run(bootstrap: str) -> str:
    """Measure both workers, with a model of Keras 2, which both speak."""
    stream = write(bootstrap, *images(IMAGES), "RAW")
    model = announced(image_model("keras2"), BATCH, EPOCHS)
    measured, against = in_turn(*(partial(job, bootstrap, stream, model, command) for command in (WORKER, THEIRS)))
    row = Row(f"70 k images, two rounds of {EPOCHS} epochs", "the peer", measured, against, "at least 5", is_rate=True)
    return "The ratio is how many times as long the peer takes.\n\n" + comparison([row])
