"""An entropy coder for small symbols: asymmetric numeral systems, by the library constriction.

Duda 2013, "Asymmetric numeral systems: entropy coding combining speed of Huffman coding with compression rate of
arithmetic coding"; Bamler 2022, "Understanding entropy coding with asymmetric numeral systems". Unlike Huffman codes it
spends fractions of a bit, which is what symbols of low entropy need.

Stream: a zero byte and the bytes as they are; or a number that is 4 times the length of the code plus its kind, a table
of frequencies, and the code. Number: seven bits a byte, the lowest first, the highest bit says that more follow. Table:
the largest symbol, then a logarithm of each symbol's frequency, 0 for none, in a nibble with steps of a factor sqrt(2)
(kind 1) or in a byte with steps of 2^(1/16) (kind 2). Code: the coder's words of 32 bits, little endian, without the
zero bytes at their end; nothing where only one symbol occurs. A decoder has to end with nothing left, so damage is
noticed.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fedcompress.errors import PayloadError
from fedcompress.wire.stream import Reader
from fedcompress.wire.vector import counted

Symbols = NDArray[np.uint8]
Counts = NDArray[np.int64]

_RAW, _NIBBLES, _BYTES = 0, 1, 2
_KIND_BITS: Final = 2
_WORD: Final = 4
_TOGETHER: Final = 1 << 16
"""Symbols that are handed over at a time, as integers of 4 bytes."""
_NUMBER_BYTES: Final = 5
_MANY: Final = 1 << 16
"""Symbols from which on a table of all pairs is worth the time."""
# Weights that a table's entries stand for; constants, since both ends have to agree to the bit.
_WEIGHTS: Final = {
    kind: np.array([0, *(round(1024 * 2 ** (i / steps)) for i in range(most))], np.float32)
    for kind, steps, most in ((_NIBBLES, 2, 15), (_BYTES, 16, 255))
}


def encode(symbols: Symbols) -> bytes:
    """Codes bytes; the result is at most one byte longer than they are."""
    raw_size = 1 + symbols.size
    if symbols.size:
        counts = _counts(symbols)
        tables = {kind: _entries(counts, kind) for kind in (_NIBBLES, _BYTES)}
        sizes = {kind: _estimate(counts, table, kind) for kind, table in tables.items()}
        kind = min(sizes, key=sizes.__getitem__)
        if sizes[kind] < raw_size:
            entries = tables[kind]
            packed = entries if kind == _BYTES else _paired(entries)
            code = _encode(symbols, entries, kind)
            start = _number(len(code) << _KIND_BITS | kind) + bytes([len(entries) - 1])
            if len(start) + packed.nbytes + len(code) < raw_size:
                return b"".join([start, packed.tobytes(), code])
    return bytes([_RAW]) + symbols.tobytes()


def decode(reader: Reader, count: int) -> Symbols:
    """Takes `count` bytes that `encode` has coded off the front of a body.

    Raises:
        PayloadError: The bytes are not what `encode` makes.
    """
    number = _take_number(reader)
    if number == _RAW:
        return np.frombuffer(reader.take(count), np.uint8)
    length, kind = number >> _KIND_BITS, number & (1 << _KIND_BITS) - 1
    if kind not in _WEIGHTS or count == 0:
        raise PayloadError(f"entropy code {kind} of {count} symbols is unknown")
    entries = _take_entries(reader, kind)
    return _decode(bytes(reader.take(length)), count, entries, kind)


def _counts(symbols: Symbols) -> Counts:
    """Returns how often each symbol occurs, up to the largest; of many symbols two are counted at a time."""
    if symbols.size < _MANY or not symbols.flags.c_contiguous:
        return np.bincount(symbols)
    even = symbols.size // 2 * 2
    pairs = counted(symbols[:even].view(np.uint16), 1 << 16).reshape(256, 256)
    counts: Counts = pairs.sum(axis=0) + pairs.sum(axis=1) + np.bincount(symbols[even:], minlength=256)
    return counts[: int(np.flatnonzero(counts)[-1]) + 1]


def _take_entries(reader: Reader, kind: int) -> Symbols:
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
    return entries


def _estimate(counts: Counts, entries: Symbols, kind: int) -> float:
    """Returns the bytes that a coding takes, but for a few."""
    weights = _WEIGHTS[kind][entries].astype(np.float64)
    occurs = counts > 0
    table = len(entries) if kind == _BYTES else (len(entries) + 1) // 2
    return 2 + table - float(counts[occurs] @ np.log2(weights[occurs] / weights.sum())) / 8


def _entries(counts: Counts, kind: int) -> Symbols:
    """Returns the table's entry of each symbol: the nearest weight, the most frequent symbol having the largest."""
    weights = _WEIGHTS[kind].astype(np.float64)
    wanted = counts * (weights[-1] / float(counts.max()))
    middles = np.sqrt(weights[1:-1] * weights[2:])
    entries: Symbols = (np.searchsorted(middles, wanted) + 1).astype(np.uint8)
    entries[counts == 0] = 0
    return entries


def _paired(entries: Symbols) -> Symbols:
    even = np.zeros((len(entries) + 1) // 2 * 2, np.uint8)
    even[: len(entries)] = entries
    return (even[::2] | even[1::2] << 4).astype(np.uint8)


def _model(entries: Symbols, kind: int) -> Any:
    """Returns the probabilities of the symbols that occur, which are numbered for the coder in their order."""
    import constriction

    weights = _WEIGHTS[kind][entries]
    return constriction.stream.model.Categorical(weights[weights > 0], perfect=False)


def _coder(*words: NDArray[np.uint32]) -> Any:
    import constriction

    return constriction.stream.stack.AnsCoder(*words)


def _encode(symbols: Symbols, entries: Symbols, kind: int) -> bytes:
    occurring = np.flatnonzero(entries)
    if len(occurring) == 1:
        return b""
    numbers = np.zeros(len(entries), np.int32)
    numbers[occurring] = np.arange(len(occurring))
    gaps = len(occurring) < len(entries)
    model, coder = _model(entries, kind), _coder()
    for start in reversed(range(0, len(symbols), _TOGETHER)):  # it is a stack
        part = symbols[start : start + _TOGETHER]
        coder.encode_reverse(numbers.take(part) if gaps else part.astype(np.int32), model)
    code: bytes = coder.get_compressed().astype("<u4").tobytes()
    return code.rstrip(b"\0")


def _decode(code: bytes, count: int, entries: Symbols, kind: int) -> Symbols:
    occurring = np.flatnonzero(entries).astype(np.uint8)
    if len(occurring) == 1 and not code:
        return np.full(count, occurring[0], np.uint8)
    if len(occurring) == 1 or not code or code[-1] == 0:
        raise PayloadError(f"the entropy code of {len(occurring)} symbols has {len(code)} bytes, or ends with a zero")
    model, coder = _model(entries, kind), _coder(_words(code))
    symbols = np.empty(count, np.uint8)
    for start in range(0, count, _TOGETHER):
        part = symbols[start : start + _TOGETHER]
        part[:] = occurring[coder.decode(model, len(part))]
    if not coder.is_empty():
        raise PayloadError("the entropy code does not end where it began")
    return symbols


def _words(code: bytes) -> NDArray[np.uint32]:
    return np.frombuffer(code + bytes(-len(code) % _WORD), "<u4").astype(np.uint32)


def _number(number: int) -> bytes:
    code = bytearray()
    while number > 127:
        code.append(number & 127 | 128)
        number >>= 7
    return bytes([*code, number])


def _take_number(reader: Reader) -> int:
    number = 0
    for place in range(_NUMBER_BYTES):
        byte = reader.take(1)[0]
        number |= (byte & 127) << 7 * place
        if byte < 128:
            if byte == 0 < place:
                break
            return number
    raise PayloadError("the length of an entropy code is none that is written")
