"""fedbn: a client that shares all of its model but batch normalisation, which is its own.

Li et al. 2021, "FedBN: Federated learning on non-IID features via local batch normalization" (ICLR), Algorithm 1:
scale, shift, and moving mean and variance of each batch normalisation stay with the client; all else is averaged.
"""

from __future__ import annotations

from functools import lru_cache

from clients.fedper import FedPer
from fedcompress import keras
from fedcompress.models.architecture import ModelSpec


class FedBN(FedPer):
    """Trains its model as `sgd` does."""

    @classmethod
    def shared(cls, model: ModelSpec) -> tuple[int, ...]:
        own = normalising(model)
        return tuple(i for i in range(len(model.template)) if i not in own)


@lru_cache(maxsize=64)
def normalising(model: ModelSpec) -> frozenset[int]:
    """Returns the positions of the arrays of batch normalisation, through nested models and wrappers."""
    built = model.build()
    layers = [layer for layer in built._flatten_layers() if isinstance(layer, keras.layers.BatchNormalization)]
    own = {id(variable) for layer in layers for variable in layer.weights}
    return frozenset(i for i, variable in enumerate(built.weights) if id(variable) in own)
