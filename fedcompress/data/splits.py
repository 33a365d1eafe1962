"""Splits of one set of examples: held out for the server, a client's validation, a client's own test examples."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError

Indices = NDArray[np.int64]
_NONE: Final[Indices] = np.empty(0, np.int64)
"""Of many clients the one array."""
_NONE.flags.writeable = False


def _stratified(labels: NDArray[Any], count: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Draws `count` of n examples, of each class as many as its share.

    Systematic sampling: every (n / count)-th of the shuffled examples in label order, from a random start. So a class
    of n_c examples gives floor or ceil of count * n_c / n, and the total is exact.

    Returns:
        (n,) bool: which examples are drawn.
    """
    drawn = np.zeros(len(labels), np.bool_)
    if count:
        shuffled = rng.permutation(len(labels))
        by_label = shuffled[np.argsort(labels[shuffled], kind="stable")]
        start = rng.integers(len(labels))
        drawn[by_label[(np.arange(count) * len(labels) + start) // count]] = True
    return drawn


def _held_out(labels: NDArray[Any], fraction: float, rng: np.random.Generator) -> NDArray[np.bool_]:
    if not 0 <= fraction < 1:
        raise InputError(f"The fraction to hold out is {fraction}; expected 0 <= fraction < 1.")
    count = min(int(fraction * len(labels) + 0.5), max(len(labels) - 1, 0))
    return _stratified(labels, count, rng)


def holdout(labels: NDArray[Any], fraction: float, rng: np.random.Generator) -> tuple[Indices, Indices]:
    """Holds out a stratified fraction of the examples, for example for the server.

    Args:
        labels: (n,) class of each example.
        fraction: Of the examples, in [0, 1); rounded to whole examples, never all of them.
        rng: Decides which.

    Returns:
        Indices of the rest and of those held out, each sorted.
    """
    drawn = _held_out(labels, fraction, rng)
    return np.flatnonzero(~drawn), np.flatnonzero(drawn)


def spread(count: int, most: int) -> Indices:
    """Returns which of so many examples to look at, from the first to the last: files are often in class order."""
    return np.linspace(0, count - 1, min(most, count)).astype(np.int64)


def split_validation(
    indices: Indices, labels: NDArray[Any], fraction: float, rng: np.random.Generator
) -> tuple[Indices, Indices]:
    """Splits a client's examples into training and validation, stratified.

    Args:
        indices: The client's examples, sorted.
        labels: Classes of ALL examples, which `indices` refers to.
        fraction: Of the client's examples, in [0, 1); rounded to whole examples (a small client may get none), never
            all of them.
        rng: Decides which.

    Returns:
        Indices for training and for validation, each sorted.
    """
    drawn = _held_out(labels[indices], fraction, rng)
    held_out = indices[drawn]
    return indices[~drawn], held_out if held_out.size else _NONE


def largest_remainder(weights: NDArray[np.int64], total: int) -> NDArray[np.int64]:
    """Divides `total` in proportion to integer weights: floors, then one more to the largest remainders.

    Exact integer arithmetic; the lower position wins a tie.
    """
    quota, remainder = np.divmod(weights * total, weights.sum())
    quota[np.argsort(-remainder, kind="stable")[: total - quota.sum()]] += 1
    return quota


def matched_counts(wanted: NDArray[np.int64], available: NDArray[np.int64], limit: int) -> NDArray[np.int64]:
    """Returns how many test examples of each class to take.

    Classes without any test example are left out; over the others the largest m <= limit is found for which the
    largest-remainder counts of the client's distribution are available.

    Args:
        wanted: (classes,) the client's examples of each class.
        available: (classes,) test examples of each class.
        limit: Most examples in total.
    """
    wanted = np.where(available > 0, wanted, 0)
    if not wanted.any() or limit < 1:
        return np.zeros_like(wanted)
    present = wanted > 0
    # A count is at least the floor of m * wanted / total, so any larger m would ask for more than is available.
    most = int(np.min(((available[present] + 1) * wanted.sum() - 1) // wanted[present]))
    for total in range(min(most, limit), 1, -1):
        counts = largest_remainder(wanted, total)
        if (counts <= available).all():
            return counts
    return largest_remainder(wanted, 1)


def matched_test(
    client_labels: NDArray[Any], test_labels: NDArray[Any], classes: int, rng: np.random.Generator, *, limit: int = 1000
) -> Indices:
    """Draws test examples with the same label distribution as a client's training examples.

    Args:
        client_labels: Classes of the client's examples.
        test_labels: Classes of the test set.
        classes: Number of classes.
        rng: Decides which.
        limit: Most examples to draw.

    Returns:
        Sorted indices into the test set, without repetition: as many as `limit` and the test set allow (see
        `matched_counts`). Empty only if the test set has none of the client's classes.
    """
    wanted = np.bincount(client_labels, minlength=classes)
    counts = matched_counts(wanted, np.bincount(test_labels, minlength=classes), limit)
    chosen = [
        rng.choice(np.flatnonzero(test_labels == label), counts[label], replace=False, shuffle=False)
        for label in np.flatnonzero(counts)
    ]
    return np.sort(np.concatenate(chosen)) if chosen else np.empty(0, np.int64)
