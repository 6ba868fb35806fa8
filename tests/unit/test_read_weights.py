"""Announced weights are read from every range that the message names."""

import numpy as np
import pytest

from protocol.errors import ModelError
from protocol.weights import array_key, dump_array
from tests.support.fake_kafka import FakeKafka, FakeReader
from tests.support.messages import model_message
from transport.weights import read_weights


@pytest.fixture
def kafka() -> FakeKafka:
    kafka = FakeKafka()
    kafka.create("w", 2)
    for index in range(4):
        kafka.write("w", [(array_key(index), dump_array(np.full(3, index, np.float32)))], partition=index // 2)
    return kafka


def test_weights_over_several_partitions_are_read_once_and_in_index_order(kafka: FakeKafka) -> None:
    arrays = read_weights(FakeReader(kafka, "g"), model_message(topic="w:1:0:2,w:0:0:2"))
    assert [float(array[0]) for array in arrays] == [0, 1, 2, 3]


def test_weights_that_retention_has_removed_are_the_models_fault(kafka: FakeKafka) -> None:
    kafka.expire("w", 1)
    with pytest.raises(ModelError, match=r"offsets 0 to 0 of w\[0\] are gone"):
        read_weights(FakeReader(kafka, "g"), model_message(topic="w:0:0:2"))
