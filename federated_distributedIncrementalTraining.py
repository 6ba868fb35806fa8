"""CASE 4: as CASE 2, for a model of sub-models, whose outputs are all fitted to the same labels."""

from __future__ import annotations

from collections.abc import Callable

from config import Settings
from federated_distributedClassicTraining import with_outputs_checked
from federated_mainTraining import Train
from federated_singleIncrementalTraining import Labelled, Windows, single_incremental
from training.stopping import Stop


def distributed_incremental(
    settings: Settings, stream: Callable[[], Windows], stop: Stop, memory: int, labelled: Labelled | None
) -> Train:
    """Trains as CASE 4 does.

    Args:
        stream, stop, memory, labelled: as `single_incremental` has them.
    """
    return with_outputs_checked(single_incremental(settings, stream, stop, memory, labelled))
