"""Deflate: round trip, choice of strategy, refusals."""

from __future__ import annotations

import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedcompress.errors import PayloadError
from fedcompress.wire.deflate import deflate, inflate


@given(st.lists(st.binary(max_size=300) | st.integers(0, 300).map(bytes), max_size=6))
def test_round_trip(pieces: list[bytes]) -> None:
    body = b"".join(pieces)
    if body:
        packed = b"".join(deflate(pieces))
        assert inflate(packed, len(body)) == body
        assert zlib.decompress(packed, -15) == body


def test_long_noise_is_stored_with_little_overhead() -> None:
    """A stored block holds up to 65,535 bytes and costs 5 more."""
    noise = np.random.default_rng(0).bytes(200_000)
    packed = b"".join(deflate([noise]))
    assert len(packed) == 200_000 + 4 * 5
    assert inflate(packed, len(noise)) == noise


def test_pieces_get_what_suits_them() -> None:
    """Skewed noise ends near its entropy, repetitions nearly vanish, and neither spoils the other."""
    rng = np.random.default_rng(0)
    skewed = rng.binomial(20, 0.3, 50_000).astype(np.uint8)
    frequencies = np.bincount(skewed) / skewed.size
    entropy = -sum(p * np.log2(p) for p in frequencies if p) * skewed.size / 8
    repeated = rng.bytes(100) * 500
    assert sum(map(len, deflate([skewed.tobytes()]))) < entropy * 1.02
    assert sum(map(len, deflate([repeated]))) < 1000
    assert sum(map(len, deflate([skewed.tobytes(), repeated]))) < entropy * 1.02 + 1000
    assert len(zlib.compress(skewed.tobytes(), 6)) > entropy * 1.1


def test_refusals() -> None:
    packed = b"".join(deflate([bytes(1000)]))
    with pytest.raises(PayloadError, match="more than the 999 bytes"):
        inflate(packed, 999)
    with pytest.raises(PayloadError, match="cut off"):
        inflate(packed[:-1], 1000)
    with pytest.raises(PayloadError, match="follow"):
        inflate(packed + b"\0", 1000)
    with pytest.raises(PayloadError, match="malformed"):
        inflate(b"\xff\xff\xff", 1000)
    with pytest.raises(PayloadError):
        inflate(b"", 0)
    with pytest.raises(PayloadError, match="where no bytes can be"):  # zlib takes a limit of 0 for none
        inflate(packed, -1)
