"""Announced weights are read from every range that the message names."""

import numpy as np
import pytest

from protocol.errors import ModelError, SpaceLackError
from protocol.pickles import dump_array
from protocol.weights import array_key
from tests.support import watch
from tests.support.fake_kafka import FakeKafka, FakeReader
from tests.support.messages import model_message
from transport.weights import RECORD_OVERHEAD_BYTES, read_weights

PLENTY = 2**30


@pytest.fixture
def kafka() -> FakeKafka:
    kafka = FakeKafka()
    kafka.create("w", 2)
    for index in range(4):
        kafka.write("w", [(array_key(index), dump_array(np.full(3, index, np.float32)))], partition=index // 2)
    return kafka


def test_weights_over_several_partitions_are_read_once_and_in_index_order(kafka: FakeKafka) -> None:
    arrays = read_weights(FakeReader(kafka, "g"), model_message(topic="w:1:0:2,w:0:0:2"), PLENTY)
    assert [float(array[0]) for array in arrays] == [0, 1, 2, 3]


def test_weights_that_retention_has_removed_are_the_models_fault(kafka: FakeKafka) -> None:
    kafka.expire("w", 1)
    with pytest.raises(ModelError, match=r"offsets 0 to 0 of w\[0\] are gone"):
        read_weights(FakeReader(kafka, "g"), model_message(topic="w:0:0:2"), PLENTY)


def test_a_range_of_something_else_is_not_read_to_its_end(kafka: FakeKafka) -> None:
    kafka.write("w", [(b"\x02", b"no array")])
    with pytest.raises(ModelError, match=r"^w\[0\]@2: not a pickle"):
        read_weights(FakeReader(kafka, "g"), model_message(topic="w:0:2:1000000000000"), PLENTY)


def test_weights_beyond_the_workers_memory_are_not_taken_in(kafka: FakeKafka) -> None:
    with pytest.raises(SpaceLackError) as caught:
        read_weights(FakeReader(kafka, "g"), model_message(topic="w:0:0:2,w:1:0:2"), 400)
    assert str(caught.value) == (
        "weights: w:0:0:2,w:1:0:2 holds more than 400 bytes, half of this worker's memory: give the pod more, "
        "at FED-dig1-model_control_topic[0]@5"
    )


def test_many_small_arrays_count_with_what_python_adds_to_each(kafka: FakeKafka) -> None:
    scalar = dump_array(np.ones((), np.float32))
    kafka.create("many", 1)
    kafka.write("many", [(array_key(index), scalar) for index in range(1_000)])
    message = model_message(topic="many:0:0:1000")
    with pytest.raises(SpaceLackError):
        read_weights(FakeReader(kafka, "g"), message, 1_000 * (len(scalar) + 500))
    with watch.memory() as taken:
        assert len(read_weights(FakeReader(kafka, "g"), message, PLENTY)) == 1_000
    assert taken.peak_bytes < 1_000 * (len(scalar) + RECORD_OVERHEAD_BYTES)
