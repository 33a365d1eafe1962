"""Objectives: what a local training minimises. One graph serves every value of their constants."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fedcompress import keras
from fedcompress.wire.content import Arrays


class Objective(ABC):
    """What is minimised, written on tensors; the instance carries the constants of one call.

    A subclass states `loss`, and `gradients` where a term is cheaper to add to the gradient than to differentiate.
    Objects of the same class and `key` share one compiled graph.
    """

    @property
    def key(self) -> tuple[Any, ...]:
        """What changes the graph itself, as opposed to the constants that go into it."""
        return (type(self),)

    @property
    def constants(self) -> Arrays:
        """Arrays that the graph receives at each call: coefficients, anchors."""
        return []

    @property
    def targets(self) -> Arrays:
        """Arrays with one row per training example, besides the label: teacher logits, teacher features."""
        return []

    @abstractmethod
    def loss(self, model: Any, x: Any, y: Any, targets: Sequence[Any], constants: Sequence[Any]) -> Any:
        """Returns the loss of each example, a tensor (batch,).

        Args:
            model: The Keras model being trained, to be called with `training=True`.
            x: Scaled inputs (batch, *input_shape).
            y: Labels (batch,).
            targets: Rows of `self.targets` for this batch.
            constants: `self.constants` as tensors.
        """

    def gradients(self, variables: Sequence[Any], gradients: list[Any], constants: Sequence[Any]) -> list[Any]:
        """Returns the gradients that the optimizer applies; the default adds nothing."""
        return gradients


def cross_entropy(logits: Any, y: Any) -> Any:
    """Returns the cross-entropy of each example, (batch,), of logits (batch, classes) and labels (batch,)."""
    return keras.tf.nn.sparse_softmax_cross_entropy_with_logits(y, logits)


@dataclass(frozen=True)
class CrossEntropy(Objective):
    """Plain supervised training."""

    def loss(self, model: Any, x: Any, y: Any, targets: Sequence[Any], constants: Sequence[Any]) -> Any:
        return cross_entropy(model(x, training=True), y)


@dataclass(frozen=True)
class Proximal(CrossEntropy):
    """Cross-entropy plus (mu / 2) ||w - w_global||^2 (FedProx, Li et al. 2020, eq. 2).

    The term enters through its gradient mu (w - w_global); the reported loss is the cross-entropy.

    Attributes:
        mu: Strength of the proximal term, >= 0.
        anchor: The trainable weights that the client received.
    """

    mu: float
    anchor: tuple[Any, ...]

    @property
    def constants(self) -> Arrays:
        return [np.float32(self.mu), *self.anchor]

    def gradients(self, variables: Sequence[Any], gradients: list[Any], constants: Sequence[Any]) -> list[Any]:
        mu, *anchor = constants
        return [g + mu * (v - a) for g, v, a in zip(gradients, variables, anchor, strict=True)]
