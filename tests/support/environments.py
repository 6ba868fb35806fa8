"""An environment that a Job might get, to change one variable of."""

from __future__ import annotations

import json

RAW_CONFIG = {"data_type": "float32", "label_type": "uint8", "data_reshape": "8 8", "label_reshape": ""}

JOB = {
    "KML_CLOUD_BOOTSTRAP_SERVERS": "kafka-cloud:9092",
    "DATA_BOOTSTRAP_SERVERS": "kafka-edge:9092",
    "DATA_TOPIC": "digits:0:0:400",
    "INPUT_FORMAT": "RAW",
    "INPUT_CONFIG": json.dumps(RAW_CONFIG),
    "VALIDATION_RATE": "0.200000",
    "TOTAL_MSG": "400",
    "FEDERATED_MODEL_ID": "dig1",
    "FEDERATED_CLIENT_ID": "c1",
}


def job(**changes: str | None) -> dict[str, str]:
    """The environment with some variables changed, or left out where None."""
    return {name: value for name, value in (JOB | changes).items() if value is not None}
