"""What the checks share: the settings, a look at each Kafka, and what earlier ones have found."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from contextlib import ExitStack
from functools import cached_property
from typing import final

from config import MOVING, Settings
from decoders import Decoder
from protocol.errors import AccessError
from protocol.stream_spec import OffsetRange, StreamRange
from transport.admin import Admin
from transport.clients import Cluster
from transport.reader import Reader
from variables import Environment

LIMIT_S = 10.0  # for a broker's answer, where ANSWER_LIMIT_S is not set: somebody sits and waits
OFFSETS_TOPIC = "__consumer_offsets"  # of Kafka itself, which makes it for the first client that asks for a group
MOST_NEAR = 5  # names


@final
class Desk:
    """For one check of everything. Connections are made when first one is asked for, and end with the stack.

    Attributes:
        ranges: by the variable of its spec, where records of a stream are to be read.
        decoder: of the labelled stream.
        limit_s: for a broker's answer.
    """

    def __init__(self, env: Environment, settings: Settings, stack: ExitStack) -> None:
        self.env = env
        self.settings = settings
        self.ranges: dict[str, list[OffsetRange]] = {}
        self.decoder: Decoder | None = None
        self._stack = stack
        self.limit_s = LIMIT_S if env.text("ANSWER_LIMIT_S") is None else settings.answer_limit_s

    @cached_property
    def edge(self) -> Admin:
        return self._admin(self.settings.data)

    @cached_property
    def cloud(self) -> Admin:
        return self._admin(self.settings.cloud)

    @cached_property
    def reader(self) -> Reader:
        """Of the edge's Kafka, as the worker reads it: member of no group, and committing nothing."""
        names = self.settings.federation
        group = names.stream_group if self.settings.case in MOVING else names.group
        return self._stack.enter_context(Reader(self.settings.data, group, self.limit_s))

    def spec(self, variable: str) -> tuple[StreamRange, ...]:
        return self.settings.stream if variable == "DATA_TOPIC" else self.settings.unsupervised_stream or ()

    def is_moving(self, variable: str) -> bool:
        """Whether the stream of a variable goes on."""
        return self.settings.case in MOVING and self.settings.moving_stream[0] == variable

    def has_no_group(self, admin: Admin) -> bool:
        """Whether no group has been used on a Kafka yet; False where this may not be looked at, as mostly with ACLs."""
        try:
            return not admin.partitions(OFFSETS_TOPIC)
        except AccessError:
            return False

    def _admin(self, cluster: Cluster) -> Admin:
        return self._stack.enter_context(Admin(cluster, self.settings.federation.group, self.limit_s))


def near(name: str, names: Iterable[str]) -> str:
    """A question for names that may have been meant, to go behind what says that this one is not there."""
    there = {one.lower(): one for one in names if not one.startswith("__")}
    found = [there[one] for one in difflib.get_close_matches(name.lower(), there, MOST_NEAR)]
    if found:
        return f"; is {' or '.join(found)} meant?"
    some = sorted(there.values())
    return f"; there are {', '.join(some[:MOST_NEAR])}{', …' if len(some) > MOST_NEAR else ''}" if some else ""
