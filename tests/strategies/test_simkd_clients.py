"""Clients of fedsimkd: how near they stay to their teacher's features while they train on their own data."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import pytest

from fedcompress.data.federated import Examples
from federating import experiment

DENSE, PRUNED = 0, 1
"""Clients."""


@lru_cache
def made(**params: Any) -> Any:
    group = {"share": 0.5, "model": "mini-cnn", "client": "simkd", "params": {"epochs": 3, "batch_size": 32, **params}}
    pruned = {"compression": "magnitude", "sparsity": 0.8, "compression_params": {"begin_round": 0, "end_round": 1}}
    return experiment(
        {
            "rounds": 3,
            "data": {"dataset": "digits", "clients": 2, "examples": 600},
            "public": {"source": "holdout", "examples": 300},
            "training": {"batch_size": 32, "epochs": 2, "learning_rate": 0.003},
            "server": {"strategy": "fedsimkd", "model": "small-cnn"},
            "groups": [{"name": "dense", **group}, {"name": "pruned", **group, **pruned}],
        }
    )


@lru_cache
def lesson() -> dict[str, Any]:
    """What a teacher sends that knows most digits: its head, and its features of the public examples."""
    setup = made()
    teacher, trainer, data = setup.server_model, setup.server_trainer(setup.server_model, 1), setup.data.dataset
    start = teacher.initial(np.random.default_rng(0))
    known = Examples(data.x_train[:600], data.y_train[:600])
    weights = trainer.fit(start, known, epochs=20).weights
    assert trainer.evaluate(weights, setup.data.test_examples).accuracy > 0.8
    recipe = {"seed": [np.array([5], np.int64)]}
    return {
        **recipe,
        "head": teacher.head_of(weights),
        "features": [trainer.features(weights, setup.public.draw(recipe).x)],
    }


def rounds(client: int, **params: Any) -> list[Any]:
    """Returns what a client's action returns in rounds 2 and 3."""
    state: dict[str, Any] = {}
    return [made(**params).client(client, number, "encode", state).encode(lesson(), number) for number in (2, 3)]


@pytest.mark.parametrize("client", [DENSE, PRUNED])
def test_a_student_keeps_to_its_teachers_features(client: int) -> None:
    """At most 1.1 times the error before, in each round; by labels alone it ends at least twice as far off."""
    kept, pulled = rounds(client), rounds(client, beta=0.0)
    for result in kept:
        assert 0 < result.metrics["feature_error_after"] <= 1.1 * result.metrics["feature_error"]
    ends = [results[-1].metrics["feature_error_after"] for results in (kept, pulled)]
    assert ends[1] > 2 * ends[0]


def test_the_error_is_that_of_the_model_that_the_client_keeps() -> None:
    setup, payload = made(), lesson()
    result = rounds(PRUNED)[-1]
    x = setup.public.draw(payload).x
    features = setup.server_trainer(result.spec, 1).features(result.model, x)
    error = np.mean((features - payload["features"][0]) ** 2)
    assert result.metrics["feature_error_after"] == pytest.approx(error, rel=1e-4)


def test_it_is_pruned_while_it_matches_features_and_keeps_the_mask() -> None:
    """A fifth of each kernel but the head's stays, and the head is the teacher's."""
    result = rounds(PRUNED)[-1]
    spec, head = result.spec, lesson()["head"]
    kept = [int(np.count_nonzero(result.model[i])) for i in spec.prunable]
    assert sum(kept) == pytest.approx(0.2 * sum(spec.template[i].size for i in spec.prunable), abs=len(kept))
    assert all(np.array_equal(a, b) for a, b in zip(spec.head_of(result.model), head, strict=True))
