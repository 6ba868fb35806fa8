"""Whole data sets as labelled streams, dealt to partitions as devices would."""

from __future__ import annotations

from typing import Any

from demo.device import Device, Stream
from protocol.records import Array


def round_robin(count: int, partitions: int) -> list[int]:
    """The partition of each of `count` records, dealt in turn."""
    return [index % partitions for index in range(count)]


def in_runs(count: int, partitions: int) -> list[int]:
    """The partition of each of `count` records, the first share to the first partition and so on."""
    return [index * partitions // count for index in range(count)]


DEALS = {"round-robin": round_robin, "runs": in_runs}


def write_stream(  # noqa: PLR0913 - what a stream is, where it goes, and how it is dealt
    bootstrap: str,
    topic: str,
    features: Array,
    labels: Array,
    input_format: str,
    *,
    partitions: int = 1,
    deal: str = "round-robin",
    control_topic: str | None = None,
    **told: Any,
) -> Stream:
    """Write samples to a topic, which is made if it is not there; returns when all are acknowledged.

    Args:
        bootstrap: host:port list of the device's Kafka.
        topic: where they go; what it holds already stays, and is no part of the stream.
        features: (n, *data_shape), numbers.
        labels: (n, *label_shape), numbers.
        input_format: RAW, AVRO or JSON.
        partitions: of the topic.
        deal: a key of DEALS, how records come to partitions.
        control_topic: where it is announced; None = nowhere.
        told: what is announced of it, as Device takes it.

    Raises:
        ValueError: an unknown format or deal, or not one label a datum.
        PeerError: Kafka refuses, or someone else writes there at the same time.
    """
    if deal not in DEALS:
        raise ValueError(f"no way to deal {deal!r}: choose from {', '.join(DEALS)}")
    with Device(bootstrap, topic, input_format, partitions=partitions, control_topic=control_topic, **told) as device:
        device.send_many(features, labels, DEALS[deal](len(features), partitions))
        device.flush()
        return device.stream
