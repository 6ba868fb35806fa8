"""A model of several outputs is fitted to one label at each of them, and reports what the cloud looks for by their names."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from config import Settings
from federated_distributedClassicTraining import distributed_classic
from federated_singleClassicTraining import single_classic
from KafkaModelEngine import KafkaModelEngine
from protocol.architecture import Dialect
from protocol.errors import ModelError
from protocol.messages import Trained
from protocol.records import Array
from tests.support import golden
from tests.support.environments import job
from tests.support.messages import PLACE
from tests.support.models import CHAINED_ARGS, DIALECTS, announced, chained, classifier, compile_args
from tests.support.streams import fit_data
from training.compilation import Compilation
from training.dialects import load_keras

SEED = 7
DATA = fit_data(golden.samples(), test_rate=0.1)
NAMES = {"loss", "edge_loss", "cloud_loss", "edge_accuracy", "cloud_accuracy"}
KINDS = {1: single_classic, 3: distributed_classic}


def trained(
    dialect: Dialect, model: Any = None, case: int = 3, outputs: int | None = None, **changes: Any
) -> tuple[Trained, Any]:
    """Train a model, the chained one where none is given, as a kind does; returns the model too."""
    model = model or chained(dialect)
    settings = {"batch": 32, "kwargs_fit": {"epochs": 2}} | changes | ({} if outputs is None else {"N": outputs})
    args = CHAINED_ARGS if len(model.outputs) > 1 else compile_args()
    message, arrays = announced(model, training_settings=settings, model_compile_args=args)
    trainable = KafkaModelEngine(lambda _message: arrays).load(message, SEED)
    train = KINDS[case](Settings.from_env(job(CASE=str(case))), lambda: DATA, None)
    return train(trainable, message, SEED), trainable.model


def reference(dialect: Dialect) -> tuple[dict[str, list[float]], list[Array]]:
    """History and weights of plain Keras, which is given the labels once for each output."""
    model = chained(dialect)
    arguments = Compilation(load_keras(dialect), dialect, PLACE).arguments(model, CHAINED_ARGS)
    model.compile(**arguments)
    features, labels = DATA.kept.samples.features, DATA.kept.samples.labels
    parts = [(features[one.start : one.stop], [labels[one.start : one.stop]] * 2) for one in (range(280), range(280, 360))]
    fitted = model.fit(*parts[0], batch_size=32, epochs=2, shuffle=False, validation_data=parts[1], verbose=0)
    return fitted.history, model.get_weights()


@pytest.mark.parametrize(("dialect", "outputs"), [(Dialect.KERAS_2, 2), (Dialect.KERAS_3, None)])
def test_every_output_is_fitted_to_the_same_label_as_plain_keras_does_with_one_label_each(
    dialect: Dialect, outputs: int | None
) -> None:
    result, model = trained(dialect, outputs=outputs)
    history, weights = reference(dialect)
    metrics = result.metrics
    assert set(metrics.training) == set(metrics.validation) == NAMES
    for name in NAMES:
        assert metrics.training[name] == pytest.approx(history[name], abs=1e-6)
        assert metrics.validation[name] == pytest.approx(history[f"val_{name}"], abs=1e-6)
    for array, expected in zip(model.get_weights(), weights, strict=True):
        np.testing.assert_allclose(array, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_number_of_sub_models_that_is_not_the_models_names_both(dialect: Dialect) -> None:
    with pytest.raises(ModelError) as caught:
        trained(dialect, outputs=3)
    assert str(caught.value) == (
        f"training_settings.N: received 3 sub-models, and model_architecture has 2 outputs (edge, cloud), at {PLACE}"
    )


def test_a_model_of_one_output_is_trained_as_a_single_one_and_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    result, _model = trained(Dialect.KERAS_3, classifier(Dialect.KERAS_3))
    assert set(result.metrics.training) == {"loss", "accuracy"}
    assert "CASE is a distributed kind, and the model has the one output " in caplog.text


def test_a_single_kind_fits_several_outputs_to_the_same_label_too_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    result, _model = trained(Dialect.KERAS_3, case=1)
    assert set(result.metrics.training) == NAMES
    assert "outputs edge, cloud: each is fitted to the same labels" in caplog.text


@pytest.mark.parametrize("dialect", DIALECTS)
def test_weights_of_classes_are_for_models_of_one_output(dialect: Dialect) -> None:
    with pytest.raises(ModelError) as caught:
        trained(dialect, kwargs_fit={"class_weight": {"3": 2.0}})
    assert str(caught.value).startswith(
        "training_settings.kwargs_fit.class_weight: leave it out, the model has 2 outputs, and Keras weighs the classes of a "
        "single one"
    )
