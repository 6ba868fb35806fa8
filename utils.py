"""Process set-up: the log, work in the background, the memory that there is, and TensorFlow's manners."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import io
import logging
import os
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import TypeVar, final

from protocol.words import in_a_line, shortened

CGROUPS = Path("/sys/fs/cgroup")
CGROUPS_OF_PROCESS = Path("/proc/self/cgroup")
LINE = "%(asctime)s %(levelname)-7s %(message)s"

T = TypeVar("T")

# Of interest to whoever looks into them alone. librdkafka tells of lost connections many times a second, and TensorFlow of
# every model's first trace; what matters of either comes back as an error of ours.
_QUIET_LOGGERS = {
    "librdkafka": logging.CRITICAL + 1,
    "tensorflow": logging.ERROR,
    "avro": logging.WARNING,
    "absl": logging.WARNING,
    "h5py": logging.WARNING,
    "web3": logging.WARNING,
    "urllib3": logging.WARNING,
    "httpx2": logging.WARNING,
    "httpcore2": logging.WARNING,
}
# Below, they show addresses and requests whole, with the keys in them.
_LOUDEST = {"web3": logging.INFO, "urllib3": logging.INFO, "httpcore2": logging.INFO}


def configure_logging(level: str, formatter: logging.Formatter | None = None) -> None:
    """Send the log to standard output, one line an event, in the pod's order of things.

    Args:
        formatter: of an event; None = for people.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a character that it cannot write must not cost the line
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(formatter or _OneLine(LINE))
    logging.basicConfig(level=level, handlers=[handler], force=True)
    for name, least in _QUIET_LOGGERS.items():
        logging.getLogger(name).setLevel(_LOUDEST.get(name, logging.NOTSET) if level == "DEBUG" else least)


@final
class _OneLine(logging.Formatter):
    """Keeps what is told on its line, since others name what it tells of; a traceback has its lines below."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        record.message = shortened(in_a_line(record.message))
        return super().formatMessage(record)


def memory_bytes(cgroups: Path = CGROUPS, of_process: Path = CGROUPS_OF_PROCESS) -> int:
    """The memory that this process may have: the least of the machine's and the limits of its control groups.

    A container sees its own group where the groups begin; outside of one, /proc tells which group is ours, and every group
    above limits it too. Source: Linux's cgroup-v1/memory and cgroup-v2 documents.
    """
    limits = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    lines = of_process.read_text().splitlines() if of_process.exists() else []
    for _number, controllers, path in (line.split(":", 2) for line in lines):
        if controllers == "":
            limits += _limits(cgroups, path, "memory.max")
        elif "memory" in controllers.split(","):
            limits += _limits(cgroups / "memory", path, "memory.limit_in_bytes")
    return min(limits)


def _limits(root: Path, path: str, name: str) -> Iterator[int]:
    group = root / path.lstrip("/")
    for one in (group, *group.parents):
        with contextlib.suppress(OSError):  # none there, or not for us to read
            text = (one / name).read_text().strip()
            if text != "max":
                yield int(text)
        if one == root:
            return


def in_background(name: str, work: Callable[[], T]) -> Future[T]:
    """Do some work in a thread of its own, which the end of the process does not wait for."""
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as exc:  # noqa: BLE001 - whoever asks for the result gets it
            future.set_exception(exc)

    threading.Thread(target=run, name=name, daemon=True).start()
    return future


def prepare_tensorflow() -> None:
    """Import TensorFlow, and let it take GPU memory as it needs it instead of all at once.

    Several workers share an edge's one GPU; the first would leave nothing to the others.
    """
    with quiet_start(), without_collection():
        import tensorflow as tf  # noqa: PLC0415 - seconds of start-up, after the settings have been found good

        for gpu in tf.config.list_physical_devices("GPU"):
            tf.config.experimental.set_memory_growth(gpu, True)  # noqa: FBT003 - TensorFlow's signature


_spared_lock = threading.Lock()
_spared = 0  # how many are in without_collection


def give_back_memory() -> None:
    """Let the C library, where it is GNU's, give the system what was freed; by itself it keeps holes for what comes.

    Source: malloc_trim(3).
    """
    if (trim := getattr(ctypes.CDLL(None), "malloc_trim", None)) is not None:
        trim(0)


@contextlib.contextmanager
def without_collection() -> Iterator[None]:
    """Spare Python's collector what makes many objects and no cycles: all that loading makes stays, records go by themselves.

    Looking through them takes a fifth of the time. Several threads may be in here at once.
    """
    global _spared  # noqa: PLW0603 - the collector is the process's
    with _spared_lock:
        _spared += 1
        gc.disable()
    try:
        yield
    finally:
        with _spared_lock:
            _spared -= 1
            if not _spared:
                gc.freeze()
                gc.enable()


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
