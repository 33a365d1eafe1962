"""Pruning inside the training graph, by tfmot: masks that are given, or chosen by magnitude as training goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from fedcompress import keras
from fedcompress.compression.base import Compression, Params, Wrapping
from fedcompress.models.architecture import ModelSpec
from fedcompress.models.kernels import compressible
from fedcompress.wire.content import Arrays


def tfmot_keeps(size: int, sparsity: float | np.float32) -> int:
    """Returns how many weights of a tensor tfmot keeps, but for ties: it counts in float32."""
    return max(int(np.round(np.float32(size) * (1 - np.float32(sparsity)))), 1)


def sparsity_that_keeps(keep: int, size: int) -> float:
    """Returns the sparsity at which tfmot keeps so many weights of a tensor.

    From some 8 million weights on there may be none; then it keeps the next number above that there is, of which
    `masks.adjusted` drops the rest. Only where that is more than there are weights, which tfmot fails at, it is below.
    """
    sparsity, step = np.float32(1 - keep / size), np.float32(2**-24)  # what float32 tells apart below 1
    while tfmot_keeps(size, sparsity) < keep:
        sparsity -= step
    while tfmot_keeps(size, sparsity) > size:
        sparsity += step
    return float(sparsity)


def mask_inputs(spec: ModelSpec, masks: Arrays | None, sparsities: Sequence[float], frequency: int) -> list[Any]:
    """Returns what `PruningWrapping.begin` expects.

    Args:
        spec: The model.
        masks: To start with; None for none.
        sparsities: Of each prunable tensor, reached every `frequency` steps.
        frequency: 0 keeps the masks as they are.
    """
    shapes = [spec.template[i].shape for i in spec.prunable]
    given = [np.ones(s, np.float32) for s in shapes] if masks is None else [m.astype(np.float32) for m in masks]
    return [np.array(sparsities, np.float32), np.int64(frequency), *given]


class Masked(Compression):
    """A compression that training knows nothing of: it keeps the masks that it is given. All such share a graph."""

    @property
    def key(self) -> tuple[Any, ...]:
        return (Masked,)

    def wrapping(self) -> Wrapping:
        return PruningWrapping()

    def inputs(
        self, weights: Arrays, spec: ModelSpec, round_number: int, masks: Arrays | None, counts: Sequence[int]
    ) -> list[Any]:
        return mask_inputs(spec, masks, [0.0] * len(spec.prunable), 0)

    def prunes_in_training(self, round_number: int) -> bool:
        return False


def resting(rounds: int, masked: bool) -> Compression:
    """Returns a compression that chooses nothing: under it training keeps the masks that it is given.

    Args:
        rounds: Of the run.
        masked: Whether it will be given any.
    """
    return (Masked if masked else Compression)(Params(), sparsity=0.0, rounds=rounds)


def keeping(compression: Compression, masks: Arrays | None) -> Compression:
    """Returns what keeps given masks: a compression itself, but for none at all, in whose graph there are no masks."""
    if not masks or type(compression) is not Compression:
        return compression
    return resting(compression.rounds, masked=True)


class PruningWrapping(Wrapping):
    """tfmot's pruning of single weights, with targets, frequency and masks as variables that one graph reads.

    tfmot's own wrappers are for top-level layers with a `kernel`; here its pruning works on every kernel there is.
    """

    def wrap(self, model: Any) -> Any:
        tf = keras.tf
        self.kernels = compressible(model)
        self._frequency = tf.Variable(0, dtype=tf.int64, trainable=False)
        self._done = tf.Variable(0, dtype=tf.int64, trainable=False)  # steps
        self._targets = [tf.Variable(0.0, trainable=False) for _ in self.kernels]
        self._masks = [tf.Variable(tf.ones(w.variable.shape), trainable=False) for w in self.kernels]
        self._pruned = [
            keras.Pruning(
                training_step_fn=lambda: self._done,
                pruning_vars=[(weight.variable, mask, tf.Variable(0.0, trainable=False))],
                pruning_schedule=self._schedule(target),
                block_size=(1, 1),
                block_pooling_type="AVG",
            )
            for weight, mask, target in zip(self.kernels, self._masks, self._targets, strict=True)
        ]
        return model

    def _schedule(self, target: Any) -> Callable[[Any], tuple[Any, Any]]:
        """Says when the mask of one kernel is updated and to which sparsity; a frequency of 0 keeps it."""
        tf, frequency = keras.tf, self._frequency

        def due(step: Any) -> tuple[Any, Any]:
            now = tf.equal(tf.math.floormod(step, tf.maximum(frequency, 1)), 0)
            return tf.logical_and(frequency > 0, now), target

        return due

    def begin(self, inputs: Sequence[Any]) -> None:
        sparsities, frequency, *masks = inputs
        for i, target in enumerate(self._targets):
            target.assign(sparsities[i])
        self._frequency.assign(frequency)
        self._done.assign(0)
        for variable, mask in zip(self._masks, masks, strict=True):
            variable.assign(mask)

    @contextmanager
    def step(self) -> Iterator[None]:
        for pruned in self._pruned:
            pruned.conditional_mask_update()
            pruned.weight_mask_op()
        self._done.assign_add(1)
        yield

    def finish(self) -> None:
        # The masks are applied before each step; without this the last step brings every pruned weight back.
        for pruned in self._pruned:
            pruned.weight_mask_op()

    def masks(self) -> Sequence[Any]:
        return self._masks
