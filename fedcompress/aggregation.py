"""Averaging what clients return: weight by weight over the clients that keep it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fedcompress.wire.content import Arrays


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
    masks: Sequence[Arrays | None],
    examples: Sequence[float],
    prunable: Sequence[int],
    old: Arrays,
) -> Arrays:
    """Returns w_j = sum_k n_k m_kj w_kj / sum_k n_k m_kj, and the old value where no client keeps j.

    Averaging pruned models as if a zero were a value would shrink each weight by its coverage.

    Args:
        updates: One list of arrays per client.
        masks: One bool array per prunable tensor for each client; None keeps everything.
        examples: n_k per client.
        prunable: Positions that the masks cover.
        old: Weights before the round; what no client keeps is remembered from them, for regrowth.
    """
    result = weighted_mean(updates, examples)
    if all(mask is None for mask in masks):
        return result
    for at, i in enumerate(prunable):
        total = np.zeros(old[i].shape, np.float64)
        weight = np.zeros(old[i].shape, np.float64)
        for update, mask, n in zip(updates, masks, examples, strict=True):
            kept: NDArray[np.float64] | float = float(n) if mask is None else mask[at] * float(n)
            total += update[i] * kept
            weight += kept
        covered = weight > 0
        result[i] = np.where(covered, total / np.where(covered, weight, 1.0), old[i]).astype(np.float32)
    return result


def union(masks: Sequence[Arrays | None]) -> Arrays | None:
    """Returns what at least one client keeps; None if one keeps everything."""
    if not masks or any(mask is None for mask in masks):
        return None
    present = [mask for mask in masks if mask is not None]
    return [np.logical_or.reduce(arrays) for arrays in zip(*present, strict=True)]
