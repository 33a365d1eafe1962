"""Arrays as one vector."""

from __future__ import annotations

import numpy as np

from fedcompress.wire.vector import joined, shapes_of, sizes_of, split


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
