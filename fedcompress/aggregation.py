"""Averaging what clients return: weight by weight over the clients that keep it, one client after the other."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fedcompress.wire.content import Arrays, Kind

_PART: Final = 1 << 15
"""Elements that are added together."""
_FEW: Final = 0.25
"""Share of a part's elements up to which those that a client has are added one by one."""

Held = Mapping[int, NDArray[np.bool_]] | None
"""Position -> which weights of an array a client has; all at other positions. None for everything."""


def weighted_mean(updates: Iterable[Arrays], examples: Sequence[float]) -> Arrays:
    """Returns sum_k n_k w_kj / sum_k n_k for every weight j (McMahan et al. 2017, Algorithm 1).

    Args:
        updates: One list of arrays per client, all of the same shapes; only one is in memory at a time if they are
            made one by one.
        examples: n_k per client.
    """
    total = float(sum(examples))
    means: list[NDArray[np.float64]] = []
    for update, n in zip(updates, examples, strict=True):
        means = means or [np.zeros(array.shape, np.float64) for array in update]
        for mean, array in zip(means, update, strict=True):
            sums, values = mean.reshape(-1), array.reshape(-1)
            for start in range(0, sums.size, _PART):
                sums[start : start + _PART] += values[start : start + _PART] * (n / total)
    return [mean.astype(np.float32) for mean in means]


def masked_mean(
    updates: Iterable[Arrays],
    held: Iterable[Held],
    examples: Sequence[float],
    old: Arrays,
    masked: Collection[int] | None = None,
) -> Arrays:
    """Returns w_j = sum_k n_k m_kj w_kj / sum_k n_k m_kj, and the old value where no client has weight j.

    Averaging pruned models as if a zero were a value would shrink each weight by its coverage.

    Args:
        updates: As in `weighted_mean`.
        held: For each client, which weights it has; may be made one by one as well.
        examples: n_k per client.
        old: Weights before the round; what no client has is remembered from them, for regrowth.
        masked: Positions at which a client may have only some weights; found in `held` if None.
    """
    if masked is None:
        held = list(held)
        masked = {i for masks in held if masks is not None for i in masks}
    totals = {i: np.zeros(old[i].shape, np.float64) for i in masked}
    weights = {i: np.zeros(old[i].shape, np.float64) for i in masked}

    def others() -> Iterable[Arrays]:
        """Sums up what may be masked, and leaves the rest to the plain mean."""
        for update, masks, n in zip(updates, held, examples, strict=True):
            for i in masked:
                _add(totals[i], weights[i], update[i], None if masks is None else masks.get(i), float(n))
            yield [array for i, array in enumerate(update) if i not in masked]

    means = iter(weighted_mean(others(), examples))
    return [_covered(totals[i], weights[i], array) if i in masked else next(means) for i, array in enumerate(old)]


def _add(
    total: NDArray[np.float64],
    weight: NDArray[np.float64],
    update: NDArray[Any],
    mask: NDArray[np.bool_] | None,
    examples: float,
) -> None:
    """Adds a client's array and its weight, where it has them; by parts, which stay in a cache."""
    sums, weights, values = total.reshape(-1), weight.reshape(-1), update.reshape(-1)
    kept = None if mask is None else mask.reshape(-1)
    for start in range(0, sums.size, _PART):
        part: Any = slice(start, start + _PART)
        share: Any = examples
        if kept is not None:
            places = np.flatnonzero(kept[part])
            few = places.size <= _FEW * sums[part].size
            part, share = (places + start, np.float64(examples)) if few else (part, kept[part] * examples)
        sums[part] += values[part] * share
        weights[part] += share


def _covered(total: NDArray[np.float64], weight: NDArray[np.float64], old: NDArray[Any]) -> NDArray[np.float32]:
    """Returns the means of what clients have, and the old values of the rest; in place, by parts that stay in a cache.

    With the arrays of `_add`.
    """
    mean = np.array(old, np.float32, order="C")
    sums, weights, means = total.reshape(-1), weight.reshape(-1), mean.reshape(-1)
    for start in range(0, sums.size, _PART):
        part = slice(start, start + _PART)
        covered = weights[part] > 0
        np.divide(sums[part], weights[part], out=sums[part], where=covered)
        np.copyto(means[part], sums[part], where=covered, casting="same_kind")
    return mean


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
