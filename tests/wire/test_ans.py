"""The entropy coder: any bytes come back, close to their entropy, and damage is noticed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from fedcompress.errors import PayloadError
from fedcompress.wire import ans, entropy, positions
from fedcompress.wire.stream import Reader


def through(symbols: np.ndarray) -> bytes:
    """Codes, decodes, checks, and returns the code."""
    code = ans.encode(symbols)
    reader = Reader(code + b"next")
    assert np.array_equal(ans.decode(reader, len(symbols)), symbols)
    assert bytes(reader.rest) == b"next"
    return code


@given(arrays(np.uint8, st.integers(0, 3000), elements=st.sampled_from([0, 1, 2, 7, 255]) | st.integers(0, 255)))
def test_any_bytes_come_back(symbols: np.ndarray) -> None:
    assert len(through(symbols)) <= len(symbols) + 1


@pytest.mark.parametrize("chances", [[0.5, 0.3, 0.2], [0.97, 0.01, 0.01, 0.01], [2.0**-i for i in range(1, 12)]])
def test_many_symbols_are_close_to_their_entropy(chances: list[float]) -> None:
    """Within 2.5 % and 60 bytes of the order-0 entropy, where Huffman codes cannot go below one bit a symbol."""
    rng = np.random.default_rng(0)
    symbols = rng.choice(len(chances), 50_000, p=np.array(chances) / sum(chances)).astype(np.uint8)
    bound = entropy.bits(np.bincount(symbols)) / 8
    assert bound <= len(through(symbols)) <= 1.025 * bound + 60


def test_golden() -> None:
    """100 symbols, all 3: no code of nibbles (0 * 4 + 1), largest symbol 3, table 0 0 0 15.

    Of 28 ones and 4 fives the entries are 15 and 9, 2^(6 / 2) apart, in nibbles 0 15, 0 0, 0 9. At chances of 8 / 9 and
    1 / 9 they take 28 * 0.17 + 4 * 3.17 = 17.4 bits, and the coder's start up to 24 more: 5 bytes (5 * 4 + 1).
    """
    assert ans.encode(np.full(100, 3, np.uint8)) == bytes([1, 3, 0x00, 0xF0])
    code = ans.encode(np.array([1, 1, 1, 5, 1, 1, 1, 1] * 4, np.uint8))
    assert code == bytes([21, 5, 0xF0, 0x00, 0x90, 128, 242, 170, 83, 34])


def test_a_code_of_an_empty_length_is_refused() -> None:
    """Streams of the coder before this one begin with kinds 1 and 2 alone, which now say that no code follows."""
    with pytest.raises(PayloadError, match="of 2 symbols has 0 bytes"):
        ans.decode(Reader(bytes([1, 1, 0xFF, 0, 0, 1, 0])), 9)


@pytest.mark.parametrize("number", [[0x81, 0], [0xFF] * 6])
def test_a_length_that_is_never_written_is_refused(number: list[int]) -> None:
    with pytest.raises(PayloadError, match="none that is written"):
        ans.decode(Reader(bytes(number)), 9)


def test_damage_is_noticed() -> None:
    rng = np.random.default_rng(1)
    symbols = rng.geometric(0.4, 300).astype(np.uint8)
    code = bytearray(ans.encode(symbols))
    assert code[0] & 3 == 1
    noticed = 0
    for i in range(len(code)):
        bad = bytearray(code)
        bad[i] ^= 1 << int(rng.integers(8))
        try:
            reader = Reader(bytes(bad))
            decoded = ans.decode(reader, len(symbols))
            reader.end()
        except PayloadError:
            noticed += 1
        else:
            assert len(decoded) == len(symbols)
    assert noticed > 0.98 * len(code)
    for size in range(len(code)):
        with pytest.raises(PayloadError):
            ans.decode(Reader(bytes(code[:size])), len(symbols))


@given(st.integers(0, 4000), st.floats(0, 0.25), st.integers(0, 2**32 - 1))
def test_any_positions_come_back(size: int, density: float, seed: int) -> None:
    filled = np.random.default_rng(seed).random(size) < density
    filled[np.cumsum(filled) * positions.DENSEST > size] = False
    reader = Reader(positions.encode(filled))
    assert np.array_equal(positions.decode(reader, size), np.flatnonzero(filled))
    reader.end()


@pytest.mark.parametrize("density", [0.002, 0.01, 0.05, 0.2])
def test_positions_are_close_to_their_entropy(density: float) -> None:
    """Within 4 % of n H(p), where gaps in bytes take up to 40 % more."""
    filled = np.random.default_rng(0).random(200_000) < density
    bound = entropy.binary_bits(int(filled.sum()), filled.size) / 8
    assert bound < len(positions.encode(filled)) < 1.04 * bound + 40


def test_positions_golden() -> None:
    """Of 40 elements 0, 1 and 39: gaps 0, 0, 37; 37 = 2^5 (1.00 and 101): symbol 8 + 4 * 2 + 0 = 16, left over 101."""
    filled = np.zeros(40, np.bool_)
    filled[[0, 1, 39]] = True
    assert positions.encode(filled) == bytes([3, 0, 0, 0, 0, 0, 0, 16, 0b10100000])


@pytest.mark.parametrize(
    ("code", "size", "reason"),
    [
        ([11, 0, 0, 0], 40, "no legal number"),
        ([1, 0, 0, 0, 0, 124], 40, "at most 123"),
        ([1, 0, 0, 0, 0, 120], 40, "longer"),
        ([1, 0, 0, 0, 0, 7], 7, "out of range|no legal number"),
        ([1, 0, 0, 0, 0, 16, 0b10100001], 40, "set"),
        ([2, 0, 0, 0, 0, 16, 7, 0b10100000], 40, "out of range"),
    ],
)
def test_positions_that_are_never_made_are_refused(code: list[int], size: int, reason: str) -> None:
    with pytest.raises(PayloadError, match=reason):
        positions.decode(Reader(bytes(code)), size)


@pytest.mark.parametrize("size", [70_000, 70_001])
def test_many_symbols_are_counted_as_few_are(size: int) -> None:
    """In pairs, and an odd one by itself; of symbols with and without gaps between them."""
    rng = np.random.default_rng(size)
    for symbols in (rng.integers(0, 9, size), 3 * rng.integers(0, 80, size)):
        bytes_ = symbols.astype(np.uint8)
        assert ans._counts(bytes_).tolist() == np.bincount(bytes_).tolist()
        assert np.array_equal(ans.decode(Reader(ans.encode(bytes_)), size), bytes_)
