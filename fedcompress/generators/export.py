"""A generator as a Keras model of built-in layers, which plain tf_keras loads, and which TFLite converts.

It has one input, z and the label as a one-hot vector side by side, and gives images in [0, 1].
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedcompress import keras
from fedcompress.generators.cgan import Cgan
from fedcompress.generators.networks import LEAK
from fedcompress.wire.content import Arrays


def as_keras(networks: Cgan, plain: Arrays) -> Any:
    """Returns a Keras model of a generator's plain weights: those of `cgan`, in any widths.

    It computes in float32: rounded kernels keep the values that they were rounded to, activations are not rounded.
    """
    layers = keras.layers
    dense, bias, first, first_bias, second, second_bias, last, last_bias = plain
    low, middle, high = networks.widths
    with keras.LOCK:
        x = inputs = keras.Input((networks.noise + networks.classes,), name="z_and_one_hot_label")
        x = layers.LeakyReLU(LEAK)(layers.Dense(dense.shape[1], name="dense")(x))
        x = layers.Reshape((networks.height // 4, networks.width // 4, low))(x)
        for name, width in (("first", middle), ("second", high)):
            x = layers.Conv2DTranspose(width, 4, strides=2, padding="same", name=name)(x)
            x = layers.LeakyReLU(LEAK)(x)
        images = layers.Conv2D(networks.channels, 7, padding="same", activation="sigmoid", name="images")(x)
        model = keras.Model(inputs, images, name="generator")
        model.set_weights([dense, bias, first, first_bias, second, second_bias, last, last_bias])
    return model


def inputs_of(z: NDArray[np.float32], labels: NDArray[np.int32], classes: int) -> NDArray[np.float32]:
    """Returns what the exported generator takes: z (n, noise) and one-hot labels side by side."""
    return np.concatenate([z, np.eye(classes, dtype=np.float32)[labels]], axis=1)
