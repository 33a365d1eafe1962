"""Real numbers at 32, 16, 8 or 4 bits, as signs, or as clusters.

Several arrays are handled as one vector, with their sizes, so that a model costs a few NumPy calls however many
layers it has. What is sent for an element is its symbol: the number itself (float32, float16), an integer q
that stands for q * scale, with one scale per array (int8, int4, ternary), or a row of a codebook (clustered, see
`fedcompress.wire.clusters`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from fedcompress.errors import PayloadError
from fedcompress.wire.vector import Sizes, parts

ValueType = Literal["float32", "float16", "int8", "int4", "ternary", "clustered"]
VALUE_TYPES: Final[tuple[ValueType, ...]] = get_args(ValueType)
BITS: Final[Mapping[ValueType, int]] = {
    "float32": 32,
    "float16": 16,
    "int8": 8,
    "int4": 4,
    "ternary": 8,
    "clustered": 8,
}
"""Bits of a symbol before it is deflated or entropy coded."""
FLOAT16_MAX: Final = 65504.0

Floats = NDArray[np.float32]
Symbols = NDArray[Any]

_LEVELS: Final[Mapping[ValueType, int]] = {"int8": 127, "int4": 7, "ternary": 1}
_DTYPES: Final[Mapping[ValueType, str]] = {
    "float32": "<f4",
    "float16": "<f2",
    "int8": "i1",
    "int4": "i1",
    "ternary": "i1",
    "clustered": "u1",
}
_SMALLEST = np.finfo(np.float32).smallest_normal


def scale_size(values: ValueType) -> int:
    """Bytes of an array's scale: 4 (float32) where symbols stand for multiples of it, otherwise 0."""
    return 4 if values in _LEVELS or values == "clustered" else 0


def quantise(flat: Floats, sizes: Sizes, values: ValueType) -> tuple[Symbols, Floats]:
    """Rounds numbers to a value type.

    Integers are symmetric: scale = max|v| / 127 (int8) or / 7 (int4), q = v / scale rounded half to even, so that
    an element is off by at most scale / 2. A scale is never subnormal: processors may flush those to zero.
    float16 saturates at +-65504. A negative zero, such as masking leaves behind, becomes zero.
    Ternary (Sattler et al. 2019, "Robust and communication-efficient federated learning from non-IID data", Algorithm
    1): the sign of what is not zero, scale = mean |v| of that.

    Args:
        flat: All arrays one after the other; finite.
        sizes: Elements of each array.
        values: The value type.

    Returns:
        One symbol per element, and the scales (empty for floats).
    """
    if values == "float32":
        return (flat + np.float32(0)).astype("<f4", copy=False), np.empty(0, "<f4")
    if values == "float16":
        symbols = np.clip(flat, -FLOAT16_MAX, FLOAT16_MAX).astype("<f2")
        bits = symbols.view("<u2")
        bits[bits == 0x8000] = 0
        return symbols, np.empty(0, "<f4")
    if values == "ternary":
        counts = summed(flat != 0, sizes)
        means = (summed(np.abs(flat), sizes) / np.maximum(counts, 1)).astype(np.float32)
        scales = np.where(counts > 0, np.maximum(means, _SMALLEST), np.float32(0))
        return np.sign(flat).astype("i1"), scales.astype("<f4")
    peaks = np.zeros(len(sizes), np.float32)
    filled = sizes > 0
    if filled.any():
        starts = np.cumsum(sizes) - sizes
        peaks[filled] = np.maximum.reduceat(np.abs(flat), starts[filled])
    scales = np.where(peaks > 0, np.maximum(peaks / np.float32(_LEVELS[values]), _SMALLEST), np.float32(0))
    with np.errstate(over="ignore"):  # the top symbol of an array near the float32 maximum must stay finite
        scales = np.where(np.isfinite(scales * _LEVELS[values]), scales, np.nextafter(scales, np.float32(0)))
    steps = np.repeat(np.where(scales > 0, scales, np.float32(1)), sizes)
    np.divide(flat, steps, out=steps)
    return np.rint(steps, out=steps).astype("i1"), scales.astype("<f4")


def summed(flat: NDArray[Any], sizes: Sizes) -> NDArray[np.float64]:
    """Returns the sum of each array."""
    sums = np.zeros(len(sizes), np.float64)
    filled = sizes > 0
    if filled.any():
        sums[filled] = np.add.reduceat(flat, (np.cumsum(sizes) - sizes)[filled], dtype=np.float64)
    return sums


def dequantise(symbols: Symbols, scales: Floats, sizes: Sizes, values: ValueType) -> Floats:
    """Returns the numbers that symbols stand for (`symbols` themselves for float32)."""
    if values == "float32":
        return symbols.astype(np.float32, copy=False)
    flat: Floats = symbols.astype(np.float32)
    if values in _LEVELS:
        end = 0
        for size, scale in zip(sizes.tolist(), scales, strict=True):
            start, end = end, end + size
            flat[start:end] *= scale
    return flat


def byte_planes(symbols: Symbols) -> NDArray[np.uint8]:
    """Splits symbols into bytes of equal rank, the highest first: exponents repeat, mantissas do not.

    Returns:
        Bytes with shape (bytes per symbol, number of symbols).
    """
    return np.ascontiguousarray(symbols.view(np.uint8).reshape(symbols.size, symbols.itemsize)[:, ::-1].T)


def pack(planes: NDArray[np.uint8], values: ValueType) -> list[bytes]:
    """Returns the bytes to send, a piece per plane; int4 puts two symbols into a byte, the first one low."""
    if values != "int4":
        return [plane.tobytes() for plane in planes]
    nibbles = np.zeros((planes.size + 1) // 2 * 2, np.uint8)
    nibbles[: planes.size] = planes[0] & 15
    return [(nibbles[::2] | nibbles[1::2] << 4).tobytes()]


def packed_size(count: int, values: ValueType) -> int:
    """Bytes that `pack` makes of `count` symbols."""
    return (count * BITS[values] + 7) // 8


def unpack(data: memoryview, count: int, values: ValueType) -> Symbols:
    """Undoes `pack`.

    Args:
        data: `packed_size(count, values)` bytes.
        count: Number of symbols.
        values: The value type.

    Raises:
        PayloadError: A symbol is not finite, or one that `quantise` never makes.
    """
    packed = np.frombuffer(data, np.uint8)
    if values == "int4":
        nibbles = np.empty((len(packed), 2), np.int8)
        nibbles[:, 0] = packed << 4
        nibbles[:, 1] = packed & 240
        symbols = (nibbles >> 4).reshape(-1)
        if symbols[count:].any():
            raise PayloadError("the unused half of the last byte is not zero")
        return checked(symbols[:count], values)
    raw = blank(count, values)
    for plane, piece in zip(plane_views(raw), packed.reshape(-1, count) if count else (), strict=False):
        plane[:] = piece
    return checked(from_bytes(raw, values), values)


def blank(count: int, values: ValueType) -> NDArray[np.uint8]:
    """Returns room for the bytes of symbols, with shape (count, bytes per symbol)."""
    return np.empty((count, np.dtype(_DTYPES[values]).itemsize), np.uint8)


def plane_views(raw: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
    """Returns the byte planes of `blank` to write to, the highest first."""
    return [raw[:, rank] for rank in range(raw.shape[1] - 1, -1, -1)]


def from_bytes(raw: NDArray[np.uint8], values: ValueType) -> Symbols:
    """Returns the symbols whose bytes are in `raw`."""
    return raw.reshape(-1).view(_DTYPES[values])


def checked(symbols: Symbols, values: ValueType) -> Symbols:
    """Returns symbols as they are.

    Raises:
        PayloadError: One is not finite, or one that `quantise` never makes.
    """
    count = len(symbols)
    if values in _LEVELS:
        if count and (symbols.min() < -_LEVELS[values] or symbols.max() > _LEVELS[values]):
            raise PayloadError(f"an {values} symbol is beyond {_LEVELS[values]}")
    elif values == "clustered":
        pass  # see `clusters.check`
    elif bad := count - sum(np.count_nonzero(np.isfinite(part)) for part in parts(symbols)):
        raise PayloadError(f"{bad} of {count} values are not finite")
    return symbols


def unpack_scales(data: memoryview, values: ValueType) -> Floats:
    """Returns scales, each of which makes only finite values.

    Raises:
        PayloadError: A scale is negative, subnormal, not finite or too large.
    """
    scales = np.frombuffer(data, "<f4").copy()  # a view would keep the whole body
    if not scale_size(values):
        return scales
    with np.errstate(over="ignore", invalid="ignore"):
        finite = np.isfinite(scales * np.float32(_LEVELS.get(values, 1)))
    legal = ((scales >= _SMALLEST) & finite) | (scales.view("<u4") == 0)
    if not legal.all():
        raise PayloadError(f"{np.count_nonzero(~legal)} of {legal.size} scales are not finite positive numbers")
    return scales
