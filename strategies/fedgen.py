"""fedgen: averages models, and trains a generator of features that all clients' classifiers recognise.

Zhu, Hong & Zhou 2021, "Data-free knowledge distillation for heterogeneous federated learning" (ICML), Algorithm 1:
after each round 50 steps of Adam at 0.0003 on 32 labels each. The generator G minimises
sum_k n_ky / n_y CE(y, h_k(G(e, y))), h_k the classifier of client k, n_ky its examples of class y, plus
exp(-mean(|e - e'|^2 |G - G'|)) over pairs, so that different noise makes different features. Labels are drawn by how
many examples of them clients have. Adam begins anew in each round. What clients do is in `clients/fedgen.py`.

Losses, the generator's network, steps, batches and rate are those of the authors' code for MNIST (zhuangdizhu/FedGen).
Not as there: it draws labels uniformly (clients do, too) and noise from [0, 1), has Adam go on from round to round with
a weight decay of 0.01 and a rate that falls by 2 % a round, and counts for n_ky the examples that a client's steps of
the round have seen.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from clients.fedgen import EXAMPLES, GENERATOR, LABELS, NOISE, generator_of
from clients.fedgen import FedGen as Client
from fedcompress import keras
from fedcompress.compression.pruning import resting
from fedcompress.data.federated import Examples
from fedcompress.scenario.sections import TrainingSettings
from fedcompress.strategy import Arrays, Federation, Group, Payload, Reply, State
from fedcompress.training.objectives import Objective, cross_entropy
from fedcompress.training.trainer import Trainer
from strategies.fedavg import FedAvg, FedAvgParams
from strategies.heterofl import trained_by

if TYPE_CHECKING:
    from fedcompress.plugins import Use


class FedGenParams(FedAvgParams):
    """Parameters of FedGen's server; the defaults are those of the authors' code."""

    steps: int = Field(50, ge=1, description="of the generator's training in a round")
    batch_size: int = Field(32, ge=2, description="labels in a step")
    learning_rate: float = Field(0.0003, gt=0.0, description="of Adam")
    diversity: float = Field(1.0, ge=0.0, description="weight of the term that keeps features of a class apart")


@dataclass(frozen=True, eq=False)
class Recognised(Objective):
    """What the generator minimises; see the module's docstring. Its inputs are (e, one-hot y).

    Attributes:
        kernels, biases: Of the clients' classifiers, (clients, features, classes) and (clients, classes).
        shares: (clients, classes), n_ky / n_y.
        diversity: Weight of the last term.
    """

    kernels: NDArray[Any]
    biases: NDArray[Any]
    shares: NDArray[Any]
    diversity: float

    @property
    def key(self) -> tuple[Any, ...]:
        return type(self), self.kernels.shape

    @property
    def constants(self) -> Arrays:
        return [self.kernels, self.biases, self.shares.astype(np.float32), np.array(self.diversity, np.float32)]

    def loss(self, model: Any, x: Any, y: Any, targets: Sequence[Any], constants: Sequence[Any]) -> Any:
        tf = keras.tf
        kernels, biases, shares, diversity = constants
        features = model(x, training=True)
        clients = range(len(self.kernels))
        losses = [tf.gather(shares[k], y) * cross_entropy(features @ kernels[k] + biases[k], y) for k in clients]
        noise = x[:, :NOISE]
        apart = tf.reduce_mean(tf.abs(features[:, tf.newaxis] - features), axis=2)
        drawn_apart = tf.reduce_mean(tf.math.squared_difference(noise[:, tf.newaxis], noise), axis=2)
        return tf.add_n(losses) + diversity * tf.exp(-tf.reduce_mean(drawn_apart * apart))


class FedGen(FedAvg):
    """FedAvg with a generator; state as there, and `generator`, its weights, and `examples` (classes,), of all clients.

    `examples` is None, and the generator is not sent, before the first round.
    """

    Params = FedGenParams
    params: FedGenParams

    @classmethod
    def problems_in(cls, use: Use) -> Iterable[str]:
        yield from super().problems_in(use)
        yield from trained_by(use, Client)

    def problems(self) -> list[str]:
        if len(self.models) == 1:
            return super().problems()
        return [
            *super().problems(),
            "groups.model: strategy 'fedgen' has one generator of features, for one classifier; received "
            f"{', '.join(self.models)}; use one architecture.",
        ]

    def warnings(self) -> list[str]:
        told = "strategy 'fedgen': each client sends how many examples of each class it has; that tells what it holds."
        return [*super().warnings(), told]

    def initial(self, fed: Federation) -> State:
        (model,) = self.models.values()
        weights = generator_of(model).initial(self.rng("initial.generator"))
        return {**super().initial(fed), "generator": weights, "examples": None}

    def aggregated(self, fed: Federation, state: State, replies: Sequence[Reply]) -> State:
        state = super().aggregated(fed, state, replies)
        counts = np.stack([reply.payload[EXAMPLES][0] for reply in replies]).astype(np.float64)
        generator, loss = self._generator(fed, state["generator"], replies, counts)
        fed.note("generator_loss", loss)
        return {**state, "generator": generator, "examples": counts.sum(axis=0)}

    def _generator(
        self, fed: Federation, start: Arrays, replies: Sequence[Reply], counts: NDArray[Any]
    ) -> tuple[Arrays, float]:
        """Returns the generator after a round, and its loss."""
        (model,) = self.models.values()
        params, rng = self.params, fed.rng("generator")
        heads = [model.head_of(list(reply.payload["weights"])) for reply in replies]
        kernels, biases = (np.stack(arrays) for arrays in zip(*heads, strict=True))
        totals = counts.sum(axis=0)
        objective = Recognised(kernels, biases, counts / np.maximum(totals, 1), params.diversity)
        labels = rng.choice(model.classes, params.steps * params.batch_size, p=totals / totals.sum()).astype(np.int32)
        noise = rng.standard_normal((len(labels), NOISE), np.float32)
        inputs = np.hstack([noise, np.eye(model.classes, dtype=np.float32)[labels]])
        settings = TrainingSettings(
            optimizer="adam", learning_rate=params.learning_rate, batch_size=params.batch_size, epochs=1
        )
        trainer = Trainer(generator_of(model), resting(1, masked=False), settings, 1, fed.rng)
        trained = trainer.fit(start, Examples(inputs, labels), objective, purpose="generator.shuffle")
        return trained.weights, trained.loss

    def _request(self, group: Group, state: State, mask: Arrays) -> Payload:
        request = super()._request(group, state, mask)
        if state["examples"] is None:
            return request
        labels = (state["examples"] / state["examples"].sum()).astype(np.float32)
        return {**request, GENERATOR: state["generator"], LABELS: [labels]}
