"""Channels: the filters of convolutions and the units of dense layers, which one feeds which, and models without some.

A network is walked once (`ties`); after that masks over channels, and the smaller model, are plain array work.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedcompress.models.architecture import Architecture, ModelSpec
from fedcompress.models.normalised import plainly_called
from fedcompress.models.ties import Kernel, Tied, readers
from fedcompress.models.walking import walked
from fedcompress.wire.content import Arrays

Kept = list[NDArray[np.bool_]]
"""For each set of channels but the head's: which of them stay, (channels,); units as wholes."""


def whole(sets: Sequence[Tied]) -> Kept:
    """Returns that every channel stays."""
    return [np.ones(tied.channels, bool) for tied in sets[:-1]]


def masks_of(spec: ModelSpec, kept: Kept) -> Arrays:
    """Returns a mask per prunable kernel: zero is what makes, and what reads, a channel that does not stay."""
    masks = {}
    for tied, stays in _with_head(spec, kept):
        for kernel in tied.kernels:
            shape = spec.template[kernel.position].shape
            mask = stays[:, None] if kernel.depthwise else _rows(kernel, kept, shape[-2])[:, None] & stays
            masks[kernel.position] = np.broadcast_to(mask, shape).copy()
    return [masks[i] for i in spec.prunable]


def _with_head(spec: ModelSpec, kept: Kept) -> list[tuple[Tied, NDArray[np.bool_]]]:
    """Returns each set and which of its channels stay; all of the head's do."""
    *_, head = spec.channels
    return list(zip(spec.channels, [*kept, np.ones(head.channels, bool)], strict=True))


def _rows(kernel: Kernel, kept: Kept, size: int) -> NDArray[np.bool_]:
    """Which inputs of a kernel stay. A flattened map is channels-last, so the channels of one place lie together."""
    return np.ones(size, bool) if kernel.reads is None else np.tile(kept[kernel.reads], kernel.repeats)


def kept_of(spec: ModelSpec, masks: Sequence[NDArray[Any]]) -> Kept:
    """Returns the channels that masks leave something of: a weight that makes one of its unit, or one that reads it.

    Frozen kernels have no mask: those that read channels keep them all; those that make channels say nothing of them.
    """
    sets = spec.channels
    own = dict(zip(spec.prunable, masks, strict=True))
    frozen = {k.position: np.ones(spec.template[k.position].shape, bool) for tied in sets for k in tied.kernels}
    kept = _read(spec, frozen | own)
    for tied, stays in zip(sets, kept, strict=False):
        for kernel in tied.kernels:
            if kernel.position in own:
                stays |= _is_made(own[kernel.position], kernel)
    return [_whole_units(tied, stays) for tied, stays in zip(sets, kept, strict=False)]


def _is_made(array: NDArray[Any], kernel: Kernel) -> NDArray[np.bool_]:
    """Which channels a kernel has a weight of."""
    axis = array.ndim - (2 if kernel.depthwise else 1)
    return np.asarray((array != 0).any(axis=tuple(i for i in range(array.ndim) if i != axis)))


def _is_read(array: NDArray[Any], kernel: Kernel) -> NDArray[np.bool_]:
    """Which channels have an influence on what a kernel computes."""
    rows = (array != 0).any(axis=(*range(array.ndim - 2), array.ndim - 1))
    return np.asarray(rows.reshape(kernel.repeats, -1).any(axis=0))


def _read(spec: ModelSpec, arrays: Mapping[int, NDArray[Any]] | Arrays) -> Kept:
    """Returns the channels that have an influence on anything, given the kernels by position."""
    sets = spec.channels
    return [
        np.logical_or.reduce([_is_read(arrays[k.position], k) for k in readers(sets, number)])
        for number in range(len(sets) - 1)
    ]


def _whole_units(tied: Tied, channels: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Returns the channels of all units of which there is one."""
    return np.repeat(channels.reshape(-1, tied.unit).any(axis=1), tied.unit)


def held(spec: ModelSpec, masks: Arrays) -> dict[int, NDArray[np.bool_]]:
    """Returns, by position, which weights belong to the channels that masks leave: kernels, biases, normalisation.

    What training never changes is left out: it stays what it is, and nothing reads what it makes of such a channel.
    """
    pairs = zip(spec.channels, kept_of(spec, masks), strict=False)
    changing = {position for position, kind in enumerate(spec.kinds) if kind != "constant"}
    of_vectors = {position: stays for tied, stays in pairs for position in tied.vectors if position in changing}
    return dict(zip(spec.prunable, masks, strict=True)) | of_vectors


def shrunk(spec: ModelSpec, weights: Arrays) -> tuple[ModelSpec, Arrays]:
    """Returns a smaller dense model with the same outputs: without the channels that nothing reads.

    What decides is whether all weights that read a channel are zero, so the result is equal whatever made them zero.
    Of a set of which nothing is read the first unit stays: a network needs one.
    """
    kept = [_whole_units(tied, read) for tied, read in zip(spec.channels, _read(spec, weights), strict=False)]
    for tied, stays in zip(spec.channels, kept, strict=False):
        stays[: tied.unit] |= not stays.any()
    return narrowed(spec, [int(stays.sum()) for stays in kept]), sliced(spec, weights, kept)


def sliced(spec: ModelSpec, weights: Arrays, kept: Kept) -> Arrays:
    """Returns the weights without the channels that do not stay."""
    result = list(weights)
    for tied, stays in _with_head(spec, kept):
        for kernel in tied.kernels:
            array = weights[kernel.position]
            if kernel.depthwise:
                array = array[..., stays, :]
            else:
                array = array[..., _rows(kernel, kept, array.shape[-2]), :][..., stays]
            result[kernel.position] = np.ascontiguousarray(array)
        for i in tied.vectors:
            result[i] = weights[i][stays]
    return result


def narrowed(spec: ModelSpec, widths: Sequence[int]) -> ModelSpec:
    """Returns the same model with other numbers of channels, one for each set but the head's."""
    names = {k.layer: width for tied, width in zip(spec.channels, widths, strict=False) for k in tied.kernels}
    return ModelSpec(
        f"{spec.name} {'-'.join(map(str, widths))}",
        Narrow(spec, names),
        spec.input_shape,
        spec.classes,
        spec.reuses_head,
    )


class Narrow(Architecture):
    """A network with fewer channels than another model has, which may come from a file.

    Args:
        wide: The other model.
        widths: Name of a layer with a kernel -> its number of channels.
    """

    def __init__(self, wide: ModelSpec, widths: Mapping[str, int]) -> None:
        self.wide = wide
        self.widths = dict(widths)

    @property
    def key(self) -> tuple[Any, ...]:
        return *self.wide.architecture.key, tuple(self.widths.items())

    def features(self, inputs: Any) -> Any:
        model = self.wide.build()

        def call(layer: Any, x: Any) -> Any:
            if layer is model.layers[-1]:
                return x
            config = layer.get_config()
            for size in ("units", "filters"):
                if layer.name in self.widths and size in config:
                    config[size] = self.widths[layer.name]
            if "groups" in config and type(layer).__name__ == "GroupNormalization" and layer.groups != -1:
                config["groups"] = x.shape[-1] * layer.groups // layer.output.shape[-1]  # groups of as many channels
            return plainly_called(type(layer).from_config(config), x)

        return walked(model, inputs, call)
