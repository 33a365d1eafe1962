"""Masks of the sub-networks that a client trains inside its own: those of the sparser groups of its architecture."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from fedcompress.compression import masks as masking
from fedcompress.models.architecture import ModelSpec
from fedcompress.wire.content import Arrays, ArraySpec, Content

NESTED = "nested masks"
"""Name of the content that carries them."""

MOST = 8
"""Sub-networks that fit into it: a bit each."""


def nested_content(model: ModelSpec) -> dict[str, Content]:
    """Declares the masks of a model's sub-networks: for each prunable weight a byte, bit i of which is set where
    sub-network i has the weight. Both ends keep the last ones, so that masks that stay cross as their digest."""
    arrays = tuple(ArraySpec(model.template[i].shape, "uint8") for i in model.prunable)
    return {NESTED: Content(arrays, lossless=True, kept=True)}


def sparser(masks: Iterable[Arrays], density: float) -> list[Arrays]:
    """Returns the masks that keep less than a density, the densest first, and equal ones once.

    Args:
        masks: Of other groups of one architecture; an empty one keeps everything.
        density: Fraction of the prunable weights that the client itself keeps.
    """
    below = [mask for mask in masks if mask and masking.density(mask) < density]
    distinct = {masking.pack(mask).tobytes(): mask for mask in below}
    return sorted(distinct.values(), key=masking.density, reverse=True)


def packed(masks: Sequence[Arrays]) -> Arrays:
    """Returns the content of up to `MOST` masks, the densest first."""
    bits = [[tensor.astype(np.uint8) << i for i, tensor in enumerate(tensors)] for tensors in zip(*masks, strict=True)]
    return [np.bitwise_or.reduce(planes) for planes in bits]


def unpacked(arrays: Arrays) -> list[Arrays]:
    """Undoes `packed`."""
    used = max((int(array.max()) for array in arrays), default=0).bit_length()
    return [[(array >> i & 1).astype(np.bool_) for array in arrays] for i in range(used)]
