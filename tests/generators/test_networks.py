"""Convolutions of generators against TensorFlow's own, and what discriminators see."""

from __future__ import annotations

import numpy as np
import pytest

from fedcompress import keras
from fedcompress.generators.networks import gathered
from fedcompress.generators.spec import NAMES, GanSpec


@pytest.mark.parametrize("outputs", [1, 3])
def test_gathered_is_a_convolution_and_has_its_gradients(outputs: int) -> None:
    tf, rng = keras.tf, np.random.default_rng(0)
    x = tf.constant(rng.standard_normal((2, 8, 12, 5)).astype(np.float32))
    kernel = tf.constant(rng.standard_normal((7, 5, 5, outputs)).astype(np.float32))

    def both(convolution):
        with tf.GradientTape() as tape:
            tape.watch([x, kernel])
            y = convolution(x, kernel)
            loss = tf.reduce_sum(tf.sin(y))
        return [y, *tape.gradient(loss, [x, kernel])]

    expected = both(lambda x, kernel: tf.nn.conv2d(x, kernel, 1, "SAME"))
    for ours, theirs in zip(both(gathered), expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_a_discriminator_sees_where_a_thing_is(name: str) -> None:
    """By patches alone, shapes cannot be judged: a spot four pixels further is another image."""
    spec = GanSpec(name, (28, 28, 1), 10)
    image, moved = np.zeros((2, 1, 28, 28, 1), np.float32)
    image[0, 10:14, 10:14] = 1.0
    moved[0, 10:14, 14:18] = 1.0
    weights = spec.initial(np.random.default_rng(0)).discriminator
    one, other = (float(spec.networks.scores(weights, x, np.array([3]))[0]) for x in (image, moved))
    assert abs(one - other) > 1e-3
