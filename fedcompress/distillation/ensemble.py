"""What several teachers say together, and which of it is worth learning. Pure functions on NumPy arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from fedcompress.parameters import Params

Logits = NDArray[np.float32]

_LEAST = 1e-7
"""Probability that stands for zero where a logarithm is taken."""


class EnsembleParams(Params):
    """By which rule several teachers become one."""

    ensemble: Literal["mean_logits", "mean_probabilities", "class_counts", "sharpened"] = Field(
        "mean_logits",
        description="what the teachers say together: the mean of their logits or probabilities; probabilities weighted "
        "by how many examples of the class a client holds, which the server is then told; their mean, sharpened",
    )
    ensemble_temperature: float = Field(
        0.5, gt=0.0, description="sharpened: T of p^(1 / T), normalised, p the mean of the probabilities; 1 leaves p"
    )


@dataclass(frozen=True, eq=False)
class Voice:
    """How much a teacher counts.

    Attributes:
        weight: For every class alike: n_k, or 1 for each.
        counts: n_kc, how many examples of each class it has seen, (classes,); None unless the rule asks for them.
    """

    weight: float
    counts: NDArray[np.integer] | NDArray[np.floating] | None = None


def combined(rule: EnsembleParams, teachers: Sequence[Logits], voices: Sequence[Voice]) -> Logits:
    """Returns what teachers say together under a rule, as logits (n, classes).

    Args:
        rule: Which.
        teachers: Logits (n, classes) of each.
        voices: How much each of them counts.
    """
    if rule.ensemble == "class_counts":
        return class_counts(teachers, [counts for voice in voices if (counts := voice.counts) is not None])
    weights = [voice.weight for voice in voices]
    if rule.ensemble == "mean_logits":
        return mean_logits(teachers, weights)
    mean = mean_probabilities(teachers, weights)
    return enhanced_entropy_reduced(mean, rule.ensemble_temperature) if rule.ensemble == "sharpened" else mean


def voted(rule: EnsembleParams, labels: Sequence[NDArray[np.integer]], voices: Sequence[Voice], classes: int) -> Logits:
    """Returns the same of teachers that name a class (n,) each, and no more; both means are their votes."""
    if rule.ensemble == "class_counts":
        certain = [np.log(np.maximum(np.eye(classes)[named], _LEAST)).astype(np.float32) for named in labels]
        return combined(rule, certain, voices)
    mean = votes(labels, classes, [voice.weight for voice in voices])
    return enhanced_entropy_reduced(mean, rule.ensemble_temperature) if rule.ensemble == "sharpened" else mean


def softmax(logits: NDArray[np.floating], temperature: float = 1.0) -> NDArray[np.float64]:
    """Returns probabilities (n, classes) of logits (n, classes)."""
    scaled = logits.astype(np.float64) / temperature
    scaled -= scaled.max(axis=1, keepdims=True)
    exponentials = np.exp(scaled)
    return np.asarray(exponentials / exponentials.sum(axis=1, keepdims=True))


def mean_logits(teachers: Sequence[Logits], weights: Sequence[float]) -> Logits:
    """Returns sum_k n_k z_k / sum_k n_k: the ensemble of FedDF and FedMD.

    Args:
        teachers: Logits (n, classes) of each teacher.
        weights: n_k of each teacher.
    """
    shares = np.asarray(weights, np.float64) / float(sum(weights))
    total = np.zeros(teachers[0].shape, np.float64)
    for logits, share in zip(teachers, shares, strict=True):
        total += share * logits
    return total.astype(np.float32)


def mean_probabilities(teachers: Sequence[Logits], weights: Sequence[float]) -> Logits:
    """Returns the logarithm of sum_k n_k softmax(z_k) / sum_k n_k: the ensemble of DS-FL. Logarithms are logits."""
    return np.log(np.maximum(mean_logits([softmax(z).astype(np.float32) for z in teachers], weights), _LEAST))


def class_counts(teachers: Sequence[Logits], counts: Sequence[NDArray[np.integer] | NDArray[np.floating]]) -> Logits:
    """Returns the logarithm of p(c | x) ~ sum_k n_kc softmax(z_k)_c / sum_k n_kc, normalised over the classes.

    On a class, those count who have seen it. With equal histograms it is the mean of the probabilities; a class that
    nobody has seen has none.

    Args:
        teachers: Logits (n, classes) of each teacher.
        counts: n_kc of each teacher, (classes,).
    """
    shares = np.asarray(counts, np.float64)
    shares /= np.maximum(shares.sum(axis=0), 1.0)
    total = np.zeros(teachers[0].shape, np.float64)
    for logits, share in zip(teachers, shares, strict=True):
        total += share * softmax(logits)
    total /= np.maximum(total.sum(axis=1, keepdims=True), _LEAST)
    return np.log(np.maximum(total, _LEAST)).astype(np.float32)


def entropy_reduced(logits: Logits, temperature: float) -> Logits:
    """Returns the logits of softmax(p / T), p = softmax(logits): DS-FL's entropy reduction aggregation.

    Itahara et al. 2021, IEEE Transactions on Mobile Computing. T = 0.1 there; it sharpens only where T is small.
    """
    return (softmax(logits) / temperature).astype(np.float32)


def enhanced_entropy_reduced(logits: Logits, temperature: float) -> Logits:
    """Returns the logits of p^(1 / T), normalised, p = softmax(logits): the "enhanced" aggregation of SCARLET.

    Azuma et al. 2025, "Soft-label caching and sharpening for communication-efficient federated distillation", where
    1 / T is called beta; T = 1 changes nothing.
    """
    return (np.log(np.maximum(softmax(logits), _LEAST)) / temperature).astype(np.float32)


def votes(labels: Sequence[NDArray[np.integer]], classes: int, weights: Sequence[float]) -> Logits:
    """Returns the logarithm of the weighted share of teachers that name each class, (n, classes).

    Args:
        labels: Class (n,) that each teacher names.
        classes: Number of classes.
        weights: n_k of each teacher.
    """
    shares = mean_logits([np.eye(classes, dtype=np.float32)[named] for named in labels], weights)
    return np.log(np.maximum(shares, _LEAST))


def better_than_chance(accuracy: float, examples: int, classes: int) -> bool:
    """Says whether an accuracy is above that of guessing by more than two of its standard deviations.

    Args:
        accuracy: On `examples` examples; NaN, of a model that is not finite, is worse than guessing.
        examples: Their number; none counts as better: there is nothing to judge by.
        classes: Number of classes, 1 / classes is what guessing gets.
    """
    if not examples:
        return True
    chance = 1.0 / classes
    return bool(accuracy > chance + 2.0 * np.sqrt(chance * (1.0 - chance) / examples))


def confident(logits: Logits, labels: NDArray[np.int32], least: float) -> NDArray[np.bool_]:
    """Says which samples the ensemble takes for what they were meant to be, (n,).

    Args:
        logits: Of the ensemble, (n, classes).
        labels: The class that each sample was drawn for.
        least: Least probability that the ensemble gives to it.
    """
    probabilities = softmax(logits)
    convincing = (probabilities.argmax(axis=1) == labels) & (probabilities[np.arange(len(labels)), labels] >= least)
    return np.asarray(convincing, np.bool_)


def within_quota(kept: NDArray[np.bool_], labels: NDArray[np.int32], classes: int) -> NDArray[np.bool_]:
    """Thins out classes of which many samples were kept, so that no class has more than twice the median class.

    Args:
        kept: Which samples are kept, (n,).
        labels: Their classes.
        classes: Number of classes.
    """
    counts = np.bincount(labels[kept], minlength=classes)
    quota = max(1, int(2 * np.median(counts)))
    result = kept.copy()
    for label in np.flatnonzero(counts > quota):
        result[np.flatnonzero(kept & (labels == label))[quota:]] = False
    return result
