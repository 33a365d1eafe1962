"""mobilenet-v2: inverted residuals of depthwise convolutions, for small images; "mobilenet-v2:0.35" is narrower."""

from __future__ import annotations

import re
from typing import Any, ClassVar

from fedcompress import keras
from fedcompress.errors import InputError
from fedcompress.models.architecture import Architecture
from fedcompress.models.normalised import DEFAULT, NORMS, named_norm, normalised

BLOCKS = ((1, 16, 1, 1), (6, 24, 2, 1), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
"""Of each stage: expansion, channels, blocks, stride of the first (Sandler et al. 2018, "MobileNetV2", table 2).
Stem and second stage have stride 1 here, where those for images of 224 have 2."""


class MobileNetV2(Architecture):
    """Its features are 1,280; with a width above 1 more.

    Args:
        argument: Factor on all numbers of channels, which are rounded to multiples of 8; after a colon how it is
            normalised: "0.35", "0.35:batch".
    """

    argument_name: ClassVar[str] = f"WIDTH[:{'|'.join(NORMS)}]"

    def __init__(self, argument: str = "1") -> None:
        match = re.fullmatch(r"(?P<width>\d{1,2}(\.\d{1,9})?)(:(?P<norm>\w+))?", argument)
        norm = named_norm(match["norm"] or DEFAULT) if match else None
        if match is None or norm is None or not 0 < float(match["width"]) <= 4:
            raise InputError(
                f"model 'mobilenet-v2:{argument}': expected a width above 0 and up to 4, and perhaps how it is "
                f"normalised, {' or '.join(NORMS)}, as in 'mobilenet-v2:0.35' or 'mobilenet-v2:0.35:batch'."
            )
        self.width = float(match["width"])
        self.norm = norm

    @property
    def key(self) -> tuple[Any, ...]:
        return type(self), self.width, self.norm

    def features(self, inputs: Any) -> Any:
        x = self._activated(keras.layers.Conv2D(self._channels(32), 3, padding="same", use_bias=False)(inputs))
        for expansion, channels, blocks, stride in BLOCKS:
            for block in range(blocks):
                x = self._block(x, expansion, self._channels(channels), 1 if block else stride)
        last = self._channels(1280) if self.width > 1 else 1280
        x = self._activated(keras.layers.Conv2D(last, 1, use_bias=False)(x))
        return keras.layers.GlobalAveragePooling2D()(x)

    def _block(self, x: Any, expansion: int, channels: int, stride: int) -> Any:
        inner = x
        if expansion > 1:
            inner = self._activated(keras.layers.Conv2D(expansion * x.shape[-1], 1, use_bias=False)(x))
        inner = keras.layers.DepthwiseConv2D(3, strides=stride, padding="same", use_bias=False)(inner)
        inner = keras.layers.Conv2D(channels, 1, use_bias=False)(self._activated(inner))
        inner = normalised(inner, self.norm)
        return keras.layers.Add()([x, inner]) if stride == 1 and x.shape[-1] == channels else inner

    def _activated(self, x: Any) -> Any:
        return keras.layers.ReLU(6.0)(normalised(x, self.norm))

    def _channels(self, channels: int) -> int:
        """Returns the multiple of 8 that is nearest to a number of channels of this width, and not a tenth below."""
        wanted = channels * self.width
        rounded = max(8, int(wanted + 4) // 8 * 8)
        return rounded + 8 if rounded < 0.9 * wanted else rounded
