"""Objectives: what a local training minimises. One graph serves every value of their constants."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedcompress import keras
from fedcompress.models.architecture import features_and_logits
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

    def per_step(self, steps: int, rng: np.random.Generator) -> Arrays:
        """Returns arrays with one row per step of the optimizer, drawn for this call; by default none.

        `loss` finds the row of its step behind those of `targets`.
        """
        return []

    @property
    def passes(self) -> int:
        """How often a step runs the model, forth and back."""
        return 1

    def outputs(self, model: Any) -> Any:
        """Returns the model that `loss` calls; by default the one being trained, whose output is the logits."""
        return model

    @abstractmethod
    def loss(self, model: Any, x: Any, y: Any, targets: Sequence[Any], constants: Sequence[Any]) -> Any:
        """Returns the loss of each example, a tensor (batch,).

        Args:
            model: What `outputs` returned, to be called with `training=True`, as often as `passes` says.
            x: Scaled inputs (batch, *input_shape).
            y: Labels (batch,).
            targets: Rows of `self.targets` for this batch, then those of `self.per_step` for this step.
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


@dataclass(frozen=True, eq=False)
class Distillation(Objective):
    """(1 - alpha) CE(y, z) + alpha T^2 KL(softmax(z_t / T) || softmax(z / T)) (Hinton et al. 2015, section 2).

    z are the logits of the student, z_t those of the teacher; the divergence sums over classes. With alpha = 1 the
    labels have no influence, so that examples without labels may carry any.

    Attributes:
        alpha: Weight of the teacher, in [0, 1].
        temperature: T > 0; T^2 keeps the size of the gradient as T grows.
        teacher: (n, classes) logits, a row for each training example. (The logarithms of probabilities are logits.)
    """

    alpha: float
    temperature: float
    teacher: NDArray[Any]

    @property
    def constants(self) -> Arrays:
        return [np.array(self.alpha, np.float32), np.array(self.temperature, np.float32)]

    @property
    def targets(self) -> Arrays:
        return [np.asarray(self.teacher, np.float32)]

    def loss(self, model: Any, x: Any, y: Any, targets: Sequence[Any], constants: Sequence[Any]) -> Any:
        alpha, temperature = constants
        teacher, logits = keras.tf.stop_gradient(targets[0]), model(x, training=True)
        divergence = kl_divergence(teacher / temperature, logits / temperature)
        return (1.0 - alpha) * cross_entropy(logits, y) + alpha * temperature**2 * divergence


@dataclass(frozen=True, eq=False)
class PartlyLabelled(Distillation):
    """The same where only some examples have labels: the cross-entropy is the mean over those, the divergence over all.

    Attributes:
        labelled: (n,) bool, at least one; the labels of the others are never looked at.
    """

    labelled: NDArray[np.bool_]

    @property
    def targets(self) -> Arrays:
        return [*super().targets, np.asarray(self.labelled / np.mean(self.labelled), np.float32)]

    def loss(self, model: Any, x: Any, y: Any, targets: Sequence[Any], constants: Sequence[Any]) -> Any:
        alpha, temperature = constants
        logits = model(x, training=True)
        divergence = kl_divergence(targets[0] / temperature, logits / temperature)
        return (1.0 - alpha) * targets[1] * cross_entropy(logits, y) + alpha * temperature**2 * divergence


@dataclass(frozen=True, eq=False)
class LogitMatching(Objective):
    """Mean absolute error between the logits of student and teacher, over the classes (FedMD, Li & Wang 2019).

    Attributes:
        teacher: (n, classes) logits, a row for each training example.
    """

    teacher: NDArray[Any]

    @property
    def targets(self) -> Arrays:
        return [np.asarray(self.teacher, np.float32)]

    def loss(self, model: Any, x: Any, y: Any, targets: Sequence[Any], constants: Sequence[Any]) -> Any:
        return keras.tf.reduce_mean(keras.tf.abs(model(x, training=True) - targets[0]), axis=1)


def kl_divergence(teacher: Any, student: Any) -> Any:
    """Returns KL(softmax(teacher) || softmax(student)) of each example, (batch,), of logits (batch, classes)."""
    tf = keras.tf
    log_teacher = tf.nn.log_softmax(teacher)
    return tf.reduce_sum(tf.exp(log_teacher) * (log_teacher - tf.nn.log_softmax(student)), axis=1)


@dataclass(frozen=True, eq=False)
class FeatureMatching(Objective):
    """Mean squared error between what enters the model's last layer and the teacher's features.

    The loss of SimKD (Chen et al. 2022, "Knowledge distillation with the reused teacher classifier", eq. 3), and all of
    it: neither labels nor the last layer take part.

    Attributes:
        teacher: (n, features), a row for each training example.
    """

    teacher: NDArray[Any]

    @property
    def targets(self) -> Arrays:
        return [np.asarray(self.teacher, np.float32)]

    def outputs(self, model: Any) -> Any:
        return features_and_logits(model)

    def loss(self, model: Any, x: Any, y: Any, targets: Sequence[Any], constants: Sequence[Any]) -> Any:
        features, _ = model(x, training=True)
        return _mean_squared(features, targets[0])

    def gradients(self, variables: Sequence[Any], gradients: list[Any], constants: Sequence[Any]) -> list[Any]:
        pairs = zip(gradients, variables, strict=True)
        return [keras.tf.zeros_like(v) if g is None else g for g, v in pairs]


@dataclass(frozen=True, eq=False)
class Rehearsal(FeatureMatching):
    """Cross-entropy on some examples, `beta` times the feature error on the others, in the same steps.

    What keeps a student near its teacher's features while it learns its own labels: the examples that it has matched
    before are rehearsed (Robins 1995, "Catastrophic forgetting, rehearsal and pseudorehearsal").

    Attributes:
        teacher: (n, features), a row for each training example; those that are not rehearsed may carry any.
        rehearsed: (n,) bool, the examples whose features count, instead of their labels.
        beta: Weight of the feature error against the cross-entropy, >= 0.
    """

    rehearsed: NDArray[np.bool_]
    beta: float

    @property
    def constants(self) -> Arrays:
        return [np.array(self.beta, np.float32)]

    @property
    def targets(self) -> Arrays:
        return [*super().targets, np.asarray(self.rehearsed, np.float32)]

    def loss(self, model: Any, x: Any, y: Any, targets: Sequence[Any], constants: Sequence[Any]) -> Any:
        features, logits = model(x, training=True)
        error = _mean_squared(features, targets[0])
        return (1.0 - targets[1]) * cross_entropy(logits, y) + targets[1] * constants[0] * error


def _mean_squared(features: Any, teacher: Any) -> Any:
    """Returns the mean squared difference of each example, (batch,), of features (batch, f)."""
    tf = keras.tf
    return tf.reduce_mean(tf.math.squared_difference(tf.cast(features, tf.float32), teacher), axis=1)
