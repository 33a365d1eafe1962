"""Which elements are kept: a boolean vector, coded relative to one that the receiver already has."""

from __future__ import annotations

from hashlib import blake2b
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fedcompress.errors import PayloadError
from fedcompress.wire.entropy import description_bytes
from fedcompress.wire.exact import unpack_bits
from fedcompress.wire.stream import Reader

Bits = NDArray[np.bool_]

DIGEST_BYTES: Final = 8

_NONE, _BITMAP = 0, 1
_GAP_WIDTHS: Final = {2: 1, 3: 2, 4: 4}
_COUNT_BYTES: Final = 4
# Beyond this density a bitmap is always chosen: gaps are short there, and entropy-code no better.
_DENSEST: Final = 4


def encode(flips: Bits, entropy_coded: bool = False) -> bytes:
    """Codes which elements are set.

    The first byte says how. Nothing set: no more follows. Bitmap: one bit per element, 1 bit per weight. Coordinates:
    their number, then for each the elements skipped since the one before, in as few bytes (1, 2 or 4) as the largest
    needs. At density d and one-byte gaps that is 8 d bits per weight: less than a bitmap where d < 1/8; with
    two-byte gaps where d < 1/16.

    Args:
        flips: Vector with shape (n,): elements in which a mask differs from the reference.
        entropy_coded: Whether an entropy coder follows; the choice then compares what it would make of both.
    """
    count = int(np.count_nonzero(flips))
    if count == 0:
        return bytes([_NONE])
    bitmap = np.packbits(flips).tobytes()
    if count * _DENSEST <= flips.size:
        gaps = _gaps(flips, count)
        size = description_bytes if entropy_coded else len
        if size(gaps) < size(bitmap):
            return gaps
    return bytes([_BITMAP]) + bitmap


def _gaps(flips: Bits, count: int) -> bytes:
    gaps = np.diff(np.flatnonzero(flips), prepend=-1) - 1
    largest = int(gaps.max())
    kind, width = next((kind, width) for kind, width in _GAP_WIDTHS.items() if largest < 256**width)
    return bytes([kind]) + count.to_bytes(_COUNT_BYTES, "little") + gaps.astype(f"<u{width}").tobytes()


def most_bytes(size: int) -> int:
    """Returns the length that no code of `size` elements exceeds."""
    return 1 + _COUNT_BYTES + size


def decode(reader: Reader, size: int) -> Bits:
    """Takes what `encode` made off the front of a body.

    Args:
        reader: The body.
        size: Number of elements n.

    Returns:
        The vector with shape (n,).

    Raises:
        PayloadError: The bytes are not what `encode` makes of any vector of that size.
    """
    kind = reader.take(1)[0]
    if kind == _NONE:
        return np.zeros(size, np.bool_)
    if kind == _BITMAP:
        bits = unpack_bits(reader.take((size + 7) // 8), size)
        if not bits.any():
            raise PayloadError("the bitmap is empty")
        return bits
    if kind not in _GAP_WIDTHS:
        raise PayloadError(f"support kind {kind} is unknown")
    width = _GAP_WIDTHS[kind]
    count = int.from_bytes(reader.take(_COUNT_BYTES), "little")
    if not 0 < count * _DENSEST <= size:
        raise PayloadError(f"{count} coordinates of {size} elements are no legal number")
    return _from_gaps(np.frombuffer(reader.take(count * width), f"<u{width}"), size)


def _from_gaps(gaps: NDArray[np.unsignedinteger[Any]], size: int) -> Bits:
    largest = int(gaps.max())
    if largest >= size or (gaps.itemsize > 1 and largest < 256 ** (gaps.itemsize // 2)):
        raise PayloadError(f"a gap of {largest} between coordinates is out of range")
    index = gaps.astype(np.int64)
    index += 1
    np.cumsum(index, out=index)
    index -= 1
    if index[-1] >= size:
        raise PayloadError(f"coordinate {index[-1]} is out of range, expected below {size}")
    bits = np.zeros(size, np.bool_)
    bits[index] = True
    return bits


def digest(packed: NDArray[np.uint8]) -> bytes:
    """Returns 8 bytes by which both ends recognise a mask, given its bits as `np.packbits` makes them."""
    return blake2b(packed.tobytes(), digest_size=DIGEST_BYTES).digest()
