"""The whole job of a federation, process start to exit, beside a pipeline that reads the topic for every epoch."""

from __future__ import annotations

import secrets
import sys
import threading
from functools import partial
from pathlib import Path

from benchmarks.federation import VALIDATION_RATE, announced, image_model
from benchmarks.measure import ROOT, Row, comparison, in_turn, process
from benchmarks.streams import IMAGES, environment, images, write
from demo.cloud import Cloud
from demo.device import Stream
from demo.rounds import LAST, AnnouncedModel

BATCH = 128
EPOCHS = 5
PEER = Path(__file__).parent / "peer" / "worker.py"
PEER_PYTHON = ROOT / ".venv-peer" / "bin" / "python"
OURS = [sys.executable, str(ROOT / "federated_training.py")]
THEIRS = [str(PEER_PYTHON), str(PEER)]


def job(bootstrap: str, stream: Stream, model: AnnouncedModel, command: list[str]) -> float:
    """Seconds of a worker in a federation of two rounds, whose second model is announced when the first is answered."""
    model_id = f"bench-{secrets.token_hex(4)}"
    with Cloud(bootstrap, model_id) as cloud, _Announcer(cloud, model):
        wanted = environment(bootstrap, stream, model_id, VALIDATION_RATE)
        return process(command, wanted).seconds


class _Announcer:
    """The cloud's two rounds, in a thread."""

    def __init__(self, cloud: Cloud, model: AnnouncedModel) -> None:
        self._cloud = cloud
        self._model = model

    def __enter__(self) -> None:
        self._cloud.create_topics()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._thread.join()

    def _run(self) -> None:
        for version in (0, LAST):
            self._cloud.announce(self._model, version)
            self._cloud.collect(version, clients=1, limit_s=600)


def run(bootstrap: str) -> str:
    """Measure both workers, with a model of Keras 2, which both speak."""
    stream = write(bootstrap, *images(IMAGES), "RAW")
    model = announced(image_model("keras2"), BATCH, EPOCHS)
    measured, against = in_turn(*(partial(job, bootstrap, stream, model, command) for command in (OURS, THEIRS)))
    row = Row(f"70 k images, two rounds of {EPOCHS} epochs", "the peer", measured, against, "at least 5", is_rate=True)
    return "The ratio is how many times as long the peer takes.\n\n" + comparison([row])
