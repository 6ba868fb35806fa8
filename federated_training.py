"""The federated training worker of Kafka-ML: the process, from its first signal to its exit status.

Started as a Kubernetes Job by Kafka-ML, or by a person who has exported the same variables:

    python federated_training.py

Before that, `--check` tells whether it would work, and `--describe` what the variables mean.
"""

from __future__ import annotations

import argparse
import faulthandler
import logging
import sys
from collections.abc import Callable, Sequence

from ending import LastWords, Stopping, end_process
from observing.json_lines import JsonLines
from protocol.errors import STATUS_BUG, STATUS_DONE, SettingsError, SpaceLackError, Stopped, WorkerError
from utils import configure_logging
from variables import Environment, is_log_json, termination_log

log = logging.getLogger("federated_training")


def federate(stopping: Stopping) -> None:
    """Take part in the federation that the environment names, to its last round.

    Raises:
        WorkerError: with the exit status that it means.
    """
    from wiring import run  # noqa: PLC0415 - a second of imports, in which a signal must already find its handler

    run(stopping)


def check(_stopping: Stopping) -> int:
    """Tell whether a worker with this environment would work; returns the exit status that its first fault means."""
    from checking.run import check  # noqa: PLC0415 - as above

    level = (Environment().text("LOG_LEVEL") or "").upper()
    configure_logging(level if level == "DEBUG" else "ERROR")  # of the rest the report tells what matters
    return check(sys.stdout)


def describe(_stopping: Stopping) -> None:
    """Tell which variables there are, and what they are set to."""
    from checking.run import describe  # noqa: PLC0415 - as above

    describe(sys.stdout)


def main(work: Callable[[Stopping], int | None], stopping: Stopping, words: LastWords) -> int:
    """Work, and turn what happens into last words and an exit status."""
    try:
        with stopping.raised():
            status = work(stopping)
    except WorkerError as exc:
        words.tell(logging.ERROR, *(exc.faults if isinstance(exc, SettingsError) else (str(exc),)))
        return exc.status
    except Stopped as exc:
        words.tell(logging.WARNING, str(exc))
        return exc.status
    except MemoryError as exc:
        log.exception("memory ran out")
        words.tell(logging.ERROR, f"memory ran out ({exc}): give the pod more, or lower DATA_MEMORY_LIMIT")
        return SpaceLackError.status
    except ModuleNotFoundError as exc:
        words.tell(logging.ERROR, f"{exc}: python -m pip install -r requirements.txt installs what the worker needs")
        return STATUS_BUG
    except BaseException as exc:
        log.exception("a fault of the worker itself")
        words.tell(logging.ERROR, f"a fault of the worker itself, {_named(exc)}: please report it with this log")
        return STATUS_BUG
    words.tell(logging.INFO)
    return STATUS_DONE if status is None else status


def arguments(texts: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line's; what is wrong with it, and --help, argparse answers, and ends the process."""
    parser = argparse.ArgumentParser(
        description="One client of a federation of Kafka-ML; environment variables tell it which.",
        epilog="Without an option it takes part to the last round. docs/operators.md has all variables, and the exit statuses.",
    )
    instead = parser.add_mutually_exclusive_group()
    instead.add_argument("--check", action="store_true", help="tell whether it would work, and how to mend what would not")
    instead.add_argument("--describe", action="store_true", help="tell which variables there are, and what they are set to")
    return parser.parse_args(texts)


def _named(exc: BaseException) -> str:
    """An exception's type and text, on one line."""
    return " ".join(f"{type(exc).__name__}: {exc}".split())


if __name__ == "__main__":
    wanted = arguments()
    faulthandler.enable()  # a library that crashes leaves at least a trace
    configure_logging("INFO", JsonLines() if is_log_json() else None)
    # Who only looks leaves no last words: they are a worker's.
    last_words = LastWords(None if wanted.check or wanted.describe else termination_log())
    with Stopping(last_words) as signals:
        end_process(main(check if wanted.check else describe if wanted.describe else federate, signals, last_words))
