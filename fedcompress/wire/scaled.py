"""Value types whose symbols stand for multiples of a scale, one scale per array."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final

import numpy as np

from fedcompress.errors import PayloadError
from fedcompress.wire.value_type import Floats, Side, Symbols, ValueType
from fedcompress.wire.vector import Sizes

if TYPE_CHECKING:
    from fedcompress.wire.stream import Reader

SMALLEST: Final = np.finfo(np.float32).smallest_normal
"""Of a scale that is not zero: processors may flush smaller numbers to zero."""


class Scaled(ValueType):
    """A type whose symbol q stands for q * scale. The side information is the scales, float32; 0 for an array of zeros.

    A subclass says how numbers are rounded. `levels` is the largest magnitude of a symbol.
    """

    levels: ClassVar[int] = 1

    def restore(self, symbols: Symbols, side: Side, sizes: Sizes) -> Floats:
        return scaled(symbols.astype(np.float32), side[0], sizes)

    def check(self, symbols: Symbols, side: Side) -> None:
        if len(symbols) and (symbols.min() < -self.levels or symbols.max() > self.levels):
            raise PayloadError(f"an {self} symbol is beyond {self.levels}")

    def write_side(self, side: Side) -> bytes:
        return side[0].astype("<f4", copy=False).tobytes()

    def take_side(self, reader: Reader, arrays: int) -> Side:
        scales = np.frombuffer(reader.take(4 * arrays), "<f4").copy()  # a view would keep the whole body
        with np.errstate(over="ignore", invalid="ignore"):
            finite = np.isfinite(scales * np.float32(self.levels))
        legal = ((scales >= SMALLEST) & finite) | (scales.view("<u4") == 0)
        if not legal.all():
            raise PayloadError(f"{np.count_nonzero(~legal)} of {legal.size} scales are not finite positive numbers")
        return (scales,)

    def most_side_bytes(self, arrays: int) -> int:
        return 4 * arrays

    def side_bits(self, side: Side) -> float:
        return 32.0 * int(np.count_nonzero(side[0]))  # that an array is zero throughout is among its symbols


class Integers(Scaled):
    """Symmetric integers: scale = max|v| / levels, q = v / scale rounded half to even: off by at most scale / 2."""

    def quantise(self, flat: Floats, sizes: Sizes) -> tuple[Symbols, Side]:
        peaks = np.zeros(len(sizes), np.float32)
        filled = sizes > 0
        if filled.any():
            starts = np.cumsum(sizes) - sizes
            peaks[filled] = np.maximum.reduceat(np.abs(flat), starts[filled])
        scales = np.where(peaks > 0, np.maximum(peaks / np.float32(self.levels), SMALLEST), np.float32(0))
        with np.errstate(over="ignore"):  # the top symbol of an array near the float32 maximum must stay finite
            scales = np.where(np.isfinite(scales * self.levels), scales, np.nextafter(scales, np.float32(0)))
        steps = np.repeat(np.where(scales > 0, scales, np.float32(1)), sizes)
        np.divide(flat, steps, out=steps)
        return np.rint(steps, out=steps).astype("i1"), (scales.astype("<f4"),)


def scaled(flat: Floats, scales: Floats, sizes: Sizes) -> Floats:
    """Returns the vector with each array multiplied by its scale; in place."""
    end = 0
    for size, scale in zip(sizes.tolist(), scales, strict=True):
        start, end = end, end + size
        flat[start:end] *= scale
    return flat
