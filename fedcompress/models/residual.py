"""Building block of residual networks for small images (He et al. 2016, "Deep residual learning", section 4.2)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from fedcompress import keras
from fedcompress.errors import InputError
from fedcompress.models.architecture import Architecture
from fedcompress.models.normalised import DEFAULT, NORMS, named_norm, normalised


class ResNet(Architecture):
    """Stages of basic blocks behind a 3x3 stem of stride 1; each stage but the first halves the image.

    A block is two 3x3 convolutions without bias, each normalised. Where its shape differs from that of its input, the
    shortcut is a 1x1 convolution, normalised likewise (the paper's option B). At the end the map is averaged.

    Args:
        argument: How it is normalised, "group" (in groups of 4 channels) or "batch".
    """

    argument_name: ClassVar[str] = "|".join(NORMS)
    blocks: ClassVar[int]
    """In a stage."""
    filters: ClassVar[Sequence[int]]
    """Of each stage."""

    def __init__(self, argument: str = DEFAULT) -> None:
        norm = named_norm(argument)
        if norm is None:
            name = type(self).__module__.rpartition(".")[2].replace("_", "-")
            raise InputError(
                f"model '{name}:{argument}': expected how it is normalised, {' or '.join(NORMS)}, as in "
                f"'{name}:{NORMS[0]}'."
            )
        self.norm = norm

    @property
    def key(self) -> tuple[Any, ...]:
        return type(self), self.norm

    def features(self, inputs: Any) -> Any:
        x = self._convolved(inputs, self.filters[0], 3, 1)
        x = keras.layers.ReLU()(x)
        for stage, filters in enumerate(self.filters):
            for block in range(self.blocks):
                x = self._block(x, filters, 2 if stage and not block else 1)
        return keras.layers.GlobalAveragePooling2D()(x)

    def _block(self, x: Any, filters: int, stride: int) -> Any:
        inner = keras.layers.ReLU()(self._convolved(x, filters, 3, stride))
        inner = self._convolved(inner, filters, 3, 1)
        if stride > 1 or x.shape[-1] != filters:
            x = self._convolved(x, filters, 1, stride)
        return keras.layers.ReLU()(keras.layers.Add()([x, inner]))

    def _convolved(self, x: Any, filters: int, size: int, stride: int) -> Any:
        convolution = keras.layers.Conv2D(
            filters, size, strides=stride, padding="same", use_bias=False, kernel_initializer="he_normal"
        )
        return normalised(convolution(x), self.norm)
