"""fedgen: a client that learns, beside its own data, from features that the server's generator makes of labels.

Zhu, Hong & Zhou 2021, "Data-free knowledge distillation for heterogeneous federated learning" (ICML), Algorithm 1, in
the form of the authors' code (zhuangdizhu/FedGen). A step minimises, beside the cross-entropy of its examples (x, y),
alpha CE(y', h(G(e', y'))) with labels y' of as many draws as the examples are, and beta KL(h(G(e, y)) || f(x)), the
former not differentiated: h is the classifier, G the generator, e noise. Both weights decay from round to round.

With the weights come the generator, and the distribution that y' are drawn from; in the first round there is none yet.
In the authors' code y' are uniform, and so is e; here y' are as frequent as with the clients, and e is normal.
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
from fedcompress.models.architecture import Architecture, ModelSpec
from fedcompress.training.objectives import Objective, cross_entropy, kl_divergence
from fedcompress.wire.content import Arrays, ArraySpec, Payload, weights_content

if TYPE_CHECKING:
    from fedcompress.plugins import Use

NOISE, HIDDEN, EPSILON = 32, 256, 1e-5
"""Of the generator: length of e, and units of its hidden layer, both the paper's on MNIST; of its normalisation."""
GENERATOR, LABELS, EXAMPLES = "feature generator", "label distribution", "class examples"
"""Contents: G; p(y'), (classes,); and how many examples of each class a client has, (classes,)."""


class FedGenParams(Params):
    """Parameters of FedGen's clients; the defaults are the published ones."""

    alpha: float = Field(10.0, ge=0.0, description="weight of the labels of generated features")
    beta: float = Field(10.0, ge=0.0, description="weight of what is said of features of an example's class")
    decay: float = Field(0.98, gt=0.0, le=1.0, description="factor on both from round to round")


class Hidden(Architecture):
    """The generator but for its last layer: one hidden layer, normalised over the batch."""

    def features(self, inputs: Any) -> Any:
        x = keras.layers.Dense(HIDDEN)(inputs)
        return keras.layers.ReLU()(keras.layers.BatchNormalization(momentum=0.9, epsilon=EPSILON)(x))


def generator_of(model: ModelSpec) -> ModelSpec:
    """Returns the generator for a model: (e, one-hot y) -> as many features as enter the model's classifier."""
    return ModelSpec("feature-generator", Hidden(), (NOISE + model.classes,), model.features)


@dataclass(frozen=True, eq=False)
class Generative(Objective):
    """The loss of the module's docstring; noise and y' are drawn for each step.

    Attributes:
        alpha, beta: Weights, as they are in this round.
        labels: (classes,), p(y'), which sums to one.
        generator: Weights of G.
    """

    alpha: float
    beta: float
    labels: NDArray[Any]
    generator: tuple[Any, ...]

    @property
    def constants(self) -> Arrays:
        chances = np.log(np.maximum(self.labels, 1e-30)).astype(np.float32)
        return [np.array([self.alpha, self.beta], np.float32), chances, *self.generator]

    def per_step(self, steps: int, rng: np.random.Generator) -> Arrays:
        return [rng.integers(2**31 - 1, size=(steps, 2), dtype=np.int32)]

    def outputs(self, model: Any) -> Any:
        """Returns (x, features) -> logits of x, and what the classifier makes of the features."""
        classifier, node, _ = model.output._keras_history
        with keras.LOCK:
            features = keras.Input(classifier.get_input_at(node).shape[1:])
            return keras.Model([model.input, features], [model.output, classifier(features)])

    def loss(self, model: Any, x: Any, y: Any, targets: Sequence[Any], constants: Sequence[Any]) -> Any:
        tf = keras.tf
        weights, chances, *generator = constants
        (seed,), examples = targets, tf.size(y)
        drawn = tf.random.stateless_categorical(chances[tf.newaxis], examples, seed, tf.int32)[0]
        noise = tf.random.stateless_normal([2 * examples, NOISE], seed)
        asked = tf.concat([y, drawn], axis=0)
        logits, generated = model([x, generate(generator, noise, asked)], training=True)
        own, of_drawn = tf.split(generated, 2)
        similar = kl_divergence(tf.stop_gradient(own), logits)
        return cross_entropy(logits, y) + weights[0] * cross_entropy(of_drawn, drawn) + weights[1] * similar


def generate(weights: Sequence[Any], noise: Any, labels: Any) -> Any:
    """Returns features (n, f) that a generator, as it is used, makes of noise (n, NOISE) and labels (n,)."""
    tf = keras.tf
    kernel, bias, gamma, beta, mean, variance, last_kernel, last_bias = weights
    inputs = tf.concat([noise, tf.one_hot(labels, kernel.shape[0] - NOISE)], axis=1)
    normalised = (inputs @ kernel + bias - mean) * tf.math.rsqrt(variance + EPSILON) * gamma + beta
    return tf.nn.relu(normalised) @ last_kernel + last_bias


class FedGen(SGD):
    """SGD that generated features regularise."""

    Params = FedGenParams
    params: FedGenParams

    @classmethod
    def problems_in(cls, use: Use) -> Iterable[str]:
        yield from super().problems_in(use)
        yield from aggregated_by(use, "fedgen")

    @classmethod
    def contents(cls, model: ModelSpec) -> Mapping[str, Content]:
        generator = generator_of(model)
        declared = {
            GENERATOR: weights_content(generator.template, kinds=generator.kinds)["weights"],
            LABELS: Content((ArraySpec((model.classes,)),), lossless=True),
            EXAMPLES: Content((ArraySpec((model.classes,), "uint32"),), lossless=True),
        }
        return {**super().contents(model), **declared}

    @action
    def train(self, payload: Payload, round_number: int) -> Result:
        """Trains from the global weights, and says how many examples of each class it has."""
        objective = self.objective(payload["weights"])
        if GENERATOR in payload:
            decay = self.params.decay ** (round_number - 1)
            alpha, beta = decay * self.params.alpha, decay * self.params.beta
            objective = Generative(alpha, beta, payload[LABELS][0], tuple(payload[GENERATOR]))
        result = self._fitted(payload, objective)
        counts = np.bincount(self.data.y, minlength=self.model.classes).astype(np.uint32)
        return Result({**result.payload, EXAMPLES: [counts]}, result.metrics)
