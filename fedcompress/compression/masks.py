"""Masks over a model's prunable weights: choosing, applying, counting. A zero value is not a mask."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from math import prod
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from fedcompress.wire import vector
from fedcompress.wire.content import Arrays

Scope = Literal["layer", "model", "erk"]
SCOPES = (
    "layer: each layer has the sparsity; model: all together, by one threshold on magnitudes; "
    "erk: all together, and small layers keep more (Erdős-Rényi-Kernel)"
)
"""What a scope says, for descriptions of parameters."""


BISECTIONS = 100
"""Of the common factor of Erdős-Rényi-Kernel densities: until it is exact."""


def survivors(size: int, sparsity: float) -> int:
    """Returns how many weights of a tensor survive: max(round(size (1 - sparsity)), 1), as tfmot counts."""
    return min(max(int(np.round(np.float32(size) * np.float32(1 - sparsity))), 1), size)


def largest(array: NDArray[Any], keep: int) -> NDArray[np.bool_]:
    """Returns the mask of the `keep` largest magnitudes; of equal ones the first. Masks of one array are nested."""
    return vector.largest(array.reshape(-1), keep).reshape(array.shape)


def counts(weights: Arrays, prunable: Sequence[int], sparsity: float, scope: Scope = "layer") -> list[int]:
    """Returns how many weights of each prunable tensor survive.

    Args:
        weights: The model.
        prunable: Positions of its prunable tensors.
        sparsity: Fraction of zeros asked for.
        scope: "layer" asks it of each tensor; "model" of all together, by one threshold on magnitudes, so that a
            tensor of large weights keeps more of them; "erk" of all together, by `erk_counts`.

    Returns:
        At least one for each tensor. Together they are what `survivors` says of all, or with "layer" of each; with a
        higher sparsity none of them is larger, so that masks are nested. Nothing for no tensors: all but the head may
        be frozen, and that reused.
    """
    sizes = [weights[i].size for i in prunable]
    if scope == "layer" or not sizes:
        return [survivors(size, sparsity) for size in sizes]
    total = max(survivors(sum(sizes), sparsity), len(sizes))
    if scope == "erk":
        return erk_counts([weights[i].shape for i in prunable], total)
    magnitudes = [np.abs(weights[i].ravel()) for i in prunable]
    for tensor in magnitudes:
        tensor[tensor.argmax()] = np.inf  # each keeps its largest weight
    everywhere = largest(np.concatenate(magnitudes), total)
    return [int(mask.sum()) for mask in np.split(everywhere, np.cumsum(sizes)[:-1])]


def erk_counts(shapes: Sequence[tuple[int, ...]], total: int) -> list[int]:
    """Returns how many weights of each tensor survive at Erdős-Rényi-Kernel densities (Evci et al. 2020, "RigL").

    The density of a kernel is proportional to (in + out + kh + kw) / (in out kh kw), of a dense layer to (in + out) /
    (in out), and 1 where that is more; what is cut off there goes to the others. So a tensor keeps a number that is
    proportional to the sum of its sides, but for its own size. Numbers are rounded as seats are by Webster's method,
    which hands them out one by one: a smaller total takes from tensors, and gives to none.

    Args:
        shapes: Of the tensors, (kh, kw, in, out) or (in, out).
        total: Of all together, at least one for each and at most all.
    """
    sides = np.array([sum(shape) for shape in shapes], np.float64)
    sizes = np.array([prod(shape) for shape in shapes], np.int64)

    def rounded(scale: float) -> NDArray[np.int64]:
        return np.clip(np.floor(np.minimum(scale * sides, sizes) + 0.5).astype(np.int64), 1, sizes)

    low, high = 0.0, float((sizes / sides).max())
    if int(rounded(high).sum()) <= total:
        return [int(size) for size in sizes]
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        low, high = (middle, high) if int(rounded(middle).sum()) <= total else (low, middle)
    counts = rounded(low)
    while counts.sum() < total:  # of tensors whose next weight is due at the same scale the first ones get it
        due = np.where(counts < sizes, (counts + 0.5) / sides, np.inf)
        counts[due.argmin()] += 1
    return [int(count) for count in counts]


def choose(weights: Arrays, prunable: Sequence[int], keep: Sequence[int]) -> Arrays:
    """Returns a mask per prunable tensor that keeps its `keep` largest magnitudes."""
    return [largest(weights[i], count) for i, count in zip(prunable, keep, strict=True)]


def apply(weights: Arrays, masks: Arrays, prunable: Sequence[int]) -> Arrays:
    """Returns the weights with zeros outside the masks."""
    return restrict(weights, dict(zip(prunable, masks, strict=True)))


def restrict(weights: Arrays, held: Mapping[int, NDArray[np.bool_]]) -> Arrays:
    """Returns the weights with zeros outside what is held, given by position."""
    return [np.where(held[i], array, np.float32(0)) if i in held else array for i, array in enumerate(weights)]


def adjusted(weights: Arrays, masks: Arrays, prunable: Sequence[int], keep: Sequence[int]) -> Arrays:
    """Returns the masks, each with `keep` weights: of too many the smallest go, to too few the largest others come.

    tfmot keeps every weight that ties with the threshold, so a tensor with many equal values (zeros after rounding,
    say) comes back denser than asked. It counts in float32, so that of very many weights it keeps a few more or fewer.
    """
    return [_adjusted(weights[i], mask, count) for i, mask, count in zip(prunable, masks, keep, strict=True)]


def _adjusted(array: NDArray[Any], mask: NDArray[np.bool_], count: int) -> NDArray[np.bool_]:
    surplus = int(mask.sum()) - count
    if surplus == 0:
        return mask
    among, wanted = (mask, count) if surplus > 0 else (~mask, -surplus)
    result = mask & ~among
    result[among] = largest(1.0 + np.abs(array[among].astype(np.float64)), wanted)
    return result


def sparsity(weights: Arrays, kernels: Collection[int]) -> float:
    """Returns the fraction of zeros, counted on the real values.

    Args:
        weights: The model.
        kernels: Positions of what is counted: `ModelSpec.kernels` for a model as a whole, frozen layers included.
    """
    total = sum(weights[i].size for i in kernels)
    return 1.0 - sum(int(np.count_nonzero(weights[i])) for i in kernels) / total if total else 0.0


def density(masks: Arrays) -> float:
    """Returns the fraction of weights that masks keep."""
    return sum(int(m.sum()) for m in masks) / sum(m.size for m in masks)


def pack(masks: Arrays) -> NDArray[np.uint8]:
    """Returns masks as bits, for keeping one for each of many clients."""
    return np.packbits(vector.joined(masks, np.bool_))


def unpack(bits: NDArray[np.uint8], like: Sequence[tuple[int, ...]]) -> Arrays:
    """Returns the masks of `pack`, given their shapes."""
    flat = np.unpackbits(bits, count=int(vector.sizes_of(like).sum())).view(np.bool_)
    return vector.split(flat, like)
