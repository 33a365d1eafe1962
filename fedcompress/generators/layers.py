"""Layers of a discriminator, computed plainly or so that the gradient of each example can be had.

The gradient of one example's loss with respect to a kernel is the product of what the layer took in and of the gradient
of what it gave (Goodfellow 2015, "Efficient per-example gradient computations"; Rochette et al. 2019 for convolutions),
so that one backward pass over a batch serves all of its examples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from fedcompress import keras


class Layers:
    """Layers as they are computed where nobody asks for the gradients of single examples."""

    def convolution(self, x: Any, kernel: Any, bias: Any, stride: int) -> Any:
        """Returns a convolution (batch, height / stride, width / stride, outputs), padded with zeros ("SAME")."""
        return keras.tf.nn.conv2d(x, kernel, stride, "SAME") + bias

    def dense(self, x: Any, kernel: Any, bias: Any) -> Any:
        """Returns a fully connected layer (batch, outputs) of (batch, inputs)."""
        return keras.tf.matmul(x, kernel) + bias


PLAIN = Layers()


@dataclass(frozen=True, eq=False)
class _Layer:
    """One layer of a batch.

    Attributes:
        inputs: What its kernel was multiplied with: (batch, inputs), or (batch, height, width, channels).
        outputs: Before the activation.
        kernel: Its weights.
        bias: Likewise.
        stride: Of a convolution; 0 for a dense layer.
    """

    inputs: Any
    outputs: Any
    kernel: Any
    bias: Any
    stride: int

    def gradients(self, of_outputs: Any) -> tuple[Any, Any]:
        """Returns the gradients of every example, (batch, *shape) of kernel and bias, the kernel's of a convolution
        as (batch, height width channels, outputs).

        Args:
            of_outputs: Gradient of the sum of the examples' losses with respect to the outputs.
        """
        tf = keras.tf
        if not self.stride:
            return self.inputs[:, :, None] * of_outputs[:, None, :], of_outputs
        outputs = self.kernel.shape[3]
        flat = tf.reshape(of_outputs, [-1, self.outputs.shape[1] * self.outputs.shape[2], outputs])
        return tf.matmul(self._patches(), flat, transpose_a=True), tf.reduce_sum(flat, axis=1)

    def _patches(self) -> Any:
        """Returns what the kernel sees at every position: (batch, positions, height width channels)."""
        tf = keras.tf
        height, width, channels, _ = self.kernel.shape
        patches = tf.image.extract_patches(
            self.inputs, [1, height, width, 1], [1, self.stride, self.stride, 1], [1, 1, 1, 1], "SAME"
        )
        return tf.reshape(patches, [-1, self.outputs.shape[1] * self.outputs.shape[2], height * width * channels])


@dataclass(eq=False)
class RecordedLayers(Layers):
    """Layers that keep what the gradients of single examples are made of; for one pass, inside a gradient tape.

    Attributes:
        layers: In the order in which they were computed.
    """

    layers: list[_Layer] = field(default_factory=list)

    def convolution(self, x: Any, kernel: Any, bias: Any, stride: int) -> Any:
        return self._kept(x, super().convolution(x, kernel, bias, stride), kernel, bias, stride)

    def dense(self, x: Any, kernel: Any, bias: Any) -> Any:
        return self._kept(x, super().dense(x, kernel, bias), kernel, bias, 0)

    def _kept(self, x: Any, y: Any, kernel: Any, bias: Any, stride: int) -> Any:
        self.layers.append(_Layer(x, y, kernel, bias, stride))
        return y

    @property
    def weights(self) -> list[Any]:
        """What the layers were computed with: a kernel and a bias for each."""
        return [weight for layer in self.layers for weight in (layer.kernel, layer.bias)]

    def gradients(self, tape: Any, losses: Any) -> list[Any]:
        """Returns the gradients of every example's loss, (batch, *shape) of each of `weights`, which may be flattened.

        Args:
            tape: That watched the pass.
            losses: (batch,), each of which depends on its own example alone.
        """
        of_outputs = tape.gradient(losses, [layer.outputs for layer in self.layers])
        pairs = [layer.gradients(of_output) for layer, of_output in zip(self.layers, of_outputs, strict=True)]
        return [gradient for pair in pairs for gradient in pair]


def clipped_sum(gradients: Sequence[Any], clip: Any, factors: Any) -> tuple[list[Any], Any]:
    """Returns the sum of examples' gradients, each scaled down to a norm of at most `clip`, and their norms before.

    Args:
        gradients: (batch, ...) for each array; the norm is the Euclidean one over all of them (Abadi et al. 2016).
        clip: Above 0.
        factors: (batch,), with which each clipped gradient enters the sum.
    """
    tf = keras.tf
    flat = [tf.reshape(gradient, [tf.shape(factors)[0], -1]) for gradient in gradients]
    norms = tf.sqrt(tf.add_n([tf.reduce_sum(tf.square(array), axis=1) for array in flat]))
    # An overflowed norm would make 0 x infinity: such an example does not take part.
    scale = tf.where(tf.math.is_finite(norms), tf.minimum(1.0, clip / tf.maximum(norms, 1e-12)), 0.0)
    kept = [tf.where(tf.math.is_finite(norms)[:, None], array, 0.0) for array in flat]
    row = (factors * scale)[None, :]
    return [tf.matmul(row, array)[0] for array in kept], norms
