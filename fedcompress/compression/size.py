"""What a model costs: parameters, zeros among them, bytes of files, multiply-adds. Measured, not estimated.

A mask makes files smaller and nothing else: the network keeps its shape, and no runtime here skips a zero. What is
structurally smaller has fewer parameters and multiply-adds. Both are reported, so that they can be told apart.
"""

from __future__ import annotations

import tempfile
import warnings
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fedcompress import keras
from fedcompress.models.cost import UncountedError, cost


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
            None, as the next one, where the model computes with something that cannot be counted.
        multiply_adds_nonzero: Those with a weight that is not zero: what hardware that skips zeros would do.
    """

    parameters: int
    nonzero: int
    float32_bytes: int
    file_bytes: int
    deflated_bytes: int
    multiply_adds: int | None
    multiply_adds_nonzero: int | None


def measure(model: Any) -> Size:
    """Returns what a Keras model costs."""
    weights = model.get_weights()
    parameters = sum(w.size for w in weights)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.h5"
        save_h5(model, path)
        data = path.read_bytes()
    try:
        counted = cost(model)
    except UncountedError:
        counted = None
    return Size(
        parameters=parameters,
        nonzero=sum(int(np.count_nonzero(w)) for w in weights),
        float32_bytes=4 * parameters,
        file_bytes=len(data),
        deflated_bytes=len(zlib.compress(data, 9)),
        multiply_adds=counted.multiply_adds if counted else None,
        multiply_adds_nonzero=counted.nonzero if counted else None,
    )


def save_h5(model: Any, path: Path) -> int:
    """Writes a model as `.h5`, without optimizer, and returns its size in bytes."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that the format is a legacy one is known: every tool reads it
        keras.models.save_model(model, path, save_format="h5", include_optimizer=False)
    return path.stat().st_size
