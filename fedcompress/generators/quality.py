"""How good generated images are: by what a classifier learns from them, by their features, and by eye."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedcompress.compression.pruning import resting
from fedcompress.data.federated import Examples
from fedcompress.generators.png import write_png
from fedcompress.models.architecture import ModelSpec
from fedcompress.scenario.sections import TrainingSettings
from fedcompress.training.trainer import Trainer, evaluate, predict
from fedcompress.wire.content import Arrays

FEWEST = 3
"""Images of one class that tell whether they are alike."""
LEAST_DEVIATION = 0.05
"""Below it they are, see `collapsed`. Measured on digits, MNIST and Fashion-MNIST: no class as a whole is below 0.157,
and of 2,000 draws of three real images of one class none was below 0.064."""


def accuracy_score(
    samples: Examples, test: Examples, spec: ModelSpec, rng: np.random.Generator, epochs: int = 10
) -> float:
    """Returns the classification accuracy score: train on synthetic, test on real (Ravuri and Vinyals 2019).

    Args:
        samples: Generated images and the labels that were asked for.
        test: Real examples.
        spec: The classifier.
        rng: Its initial weights and the order of its examples.
        epochs: Passes over the samples, with Adam at 0.001 and batches of 64.
    """
    return evaluate(spec, fitted(samples, spec, rng, epochs), test).accuracy


def fitted(examples: Examples, spec: ModelSpec, rng: np.random.Generator, epochs: int = 10) -> Arrays:
    """Returns the weights of a classifier trained from scratch, with Adam at 0.001 and batches of 64."""
    settings = TrainingSettings(epochs=epochs, batch_size=64, optimizer="adam", learning_rate=0.001)
    trainer = Trainer(spec, resting(rounds=1, masked=False), settings, 1, lambda purpose: rng)
    return trainer.fit(spec.initial(rng), examples).weights


def features(spec: ModelSpec, weights: Arrays, x: NDArray[Any]) -> NDArray[np.float64]:
    """Returns the penultimate features (n, f) that a classifier sees in inputs (n, *input_shape)."""
    return predict(spec, weights, x, features=True).astype(np.float64)


def frechet_distance(real_features: NDArray[Any], fake_features: NDArray[Any]) -> float:
    """Returns ||m - m'||^2 + tr(C + C' - 2 (C C')^(1/2)) of means and covariances (Heusel et al. 2017, eq. 6).

    Its bias falls with the number of examples: use 10,000 and more of each, else `kernel_distance`.

    Args:
        real_features: (n, f), two rows or more.
        fake_features: (m, f), two rows or more.
    """
    (mean, covariance), (other_mean, other_covariance) = map(_moments, (real_features, fake_features))
    values, vectors = np.linalg.eigh(covariance)
    root = (vectors * np.sqrt(np.clip(values, 0.0, None))) @ vectors.T
    # C C' has the eigenvalues of the symmetric C^(1/2) C' C^(1/2), whose root needs no complex numbers.
    product = np.linalg.eigvalsh(root @ other_covariance @ root)
    shared = np.sqrt(np.clip(product, 0.0, None)).sum()
    return float(np.sum((mean - other_mean) ** 2) + np.trace(covariance + other_covariance) - 2.0 * shared)


def _moments(x: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    x = np.asarray(x, np.float64)
    return x.mean(axis=0), np.atleast_2d(np.cov(x, rowvar=False))


def kernel_distance(real: NDArray[Any], fake: NDArray[Any], block: int = 1000) -> float:
    """Returns the kernel inception distance: the unbiased squared MMD with the kernel (x.y / f + 1)^3.

    Bińkowski et al. 2018, section 4, on all pairs. It may be slightly negative for equal distributions.

    Args:
        real: Features (n, f), two rows or more.
        fake: Features (m, f), two rows or more.
        block: Rows of the kernel matrix that are in memory at once.
    """
    real, fake = np.asarray(real, np.float64), np.asarray(fake, np.float64)

    def total(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
        return sum(float(_kernel(a[i : i + block] @ b.T, a.shape[1]).sum()) for i in range(0, len(a), block))

    def within(a: NDArray[np.float64]) -> float:
        diagonal = _kernel(np.sum(a * a, axis=1), a.shape[1]).sum()
        return (total(a, a) - float(diagonal)) / (len(a) * (len(a) - 1))

    return within(real) + within(fake) - 2.0 * total(real, fake) / (len(real) * len(fake))


def _kernel(products: NDArray[np.float64], length: int) -> NDArray[np.float64]:
    return (products / length + 1.0) ** 3


def collapsed(images: NDArray[Any], labels: NDArray[np.int32]) -> str | None:
    """Returns why a generator has collapsed, or None.

    Args:
        images: (n, height, width, channels), uint8 or floats in [0, 1].
        labels: (n,), what was asked for; classes of fewer than three images are passed over.
    """
    brightness = images / 255.0 if images.dtype == np.uint8 else images
    if not np.isfinite(brightness).all():
        return "The generator makes images with values that are not finite."
    for label in np.unique(labels):
        chosen = brightness[labels == label]
        deviation = float(np.sqrt(chosen.var(axis=0).mean()))
        if len(chosen) >= FEWEST and deviation < LEAST_DEVIATION:
            return (
                f"The generator's {len(chosen)} images of class {label} are alike: pixels deviate by {deviation:.3f} "
                f"of the full range from their mean, expected at least {LEAST_DEVIATION}."
            )
    return None


def grid_png(images: NDArray[np.uint8], labels: NDArray[np.int32], path: Path, columns: int = 10) -> None:
    """Writes a grid of images, one row per class in ascending order, one black pixel between images.

    Args:
        images: (n, height, width, 1 or 3).
        labels: (n,).
        path: Of the PNG file.
        columns: Images of a class that are shown, the first ones; a class that has fewer leaves the rest black.
    """
    classes, (height, width, channels) = np.unique(labels), images.shape[1:]
    grid = np.zeros((len(classes) * (height + 1) - 1, columns * (width + 1) - 1, channels), np.uint8)
    for row, label in enumerate(classes):
        for column, image in enumerate(images[labels == label][:columns]):
            top, left = row * (height + 1), column * (width + 1)
            grid[top : top + height, left : left + width] = image
    write_png(path, grid)
