"""Scores: what is a part of a mean, and what is none."""

from __future__ import annotations

from math import nan
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from fedcompress.data.federated import Examples
from fedcompress.evaluation.own_models import figure, of_clients
from fedcompress.training.trainer import evaluate
from federating import experiment


def row(accuracy: float | None, validation: float | None = 0.5) -> dict[str, Any]:
    return {"test_accuracy": accuracy, "test_loss": 1.0, "validation_accuracy": validation}


def test_own_models_that_were_not_tested_are_no_part_of_the_mean() -> None:
    group: Any = SimpleNamespace(clients=(0, 1, 2, 3))
    assert of_clients(group, {0: row(0.2), 1: row(0.4), 2: row(None), 3: {"status": "ok"}}) == pytest.approx(
        (0.3, 1, 0.5)
    )
    assert of_clients(group, {0: row(0.2), 1: row(nan)})[0] == 0.2
    accuracy, loss, validation = of_clients(group, {0: row(0.2, None)})  # read from disk: null without validation data
    assert (accuracy, loss, np.isnan(validation)) == (0.2, 1.0, True)
    assert np.isnan(of_clients(group, {})).all()


def test_an_accuracy_of_zero_is_an_accuracy() -> None:
    assert figure({"accuracy": 0.0}, "accuracy") == 0.0
    assert np.isnan(figure({"accuracy": None}, "accuracy"))


@pytest.mark.parametrize("value", [1e30, 3e38, np.inf, np.nan])
def test_a_model_whose_loss_is_not_finite_has_no_accuracy(value: float) -> None:
    """All its logits are alike, so that it would be right for every example of the first class."""
    model = experiment({"data": {"dataset": "digits", "clients": 2}}).models["mini-cnn"]
    weights = [np.full_like(array, value) for array in model.template]
    examples = Examples(np.full((4, 8, 8, 1), 200, np.uint8), np.array([0, 0, 0, 1], np.int32))
    found = evaluate(model, weights, examples)
    assert np.isnan(found.loss)
    assert np.isnan(found.accuracy)
