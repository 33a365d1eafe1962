"""Arrays as one vector."""

from __future__ import annotations

import numpy as np
import pytest

from fedcompress.wire.vector import joined, largest, places_of_largest, shapes_of, sizes_of, split


def test_split_undoes_joined() -> None:
    arrays = [np.arange(6.0).reshape(2, 3), np.array(7.0), np.empty((0, 4)), np.arange(3.0)]
    flat = joined(arrays, np.float64)
    assert flat.tolist() == [0, 1, 2, 3, 4, 5, 7, 0, 1, 2]
    assert sizes_of(shapes_of(arrays)).tolist() == [6, 1, 0, 3]
    back = split(flat, shapes_of(arrays))
    assert shapes_of(back) == shapes_of(arrays)
    assert all(map(np.array_equal, back, arrays))
    assert not np.shares_memory(flat, arrays[0])


def test_no_arrays() -> None:
    flat = joined([], np.float32)
    assert flat.dtype == np.float32
    assert flat.size == sizes_of([]).size == 0
    assert split(flat, []) == []


@pytest.mark.parametrize("count", [1, 5, 2_000, 30_000, 150_000, 299_999])
def test_the_largest_of_many_are_those_that_sorting_finds(count: int) -> None:
    """Numbers that differ, that differ in their last bits, and many equal ones; of equal ones the first."""
    rng = np.random.default_rng(count)
    flat = rng.normal(0, 1, 300_000).astype(np.float32)
    flat[50_000:150_000] = rng.choice(np.float32([0, -0.0, 0.5, -0.5, 1e-40, np.inf]), 100_000)
    flat[150_000:200_000] = np.float32(1) + rng.integers(0, 9, 50_000).astype(np.float32) * np.float32(2**-23)
    order = np.argsort(-np.abs(flat), kind="stable")
    assert np.flatnonzero(largest(flat, count)).tolist() == sorted(order[:count].tolist())
    assert places_of_largest(flat, count).tolist() == sorted(order[:count].tolist())
