"""Self-distillation: one step trains a network on the labels, and its own sub-networks to predict what it predicts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedcompress import keras
from fedcompress.models.kernels import Weight, compressible, replaced
from fedcompress.training.objectives import Objective, cross_entropy, kl_divergence
from fedcompress.wire.content import Arrays


@dataclass(eq=False)
class Sandwich(Objective):
    """CE(y, z) + weight sum_m [(1 - alpha) CE(y, z_m) + alpha T^2 KL(softmax(z / T) || softmax(z_m / T))].

    The sandwich rule with inplace distillation of Yu & Huang 2019, "Universally slimmable networks and improved
    training techniques", sections 3.2 and 3.3: z are the logits of the whole network, z_m those of the same weights
    under mask m, and no gradient flows through z as a teacher. The gradients of all passes are summed before the
    optimizer's step. Theirs are widths, and alpha, T and weight are 1; here sub-networks are given by masks.

    Layers that keep running statistics, as batch normalisation does, keep those of the whole network.

    Attributes:
        alpha: Weight of the whole network against the labels, in [0, 1].
        temperature: T > 0.
        weight: Of each sub-network against the whole.
        masks: Sub-network -> masks of the prunable weights; the last is the smallest.
        picks: For each training example a number; the first of a batch says which sub-network is trained beside the
            smallest. None: all are.
    """

    alpha: float
    temperature: float
    weight: float
    masks: Sequence[Arrays]
    picks: NDArray[np.int32] | None = None
    _kernels: list[Weight] = field(default_factory=list, init=False)
    """What is masked; looked up before a compression puts something else in its place."""

    @property
    def key(self) -> tuple[Any, ...]:
        return type(self), len(self.masks), self.picks is None

    @property
    def passes(self) -> int:
        return 1 + (len(self.masks) if self.picks is None else 2)

    @property
    def constants(self) -> Arrays:
        numbers = [np.array(n, np.float32) for n in (self.alpha, self.temperature, self.weight)]
        return [*numbers, *(np.stack(tensors).astype(np.float32) for tensors in zip(*self.masks, strict=True))]

    @property
    def targets(self) -> Arrays:
        return [] if self.picks is None else [self.picks]

    def outputs(self, model: Any) -> Any:
        self._kernels = compressible(model)
        return model

    def loss(self, model: Any, x: Any, y: Any, targets: Sequence[Any], constants: Sequence[Any]) -> Any:
        tf = keras.tf
        alpha, temperature, weight, *masks = constants
        logits = model(x, training=True)
        teacher = tf.stop_gradient(logits)
        statistics = [(variable, tf.identity(variable)) for variable in model.non_trainable_variables]
        total = cross_entropy(logits, y)
        for chosen in self._chosen(targets):
            inner = self._under([tensor[chosen] for tensor in masks], model, x)
            divergence = kl_divergence(teacher / temperature, inner / temperature)
            total += weight * ((1.0 - alpha) * cross_entropy(inner, y) + alpha * temperature**2 * divergence)
        for variable, before in statistics:
            variable.assign(before)
        return total

    def _chosen(self, targets: Sequence[Any]) -> list[Any]:
        """Returns the numbers of the sub-networks that a batch trains."""
        count = len(self.masks)
        if self.picks is None:
            return list(range(count))
        return [keras.tf.math.floormod(targets[0][0], count - 1), count - 1]

    def _under(self, masks: Sequence[Any], model: Any, x: Any) -> Any:
        """Returns the logits of a sub-network, of the very weights that the model computes with at this moment."""
        current = [vars(owner)[name] for owner, name in (kernel.places[0] for kernel in self._kernels)]
        masked = [keras.tf.cast(tensor, mask.dtype) * mask for tensor, mask in zip(current, masks, strict=True)]
        with replaced(zip(self._kernels, masked, strict=True)):
            return model(x, training=True)
