"""Images that are changed at random before a step, inside the compiled graph.

Crops of an image with a border around it, and mirrored ones, are those of He et al. 2016, "Deep residual learning",
section 4.2; a square that is cut out is that of DeVries & Taylor 2017, "Cutout". Draws follow from a seed for each step
alone, by an algorithm that gives the same bits on every machine.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fedcompress import keras
from fedcompress.scenario.sections import AugmentationSettings
from fedcompress.wire.content import Arrays


def seeds(settings: AugmentationSettings | None, steps: int, rng: np.random.Generator) -> Arrays:
    """Returns a seed for each step, (steps, 2) int32, in a list; nothing, and nothing drawn, without augmentation."""
    return [rng.integers(2**31, size=(steps, 2), dtype=np.int32)] if settings is not None else []


def augmented(images: Any, settings: AugmentationSettings, seed: Any) -> Any:
    """Returns images (batch, height, width, channels) of the same shape.

    Args:
        images: Scaled to [0, 1].
        settings: What is done.
        seed: (2,) int32.
    """
    tf = keras.tf
    count, (height, width) = tf.shape(images)[0], images.shape[1:3]

    def drawn(number: int, most: int) -> Any:
        """Returns an integer from 0 to `most` for each image, (batch, 1)."""
        return tf.random.stateless_uniform([count, 1], [seed[0], seed[1] ^ number], 0, most + 1, tf.int32, alg="philox")

    rows, columns = tf.range(height)[tf.newaxis], tf.range(width)[tf.newaxis]
    if settings.flip:
        columns = tf.where(drawn(1, 1) > 0, width - 1 - columns, columns)
    if settings.crop:
        border = [settings.crop] * 2
        images = tf.pad(images, [[0, 0], border, border, [0, 0]])
        images = tf.gather(images, rows + drawn(2, 2 * settings.crop), axis=1, batch_dims=1)
        columns = columns + drawn(3, 2 * settings.crop)
    if settings.flip or settings.crop:
        images = tf.gather(images, columns + tf.zeros([count, 1], tf.int32), axis=2, batch_dims=1)
    if settings.cutout:
        of_rows = _within(tf.range(height), drawn(4, height - 1), settings.cutout)
        of_columns = _within(tf.range(width), drawn(5, width - 1), settings.cutout)
        hole = of_rows[:, :, tf.newaxis] & of_columns[:, tf.newaxis, :]
        images = tf.where(hole[..., tf.newaxis], 0.0, images)
    return images


def _within(places: Any, centre: Any, side: int) -> Any:
    """Returns (batch, places): whether a place is among the `side` ones around the centre."""
    first = centre - side // 2
    return (places >= first) & (places < first + side)
