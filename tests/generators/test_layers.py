"""Gradients of single examples, against a loop over them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fedcompress import keras
from fedcompress.generators.layers import RecordedLayers, clipped_sum
from fedcompress.generators.spec import NAMES, GanSpec

Arrays = list[NDArray[np.float32]]


def batch(spec: GanSpec, n: int = 6) -> tuple[Any, Any, list[Any]]:
    """Returns images, labels and a discriminator's weights."""
    rng = np.random.default_rng(3)
    images = keras.tf.constant(rng.random((n, *spec.input_shape), np.float32))
    weights = [keras.tf.constant(a + np.float32(0.01)) for a in spec.initial(rng).discriminator]
    return images, keras.tf.constant(np.arange(n) % spec.classes, keras.tf.int32), weights


def one_by_one(spec: GanSpec, images: Any, labels: Any, weights: list[Any]) -> list[Arrays]:
    """Returns every example's gradients, each of a pass of its own through plain layers."""
    found = []
    for i in range(len(images)):
        with keras.tf.GradientTape() as tape:
            tape.watch(weights)
            score = spec.networks.scores(weights, images[i : i + 1], labels[i : i + 1])[0]
        found.append([gradient.numpy() for gradient in tape.gradient(score, weights)])
    return found


def at_once(spec: GanSpec, images: Any, labels: Any, weights: list[Any]) -> list[Any]:
    layers = RecordedLayers()
    with keras.tf.GradientTape() as tape:
        tape.watch(weights)
        scores = spec.networks.scores(weights, images, labels, layers)
    return layers.gradients(tape, scores)


@pytest.mark.parametrize("shape", [(12, 8, 3), (28, 28, 1)])
@pytest.mark.parametrize("name", NAMES)
def test_gradients_of_every_example_are_those_of_a_loop(name: str, shape: tuple[int, ...]) -> None:
    spec = GanSpec(name, shape, 4)
    images, labels, weights = batch(spec)
    looped, found = one_by_one(spec, images, labels, weights), at_once(spec, images, labels, weights)
    for index, of_one in enumerate(looped):
        for expected, gradients in zip(of_one, found, strict=True):
            assert np.abs(expected).max() > 0
            got = gradients[index].numpy().reshape(expected.shape)
            np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("name", NAMES)
def test_clipped_norms_are_at_most_the_bound_for_every_example(name: str) -> None:
    """Against a loop; some gradients are within the bound and stay as they are. Whoever comes or goes changes the sum
    by at most the bound."""
    spec = GanSpec(name, (8, 8, 1), 10)
    images, labels, weights = batch(spec, 20)
    looped = one_by_one(spec, images, labels, weights)
    norms = np.array([np.sqrt(sum(np.square(g).sum() for g in of_one)) for of_one in looped])
    gradients, bound = at_once(spec, images, labels, weights), float(np.median(norms))

    def clipped(factors: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
        sums, found = clipped_sum(gradients, bound, keras.tf.constant(factors))
        return np.concatenate([a.numpy().ravel() for a in sums]).astype(np.float64), found.numpy()

    everybody = np.ones(20, np.float32)
    total, found = clipped(everybody)
    np.testing.assert_allclose(found, norms, rtol=1e-4)
    by_hand = np.zeros_like(total)
    for i, of_one in enumerate(looped):
        flat = np.concatenate([g.ravel() for g in of_one]).astype(np.float64)
        expected = flat * min(1.0, bound / norms[i])
        alone, _ = clipped(np.eye(20, dtype=np.float32)[i])
        np.testing.assert_allclose(alone, expected, atol=1e-5 * bound)
        assert np.linalg.norm(alone) <= bound * (1 + 1e-5)
        without, _ = clipped(everybody - np.eye(20, dtype=np.float32)[i])
        assert np.linalg.norm(total - without) <= bound * (1 + 1e-4)
        by_hand += expected
    np.testing.assert_allclose(total, by_hand, atol=1e-4 * bound)
    assert 8 <= np.isclose([np.linalg.norm(clipped(row)[0]) for row in np.eye(20, dtype=np.float32)], bound).sum() < 13


def test_a_gradient_that_is_not_finite_does_not_take_part() -> None:
    tf = keras.tf
    gradients = [tf.constant([[3.0, 4.0], [np.inf, 0.0], [np.nan, 1.0], [2e19, 2e19], [0.0, 0.0]])]
    (total,), _ = clipped_sum(gradients, 1.0, tf.ones(5))
    np.testing.assert_allclose(total.numpy(), [0.6, 0.8], rtol=1e-6)
