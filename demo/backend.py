"""What Kafka-ML's federated backend makes of an announced stream: the environment of a worker's Job."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from demo.device import Stream


def environment_of(
    announcement: Mapping[str, Any],
    *,
    cloud_bootstrap: str,
    data_bootstrap: str,
    model_id: str,
    client_id: str | None = None,
    is_distributed: bool = False,
) -> dict[str, str]:
    """The environment that the edge backend gives to the Job of an announced stream and a model, and nothing else.

    Args:
        announcement: of the stream, as Stream.announcement has it.
        cloud_bootstrap: host:port list of the cloud's Kafka.
        data_bootstrap: host:port list of the device's Kafka.
        model_id: the federation's id.
        client_id: the client's id; without one the variable is absent, as older backends leave it.
        is_distributed: whether the model is one of several sub-models.
    """
    client = {} if client_id is None else {"FEDERATED_CLIENT_ID": client_id}
    return {
        "KML_CLOUD_BOOTSTRAP_SERVERS": cloud_bootstrap,
        "DATA_BOOTSTRAP_SERVERS": data_bootstrap,
        "DATA_TOPIC": announcement["topic"],
        "UNSUPERVISED_TOPIC": announcement["unsupervised_topic"] or "",  # a variable without a value, to Kubernetes
        "INPUT_FORMAT": announcement["input_format"],
        "INPUT_CONFIG": json.dumps(announcement["input_config"]),
        "VALIDATION_RATE": f"{announcement['validation_rate']:.6f}",
        "TEST_RATE": f"{announcement['test_rate']:.6f}",
        "TOTAL_MSG": str(announcement["total_msg"]),
        "FEDERATED_MODEL_ID": model_id,
        "CASE": str(1 + bool(announcement["incremental"]) + 2 * is_distributed),
        "NVIDIA_VISIBLE_DEVICES": "all",
        **client,
    }


def job_environment(stream: Stream, *, validation_rate: float, test_rate: float, **known: Any) -> dict[str, str]:
    """The same of a stream that is announced nowhere; `known` is what `environment_of` takes beside it."""
    return environment_of(stream.announcement(validation_rate=validation_rate, test_rate=test_rate), **known)
