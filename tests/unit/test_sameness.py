"""A topic that is read has to stay the one it is."""

import pytest

from protocol.errors import DataError, LimitError
from tests.support.fake_kafka import FakeKafka, FakeTopics
from transport.sameness import same_topics


@pytest.fixture
def kafka() -> FakeKafka:
    kafka = FakeKafka()
    for topic in ("digits", "more"):
        kafka.create(topic)
    return kafka


def test_topics_that_stay_are_read(kafka: FakeKafka) -> None:
    with same_topics(FakeTopics(kafka), ["digits", "more"]):
        kafka.create("another")


@pytest.mark.parametrize("fault", [None, DataError("a record cannot be decoded"), LimitError("offsets did not arrive")])
@pytest.mark.parametrize("what", ["deleted", "deleted and made anew"])
def test_a_topic_that_does_not_stay_is_the_fault_whatever_was_met_in_it(
    kafka: FakeKafka, fault: Exception | None, what: str
) -> None:
    def read() -> None:
        with same_topics(FakeTopics(kafka), ["digits", "more"]):
            kafka.delete("more")
            if what != "deleted":
                kafka.create("more")
            if fault is not None:
                raise fault

    with pytest.raises(DataError) as caught:
        read()
    assert str(caught.value) == (
        f"topic more was {what} while it was read, so what was read of it is in doubt: let the device write the stream again, "
        "announce it again, and leave the topic alone while a worker reads it"
    )


def test_a_fault_in_a_topic_that_stays_is_told_as_it_is(kafka: FakeKafka) -> None:
    with pytest.raises(DataError, match=r"^a record cannot be decoded$"), same_topics(FakeTopics(kafka), ["digits"]):
        raise DataError("a record cannot be decoded")
