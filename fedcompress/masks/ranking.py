"""Which channels go first: their scores, the order in which they go, and what is gone at a sparsity.

Scores: `l1`, the L1 norm of the weights that make the channel divided by their number; `lamp`, w^2 / sum of v^2 over
the channels of the layer that are not smaller (Lee et al. 2021, "Layer-adaptive sparsity for the magnitude-based
pruning", eq. 1), w being the L2 norm of the channel; `random`. A ranking over all layers can empty one, and with it the
network; `floor` is how many channels each layer keeps in any case.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from fedcompress.errors import InputError
from fedcompress.models import channels
from fedcompress.models.architecture import ModelSpec
from fedcompress.models.channels import Kept
from fedcompress.wire.content import Arrays

Score = Literal["l1", "lamp", "random"]
Count = Literal["weights", "channels"]
Scores = list[NDArray[np.float64]]
"""For each layer but the head: a number per channel."""
ROUNDING = 1e-9
"""What two ways to the same fraction may differ by."""


def scores(spec: ModelSpec, weights: Arrays, score: Score, rng: np.random.Generator, jitter: float = 0.0) -> Scores:
    """Returns the score of each channel, by the weights that make it, bias and normalisation apart; infinite: it stays.

    Args:
        spec: The model.
        weights: Its weights.
        score: How.
        rng: Draws random scores and noise; not asked for anything else.
        jitter: Standard deviation of noise that is added to the logarithm of each score.
    """
    result = []
    for layer, reader in pairwise(spec.channels):
        if reader.kernel not in spec.prunable:  # a frozen head reads every channel before it
            result.append(np.full(layer.channels, np.inf))
            continue
        kernel = weights[layer.kernel].astype(np.float64).reshape(-1, layer.channels)
        if score == "random":
            values = rng.random(layer.channels)
        elif score == "l1":
            values = np.abs(kernel).mean(axis=0)
        else:
            values = lamp(np.square(kernel).sum(axis=0))
        result.append(values * np.exp(jitter * rng.standard_normal(layer.channels)) if jitter else values)
    return result


def lamp(squares: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns w^2 / sum of v^2 over all |v| >= |w|, given the squares; equal ones are taken in their order."""
    order = np.argsort(squares, kind="stable")
    ascending = squares[order]
    rest = np.cumsum(ascending[::-1])[::-1]
    result = np.zeros(squares.size)
    result[order] = np.divide(ascending, rest, out=np.zeros(squares.size), where=rest > 0)
    return result


def removal_order(ranked: Scores, floor: int) -> list[tuple[int, int]]:
    """Returns (layer, channel) in the order in which they go: the lowest score first, of equal ones the first.

    The last `floor` channels of each layer never go. What is removed for one sparsity is removed for every higher one.
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
    for layer, channel in order:
        if reached(spec, survivors, count) >= sparsity - ROUNDING:
            break
        survivors[layer][channel] = False
    return survivors


def reached(spec: ModelSpec, kept: Kept, count: Count) -> float:
    """Returns which fraction of the channels, or of the prunable weights, does not stay."""
    if count == "channels":
        return 1.0 - sum(int(k.sum()) for k in kept) / sum(k.size for k in kept)
    left, everything, before = 0, 0, 1.0
    for layer, stays in zip(spec.channels, [*kept, None], strict=True):
        after = 1.0 if stays is None else float(stays.mean())
        if layer.kernel in spec.prunable:
            size = spec.template[layer.kernel].size
            left += round(size * before * after)
            everything += size
        before = after
    return 1.0 - left / everything


def by_layer(spec: ModelSpec, kept: Kept) -> dict[str, float]:
    """Returns which fraction of each layer's channels does not stay."""
    return {layer.name: 1.0 - float(k.mean()) for layer, k in zip(spec.channels, kept, strict=False)}


def check_sparsity(spec: ModelSpec, sparsity: float, floor: int, count: Count) -> None:
    """Checks that a model's channels can be followed, and that the floor leaves room for the sparsity.

    Raises:
        InputError: Names the layer, or the largest sparsity that there is.
    """
    least = [np.arange(layer.channels) < floor for layer in spec.channels[:-1]]
    most = reached(spec, least, count)
    if sparsity > most + ROUNDING:
        raise InputError(
            f"model {spec.name!r}: received sparsity {sparsity:g} of its {count}, but with floor = {floor} the most is "
            f"{floored(most)}: each layer keeps {floor} of its channels. Lower sparsity or floor."
        )


def floored(fraction: float) -> str:
    """Returns a fraction with four digits, rounded down, so that what is read can be asked for."""
    return f"{np.floor(fraction * 1e4) / 1e4:.4f}"
