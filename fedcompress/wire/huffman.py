"""How long Huffman codes are, without a code being made (Huffman 1952).

The cost of a code is the sum of its inner nodes' weights. Blocks are merged side by side, two queues each (van Leeuwen
1976): of sorted symbols, and of the nodes made so far, which come out sorted by themselves.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fedcompress.wire.deflate import Piece, strategy

BLOCK: Final = 32767
"""Symbols of a block of zlib's at the most memory that it takes."""
_NONE: Final = 1 << 40


def least_bytes(pieces: Sequence[Piece], deflating: bool) -> int:
    """Returns a length that a body of pieces does not fall short of, deflated where it is asked to be."""
    return sum(map(_least if deflating else len, pieces))


def _least(piece: Piece) -> int:
    """Returns the same of one piece; 0 where only deflating it would tell, as with repetitions."""
    chosen = strategy(piece) if len(piece) else None
    if chosen == zlib.Z_HUFFMAN_ONLY:
        return coded_bytes(piece)
    return len(piece) if chosen is None else 0


def coded_bytes(data: Piece) -> int:
    """Returns the bytes that zlib's Huffman codes need at least, its tables not counted."""
    symbols = np.frombuffer(data, np.uint8)
    counts = [np.bincount(symbols[at : at + BLOCK], minlength=256) for at in range(0, len(symbols), BLOCK)]
    return int(code_bits(np.stack(counts)).sum()) // 8 if counts else 0


def code_bits(counts: NDArray[Any]) -> NDArray[np.int64]:
    """Returns the bits of a Huffman code for each row of symbols' counts, with shape (blocks, symbols)."""
    blocks, kinds = counts.shape
    rows, spare = np.arange(blocks), np.full((blocks, 2), _NONE)
    leaves = np.concatenate([np.sort(np.where(counts > 0, counts, _NONE), axis=1), spare], axis=1)
    nodes = np.full((blocks, kinds + 2), _NONE)
    merges = np.count_nonzero(counts, axis=1) - 1
    leaf, node, bits = (np.zeros(blocks, np.int64) for _ in range(3))
    for step in range(int(merges.max(initial=0))):
        going, weight = step < merges, np.zeros(blocks, np.int64)
        for _ in range(2):
            first, second = leaves[rows, leaf], nodes[rows, node]
            weight += np.minimum(first, second)
            leaf += going & (first <= second)
            node += going & (first > second)
        nodes[going, step] = weight[going]
        bits += np.where(going, weight, 0)
    return bits
