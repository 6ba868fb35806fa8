"""From what Keras tells at the end of each epoch to the metrics of a reply."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Mapping, Sequence

from protocol.errors import ModelError
from protocol.messages import Metrics

log = logging.getLogger(__name__)

VALIDATION_PREFIX = "val_"  # how Keras names the validation twin of a metric


def collect(epochs: Sequence[Mapping[str, float]], test: Mapping[str, float] | None = None) -> Metrics:
    """Line the epochs up: every training metric with its validation twin, every list as long as the epochs.

    A number that is missing, NaN or infinite becomes None. A fit without epochs still names its loss, since the cloud reads the
    last number of every list.

    Args:
        epochs: Keras's logs at the end of each epoch.
        test: what evaluate gave for the test samples.
    """
    logs = epochs or [{"loss": math.nan}]
    names = dict.fromkeys(name for epoch in logs for name in epoch if not name.startswith(VALIDATION_PREFIX))
    return Metrics(
        training={name: [_finite(epoch.get(name)) for epoch in logs] for name in names},
        validation={name: [_finite(epoch.get(VALIDATION_PREFIX + name)) for epoch in logs] for name in names},
        test=None if test is None else {name: [_finite(value)] for name, value in test.items()},
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


def _finite(value: float | None) -> float | None:
    return float(value) if value is not None and math.isfinite(value) else None
