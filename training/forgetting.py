"""What TensorFlow keeps of a model that is gone."""

from __future__ import annotations

_CUSTOM_GRADIENT = "CustomGradient-"  # what TensorFlow calls those that it registers by itself, one a trace and place


def forget_gradients() -> None:
    """Drop the gradients that traces have registered, for good; each holds the whole graph of a step, some megabytes.

    Keras's optimizers have one in every trace of a training step, as some activations do. They are looked up while their
    step is traced and never after, so nothing asks for those of a model that is gone, or for those of one that is traced.
    Source: TensorFlow's `custom_gradient`, whose decorator registers anew in each trace and has no way back.
    """
    from tensorflow.python.framework.ops import gradient_registry  # noqa: PLC0415 - seconds of start-up

    registered = gradient_registry._registry  # noqa: SLF001 - as above, no way back
    for name in [name for name in registered if name.startswith(_CUSTOM_GRADIENT)]:
        del registered[name]
