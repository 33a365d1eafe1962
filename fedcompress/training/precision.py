"""Mixed precision: layers compute in 16 bits, while weights, what optimizers hold and what crosses are float32.

Micikevicius et al. 2018, "Mixed precision training": float32 master weights (section 3.1) and a scaled loss (3.2). The
first serves bfloat16 and float16 alike; the second is for float16 alone, whose small gradients would become zero.
bfloat16 has the exponents of float32.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from fedcompress import keras

Half = Literal["bfloat16", "float16"]
FIRST_WITH_BFLOAT16 = 8, 0
"""Compute capability of NVIDIA's GPUs: Ampere."""

FIRST_SCALE, GROWTH = 2.0**15, 2000
"""The loss begins scaled by so much; after so many steps in a row without an overflow the scale is doubled. Those of
Keras' `LossScaleOptimizer`."""


def half() -> Half:
    """Returns what this process computes in where precision is mixed: float16 on GPUs that lack bfloat16."""
    config = keras.tf.config
    details = [config.experimental.get_device_details(gpu) for gpu in config.list_physical_devices("GPU")]
    old = any(found.get("compute_capability", FIRST_WITH_BFLOAT16) < FIRST_WITH_BFLOAT16 for found in details)
    return "float16" if old else "bfloat16"


class Steps:
    """What becomes of the gradients of a step, inside a graph: here the optimizer applies them."""

    def begin(self, continued: Any) -> None:
        """Runs before the first step of a training.

        Args:
            continued: A tensor that says whether it goes on from the training before.
        """

    def scaled(self, loss: Any) -> Any:
        """Returns what is differentiated."""
        return loss

    def unscaled(self, gradients: Sequence[Any]) -> list[Any]:
        """Returns the gradients of the loss; None where there is none."""
        return list(gradients)

    def apply(self, optimizer: Any, gradients: Sequence[Any], variables: Sequence[Any]) -> None:
        """Has the optimizer change the variables."""
        optimizer.apply_gradients(zip(gradients, variables, strict=True), experimental_aggregate_gradients=False)


class ScaledSteps(Steps):
    """A scaled loss for float16. A step whose gradients overflow changes nothing, and halves the scale."""

    def __init__(self) -> None:
        self._scale = keras.tf.Variable(FIRST_SCALE, trainable=False)
        self._good = keras.tf.Variable(0, trainable=False)

    def begin(self, continued: Any) -> None:
        tf = keras.tf
        self._scale.assign(tf.where(continued, self._scale, FIRST_SCALE))
        self._good.assign(tf.where(continued, self._good, 0))

    def scaled(self, loss: Any) -> Any:
        return loss * self._scale

    def unscaled(self, gradients: Sequence[Any]) -> list[Any]:
        return [None if g is None else g / self._scale for g in gradients]

    def apply(self, optimizer: Any, gradients: Sequence[Any], variables: Sequence[Any]) -> None:
        tf = keras.tf
        finite = tf.reduce_all([tf.reduce_all(tf.math.is_finite(g)) for g in gradients])

        def good() -> Any:
            super(ScaledSteps, self).apply(optimizer, gradients, variables)
            grown = tf.equal(self._good + 1, GROWTH)
            self._scale.assign(tf.where(grown, self._scale * 2, self._scale))
            return self._good.assign(tf.where(grown, 0, self._good + 1))

        def overflown() -> Any:
            self._scale.assign(tf.maximum(self._scale / 2, 1.0))
            return self._good.assign(0)

        tf.cond(finite, good, overflown)


def steps_in(precision: str) -> Steps:
    """Returns what a training in a precision does with gradients, "float32" or one of `Half`."""
    return ScaledSteps() if precision == "float16" else Steps()
