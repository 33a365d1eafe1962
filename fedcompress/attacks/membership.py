"""Membership inference: was an example among those that a generator was trained on?

Whoever holds the discriminator asks it: it has learned to take its training examples for real (Hayes et al. 2019,
"LOGAN: Membership inference attacks against generative models", white box). Whoever holds the generator alone draws
from it, and takes an example for a member the nearer a sample of its class is (Chen et al. 2020, "GAN-Leaks: A taxonomy
of membership inference attacks against generative models", full black box). The distance is Euclidean, in pixels, and
in the features of a classifier that is trained on the samples, as an attacker could.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedcompress import keras
from fedcompress.attacks.auc import Auc, auc
from fedcompress.data.federated import Examples
from fedcompress.errors import InputError
from fedcompress.generators.judge import classifier
from fedcompress.generators.quality import features, fitted
from fedcompress.generators.sampling import balanced_labels, sample
from fedcompress.generators.spec import GanSpec
from fedcompress.seeding import SERVER, generator
from fedcompress.training.loop import scaled
from fedcompress.wire.content import Arrays

FEWEST = 20
"""Members, and as many held-out examples, from which an attack can be judged."""
BLOCK = 500
"""Examples that are compared with samples, or scored, at once; bounds memory."""


@dataclass(frozen=True)
class Target:
    """What is attacked, and the examples by which the attack is judged.

    Attributes:
        name: Of the run or step, for tables.
        spec: Of the GAN.
        generators: Weights; samples are drawn from all of them, equally many.
        discriminator: Its weights; None where none was kept.
        members: That it was trained on.
        held_out: Of the same distribution, that it was not.
        seed: Of what the attack draws.
    """

    name: str
    spec: GanSpec
    generators: Sequence[Arrays]
    discriminator: Arrays | None
    members: Examples
    held_out: Examples
    seed: int


@dataclass(frozen=True)
class Attack:
    """What came of an attack.

    Attributes:
        aucs: Name of a score -> how well it tells members from others.
        examples: Members, and as many held-out examples.
        samples: Of the generators.
    """

    aucs: Mapping[str, Auc]
    examples: int
    samples: int


def attack(target: Target, *, examples: int, samples: int) -> Attack:
    """Returns how well members are told from held-out examples by each score.

    Args:
        target: What is attacked.
        examples: Members, and held-out examples, at most; both have the same number of each class.
        samples: To draw from the generators.

    Raises:
        InputError: There are too few examples.
    """
    chosen = _alike(target, examples)
    scores: dict[str, list[NDArray[np.float64]]] = {}
    if target.discriminator is not None:
        scores["discriminator"] = [_scores(target.spec, target.discriminator, those) for those in chosen]
    drawn = _drawn(target, samples)
    scores["distance in pixels"] = [-nearest(_flat(those.x), those.y, _flat(drawn.x), drawn.y) for those in chosen]
    spec = classifier(target.spec.input_shape, target.spec.classes)
    weights = fitted(drawn, spec, _rng(target, "classifier"))
    seen, *of_examples = (features(spec, weights, those.x) for those in (drawn, *chosen))
    scores["distance in features"] = [
        -nearest(of, those.y, seen, drawn.y) for of, those in zip(of_examples, chosen, strict=True)
    ]
    return Attack({name: auc(*both) for name, both in scores.items()}, len(chosen[0]), len(drawn))


def _alike(target: Target, most: int) -> tuple[Examples, Examples]:
    """Returns members and held-out examples, drawn with the same number of each class."""
    both = (target.members, target.held_out)
    counts = [np.bincount(those.y, minlength=target.spec.classes) for those in both]
    shared = np.minimum(*counts)
    if shared.sum() > most:
        shared = np.floor(shared * (most / shared.sum())).astype(np.int64)
    if shared.sum() < FEWEST:
        raise InputError(
            f"{target.name}: {shared.sum()} members and held-out examples of the same classes; expected at least "
            f"{FEWEST} of each. The training set has {len(both[0])} examples, the test set {len(both[1])}."
        )
    rng = _rng(target, "examples")
    drawn = []
    for those in both:
        rows = [rng.permutation(np.flatnonzero(those.y == label))[:count] for label, count in enumerate(shared)]
        chosen = np.sort(np.concatenate(rows))
        drawn.append(Examples(those.x[chosen], those.y[chosen]))
    return drawn[0], drawn[1]


def _drawn(target: Target, count: int) -> Examples:
    """Returns samples of the generators, of all classes alike."""
    rng, share = _rng(target, "samples"), -(-count // len(target.generators))
    parts = []
    for weights in target.generators:
        labels = balanced_labels(share, target.spec.classes, rng)
        parts.append(Examples(sample(target.spec, weights, labels, rng), labels))
    return Examples(np.concatenate([part.x for part in parts]), np.concatenate([part.y for part in parts]))


def _scores(spec: GanSpec, discriminator: Arrays, examples: Examples) -> NDArray[np.float64]:
    """Returns for how real the discriminator takes each example."""
    weights = [keras.tf.constant(array) for array in discriminator]
    parts: list[NDArray[Any]] = []
    for start in range(0, len(examples), BLOCK):
        x, y = (keras.tf.constant(a[start : start + BLOCK]) for a in (examples.x, examples.y.astype(np.int32)))
        parts.append(spec.networks.scores(weights, scaled(x), y).numpy())
    return np.concatenate(parts).astype(np.float64)


def nearest(
    x: NDArray[Any], labels: NDArray[Any], samples: NDArray[Any], sample_labels: NDArray[Any]
) -> NDArray[np.float64]:
    """Returns the Euclidean distance of each row of x to the nearest sample of its label; infinity where there is none.

    Args:
        x: (n, f).
        labels: (n,).
        samples: (m, f).
        sample_labels: (m,).
    """
    distances = np.full(len(x), np.inf)
    for label in np.unique(labels):
        those = samples[sample_labels == label]
        for rows in _blocks(np.flatnonzero(labels == label)) if len(those) else ():
            squares = (x[rows] ** 2).sum(1)[:, None] - 2.0 * x[rows] @ those.T + (those**2).sum(1)
            distances[rows] = np.sqrt(np.maximum(squares.min(axis=1), 0.0))
    return distances


def _blocks(rows: NDArray[np.int64]) -> Sequence[NDArray[np.int64]]:
    return np.split(rows, range(BLOCK, len(rows), BLOCK))


def _flat(images: NDArray[Any]) -> NDArray[np.float64]:
    """Returns pixels (n, height width channels) in [0, 1]."""
    brightness = images / 255.0 if images.dtype == np.uint8 else images.astype(np.float64)
    return brightness.reshape(len(images), -1)


def _rng(target: Target, purpose: str) -> np.random.Generator:
    return generator(target.seed, 0, SERVER, f"attack.{purpose}")
