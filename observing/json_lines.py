"""LOG_FORMAT=json: a line of the log as a JSON object, for what collects logs."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from typing import final

from protocol.topics import Federation
from protocol.words import in_a_line, shortened
from watching import ROUND, Event, PhaseBegun, PhaseEnded


@final
class JsonLines(logging.Formatter):
    """Writes each event on a line of its own, with the round's version, which it watches for.

    Args:
        federation: None = not known yet.
    """

    setting = "LOG_FORMAT"

    def __init__(self, federation: Federation | None = None) -> None:
        super().__init__()
        self._model = None if federation is None else federation.model_id
        self._client = None if federation is None else federation.client_id
        self._version: int | None = None

    def tell(self, event: Event) -> None:
        if isinstance(event, PhaseBegun | PhaseEnded) and event.name == ROUND:
            self._version = event.version if isinstance(event, PhaseBegun) else None

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": shortened(in_a_line(record.getMessage())),
            "model": self._model,
            "client": self._client,
            "version": self._version,
        }
        if record.exc_info:
            line["traceback"] = shortened(self.formatException(record.exc_info))
        return json.dumps(line)
