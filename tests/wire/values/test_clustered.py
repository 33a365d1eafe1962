"""Clustered values: a codebook and indices."""

from __future__ import annotations

import numpy as np
import pytest
from crossing import decode
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from fedcompress.errors import PayloadError
from fedcompress.wire.codec import Encoding, encode
from fedcompress.wire.content import ArraySpec, Content
from fedcompress.wire.shipped import SHIPPED
from fedcompress.wire.stream import Reader
from fedcompress.wire.symbols import quantise, restore
from fedcompress.wire.values.clustered import Clustered, codebook_of

finite = st.floats(width=32, allow_nan=False, allow_infinity=False)


@given(st.lists(arrays(np.float32, st.integers(0, 30), elements=finite), min_size=1, max_size=4), st.integers(1, 255))
def test_any_values_are_finite_and_zeros_stay(vectors: list[np.ndarray], most: int) -> None:
    flat, sizes = np.concatenate(vectors), np.array([v.size for v in vectors])
    values = Clustered(clusters=most)
    symbols, side, decoded = quantise(flat, sizes, values)
    received = values.take_side(Reader(values.write_side(side)), len(sizes))
    values.check(symbols, received)
    back = values.restore(symbols, received, sizes)
    assert np.array_equal(back, decoded)
    assert len(received[1]) <= most
    assert np.isfinite(back).all()
    assert not back[flat == 0].any()


def test_values_of_few_kinds_are_exact() -> None:
    """Three values in an array of root mean square 1, so that float16 centroids hold them: nothing is lost."""
    vector = np.repeat(np.array([-1.5, 0.5, 0.5, 1.0, 0.0], np.float32), 20)
    vector *= np.float32(1 / np.sqrt(np.mean(vector[vector != 0] ** 2)))
    _, (_, codebook), decoded = quantise(vector, np.array([100]), Clustered(clusters=3))
    assert codebook.size == 3
    assert decoded == pytest.approx(vector, rel=2.0**-11)


@pytest.mark.parametrize("tiny", [1e-6, 1e-9, 1e-12, 1e-30])
@pytest.mark.parametrize("signs", [(1,), (1, -1), (-1,)])
def test_what_float16_takes_for_zero_becomes_zero(tiny: float, signs: tuple[int, ...]) -> None:
    """And not the next larger value, which may be a billion times as large."""
    vector = np.resize(signs, 1000).astype(np.float32) * np.repeat(np.array([tiny, 1.0], np.float32), [600, 400])
    symbols, (_, codebook), decoded = quantise(vector, np.array([1000]), Clustered())
    assert decoded == pytest.approx(vector, rel=0.05 if tiny > 2.0**-25 else 2.0**-11, abs=2.0**-25)
    assert codebook.size == len(signs) * (2 if tiny > 2.0**-25 else 1)
    assert (symbols[:600] == 0).all() == (tiny < 2.0**-25)


def test_an_array_of_nothing_but_tiny_values_beside_a_large_one() -> None:
    """Each array has its own scale, so that it is not the array that is small, but some of its values."""
    vector = np.array([1e-20] * 6 + [1e20] + [1e-20] * 7, np.float32)
    _, _, decoded = quantise(vector, np.array([7, 7]), Clustered())
    assert not decoded[:6].any()
    assert decoded[6:] == pytest.approx(vector[6:], rel=2.0**-10)


def test_each_value_has_its_nearest_centroid_and_more_clusters_err_less() -> None:
    vector = np.random.default_rng(0).standard_normal(5000).astype(np.float32)
    sizes, errors = np.array([5000]), []
    for most in (3, 7, 15, 31):
        _, (scales, codebook), decoded = quantise(vector, sizes, Clustered(clusters=most))
        centres = codebook.astype(np.float64) * scales[0]
        nearest = np.abs(vector[:, None] - centres).min(axis=1)
        error = np.abs(decoded - vector)
        assert error == pytest.approx(nearest, abs=1e-3)
        errors.append(float(np.mean(error**2)))
    # The optimum for 16 levels of a normal distribution is a mean squared error of 0.0095 (Max 1960).
    assert errors == sorted(errors, reverse=True)
    assert errors[2] < 0.0125


def mean_squared_error(values: np.ndarray, centres: np.ndarray) -> float:
    return float(np.mean(np.min((values[:, None] - centres[None]) ** 2, axis=1)))


@given(arrays(np.float64, st.integers(1, 60), elements=st.floats(-4, 4)), st.integers(1, 20))
def test_centroids_never_err_more_than_the_quantiles_that_they_start_from(values: np.ndarray, most: int) -> None:
    """But for float16, which moves each of them by 2^-11 of itself, or 2^-25 next to zero, at most."""
    values = np.sort(values[np.abs(values) > 1e-3])
    start = values[((np.arange(most) + 0.5) / most * len(values)).astype(int)] if len(values) else values
    found = codebook_of(values, most).astype(np.float64)
    assert len(found) <= most
    if len(values) and len(found):
        moved = 4 * 2.0**-11
        before = np.sqrt(mean_squared_error(values, start))
        assert np.sqrt(mean_squared_error(values, found)) <= before + moved


def test_at_rest_each_centroid_is_the_mean_of_its_values() -> None:
    """Of what pruning leaves of 2,000 normal weights: two peaks."""
    values = np.random.default_rng(0).standard_normal(2000)
    values = np.sort(values[np.abs(values) > 1.2816])
    found = codebook_of(values, 4).astype(np.float64)
    own = np.searchsorted((found[1:] + found[:-1]) / 2, values)
    means = [values[own == index].mean() for index in range(4)]
    assert found == pytest.approx(means, rel=0.01)


def test_a_better_codebook_may_exist() -> None:
    """Quantiles of 90 ones, 5 twos and 5 tens are 1 and 1, so there is one centroid, the mean 1.5; 1 and 10 err less.

    Two peaks, 300 values, 15 centroids: twice the error of the best codebook, found by dynamic programming.
    """
    values = np.repeat([1.0, 2.0, 10.0], [90, 5, 5])
    found = codebook_of(values, 2)
    assert found.tolist() == [1.5]
    assert mean_squared_error(values, np.array([1.0, 10.0])) < 0.02 * mean_squared_error(values, found)
    weights = np.random.default_rng(0).standard_normal(4000)
    weights = np.sort(weights[np.abs(weights) > 1.6449][:300])
    ratio = mean_squared_error(weights, codebook_of(weights, 15)) / least_error(weights, 15)
    assert 1.5 < ratio < 4.0


def least_error(values: np.ndarray, count: int) -> float:
    """Mean squared error of the best `count` centroids of sorted values: the best last cluster for each end."""
    sums, squares = (np.concatenate([[0.0], np.cumsum(v)]) for v in (values, values**2))
    best = np.full(len(values) + 1, np.inf)
    best[0] = 0.0
    for _ in range(count):
        previous, best = best, np.full(len(values) + 1, np.inf)
        for end in range(1, len(values) + 1):
            begin = np.arange(end)
            own = squares[end] - squares[begin] - (sums[end] - sums[begin]) ** 2 / (end - begin)
            best[end] = (previous[begin] + own).min()
    return float(best[-1] / len(values))


def test_clusters_and_entropy_cost_less_than_four_bits() -> None:
    """16 symbols at most, unequally used: below 4 bits a value."""
    vector = np.random.default_rng(0).standard_normal(20_000).astype(np.float32)
    content = Content((ArraySpec((20_000,)),))
    sent = encode([vector], content, Encoding(values=SHIPPED["clustered"], entropy=True))
    assert sent.bound_bytes <= len(sent.data) < 20_000 * 4 / 8
    assert np.array_equal(decode(sent.data, content)[0], sent.arrays[0])


@pytest.mark.parametrize("codebook", [[2.0, 1.0], [1.0, 1.0], [0.0], [np.inf], [np.nan]])
def test_codebooks_that_are_never_made_are_refused(codebook: list[float]) -> None:
    with pytest.raises(PayloadError, match="codebook"):
        Clustered().take_side(Reader(bytes([len(codebook)]) + np.array(codebook, "<f2").tobytes()), 0)


def test_indices_without_a_centroid_and_scales_that_overflow_are_refused() -> None:
    values, codebook = Clustered(), np.array([1, 2], np.float32)
    with pytest.raises(PayloadError, match="an index is 3, the codebook has 2"):
        values.check(np.array([3], np.uint8), (np.ones(1, np.float32), codebook))
    with pytest.raises(PayloadError, match="a value is not finite, of 1"):
        restore(np.array([2], np.uint8), (np.array([3e38], np.float32), codebook), np.array([1]), values)
