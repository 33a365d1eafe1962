"""Which channels go first: their scores, the order in which they go, and what is gone at a sparsity.

Scores: `l1`, the L1 norm of the weights that make the channel divided by their number; `lamp`, w^2 / sum of v^2 over
the channels of the layer that are not smaller (Lee et al. 2021, "Layer-adaptive sparsity for the magnitude-based
pruning", eq. 1), w being the L2 norm of the channel; `random`. A ranking over all layers can empty one, and with it the
network; `floor` is how many channels each layer keeps in any case.

Layers whose outputs are added have their channels in common, and a depthwise convolution those of what it reads: they
are one set, with one score by all weights that make the channel. Of channels that group normalisation ties, the whole
group has one score, and stays or goes. Where it says layer here, such a set is meant.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from fedcompress.errors import InputError
from fedcompress.models import channels
from fedcompress.models.architecture import ModelSpec
from fedcompress.models.channels import Kept
from fedcompress.models.ties import Tied, readers
from fedcompress.wire.content import Arrays

Score = Literal["l1", "lamp", "random"]
Count = Literal["weights", "channels"]
Scores = list[NDArray[np.float64]]
"""For each layer but the head: a number per channel, or per group of them that is normalised together."""
ROUNDING = 1e-9
"""What two ways to the same fraction may differ by."""


def scores(spec: ModelSpec, weights: Arrays, score: Score, rng: np.random.Generator, jitter: float = 0.0) -> Scores:
    """Returns the score of each unit, by the weights that make it, bias and normalisation apart; infinite: it stays.

    Args:
        spec: The model.
        weights: Its weights.
        score: How.
        rng: Draws random scores and noise; not asked for anything else.
        jitter: Standard deviation of noise that is added to the logarithm of each score.
    """
    result = []
    for number, tied in enumerate(spec.channels[:-1]):
        if stays(spec, number):
            result.append(np.full(tied.units, np.inf))
            continue
        made = _weights_of(tied, weights)
        if score == "random":
            values = rng.random(tied.units)
        elif score == "l1":
            values = np.abs(made).mean(axis=0)
        else:
            values = lamp(np.square(made).sum(axis=0))
        result.append(values * np.exp(jitter * rng.standard_normal(tied.units)) if jitter else values)
    return result


def stays(spec: ModelSpec, number: int) -> bool:
    """Says whether every channel of a set stays, since a frozen layer reads it."""
    return any(kernel.position not in spec.prunable for kernel in readers(spec.channels, number))


def staying(spec: ModelSpec) -> NDArray[np.bool_]:
    """Returns which channels `stays` says it of, over all sets but the head's, (channels,)."""
    sets = spec.channels[:-1]
    return np.repeat([stays(spec, number) for number in range(len(sets))], [tied.channels for tied in sets])


def _weights_of(tied: Tied, weights: Arrays) -> NDArray[np.float64]:
    """Returns the weights that make the channels of a set, (weights of a unit, units)."""
    parts = [weights[k.position].astype(np.float64).reshape(-1, tied.channels) for k in tied.kernels]
    return np.concatenate(parts).reshape(-1, tied.units, tied.unit).swapaxes(1, 2).reshape(-1, tied.units)


def lamp(squares: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns w^2 / sum of v^2 over all |v| >= |w|, given the squares; equal ones are taken in their order."""
    order = np.argsort(squares, kind="stable")
    ascending = squares[order]
    rest = np.cumsum(ascending[::-1])[::-1]
    result = np.zeros(squares.size)
    result[order] = np.divide(ascending, rest, out=np.zeros(squares.size), where=rest > 0)
    return result


def removal_order(ranked: Scores, floor: int) -> list[tuple[int, int]]:
    """Returns (layer, unit) in the order in which they go: the lowest score first, of equal ones the first.

    The last `floor` units of each layer never go. What is removed for one sparsity is removed for every higher one.
    """
    where = [(at, channel) for at, values in enumerate(ranked) for channel in range(values.size)]
    left = [values.size for values in ranked]
    order = []
    everything = np.concatenate(ranked)
    for i in np.argsort(everything, kind="stable"):
        layer, channel = where[i]
        if left[layer] > floor and np.isfinite(everything[i]):
            left[layer] -= 1
            order.append((layer, channel))
    return order


def prefix_kept(spec: ModelSpec, order: Sequence[tuple[int, int]], sparsity: float, count: Count) -> Kept:
    """Returns which channels stay when as many go, in this order, as the sparsity asks for, or all of the order."""
    survivors = channels.whole(spec.channels)
    for layer, unit in order:
        if reached(spec, survivors, count) >= sparsity - ROUNDING:
            break
        size = spec.channels[layer].unit
        survivors[layer][unit * size : (unit + 1) * size] = False
    return survivors


def reached(spec: ModelSpec, kept: Kept, count: Count) -> float:
    """Returns which fraction of the channels, or of the prunable weights, does not stay."""
    if count == "channels":
        return 1.0 - sum(int(k.sum()) for k in kept) / sum(k.size for k in kept)
    left, everything = 0, 0
    shares = [*(float(stays.mean()) for stays in kept), 1.0]
    for tied, after in zip(spec.channels, shares, strict=True):
        for kernel in tied.kernels:
            before = 1.0 if kernel.depthwise or kernel.reads is None else shares[kernel.reads]
            if kernel.position in spec.prunable:
                size = spec.template[kernel.position].size
                left += round(size * before * after)
                everything += size
    return 1.0 - left / everything


def by_layer(spec: ModelSpec, kept: Kept) -> dict[str, float]:
    """Returns which fraction of each layer's channels does not stay."""
    return {tied.name: 1.0 - float(k.mean()) for tied, k in zip(spec.channels, kept, strict=False)}


def check_sparsity(spec: ModelSpec, sparsity: float, floor: int, count: Count) -> None:
    """Checks that a model's channels can be followed, and that the floor and frozen layers leave room for the sparsity.

    Raises:
        InputError: Names the layer, or the largest sparsity that there is.
    """
    whole = [tied.name for number, tied in enumerate(spec.channels[:-1]) if stays(spec, number)]
    least = [(np.arange(t.channels) < floor * t.unit) | (t.name in whole) for t in spec.channels[:-1]]
    most = reached(spec, least, count)
    if sparsity > most + ROUNDING:
        names = ", ".join(map(repr, whole))
        why = f", and {names} all, since a frozen layer reads them" if whole else ""
        raise InputError(
            f"model {spec.name!r}: received sparsity {sparsity:g} of its {count}, but with floor = {floor} the most is "
            f"{floored(most)}: each layer keeps {floor} of its channels{why}. Lower sparsity or floor."
        )


def floored(fraction: float) -> str:
    """Returns a fraction with four digits, rounded down, so that what is read can be asked for."""
    return f"{np.floor(fraction * 1e4) / 1e4:.4f}"
