"""What chooses the masks that are tried, beside breeding: randomised criteria, features in random proportions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fedcompress.masks import ranking
from fedcompress.masks.drawing import kept_of, largest
from fedcompress.masks.features import POSITION, Described, rank
from fedcompress.models.architecture import ModelSpec
from fedcompress.recipes.masks.settings import Criterion, Trying
from fedcompress.wire.content import Arrays

Mask = NDArray[np.bool_]
USED = 0.25
"""Chance of a feature to have a say in a mixed mask."""
SPREAD = 0.4
"""Standard deviation of the logarithm of a layer's share in a mixed mask."""
CONCENTRATION = 1.5
"""Of the Dirichlet distribution that layer widths of a mixed mask come from where no criterion gives them."""


def masked_by(
    criterion: Criterion,
    spec: ModelSpec,
    weights: Arrays,
    described: Described,
    sparsity: float,
    trying: Trying,
    rng: np.random.Generator,
    strength: float = 1.0,
) -> NDArray[np.bool_]:
    """Returns the mask (channels,) of a criterion, whose scores are randomised a little: by channel and by layer.

    Args:
        criterion: What ranks channels.
        spec: The network.
        weights: Its weights.
        described: Its channels.
        sparsity: Fraction of the channels that goes.
        trying: How much scores are randomised, and the floor.
        rng: Draws.
        strength: Factor of the noise; with 0 the mask is the criterion's own.
    """
    score: ranking.Score = "l1" if criterion == "equal" else criterion
    scores = ranking.scores(spec, weights, score, rng)
    if criterion == "equal":  # by their rank inside the layer, so that each layer keeps the same part
        scores = [(np.argsort(np.argsort(values)) + 0.5) / values.size for values in scores]
    if criterion != "random":
        scores = [
            values
            * np.exp(strength * (trying.jitter * rng.standard_normal(values.size) + trying.layer_jitter * rng.normal()))
            for values in scores
        ]
    return largest(np.concatenate(scores), described, kept_of(described.widths, sparsity, trying.floor), trying.floor)


def mixed(described: Described, models: Sequence[Mask], kept: int, floor: int, rng: np.random.Generator) -> Mask:
    """Returns a mask by the ranks of features in random proportions, with layer widths that are drawn as well.

    Args:
        described: The channels.
        models: Masks whose layer widths are varied, each with the same chance as widths out of nothing.
        kept: Channels to keep.
        floor: Channels that each layer keeps in any case.
        rng: Draws.
    """
    which = int(rng.integers(len(models) + 1))
    if which == len(models):
        shares = rng.dirichlet(np.full(len(described.widths), CONCENTRATION))
    else:
        shares = np.array([of_layer.sum() for of_layer in described.kept(models[which])], float)
        shares *= np.exp(SPREAD * rng.standard_normal(shares.size))
    counts = apportioned(shares, described.widths, kept, floor)
    proportions = rng.standard_normal(POSITION) * (rng.random(POSITION) < USED)
    proportions[0] += rng.integers(3)
    noise = rng.exponential(0.3)
    layers = []
    of_layers = np.split(described.features[:, :POSITION], np.cumsum(described.widths)[:-1])
    for features, count in zip(of_layers, counts, strict=True):
        ranks = [rank(column) if np.ptp(column) > 0 else np.zeros(len(column)) for column in features.T]
        scores = proportions @ np.array(ranks) + noise * rng.standard_normal(len(features))
        layers.append(rank(scores) * max(len(features) - 1, 1) >= len(features) - count)
    return np.concatenate(layers)


def apportioned(shares: NDArray[np.float64], widths: Sequence[int], kept: int, floor: int) -> NDArray[np.int64]:
    """Returns how many channels each layer keeps, in such shares as far as widths and floor allow."""
    size = np.array(widths)
    counts: NDArray[np.int64] = np.minimum(floor, size)
    wanted = shares / shares.sum() * kept
    for _ in range(kept - int(counts.sum())):
        counts[np.argmax(np.where(counts < size, wanted - counts, -np.inf))] += 1
    return counts
