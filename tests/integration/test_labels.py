"""Labels for several outputs, and pseudo-labels, over a real Kafka: in this process, and killed in the middle as a process."""

from __future__ import annotations

import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from demo.rounds import AnnouncedModel, Reply
from protocol.architecture import Dialect
from protocol.errors import LimitError
from protocol.records import Samples
from tests.integration.conftest import COMPILE, Federation, announced, worker_here
from tests.support import golden
from tests.support.models import DIALECTS, SPARSE, chained

LABELLED, UNLABELLED = slice(0, 150), slice(150, 400)
COMPILE_CHAINED = {
    **COMPILE,
    "loss": {"edge": SPARSE, "cloud": SPARSE},
    "loss_weights": [0.25, 0.75],
    "metrics": [["accuracy"], ["accuracy"]],
}
CHAINED_NAMES = {"loss", "edge_loss", "cloud_loss", "edge_accuracy", "cloud_accuracy"}
SEMI: dict[str, Any] = {"unsupervised": True, "unsupervised_rounds": 2, "confidence": 0.0}  # so that the first pass keeps all
KERAS_2, KERAS_3 = Dialect.KERAS_2, Dialect.KERAS_3


def job(federation: Federation, case: int, window: int = 50, *, is_semi: bool) -> dict[str, str]:
    """The environment of a kind: 150 labelled digits, and 250 without labels beside them; a round of one window, if any."""
    digits = golden.samples()
    labelled = federation.write("RAW", Samples(digits.features[LABELLED], digits.labels[LABELLED]))
    changes = {"CASE": str(case)}
    if is_semi:
        rest = digits.features[UNLABELLED]
        unlabelled = federation.write("RAW", Samples(rest, np.zeros(len(rest), np.uint8)))
        changes["UNSUPERVISED_TOPIC"] = unlabelled.spec
    if case == 4:
        moving = "UNSUPERVISED_TOPIC" if is_semi else "DATA_TOPIC"
        spec = (changes | {"DATA_TOPIC": labelled.spec})[moving]
        changes |= {moving: spec.split(":")[0], "WINDOW_RECORDS": str(window), "ROUND_WINDOWS": "1"}
    return federation.environment(labelled, **changes)


def model_of(case: int, dialect: Dialect, epochs: int = 2, **settings: Any) -> AnnouncedModel:
    """A distributed model, or a single one, with some training settings."""
    model = announced(dialect=dialect, epochs=epochs)
    if case in {3, 4}:
        model = announced(chained(dialect), compiled=COMPILE_CHAINED, epochs=epochs)
        settings = {"N": 2} | settings
    return replace(model, training_settings={**model.training_settings, **settings})


def names_of(reply: Reply) -> set[str]:
    assert set(reply.metrics["training"]) == set(reply.metrics["validation"])
    assert None not in [number for part in reply.metrics.values() for numbers in part.values() for number in numbers]
    return set(reply.metrics["training"])


def epochs_of(reply: Reply) -> int:
    return len(reply.metrics["training"]["loss"])


KINDS = [(3, False), (4, False), (1, True), (3, True), (4, True)]


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize(("case", "is_semi"), KINDS)
def test_a_federation_is_taken_part_in_to_its_last_round(
    federation: Federation, dialect: Dialect, case: int, *, is_semi: bool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    environment = job(federation, case, is_semi=is_semi) | {"TEST_RATE": "0.1"}
    model = model_of(case, dialect, **(SEMI if is_semi else {}))  # before another thread loads TensorFlow too
    federation.cloud.create_topics()
    with worker_here(federation, environment):
        rounds = list(federation.cloud.run(model, rounds=2, clients=1))
    replies = [reply for one in rounds for reply in one.replies]
    assert [reply.version for reply in replies] == [1, -1]
    assert [reply.num_data for reply in replies] == [50 if case == 4 and not is_semi else 150] * 2
    for reply in replies:
        assert names_of(reply) == ({"loss", "accuracy"} if case == 1 else CHAINED_NAMES)
        assert epochs_of(reply) == (4 if is_semi else 2)  # those of the labelled fit, and of a pass or window
    assert caplog.text.count("model built") == 1
    labelled_is_read, unlabelled_is_read = is_semi or case != 4, is_semi and case != 4  # whole, and once
    assert caplog.text.count("stream read records=") == labelled_is_read + unlabelled_is_read


@pytest.mark.parametrize(("case", "is_semi", "dialect"), [(3, False, KERAS_2), (1, True, KERAS_3), (4, True, KERAS_2)])
def test_a_worker_killed_in_the_middle_does_the_round_again(
    federation: Federation, case: int, dialect: Dialect, *, is_semi: bool
) -> None:
    environment = job(federation, case, 250 if is_semi else 150, is_semi=is_semi)
    federation.cloud.create_topics()
    federation.cloud.announce(model_of(case, dialect, epochs=20, batch=4, **(SEMI if is_semi else {})), -1)
    killed = federation.start(environment, "killed")
    killed.await_line(" kept=250 of=250 " if is_semi else "epoch 2/20")
    killed.send(signal.SIGKILL)
    assert killed.wait() == -signal.SIGKILL
    federation.forget(killed)
    again = federation.start(environment, "again")
    [reply] = federation.cloud.collect(-1, clients=1)
    assert again.wait() == 0
    assert "round done" not in killed.log
    assert (reply.num_data, epochs_of(reply)) == (150, 40 if is_semi else 20)
    assert names_of(reply) == ({"loss", "accuracy"} if case == 1 else CHAINED_NAMES)


def ended(federation: Federation, model: AnnouncedModel, **changes: str) -> Any:
    """What a worker in this process ends with, which is given a model for its last round."""
    environment = job(federation, 1, is_semi=True) | changes
    federation.cloud.create_topics()
    federation.cloud.announce(model, -1)
    with worker_here(federation, environment):
        return federation.cloud.collect(-1, clients=1)


def test_an_unlabelled_stream_that_the_model_does_not_ask_for_is_not_waited_for(
    federation: Federation, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    [reply] = ended(federation, model_of(1, KERAS_3), UNSUPERVISED_TOPIC="nothing:0:0:10", ANSWER_LIMIT_S="5")
    assert epochs_of(reply) == 2
    told = "UNSUPERVISED_TOPIC is set and training_settings.unsupervised is false: trained on the labelled stream alone"
    assert caplog.messages.count(told) == 1


def test_a_model_that_asks_for_an_unlabelled_stream_is_trained_without_one_where_the_job_has_none(
    federation: Federation, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    [reply] = ended(federation, model_of(1, KERAS_3, **SEMI), UNSUPERVISED_TOPIC="None")
    assert epochs_of(reply) == 2
    assert "training_settings.unsupervised is true and UNSUPERVISED_TOPIC is not set" in caplog.text


def test_an_unlabelled_stream_that_does_not_come_is_named(federation: Federation) -> None:
    with pytest.raises(LimitError, match=r"^UNSUPERVISED_TOPIC: nothing is no topic on "):
        ended(federation, model_of(1, KERAS_3, **SEMI), UNSUPERVISED_TOPIC="nothing:0:0:10", ANSWER_LIMIT_S="1")


def test_both_streams_together_keep_within_the_memory_limit(
    federation: Federation, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    # The labelled stream has 150 samples of 257 bytes, 38 550 of them; the unlabelled one 250 of 256 bytes.
    limit = 38_550 + 250 * 256
    both = [reply.metrics for reply in ended(federation, model_of(1, KERAS_3, **SEMI), DATA_MEMORY_LIMIT=str(limit))]
    assert "DATA_SPILL_FOLDER" not in caplog.text
    changes = {"DATA_MEMORY_LIMIT": str(limit - 1), "DATA_SPILL_FOLDER": str(tmp_path)}
    spilled = [reply.metrics for reply in ended(federation, model_of(1, KERAS_3, **SEMI), **changes)]
    assert caplog.text.count(f"is kept in DATA_SPILL_FOLDER={tmp_path}") == 1
    assert spilled == both
