"""Arguments of fit that have no sense are named, whoever sent them, before any Keras sees them."""

from typing import Any

import pytest

from protocol.errors import ModelError
from tests.support.messages import with_fit
from training.fit_arguments import fit_arguments


def plain_fit(x: Any, *, epochs: int = 1, steps_per_epoch: int = 0, validation_freq: Any = 1, class_weight: Any = None) -> None:
    """What Keras's fit takes, of some arguments."""


@pytest.mark.parametrize(
    ("kwargs", "fault"),
    [
        ({"epochs": 10**4_000}, "epochs: expected int <= 2147483647, received 1000"),
        ({"epochs": float("inf")}, "epochs: expected int >= 0, received inf (float)"),
        ({"epochs": "9" * 1_000_000}, "epochs: expected int >= 0, received '9999"),
        ({"steps_per_epoch": 2**31}, "steps_per_epoch: expected int <= 2147483647, received 2147483648 (int)"),
        ({"validation_freq": [[]]}, "validation_freq: expected int >= 1, received [[]] (list)"),
        *(
            ({"class_weight": {"0": weight}}, "class_weight: expected an object from class to weight, ")
            for weight in (10**400, "nan", float("inf"), None, [1])
        ),
        ({"class_weight": [["0", 1]]}, "class_weight: expected an object from class to weight, "),
        ({"x\n" * 1_000: 1}, "x\\nx\\nx\\n"),
    ],
)
def test_an_argument_that_has_no_sense_is_named_in_a_short_line(kwargs: dict[str, Any], fault: str) -> None:
    with pytest.raises(ModelError) as caught:
        fit_arguments(with_fit(**kwargs), plain_fit, "Keras")
    assert str(caught.value).startswith(f"training_settings.kwargs_fit.{fault}")
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 500
