"""Opens the outlets that the settings ask for, and closes them without waiting for long."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator
from concurrent.futures import wait

from observing.json_lines import JsonLines
from observing.mlflow import Tracking
from observing.opentelemetry import Traces
from observing.prometheus import Metrics, scraped
from observing.settings import Outlets
from observing.tensorboard import Board
from protocol.errors import SettingsError
from protocol.topics import Federation
from utils import in_background
from watching import Watcher, watched_by

log = logging.getLogger(__name__)

CLOSE_LIMIT_S = 1.0  # for all of them together; what is not sent by then is lost


@contextlib.contextmanager
def observed(outlets: Outlets, federation: Federation, lines: JsonLines | None = None) -> Iterator[None]:
    """Tell the outlets that the settings ask for, within the `with`.

    Args:
        lines: those of the log, where they are JSON.

    Raises:
        SettingsError: the metrics' port cannot be listened on, or OpenTelemetry's own variables cannot be used.
    """
    watchers: list[Watcher] = [] if lines is None else [lines]
    closers: list[tuple[str, Callable[[str], object]]] = []
    fault = ""
    with contextlib.ExitStack() as stack:
        if outlets.metrics_port is not None:
            metrics = Metrics(federation)
            stack.enter_context(scraped(metrics, outlets.metrics_port))
            watchers.append(metrics)
        for one in _opened(outlets, federation):
            watchers.append(one)
            closers.append((one.setting, one.close))
        if closers or outlets.metrics_port is not None:
            log.info("watched by %s", ", ".join(one.setting for one in watchers))
        try:
            with watched_by(watchers):
                yield
        except BaseException as exc:
            fault = type(exc).__name__
            raise
        finally:
            _close(closers, fault)


def _opened(outlets: Outlets, federation: Federation) -> Iterator[Board | Traces | Tracking]:
    if outlets.tensorboard_folder is not None:
        yield Board(outlets.tensorboard_folder, federation)
    if outlets.sends_traces:
        yield _traces(federation)
    if outlets.mlflow_uri is not None:
        yield Tracking(outlets.mlflow_uri, outlets.mlflow_experiment or f"FED-{federation.model_id}", federation)


def _traces(federation: Federation) -> Traces:
    try:
        return Traces(federation)
    except Exception as exc:  # noqa: BLE001 - whatever it raises of its own variables; the text may hold what is secret
        raise SettingsError(
            [f"OTEL_…: OpenTelemetry cannot use its variables ({type(exc).__name__}): mend them, or set OTEL_SDK_DISABLED=true"]
        ) from None


def _close(closers: list[tuple[str, Callable[[str], object]]], fault: str) -> None:
    works = {setting: in_background("close", lambda close=close: close(fault)) for setting, close in closers}  # type: ignore[misc]
    wait(works.values(), CLOSE_LIMIT_S)
    for setting, work in works.items():
        if not work.done() or work.exception() is not None:
            log.warning("%s: the last of it could not be sent", setting)
