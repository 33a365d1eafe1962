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
_SAMPLE: Final = 1 << 16
"""Elements of a sample that says roughly where the largest begin."""
_FEW: Final = 0.03
"""Share of the elements up to which such a sample saves time."""
_MARGIN: Final = 1.2
"""How many times as many elements as are wanted are to reach the magnitude that a sample gives."""


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
    near = _reaching(flat, count)
    if near is None:
        return _mask_of_largest(np.abs(flat), count)
    mask = np.zeros(flat.size, np.bool_)
    mask[near[_mask_of_largest(np.abs(flat[near]), count)]] = True
    return mask


def places_of_largest(flat: NDArray[Any], count: int) -> NDArray[np.int64]:
    """Returns where the `count` largest magnitudes are, ascending; see `largest`."""
    near = _reaching(flat, count)
    return np.flatnonzero(largest(flat, count)) if near is None else near[_mask_of_largest(np.abs(flat[near]), count)]


def _mask_of_largest(magnitudes: NDArray[Any], count: int) -> NDArray[np.bool_]:
    if count == magnitudes.size:
        return np.ones(count, np.bool_)
    least = _largest_but(magnitudes, count - 1)
    mask: NDArray[np.bool_] = magnitudes > least
    ties = np.flatnonzero(magnitudes == least)
    mask[ties[: count - int(np.count_nonzero(mask))]] = True
    return mask


def _reaching(flat: NDArray[Any], count: int) -> NDArray[np.int64] | None:
    """Returns where magnitudes are that may be among the `count` largest, ascending; None for anywhere.

    A sample of a large vector gives a magnitude that somewhat more than `count` reach, which one pass over it makes
    sure of.
    """
    if flat.size < _MANY or not 0 < count <= _FEW * flat.size:
        return None
    sample = np.abs(flat[:: flat.size // _SAMPLE | 1])  # an odd step falls into all columns of a matrix
    wanted = int(_MARGIN * count / flat.size * sample.size) + 1
    least = np.partition(sample, sample.size - wanted)[sample.size - wanted]
    near = [np.flatnonzero(np.abs(part) >= least) for part in parts(flat)]
    if sum(map(len, near)) < count:
        return None
    for number, places in enumerate(near):
        places += number * _PART
    return np.concatenate(near)


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
