"""The labelled stream: what a spec means, in which order it is read, and what is left out and counted."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from config import Settings
from federated_singleClassicTraining import keep_stream, keep_unlabelled, num_data
from protocol.errors import BadRecordError, DataError, LimitError
from protocol.records import RecordBatch
from protocol.stream_spec import parse_spec
from tests.support.environments import job
from tests.support.fake_kafka import FakeKafka, FakeReader
from tests.support.streams import PLENTY
from training.stopping import Stop
from training.store import Store
from transport.stream import Counts, read_stream, resolve

ENVIRONMENT = job(
    INPUT_CONFIG='{"data_type": "uint8", "label_type": "uint8", "data_reshape": "", "label_reshape": ""}',
    VALIDATION_RATE="0",
)
SETTINGS = Settings.from_env(ENVIRONMENT)


@pytest.fixture
def kafka() -> FakeKafka:
    kafka = FakeKafka()
    kafka.create("digits", 3)
    kafka.create("more")
    return kafka


def write(kafka: FakeKafka, topic: str, partition: int, *numbers: int) -> None:
    kafka.write(topic, [(bytes([number]), bytes([number])) for number in numbers], partition)


def resolved(kafka: FakeKafka, spec: str) -> list[str]:
    return [str(one) for one in resolve(FakeReader(kafka, "g"), parse_spec(spec), 0)]


def read(kafka: FakeKafka, spec: str, counts: Counts | None = None) -> list[int]:
    reader = FakeReader(kafka, "g")
    ranges = resolve(reader, parse_spec(spec), 0)
    most = sum(one.end - one.start for one in ranges)
    with Store(most, PLENTY, Path()) as store:
        stream = read_stream(reader, ranges, counts or Counts())
        samples = keep_stream(SETTINGS, stream, store, SETTINGS.sieve(most), Stop()).kept.samples
    np.testing.assert_array_equal(samples.features, samples.labels)
    return list(map(int, samples.labels))


def test_open_parts_of_a_spec_mean_what_the_log_has_now(kafka: FakeKafka) -> None:
    write(kafka, "digits", 0, 1, 2, 3)
    write(kafka, "digits", 2, 4)
    kafka.expire("digits", 1)
    assert resolved(kafka, "digits") == ["digits:0:1:3", "digits:1:0:0", "digits:2:0:1"]
    assert resolved(kafka, "digits:0") == ["digits:0:1:3"]
    assert resolved(kafka, "digits:0:2") == ["digits:0:2:3"]
    assert resolved(kafka, "digits:0:2:70") == ["digits:0:2:70"]


def test_partitions_and_offsets_are_read_in_order_however_the_spec_has_them(kafka: FakeKafka) -> None:
    write(kafka, "digits", 0, 1, 2)
    write(kafka, "digits", 1, 3, 4)
    write(kafka, "digits", 2, 5, 6)
    assert read(kafka, "digits:2:0:2,digits:0:1:2,digits:1:0:2,digits:0:0:1") == [1, 2, 3, 4, 5, 6]


def test_topics_are_read_in_the_order_of_the_spec(kafka: FakeKafka) -> None:
    write(kafka, "digits", 0, 1)
    write(kafka, "more", 0, 2)
    assert read(kafka, "more,digits") == [2, 1]


def test_an_empty_partition_is_normal(kafka: FakeKafka) -> None:
    write(kafka, "digits", 1, 3)
    assert read(kafka, "digits") == [3]


def test_gaps_in_offsets_do_not_matter(kafka: FakeKafka) -> None:
    kafka.pass_over("digits")
    write(kafka, "digits", 0, 1)
    kafka.pass_over("digits", 2)
    assert read(kafka, "digits:0:0:4") == [1]


def test_tombstones_and_records_without_a_key_are_counted_and_left_out(kafka: FakeKafka) -> None:
    write(kafka, "digits", 0, 1)
    kafka.write("digits", [(b"\x05", None), (None, b"\x05"), (None, None), (None, b"\x06")])
    write(kafka, "digits", 0, 2)
    counts = Counts()
    assert read(kafka, "digits:0", counts) == [1, 2]
    assert (counts.records, counts.tombstones, counts.keyless) == (2, 2, 2)


def test_a_stream_without_samples_is_an_error(kafka: FakeKafka) -> None:
    kafka.write("digits", [(b"\x05", None)])
    with pytest.raises(DataError) as caught:
        read(kafka, "digits")
    assert str(caught.value) == (
        "DATA_TOPIC holds no record with a value and a key: has the device written its labelled stream?"
    )


def test_a_bad_record_is_named_by_its_offset(kafka: FakeKafka) -> None:
    write(kafka, "digits", 1, 1, 2)
    kafka.write("digits", [(b"\x03", b"\x03\x03")], 1)
    with pytest.raises(BadRecordError, match=r"^digits\[1\]@2: value has 2 bytes, expected 1"):
        read(kafka, "digits")


def told_num_data(kafka: FakeKafka, total: str, **changes: str) -> int:
    settings = Settings.from_env(ENVIRONMENT | {"TOTAL_MSG": total} | changes)
    reader = FakeReader(kafka, "g")
    ranges = resolve(reader, parse_spec("digits:0"), 0)
    with Store(100, PLENTY, Path()) as store:
        data = keep_stream(settings, read_stream(reader, ranges, Counts()), store, settings.sieve(100), Stop())
    return num_data(settings, data)


@pytest.mark.parametrize(
    ("total", "weight"),
    [
        ("10", 7),  # as many as the stream has, of which 3 are bad
        ("None", 7),
        ("1000", 700),  # announced for another stream: the same share of it
        ("2", 1),
        ("1", 1),  # what was trained on counts
    ],
)
def test_bad_records_are_taken_off_the_clients_weight(kafka: FakeKafka, total: str, weight: int) -> None:
    write(kafka, "digits", 0, *range(7))
    kafka.write("digits", [(b"\x05", None), (b"", b"\x01"), (b"\x01", b""), (b"\x01", b"\x01\x01")])
    assert told_num_data(kafka, total, BAD_RECORDS="skip", BAD_RECORDS_LIMIT="0.5") == weight


def test_a_stream_without_bad_records_weighs_what_was_announced(kafka: FakeKafka) -> None:
    write(kafka, "digits", 0, *range(7))
    assert told_num_data(kafka, "1000") == told_num_data(kafka, "1000", BAD_RECORDS="skip") == 1000


@pytest.mark.parametrize(("spec", "what"), [("nothing", "nothing is no topic"), ("digits:7", "digits has no partition 7")])
def test_a_topic_or_partition_that_is_not_there_is_an_error(kafka: FakeKafka, spec: str, what: str) -> None:
    with pytest.raises(LimitError) as caught:
        resolved(kafka, spec)
    assert str(caught.value) == (
        f"DATA_TOPIC: {what} on the fake's Kafka (FAKE_BOOTSTRAP_SERVERS=fake:9092) after 0 s: "
        "has the device written its stream there? ANSWER_LIMIT_S sets the limit"
    )


def test_a_start_beyond_an_open_end_is_an_error(kafka: FakeKafka) -> None:
    write(kafka, "digits", 0, 1)
    with pytest.raises(DataError, match=r"^DATA_TOPIC starts at offset 5 of digits\[0\], and its log ends at 1: "):
        resolved(kafka, "digits:0:5")


# Beside the labelled stream on `digits`, an unlabelled one on `more`.

LEFT_OPEN = ENVIRONMENT | {"INPUT_CONFIG": '{"data_type": "uint8", "label_type": "uint8", "label_reshape": ""}'}


def unlabelled(kafka: FakeKafka, **changes: str) -> list[list[int]]:
    """The values of `more`, read after a labelled stream of two bytes a value."""
    kafka.write("digits", [(b"\x01", b"ab")])
    settings = Settings.from_env(LEFT_OPEN | changes)
    decoder, reader = settings.decoder(), FakeReader(kafka, "g")

    def batches(topic: str, *, needs_key: bool) -> Iterator[RecordBatch]:
        return read_stream(reader, resolve(reader, parse_spec(topic), 0), Counts(), needs_key=needs_key)

    with Store(100, PLENTY, Path()) as store:
        keep_stream(settings, batches("digits", needs_key=True), store, settings.sieve(100, decoder), Stop())
    with Store(100, PLENTY, Path()) as store:
        sieve = settings.sieve(100, decoder.of_values())
        kept = keep_unlabelled(batches("more", needs_key=False), store, sieve, Stop()).kept
    assert kept.samples.labels.shape == (len(kept), 0)
    return [row.tolist() for row in kept.samples.features]


@pytest.mark.parametrize("key", [None, b"\x00", b"", b"whatever"])
def test_keys_of_an_unlabelled_stream_carry_nothing(kafka: FakeKafka, key: bytes | None) -> None:
    kafka.write("more", [(b"\x00", b"cd"), (key, b"ef"), (key, None), (key, b"gh")])
    assert unlabelled(kafka) == [[99, 100], [101, 102], [103, 104]]


def test_the_labelled_stream_settles_what_the_values_of_the_unlabelled_one_are(kafka: FakeKafka) -> None:
    kafka.write("more", [(None, b"cd"), (None, b"efg")])
    with pytest.raises(DataError) as caught:
        unlabelled(kafka)
    assert str(caught.value) == (
        "UNSUPERVISED_TOPIC, whose values are read as those of DATA_TOPIC are: more[0]@1: value has 3 bytes, expected 2 "
        "(uint8, shape 2 as in the first record)"
    )


def test_bad_records_of_an_unlabelled_stream_are_left_out_where_they_may_be(kafka: FakeKafka) -> None:
    kafka.write("more", [(None, b"cde"), (None, b"fg")])
    assert unlabelled(kafka, BAD_RECORDS="skip", BAD_RECORDS_LIMIT="0.5") == [[102, 103]]


def test_an_unlabelled_stream_without_values_is_an_error(kafka: FakeKafka) -> None:
    kafka.write("more", [(b"\x00", None)])
    with pytest.raises(DataError, match=r"^UNSUPERVISED_TOPIC holds no record with a value: has the device written "):
        unlabelled(kafka)


def test_the_variable_of_a_stream_that_is_not_there_is_named(kafka: FakeKafka) -> None:
    with pytest.raises(LimitError, match=r"^UNSUPERVISED_TOPIC: nothing is no topic on "):
        resolve(FakeReader(kafka, "g"), parse_spec("nothing"), 0, "UNSUPERVISED_TOPIC")
