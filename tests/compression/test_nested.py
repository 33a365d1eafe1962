"""Masks of sub-networks: which they are, and how they are packed."""

from __future__ import annotations

import numpy as np
import pytest

from fedcompress.compression.nested import packed, sparser, unpacked

WHOLE = [np.ones((4, 5), bool), np.ones(20, bool)]


def of_density(density: float, seed: int = 0) -> list[np.ndarray]:
    """Masks of 40 weights; those of one seed are nested."""
    order = np.random.default_rng(seed).permutation(40)
    kept = np.zeros(40, bool)
    kept[order[: round(40 * density)]] = True
    return [kept[:20].reshape(4, 5), kept[20:]]


def equal(one: list[list[np.ndarray]], other: list[list[np.ndarray]]) -> bool:
    pairs = [pair for a, b in zip(one, other, strict=True) for pair in zip(a, b, strict=True)]
    return all(np.array_equal(a, b) and a.dtype == b.dtype for a, b in pairs)


@pytest.mark.parametrize("seeds", [(0, 0, 0), (0, 1, 2)], ids=["nested", "not nested"])
@pytest.mark.parametrize("count", [1, 2, 3])
def test_packed_masks_come_back(count: int, seeds: tuple[int, ...]) -> None:
    masks = [of_density(d, seed) for d, seed in zip((0.7, 0.5, 0.2)[:count], seeds[:count], strict=True)]
    arrays = packed(masks)
    assert [(a.shape, a.dtype) for a in arrays] == [((4, 5), np.uint8), ((20,), np.uint8)]
    assert equal(unpacked(arrays), masks)


def test_a_byte_holds_eight() -> None:
    masks = [of_density(d) for d in np.linspace(0.9, 0.1, 8)]
    assert equal(unpacked(packed(masks)), masks)


def test_nothing_is_no_sub_network() -> None:
    assert unpacked([]) == []


def test_sub_networks_are_those_below_the_density_densest_first_and_once() -> None:
    half, fifth, tenth = (of_density(d) for d in (0.5, 0.2, 0.1))
    assert equal(sparser([tenth, [], half, fifth, [m.copy() for m in tenth]], 1.0), [half, fifth, tenth])
    assert equal(sparser([tenth, half, fifth], 0.5), [fifth, tenth])
    assert sparser([half, WHOLE], 0.5) == []
