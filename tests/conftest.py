"""Fixtures that several rooms of the tests share."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator

import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


def pytest_collection_finish() -> None:
    """Keep Python's collector from what importing has made: it would look through all of it for each model that is built."""
    gc.freeze()


@pytest.fixture(scope="session")
def bootstrap() -> Iterator[str]:
    """Address of a real Kafka, started once for all tests that ask for it."""
    from demo.broker import kafka  # noqa: PLC0415 - unit tests need no broker

    with kafka() as address:
        yield address
