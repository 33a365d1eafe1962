"""Clients of fedpkdg that learn from the global model while they train, with numbers worked out by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedcompress.training.objectives import CrossEntropy, Distillation
from federating import experiment, run

TABLE: dict[str, Any] = {
    "rounds": 2,
    "data": {"dataset": "digits", "clients": 2, "examples": 200},
    "public": {"source": "holdout", "examples": 40},
    "server": {"strategy": "fedpkdg"},
}


def made(**params: Any) -> Any:
    return experiment(
        {**TABLE, "groups": [{"name": "all", "model": "mini-cnn", "client": "fedpkdg", "params": params}]}
    )


def client(round_number: int = 2, **params: Any) -> Any:
    return made(**params).client(0, round_number, "train", {})


def test_the_teacher_is_what_the_client_received() -> None:
    """T = 2, a = 1/2: the objective has the logits of the very weights that came, on the client's own examples."""
    one = client(local_alpha=0.5, local_temperature=2.0)
    start = one.model.initial(np.random.default_rng(0))
    objective = one.objective(start)
    assert type(objective) is Distillation
    assert (objective.alpha, objective.temperature) == (0.5, 2.0)
    np.testing.assert_array_equal(objective.teacher, one.trainer.predict(start, one.data.x))


def test_the_loss_of_one_step_by_hand() -> None:
    """In the first step student and teacher agree: what is left of the loss is (1 - a) times the cross-entropy."""
    one = client(local_alpha=0.75)
    start = one.model.initial(np.random.default_rng(0))
    logits = one.trainer.predict(start, one.data.x).astype(np.float64)
    right = logits[np.arange(len(logits)), one.data.y]
    entropy = np.mean(np.log(np.exp(logits).sum(axis=1)) - right)
    trained = one.trainer.fit(start, one.data, one.objective(start), epochs=1, batch_size=len(one.data))
    assert trained.steps == 1
    assert trained.loss == pytest.approx(0.25 * entropy, rel=1e-5)


def test_it_is_off_by_default_and_in_the_first_round() -> None:
    assert type(client().objective([])) is CrossEntropy
    first = [client(1, local_alpha=alpha) for alpha in (0.0, 0.9)]
    start = first[0].model.initial(np.random.default_rng(0))
    plain, taught = (one.train({"weights": start}, 1).payload["weights"] for one in first)
    assert all(np.array_equal(a, b) for a, b in zip(plain, taught, strict=True))
    second = client(2, local_alpha=0.9).train({"weights": start}, 2).payload["weights"]
    again = client(2).train({"weights": start}, 2).payload["weights"]
    assert not all(np.array_equal(a, b) for a, b in zip(again, second, strict=True))


def test_a_run(tmp_path: Path) -> None:
    digests = {}
    for alpha in (0.0, 0.5):
        summary, directory, _ = run(made(local_alpha=alpha), tmp_path / str(alpha))
        assert not any(row["error"] for row in directory.rows("clients"))
        digests[alpha] = summary["model_digest"]
    assert digests[0.0] != digests[0.5]
