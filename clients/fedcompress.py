"""fedcompress: local training that ends with clustered weights, and tells how rich the model's representation is.

Tsouvalas et al. 2024, "Communication-efficient federated learning through adaptive weight clustering and server-side
distillation" (ICASSP), as the authors' code has it (FederatedML/FedCompress): half of the epochs are plain; in the rest
the model computes with the centroids of its weights, the loss is the cross-entropy of that model, and the learning rate
is half as large. The server says how many clusters a layer has. What is sent has that many distinct values in each
kernel, the classifier's included (the authors' code clusters convolutions alone), and crosses as codebooks
(`fedcompress/wire/values/codebooks.py`).

A round needs steps enough for weights to get from one centroid to another, or rounding takes back what was learned:
with 8 clusters, Adam at 0.001 and 2 epochs of 9 steps nothing was learned in four rounds, with 4 epochs of 17 it was.

The score is the effective rank of the embeddings of the client's validation examples, whose labels are not looked at
(Roy & Vetterli 2007; Garrido et al. 2023, "RankMe"): exp of the entropy of their singular values, which are made to sum
to one. Here a client sends its score; in the authors' code it sends the embeddings, from which the server takes one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from clients.scaffold import aggregated_by
from clients.sgd import SGD
from fedcompress.client import Content, Result, action
from fedcompress.compression.base import Params
from fedcompress.compression.kinds.cluster import Cluster, ClusterParams
from fedcompress.compression.kinds.none import NoCompression
from fedcompress.models.architecture import ModelSpec
from fedcompress.wire.content import Arrays, ArraySpec, Payload
from fedcompress.wire.values.codebooks import Codebooks

if TYPE_CHECKING:
    from fedcompress.plugins import Use

CLUSTERS = "clusters"
"""Content: how many clusters each kernel has; one number."""
SCORE = "representation_score"
"""Metric: the effective rank of the embeddings of the client's validation examples."""


class FedCompressParams(Params):
    """Parameters of FedCompress's clients; the defaults are those of the authors' code."""

    clustered: float = Field(0.5, gt=0.0, le=1.0, description="part of the epochs, the last, with clustered weights")
    rate: float = Field(0.5, gt=0.0, description="their learning rate, as a part of [training] learning_rate")


class FedCompress(SGD):
    """SGD in two phases, the second with clustered weights."""

    Params = FedCompressParams
    params: FedCompressParams
    needs_validation = True

    @classmethod
    def problems_in(cls, use: Use) -> Iterable[str]:
        yield from super().problems_in(use)
        yield from aggregated_by(use, "fedcompress")
        assert use.group is not None
        settings, compression = use.group.settings, use.group.compression
        if compression is not None and not isinstance(compression, NoCompression):
            yield (
                f"groups.{settings.name}.compression: client {use.name!r} clusters weights itself, as many clusters as "
                f'the server says; received {settings.compression!r}, use "none".'
            )

    @classmethod
    def contents(cls, model: ModelSpec) -> Mapping[str, Content]:
        declared = super().contents(model)
        clustered = replace(declared["weights"], compressed=Codebooks(), delta=False)
        return {**declared, "weights": clustered, CLUSTERS: Content((ArraySpec((1,), "uint8"),), lossless=True)}

    @action
    def train(self, payload: Payload, round_number: int) -> Result:
        """Trains from the global weights, then on with clustered ones, and sends those."""
        (clusters,) = payload[CLUSTERS][0].tolist()
        epochs = self.trainer.settings.epochs
        last = max(1, round(self.params.clustered * epochs))
        weights = payload["weights"]
        if epochs > last:
            weights = self.trainer.fit(weights, self.data, epochs=epochs - last).weights
        trained = self.trainer.under(clustering(clusters)).fit(
            weights,
            self.data,
            epochs=last,
            learning_rate=self.params.rate * self.trainer.learning_rate,
            purpose="shuffle.clustered",
        )
        return Result({"weights": trained.weights}, {"train_loss": trained.loss, **self._score(trained.weights)})

    def _score(self, weights: Arrays) -> dict[str, float]:
        """How rich the model's representation is; nothing of a client that is too small for validation examples."""
        if not len(self.validation):
            return {}
        return {SCORE: effective_rank(self.trainer.features(weights, self.validation.x))}


def clustering(clusters: int) -> Cluster:
    """Returns the compression under which each kernel computes with so many distinct weights."""
    return Cluster(ClusterParams(clusters=clusters), sparsity=0.0, rounds=1)


def effective_rank(embeddings: NDArray[Any]) -> float:
    """Returns exp(-sum_k p_k log p_k) of embeddings (n, features), each of length one, with singular values ~ p.

    It is between 1 and the smaller of n and features; 0 if all are zero.
    """
    lengths = np.linalg.norm(embeddings.astype(np.float64), axis=1, keepdims=True)
    values = np.linalg.svd(embeddings / np.maximum(lengths, 1e-12), compute_uv=False)
    if not values.sum():
        return 0.0
    shares = values[values > 0] / values.sum()
    return round(float(np.exp(-(shares * np.log(shares)).sum())), 6)  # beyond that it is a matter of the processor
