"""A moving stream: where it goes on, in which windows it comes, and when a round of it ends."""

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

import transport.windows
from protocol.errors import AccessError, DataError, LimitError, WorkerError
from protocol.positions import Partition, Positions
from protocol.stream_spec import parse_spec
from protocol.windows import Window, WindowLimits
from tests.support.fake_kafka import FakeKafka, FakeReader, FakeTopics
from transport.interfaces import POLL_S, Record
from transport.positions import StreamPositions
from transport.windows import MovingStream

LONG_S = 60.0
GROUP = "FED-MODEL-dig1-CLIENT-c1-2"
SILENCE_S = 0.03


class Device(FakeReader):
    """A reader under whose eyes something happens: each step is taken when all that was there has been read."""

    def __init__(self, kafka: FakeKafka, *steps: Callable[[], object]) -> None:
        super().__init__(kafka, GROUP)
        self._steps = list(steps)

    def poll(
        self, most: int = 1, limit_s: float = POLL_S, *, gone: type[WorkerError] = DataError
    ) -> tuple[list[Record], Mapping[Partition, int]]:
        records, reached = super().poll(most, limit_s, gone=gone)
        if not records and self._steps:
            self._steps.pop(0)()
        return records, reached


@pytest.fixture
def kafka() -> FakeKafka:
    kafka = FakeKafka()
    kafka.create("sensors", 2)
    return kafka


def write(kafka: FakeKafka, *numbers: int, partition: int = 0, topic: str = "sensors") -> None:
    kafka.write(topic, [(bytes([number]), bytes([number])) for number in numbers], partition)


def stream(
    kafka: FakeKafka,
    spec: str = "sensors",
    *,
    reader: FakeReader | None = None,
    wait_limit_s: float = LONG_S,
    needs_key: bool = True,
    **limits: Any,
) -> MovingStream:
    reader = reader or FakeReader(kafka, GROUP)
    ranges = parse_spec(spec)
    bounds = {"records": 100, "seconds": LONG_S, "round_windows": None, "round_seconds": LONG_S} | limits
    where = StreamPositions(reader, FakeTopics(kafka), ranges, answer_limit_s=0)
    return MovingStream(reader, where, ranges, WindowLimits(**bounds), wait_limit_s, needs_key=needs_key)


def numbers(window: Window) -> list[int]:
    return [value[0] for batch in window.batches for value in batch.values]


def taken(windows: Iterator[Window]) -> tuple[list[list[int]], dict[Partition, int]]:
    """The numbers of each window, and the offsets behind the last one."""
    found = list(windows)
    return [numbers(window) for window in found], dict(found[-1].positions.offsets)


def positions(kafka: FakeKafka, topic: str = "sensors", **offsets: int) -> Positions:
    """As p0=…, p1=…"""
    return Positions({topic: kafka.topics[topic].topic_id}, {(topic, int(name[1:])): at for name, at in offsets.items()})


def warnings_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]


class TestWindows:
    def test_windows_hold_so_many_records_and_the_last_one_what_is_left(self, kafka: FakeKafka) -> None:
        write(kafka, *range(7))
        windows, offsets = taken(stream(kafka, records=3).windows(None, SILENCE_S))
        assert windows == [[0, 1, 2], [3, 4, 5], [6]]
        assert offsets == {("sensors", 0): 7, ("sensors", 1): 0}

    def test_each_window_tells_the_position_behind_it(self, kafka: FakeKafka) -> None:
        write(kafka, *range(4))
        found = list(stream(kafka, records=2).windows(None, SILENCE_S))
        assert [window.positions for window in found] == [positions(kafka, p0=2, p1=0), positions(kafka, p0=4, p1=0)]

    def test_all_partitions_of_all_topics_are_read(self, kafka: FakeKafka) -> None:
        kafka.create("more")
        write(kafka, 1)
        write(kafka, 2, partition=1)
        write(kafka, 3, topic="more")
        windows, offsets = taken(stream(kafka, "sensors,more").windows(None, SILENCE_S))
        assert windows == [[1, 2, 3]]
        assert offsets == {("sensors", 0): 1, ("sensors", 1): 1, ("more", 0): 1}

    def test_partitions_that_the_spec_does_not_name_are_not_read(self, kafka: FakeKafka) -> None:
        write(kafka, 1)
        write(kafka, 2, partition=1)
        assert taken(stream(kafka, "sensors:1").windows(None, SILENCE_S)) == ([[2]], {("sensors", 1): 1})

    def test_a_window_ends_some_time_after_its_first_record(self, kafka: FakeKafka) -> None:
        write(kafka, 1)
        reader = Device(kafka, lambda: write(kafka, 2), lambda: time.sleep(0.05), lambda: write(kafka, 3))
        windows, _ = taken(stream(kafka, reader=reader, seconds=0.04, round_windows=2).windows(None, None))
        assert windows == [[1, 2], [3]]

    def test_silence_ends_the_window_and_the_round(self, kafka: FakeKafka) -> None:
        write(kafka, 1)
        reader = Device(kafka, lambda: write(kafka, 2))
        assert taken(stream(kafka, reader=reader).windows(None, SILENCE_S))[0] == [[1, 2]]

    def test_silence_counts_from_the_end_of_the_last_windows_fit(self, kafka: FakeKafka) -> None:
        write(kafka, 1, 2)
        reader = Device(kafka, lambda: write(kafka, 3))
        found = []
        for window in stream(kafka, reader=reader, records=2).windows(None, 0.1):
            found.append(numbers(window))
            time.sleep(0.15)  # longer than the silence that ends a round
        assert found == [[1, 2], [3]]

    def test_what_came_while_nobody_looked_is_no_silence(self, kafka: FakeKafka) -> None:
        """A poll that brings nothing, as one does that a broker takes long to answer."""

        class Slow(Device):
            def poll(self, *args: Any, **kwargs: Any) -> Any:
                if self._steps:
                    time.sleep(SILENCE_S)
                    self._steps.pop(0)()
                    return [], {}
                return super().poll(*args, **kwargs)

        write(kafka, 1)
        reader = Slow(kafka)
        one = stream(kafka, reader=reader, records=1)
        found: list[list[int]] = []
        for window in one.windows(None, SILENCE_S):
            if not found:
                write(kafka, 2)
                reader._steps = [lambda: None] * 3
            found.append(numbers(window))
        assert found == [[1], [2]]

    def test_a_round_without_such_a_silence_ends_with_its_windows(self, kafka: FakeKafka) -> None:
        write(kafka, *range(9))
        assert taken(stream(kafka, records=2, round_windows=3).windows(None, None))[0] == [[0, 1], [2, 3], [4, 5]]

    def test_a_round_that_never_falls_silent_ends_with_its_time(self, kafka: FakeKafka) -> None:
        class Endless(Device):
            def poll(self, *args: Any, **kwargs: Any) -> Any:
                write(kafka, 7)
                return super().poll(*args, **kwargs)

        begun = time.monotonic()
        windows, offsets = taken(stream(kafka, reader=Endless(kafka), records=5, round_seconds=0.1).windows(None, SILENCE_S))
        assert sum(map(len, windows)) == offsets["sensors", 0]
        assert len(windows) > 1
        assert time.monotonic() - begun >= 0.1

    def test_the_time_of_a_round_ends_its_window_too(self, kafka: FakeKafka) -> None:
        write(kafka, 1)
        assert taken(stream(kafka, round_seconds=0.02).windows(None, None))[0] == [[1]]

    def test_tombstones_and_records_without_a_key_are_counted_once_and_no_part_of_a_window(
        self, kafka: FakeKafka, caplog: pytest.LogCaptureFixture
    ) -> None:
        kafka.write("sensors", [(b"k", None), (None, b"v"), (b"\x01", b"\x01"), (None, None)])
        one = stream(kafka, records=2)
        windows, offsets = taken(one.windows(None, SILENCE_S))
        assert (windows, offsets["sensors", 0]) == ([[1]], 4)
        assert (one.counts.records, one.counts.tombstones, one.counts.keyless) == (1, 2, 1)
        write(kafka, 2)
        list(one.windows(positions(kafka, p0=4, p1=0), SILENCE_S))
        assert warnings_of(caplog) == ["left out tombstones=2 and records without a key=1: they are no samples"]

    def test_records_of_a_stream_without_labels_need_no_key(self, kafka: FakeKafka) -> None:
        kafka.write("sensors", [(None, b"\x01"), (b"\x00", b"\x02"), (b"", b"\x03"), (b"k", None)])
        one = stream(kafka, needs_key=False)
        assert taken(one.windows(None, SILENCE_S))[0] == [[1, 2, 3]]
        assert (one.counts.records, one.counts.tombstones, one.counts.keyless) == (3, 1, 0)

    def test_offsets_without_records_are_passed_over(self, kafka: FakeKafka) -> None:
        write(kafka, 1)
        kafka.pass_over("sensors", 3)
        assert taken(stream(kafka, "sensors:0").windows(None, SILENCE_S)) == ([[1]], {("sensors", 0): 4})

    def test_an_end_of_the_spec_is_kept_to_and_ends_the_round(self, kafka: FakeKafka) -> None:
        write(kafka, *range(6))
        write(kafka, 7, 8, partition=1)
        one = stream(kafka, "sensors:0:1:4,sensors:1:0:1")
        windows, offsets = taken(one.windows(None, None))
        assert windows == [[1, 2, 3, 7]]
        assert offsets == {("sensors", 0): 4, ("sensors", 1): 1}
        with pytest.raises(DataError, match=r"^DATA_TOPIC has an end, and all before it has been trained on: leave it out"):
            next(one.windows(positions(kafka, p0=4, p1=1), None))


class TestRounds:
    def test_a_round_goes_on_where_it_is_told_to(self, kafka: FakeKafka) -> None:
        write(kafka, *range(4))
        one = stream(kafka, "sensors:0", records=2, round_windows=1)
        assert taken(one.windows(None, None)) == ([[0, 1]], {("sensors", 0): 2})
        assert taken(one.windows(positions(kafka, p0=2), None)) == ([[2, 3]], {("sensors", 0): 4})

    def test_a_round_that_came_to_nothing_is_read_again(self, kafka: FakeKafka) -> None:
        write(kafka, *range(4))
        one = stream(kafka, records=2, round_windows=1)
        assert taken(one.windows(None, None)) == taken(one.windows(None, None))

    def test_a_stream_that_is_silent_from_the_start_is_waited_for_in_the_open(
        self, kafka: FakeKafka, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level("INFO")
        with pytest.raises(LimitError) as caught:
            next(stream(kafka, "sensors:0,sensors:1", wait_limit_s=0.05).windows(None, 0.001))
        assert str(caught.value) == (
            "a record on DATA_TOPIC sensors:0,sensors:1 did not come within 0.05 s; WAIT_LIMIT_S sets the limit"
        )
        assert "waiting for a record on DATA_TOPIC sensors:0,sensors:1 seconds=0" in [
            one.getMessage() for one in caplog.records
        ]

    def test_a_topic_that_is_not_there_is_told(self, kafka: FakeKafka) -> None:
        with pytest.raises(LimitError, match=r"^DATA_TOPIC: nothing is no topic on "):
            next(stream(kafka, "nothing").windows(None, None))

    def test_nothing_is_followed_between_rounds(self, kafka: FakeKafka) -> None:
        write(kafka, 1)
        reader = FakeReader(kafka, GROUP)
        list(stream(kafka, reader=reader).windows(None, SILENCE_S))
        assert reader._followed == {}


class TestBeginnings:
    def test_without_any_position_it_begins_where_the_spec_has_it_or_at_the_beginning(self, kafka: FakeKafka) -> None:
        write(kafka, *range(5))
        write(kafka, 7, 8, partition=1)
        kafka.expire("sensors", 1, partition=1)
        assert taken(stream(kafka, "sensors:0:3,sensors:1").windows(None, SILENCE_S))[0] == [[3, 4, 8]]

    def test_else_where_its_group_has_been_before(self, kafka: FakeKafka) -> None:
        write(kafka, *range(5))
        for metadata in ("", kafka.topics["sensors"].topic_id):
            kafka.offsets[GROUP, "sensors", 0] = (4, metadata)
            assert taken(stream(kafka, "sensors:0:1").windows(None, SILENCE_S))[0] == [[4]]

    @pytest.mark.parametrize("committed", [(4, "id of another"), (400, "")])
    def test_an_offset_of_a_topic_that_is_gone_is_none(
        self, kafka: FakeKafka, committed: tuple[int, str], caplog: pytest.LogCaptureFixture
    ) -> None:
        write(kafka, *range(5))
        kafka.offsets[GROUP, "sensors", 0] = committed
        assert taken(stream(kafka, "sensors:0").windows(None, SILENCE_S))[0] == [[0, 1, 2, 3, 4]]
        assert warnings_of(caplog) == ["topic sensors was deleted and made anew: the stream goes on at its beginning"]

    def test_what_is_told_goes_before_what_the_group_has(self, kafka: FakeKafka) -> None:
        write(kafka, *range(5))
        kafka.offsets[GROUP, "sensors", 0] = (4, "")
        assert taken(stream(kafka, "sensors:0").windows(positions(kafka, p0=2), SILENCE_S))[0] == [[2, 3, 4]]

    def test_a_topic_of_which_nothing_is_told_begins_as_if_it_were_the_only_one(self, kafka: FakeKafka) -> None:
        kafka.create("more")
        write(kafka, 1, 2)
        write(kafka, 3, 4, topic="more")
        assert taken(stream(kafka, "sensors:0,more").windows(positions(kafka, p0=1), SILENCE_S))[0] == [[2, 3, 4]]

    def test_a_partition_that_is_new_is_read_from_its_beginning(self, kafka: FakeKafka) -> None:
        write(kafka, 1, 2)
        write(kafka, 3, partition=1)
        kafka.offsets[GROUP, "sensors", 1] = (1, "")
        assert taken(stream(kafka).windows(positions(kafka, p0=1), SILENCE_S))[0] == [[2, 3]]

    def test_a_partition_that_is_added_in_a_round_is_read_from_then_on(
        self, kafka: FakeKafka, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(transport.windows, "LOOK_EVERY_S", 0.0)

        def add() -> None:
            log = type(kafka.topics["sensors"].logs[0])
            kafka.topics["sensors"].logs.append(log())
            write(kafka, 9, partition=2)

        write(kafka, 1)
        windows, offsets = taken(stream(kafka, reader=Device(kafka, add)).windows(None, SILENCE_S))
        assert windows == [[1, 9]]
        assert offsets == {("sensors", 0): 1, ("sensors", 1): 0, ("sensors", 2): 1}

    def test_what_retention_has_removed_is_told_and_the_stream_goes_on(
        self, kafka: FakeKafka, caplog: pytest.LogCaptureFixture
    ) -> None:
        write(kafka, *range(9))
        kafka.expire("sensors", 6)
        assert taken(stream(kafka, "sensors:0").windows(positions(kafka, p0=2), SILENCE_S)) == (
            [[6, 7, 8]],
            {("sensors", 0): 9},
        )
        [warning] = warnings_of(caplog)
        assert warning.startswith(
            "retention has removed offsets 2 to 5 of sensors[0] before they were trained on, lost_offsets=4: the stream goes on "
            "at offset 6; keep it longer ("
        )

    def test_retention_that_is_faster_than_the_reading_is_told(
        self, kafka: FakeKafka, caplog: pytest.LogCaptureFixture
    ) -> None:
        write(kafka, 0, 1)

        def overtake() -> None:
            write(kafka, *range(2, 9))
            kafka.expire("sensors", 7)

        one = stream(kafka, "sensors:0", reader=Device(kafka, overtake))
        assert taken(one.windows(None, SILENCE_S)) == ([[0, 1, 7, 8]], {("sensors", 0): 9})
        assert [line.split(": ")[0] for line in warnings_of(caplog)] == [
            "retention has removed offsets 2 to 6 of sensors[0] before they were trained on, lost_offsets=5"
        ]

    def test_a_log_that_has_lost_its_end_goes_on_there(self, kafka: FakeKafka, caplog: pytest.LogCaptureFixture) -> None:
        write(kafka, 0, 1)
        reader = Device(kafka, lambda: write(kafka, 2))
        assert taken(stream(kafka, "sensors:0", reader=reader).windows(positions(kafka, p0=5), SILENCE_S))[0] == [[2]]
        assert warnings_of(caplog) == [
            "the log of sensors[0] ends at offset 2, and was trained on up to 5: its brokers have lost records, and the stream "
            "goes on at the end"
        ]

    def test_a_start_of_the_spec_beyond_the_log_is_an_error(self, kafka: FakeKafka) -> None:
        with pytest.raises(DataError, match=r"^DATA_TOPIC starts at offset 5 of sensors\[0\], and its log ends at 0: "):
            next(stream(kafka, "sensors:0:5").windows(None, None))

    def test_more_partitions_than_positions_can_be_kept_of_are_refused(self, kafka: FakeKafka) -> None:
        kafka.create("wide", 400)
        with pytest.raises(DataError) as caught:
            next(stream(kafka, "wide").windows(None, None))
        assert str(caught.value) == (
            "DATA_TOPIC has 400 partitions, and where they go on must fit into the 4096 bytes that Kafka keeps beside an offset: "
            "name some of them, and let other workers train on the others"
        )

    def test_a_group_that_may_not_be_read_is_told(self, kafka: FakeKafka) -> None:
        kafka.forbidden.add(("READ", "group", GROUP))
        with pytest.raises(AccessError, match=f"READ on group {GROUP}"):
            next(stream(kafka).windows(None, None))


class TestTopicsMadeAnew:
    def test_between_rounds_all_of_it_is_read(self, kafka: FakeKafka, caplog: pytest.LogCaptureFixture) -> None:
        before = positions(kafka, p0=2, p1=1)
        kafka.create("sensors")
        write(kafka, *range(4))
        assert taken(stream(kafka).windows(before, SILENCE_S)) == ([[0, 1, 2, 3]], {("sensors", 0): 4})
        assert warnings_of(caplog) == ["topic sensors was deleted and made anew: the stream goes on at its beginning"]

    @pytest.mark.parametrize("count", [1, 2, 5])
    def test_in_a_round_what_was_read_since_the_last_look_is_dropped(self, kafka: FakeKafka, count: int) -> None:
        """Whether the new log ends before, at or behind the offset that is read next."""
        before = kafka.topics["sensors"].topic_id

        def start_over() -> None:
            kafka.create("sensors")
            write(kafka, *range(10, 10 + count))

        write(kafka, 0, 1, 2, 3)
        found = list(stream(kafka, reader=Device(kafka, start_over), records=2).windows(None, SILENCE_S))
        assert [numbers(window) for window in found][:2] == [[0, 1], [2, 3]]
        assert [number for window in found[2:] for number in numbers(window)] == list(range(10, 10 + count))
        assert found[-1].positions == positions(kafka, p0=count)
        assert before != kafka.topics["sensors"].topic_id

    def test_a_window_that_is_in_doubt_begins_a_round_anew(self, kafka: FakeKafka) -> None:
        def start_over() -> None:
            kafka.create("sensors")
            write(kafka, 7)

        write(kafka, 0, 1)
        found = list(stream(kafka, reader=Device(kafka, start_over)).windows(None, SILENCE_S))
        assert [numbers(window) for window in found] == [[7]]


def test_positions_are_committed_to_the_group_for_whoever_watches_it(kafka: FakeKafka) -> None:
    write(kafka, 1, 2)
    one = stream(kafka)
    [window] = one.windows(None, SILENCE_S)
    assert kafka.offsets == {}
    one.commit(window.positions)
    topic_id = kafka.topics["sensors"].topic_id
    assert kafka.offsets == {(GROUP, "sensors", 0): (2, topic_id), (GROUP, "sensors", 1): (0, topic_id)}


def test_every_record_is_in_one_window_of_one_round_whatever_comes_when(kafka: FakeKafka) -> None:
    """Rounds that come to nothing are read again, in windows of other sizes."""
    written = 0
    kept: Positions | None = None
    seen: list[int] = []

    class Busy(FakeReader):
        def poll(self, *args: Any, **kwargs: Any) -> Any:
            nonlocal written
            if written < 200:
                write(kafka, written, partition=written % 2)
                written += 1
            return super().poll(*args, **kwargs)

    reader = Busy(kafka, GROUP)
    number = 0
    while len(seen) < 200:
        number += 1
        one = stream(kafka, reader=reader, records=1 + number % 5, round_windows=1 + number % 3)
        found = list(one.windows(kept, SILENCE_S))
        if number % 4:  # the others are not answered
            seen += [value for window in found for value in numbers(window)]
            kept = found[-1].positions
    assert sorted(seen) == list(range(200))
