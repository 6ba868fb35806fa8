"""Every reply on the log, as a reader of one isolation has it, held against every model that was announced."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from confluent_kafka import TopicPartition

from demo.errors import PeerError
from demo.rounds import following
from demo.topics import follow, log_end, open_reader
from protocol.topics import Federation

READ_LIMIT_S = 30.0


@dataclass(frozen=True, slots=True)
class View:
    """What one isolation has of a federation.

    Attributes:
        isolation: as Kafka's isolation.level.
        replies: all of them.
        lost, doubled: client and version of each model that was answered not at all, and more than once.
        strays: replies to what was never announced.
    """

    isolation: str
    replies: int
    lost: Sequence[str]
    doubled: Sequence[str]
    strays: Sequence[str]

    @property
    def is_exactly_once(self) -> bool:
        return not (self.lost or self.doubled or self.strays)


def judge(bootstrap: str, model_id: str, clients: Sequence[str], isolation: str) -> View:
    """Read the control topics from their beginning to their end.

    Args:
        bootstrap: host:port list of their Kafka.
        model_id: the federation's id.
        clients: ids of all that should have answered every model.
        isolation: as Kafka's isolation.level.

    Raises:
        PeerError: they cannot be read to the end, as where a transaction was left open.
    """
    names = Federation(model_id, "")
    groups = {Federation(model_id, client).group: client for client in clients}
    announced = [(value["topic"], value["version"]) for _key, value in _all(bootstrap, names.model_control, isolation)]
    replies = Counter(
        (groups.get(key, key), value["answers"]["topic"], value["version"])
        for key, value in _all(bootstrap, names.reply_control, isolation)
    )
    asked = {(client, spec, following(version)): f"{client} {version}" for client in clients for spec, version in announced}
    return View(
        isolation,
        replies.total(),
        lost=[told for one, told in asked.items() if not replies[one]],
        doubled=[told for one, told in asked.items() if replies[one] > 1],
        strays=[str(one) for one in replies if one not in asked],
    )


def _all(bootstrap: str, topic: str, isolation: str) -> list[tuple[str, dict[str, Any]]]:
    """Key and value of each record."""
    reader = open_reader(bootstrap, "judge", isolation)
    try:
        end = _end(bootstrap, topic)
        reader.assign([TopicPartition(topic, 0, 0)])
        records: list[tuple[str, dict[str, Any]]] = []
        for position, message in follow(reader, lambda: None, READ_LIMIT_S):
            if message is not None:
                records.append(((message.key() or b"").decode(), json.loads(message.value() or b"")))
            if position >= end:
                return records
    finally:
        reader.close()
    raise PeerError(f"{topic}[0] ends at {end}, and {isolation} did not get there within {READ_LIMIT_S:.0f} s")


def _end(bootstrap: str, topic: str) -> int:
    """Where a log ends, open transactions and all."""
    reader = open_reader(bootstrap, "judge-end", "read_uncommitted")
    try:
        return log_end(reader, topic)
    finally:
        reader.close()
