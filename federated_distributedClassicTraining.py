"""CASE 3: as CASE 1, for a model that the cloud has chained of sub-models, whose outputs are all fitted to the same labels."""

from __future__ import annotations

import logging
from collections.abc import Callable

from config import Settings
from federated_mainTraining import Train
from federated_singleClassicTraining import FitOnBoth, single_classic
from protocol.errors import ModelError
from protocol.messages import ModelMessage, Trained
from training.datasets import FitData
from training.dialects import TrainableModel, output_names

log = logging.getLogger(__name__)


def distributed_classic(settings: Settings, data: Callable[[], FitData], fit_on_both: FitOnBoth | None) -> Train:
    """Trains as CASE 3 does.

    Args:
        data, fit_on_both: as `single_classic` has them.
    """
    return with_outputs_checked(single_classic(settings, data, fit_on_both))


def with_outputs_checked(train: Train) -> Train:
    """Trains as another kind does, once the model's outputs are found to be the sub-models that the message tells of."""

    def checked(trainable: TrainableModel, message: ModelMessage, seed: int) -> Trained:
        check_outputs(trainable, message)
        return train(trainable, message, seed)

    return checked


def check_outputs(trainable: TrainableModel, message: ModelMessage) -> None:
    """Make sure that a model has as many outputs as the message says that it has sub-models; where it says none, all are right.

    Raises:
        ModelError: it has not.
    """
    wanted, names = message.settings.outputs, output_names(trainable.model)
    if wanted is not None and wanted != len(names):
        raise ModelError(
            f"training_settings.N: received {wanted} sub-models, and model_architecture has {len(names)} outputs "
            f"({', '.join(names)}), at {message.place}"
        )
    if len(names) == 1:
        log.warning("CASE is a distributed kind, and the model has the one output %s: it is trained as a single one", names[0])
