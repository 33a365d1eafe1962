"""Lengths of Huffman codes: those of a heap, and never more than what zlib makes."""

from __future__ import annotations

import heapq
import zlib

import numpy as np
import pytest

from fedcompress.wire.huffman import BLOCK, code_bits, coded_bytes


def by_heap(counts: list[int]) -> int:
    heap, bits = [count for count in counts if count], 0
    heapq.heapify(heap)
    while len(heap) > 1:
        heapq.heappush(heap, node := heapq.heappop(heap) + heapq.heappop(heap))
        bits += node
    return bits


def test_lengths_are_those_of_a_heap() -> None:
    """Of many symbols, of few, of Fibonacci numbers, of two, of one and of none."""
    rng = np.random.default_rng(0)
    rows = [rng.integers(0, 1000, 256), rng.integers(0, 2, 256) * 7, *np.zeros((5, 256), np.int64)]
    rows[2][:20] = rng.permutation(
        [1, 1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144, 233, 377, 610, 987, 1597, 2584, 4181, 6765]
    )
    rows[3][:2], rows[4][9], rows[5][:] = 4, 12, 1
    assert code_bits(np.stack(rows)).tolist() == [by_heap(row.tolist()) for row in rows]
    assert code_bits(np.array([[45, 13, 12, 16, 9, 5]])).tolist() == [224]


@pytest.mark.parametrize("spread", [0.3, 3.0, 60.0])
@pytest.mark.parametrize("size", [0, 1, BLOCK, BLOCK + 1, 300_000])
def test_zlib_never_needs_less(spread: float, size: int) -> None:
    rng = np.random.default_rng(size)
    data = (rng.normal(0, spread, size) * np.linspace(0.2, 1.5, size)).astype(np.int8).tobytes()
    packer = zlib.compressobj(6, zlib.DEFLATED, -15, 9, zlib.Z_HUFFMAN_ONLY)
    made = len(packer.compress(data) + packer.flush())
    assert coded_bytes(data) <= made
    assert spread < 1 or made <= 1.1 * coded_bytes(data) + 150  # with hardly a symbol but one, the table is most of it
