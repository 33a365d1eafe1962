"""Pruning inside the training graph, by tfmot: masks that are given, or chosen by magnitude as training goes on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fedcompress import keras
from fedcompress.compression.base import Compression, Wrapping
from fedcompress.models.architecture import ModelSpec
from fedcompress.wire.content import Arrays


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


class PruningWrapping(Wrapping):
    """tfmot's pruning wrappers, with targets, frequency and masks as variables that one graph reads."""

    def wrap(self, model: Any) -> Any:
        tf = keras.tf
        sparsity: Any = keras.tfmot.sparsity.keras
        targets: list[Any] = []
        self._targets = targets
        frequency = self._frequency = tf.Variable(0, dtype=tf.int64, trainable=False)

        class RoundSchedule(sparsity.PruningSchedule):  # type: ignore[misc]
            """Says when the masks of one layer are updated and to which sparsity; a frequency of 0 keeps them."""

            def __init__(self) -> None:
                self.target = tf.Variable(0.0, trainable=False)
                targets.append(self.target)

            def __call__(self, step: Any) -> Any:
                # tfmot counts from 1 and adds one before it asks, so the first step of a call is 2.
                due = tf.equal(tf.math.floormod(step - 2, tf.maximum(frequency, 1)), 0)
                return tf.logical_and(frequency > 0, due), self.target

            def get_config(self) -> dict[str, Any]:
                return {}

        def wrapped_layer(layer: Any) -> Any:
            if not (hasattr(layer, "kernel") and layer.trainable):
                return self.other_layer(layer)
            return sparsity.prune_low_magnitude(self.layer(layer), pruning_schedule=RoundSchedule())

        wrapped = keras.models.clone_model(model, clone_function=wrapped_layer)
        self._layers = [layer for layer in wrapped.layers if hasattr(layer, "pruning_obj")]
        return wrapped

    def layer(self, layer: Any) -> Any:
        """Returns what is to be pruned in place of a layer with a kernel; it has the same variables."""
        return layer

    def other_layer(self, layer: Any) -> Any:
        """Returns what stands in place of a layer that is not pruned."""
        return layer

    def begin(self, inputs: Sequence[Any]) -> None:
        sparsities, frequency, *masks = inputs
        for i, target in enumerate(self._targets):
            target.assign(sparsities[i])
        self._frequency.assign(frequency)
        for layer in self._layers:
            layer.pruning_step.assign(1)
        for variable, mask in zip(self.masks(), masks, strict=True):
            variable.assign(mask)

    def finish(self) -> None:
        # The masks are applied before each step; without this the last step brings every pruned weight back.
        for layer in self._layers:
            layer.pruning_obj.weight_mask_op()

    def masks(self) -> Sequence[Any]:
        return [mask for layer in self._layers for _, mask, _ in layer.pruning_vars]
