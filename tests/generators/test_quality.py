"""Figures of quality: against hand-worked cases, and on real images."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
import pytest

from fedcompress.data.federated import Examples
from fedcompress.data.loading import load_dataset
from fedcompress.generators.judge import classifier
from fedcompress.generators.png import write_png
from fedcompress.generators.quality import (
    accuracy_score,
    collapsed,
    features,
    fitted,
    frechet_distance,
    grid_png,
    kernel_distance,
)


def test_frechet_distance_of_equal_sets_is_zero() -> None:
    x = np.random.default_rng(0).normal(size=(500, 20))
    assert frechet_distance(x, x[::-1]) == pytest.approx(0.0, abs=1e-9)


def test_frechet_distance_of_gaussians_by_hand() -> None:
    """Points (+-a, +-b) have mean 0 and covariance diag(a^2, b^2) 4/3 (n - 1 = 3). With k = sqrt(4/3): standard
    deviations k (1, 2) and k (3, 1), means 5 apart: 25 + k^2 ((1 - 3)^2 + (2 - 1)^2) = 25 + 20/3."""
    corners = np.array([[1, 1], [1, -1], [-1, 1], [-1, -1]])
    a, b = corners * [1, 2], corners * [3, 1] + [3, 4]
    assert frechet_distance(a, b) == pytest.approx(25 + 20 / 3)


def test_frechet_distance_of_covariances_that_do_not_commute() -> None:
    """C = diag(1, 4) and C' = [[2.5, 1.5], [1.5, 2.5]] (eigenvalues 4 and 1): C C' has trace 12.5 and determinant 16,
    so tr (C C')^(1/2) = sqrt(12.5 + 2 sqrt(16)), and the distance is 5 + 5 - 2 sqrt(20.5)."""
    corners = np.array([[1, 1], [1, -1], [-1, 1], [-1, -1]]) * np.sqrt(3) / 2  # covariance: identity
    turned = (corners * [2, 1]) @ (np.array([[1, 1], [-1, 1]]) / np.sqrt(2))
    assert np.allclose(np.cov(turned, rowvar=False), [[2.5, 1.5], [1.5, 2.5]])
    assert frechet_distance(corners * [1, 2], turned) == pytest.approx(10 - 2 * np.sqrt(20.5))


def test_kernel_distance_by_hand() -> None:
    """f = 1, k = (xy + 1)^3. Real 0, 1: k(0, 1) = 1, so 1. Fake 1, 2: k(1, 2) = 27. Across: k = 1, 1, 8, 27, mean 9.25:
    1 + 27 - 18.5 = 9.5."""
    assert kernel_distance(np.array([[0.0], [1.0]]), np.array([[1.0], [2.0]])) == pytest.approx(9.5)


def test_kernel_distance_is_unbiased() -> None:
    """Sets from one distribution: the mean over draws is 0 within its own error, and some are negative."""
    rng = np.random.default_rng(0)
    values = [kernel_distance(rng.normal(size=(40, 5)), rng.normal(size=(30, 5)), block=7) for _ in range(300)]
    assert abs(np.mean(values)) < 3 * np.std(values) / np.sqrt(300)
    assert min(values) < 0
    shifted = rng.normal(1.0, size=(30, 5))
    assert kernel_distance(rng.normal(size=(40, 5)), shifted) > max(values)


def test_halves_of_real_data_are_closer_than_noise() -> None:
    dataset = load_dataset("digits")
    spec, rng = classifier((8, 8, 1), 10), np.random.default_rng(0)
    real = Examples(dataset.x_train, dataset.y_train)
    test = Examples(dataset.x_test, dataset.y_test)
    assert accuracy_score(real, test, spec, np.random.default_rng(0), epochs=10) > 0.8
    weights = fitted(real, spec, rng, 10)
    seen = features(spec, weights, dataset.x_train)
    assert seen.shape == (1438, spec.features)
    noise = features(spec, weights, rng.integers(0, 256, (700, 8, 8, 1), np.uint8))
    even, odd = seen[::2], seen[1::2]
    assert abs(kernel_distance(even, odd)) < 0.01 * kernel_distance(even, noise)
    assert frechet_distance(even, odd) < 0.1 * frechet_distance(even, noise)


def test_real_images_have_not_collapsed_and_constant_ones_have() -> None:
    dataset = load_dataset("digits")
    x, y = dataset.x_train, dataset.y_train
    assert collapsed(x, y) is None
    assert collapsed(np.repeat(x[:1], 2, axis=0), np.repeat(y[:1], 2)) is None
    constant = x.copy()
    constant[y == 4] = x[y == 4][0]
    assert "images of class 4 are alike" in str(collapsed(constant, y))
    nearly = np.clip(constant.astype(int) + np.random.default_rng(0).integers(-3, 4, x.shape), 0, 255).astype(np.uint8)
    assert "class 4" in str(collapsed(nearly, y))
    assert "not finite" in str(collapsed(np.where(x == 0, np.nan, x / 255.0), y))


@pytest.mark.parametrize("channels", [1, 3])
def test_a_grid_reads_back(channels: int, tmp_path: Path) -> None:
    """One row per class; a class with fewer images leaves black; one black pixel between images."""
    rng = np.random.default_rng(0)
    images, labels = rng.integers(1, 256, (5, 4, 6, channels), np.uint8), np.array([7, 2, 7, 2, 2], np.int32)
    grid_png(images, labels, tmp_path / "grid.png", columns=2)
    pixels = read_png(tmp_path / "grid.png")
    assert pixels.shape == (9, 13, channels)
    for top, left, image in ((0, 0, 1), (0, 7, 3), (5, 0, 0), (5, 7, 2)):
        assert np.array_equal(pixels[top : top + 4, left : left + 6], images[image])
    assert not pixels[4].any()
    assert not pixels[:, 6].any()
    assert not read_png_of_one_class(tmp_path, images[:1])[:, 7:].any()


def read_png_of_one_class(folder: Path, images: np.ndarray) -> np.ndarray:
    grid_png(images, np.zeros(len(images), np.int32), folder / "one.png", columns=2)
    return read_png(folder / "one.png")


def read_png(path: Path) -> np.ndarray:
    """Reads an unfiltered PNG by the specification, checking every chunk."""
    data, at, chunks = path.read_bytes(), 8, {}
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    while at < len(data):
        length, kind = int.from_bytes(data[at : at + 4]), data[at + 4 : at + 8]
        chunks[kind] = data[at + 8 : at + 8 + length]
        checksum = int.from_bytes(data[at + 8 + length : at + 12 + length])
        assert checksum == zlib.crc32(kind + chunks[kind])
        at += 12 + length
    header = chunks[b"IHDR"]
    width, height = int.from_bytes(header[:4]), int.from_bytes(header[4:8])
    channels = {0: 1, 2: 3}[header[9]]
    assert (header[8], *header[10:]) == (8, 0, 0, 0)
    rows = np.frombuffer(zlib.decompress(chunks[b"IDAT"]), np.uint8).reshape(height, 1 + width * channels)
    assert not rows[:, 0].any()
    return rows[:, 1:].reshape(height, width, channels)


def test_two_channels_are_no_png(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="2 channels"):
        write_png(tmp_path / "no.png", np.zeros((2, 2, 2), np.uint8))
