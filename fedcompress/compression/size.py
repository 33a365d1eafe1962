"""What a model costs: parameters, zeros among them, bytes of files, multiply-adds. Measured, not estimated.

A mask makes files smaller and nothing else: the network keeps its shape, and no runtime here skips a zero. What is
structurally smaller has fewer parameters and multiply-adds. Both are reported, so that they can be told apart.
"""

from __future__ import annotations

import tempfile
import warnings
import zlib
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from fedcompress import keras
from fedcompress.models.cost import multiply_adds


@dataclass(frozen=True)
class Size:
    """What a model costs.

    Attributes:
        parameters: Weights of the network's shape, trainable or not; masks do not change it.
        nonzero: Those that are not zero.
        float32_bytes: All of them at 4 bytes each.
        file_bytes: The saved `.h5` file, without optimizer.
        deflated_bytes: That file after deflate, level 9.
        multiply_adds: Of one forward pass of one example, by the network's shape; activations and pooling left out.
        multiply_adds_nonzero: Those with a weight that is not zero: what hardware that skips zeros would do.
    """

    parameters: int
    nonzero: int
    float32_bytes: int
    file_bytes: int
    deflated_bytes: int
    multiply_adds: int
    multiply_adds_nonzero: int


def measure(model: Any) -> Size:
    """Returns what a Keras model costs."""
    weights = model.get_weights()
    parameters = sum(w.size for w in weights)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.h5"
        save_h5(model, path)
        data = path.read_bytes()
    return Size(
        parameters=parameters,
        nonzero=sum(int(np.count_nonzero(w)) for w in weights),
        float32_bytes=4 * parameters,
        file_bytes=len(data),
        deflated_bytes=len(zlib.compress(data, 9)),
        multiply_adds=multiply_adds(model),
        multiply_adds_nonzero=sum(_multiply_adds_nonzero(layer) for layer in model.layers),
    )


def _multiply_adds_nonzero(layer: Any) -> int:
    """Returns the multiply-adds of a layer's weights that are not zero."""
    kernel = getattr(layer, "kernel", getattr(layer, "depthwise_kernel", None))
    if kernel is None:
        return 0
    # Each weight of a convolution is used at every position of the map it makes; a transposed one's, of its input.
    transposed = type(layer).__name__.endswith("Transpose")
    shape = layer.input_shape if transposed else layer.output_shape
    return int(prod(shape[1:-1])) * int(np.count_nonzero(kernel.numpy()))


def save_h5(model: Any, path: Path) -> int:
    """Writes a model as `.h5`, without optimizer, and returns its size in bytes."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that the format is a legacy one is known: every tool reads it
        keras.models.save_model(model, path, save_format="h5", include_optimizer=False)
    return path.stat().st_size
