"""An entropy coder for small symbols: range asymmetric numeral systems, interleaved.

Duda 2013, "Asymmetric numeral systems: entropy coding combining speed of Huffman coding with compression rate of
arithmetic coding"; interleaving after Giesen 2014, "Interleaved entropy coders". Unlike Huffman codes it spends
fractions of a bit, which is what symbols of low entropy need. Many coders ("lanes") run side by side, one NumPy
operation for all: symbol i belongs to lane i mod lanes.

Stream: kind byte, then the bytes as they are (0), or a table of frequencies and the code (1, 2). Table: the largest
symbol, then a logarithm of each symbol's frequency, 0 for none, in a nibble with steps of a factor sqrt(2) (1) or in a
byte with steps of 2^(1/16) (2). Code: the final state of each lane, then 16-bit words. A decoder has to end where the
encoder began, so damage is noticed.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from fedcompress.errors import PayloadError
from fedcompress.wire.stream import Reader

Symbols = NDArray[np.uint8]
Counts = NDArray[np.int64]

_RAW, _NIBBLES, _BYTES = 0, 1, 2
_PRECISION: Final = 12
_TOTAL: Final = 1 << _PRECISION
_LOWEST: Final = 1 << 16
"""A lane's state is in [2^16, 2^32); where it would leave, 16 bits go to the stream or come from it."""
_SYMBOLS_PER_LANE: Final = 1024
_MOST_LANES: Final = 4096
# Weights that a table's entries stand for; constants, since both ends have to agree to the bit.
_WEIGHTS: Final = {
    kind: np.array([0, *(round(1024 * 2 ** (i / steps)) for i in range(most))], np.int64)
    for kind, steps, most in ((_NIBBLES, 2, 15), (_BYTES, 16, 255))
}


def encode(symbols: Symbols) -> bytes:
    """Codes bytes; the result is at most one byte longer than they are."""
    raw = bytes([_RAW]) + symbols.tobytes()
    if symbols.size == 0:
        return raw
    counts = np.bincount(symbols)
    kind = min((_NIBBLES, _BYTES), key=lambda kind: _estimate(counts, kind))
    if _estimate(counts, kind) >= len(raw):
        return raw
    entries = _entries(counts, kind)
    packed = entries if kind == _BYTES else _paired(entries)
    code = _encode(symbols, _frequencies(entries, kind))
    coded = bytes([kind, len(entries) - 1]) + packed.tobytes() + code
    return min(raw, coded, key=len)


def decode(reader: Reader, count: int) -> Symbols:
    """Takes `count` bytes that `encode` has coded off the front of a body.

    Raises:
        PayloadError: The bytes are not what `encode` makes.
    """
    kind = reader.take(1)[0]
    if kind == _RAW:
        return np.frombuffer(reader.take(count), np.uint8)
    if kind not in _WEIGHTS or count == 0:
        raise PayloadError(f"entropy code {kind} of {count} symbols is unknown")
    size = reader.take(1)[0] + 1
    if kind == _BYTES:
        entries = np.frombuffer(reader.take(size), np.uint8)
    else:
        packed = np.frombuffer(reader.take((size + 1) // 2), np.uint8)
        entries = np.stack([packed & 15, packed >> 4], axis=1).reshape(-1)
        if entries[size:].any():
            raise PayloadError("the unused half of the last byte of a table is not zero")
        entries = entries[:size]
    if not entries[-1]:
        raise PayloadError("a table of frequencies ends with a symbol that does not occur")
    return _decode(reader, count, _frequencies(entries, kind))


def _estimate(counts: Counts, kind: int) -> float:
    """Returns the bytes that a coding takes."""
    entries = _entries(counts, kind)
    chances = _frequencies(entries, kind)[counts > 0] / _TOTAL
    table = len(entries) if kind == _BYTES else (len(entries) + 1) // 2
    return 2 + table + 4 * _lanes(int(counts.sum())) - float(counts[counts > 0] @ np.log2(chances)) / 8


def _entries(counts: Counts, kind: int) -> Symbols:
    """Returns the table's entry of each symbol: the nearest weight, the most frequent symbol having the largest."""
    weights = _WEIGHTS[kind]
    wanted = counts * (float(weights[-1]) / float(counts.max()))
    middles = np.sqrt(weights[1:-1].astype(np.float64) * weights[2:])
    entries = (np.searchsorted(middles, wanted) + 1).astype(np.uint8)
    entries[counts == 0] = 0
    return entries


def _paired(entries: Symbols) -> Symbols:
    even = np.zeros((len(entries) + 1) // 2 * 2, np.uint8)
    even[: len(entries)] = entries
    return (even[::2] | even[1::2] << 4).astype(np.uint8)


def _frequencies(entries: Symbols, kind: int) -> Counts:
    """Returns frequencies that sum to 2^12, at least 1 for each symbol that occurs; integers only."""
    weights = _WEIGHTS[kind][entries]
    occurs = weights > 0
    frequencies = np.where(occurs, 1 + weights * (_TOTAL - int(occurs.sum())) // int(weights.sum()), 0)
    frequencies[np.argmax(weights)] += _TOTAL - frequencies.sum()
    return frequencies


def _lanes(count: int) -> int:
    return min(max(1, count // _SYMBOLS_PER_LANE), _MOST_LANES)


def _encode(symbols: Symbols, frequencies: Counts) -> bytes:
    below = np.cumsum(frequencies) - frequencies
    lanes = _lanes(len(symbols))
    states = np.full(lanes, _LOWEST, np.int64)
    words: list[NDArray[np.uint16]] = []
    for start in range((len(symbols) - 1) // lanes * lanes, -1, -lanes):
        row = symbols[start : start + lanes]
        active, frequency = states[: len(row)], frequencies[row]
        full = active >= frequency << (32 - _PRECISION)
        if full.any():
            words.append((active[full] & 0xFFFF).astype("<u2"))
            active[full] >>= 16
        quotient, rest = np.divmod(active, frequency)
        active[:] = (quotient << _PRECISION) + rest + below[row]
    return b"".join([states.astype("<u4").tobytes(), *(word.tobytes() for word in reversed(words))])


def _decode(reader: Reader, count: int, frequencies: Counts) -> Symbols:
    below = np.cumsum(frequencies) - frequencies
    symbol_at = np.repeat(np.arange(len(frequencies), dtype=np.uint8), frequencies)
    lanes = _lanes(count)
    states = np.frombuffer(reader.take(4 * lanes), "<u4").astype(np.int64)
    if states.min() < _LOWEST:
        raise PayloadError("a state of the entropy coder is out of range")
    words = np.frombuffer(reader.rest[: len(reader.rest) // 2 * 2], "<u2")
    symbols, used = np.empty(count, np.uint8), 0
    for start in range(0, count, lanes):
        active = states[: min(lanes, count - start)]
        slots = active & (_TOTAL - 1)
        row = symbols[start : start + lanes] = symbol_at[slots]
        active[:] = frequencies[row] * (active >> _PRECISION) + slots - below[row]
        empty = active < _LOWEST
        needed = int(np.count_nonzero(empty))
        if needed:
            if used + needed > len(words):
                raise PayloadError("the entropy code is cut off")
            active[empty] = active[empty] << 16 | words[used : used + needed]
            used += needed
    if (states != _LOWEST).any():
        raise PayloadError("the entropy code does not end where it began")
    reader.take(2 * used)
    return symbols
