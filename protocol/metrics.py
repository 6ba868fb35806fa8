"""From what Keras tells at the end of each epoch to the metrics of a reply."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Mapping, Sequence

from protocol.errors import DivergedError, ModelError
from protocol.messages import Metrics

log = logging.getLogger(__name__)

LOSS = "loss"  # what Keras calls what it minimises, in every model
VALIDATION_PREFIX = "val_"  # how Keras names the validation twin of a metric


def collect(epochs: Sequence[Mapping[str, float]], test: Mapping[str, float] | None = None) -> Metrics:
    """Line the epochs up: every training metric with its validation twin, every list as long as the epochs.

    A number that is missing becomes None. A fit without epochs still names its loss, since the cloud reads the last number of
    every list.

    Args:
        epochs: Keras's logs at the end of each epoch.
        test: what evaluate gave for the test samples.
    """
    logs = epochs or [{}]
    names = dict.fromkeys(name for epoch in logs for name in epoch if not name.startswith(VALIDATION_PREFIX)) or (LOSS,)
    return Metrics(
        training={name: [epoch.get(name) for epoch in logs] for name in names},
        validation={name: [epoch.get(VALIDATION_PREFIX + name) for epoch in logs] for name in names},
        test=None if test is None else {name: [value] for name, value in test.items()},
    )


def check_loss(metrics: Metrics) -> None:
    """Refuse a fit whose loss has left the numbers, though its weights may not have yet.

    Raises:
        DivergedError: the training loss of the last epoch is NaN or infinite.
    """
    loss = metrics.training.get(LOSS, (None,))[-1]
    if loss is not None and not math.isfinite(loss):
        raise DivergedError(
            f"the fit diverged: the loss of its last epoch is {loss}, and nothing of it is sent; lower the learning rate, "
            "scale the data, or look for NaN in the stream"
        )


def thin_to_fit(metrics: Metrics, encode: Callable[[Metrics], bytes], limit: int) -> bytes:
    """Encode a reply with as many epochs as fit into `limit` bytes, spread evenly, the last always among them.

    Raises:
        ModelError: not even one epoch fits.
    """
    encoded = encode(metrics)
    if len(encoded) <= limit:
        return encoded
    epochs = max(len(values) for values in metrics.training.values())
    fits, too_many = 0, epochs
    best = b""
    while too_many - fits > 1:
        kept = (fits + too_many) // 2
        candidate = encode(_keep(metrics, epochs, kept))
        if len(candidate) <= limit:
            fits, best = kept, candidate
        else:
            too_many = kept
    log.info("metrics thinned epochs=%d kept=%d", epochs, fits)
    if not best:
        raise ModelError(
            f"the metrics of one epoch ({len(metrics.training)} names) make a reply of over {limit} bytes, which the cloud's "
            "control topic does not take; compile the model with fewer metrics"
        )
    return best


def _keep(metrics: Metrics, epochs: int, kept: int) -> Metrics:
    # Counted back from the last epoch, so that it stays.
    indexes = [epochs - 1 - step * epochs // kept for step in range(kept)][::-1]
    return Metrics(
        training=_pick(metrics.training, indexes),
        validation=_pick(metrics.validation, indexes),
        test=metrics.test,
    )


def _pick(part: Mapping[str, Sequence[float | None]], indexes: Iterable[int]) -> dict[str, list[float | None]]:
    return {name: [values[index] for index in indexes] for name, values in part.items()}
