"""Normalisation by name, as an argument of architectures: over the batch, or over groups of an example's channels."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, Literal, get_args

from fedcompress import keras

Norm = Literal["group", "batch"]
NORMS: tuple[Norm, ...] = get_args(Norm)
DEFAULT: Norm = "group"
"""What an example is normalised by is its own: clients whose labels differ do not disagree about it (Hsieh et al. 2020,
"The non-IID data quagmire of decentralized machine learning", section 5), and sub-models of other widths share it."""

GROUP = 4
"""Channels of a group, whatever the width (Wu & He 2018, "Group normalization", has 32 groups or 16 channels in each).
Groups go as wholes when channels are pruned, so small ones are better, and leave the others as they were."""


def named_norm(name: str) -> Norm | None:
    """Returns the normalisation of a name; None if there is none."""
    return next((norm for norm in NORMS if norm == name), None)


def normalised(x: Any, norm: Norm) -> Any:
    """Returns a map (batch, height, width, channels), normalised.

    Args:
        x: The map; for groups, channels are a multiple of `GROUP`.
        norm: How.
    """
    if norm == "batch":
        return keras.layers.BatchNormalization()(x)
    return plainly_called(keras.layers.GroupNormalization(x.shape[-1] // GROUP), x)


def plainly_called(layer: Any, x: Any) -> Any:
    """Returns what a new layer puts out; of one that normalises groups as `plainly_grouped` has it from the start.

    A call of Keras' own makes some sixty operations more for each layer, half of the time in which a graph is built.
    """
    if isinstance(layer, keras.layers.GroupNormalization) and _is_plain(layer, x.shape):
        layer.call = partial(_grouped, layer)
    return layer(x)


def plainly_grouped(model: Any) -> Any:
    """Has group normalisation of maps compute by operations on maps alone, and returns the model.

    Keras' own puts groups on an axis of their own, which TFLite cannot broadcast over for more than one example, and
    which takes a fifth more time. Weights and configuration stay Keras', so that a saved model is one of Keras alone.
    """
    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.GroupNormalization) and _is_plain(layer, layer.get_input_shape_at(0)):
            layer.call = partial(_grouped, layer)
    return model


def _is_plain(layer: Any, shape: Sequence[int | None]) -> bool:
    return len(shape) == 4 and layer.axis in (-1, 3) and layer.scale and layer.center


def _grouped(layer: Any, inputs: Any) -> Any:
    """Returns (x - mean) / sqrt(variance + epsilon) * gamma + beta, both over height, width and a group's channels."""
    tf = keras.tf
    x = tf.cast(inputs, tf.float32)  # as Keras' own: half precision has no room for sums of squares
    channels = x.shape[-1]
    groups = channels if layer.groups == -1 else layer.groups

    def mean(maps: Any) -> Any:
        of_channels = tf.reshape(tf.reduce_mean(maps, axis=[1, 2]), [-1, groups, channels // groups])
        of_groups = tf.reduce_mean(of_channels, axis=-1, keepdims=True)  # `tf.repeat` would be fifteen operations more
        return tf.reshape(tf.tile(of_groups, [1, 1, channels // groups]), [-1, 1, 1, channels])

    centred = x - mean(x)
    scale = tf.math.rsqrt(mean(tf.square(centred)) + layer.epsilon) * tf.cast(layer.gamma, tf.float32)
    return tf.cast(centred * scale + tf.cast(layer.beta, tf.float32), inputs.dtype)
