"""Clustered values: a codebook and indices."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from fedcompress.errors import PayloadError
from fedcompress.wire import clusters
from fedcompress.wire.codec import Encoding, decode, encode
from fedcompress.wire.content import ArraySpec, Content
from fedcompress.wire.stream import Reader

finite = st.floats(width=32, allow_nan=False, allow_infinity=False)


@given(st.lists(arrays(np.float32, st.integers(0, 30), elements=finite), min_size=1, max_size=4), st.integers(1, 255))
def test_any_values_are_finite_and_zeros_stay(vectors: list[np.ndarray], most: int) -> None:
    flat, sizes = np.concatenate(vectors), np.array([v.size for v in vectors])
    symbols, scales, codebook = clusters.fit(flat, sizes, most)
    clusters.check(symbols, scales, codebook)
    back = clusters.restore(symbols, scales, sizes, clusters.take(Reader(clusters.write(codebook))))
    assert len(codebook) <= most
    assert np.isfinite(back).all()
    assert not back[flat == 0].any()


def test_values_of_few_kinds_are_exact() -> None:
    """Three values in an array of root mean square 1, so that float16 centroids hold them: nothing is lost."""
    vector = np.repeat(np.array([-1.5, 0.5, 0.5, 1.0, 0.0], np.float32), 20)
    vector *= np.float32(1 / np.sqrt(np.mean(vector[vector != 0] ** 2)))
    symbols, scales, codebook = clusters.fit(vector, np.array([100]), 3)
    assert codebook.size == 3
    assert clusters.restore(symbols, scales, np.array([100]), codebook) == pytest.approx(vector, rel=2.0**-11)


def test_each_value_has_its_nearest_centroid_and_more_clusters_err_less() -> None:
    vector = np.random.default_rng(0).standard_normal(5000).astype(np.float32)
    sizes, errors = np.array([5000]), []
    for most in (3, 7, 15, 31):
        symbols, scales, codebook = clusters.fit(vector, sizes, most)
        centres = codebook.astype(np.float64) * scales[0]
        nearest = np.abs(vector[:, None] - centres).min(axis=1)
        error = np.abs(clusters.restore(symbols, scales, sizes, codebook) - vector)
        assert error == pytest.approx(nearest, abs=1e-3)
        errors.append(float(np.mean(error**2)))
    # The optimum for 16 levels of a normal distribution is a mean squared error of 0.0095 (Max 1960).
    assert errors == sorted(errors, reverse=True)
    assert errors[2] < 0.0125


def test_clusters_and_entropy_cost_less_than_four_bits() -> None:
    """16 symbols at most, unequally used: below 4 bits a value."""
    vector = np.random.default_rng(0).standard_normal(20_000).astype(np.float32)
    content = Content((ArraySpec((20_000,)),))
    sent = encode([vector], content, Encoding(values="clustered", entropy=True))
    assert sent.bound_bytes <= len(sent.data) < 20_000 * 4 / 8
    assert np.array_equal(decode(sent.data, content)[0], sent.arrays[0])


@pytest.mark.parametrize("codebook", [[2.0, 1.0], [1.0, 1.0], [0.0], [np.inf], [np.nan]])
def test_codebooks_that_are_never_made_are_refused(codebook: list[float]) -> None:
    with pytest.raises(PayloadError, match="codebook"):
        clusters.take(Reader(bytes([len(codebook)]) + np.array(codebook, "<f2").tobytes()))


def test_indices_without_a_centroid_and_scales_that_overflow_are_refused() -> None:
    with pytest.raises(PayloadError, match="an index is 3, the codebook has 2"):
        clusters.check(np.array([3], np.uint8), np.ones(1, np.float32), np.array([1, 2], np.float32))
    with pytest.raises(PayloadError, match="not finite"):
        clusters.check(np.array([1], np.uint8), np.array([3e38], np.float32), np.array([2], np.float32))
