"""fedproto: a client that holds its features near those that all clients have of a class, its prototypes.

Tan et al. 2022, "FedProto: Federated prototype learning across heterogeneous clients" (AAAI), Algorithm 1: it minimises
the cross-entropy plus lambda times the mean squared error between an example's features and the global prototype of its
class, as the authors' code has it, and then sends the mean feature of each class that it has examples of, and how many
those are. Its model never leaves it; in its first round there are no prototypes to go by.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from clients.scaffold import aggregated_by
from clients.sgd import SGD
from fedcompress import keras
from fedcompress.client import Content, Result, action
from fedcompress.compression.base import Params
from fedcompress.models.architecture import ModelSpec, features_and_logits
from fedcompress.training.objectives import Objective, cross_entropy
from fedcompress.wire.content import Arrays, ArraySpec, Payload

if TYPE_CHECKING:
    from fedcompress.plugins import Use

PROTOTYPES, EXAMPLES = "prototypes", "prototype examples"
"""Contents: mean features (classes, features), zero of classes without examples; and how many each is the mean of."""


class FedProtoParams(Params):
    """Parameters of FedProto's clients; the default is the published one."""

    strength: float = Field(1.0, ge=0.0, description="lambda, by which features are held near the prototypes")


@dataclass(frozen=True, eq=False)
class NearPrototypes(Objective):
    """CE(y, z) + lambda mean((f - c_y)^2), of an example with features f and logits z; CE alone where c_y is not known.

    Attributes:
        strength: lambda >= 0.
        prototypes: (classes, features), c.
        known: (classes,) bool.
    """

    strength: float
    prototypes: NDArray[Any]
    known: NDArray[np.bool_]

    @property
    def constants(self) -> Arrays:
        return [np.float32(self.strength) * self.known.astype(np.float32), self.prototypes]

    def outputs(self, model: Any) -> Any:
        return features_and_logits(model)

    def loss(self, model: Any, x: Any, y: Any, targets: Sequence[Any], constants: Sequence[Any]) -> Any:
        tf = keras.tf
        strengths, prototypes = constants
        features, logits = model(x, training=True)
        errors = tf.math.squared_difference(tf.cast(features, tf.float32), tf.gather(prototypes, y))
        return cross_entropy(logits, y) + tf.gather(strengths, y) * tf.reduce_mean(errors, axis=1)


class FedProto(SGD):
    """Trains its own model. State: `weights`, and `mask`."""

    Params = FedProtoParams
    params: FedProtoParams
    keeps_model = True

    @classmethod
    def problems_in(cls, use: Use) -> Iterable[str]:
        yield from super().problems_in(use)
        yield from aggregated_by(use, "fedproto")

    @classmethod
    def contents(cls, model: ModelSpec) -> Mapping[str, Content]:
        examples = Content((ArraySpec((model.classes,), "uint32"),), lossless=True)
        prototypes = Content((ArraySpec((model.classes, model.features)),))
        return {**super().contents(model), PROTOTYPES: prototypes, EXAMPLES: examples}

    @action
    def train_near(self, payload: Payload, round_number: int) -> Result:
        """Trains its own model near the prototypes that have come, if any have, and sends its own prototypes."""
        start = self.state.get("weights") or self.model.initial(self.rng("initial"))
        frozen = self.state.get("mask") if self.compression.frozen(round_number) else None
        objective = self.objective(start)
        if PROTOTYPES in payload:
            objective = NearPrototypes(self.params.strength, payload[PROTOTYPES][0], payload[EXAMPLES][0] > 0)
        trained = self.trainer.fit(start, self.data, objective, masks=frozen)
        self._keep(trained)
        counts = np.bincount(self.data.y, minlength=self.model.classes).astype(np.uint32)
        means = class_means(self.trainer.features(trained.weights, self.data.x), self.data.y, counts)
        return Result({PROTOTYPES: [means], EXAMPLES: [counts]}, {"train_loss": trained.loss}, trained.weights)


def class_means(features: NDArray[Any], y: NDArray[Any], counts: NDArray[Any]) -> NDArray[np.float32]:
    """Returns the mean of the features (n, f) of each class, (classes, f); zeros for a class without examples."""
    totals = np.zeros((len(counts), features.shape[1]), np.float64)
    np.add.at(totals, y, features)
    means: NDArray[np.float64] = totals / np.maximum(counts, 1)[:, np.newaxis]
    return means.astype(np.float32)
