"""Generator and discriminator as graphs with gradients, networks of any shape side by side, padded to the widest."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fedcompress import keras
from fedcompress.masks.proposer import NOISE

TEMPERATURE = 0.5
BISECTIONS = 30
_FAR = 1e4
"""Larger than any logit."""

Weights = Mapping[str, Any]


def generate(w: Weights, x: Any, member: Any, sparsity: Any, kept: Any, z: Any, chance: Any) -> tuple[Any, Any]:
    """Returns draws, and the logits of keep probabilities, (batch, channels) each.

    Args:
        w: The generator's weights.
        x: Features, (batch, channels, features).
        member: (batch, layers, channels).
        sparsity: Asked for, (batch,).
        kept: Channels to keep, (batch,).
        z: Noise, (batch, layers, NOISE).
        chance: Logistic noise, (batch, channels).
    """
    tf = keras.tf
    there = tf.reduce_sum(member, axis=1)
    seen = tf.concat([x, tf.broadcast_to(sparsity[:, None, None], [*tf.unstack(tf.shape(x)[:2]), 1])], axis=2)
    own = tf.nn.relu(seen @ w["channel"] + w["channel bias"])
    layers, real = means(own, member)
    network = tf.reduce_sum(layers * real, axis=1, keepdims=True) / tf.reduce_sum(real, axis=1, keepdims=True)
    beside = layers @ w["layer"] + network @ w["network"] + z @ w["noise"] + w["second bias"]
    own = tf.nn.relu(own @ w["own"] + of_channels(beside, member))
    logits = (own @ w["logit"] + of_channels(means(own, member)[0] @ w["logit of the layer"], member))[..., 0]
    logits = budgeted(tf.where(there > 0, logits, -_FAR), kept)
    drawn = tf.where(there > 0, logits + chance, -_FAR)
    hard = hard_masks(drawn, member, kept)
    soft = tf.sigmoid(drawn / TEMPERATURE)
    return soft + tf.stop_gradient(hard - soft), logits


def discriminate(w: Weights, x: Any, member: Any, sparsity: Any, mask: Any) -> tuple[Any, Any]:
    """Returns logits, (batch,) each: of being good, and of the part of the dense accuracy."""
    tf = keras.tf
    seen = tf.concat([x, tf.broadcast_to(sparsity[:, None, None], [*tf.unstack(tf.shape(x)[:2]), 1])], axis=2)
    own = tf.nn.relu(seen @ w["channel"] + w["channel bias"])
    kept = own * mask[..., None]
    count = tf.linalg.matvec(member, mask)[..., None]
    everyone, real = means(own, member)
    survivors = (member @ kept) / (count + 0.1)
    size = tf.reduce_sum(member, axis=2, keepdims=True)
    numbers = tf.concat([tf.math.log1p(count), count / (size + 1e-3), tf.exp(-count)], axis=2)
    of_layer = tf.concat([everyone, survivors, everyone - survivors, numbers], axis=2)
    layers = tf.nn.relu(of_layer @ w["layer"] + w["layer bias"])
    mean = tf.reduce_sum(layers * real, axis=1) / tf.reduce_sum(real, axis=1)
    most = tf.reduce_max(layers * real, axis=1)
    whole = tf.nn.relu(tf.concat([mean, most], axis=1) @ w["network"] + w["network bias"])
    return (whole @ w["good"])[:, 0], (whole @ w["part"])[:, 0]


def noise(seed: Any, shape: Any) -> tuple[Any, Any]:
    """Returns noise of layers, half of it the same for all of them, and logistic noise of channels."""
    tf = keras.tf
    batch, layers, count = shape[0], shape[1], shape[2]
    shared = tf.random.stateless_normal([batch, 1, NOISE // 2], seed)
    own = tf.random.stateless_normal([batch, layers, NOISE // 2], seed + 1)
    uniform = tf.random.stateless_uniform([batch, count], seed + 2, 1e-6, 1 - 1e-6)
    z = tf.concat([tf.broadcast_to(shared, [batch, layers, NOISE // 2]), own], axis=2)
    return z, tf.math.log(uniform) - tf.math.log1p(-uniform)


def means(values: Any, member: Any) -> tuple[Any, Any]:
    """Returns means over each layer's channels, (batch, layers, n), and which layers there are, (batch, layers, 1)."""
    tf = keras.tf
    size = tf.reduce_sum(member, axis=2, keepdims=True)
    return (member @ values) / tf.maximum(size, 1.0), tf.cast(size > 0, tf.float32)


def of_channels(layers: Any, member: Any) -> Any:
    """Returns for each channel what its layer has, (batch, channels, n)."""
    return keras.tf.matmul(member, layers, transpose_a=True)


def budgeted(logits: Any, kept: Any) -> Any:
    """Returns logits shifted so that their probabilities sum up to what is kept, (batch,).

    The shift is found without gradients; one step of Newton's method from there gives it the implicit function's.
    """
    tf = keras.tf
    there = logits > -_FAR / 2
    low = -40.0 - tf.reduce_max(logits, axis=1)
    high = 40.0 - tf.reduce_min(tf.where(there, logits, _FAR), axis=1)
    fixed = tf.stop_gradient(logits)
    low, high = tf.stop_gradient(low), tf.stop_gradient(high)
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        few = tf.reduce_sum(tf.sigmoid(fixed + middle[:, None]), axis=1) < kept
        low, high = tf.where(few, middle, low), tf.where(few, high, middle)
    shift = (low + high) / 2
    probabilities = tf.sigmoid(logits + shift[:, None])
    slope = tf.stop_gradient(tf.reduce_sum(probabilities * (1 - probabilities), axis=1) + 1e-3)
    shift -= (tf.reduce_sum(probabilities, axis=1) - tf.stop_gradient(tf.reduce_sum(probabilities, axis=1))) / slope
    return logits + tf.where(there, shift[:, None], 0.0)


def hard_masks(drawn: Any, member: Any, kept: Any) -> Any:
    """Returns masks of the largest values, as many as are kept, with the best channel of each layer among them."""
    tf = keras.tf
    best = tf.reduce_max(tf.where(member > 0, drawn[:, None, :], -2 * _FAR), axis=2, keepdims=True)
    first = tf.reduce_any((drawn[:, None, :] >= best) & (member > 0), axis=1)
    ranked = drawn + tf.where(first, 2 * _FAR, 0.0)
    descending = tf.sort(ranked, axis=1, direction="DESCENDING")
    least = tf.gather(descending, tf.cast(kept, tf.int32)[:, None] - 1, batch_dims=1)
    return tf.cast(ranked >= least, tf.float32)
