"""A round on 70 000 images, from model message to reply, beside Keras's own fit of the same arrays in memory."""

from __future__ import annotations

import time
from functools import partial

from benchmarks.federation import VALIDATION_RATE, announced, fit_data, image_model, take_rounds
from benchmarks.measure import Row, call, comparison, in_turn
from benchmarks.streams import IMAGES, images
from demo.models import LIBRARIES
from utils import prepare_tensorflow

BATCH = 128
EPOCHS = 5


def plain(bootstrap: str, dialect: str) -> float:  # noqa: ARG001 - called as the other is
    """Seconds of building, compiling and fitting."""
    prepare_tensorflow()
    features, labels = images(IMAGES)
    training = int(len(features) * (1 - VALIDATION_RATE))
    begun = time.perf_counter()
    image_model(dialect).fit(
        features[:training],
        labels[:training],
        batch_size=BATCH,
        epochs=EPOCHS,
        validation_data=(features[training:], labels[training:]),
        verbose=0,
    )
    return time.perf_counter() - begun


def ours(bootstrap: str, dialect: str) -> float:
    """Seconds from the control message to the acknowledged reply."""
    prepare_tensorflow()
    model = announced(image_model(dialect), BATCH, EPOCHS)
    [times] = take_rounds(bootstrap, model, fit_data(*images(IMAGES)), 1)
    return times.total


def run(bootstrap: str) -> str:
    """Measure it in both dialects."""
    rows = []
    for dialect, library in LIBRARIES.items():
        one = partial(call, "benchmarks.fitting", bootstrap=bootstrap, dialect=dialect)
        measured, against = in_turn(partial(one, function="ours"), partial(one, function="plain"))
        what = f"round one, {EPOCHS} epochs in batches of {BATCH}, {library}"
        rows.append(Row(what, "in-memory fit", measured, against, "at most 0.75"))
    return "Both begin with TensorFlow loaded, and build, trace and fit.\n\n" + comparison(rows)
