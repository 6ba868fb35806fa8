"""The federated training worker of Kafka-ML: the process, from its first signal to its exit status.

Started as a Kubernetes Job by Kafka-ML, or by a person who has exported the same variables:

    python federated_training.py
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from protocol.errors import STATUS_BUG, STATUS_DONE, SettingsError, Stopped, WorkerError
from utils import configure_logging, end_process, stop_on_signals

log = logging.getLogger("federated_training")


def federate() -> None:
    """Take part in the federation that the environment names, to its last round.

    Raises:
        WorkerError: with the exit status that it means.
    """
    from wiring import run  # noqa: PLC0415 - a second of imports, in which a signal must already find its handler

    run()


def main(work: Callable[[], None] = federate) -> int:
    """Work, and turn what happens into an exit status."""
    configure_logging("INFO")
    stop_on_signals()
    try:
        work()
    except SettingsError as exc:
        for fault in exc.faults:
            log.error("%s", fault)  # noqa: TRY400 - the text says it all, a traceback would hide it
        return exc.status
    except WorkerError as exc:
        log.error("%s", exc)  # noqa: TRY400 - as above
        return exc.status
    except Stopped as exc:
        log.warning("%s", exc)
        return exc.status
    except Exception:
        log.exception("a fault of the worker itself; please report it with this log")
        return STATUS_BUG
    return STATUS_DONE


if __name__ == "__main__":
    end_process(main())
