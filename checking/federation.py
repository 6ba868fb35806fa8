"""The cloud's topics, and whether this client may do there what a worker does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from checking.desk import Desk, near
from checking.findings import Finding, faults, notice, passed, waits
from protocol.errors import KafkaError, WorkerError
from protocol.topics import CONTROL_LIMIT_BYTES, WEIGHTS_LIMIT_BYTES
from transport.clients import READ_COMMITTED

_BEFORE, _BEHIND = "FED-", "-model_control_topic"


def topics(desk: Desk) -> Iterator[Finding]:
    """The topics that the cloud makes. They may come later; a contract stands in for the one that models are announced on."""
    settings, cloud, names = desk.settings, desk.cloud, desk.settings.federation
    has_contract = settings.chain is not None
    reads_replies = has_contract or settings.delivery != "exactly-once" or settings.cloud_isolation != READ_COMMITTED
    wanted: tuple[tuple[str, tuple[Callable[[str], None], ...]], ...] = (
        *(() if has_contract else ((names.model_control, (cloud.check_readable,)),)),
        (names.model_data, (cloud.check_readable,)),
        (names.reply_control, (cloud.check_writable, *((cloud.check_readable,) if reads_replies else ()))),
    )
    missing = []
    for topic, checks in wanted:
        try:
            if not cloud.partitions(topic):
                missing.append(topic)
                continue
            for check in checks:
                check(topic)
            if topic == names.reply_control:
                _check_limit(desk, topic)
        except WorkerError as exc:
            yield from faults(exc)
        else:
            yield passed(f"{topic} may be {'written' if cloud.check_writable in checks else 'read'}")
    if missing:
        others = [name[len(_BEFORE) : -len(_BEHIND)] for name in cloud.overview()[1] if _is_control(name)]
        meant = near(names.model_id, others) if names.model_control in missing else ""
        yield waits(
            f"{', '.join(missing)} not there yet: the cloud makes them when it starts the federation "
            f"FEDERATED_MODEL_ID={names.model_id}{meant}"
        )


def reply_topic(desk: Desk) -> Iterator[Finding]:
    """The topic that the worker makes. The Kafka is asked whether it would let it, and is let do nothing."""
    topic = desk.settings.federation.reply_data
    is_there = bool(desk.cloud.partitions(topic))
    desk.cloud.ensure_topic(topic, WEIGHTS_LIMIT_BYTES, is_trial=True)
    if is_there:
        desk.cloud.check_writable(topic)
        yield passed(f"{topic} may be written, with messages of {WEIGHTS_LIMIT_BYTES} bytes")
    else:
        yield passed(f"{topic} is not there, as it should be before the first round: the worker makes it, and may")


def group(desk: Desk) -> Iterator[Finding]:
    """The group whose offset says which models are answered, and the transactional id."""
    name = desk.settings.federation.group
    if desk.has_no_group(desk.cloud):
        yield notice("no group has been used on this Kafka yet, so whether this client may use its own shows when it does")
    else:
        desk.cloud.check_group(name)
        yield passed(f"{name} may commit offsets")
    if desk.settings.delivery == "exactly-once":
        yield notice(
            f"whether the transactional id {name} is allowed shows when a worker starts: to ask for it would put one that runs "
            "out of its place"
        )


def contract(desk: Desk) -> Iterator[Finding]:
    """The chain's node, the contract that rounds come from, and the wallet. Nothing is sent to the contract."""
    from blockchain.connecting import connect  # noqa: PLC0415 - web3 with it, which no other kind is to wait for

    chain = desk.settings.chain
    if chain is None:
        return
    found, _contributions = connect(replace(chain, answer_limit_s=desk.limit_s), lambda: None)
    if found.is_training():
        yield passed(f"{found} at {chain}, round={found.round()}")
    else:
        yield waits(f"{found} at {chain} has no training that goes on: the cloud begins it")


def _check_limit(desk: Desk, topic: str) -> None:
    limit = desk.cloud.setting(topic, "max.message.bytes")
    if limit is not None and int(limit) < CONTROL_LIMIT_BYTES:
        raise KafkaError(
            f"{topic} takes messages of {limit} bytes, and replies have up to {CONTROL_LIMIT_BYTES}: set its "
            f"max.message.bytes={CONTROL_LIMIT_BYTES}"
        )


def _is_control(name: str) -> bool:
    return name.startswith(_BEFORE) and name.endswith(_BEHIND) and len(name) > len(_BEFORE) + len(_BEHIND)
