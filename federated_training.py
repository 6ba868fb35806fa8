"""The federated training worker of Kafka-ML: the process, from its first signal to its exit status.

Started as a Kubernetes Job by Kafka-ML, or by a person who has exported the same variables:

    python federated_training.py
"""

from __future__ import annotations

import faulthandler
import logging
from collections.abc import Callable

from ending import LastWords, Stopping, end_process
from observing.json_lines import JsonLines
from protocol.errors import STATUS_BUG, STATUS_DONE, SettingsError, SpaceLackError, Stopped, WorkerError
from utils import configure_logging
from variables import is_log_json, termination_log

log = logging.getLogger("federated_training")


def federate(stopping: Stopping) -> None:
    """Take part in the federation that the environment names, to its last round.

    Raises:
        WorkerError: with the exit status that it means.
    """
    from wiring import run  # noqa: PLC0415 - a second of imports, in which a signal must already find its handler

    run(stopping)


def main(work: Callable[[Stopping], None], stopping: Stopping, words: LastWords) -> int:
    """Work, and turn what happens into last words and an exit status."""
    try:
        with stopping.raised():
            work(stopping)
    except SettingsError as exc:
        words.tell(logging.ERROR, *exc.faults)
        return exc.status
    except WorkerError as exc:
        words.tell(logging.ERROR, str(exc))
        return exc.status
    except Stopped as exc:
        words.tell(logging.WARNING, str(exc))
        return exc.status
    except MemoryError as exc:
        log.exception("memory ran out")
        words.tell(logging.ERROR, f"memory ran out ({exc}): give the pod more, or lower DATA_MEMORY_LIMIT")
        return SpaceLackError.status
    except BaseException as exc:
        log.exception("a fault of the worker itself")
        words.tell(logging.ERROR, f"a fault of the worker itself, {_named(exc)}: please report it with this log")
        return STATUS_BUG
    words.tell(logging.INFO)
    return STATUS_DONE


def _named(exc: BaseException) -> str:
    """An exception's type and text, on one line."""
    return " ".join(f"{type(exc).__name__}: {exc}".split())


if __name__ == "__main__":
    faulthandler.enable()  # a library that crashes leaves at least a trace
    configure_logging("INFO", JsonLines() if is_log_json() else None)
    last_words = LastWords(termination_log())
    with Stopping(last_words) as signals:
        end_process(main(federate, signals, last_words))
