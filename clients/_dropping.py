"""What clients share that keep a value for each weight, of which the server has the mean over those who hold it.

Where a client's mask drops a weight, its value there becomes zero and the client says by how much that has changed it:
otherwise the value would stay in the server's mean for ever, though nobody trains by it any more.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedcompress.aggregation import Held
from fedcompress.client import Content
from fedcompress.compression import masks as masking
from fedcompress.compression.base import Compression
from fedcompress.models.architecture import ModelSpec
from fedcompress.wire.content import Arrays, ArraySpec

DROPPED = "dropped"
"""Content: what values of a client have changed by where its mask has just dropped weights, as one vector."""
MASK = "held"
"""What a client keeps: the masks of its last reply as bits, empty for all weights."""


def trainable(model: ModelSpec, weights: Arrays) -> Arrays:
    """Returns those of a model's arrays that are trained."""
    return [weights[i] for i in model.trainable]


def within(model: ModelSpec, arrays: Arrays, held: Held) -> Arrays:
    """Returns an array for each trainable one with zeros outside of what is held."""
    held = held or {}
    return [
        np.where(held[i], a, np.float32(0)) if i in held else a for i, a in zip(model.trainable, arrays, strict=True)
    ]


def content(model: ModelSpec) -> Content:
    """Declares `DROPPED`; exact, since what it is rounded by would add up."""
    most = sum(array.size for array in trainable(model, model.template))
    return Content((ArraySpec((None,), limit=most, kind="statistic"),), lossless=True)


def gone(model: ModelSpec, before: Held, now: Held) -> dict[int, NDArray[np.bool_]]:
    """Returns which weights were held and are no longer: number among the trainable arrays -> where, ascending."""
    found = {}
    for number, i in enumerate(model.trainable):
        if now is not None and i in now:
            left_out = ~now[i] if before is None or i not in before else before[i] & ~now[i]
            if left_out.any():
                found[number] = left_out
    return found


def dropped(
    model: ModelSpec, compression: Compression, state: dict[str, Arrays], values: Arrays, masks: Arrays
) -> Arrays:
    """Returns what a client's values were where its mask drops weights, as one vector, and keeps the mask in its state.

    Args:
        model: Of the client.
        compression: Of its group.
        state: Of the client.
        values: An array for each trainable one, before the reply.
        masks: Of its new reply; empty for all weights.
    """
    held = compression.held(model, masks) if masks else None
    before = held if MASK not in state else _held(model, compression, state[MASK][0])
    state[MASK] = [masking.pack(masks) if masks else np.zeros(0, np.uint8)]
    parts = [values[number][where] for number, where in gone(model, before, held).items()]
    return [np.concatenate(parts)] if parts else []


def _held(model: ModelSpec, compression: Compression, bits: NDArray[Any]) -> Held:
    if not bits.size:
        return None
    return compression.held(model, masking.unpack(bits, [model.template[i].shape for i in model.prunable]))
