"""One deflate stream (RFC 1951) over pieces of different nature, each compressed in the way that suits it.

Weights are noise with a skewed distribution: searching them for repetitions costs nearly all the time of deflate (1 MB
of float32: 70 ms against 9) and makes the result larger than Huffman codes alone. Dense arrays full of zeros gain from
run lengths, labels and masks of whole channels from the search, and low mantissa bytes are best stored. So a sample of
each piece decides; any inflate reads the result.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from isal import isal_zlib
from numpy.typing import NDArray

from fedcompress.errors import PayloadError

Piece = bytes | memoryview
"""Bytes, wherever they are; a view is one of single bytes."""

MOST_DEFLATED: Final = 1032
"""Bytes that one byte of a deflate stream can stand for, at most."""
_LEVEL: Final = 6
_MEASURING_LEVEL: Final = 1
_RAW: Final = -15
_MEMORY: Final = 9
_STRATEGIES: Final = (zlib.Z_HUFFMAN_ONLY, zlib.Z_RLE, zlib.Z_DEFAULT_STRATEGY)
_SAMPLE: Final = 4096
_STORED_MOST: Final = 65535
# Pieces that shrink by less than this fraction are stored: both ends save the time.
_WORTHWHILE: Final = 0.01


def deflate(pieces: Sequence[Piece]) -> list[Piece]:
    """Compresses the concatenation of `pieces`; returns the result in pieces, too, so that nothing is copied twice."""
    plan: list[tuple[int | None, list[Piece]]] = []
    for piece in filter(len, pieces):
        chosen = strategy(piece)
        if plan and chosen is None and plan[-1][0] is None:
            plan[-1][1].append(piece)
        else:
            plan.append((chosen, [piece]))
    last = len(plan) - 1
    return [
        compressed
        for i, (chosen, together) in enumerate(plan)
        for compressed in _compressed(together, chosen, i == last)
    ]


def strategy(piece: Piece) -> int | None:
    """Returns the zlib strategy for a piece, None to store it."""
    middle = max(0, (len(piece) - _SAMPLE) // 2)
    sample = piece[middle : middle + _SAMPLE]
    sizes = {tried: sum(map(len, _compressed([sample], tried, True))) for tried in _STRATEGIES}
    best = min(sizes, key=sizes.__getitem__)
    return best if sizes[best] < len(sample) * (1 - _WORTHWHILE) else None


def _compressed(pieces: Sequence[Piece], strategy: int | None, last: bool) -> list[Piece]:
    if strategy is None:
        return _stored(pieces, last)
    packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, _RAW, _MEMORY, strategy)
    # A sync flush ends on a byte, so that the next piece can start a compressor of its own.
    return [*map(packer.compress, pieces), packer.flush(zlib.Z_FINISH if last else zlib.Z_SYNC_FLUSH)]


def _stored(pieces: Sequence[Piece], last: bool) -> list[Piece]:
    left = sum(map(len, pieces))
    rest, stored = [memoryview(piece) for piece in pieces], list[Piece]()
    while left:
        size = min(left, _STORED_MOST)
        left -= size
        stored += [bytes([last and not left]), size.to_bytes(2, "little"), (size ^ 65535).to_bytes(2, "little")]
        while size:
            stored.append(rest[0][:size])
            rest[0] = rest[0][size:]
            size -= len(stored[-1])
            if not rest[0]:
                del rest[0]
    return stored


def deflated_size(arrays: Sequence[NDArray[Any]]) -> int:
    """Returns the bytes of arrays, one after the other, as one zlib stream: what a file of them takes.

    ISA-L at its level 1 compresses float32 some twenty times as fast as zlib at its level 6, and about as well: of
    millions of weights 0.2 % smaller where they are dense, 8 % larger where 90 % are zero; of four thousand 4 % larger
    where they are dense, 3 % smaller where 80 % are zero. Its figure may differ by a few bytes
    between processors of different kinds.
    """
    packer = isal_zlib.compressobj(level=_MEASURING_LEVEL)
    return sum(len(packer.compress(np.ascontiguousarray(array))) for array in arrays) + len(packer.flush())


def inflate(data: bytes | memoryview, most: int) -> bytes:
    """Decompresses a whole stream.

    Args:
        data: The stream and nothing else.
        most: Largest legal length of the result; no more than one byte above it is ever produced. Below 0 nothing is
            legal.

    Raises:
        PayloadError: The stream is malformed, cut off, followed by more bytes, or makes too much.
    """
    if most < 0:  # zlib takes a limit of 0 for none
        raise PayloadError("there is a deflate stream where no bytes can be")
    unpacker = zlib.decompressobj(_RAW)
    try:
        body = unpacker.decompress(data, most + 1)
    except zlib.error as problem:
        raise PayloadError(f"the deflate stream is malformed ({problem})") from None
    if len(body) > most:
        raise PayloadError(f"the deflate stream makes more than the {most} bytes that are declared")
    if not unpacker.eof or unpacker.unused_data:
        raise PayloadError("the deflate stream is cut off" if not unpacker.eof else "bytes follow the deflate stream")
    return body
