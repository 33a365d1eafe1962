"""A proposer: given a trained network's channels and a sparsity, it draws masks that ought to retrain well.

The generator of a GAN (`fedcompress.recipes.masks.adversarial` trains it) as plain arrays, so that a draw costs
milliseconds. A set encoder: each channel goes through the same small network, which sees the channel, the mean over its
layer, and noise; so it fits any number of layers and channels. A budget layer shifts the logits until the expected
number of channels kept is what was asked. A draw keeps those with the largest sums of logit and logistic noise, as many
as asked, which are Bernoulli draws given their sum; each layer keeps its `floor` best ones in any case. Of several such
masks the accuracy head of the discriminator chooses one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedcompress.data.formats import read_arrays
from fedcompress.errors import InputError
from fedcompress.masks.drawing import kept_of, largest
from fedcompress.masks.features import FEATURES, Described
from fedcompress.masks.head import HIDDEN, foretold, head_shapes

VERSION = 2
NOISE = 8
"""Numbers of noise for each layer, the first half of which all layers share."""
TRIES = 32
"""Masks of which a draw is the one that the accuracy head foretells most of."""
TEMPERATURE = 0.5
"""Of the logistic noise of a draw, which is 1 in training: likelier masks are better ones."""
BISECTIONS = 50
_LIMIT = 40.0
"""Of the shift that the budget layer looks for, beyond the largest logit."""

Array = NDArray[Any]


def shapes(hidden: int = HIDDEN) -> dict[str, tuple[int, ...]]:
    """Returns the generator's weights: what each is called, and its shape."""
    seen = len(FEATURES) + 1
    return {
        "channel": (seen, hidden),
        "channel bias": (hidden,),
        "own": (hidden, hidden),
        "layer": (hidden, hidden),
        "network": (hidden, hidden),
        "noise": (NOISE, hidden),
        "second bias": (hidden,),
        "logit": (hidden, 1),
        "logit of the layer": (hidden, 1),
    }


@dataclass(frozen=True, eq=False)
class Proposer:
    """A trained generator.

    Attributes:
        weights: Of the generator, by name, float32: see `shapes`.
        head: Of the accuracy head, by name, float32: see `fedcompress.masks.head`.
        mean: Of each feature over the archive, which is subtracted, (features,).
        deviation: Of each feature, which it is divided by.
        about: What it was trained on and how, as plain values.
    """

    weights: Mapping[str, Array]
    head: Mapping[str, Array]
    mean: Array
    deviation: Array
    about: Mapping[str, Any]

    def probabilities(self, described: Described, sparsity: float, noise: Array) -> NDArray[np.float64]:
        """Returns how likely each channel is to be kept, (..., channels); they sum up to the number that was asked for.

        Args:
            described: The network.
            sparsity: Fraction of the channels that go.
            noise: Of `noise_of`, (..., layers, NOISE); zeros for the typical draw.
        """
        return _sigmoid(self.budgeted(described, sparsity, noise))

    def draw(
        self, described: Described, sparsity: float, rng: np.random.Generator, floor: int = 1, tries: int = TRIES
    ) -> NDArray[np.bool_]:
        """Returns a mask (channels,) that keeps as many channels as were asked for.

        Args:
            described: The network.
            sparsity: Fraction of the channels that go.
            rng: Draws.
            floor: Channels that each layer keeps in any case.
            tries: Masks of the generator of which it is the one that the head foretells most of.

        Raises:
            InputError: The floor leaves no room for the sparsity.
        """
        kept = kept_of(described.widths, sparsity, floor)
        noise = np.array([noise_of(described, rng) for _ in range(tries)])
        values = self.budgeted(described, sparsity, noise) + chance_of(described, rng, tries)
        masks = np.array([largest(of_draw, described, kept, floor) for of_draw in values])
        best: NDArray[np.bool_] = masks[np.argmax(self.foretold(described, sparsity, masks))]
        return best

    def foretold(self, described: Described, sparsity: float, masks: NDArray[np.bool_]) -> NDArray[np.float64]:
        """Returns the part of the dense accuracy that masks (masks, channels) come to, as far as the head knows."""
        return foretold(self.head, self._seen(described, sparsity), described.widths, masks)

    def budgeted(self, described: Described, sparsity: float, noise: Array) -> NDArray[np.float64]:
        """Returns the logits of `probabilities`."""
        values = self._logits(described, sparsity, noise)
        return values + shift(values, kept_of(described.widths, sparsity, 0))

    def _seen(self, described: Described, sparsity: float) -> Array:
        features = (described.features - self.mean) / self.deviation
        return np.concatenate([features, np.full((len(features), 1), sparsity)], axis=1)

    def _logits(self, described: Described, sparsity: float, noise: Array) -> NDArray[np.float64]:
        w, layer_of = self.weights, described.layer_of
        own = np.maximum(self._seen(described, sparsity) @ w["channel"] + w["channel bias"], 0)
        layers = _means(own, described)
        beside = layers @ w["layer"] + layers.mean(axis=0) @ w["network"] + noise @ w["noise"] + w["second bias"]
        own = np.maximum(own @ w["own"] + beside[..., layer_of, :], 0)
        logits = own @ w["logit"] + (_means(own, described) @ w["logit of the layer"])[..., layer_of, :]
        return np.asarray(logits[..., 0], np.float64)

    def written(self) -> bytes:
        """Returns it as a file: a compressed NumPy archive."""
        about = json.dumps({"version": VERSION, "features": FEATURES, **self.about}, sort_keys=True)
        file = BytesIO()
        parts = {"weight": self.weights, "head": self.head}
        named: dict[str, Any] = {
            f"{p} {name}": a.astype(np.float32) for p, part in parts.items() for name, a in part.items()
        }
        np.savez_compressed(file, about=np.array(about), mean=self.mean, deviation=self.deviation, **named)
        return file.getvalue()


def read_proposer(path: Path) -> Proposer:
    """Returns the proposer of a file.

    Raises:
        InputError: It cannot be read, is something else, or of another version.
    """
    if not path.exists():
        raise InputError(f"proposer {path}: there is no such file; make one with: fedcompress masks train.")
    wanted = "a file of: fedcompress masks train"
    arrays = read_arrays(path, None, wanted)
    try:
        about = json.loads(str(arrays.pop("about")))
        version, features = about.pop("version"), about.pop("features")
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise InputError(f"proposer {path}: cannot be read ({str(error)[:100]}); expected {wanted}.") from None
    if version != VERSION or tuple(features) != FEATURES:
        raise InputError(
            f"proposer {path}: is of version {version}, expected version {VERSION}; train it anew with: "
            "fedcompress masks train."
        )
    expected = {f"weight {name}": shape for name, shape in shapes().items()}
    expected |= {f"head {name}": shape for name, shape in head_shapes().items()}
    expected |= {"mean": (len(FEATURES),), "deviation": (len(FEATURES),)}
    for name, shape in expected.items():
        received = arrays.get(name, np.zeros(0))
        if received.shape != shape or not np.isfinite(received).all():
            raise InputError(f"proposer {path}: its {name!r} are damaged; train it anew.")
    weights, head = (
        {name: arrays[f"{part} {name}"] for name in names}
        for part, names in (("weight", shapes()), ("head", head_shapes()))
    )
    return Proposer(weights, head, arrays["mean"], arrays["deviation"], about)


def noise_of(described: Described, rng: np.random.Generator) -> NDArray[np.float64]:
    """Returns the noise of a draw, (layers, NOISE)."""
    noise = rng.standard_normal((len(described.widths), NOISE))
    noise[:, : NOISE // 2] = noise[0, : NOISE // 2]
    return noise


def chance_of(described: Described, rng: np.random.Generator, draws: int) -> NDArray[np.float64]:
    """Returns what is added to the logits of draws, (draws, channels)."""
    return TEMPERATURE * rng.logistic(size=(draws, sum(described.widths)))


def shift(logits: NDArray[np.float64], kept: int) -> NDArray[np.float64]:
    """Returns by how much logits (..., channels) have to be shifted so that their probabilities sum up to `kept`."""
    low = -_LIMIT - logits.max(axis=-1, keepdims=True)
    high = _LIMIT - logits.min(axis=-1, keepdims=True)
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        few = _sigmoid(logits + middle).sum(axis=-1, keepdims=True) < kept
        low, high = np.where(few, middle, low), np.where(few, high, middle)
    return np.asarray((low + high) / 2)


def _means(values: Array, described: Described) -> Array:
    """Returns the mean over each layer's channels, (..., layers, n), of values (..., channels, n)."""
    starts = np.concatenate([[0], np.cumsum(described.widths)[:-1]])
    return np.asarray(np.add.reduceat(values, starts, axis=-2) / np.array(described.widths)[:, None])


def _sigmoid(values: Array) -> NDArray[np.float64]:
    return np.asarray(1.0 / (1.0 + np.exp(-np.clip(values, -60.0, 60.0))))
