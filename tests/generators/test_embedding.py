"""Mean embeddings: norms, sensitivities, the noise of a release, and a generator that matches one."""

from __future__ import annotations

from functools import cache
from math import sqrt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from fedcompress.data.federated import Examples
from fedcompress.data.loading import load_dataset
from fedcompress.errors import InputError
from fedcompress.generators.embedding import Embedding, clipped, median_distance, noise_images, noisy, smoothed
from fedcompress.generators.matching import Target, match
from fedcompress.generators.spec import GanSpec
from fedcompress.seeding import generator

CLASSES, SHAPE = 10, (8, 8, 1)


@cache
def embedding(weight: float = 0.3, smoothness: float = 1.0) -> Embedding:
    return Embedding(SHAPE, CLASSES, 40, 3.0, smoothness, weight, 1)


@cache
def digits() -> Examples:
    data = load_dataset("digits")
    return Examples(data.x_train, data.y_train)


def some(rows: NDArray[np.int64]) -> Examples:
    return Examples(digits().x[rows], digits().y[rows])


def test_features_are_of_norm_1() -> None:
    for x in (digits().x[:700], np.zeros((1, *SHAPE), np.uint8), np.full((1, *SHAPE), 255, np.uint8)):
        rows = embedding().features_of(x)
        assert rows.shape == (len(x), 80)
        assert np.linalg.norm(rows.astype(np.float64), axis=1) == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize("smoothness", [0.0, 1.0])
def test_features_estimate_the_gaussian_kernel(smoothness: float) -> None:
    """The deviation of the estimate is at most sqrt(1 / (2 D)), 0.011 here."""
    many = Embedding(SHAPE, CLASSES, 4000, 3.0, smoothness, 0.3, 1)
    x = digits().x[:20]
    rows = many.features_of(x).astype(np.float64)
    pixels = smoothed(x / 255.0, smoothness).reshape(20, -1)
    squares = ((pixels[:, None] - pixels) ** 2).sum(axis=2)
    assert np.abs(rows @ rows.T - np.exp(-squares / (2 * 3.0**2))).max() < 0.05


@settings(max_examples=60, deadline=None)
@given(
    rows=st.lists(st.integers(0, 1400), min_size=1, max_size=8, unique=True),
    other=st.integers(0, 1400),
    label=st.integers(0, CLASSES - 1),
    weight=st.sampled_from([0.05, 0.3, 1.0, 4.0]),
)
def test_one_example_changes_a_release_by_1_and_another_in_its_place_by_2(
    rows: list[int], other: int, label: int, weight: float
) -> None:
    """Added or removed it changes its class's sum by phi, of norm 1, and its count by 1, whose weight is w."""
    made = embedding(weight)
    before = made.release(some(np.array(rows)))
    without = made.release(some(np.array(rows[1:], np.int64)))
    assert np.linalg.norm(before - without) == pytest.approx(1.0, abs=1e-5)
    replaced = Examples(
        np.concatenate([digits().x[other : other + 1], digits().x[rows[1:]]]),
        np.concatenate([np.array([label], np.int32), digits().y[rows[1:]]]),
    )
    assert np.linalg.norm(before - made.release(replaced)) <= 2.0 + 1e-5


def test_a_release_comes_apart_into_counts_and_sums() -> None:
    made = embedding()
    counts, sums = made.parts(made.release(digits()))
    assert counts == pytest.approx(np.bincount(digits().y, minlength=CLASSES))
    of_three = made.features_of(digits().x[digits().y == 3]).sum(axis=0, dtype=np.float64)
    assert sums[3] == pytest.approx(of_three, abs=1e-3)
    assert made.size == CLASSES * 81


def test_the_variance_of_the_noise() -> None:
    """Of n normal draws, (n - 1) s^2 / sigma^2 is chi-squared: 99 % of it lies within 1 +- 2.576 sqrt(2 / n)."""
    draws, sigma = 1_000_000, 3.7306
    added = noisy(np.zeros(draws), sigma, generator(1, 0, 0, "noise"))
    assert abs(added.var(ddof=1) / sigma**2 - 1.0) < 2.576 * sqrt(2.0 / draws)
    assert abs(added.mean()) < 2.576 * sigma / sqrt(draws)


def test_smoothing_keeps_the_variance_of_noise_and_gives_it_the_spectrum_of_images() -> None:
    """Between 0.125 and 0.5 cycles per pixel, amplitudes fall by (0.125 + 0.05) / (0.5 + 0.05)."""
    noise = generator(1, 0, 0, "images").standard_normal((4000, 8, 8, 1))
    made = smoothed(noise, 1.0)
    assert made.var() == pytest.approx(1.0, abs=0.02)
    power = (np.abs(np.fft.fft2(made, axes=(1, 2))) ** 2).mean(axis=0)[..., 0]
    assert power[0, 4] / power[0, 1] == pytest.approx((0.175 / 0.55) ** 2, rel=0.1)
    assert np.array_equal(smoothed(noise, 0.0), noise)


@pytest.mark.parametrize("norm", [0.0, 0.5, 1.0, 7.0])
def test_a_client_is_clipped(norm: float) -> None:
    release = np.full(100, norm / 10.0)
    assert np.linalg.norm(clipped(release, 1.0)) == pytest.approx(min(norm, 1.0))


def test_the_median_heuristic() -> None:
    """Pixels of noise differ by a squared 1 / 6 in the mean: over 64 of them a distance of sqrt(64 / 6) = 3.27."""
    assert median_distance(noise_images(SHAPE, 1)) == pytest.approx(sqrt(64 / 6), rel=0.02)
    apart = np.zeros((3, 2, 2, 1), np.float32)
    apart[1, 0, 0], apart[2, 0, 0] = 3.0, 4.0
    assert median_distance(apart) == 3.0
    assert median_distance(digits().x, 1.0) > 1.1 * median_distance(digits().x)  # their power is in low frequencies
    with pytest.raises(InputError, match=r"the median distance of 1 images is 0; expected different ones"):
        median_distance(apart[:1])


def test_the_median_distance_is_of_images_from_all_parts_of_a_file() -> None:
    """Those that differ come last, behind more than are looked at."""
    images = np.zeros((3000, 2, 2, 1), np.float32)
    images[1000:, 0, 0, 0] = np.arange(2000)
    assert median_distance(images) > 400.0


def test_a_target_leaves_out_classes_within_the_noise() -> None:
    made = embedding()
    counts = np.array([100.0, 50.0, 3.0, -8.0, *[0.0] * 6])
    target = Target.of(made, made.joined(counts, np.outer(counts, np.ones(80))), least=5.0)
    assert target.weights == pytest.approx(np.array([8.0, 2.0, *[0.0] * 8]))
    assert target.means[:2] == pytest.approx(np.ones((2, 80)))
    assert not target.means[2:].any()
    with pytest.raises(InputError, match="no class of the embedding has a count above its noise"):
        Target.of(made, made.joined(counts, np.zeros((CLASSES, 80))), least=200.0)


def test_a_generator_matches_an_embedding() -> None:
    """The distance of mean embeddings is estimated without bias: near 0 for what matches, negative values included."""
    made, spec = embedding(), GanSpec("compact", SHAPE, CLASSES)
    target = Target.of(made, made.release(digits()))
    start = spec.initial(generator(1, 0, 0, "gan")).generator
    how = {"batch_size": 100, "learning_rate": 0.003}
    first, again = (match(spec, start, made, target, steps=60, rng=generator(1, 0, 0, "fit"), **how) for _ in range(2))
    assert all(np.array_equal(a, b) for a, b in zip(first.generator, again.generator, strict=True))
    untrained = match(spec, start, made, target, steps=1, rng=generator(1, 0, 0, "fit"), **how)
    trained = match(spec, first.generator, made, target, steps=1, rng=generator(1, 0, 0, "fit"), **how)
    least = -float((target.weights * (target.means**2).sum(axis=1)).mean())
    assert untrained.loss - least > 0.1
    assert trained.loss - least < 0.25 * (untrained.loss - least)
