"""Several arrays as one vector, one after the other, so that work on them takes a few NumPy calls."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import prod
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Shape = tuple[int, ...]
Shapes = Sequence[Shape]
Sizes = NDArray[np.int64]
_PART: Final = 1 << 16
"""Elements that are looked at together where only a verdict on them is wanted."""
_COUNTED: Final = 1 << 18
"""Elements that are counted together."""
_HALVES: Final = 1 << 16
_MANY: Final = 1 << 18
"""Elements from which on two passes over a table of `_HALVES` are quicker than a partition."""


def shapes_of(arrays: Sequence[NDArray[Any]]) -> list[Shape]:
    """Returns the shape of each array."""
    return [array.shape for array in arrays]


def sizes_of(shapes: Shapes) -> Sizes:
    """Returns the number of elements of each array."""
    return np.array([prod(shape) for shape in shapes], np.int64)


def summed(flat: NDArray[Any], sizes: Sizes) -> NDArray[np.float64]:
    """Returns the sum of each array, given all of them as one vector."""
    sums = np.zeros(len(sizes), np.float64)
    filled = sizes > 0
    if filled.any():
        sums[filled] = np.add.reduceat(flat, (np.cumsum(sizes) - sizes)[filled], dtype=np.float64)
    return sums


def joined(arrays: Sequence[NDArray[Any]], dtype: type[np.generic]) -> NDArray[Any]:
    """Returns all elements in one new vector of the arrays' own dtype; `dtype` is for no arrays at all."""
    return np.concatenate([array.reshape(-1) for array in arrays]) if arrays else np.empty(0, dtype)


def split(flat: NDArray[Any], shapes: Shapes) -> list[NDArray[Any]]:
    """Undoes `joined`: the arrays are views of the vector."""
    arrays, end = [], 0
    for shape in shapes:
        start, end = end, end + prod(shape)
        arrays.append(flat[start:end].reshape(shape))
    return arrays


def largest(flat: NDArray[Any], count: int) -> NDArray[np.bool_]:
    """Returns a mask of the `count` largest magnitudes, or of all if there are fewer; of equal ones the first."""
    if not 0 < count < flat.size:
        return np.full(flat.size, count > 0)
    magnitudes = np.abs(flat)
    least = _largest_but(magnitudes, count - 1)
    mask: NDArray[np.bool_] = magnitudes > least
    ties = np.flatnonzero(magnitudes == least)
    mask[ties[: count - int(np.count_nonzero(mask))]] = True
    return mask


def _largest_but(magnitudes: NDArray[Any], larger: int) -> Any:
    """Returns the number that comes after so many in descending order.

    float32 that are not negative are in the order of their bits, so that counting the upper and then the lower halves
    finds it in two passes, where a partition of numbers with many equal ones takes ten times as long.
    """
    if magnitudes.dtype != np.float32 or magnitudes.size < _MANY:
        place = magnitudes.size - larger - 1
        return np.partition(magnitudes, place)[place]
    bits = magnitudes.view(np.uint32)
    upper = bits >> 16
    high, larger = _descended(counted(upper, _HALVES), larger)
    low, _ = _descended(counted(bits[upper == high] & (_HALVES - 1), _HALVES), larger)
    return np.uint32(high << 16 | low).view(np.float32)


def _descended(counts: NDArray[np.int64], larger: int) -> tuple[int, int]:
    """Returns the value that comes after so many in descending order, and how many equal ones come before it."""
    above = np.cumsum(counts[::-1])
    place = int(np.searchsorted(above, larger, side="right"))
    return len(counts) - 1 - place, larger - (int(above[place - 1]) if place else 0)


def counted(values: NDArray[Any], kinds: int) -> NDArray[np.int64]:
    """Returns how often each value below `kinds` occurs; by parts, since NumPy makes integers of 8 bytes of them."""
    total = np.zeros(kinds, np.int64)
    for start in range(0, values.size, _COUNTED):
        total += np.bincount(values[start : start + _COUNTED], minlength=kinds)
    return total


def finite(flat: NDArray[Any]) -> bool:
    """Says whether all numbers of a vector are finite."""
    return all(bool(np.isfinite(part).all()) for part in parts(flat))


def parts(flat: NDArray[Any]) -> Iterator[NDArray[Any]]:
    """Yields pieces of a vector, so that what is worked out about it takes little memory beside it."""
    return (flat[start : start + _PART] for start in range(0, len(flat), _PART))
