"""The accuracy head of a proposer: what part of a network's accuracy masks come to when they are retrained.

The discriminator of the GAN (`fedcompress.recipes.masks.graphs.discriminate`) as plain arrays.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedcompress.masks.features import FEATURES

HIDDEN = 48
"""Width of the set encoders."""


def head_shapes() -> dict[str, tuple[int, ...]]:
    """Returns the weights of the discriminator: what each is called, and its shape."""
    return {
        "channel": (len(FEATURES) + 1, HIDDEN),
        "channel bias": (HIDDEN,),
        "layer": (3 * HIDDEN + 3, HIDDEN),
        "layer bias": (HIDDEN,),
        "network": (2 * HIDDEN, HIDDEN),
        "network bias": (HIDDEN,),
        "good": (HIDDEN, 1),
        "part": (HIDDEN, 1),
    }


def foretold(
    w: Mapping[str, NDArray[Any]], seen: NDArray[Any], widths: tuple[int, ...], masks: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Returns the part of the dense accuracy that masks come to, (masks,).

    Args:
        w: Weights, see `head_shapes`.
        seen: Normalised features with the sparsity, (channels, features + 1).
        widths: Channels of each layer.
        masks: (masks, channels).
    """
    own = np.maximum(seen @ w["channel"] + w["channel bias"], 0)
    cuts = np.cumsum(widths)[:-1]
    layers = []
    for of_layer, kept in zip(np.split(own, cuts), np.split(masks, cuts, axis=1), strict=True):
        count = kept.sum(axis=1, keepdims=True)
        means = np.broadcast_to(of_layer.mean(axis=0), (len(masks), HIDDEN))
        survivors = (kept @ of_layer) / (count + 0.1)
        numbers = [np.log1p(count), count / (len(of_layer) + 1e-3), np.exp(-count)]
        found = np.concatenate([means, survivors, means - survivors, *numbers], axis=1)
        layers.append(np.maximum(found @ w["layer"] + w["layer bias"], 0))
    whole = np.concatenate([np.mean(layers, axis=0), np.max(layers, axis=0)], axis=1)
    logits = np.maximum(whole @ w["network"] + w["network bias"], 0) @ w["part"]
    return np.asarray(1.0 / (1.0 + np.exp(-logits[:, 0])), np.float64)
