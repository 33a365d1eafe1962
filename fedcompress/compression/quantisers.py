"""Quantisers: functions on tensors that round to few values, and let gradients through as if they had not.

Straight-through estimator (Bengio et al. 2013, "Estimating or propagating gradients through stochastic neurons"): the
derivative of rounding is taken to be 1, and 0 where a value is clipped. Zero stays zero in each of them, at every
width, so that a pruned weight never comes back.
"""

from __future__ import annotations

from typing import Any, Literal

from fedcompress import keras

Kind = Literal["float", "uniform", "fixed", "ternary"]

FLOAT_BITS = 32
THRESHOLD = 0.7
"""Of the mean magnitude, below which a ternary value is zero (Li & Liu 2016, "Ternary weight networks", eq. 6)."""


def straight_through(values: Any, rounded: Any) -> Any:
    """Returns `rounded` exactly, with the gradient of `values`."""
    stopped = keras.tf.stop_gradient
    return stopped(rounded) + (values - stopped(values))


def uniform(values: Any, bits: Any) -> Any:
    """Rounds to q * max|v| / (2^(bits - 1) - 1), with q an integer; the grid of int8 and int4 on the wire.

    Args:
        values: Any shape, float32; one scale for all of them.
        bits: Scalar float32 tensor; 32 leaves the values as they are.
    """
    tf = keras.tf
    scale = tf.reduce_max(tf.abs(values)) / (2.0 ** (bits - 1.0) - 1.0)
    rounded = tf.round(tf.math.divide_no_nan(values, scale)) * scale
    return straight_through(values, tf.where(bits >= FLOAT_BITS, values, rounded))


def fixed(values: Any, bits: Any, integer: Any, *, signed: bool = True) -> Any:
    """Rounds to fixed point: a multiple of 2^(integer - bits), with a sign 2^(integer + 1 - bits); saturates.

    Args:
        values: Any shape, float32.
        bits: Scalar float32 tensor: all bits of a value, the sign's too; 32 leaves the values as they are.
        integer: Scalar float32 tensor: bits left of the binary point, the sign apart. May be negative.
        signed: Whether there is a sign.
    """
    tf = keras.tf
    low, high, step = fixed_range(bits, integer, signed=signed)
    clipped = tf.clip_by_value(values, low, high)
    rounded = straight_through(clipped, tf.clip_by_value(tf.round(clipped / step) * step, low, high))
    return tf.where(bits >= FLOAT_BITS, values, rounded)


def fixed_range(bits: Any, integer: Any, *, signed: bool = True) -> tuple[Any, Any, Any]:
    """Returns the least and the largest value of a fixed-point format, and its step; numbers or tensors."""
    step = 2.0 ** (integer - bits + (1.0 if signed else 0.0))
    top = 2.0 ** (bits - 1.0) if signed else 2.0**bits
    return (-top * step if signed else 0.0 * step), (top - 1.0) * step, step


def ternary(values: Any) -> Any:
    """Rounds to -a, 0 or a: a is the mean magnitude above a threshold of 0.7 times the mean magnitude of non-zeros."""
    threshold, scale = ternary_constants(values)
    return apply_ternary(values, threshold, scale)


def ternary_constants(values: Any) -> tuple[Any, Any]:
    """Returns the threshold and the scale of `ternary`."""
    tf = keras.tf
    magnitudes = tf.abs(values)
    filled = tf.cast(magnitudes > 0, values.dtype)
    threshold = THRESHOLD * tf.math.divide_no_nan(tf.reduce_sum(magnitudes), tf.reduce_sum(filled))
    above = tf.cast(magnitudes > threshold, values.dtype)
    return threshold, tf.math.divide_no_nan(tf.reduce_sum(magnitudes * above), tf.reduce_sum(above))


def apply_ternary(values: Any, threshold: Any, scale: Any) -> Any:
    """Rounds to -scale, 0 or scale."""
    tf = keras.tf
    return straight_through(values, tf.where(tf.abs(values) > threshold, tf.sign(values) * scale, 0.0))


def affine(values: Any, bits: Any, low: Any, high: Any) -> Any:
    """Rounds to 2^bits levels from `low` to `high`, moved so that zero is one of them; saturates.

    As TensorFlow's fake_quant_with_min_max_args, at any width (Jacob et al. 2018, "Quantization and training of neural
    networks for efficient integer-arithmetic-only inference", section 3).

    Args:
        values: Any shape, float32.
        bits: Scalar float32 tensor; 32 leaves the values as they are.
        low: Scalar, at most 0.
        high: Scalar, at least 0.
    """
    tf = keras.tf
    levels = 2.0**bits - 1.0
    scale = tf.maximum((high - low) / levels, 1e-12)
    zero = tf.clip_by_value(tf.round(-low / scale), 0.0, levels)
    low, high = -zero * scale, (levels - zero) * scale
    clipped = tf.clip_by_value(values, low, high)
    rounded = straight_through(clipped, tf.floor((clipped - low) / scale + 0.5) * scale + low)
    return tf.where(bits >= FLOAT_BITS, values, rounded)
