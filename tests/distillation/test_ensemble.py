"""Ensembles of teachers against numbers worked out by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fedcompress.distillation import ensemble

LN2 = np.log(2.0)
A = np.array([[LN2, 0.0, 0.0]], np.float32)  # softmax: 1/2, 1/4, 1/4
B = np.array([[0.0, 0.0, 0.0]], np.float32)  # softmax: 1/3 each


def test_mean_logits_weighs_teachers_by_examples() -> None:
    assert ensemble.mean_logits([A, B], [3, 1]) == pytest.approx(np.array([[0.75 * LN2, 0, 0]]))
    assert np.array_equal(ensemble.mean_logits([A], [7.0]), A)


def test_mean_probabilities_is_the_logarithm_of_the_mean() -> None:
    mean = ensemble.mean_probabilities([A, B], [1, 1])
    assert np.exp(mean) == pytest.approx(np.array([[5 / 12, 7 / 24, 7 / 24]]), rel=1e-6)


@pytest.mark.parametrize(
    ("p", "temperature", "expected"),
    [
        ((0.5, 0.25, 0.25), 0.1, (np.exp(2.5) / (np.exp(2.5) + 2), 1 / (np.exp(2.5) + 2), 1 / (np.exp(2.5) + 2))),
        ((0.5, 0.25, 0.25), 0.25, (np.e / (np.e + 2), 1 / (np.e + 2), 1 / (np.e + 2))),
        ((0.6, 0.3, 0.1), 0.1, (0.946499, 0.047123, 0.006377)),
        ((0.6, 0.3, 0.1), 1.0, (0.426013, 0.315598, 0.258390)),
        ((1.0, 0.0, 0.0), 0.1, (0.99990921, 4.5395e-5, 4.5395e-5)),
        ((1 / 3, 1 / 3, 1 / 3), 0.1, (1 / 3, 1 / 3, 1 / 3)),
    ],
)
def test_entropy_reduction_by_hand(p: tuple[float, ...], temperature: float, expected: tuple[float, ...]) -> None:
    """softmax(p / T): of 1/2, 1/4, 1/4 at T = 0.1 the exponents are 5, 2.5, 2.5. At T = 1 it blurs."""
    logits = np.log(np.maximum([p], 1e-7)).astype(np.float32)
    reduced = ensemble.softmax(ensemble.entropy_reduced(logits, temperature))
    assert reduced == pytest.approx(np.array([expected]), rel=1e-4)


@pytest.mark.parametrize(
    ("p", "temperature", "expected"),
    [
        ((0.5, 0.25, 0.25), 0.5, (2 / 3, 1 / 6, 1 / 6)),
        ((0.6, 0.3, 0.1), 0.5, (36 / 46, 9 / 46, 1 / 46)),
        ((0.5, 0.25, 0.25), 1.0, (0.5, 0.25, 0.25)),
        ((0.5, 0.25, 0.25), 0.1, (1024 / 1026, 1 / 1026, 1 / 1026)),
    ],
)
def test_enhanced_reduction_by_hand(p: tuple[float, ...], temperature: float, expected: tuple[float, ...]) -> None:
    """p^(1 / T), normalised: at T = 1/2 squares; at T = 1 nothing changes."""
    reduced = ensemble.softmax(ensemble.enhanced_entropy_reduced(np.log([p]).astype(np.float32), temperature))
    assert reduced == pytest.approx(np.array([expected]), rel=1e-4)


def test_class_counts_by_hand() -> None:
    """A has seen 3, 1 and 0 of the classes, B 1, 1 and 0; A says 1/2, 1/4, 1/4 and B 1/3 each.

    Class 0: 3/4 1/2 + 1/4 1/3 = 11/24. Class 1: 1/2 1/4 + 1/2 1/3 = 7/24. Class 2: nobody has seen it. Over 18/24.
    """
    said = ensemble.class_counts([A, B], [np.array([3, 1, 0]), np.array([1, 1, 0])])
    assert ensemble.softmax(said) == pytest.approx(np.array([[11 / 18, 7 / 18, 0.0]]), abs=1e-6)


def test_equal_counts_are_the_mean_of_the_probabilities() -> None:
    counts = [np.array([5, 5, 5])] * 2
    mean = ensemble.mean_probabilities([A, B], [1, 1])
    assert ensemble.class_counts([A, B], counts) == pytest.approx(mean, abs=1e-6)


VOICES = [ensemble.Voice(3.0, np.array([3, 1, 0])), ensemble.Voice(1.0, np.array([1, 1, 0]))]


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ({}, (2**0.75, 1, 1)),  # softmax of 3/4 ln 2, 0, 0
        ({"ensemble": "mean_probabilities"}, (11 / 24, 13 / 48, 13 / 48)),  # 3/4 (1/2, 1/4, 1/4) + 1/4 (1/3, 1/3, 1/3)
        ({"ensemble": "class_counts"}, (11 / 18, 7 / 18, 0)),
        ({"ensemble": "sharpened"}, (22**2, 13**2, 13**2)),  # T = 1/2: squares
        ({"ensemble": "sharpened", "ensemble_temperature": 1.0}, (22, 13, 13)),
    ],
)
def test_every_rule_by_hand(rule: dict[str, Any], expected: tuple[float, ...]) -> None:
    said = ensemble.combined(ensemble.EnsembleParams(**rule), [A, B], VOICES)
    assert ensemble.softmax(said) == pytest.approx(np.array([expected]) / sum(expected), abs=1e-6)


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("mean_logits", (0.75, 0.25, 0)),
        ("mean_probabilities", (0.75, 0.25, 0)),
        ("class_counts", (0.6, 0.4, 0)),  # 3/4 of class 0 for A, which names it, 1/2 of class 1 for B
        ("sharpened", (0.9, 0.1, 0)),
    ],
)
def test_every_rule_on_votes(rule: Any, expected: tuple[float, ...]) -> None:
    """A names class 0 and B class 1."""
    said = ensemble.voted(ensemble.EnsembleParams(ensemble=rule), [np.array([0]), np.array([1])], VOICES, 3)
    assert ensemble.softmax(said) == pytest.approx(np.array([expected]), abs=1e-6)


def test_votes_are_shares_of_the_weight() -> None:
    logits = ensemble.votes([np.array([0, 2]), np.array([1, 2])], 3, [3, 1])
    assert ensemble.softmax(logits) == pytest.approx(np.array([[0.75, 0.25, 0], [0, 0, 1]]), abs=1e-6)


def test_softmax_of_large_logits() -> None:
    assert ensemble.softmax(np.array([[1e4, 0.0]])) == pytest.approx(np.array([[1.0, 0.0]]))
    assert ensemble.softmax(np.array([[4.0, 0.0]]), 4.0) == pytest.approx(ensemble.softmax(np.array([[1.0, 0.0]])))


def test_chance_level_is_two_deviations_above_guessing() -> None:
    """10 classes, 100 examples: 0.1 + 2 sqrt(0.09 / 100) = 0.16."""
    assert not ensemble.better_than_chance(0.16, 100, 10)
    assert ensemble.better_than_chance(0.17, 100, 10)
    assert ensemble.better_than_chance(float("nan"), 0, 10)
    assert not ensemble.better_than_chance(float("nan"), 100, 10)


def test_confident_needs_the_label_and_the_probability() -> None:
    logits = np.concatenate([A, A, B])
    assert ensemble.confident(logits, np.array([0, 1, 0], np.int32), 0.4).tolist() == [True, False, False]
    assert ensemble.confident(logits, np.array([0, 1, 0], np.int32), 0.6).tolist() == [False, False, False]


def test_quota_is_twice_the_median_class() -> None:
    labels = np.array([0] * 10 + [1] * 2 + [2] * 2, np.int32)
    kept = ensemble.within_quota(np.ones(14, bool), labels, 3)
    assert np.bincount(labels[kept]).tolist() == [4, 2, 2]
    assert kept[:4].all()
