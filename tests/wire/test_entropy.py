"""Entropy: golden numbers."""

from __future__ import annotations

import numpy as np
import pytest

from fedcompress.wire import entropy


def filled(symbols: np.ndarray) -> np.ndarray:
    return symbols.view(f"u{symbols.itemsize}") != 0


def test_binary_golden() -> None:
    """H(0.1) = 0.1 log2 10 + 0.9 log2(10/9) = 0.468996 bits."""
    assert entropy.binary_bits(100, 1000) == pytest.approx(468.996, abs=1e-3)
    assert entropy.binary_bits(0, 1000) == entropy.binary_bits(1000, 1000) == entropy.binary_bits(0, 0) == 0


def test_symbols_golden() -> None:
    """Frequencies 1/2, 1/4, 1/4 have 1.5 bits."""
    assert entropy.bits(np.array([4, 0, 2, 2])) == pytest.approx(12)
    assert entropy.bits(np.array([5])) == entropy.bits(np.array([0])) == 0


def test_one_plane_is_the_plain_entropy_of_its_symbols() -> None:
    """Chain rule: H(symbol) = H(zero or not) + P(not zero) H(symbol | not zero)."""
    symbols = np.random.default_rng(0).integers(-2, 3, 1000).astype(np.int8)
    plain = entropy.bits(np.unique(symbols, return_counts=True)[1])
    assert entropy.values_bits(symbols, filled(symbols)) == pytest.approx(plain)
    sent = symbols[symbols != 0]
    absent = symbols.size - sent.size
    assert entropy.values_bits(sent, filled(sent), absent) == pytest.approx(plain)


def test_bound_of_sparse_float32() -> None:
    """s = 0.9: H(0.1) + 32 * 0.1 = 3.67 bits per weight, for values whose four bytes are uniform."""
    rng = np.random.default_rng(0)
    symbols = np.zeros(1_000_000, "<u4")
    symbols[rng.permutation(symbols.size)[:100_000]] = rng.integers(1, 2**32, 100_000)
    bits = entropy.values_bits(symbols, symbols != 0) / symbols.size
    assert bits == pytest.approx(3.67, abs=0.005)


def test_two_ranks_are_counted_in_one_pass() -> None:
    symbols = np.random.default_rng(0).normal(size=300_000).astype("<f4")
    ranks = [np.bincount(plane, minlength=256) for plane in symbols.view(np.uint8).reshape(-1, 4).T[::-1]]
    assert [counts.tolist() for counts in entropy.plane_counts(symbols)] == [counts.tolist() for counts in ranks]
    few = symbols[:300].astype("<f2")
    assert [int(counts.sum()) for counts in entropy.plane_counts(few)] == [300, 300]


def test_integers_count_bytes_that_vary() -> None:
    labels = np.array([0, 1, 2, 3] * 25, np.int64)
    assert entropy.array_bits(labels) == pytest.approx(200)
    assert entropy.array_bits(np.zeros((3, 0), np.int32)) == 0


def test_description_never_exceeds_the_bytes() -> None:
    noise = np.random.default_rng(0).bytes(300)
    assert entropy.description_bytes(noise) == 300
    assert entropy.description_bytes(bytes(1000)) == 16
