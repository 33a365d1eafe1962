"""Averaging what clients return: weight by weight over the clients that keep it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedcompress.wire.content import Arrays, Kind


def weighted_mean(updates: Sequence[Arrays], examples: Sequence[float]) -> Arrays:
    """Returns sum_k n_k w_kj / sum_k n_k for every weight j (McMahan et al. 2017, Algorithm 1).

    Args:
        updates: One list of arrays per client, all of the same shapes.
        examples: n_k per client.
    """
    total = float(sum(examples))
    means = []
    for arrays in zip(*updates, strict=True):
        mean = np.zeros(arrays[0].shape, np.float64)
        for array, n in zip(arrays, examples, strict=True):
            mean += array * (n / total)
        means.append(mean.astype(np.float32))
    return means


def masked_mean(
    updates: Sequence[Arrays],
    held: Sequence[Mapping[int, NDArray[np.bool_]] | None],
    examples: Sequence[float],
    old: Arrays,
) -> Arrays:
    """Returns w_j = sum_k n_k m_kj w_kj / sum_k n_k m_kj, and the old value where no client has weight j.

    Averaging pruned models as if a zero were a value would shrink each weight by its coverage.

    Args:
        updates: One list of arrays per client.
        held: For each client, by position, which weights it has; all at other positions. None for everything.
        examples: n_k per client.
        old: Weights before the round; what no client has is remembered from them, for regrowth.
    """
    result = weighted_mean(updates, examples)
    for i in sorted({i for masks in held if masks is not None for i in masks}):
        total = np.zeros(old[i].shape, np.float64)
        weight = np.zeros(old[i].shape, np.float64)
        for update, masks, n in zip(updates, held, examples, strict=True):
            kept: Any = masks[i] * float(n) if masks is not None and i in masks else float(n)
            total += update[i] * kept
            weight += kept
        covered = weight > 0
        result[i] = np.where(covered, total / np.where(covered, weight, 1.0), old[i]).astype(np.float32)
    return result


def replaced(weights: Arrays, others: Arrays, kinds: Sequence[Kind], kind: Kind) -> Arrays:
    """Returns the weights with those of others where they are of a kind (`ModelSpec.kinds`).

    A mean of equal numbers is mostly, and not always, equal to them: frozen weights are better not averaged at all.
    """
    return [b if k == kind else a for a, b, k in zip(weights, others, kinds, strict=True)]


def union(masks: Sequence[Arrays | None]) -> Arrays | None:
    """Returns what at least one client keeps; None if one keeps everything."""
    if not masks or any(mask is None for mask in masks):
        return None
    present = [mask for mask in masks if mask is not None]
    return [np.logical_or.reduce(arrays) for arrays in zip(*present, strict=True)]
