"""magnitude: prune the smallest weights of each tensor, by tfmot, to a target that is indexed by round.

Zhu & Gupta 2017, "To prune, or not to prune": s_t = s_f + (s_i - s_f) (1 - (t - t0) / (t1 - t0))^3. tfmot's own
schedules count steps, and a federated client often trains fewer than they wait for; here t is the federated round.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from typing import Any, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from fedcompress import keras
from fedcompress.compression import masks as masking
from fedcompress.compression.base import Compression, Params, Wrapping
from fedcompress.models.architecture import ModelSpec
from fedcompress.wire.content import Arrays


class MagnitudeParams(Params):
    """Parameters of magnitude pruning; rounds that are left out follow from the run's length."""

    schedule: Literal["polynomial", "constant"] = Field("polynomial", description="constant: the target from begin on")
    begin_round: int | None = Field(None, ge=0, description="last dense round; default: a fifth of the rounds")
    end_round: int | None = Field(None, ge=1, description="round that reaches the target; default: three fifths")
    initial: float = Field(0.0, ge=0.0, lt=1.0, description="sparsity with which the ramp begins")
    power: float = Field(3.0, gt=0.0, description="exponent of the polynomial")
    freeze_round: int | None = Field(
        None, ge=0, description="from here on masks stay; default: four fifths; 0 is never"
    )
    frequency: int = Field(10, ge=1, description="steps between mask updates inside a round")
    scope: masking.Scope = Field("layer", description="whether each layer has the target, or the model as a whole")
    mask: Literal["client", "server"] = Field(
        "client", description="who chooses: each client, or the server for a group"
    )

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        begin, end = self.begin_round, self.end_round
        if begin is not None and end is not None and begin >= end:
            raise ValueError(f"begin_round has to come before end_round, received {begin} and {end}")
        return self


class Magnitude(Compression):
    """Magnitude pruning with explicit masks.

    Masks are chosen from the weights at the first step of a round and again every `frequency` steps, until they freeze.
    """

    Params = MagnitudeParams
    params: MagnitudeParams

    @property
    def chooser(self) -> Literal["client", "server"] | None:
        return self.params.mask if self.sparsity > 0 else None

    @property
    def begin_round(self) -> int:
        """Last dense round, 0 if there is none."""
        if self.params.begin_round is not None:
            return self.params.begin_round
        return min(int(0.2 * self.rounds), self.end_round - 1)

    @property
    def end_round(self) -> int:
        """First round at the full target."""
        if self.params.end_round is not None:
            return self.params.end_round
        return max(ceil(0.6 * self.rounds), (self.params.begin_round or 0) + 1)

    @property
    def freeze_round(self) -> int:
        """First round in which masks no longer change; 0 if they always may."""
        if self.params.freeze_round is not None:
            return self.params.freeze_round
        return max(ceil(0.8 * self.rounds), self.end_round + 1)

    def target(self, round_number: int) -> float:
        if round_number <= self.begin_round:
            return 0.0
        if self.params.schedule == "constant" or round_number >= self.end_round:
            return self.sparsity
        progress = (round_number - self.begin_round) / (self.end_round - self.begin_round)
        begin = min(self.params.initial, self.sparsity)
        return float(self.sparsity - (self.sparsity - begin) * (1.0 - progress) ** self.params.power)

    def frozen(self, round_number: int) -> bool:
        return 0 < self.freeze_round <= round_number

    def wrapping(self) -> Wrapping:
        return _MagnitudeWrapping()

    def counts(self, weights: Arrays, spec: ModelSpec, round_number: int) -> list[int]:
        return masking.counts(weights, spec.prunable, self.target(round_number), self.params.scope)

    def inputs(self, spec: ModelSpec, round_number: int, masks: Arrays | None, counts: Sequence[int]) -> list[Any]:
        chooses = masks is None and self.target(round_number) > 0
        shapes = [spec.template[i].shape for i in spec.prunable]
        given = [m.astype(np.float32) for m in masks] if masks is not None else [np.ones(s, np.float32) for s in shapes]
        sparsities = np.array([1 - n / m.size for n, m in zip(counts, given, strict=True)], np.float32)
        return [sparsities, np.int64(self.params.frequency if chooses else 0), *given]


class _MagnitudeWrapping(Wrapping):
    """tfmot's pruning wrappers, with target, frequency and masks as variables that one graph reads."""

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
                return layer
            return sparsity.prune_low_magnitude(layer, pruning_schedule=RoundSchedule())

        wrapped = keras.models.clone_model(model, clone_function=wrapped_layer)
        self._layers = [layer for layer in wrapped.layers if hasattr(layer, "pruning_obj")]
        return wrapped

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
