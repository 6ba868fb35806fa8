"""A worker that is looked at after each of its rounds: memory, threads, open files, and what TensorFlow traces and keeps.

`python -m benchmarks.watched FILE` is `python federated_training.py` with a listener of the worker's own log, which writes a
line of JSON for each round to FILE.
"""

from __future__ import annotations

import json
import logging
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TextIO

from ending import LastWords, Stopping, end_process
from federated_training import federate, main

BUILT = "model built"  # before its functions are traced
ROUND_DONE = "round done"


@dataclass(frozen=True, slots=True)
class Sample:
    """A process as it is after a round.

    Attributes:
        resident, peak: bytes of memory that it has, and the most that it ever had.
        threads, files: how many it has, and has open.
        traces: graphs that TensorFlow has made of Python so far.
        functions: of them, those that TensorFlow still keeps, with what it made of them.
    """

    resident: int
    peak: int
    threads: int
    files: int
    traces: int
    functions: int


def read_samples(file: Path) -> list[Sample]:
    """What a watched worker has written, a sample a round."""
    return [Sample(**json.loads(line)) for line in file.read_text().splitlines()]


class _Watch(logging.Handler):
    """Hears that a model is built and that a round is done, in the thread and at the moment that it happens."""

    def __init__(self, samples: TextIO) -> None:
        super().__init__()
        self._samples = samples
        self._traces = 0
        self._is_counting = False

    def emit(self, record: logging.LogRecord) -> None:
        if record.msg.startswith(BUILT) and not self._is_counting:
            self._count_traces()
        elif record.msg.startswith(ROUND_DONE):
            self._samples.write(json.dumps(asdict(self._look())) + "\n")
            self._samples.flush()

    def _count_traces(self) -> None:
        import tensorflow as tf  # noqa: PLC0415 - loaded by the worker by now, as it loads it

        graph = tf.__internal__.FuncGraph
        made = graph.__init__

        def counted(graph: Any, *args: Any, **kwargs: Any) -> None:
            self._traces += 1
            made(graph, *args, **kwargs)

        graph.__init__ = counted
        self._is_counting = True

    def _look(self) -> Sample:
        from tensorflow.python.eager import context  # noqa: PLC0415 - as above

        process = Path("/proc/self")
        lines = (process / "status").read_text().splitlines()
        kib = {name: int(value.split()[0]) for name, value in (line.split(":") for line in lines) if name in {"VmRSS", "VmHWM"}}
        return Sample(
            resident=kib["VmRSS"] * 1024,
            peak=kib["VmHWM"] * 1024,
            threads=len(list((process / "task").iterdir())),
            files=len(list((process / "fd").iterdir())),
            traces=self._traces,
            functions=len(context.context().list_function_names()),
        )


if __name__ == "__main__":
    logging.getLogger().setLevel(logging.INFO)
    with Path(sys.argv[1]).open("w") as file:
        watch = _Watch(file)
        for room in ("KafkaModelEngine", "federated_mainTraining"):
            logging.getLogger(room).addHandler(watch)
        words = LastWords(None)
        with Stopping(words) as stopping:
            status = main(federate, stopping, words)
    end_process(status)
