"""What is known of each channel of a trained network, without units: the same numbers for any chain of layers.

Sizes are logarithms of a channel's share of its layer's mean, so a factor on a layer's weights changes nothing, and
ranks run from 0, the smallest, to 1. What a channel does is measured on one batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedcompress import keras
from fedcompress.data.splits import spread
from fedcompress.errors import InputError
from fedcompress.models.architecture import ModelSpec
from fedcompress.models.channels import Kept
from fedcompress.models.ties import Tied
from fedcompress.wire.content import Arrays

FEATURES = (
    "l1 of the filter",
    "l2 of the filter",
    "l1 of the fan-out",
    "l2 of the fan-out",
    "rank of the filter",
    "rank of the fan-out",
    "scale of batch normalisation",
    "mean of the activation",
    "deviation of the activation",
    "taylor score",
    "rank of the taylor score",
    "taylor score of the layer",
    "depth",
    "width of the layer",
    "width before",
    "width after",
)
"""The columns. A Taylor score is the sum of |w dL/dw| over the weights that make a channel (Molchanov et al. 2019,
"Importance estimation for neural network pruning"); a layer's is its channels' mean, as a share of the mean over
layers. Depth runs from 0 to 1; widths are tenths of binary logarithms."""
POSITION = FEATURES.index("depth")
"""From here on: where a channel is. What is before says what it is like."""
BATCH = 256
"""Examples that a network is looked at with."""
_SMALLEST, _LARGEST = 1e-3, 1e3
"""Of a share, so that a channel of zeros has a logarithm."""


@dataclass(frozen=True, eq=False)
class Described:
    """The channels of a network, layer after layer, without the head's.

    Attributes:
        widths: Channels of each layer.
        features: (channels, features), float32.
    """

    widths: tuple[int, ...]
    features: NDArray[np.float32]

    @property
    def layer_of(self) -> NDArray[np.int32]:
        """Returns the number of each channel's layer, (channels,)."""
        return np.repeat(np.arange(len(self.widths), dtype=np.int32), self.widths)

    def kept(self, mask: NDArray[np.bool_]) -> Kept:
        """Returns a mask over all channels layer by layer."""
        return np.split(mask, np.cumsum(self.widths)[:-1])


def describe(spec: ModelSpec, weights: Arrays, x: NDArray[Any], y: NDArray[Any]) -> Described:
    """Returns what is known of a network's channels.

    Args:
        spec: The network.
        weights: As it is trained.
        x: Examples, of which `BATCH` are used, spread over all of them: files are often in the order of their classes.
        y: Their labels.

    Raises:
        InputError: Channels cannot be followed through the network; names the layer.
    """
    layers = chain(spec)
    looked_at = spread(len(x), BATCH)
    means, deviations, gradients = _activity(spec, weights, x[looked_at], y[looked_at])
    widths = [layer.channels for layer in layers[:-1]]
    logs = np.log2(widths) / 10
    around = np.concatenate([[np.log2(spec.input_shape[-1]) / 10], logs, [np.log2(spec.classes) / 10]])
    taylor = [
        np.abs(weights[layer.kernels[0].position] * gradient).reshape(-1, layer.channels).sum(axis=0)
        for layer, gradient in zip(layers, gradients, strict=False)
    ]
    of_layers = _share(np.array([scores.mean() for scores in taylor]))
    columns = []
    for at, (layer, reader) in enumerate(pairwise(layers)):
        made = np.abs(weights[layer.kernels[0].position].astype(np.float64)).reshape(-1, layer.channels)
        (kernel,) = reader.kernels
        read = weights[kernel.position].reshape(-1, kernel.repeats, layer.channels, reader.channels)
        read = np.abs(np.moveaxis(read.astype(np.float64), 2, 3).reshape(-1, layer.channels))
        l2, fan_out = np.sqrt(np.square(made).sum(axis=0)), np.sqrt(np.square(read).sum(axis=0))
        activity = np.sqrt(np.mean(np.square(means[at]) + np.square(deviations[at]))) or 1.0
        flat = np.ones(layer.channels)
        columns.append(
            [
                _share(made.sum(axis=0)), _share(l2), _share(read.sum(axis=0)), _share(fan_out),
                rank(l2), rank(fan_out), _share(_scale(spec, weights, at)),
                means[at] / activity, deviations[at] / activity,
                _share(taylor[at]), rank(taylor[at]), of_layers[at] * flat,
                at / max(len(widths) - 1, 1) * flat, around[at + 1] * flat, around[at] * flat, around[at + 2] * flat,
            ]
        )  # fmt: skip
    features = np.concatenate([np.stack(of_layer, axis=1) for of_layer in columns])
    return Described(tuple(widths), np.clip(features, -8.0, 8.0).astype(np.float32))


def chain(spec: ModelSpec) -> tuple[Tied, ...]:
    """Returns the channels of each layer of a network without branches.

    Raises:
        InputError: Some belong to several layers, or go together; names the layer.
    """
    for number, tied in enumerate(spec.channels):
        if len(tied.kernels) > 1 or tied.unit > 1 or tied.kernels[0].reads != (number - 1 if number else None):
            raise InputError(
                f"model {spec.name!r}: channels of layer {tied.name!r} are tied to those of others, or normalised in "
                "groups; masks are proposed for chains of layers. Use a score, such as l1, for other networks."
            )
    return spec.channels


def _share(values: NDArray[Any]) -> NDArray[np.float64]:
    """Returns the logarithm of each value's share of their mean."""
    mean = float(values.mean())
    if not mean > 0:
        return np.zeros(values.size)
    return np.asarray(np.log(np.clip(values / mean, _SMALLEST, _LARGEST)))


def rank(values: NDArray[Any]) -> NDArray[np.float64]:
    """Returns ranks from 0, the smallest, to 1; of equal ones the first is smaller."""
    return np.argsort(np.argsort(values, kind="stable"), kind="stable") / max(values.size - 1, 1)


def _scale(spec: ModelSpec, weights: Arrays, at: int) -> NDArray[np.float64]:
    """Returns |gamma| of the batch normalisation after a layer; ones where there is none."""
    layer = spec.channels[at]
    scales = [weights[i] for i in layer.scales if spec.kinds[i] == "learned"]
    return np.abs(scales[-1].astype(np.float64)) if scales else np.ones(layer.channels)


def _activity(spec: ModelSpec, weights: Arrays, x: NDArray[Any], y: NDArray[Any]) -> tuple[Arrays, Arrays, Arrays]:
    """Returns, for each layer but the head, mean and deviation of what is read of its channels, and dL/dkernel."""
    key = ("channel activity", spec.key, x.dtype.str)
    measure: _Activity = keras.compiled(key, lambda: _Activity(spec, x.dtype))
    return measure(weights, x, y)


class _Activity:
    """One compiled pass forward and back."""

    def __init__(self, spec: ModelSpec, dtype: np.dtype[Any]) -> None:
        tf = keras.tf
        layers = spec.channels
        with keras.LOCK:
            self._model = spec.build()
            read = [self._model.get_layer(layer.name).input for layer in layers[1:]]
            whole = keras.Model(self._model.input, [*read, self._model.output])
            kernels = [self._model.weights[layer.kernels[0].position] for layer in layers[:-1]]
            widths = [layer.channels for layer in layers[:-1]]

            def measure(x: Any, y: Any) -> Any:
                scaled = tf.cast(x, tf.float32) * (1.0 / 255.0 if x.dtype == tf.uint8 else 1.0)
                with tf.GradientTape(watch_accessed_variables=False) as tape:
                    tape.watch(kernels)
                    *activations, logits = whole(scaled, training=False)
                    loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(y, logits))
                # A flattened map is channels-last, so the channels of one place lie together.
                flat = [tf.reshape(a, [-1, width]) for a, width in zip(activations, widths, strict=True)]
                moments = [tf.nn.moments(a, axes=[0]) for a in flat]
                return [m for m, _ in moments], [tf.sqrt(v) for _, v in moments], tape.gradient(loss, kernels)

            signature = [tf.TensorSpec([None, *spec.input_shape], dtype), tf.TensorSpec([None], tf.int32)]
            self._graph = tf.function(measure, input_signature=signature, autograph=False).get_concrete_function()

    def __call__(
        self, weights: Sequence[NDArray[Any]], x: NDArray[Any], y: NDArray[Any]
    ) -> tuple[Arrays, Arrays, Arrays]:
        self._model.set_weights(weights)
        found = self._graph(keras.tf.constant(x), keras.tf.constant(np.asarray(y, np.int32)))
        means, deviations, gradients = ([np.asarray(array) for array in part] for part in found)
        return means, deviations, gradients
