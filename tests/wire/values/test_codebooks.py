"""A codebook for each array, and indices: exact for few values, finite for any."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from fedcompress.errors import PayloadError
from fedcompress.wire.stream import Reader
from fedcompress.wire.symbols import quantise, restore
from fedcompress.wire.values.codebooks import Codebooks

finite = st.floats(width=32, allow_nan=False, allow_infinity=False)
KIND = Codebooks()


@given(st.lists(arrays(np.float32, st.integers(0, 30), elements=finite), min_size=1, max_size=4))
def test_arrays_of_few_values_are_exact(vectors: list[np.ndarray]) -> None:
    flat, sizes = np.concatenate(vectors), np.array([v.size for v in vectors])
    symbols, side, _ = quantise(flat, sizes, KIND)
    received = KIND.take_side(Reader(KIND.write_side(side)), len(sizes))
    assert np.array_equal(KIND.restore(symbols, received, sizes), flat)


def test_bytes_golden() -> None:
    """Two codebooks, of -2 and 0.5 and of 0.5 alone: two counts, three floats, low byte first; zeros are index 0."""
    symbols, side, _ = quantise(np.array([0.5, -2, 0, 0.5, 0.5], np.float32), np.array([4, 1]), KIND)
    assert symbols.tolist() == [2, 1, 0, 2, 1]
    assert KIND.write_side(side).hex(" ") == "02 01 00 00 00 c0 00 00 00 3f 00 00 00 3f"


def test_of_more_values_than_a_byte_tells_apart_each_gets_a_near_one() -> None:
    vector = np.random.default_rng(0).standard_normal(4000).astype(np.float32)
    _, (counts, book), decoded = quantise(vector, np.array([4000]), KIND)
    assert 250 < counts[0] <= 255
    assert np.array_equal(decoded, book[np.abs(vector[:, np.newaxis] - book).argmin(axis=1)])
    assert np.sqrt(np.mean((decoded - vector) ** 2)) < 0.03  # measured: 0.022


def test_a_centroid_at_zero_is_zero() -> None:
    """Of -256 to 256, 0 apart, -1 and 1 are a cluster, whose mean is 0; the next one is at 2 or beyond."""
    vector = np.array([*range(-256, 0), *range(1, 257)], np.float32)
    _, (_, book), decoded = quantise(vector, np.array([512]), KIND)
    assert decoded[255:257].tolist() == [0, 0]
    assert np.array_equal(np.unique(decoded), np.unique([0, *book]))
    assert np.abs(decoded - vector).max() <= 1


def test_what_is_no_codebook_is_refused() -> None:
    sizes = np.array([2, 1])
    for values in ([1, 1, 2], [0, 1, 2], [np.inf, 1, 2], [2, 1, 3]):
        body = bytes([2, 1]) + np.array(values, "<f4").tobytes()
        with pytest.raises(PayloadError, match="codebooks of 3 values are not finite, ascending and without zero"):
            KIND.take_side(Reader(body), 2)
    side = KIND.take_side(Reader(bytes([2, 1]) + np.array([1, 2, -5], "<f4").tobytes()), 2)
    with pytest.raises(PayloadError, match="a value is not finite"):
        restore(np.array([1, 2, 2], np.uint8), side, sizes, KIND)
