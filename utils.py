"""Process set-up: the log, the signals that end a worker, and TensorFlow's manners."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
from collections.abc import Iterator
from types import FrameType

from protocol.errors import Stopped

LOG_FORMAT = "%(asctime)s %(levelname)-7s %(message)s"

# Of interest to whoever looks into them alone. kafka-python tells of lost connections many times a second, and TensorFlow of
# every model's first trace; what matters of either comes back as an error of ours.
_QUIET_LOGGERS = {
    "kafka": logging.CRITICAL,
    "librdkafka": logging.CRITICAL + 1,
    "tensorflow": logging.ERROR,
    "avro": logging.WARNING,
    "absl": logging.WARNING,
    "h5py": logging.WARNING,
}


def configure_logging(level: str) -> None:
    """Send the log to standard output, one line an event, in the pod's order of things."""
    logging.basicConfig(format=LOG_FORMAT, level=level, stream=sys.stdout, force=True)
    for name, least in _QUIET_LOGGERS.items():
        logging.getLogger(name).setLevel(logging.NOTSET if level == "DEBUG" else least)


def stop_on_signals() -> None:
    """Turn SIGTERM and SIGINT into Stopped, raised in the main thread, wherever it is."""

    def stop(number: int, _frame: FrameType | None) -> None:
        raise Stopped(signal.Signals(number))

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)


def prepare_tensorflow() -> None:
    """Import TensorFlow, and let it take GPU memory as it needs it instead of all at once.

    Several workers share an edge's one GPU; the first would leave nothing to the others.
    """
    with quiet_start():
        import tensorflow as tf  # noqa: PLC0415 - seconds of start-up, after the settings have been found good

        for gpu in tf.config.list_physical_devices("GPU"):
            tf.config.experimental.set_memory_growth(gpu, True)  # noqa: FBT003 - TensorFlow's signature


@contextlib.contextmanager
def quiet_start() -> Iterator[None]:
    """Keep from standard error what TensorFlow's C++ says of the machine while it loads, before any log level of its own.

    A fault in loading is a Python exception, and comes through.
    """
    if logging.getLogger().isEnabledFor(logging.DEBUG):
        yield
        return
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
