"""TENSORBOARD_LOG_DIR: the epochs of all rounds as one run of TensorBoard, written by Keras's own callback."""

from __future__ import annotations

from pathlib import Path
from typing import Any, final

from protocol.topics import Federation
from watching import EpochDone, Event


@final
class Board:
    """One run a client, in a folder of its name. The steps are epochs, and go on from round to round and from start to start.

    Keras's callback is not handed to fit, which would begin again at step 0 with new files, but told of each epoch from here.
    """

    setting = "TENSORBOARD_LOG_DIR"

    def __init__(self, folder: Path, federation: Federation) -> None:
        self._run = folder / federation.group
        self._step: int | None = None
        self._callback: Any = None
        self._model: Any = None

    def tell(self, event: Event) -> None:
        if not isinstance(event, EpochDone):
            return
        if self._step is None:
            self._step = _next_step(self._run)
        if event.model is not self._model:
            self.close()
            self._model = event.model
            self._callback = event.keras.callbacks.TensorBoard(self._run, write_graph=False, profile_batch=0)
            self._callback.set_model(event.model)
        self._callback.on_epoch_end(self._step, dict(event.numbers))
        self._step += 1

    def close(self, _fault: str = "") -> None:
        """Write what has not been written yet."""
        if self._callback is not None:
            self._callback.on_train_end()
            self._callback = self._model = None


def _next_step(run: Path) -> int:
    """The step behind those that former lives of this client have written."""
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader  # noqa: PLC0415 - an optional extra

    files = (EventFileLoader(str(path)) for path in run.glob("train/*tfevents*"))
    return 1 + max((event.step for file in files for event in file.Load() if event.summary.value), default=-1)
