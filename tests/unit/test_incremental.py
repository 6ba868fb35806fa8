"""CASE 2: a round is one fit after the other, a window each, of one model that is built and traced once."""

import gc
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tensorflow.python.eager import context

import federated_singleIncrementalTraining
from config import Settings
from federated_distributedIncrementalTraining import distributed_incremental
from federated_mainTraining import Train
from federated_singleIncrementalTraining import Labelled, Windows, silence_s, single_incremental
from KafkaModelEngine import KafkaModelEngine
from protocol.architecture import Dialect
from protocol.errors import BadRecordError, DataError, ModelError
from protocol.messages import Trained
from protocol.positions import Positions
from protocol.records import BadRecord, RecordBatch
from protocol.windows import Window
from tests.support import golden
from tests.support.environments import job
from tests.support.messages import model_message
from tests.support.models import CHAINED_ARGS, DIALECTS, announced, chained, classifier, compile_args
from tests.support.streams import PLENTY, fit_data
from tests.support.traces import count_traces
from training.dialects import TrainableModel, load_keras
from training.stopping import Stop

SEED = 7
DIGITS = golden.samples()
VALUES = [features.tobytes() for features in DIGITS.features]
KEYS = [bytes([label]) for label in DIGITS.labels]


class Stream:
    """Windows of the digits, one after the other, of the sizes that are given."""

    def __init__(self, *sizes: int, damaged: Sequence[int] = ()) -> None:
        self.handed_over: list[list[int]] = []
        self.asked: list[tuple[Positions | None, float | None]] = []
        self._sizes = sizes
        self._values = [b"" if number in damaged else value for number, value in enumerate(VALUES)]

    def windows(self, start: Positions | None, silence_s: float | None) -> Iterator[Window]:
        self.asked.append((start, silence_s))
        at = 0
        for size in self._sizes:
            middle = at + size // 2
            batches = [self._batch(begin, end) for begin, end in ((at, middle), (middle, at + size)) if end > begin]
            at += size
            yield Window(batches, Positions({"digits": "id"}, {("digits", 0): at}))

    def _batch(self, begin: int, end: int) -> RecordBatch:
        return RecordBatch("digits", 0, range(begin, end), KEYS[begin:end], self._values[begin:end])

    def hand_over(self, bad: Sequence[BadRecord]) -> None:
        self.handed_over.append([one.offset for one in bad])


class Worker:
    """Trains rounds of one model."""

    def __init__(
        self,
        dialect: Dialect,
        kwargs_fit: dict[str, Any] | None = None,
        model: Any = None,
        args: dict[str, Any] | None = None,
        outputs: int | None = None,
        **environment: str,
    ) -> None:
        self.settings = Settings.from_env(job(CASE="2", TOTAL_MSG="None", DATA_TOPIC="digits") | environment)
        settings = {"batch": 8, "kwargs_fit": {"epochs": 1} | (kwargs_fit or {}), "stream_timeout": 1500, "N": outputs}
        self.message, arrays = announced(
            model or classifier(dialect), training_settings=settings, model_compile_args=args or compile_args()
        )
        self.engine = KafkaModelEngine(lambda _message: arrays)
        self.stop = Stop()

    def load(self) -> TrainableModel:
        return self.engine.load(self.message, SEED)

    def train(self, stream: Stream, trainable: TrainableModel | None = None, memory: int = PLENTY) -> Trained:
        train = single_incremental(self.settings, lambda: stream, self.stop, memory, None)
        return train(trainable or self.load(), self.message, SEED)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_round_reports_the_epochs_of_all_windows_in_order(dialect: Dialect) -> None:
    worker = Worker(dialect, {"epochs": 2})
    worker.message = replace(worker.message, positions=Positions({"digits": "id"}, {("digits", 0): 0}))
    stream = Stream(100, 80, 100)
    trained = worker.train(stream)
    assert stream.asked == [(worker.message.positions, 1.5)]
    losses = trained.metrics.training["loss"]
    assert len(losses) == 6
    assert None not in trained.metrics.validation["loss"]
    # The first windows' epochs are the ones that a shorter round has.
    assert worker.train(Stream(100, 80)).metrics.training["loss"] == losses[:4]
    assert trained.num_data == 280
    assert trained.positions == Positions({"digits": "id"}, {("digits", 0): 280})


@pytest.mark.parametrize("dialect", DIALECTS)
def test_the_optimizer_goes_on_from_window_to_window_and_begins_anew_in_each_round(dialect: Dialect) -> None:
    worker = Worker(dialect, {"epochs": 3}, VALIDATION_RATE="0")
    for _ in range(2):
        trainable = worker.load()
        worker.train(Stream(16, 20, 1), trainable)
        assert int(trainable.model.optimizer.iterations.numpy()) == 3 * (2 + 3 + 1)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_round_that_is_done_again_with_the_same_windows_is_the_same(dialect: Dialect) -> None:
    worker = Worker(dialect, {"shuffle": True})
    first, again = (worker.train(Stream(60, 40)) for _ in range(2))
    assert first == again


def test_a_window_of_one_record_is_trained_on() -> None:
    trained = Worker(Dialect.KERAS_3, VALIDATION_RATE="0.9").train(Stream(1, 2))
    assert trained.metrics.validation["loss"][0] is None
    assert trained.metrics.validation["loss"][1] is not None
    assert trained.num_data == 3


@pytest.mark.parametrize("dialect", DIALECTS)
def test_the_model_is_tested_at_the_end_on_the_last_window_that_has_a_test_part(dialect: Dialect) -> None:
    worker = Worker(dialect, TEST_RATE="0.2")
    trainable = worker.load()
    trained = worker.train(Stream(100, 50, 2), trainable)
    features, labels = DIGITS.features[140:150], DIGITS.labels[140:150]
    loss, accuracy = trainable.model.evaluate(features, labels, verbose=0)
    assert trained.metrics.test is not None
    assert trained.metrics.test["loss"][0] == pytest.approx(loss, rel=1e-5)
    assert trained.metrics.test["accuracy"][0] == pytest.approx(accuracy)
    assert worker.train(Stream(2)).metrics.test is None


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("kwargs", [{}, {"shuffle": True, "steps_per_epoch": 2}, {"epochs": 0}])
def test_all_windows_of_all_rounds_are_one_build_and_one_trace(dialect: Dialect, kwargs: dict[str, Any]) -> None:
    worker = Worker(dialect, kwargs)
    first = worker.load()
    traced = count_traces(first)
    worker.train(Stream(40, 40), first)
    once = list(traced)
    assert set(once) == (set() if kwargs.get("epochs") == 0 else {"train_step", "test_step"})
    for sizes in ((24, 1, 33), (7,)):
        again = worker.load()
        assert again.model is first.model
        worker.train(Stream(*sizes), again)
    assert traced == once


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_window_leaves_no_function_behind(dialect: Dialect) -> None:
    worker = Worker(dialect)
    counts = []
    for windows in (1, 8, 1):
        worker.train(Stream(*[20] * windows))
        gc.collect()
        counts.append(len(context.context().list_function_names()))
    assert counts[0] == counts[1] == counts[2]


@pytest.mark.parametrize("dialect", DIALECTS)
def test_arrays_of_windows_do_not_pile_up(dialect: Dialect, monkeypatch: pytest.MonkeyPatch) -> None:
    """Going by the memory that is mapped for them, of features and labels alike."""
    monkeypatch.setattr(federated_singleIncrementalTraining, "COLLECT_BYTES", 3 * 30 * 257)
    gc.collect()
    worker = Worker(dialect, TEST_RATE="0.1")
    before, mapped = maps(), []

    class Watched(Stream):
        def windows(self, start: Positions | None, silence_s: float | None) -> Iterator[Window]:
            for window in super().windows(start, silence_s):
                mapped.append(maps() - before)
                yield window

    worker.train(Watched(*[30] * 8))
    assert max(mapped) <= 2 * 4  # of so many as are not collected yet, and of the one in hand
    assert mapped[:2] == [0, 2]


def maps() -> int:
    return Path("/proc/self/maps").read_text().count("/memfd:stream")


def test_windows_beyond_the_memory_limit_are_trained_from_disk(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    worker = Worker(Dialect.KERAS_3, TEST_RATE="0.1")
    assert worker.train(Stream(40, 30), memory=1_000) == worker.train(Stream(40, 30))
    spilled = [record for record in caplog.records if "is kept in DATA_SPILL_FOLDER" in record.getMessage()]
    assert len(spilled) == 2


@pytest.mark.parametrize("limit", ["0.05", "0.2"])
def test_bad_records_are_judged_window_by_window(limit: str) -> None:
    worker = Worker(Dialect.KERAS_3, BAD_RECORDS="skip", BAD_RECORDS_LIMIT=limit)
    stream = Stream(40, 20, 30, damaged=[3, 45, 46])
    if limit == "0.05":
        with pytest.raises(
            DataError, match=r"^2 of 10 records read so far, of 20 at most, cannot be decoded, and BAD_RECORDS_LIMIT="
        ):
            worker.train(stream)
        assert stream.handed_over == [[3]]
    else:
        assert worker.train(stream).num_data == 87
        assert stream.handed_over == [[3], [45, 46]]


def test_a_bad_record_is_an_error_where_none_may_be_left_out() -> None:
    with pytest.raises(BadRecordError, match=r"^digits\[0\]@45: value has 0 bytes"):
        Worker(Dialect.KERAS_3).train(Stream(40, 20, damaged=[45]))


def test_what_the_first_window_settles_holds_for_all_others() -> None:
    keras = load_keras(Dialect.KERAS_3)
    flat = keras.Sequential([keras.layers.Input((64,)), keras.layers.Dense(10, activation="softmax")])
    config = {"data_type": "float32", "label_type": "uint8", "label_reshape": ""}
    worker = Worker(Dialect.KERAS_3, model=flat, INPUT_CONFIG=json.dumps(config))
    stream = Stream(10, 10)
    stream._values[10:] = [value[:-4] for value in stream._values[10:]]
    with pytest.raises(BadRecordError, match=r"^digits\[0\]@10: value has 252 bytes, expected 256"):
        worker.train(stream)


@pytest.mark.parametrize(("timeout", "seconds"), [(1500, 1.5), (0, 0.0), (-1, None), (None, None)])
def test_a_round_ends_with_the_silence_that_the_cloud_wants(timeout: int | None, seconds: float | None) -> None:
    settings = {"batch": 8} | ({} if timeout is None else {"stream_timeout": timeout})
    assert silence_s(model_message(training_settings=settings)) == seconds


def test_a_round_that_is_told_to_stop_ends_in_its_fit() -> None:
    worker = Worker(Dialect.KERAS_3, {"epochs": 10_000}, BAD_RECORDS="skip", BAD_RECORDS_LIMIT="0.5")

    class Stopping(Stream):
        def hand_over(self, bad: Sequence[BadRecord]) -> None:  # right before the fit
            super().hand_over(bad)
            worker.stop.set()

    with pytest.raises(ModelError, match="the worker is to stop"):
        worker.train(Stopping(40, damaged=[3]))


# Beside a bounded labelled stream, of the digits from 300 on, a moving one without labels.


class Unlabelled(Stream):
    """The same windows with keys that carry nothing."""

    def windows(self, start: Positions | None, silence_s: float | None) -> Iterator[Window]:
        for window in super().windows(start, silence_s):
            yield Window([replace(batch, keys=[b""] * len(batch)) for batch in window.batches], window.positions)


def semi_supervised(
    worker: Worker, stream: Windows, kind: Callable[..., Train] = single_incremental, **settings: Any
) -> Trained:
    decoder = worker.settings.decoder()
    keys, values = KEYS[300:], VALUES[300:]
    samples = decoder.decode(RecordBatch("labelled", 0, range(100), keys, values))
    labelled = Labelled(lambda: fit_data(samples, stop=worker.stop), decoder)
    wanted = replace(worker.message.settings, **{"unsupervised": True} | settings)
    train = kind(worker.settings, lambda: stream, worker.stop, PLENTY, labelled)
    return train(worker.load(), replace(worker.message, settings=wanted), SEED)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_windows_without_labels_are_trained_on_beside_the_labelled_stream(dialect: Dialect) -> None:
    worker = Worker(dialect, {"epochs": 2}, UNSUPERVISED_TOPIC="digits", DATA_TOPIC="labelled:0:0:100", TOTAL_MSG="100")
    trained = semi_supervised(worker, Unlabelled(100, 80), confidence=0.0)
    assert len(trained.metrics.training["loss"]) == 2 + 2 * 2
    assert None not in trained.metrics.validation["loss"]
    assert trained.num_data == 100
    assert trained.positions == Positions({"digits": "id"}, {("digits", 0): 180})


def test_the_position_moves_on_behind_windows_of_which_nothing_is_sure(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    worker = Worker(Dialect.KERAS_3, UNSUPERVISED_TOPIC="digits", DATA_TOPIC="labelled:0:0:100")
    trained = semi_supervised(worker, Unlabelled(100, 80), confidence=1.0)
    assert len(trained.metrics.training["loss"]) == 1
    assert trained.positions == Positions({"digits": "id"}, {("digits", 0): 180})
    assert "windows of which nothing was sure enough passed_over=2" in caplog.messages


def test_a_model_that_does_not_ask_for_it_leaves_the_moving_stream_alone(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    worker = Worker(Dialect.KERAS_3, UNSUPERVISED_TOPIC="digits", DATA_TOPIC="labelled:0:0:100")
    before = Positions({"digits": "id"}, {("digits", 0): 7})
    worker.message = replace(worker.message, positions=before)
    stream = Unlabelled(100)
    trained = semi_supervised(worker, stream, unsupervised=False)
    assert (len(trained.metrics.training["loss"]), trained.positions, stream.asked) == (1, before, [])
    assert "UNSUPERVISED_TOPIC is set and training_settings.unsupervised is false" in caplog.text


def test_a_distributed_model_is_trained_on_windows_too() -> None:
    worker = Worker(Dialect.KERAS_3, model=chained(Dialect.KERAS_3), args=CHAINED_ARGS)
    train = distributed_incremental(worker.settings, lambda: Stream(60, 40), worker.stop, PLENTY, None)
    trained = train(worker.load(), worker.message, SEED)
    assert {"edge_loss", "cloud_accuracy"} < set(trained.metrics.training) == set(trained.metrics.validation)
    with pytest.raises(ModelError, match=r"^training_settings\.N: received 3 sub-models, and model_architecture has 2 outputs"):
        train(
            worker.load(), Worker(Dialect.KERAS_3, model=chained(Dialect.KERAS_3), args=CHAINED_ARGS, outputs=3).message, SEED
        )
