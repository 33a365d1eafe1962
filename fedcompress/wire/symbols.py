"""Symbols of a value type: made and undone under guard, packed into bytes or entropy coded."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from math import inf
from numbers import Real

import numpy as np
from numpy.typing import NDArray

from fedcompress.errors import PayloadError, described
from fedcompress.units import counted
from fedcompress.wire import ans
from fedcompress.wire.deflate import Piece
from fedcompress.wire.exact import unpack_bits
from fedcompress.wire.stream import Reader
from fedcompress.wire.value_type import Floats, Side, Symbols, ValueType
from fedcompress.wire.vector import Sizes, finite

Bytes = NDArray[np.uint8]


def quantise(flat: Floats, sizes: Sizes, values: ValueType) -> tuple[Symbols, Side, Floats]:
    """Returns symbols, side information, and the numbers that they stand for; arguments as `ValueType.quantise`.

    Raises:
        PayloadError: The type fails, or does not make what its interface says.
    """
    lent = flat if values.code is not None else flat.view()
    if lent is not flat:
        lent.flags.writeable = False  # it may be a strategy's own array
    with guarded(values):
        quantised = values.quantise(lent, sizes)
        if not (isinstance(quantised, tuple) and len(quantised) == 2):
            raise TypeError(f"quantise returned {type(quantised).__name__}, expected (symbols, side)")
        symbols, side = quantised
    if symbols.shape != flat.shape or symbols.dtype != np.dtype(values.dtype):
        received, expected = f"{symbols.dtype.str}{symbols.shape}", f"{np.dtype(values.dtype).str}{flat.shape}"
        raise PayloadError(f"value type {values} made symbols {received}, expected {expected}")
    return symbols, side, restore(symbols, side, sizes, values)


def restore(symbols: Symbols, side: Side, sizes: Sizes, values: ValueType) -> Floats:
    """Returns the numbers that symbols stand for (`symbols` themselves for float32).

    Raises:
        PayloadError: Not all of them are finite, or the type fails.
    """
    with guarded(values), np.errstate(over="ignore", invalid="ignore"):
        flat = values.restore(symbols, side, sizes)
    if flat.shape != symbols.shape or flat.dtype != np.float32:
        raise PayloadError(f"value type {values} restored {flat.dtype}{flat.shape}, expected float32{symbols.shape}")
    if not finite(flat):
        raise PayloadError(f"a value is not finite, of {flat.size}")
    return np.require(flat, requirements=("C", "W"))  # differences are added in place


def problems(values: ValueType) -> list[str]:
    """Returns what is wrong with a value type: what it says itself, or else what comes of trying it."""
    try:
        with guarded(values):
            return list(values.problems()) or list(_tried(values))
    except PayloadError as problem:
        return [str(problem).removeprefix(f"value type {values} ")]


def _tried(values: ValueType) -> Iterable[str]:
    """Yields what is wrong with how a few numbers cross; raises whatever the type raises."""
    numbers = np.array([0, 1, -0.0, -2, 0.5, 0], np.float32)
    sizes = np.array([5, 0, 1])
    symbols, side, restored = quantise(numbers, sizes, values)
    raw = symbols.view(f"u{symbols.itemsize}")
    if raw[numbers == 0].any() or restored[raw == 0].any():
        yield f"it makes {symbols.tolist()} of {numbers.tolist()}; expected symbol 0 for 0 and -0, and for what is 0"
    written = values.write_side(side)
    if len(written) > values.most_side_bytes(len(sizes)):
        yield f"it writes {counted(len(written), 'byte')} beside symbols, more than its most_side_bytes"
    reader = Reader(written)
    values.check(symbols, values.take_side(reader, len(sizes)))
    if len(reader.rest):
        yield f"it takes {len(written) - len(reader.rest)} of the {len(written)} bytes that it writes beside symbols"
    for name, number in (("saturated", values.saturated(symbols)), ("side_bits", values.side_bits(side))):
        if not (isinstance(number, Real) and 0 <= number < inf):
            yield f"its {name} returns {number!r}, expected a number of 0 or more"
    if not isinstance(other := values.with_clusters(4), ValueType):
        yield f"its with_clusters returns {other!r}, expected a value type"


@contextmanager
def guarded(values: ValueType) -> Iterator[None]:
    """Makes whatever a plug-in raises a PayloadError, `sys.exit` included: damaged bytes cost one payload only."""
    try:
        yield
    except (PayloadError, KeyboardInterrupt):
        raise
    except BaseException as error:
        raise PayloadError(f"value type {values} fails: {described(error)}") from error


def byte_planes(symbols: Symbols) -> Bytes:
    """Splits symbols into bytes of equal rank, the highest first: exponents repeat, mantissas do not.

    Returns:
        Bytes with shape (bytes per symbol, number of symbols).
    """
    return np.ascontiguousarray(symbols.view(np.uint8).reshape(symbols.size, symbols.itemsize)[:, ::-1].T)


def pack(symbols: Symbols, values: ValueType) -> list[Piece]:
    """Returns the bytes to send, a piece per plane; small symbols share a byte, the first one low."""
    planes = byte_planes(symbols)
    if not values.bits:
        return [plane.data for plane in planes]
    room = 8 // values.bits
    fields = np.zeros((packed_size(symbols.size, values), room), np.uint8)
    fields.reshape(-1)[: symbols.size] = planes[0] & (1 << values.bits) - 1
    fields <<= np.arange(0, 8, values.bits, dtype=np.uint8)
    return [np.bitwise_or.reduce(fields, axis=1).tobytes()]


def packed_size(count: int, values: ValueType) -> int:
    """Returns the number of bytes that `pack` makes of `count` symbols."""
    return (count * (values.bits or 8 * np.dtype(values.dtype).itemsize) + 7) // 8


def unpack(data: memoryview, count: int, values: ValueType) -> Symbols:
    """Undoes `pack`.

    Args:
        data: `packed_size(count, values)` bytes.
        count: Number of symbols.
        values: The value type.

    Raises:
        PayloadError: Bits that no symbol uses are set.
    """
    packed = np.frombuffer(data, np.uint8)
    if values.bits:
        # Up, so that the bits above are gone, and down again with the sign.
        up = np.arange(8 - values.bits, -1, -values.bits, dtype=np.uint8)
        symbols = (packed[:, np.newaxis] << up).view(values.dtype).reshape(-1)
        symbols >>= 8 - values.bits
        if symbols[count:].any():
            raise PayloadError("unused bits of the last byte are not zero")
        return symbols[:count]
    raw = _room(count, values)
    for rank, plane in enumerate(packed.reshape(-1, count) if count else ()):
        raw[:, -1 - rank] = plane
    return raw.reshape(-1).view(values.dtype)


def encode(symbols: Symbols, values: ValueType, *, zeros: bool) -> list[bytes]:
    """Returns each byte plane, entropy coded.

    Args:
        symbols: To code.
        values: The value type.
        zeros: Whether there may be a zero among them; signs without zeros are as good as random, and a bit each.
    """
    if values.signs and not zeros:
        return [np.packbits(symbols > 0).tobytes()]
    return [ans.encode(plane) for plane in byte_planes(_folded(symbols))]


def decode(reader: Reader, count: int, values: ValueType, *, zeros: bool) -> Symbols:
    """Takes `count` symbols that `encode` has coded off the front of a body."""
    if values.signs and not zeros:
        positive = unpack_bits(reader.take((count + 7) // 8), count)
        return np.where(positive, 1, -1).astype(values.dtype)
    raw = _room(count, values)
    for rank in range(raw.shape[1]):
        raw[:, -1 - rank] = ans.decode(reader, count)
    return _unfolded(raw.reshape(-1).view(values.dtype))


def _room(count: int, values: ValueType) -> Bytes:
    """Returns room for the bytes of symbols, with shape (count, bytes per symbol)."""
    return np.empty((count, np.dtype(values.dtype).itemsize), np.uint8)


def _folded(symbols: Symbols) -> Symbols:
    """Returns small integers in the order 0, -1, 1, -2, ..., so that tables of frequencies are short."""
    if symbols.dtype != np.int8:
        return symbols
    return ((symbols << 1) ^ (symbols >> 7)).view(np.uint8)


def _unfolded(symbols: Symbols) -> Symbols:
    """Undoes `_folded`."""
    if symbols.dtype != np.int8:
        return symbols
    folded = symbols.view(np.uint8)
    return (folded >> 1 ^ -(folded & 1).view(np.int8).view(np.uint8)).view(np.int8)
