"""What a receiver lacks, and what of it arrives: all or some of it, rounded to a value type.

Where only some elements are sent, the work is on these: those of a mask, or the largest.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedcompress.errors import PayloadError
from fedcompress.wire import symbols
from fedcompress.wire.content import Arrays
from fedcompress.wire.value_type import Floats, Side, Symbols, ValueType
from fedcompress.wire.vector import Sizes, finite, joined, shapes_of, split

Bits = NDArray[np.bool_]
Places = Bits | NDArray[np.int64]
"""Elements of a vector: which of them, or their numbers, ascending."""


@dataclass(frozen=True, eq=False)
class Rounded:
    """What arrives.

    Attributes:
        symbols: One for each element that is sent.
        side: What symbols need beside them.
        decoded: What the receiver has then.
        error: What it still lacks; None where nobody asks.
    """

    symbols: Symbols
    side: Side
    decoded: Floats
    error: Floats | None


def lacking(floats: Arrays, known: Arrays | None, residual: Floats | None) -> Floats:
    """Returns what the receiver lacks, as one new vector.

    Args:
        floats: What it is to have.
        known: What it has; None for nothing.
        residual: What it has lacked before, which is added; None for nothing.

    Raises:
        PayloadError: Not all of it is finite.
    """
    wanted = joined(floats, np.float32)
    if known is None and residual is None:
        return wanted
    with np.errstate(over="ignore", invalid="ignore"):
        for part, array in zip(split(wanted, shapes_of(known or [])), known or [], strict=True):
            part -= array
        if residual is not None:
            wanted += residual
    if not finite(wanted):
        raise PayloadError("the difference to what the receiver holds is not finite")
    return wanted


def share(fraction: float, size: int, in_mask: Bits | None) -> int:
    """Returns how many elements a fraction of those in the mask is, rounded up; at least one."""
    return max(1, ceil(fraction * (size if in_mask is None else int(np.count_nonzero(in_mask)))))


def rounded(
    wanted: Floats,
    places: Places | None,
    known: Arrays | None,
    within: Bits | None,
    sizes: Sizes,
    values: ValueType,
    *,
    feedback: bool,
) -> Rounded:
    """Returns what arrives.

    Args:
        wanted: What the receiver lacks; becomes the error.
        places: What of it is sent; None for all.
        known: What the receiver has; None for nothing.
        within: What it keeps of the sum; None for all.
        sizes: Elements of each array.
        values: What numbers are rounded to.
        feedback: Whether the error is wanted.

    Raises:
        PayloadError: The sum is not finite, or the value type fails.
    """
    sent = wanted if places is None else wanted[places]
    if places is not None and not leaves_zeros_out(values):
        every, side, decoded = symbols.quantise(spread(sent, places, wanted.size), sizes, values)
        few = every[places]
    else:
        few, side, decoded = symbols.quantise(sent, sizes if places is None else sizes_at(places, sizes), values)
    error = _error(wanted, decoded, places) if feedback else None
    return Rounded(few, side, arrived(decoded, few, places, known, within, wanted.size), error)


def _error(wanted: Floats, decoded: Floats, places: Places | None) -> Floats:
    """Returns what the receiver still lacks: of what is not sent, everything."""
    if decoded.size == wanted.size:
        return wanted - decoded
    wanted[places] -= decoded
    return wanted


def arrived(
    decoded: Floats, sent: Symbols, places: Places | None, known: Arrays | None, within: Bits | None, size: int
) -> Floats:
    """Returns what the receiver has once something has arrived.

    Args:
        decoded: What has: numbers at the places, or everywhere.
        sent: Its symbols, which stay as they are: they are measured when somebody asks for it.
        places: Where numbers are, if they are not everywhere.
        known: What it is added to; None for nothing.
        within: What is kept of the sum; None for all.
        size: Number of elements.

    Raises:
        PayloadError: The sum is not finite.
    """
    some = places is not None and decoded.size < size
    if known is None:
        return spread(decoded, places, size) if places is not None and some else decoded
    if places is not None and some:
        total = np.zeros(size, np.float32)
        _add(known, total)  # to zeros: what is known may hold a negative one
        with np.errstate(over="ignore"):
            total[places] += decoded
    else:
        total = decoded.copy() if np.may_share_memory(decoded, sent) else decoded
        _add(known, total)
    if within is not None:
        total[~within] = 0
    if not finite(total[places] if places is not None and some else total):
        raise PayloadError("the sum of reference and difference is not finite")
    return total


def _add(arrays: Arrays, total: Floats) -> None:
    with np.errstate(over="ignore"):
        for part, array in zip(split(total, shapes_of(arrays)), arrays, strict=True):
            part += array


def leaves_zeros_out(values: ValueType) -> bool:
    """Says whether zeros may be left out of what a type rounds and restores: it makes the same of the other numbers.

    So it is with those that ship. Of others nobody knows: one may seed a generator with all numbers.
    """
    return values.code is not None


def sizes_at(places: Places, sizes: Sizes) -> Sizes:
    """Returns how many of the places are in each array."""
    ends = np.cumsum(sizes)
    if places.dtype != np.bool_:
        return np.diff(np.searchsorted(places, ends), prepend=0)
    counts = (np.count_nonzero(places[end - size : end]) for end, size in zip(ends, sizes, strict=True))
    return np.fromiter(counts, np.int64, len(sizes))


def spread(some: NDArray[Any], places: Places, size: int) -> NDArray[Any]:
    """Returns a vector of zeros, but for numbers at their places."""
    every = np.zeros(size, some.dtype)
    every[places] = some
    return every
