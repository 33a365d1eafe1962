"""Supports: round trip, choice of the code, golden lengths, and bytes that must be refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from fedcompress.errors import PayloadError
from fedcompress.wire import support
from fedcompress.wire.stream import Reader


def decoded(data: bytes, size: int) -> support.Bits:
    reader = Reader(data)
    bits = support.decode(reader, size)
    reader.end()
    return bits


def scattered(size: int, *index: int) -> support.Bits:
    bits = np.zeros(size, np.bool_)
    bits[list(index)] = True
    return bits


@given(arrays(np.bool_, st.integers(0, 200)), st.booleans())
def test_round_trip(bits: support.Bits, entropy_coded: bool) -> None:
    data = support.encode(bits, entropy_coded)
    assert np.array_equal(decoded(data, bits.size), bits)
    assert len(data) <= support.most_bytes(bits.size)


@given(st.sets(st.integers(0, 99_999), max_size=30))
def test_round_trip_of_few_flips(index: set[int]) -> None:
    bits = scattered(100_000, *index)
    assert np.array_equal(decoded(support.encode(bits), bits.size), bits)


def test_no_flips_cost_one_byte() -> None:
    assert support.encode(np.zeros(10**6, np.bool_)) == b"\0"


def test_bitmap_golden() -> None:
    """Bits 0 and 2 of 10: 1010 0000 00 in two bytes, after the kind."""
    assert support.encode(scattered(10, 0, 2)) == bytes([1, 0b10100000, 0])


@pytest.mark.parametrize(
    ("index", "expected"),
    [
        ((3, 5), [2, 2, 0, 0, 0, 3, 1]),
        ((3, 304), [3, 2, 0, 0, 0, 3, 0, 44, 1]),
        ((3, 70_000), [4, 2, 0, 0, 0, 3, 0, 0, 0, 0x6C, 0x11, 1, 0]),
    ],
)
def test_gaps_golden(index: tuple[int, ...], expected: list[int]) -> None:
    """Kind, the number of coordinates in 4 bytes, then what is skipped before each: 3, and 1, 300 or 69,996."""
    assert list(support.encode(scattered(100_000, *index))) == expected


@pytest.mark.parametrize(("width", "density"), [(1, 1 / 8), (2, 1 / 16)])
def test_coordinates_beat_the_bitmap_below_their_density(width: int, density: float) -> None:
    """8 w d bits per weight for gaps of w bytes against 1: equal at d = 1 / (8 w), 1/16 (s = 93.75 %) for 16 bits.

    Evenly spaced elements, and one gap of 300 in front where two bytes are wanted.
    """
    size, front = 40_000, 300 if width == 2 else 0
    for below, kind in ((0.9, 1 + width), (1.1, 1)):
        bits = scattered(size, *(front + np.arange(int(size * density * below)) * int(1 / density / 1.3)))
        data = support.encode(bits)
        assert data[0] == kind
        if kind != 1:
            assert len(data) == 5 + width * np.count_nonzero(bits)


@pytest.mark.parametrize(
    ("data", "size", "problem"),
    [
        (b"", 8, "left are 0 bytes"),
        (bytes([9]), 8, "kind 9"),
        (bytes([1]), 8, "expected 1"),
        (bytes([1, 0]), 8, "empty"),
        (bytes([1, 0b00001000]), 4, "beyond the last of 4"),
        (bytes([2, 0, 0, 0, 0]), 100, "0 coordinates"),
        (bytes([2, 255, 255, 255, 255]), 100, "4294967295 coordinates"),
        (bytes([2, 2, 0, 0, 0, 50]), 100, "expected 2"),
        (bytes([2, 2, 0, 0, 0, 50, 49]), 100, "coordinate 100"),
        (bytes([2, 1, 0, 0, 0, 100]), 100, "gap of 100"),
        (bytes([3, 1, 0, 0, 0, 50, 0]), 100, "gap of 50"),
        (bytes([0, 0]), 8, "left over: 1 byte"),
    ],
)
def test_malformed_supports_are_refused(data: bytes, size: int, problem: str) -> None:
    with pytest.raises(PayloadError, match=problem):
        decoded(data, size)


def test_digest_tells_masks_apart() -> None:
    digests = {support.digest(np.packbits(scattered(64, i))) for i in range(64)}
    assert len(digests) == 64
    assert {len(d) for d in digests} == {8}
