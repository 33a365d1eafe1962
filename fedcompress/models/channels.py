"""Channels: the filters of convolutions and the units of dense layers, which one feeds which, and models without some.

A chain of layers is walked once (`chain`); after that masks over channels, and the smaller model, are plain array work.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedcompress.models.architecture import Architecture, ModelSpec
from fedcompress.models.chain import Layer
from fedcompress.wire.content import Arrays

Kept = list[NDArray[np.bool_]]
"""For each layer but the head: which of its channels stay, (channels,)."""


def whole(layers: Sequence[Layer]) -> Kept:
    """Returns that every channel stays."""
    return [np.ones(layer.channels, bool) for layer in layers[:-1]]


def masks_of(spec: ModelSpec, kept: Kept) -> Arrays:
    """Returns a mask per prunable kernel: zero is what makes, and what reads, a channel that does not stay."""
    layers = spec.channels
    before = [np.ones(1, bool), *kept]
    after = [*kept, np.ones(layers[-1].channels, bool)]
    masks = {}
    for layer, inputs_stay, outputs_stay in zip(layers, before, after, strict=True):
        shape = spec.template[layer.kernel].shape
        # A flattened map is channels-last, so the channels of one place lie together.
        rows = np.ones(shape[-2], bool) if layer is layers[0] else np.tile(inputs_stay, layer.repeats)
        masks[layer.kernel] = np.broadcast_to(rows[:, None] & outputs_stay, shape).copy()
    return [masks[i] for i in spec.prunable]


def kept_of(spec: ModelSpec, masks: Sequence[NDArray[Any]]) -> Kept:
    """Returns the channels that masks leave something of: a weight that makes it, or one that reads it."""
    layers = spec.channels
    mask_of = {layer.kernel: np.ones(spec.template[layer.kernel].shape, bool) for layer in layers}
    mask_of |= dict(zip(spec.prunable, masks, strict=True))
    return [
        _is_made(mask_of[layer.kernel]) | _is_read(mask_of[after.kernel], after) for layer, after in pairwise(layers)
    ]


def _is_made(kernel: NDArray[Any]) -> NDArray[np.bool_]:
    """Which channels of a layer its own kernel has a weight of."""
    return np.asarray((kernel != 0).any(axis=tuple(range(kernel.ndim - 1))))


def _is_read(kernel: NDArray[Any], layer: Layer) -> NDArray[np.bool_]:
    """Which channels of the layer before have an influence on this one."""
    rows = (kernel != 0).any(axis=(*range(kernel.ndim - 2), kernel.ndim - 1))
    return np.asarray(rows.reshape(layer.repeats, -1).any(axis=0))


def held(spec: ModelSpec, masks: Arrays) -> dict[int, NDArray[np.bool_]]:
    """Returns, by position, which weights belong to the channels that masks leave: kernels, biases, normalisation."""
    pairs = zip(spec.channels, kept_of(spec, masks), strict=False)
    of_vectors = {position: stays for layer, stays in pairs for position in layer.vectors}
    return dict(zip(spec.prunable, masks, strict=True)) | of_vectors


def shrunk(spec: ModelSpec, weights: Arrays) -> tuple[ModelSpec, Arrays]:
    """Returns a smaller dense model with the same outputs: without the channels that nothing reads.

    What decides is whether the next layer's weights for a channel are all zero, so the result is equal whatever made
    them zero. A layer of which nothing is read keeps its first channel: a network needs one.
    """
    layers = spec.channels
    kept = [_is_read(weights[after.kernel], after) for after in layers[1:]]
    for stays in kept:
        stays[0] |= not stays.any()
    return narrowed(spec, [int(stays.sum()) for stays in kept]), sliced(spec, weights, kept)


def sliced(spec: ModelSpec, weights: Arrays, kept: Kept) -> Arrays:
    """Returns the weights without the channels that do not stay."""
    layers = spec.channels
    result = list(weights)
    for at, layer in enumerate(layers):
        kernel = weights[layer.kernel]
        if at > 0:
            kernel = kernel[..., np.tile(kept[at - 1], layer.repeats), :]
        if at < len(layers) - 1:
            kernel = kernel[..., kept[at]]
            for i in layer.vectors:
                result[i] = weights[i][kept[at]]
        result[layer.kernel] = np.ascontiguousarray(kernel)
    return result


def narrowed(spec: ModelSpec, widths: Sequence[int]) -> ModelSpec:
    """Returns the same model with other numbers of channels, one for each layer but the head."""
    names = dict(zip((layer.name for layer in spec.channels), widths, strict=False))
    return ModelSpec(
        f"{spec.name} {'-'.join(map(str, widths))}",
        Narrow(spec, names),
        spec.input_shape,
        spec.classes,
        spec.reuses_head,
    )


class Narrow(Architecture):
    """A chain of layers with fewer channels than another model has, which may come from a file.

    Args:
        wide: The other model.
        widths: Name of a layer -> its number of channels.
    """

    def __init__(self, wide: ModelSpec, widths: Mapping[str, int]) -> None:
        self.wide = wide
        self.widths = dict(widths)

    @property
    def key(self) -> tuple[Any, ...]:
        return *self.wide.architecture.key, tuple(self.widths.items())

    def features(self, inputs: Any) -> Any:
        x = inputs
        for layer in self.wide.build().layers[1:-1]:
            config = layer.get_config()
            if layer.name in self.widths:
                config["units" if "units" in config else "filters"] = self.widths[layer.name]
            x = type(layer).from_config(config)(x)
        return x
