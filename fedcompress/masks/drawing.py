"""Masks of as many channels as were asked for: by values, and bred from others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedcompress.errors import InputError
from fedcompress.masks.features import FEATURES, Described

Mask = NDArray[np.bool_]
RANK = FEATURES.index("rank of the filter")
NEWCOMERS = 3
"""Most channels that a bred mask may have which neither of its parents has."""


def kept_of(widths: tuple[int, ...], sparsity: float, floor: int) -> int:
    """Returns how many channels a mask keeps.

    Raises:
        InputError: The floor leaves no room for the sparsity.
    """
    total, least = sum(widths), sum(min(floor, width) for width in widths)
    kept = max(round((1.0 - sparsity) * total), 1)
    if kept < least:
        most = np.floor((1 - least / total) * 1e4) / 1e4
        raise InputError(
            f"sparsity {sparsity:g} of {total} channels keeps {kept}, but floor = {floor} keeps {least} in "
            f"{len(widths)} layers; the most is {most:.4f}. Lower sparsity or floor."
        )
    return kept


def least_of(described: Described, sparsity: float, floor: int, staying: NDArray[np.bool_]) -> int:
    """Returns how many channels a mask keeps, or as many as stay in any case: by themselves, or by the floor."""
    in_any_case = sum(max(int(stays.sum()), min(floor, stays.size)) for stays in described.kept(staying))
    return max(round((1.0 - sparsity) * sum(described.widths)), in_any_case, 1)


def largest(values: NDArray[Any], described: Described, kept: int, floor: int) -> NDArray[np.bool_]:
    """Returns the mask of so many channels with the largest values, among them the `floor` best of each layer."""
    order = np.argsort(-values, kind="stable")
    layer_of = described.layer_of
    first = np.zeros(values.size, bool)
    for layer in range(len(described.widths)):
        first[order[layer_of[order] == layer][:floor]] = True
    mask = first.copy()
    mask[order[~first[order]][: kept - int(first.sum())]] = True
    return mask


def bred(parents: Sequence[Mask], described: Described, kept: int, floor: int, rng: np.random.Generator) -> Mask:
    """Returns a mask of what two of the parents both keep, a part of what one keeps, and some that neither does.

    Newcomers are channels with large weights rather than others: their chance grows with the rank in their layer.
    """
    one, other = (parents[int(i)] for i in rng.integers(len(parents), size=2))
    values = one.astype(float) + other + 0.6 * rng.random(one.size)
    chances = (0.1 + np.clip(described.features[:, RANK], 0, 1).astype(np.float64)) ** 3 * ~(one | other)
    count = min(int(rng.integers(1, NEWCOMERS + 1)), int((chances > 0).sum()))
    if count:
        values[rng.choice(one.size, count, replace=False, p=chances / chances.sum())] = 3.0
    return largest(values, described, kept, floor)
