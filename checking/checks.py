"""The table of checks, in the order in which they are made."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

from checking import federation
from checking.desk import OFFSETS_TOPIC, Desk
from checking.findings import Finding, Mark, faults, left_out, notice, passed
from checking.records import records
from checking.streams import bad_record_topic, parts, stream
from checking.vocabulary import VARIABLES, known
from clusters import BOOTSTRAP, names_of, names_of_registry
from config import BLOCKCHAIN, CLOUD, EDGE, KIND_NAMES, MACHINE_NAME, MOVING, REGISTRY_URL, Settings
from decoders import CONFLUENT, WIRE_FORMAT
from protocol.errors import SettingsError, WorkerError
from transport.admin import Admin
from transport.clients import Cluster

ALIKE = 0.85  # of two names, from 0 to 1
LIBRARIES = ("OTEL_", "MLFLOW_", "TF_")  # what the names of variables begin with that libraries read by themselves

Look: TypeAlias = Callable[[Desk], Iterator[Finding]]


@dataclass(frozen=True, slots=True)
class Check:
    """One row.

    Attributes:
        title: what is looked at, for the report.
        look: yields what it finds; an error of the worker's that it raises is a finding too.
        variables: of which none may be wrong.
        after: titles of rows above, of which none may have found a fault, or have been left out.
        applies: whether there is such a thing.
    """

    title: str
    look: Look
    variables: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    applies: Callable[[Settings], bool] = lambda _settings: True


def check_all(desk: Desk) -> Iterator[tuple[str, Finding]]:
    """Make all checks, and go on behind a fault with those that it does not concern.

    Yields:
        The title of a check, and what it has found.
    """
    in_the_way: set[str] = set()
    for one in CHECKS:
        if not one.applies(desk.settings):
            continue
        wrong = [name for name in one.variables if not desk.env.are_good(name)]
        wrong += [title for title in one.after if title in in_the_way]
        if wrong:
            in_the_way.add(one.title)
            yield one.title, left_out(f"until {' and '.join(wrong)} can be used")
            continue
        for finding in _found(one.look, desk):
            if finding.mark is Mark.FAULT:
                in_the_way.add(one.title)
            yield one.title, finding


def _found(look: Look, desk: Desk) -> Iterator[Finding]:
    try:
        yield from look(desk)
    except WorkerError as exc:
        yield from faults(exc)


def settings(desk: Desk) -> Iterator[Finding]:
    """All variables, and names that are nearly those of one."""
    env, names = desk.env, set(known())
    for name in sorted(name for name in set(env) - names if not name.startswith(LIBRARIES)):
        for meant in difflib.get_close_matches(name, names, 1, ALIKE):
            if env.text(meant) is None:
                yield notice(f"{name} is set, and no worker reads it: is {meant} meant?")
    if env.text(CLOUD + BOOTSTRAP) is not None and env.text(EDGE + BOOTSTRAP) is None:
        yield notice(f"one Kafka may be the cloud's and the edge's: then give {EDGE}{BOOTSTRAP} the same address")
    if env.faults:
        yield from faults(SettingsError(env.faults))
        return
    of = desk.settings
    yield passed(
        f"federation={of.federation.model_id} client={of.federation.client_id} (from {of.client_id_source}) "
        f"case={of.case} ({KIND_NAMES[of.case]})"
    )
    if of.client_id_source == MACHINE_NAME:
        yield notice("FEDERATED_CLIENT_ID is not set: a second worker on this machine would be the same client")
    if of.registry is not None and not of.asks_registry:
        yield notice(
            f'{REGISTRY_URL} is set, and not asked: records name its schemas with INPUT_FORMAT=AVRO and "{WIRE_FORMAT}": '
            f'"{CONFLUENT}" in INPUT_CONFIG'
        )


def edge(desk: Desk) -> Iterator[Finding]:
    """The way to the edge's Kafka, and what reading there brings about."""
    yield _connected(desk.edge, desk.settings.data)
    if desk.has_no_group(desk.edge):
        yield notice(f"no consumer has come yet: for the first one, which this check is, Kafka makes its own {OFFSETS_TOPIC}")


def registry(desk: Desk) -> Iterator[Finding]:
    """The way to the schema registry."""
    from transport.schemas import RegisteredSchemas  # noqa: PLC0415 - and with it packages that no other worker needs

    found = desk.settings.registry
    if found is not None:
        types = RegisteredSchemas(found, desk.limit_s).types()
        user = "nobody by name" if found.username is None else f"user {found.username!r}"
        yield passed(f"{','.join(found.urls)} as {user}, types={','.join(types)}")


def cloud(desk: Desk) -> Iterator[Finding]:
    """The way to the cloud's Kafka."""
    yield _connected(desk.cloud, desk.settings.cloud)


def _connected(admin: Admin, cluster: Cluster) -> Finding:
    brokers, topics = admin.overview()
    return passed(f"{cluster.bootstrap} by {cluster.security}, brokers={','.join(brokers)} topics={len(topics)}")


def _has_unlabelled(settings: Settings) -> bool:
    return settings.unsupervised_stream is not None and not _is_on_a_chain(settings)


def _is_whole(settings: Settings) -> bool:
    """Whether the labelled stream is read once, and cut into its parts then."""
    return settings.case not in MOVING or _has_unlabelled(settings)


def _is_on_a_chain(settings: Settings) -> bool:
    return settings.case == BLOCKCHAIN


def _asks_registry(settings: Settings) -> bool:
    return bool(settings.input_config) and settings.asks_registry  # none where it is wrong


def _has_bad_record_topic(settings: Settings) -> bool:
    return settings.bad_record_topic is not None


_EDGE, _CLOUD, _REGISTRY = "edge's Kafka", "cloud's Kafka", "schema registry"
_SPECS = ("DATA_TOPIC", "UNSUPERVISED_TOPIC")
_NAMES = ("FEDERATED_MODEL_ID", "FEDERATED_CLIENT_ID")
_CHAIN = tuple(one.name for one in VARIABLES if one.only_for == BLOCKCHAIN)
_DECODED = ("INPUT_FORMAT", "INPUT_CONFIG", "BAD_RECORDS", "BAD_RECORDS_LIMIT")

CHECKS = (
    Check("settings", settings),
    Check(_EDGE, edge, (*names_of(EDGE), "ANSWER_LIMIT_S")),
    Check("DATA_TOPIC", partial(stream, "DATA_TOPIC"), (*_SPECS, "CASE"), (_EDGE,)),
    Check("parts", parts, ("VALIDATION_RATE", "TEST_RATE", "TOTAL_MSG"), ("DATA_TOPIC",), _is_whole),
    Check(_REGISTRY, registry, (*_DECODED[:2], *names_of_registry(), "ANSWER_LIMIT_S"), applies=_asks_registry),
    Check("records", partial(records, "DATA_TOPIC"), _DECODED, ("DATA_TOPIC", _REGISTRY)),
    Check("UNSUPERVISED_TOPIC", partial(stream, "UNSUPERVISED_TOPIC"), (*_SPECS, "CASE"), (_EDGE,), _has_unlabelled),
    Check(
        "unlabelled records",
        partial(records, "UNSUPERVISED_TOPIC"),
        after=("UNSUPERVISED_TOPIC", "records"),
        applies=_has_unlabelled,
    ),
    Check("BAD_RECORDS", bad_record_topic, ("BAD_RECORDS",), (_EDGE,), _has_bad_record_topic),
    Check(_CLOUD, cloud, (*names_of(CLOUD), "ANSWER_LIMIT_S")),
    Check("cloud's topics", federation.topics, (*_NAMES, "DELIVERY", "CLOUD_ISOLATION"), (_CLOUD,)),
    Check("reply topic", federation.reply_topic, _NAMES, (_CLOUD,)),
    Check("answered rounds", federation.group, (*_NAMES, "DELIVERY"), (_CLOUD,)),
    Check("contract", federation.contract, (*_CHAIN, "ANSWER_LIMIT_S"), applies=_is_on_a_chain),
)
