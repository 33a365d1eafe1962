"""FedCompress: clustered weights in both directions, and a number of clusters that follows the representation score."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_same_bits import Breaks, outcome

from clients.fedcompress import effective_rank
from fedcompress.errors import InputError
from fedcompress.experiment import Experiment
from fedcompress.options import Options
from fedcompress.training.objectives import Distillation
from fedcompress.training.trainer import Trainer
from fedcompress.wire.content import Arrays
from federating import experiment, federation
from strategies.fedcompress import FedCompressParams, no_longer_rises

QUICK = {"epochs": 1, "fewest": 3, "most": 5, "wait": 1, "gain": 100.0}
DATA = {"dataset": "digits", "clients": 2, "examples": 300, "validation": 0.2}


def made(**more: Any) -> Experiment:
    table = {
        "data": DATA,
        "training": {"epochs": 2, "batch_size": 16, "learning_rate": 0.005},
        "server": {
            "strategy": "fedcompress",
            "params": {"epochs": 1, "fewest": 3, "most": 5, "wait": 1, "gain": 100.0},
        },
        "public": {"source": "noise", "examples": 60},
        "groups": [{"name": "all", "model": "mini-cnn", "client": "fedcompress"}],
    }
    return experiment({**table, **more})


def test_the_effective_rank_is_that_of_equal_directions() -> None:
    assert effective_rank(np.eye(4)[[0, 0, 1, 1, 2, 2]] * 7) == pytest.approx(3)
    assert effective_rank(np.ones((5, 3))) == pytest.approx(1)
    assert effective_rank(np.zeros((5, 3))) == 0


@pytest.mark.parametrize(
    ("clusters", "scores", "stopped"),
    [
        (8, [5.0], False),
        (8, [5.0, 5.5], False),  # means 5 and 5.25
        (8, [5.0, 5.2], True),  # 5 and 5.1, the gain that counts as none
        (9, [5.0, 5.2], False),  # of 9 clusters 0.05 is
        (9, [1.0, 2.0, 6.0, 1.1], True),  # windows of three: 3 and 3.03
        (8, [5.0, 4.0], True),
    ],
)
def test_a_score_no_longer_rises_by_the_mean_of_a_window(clusters: int, scores: list[float], stopped: bool) -> None:
    assert no_longer_rises(FedCompressParams(gain=0.1 + 1e-12), clusters, scores) is stopped


def test_both_directions_carry_as_many_values_as_the_server_says() -> None:
    """One cluster more after each round, since nothing is gain enough; 3 at first, 5 at most."""
    of = made()
    (model,) = of.models.values()
    fed = federation(of)
    replies: list[Any] = []
    stream = fed.stream
    fed.stream = lambda *args, **more: replies.append(stream(*args, **more)) or replies[-1]  # type: ignore[method-assign]
    state = of.server.initial(fed)
    for number, clusters in ((1, 3), (2, 3), (3, 4)):
        fed.begin(number)
        sent = state["weights"]["mini-cnn"]
        state = of.server.round(fed, state)
        for reply in replies[-1]:
            assert all(map(np.array_equal, reply.request["weights"], sent))  # codebooks lose nothing
            for weights in (reply.request["weights"], reply.payload["weights"]):
                distinct = [len(np.unique(weights[i])) for i in model.prunable]
                assert max(distinct) <= clusters
            assert reply.metrics["representation_score"] > 1
    assert (state["clusters"], len(state["scores"])) == (5, 3)
    assert max(len(np.unique(state["weights"]["mini-cnn"][i])) for i in model.prunable) == 5


def test_the_server_learns_by_adam_whatever_clients_train_by(monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps of 0.0001 along a small gradient would leave the student where it is."""
    found, fit = set(), Trainer.fit

    def noted(self: Trainer, weights: Arrays, examples: Any, objective: Any = None, **more: Any) -> Any:
        if isinstance(objective, Distillation):
            found.add(self.settings.optimizer)
        return fit(self, weights, examples, objective, **more)

    monkeypatch.setattr(Trainer, "fit", noted)
    of = made(training={"batch_size": 32, "optimizer": "sgd", "learning_rate": 0.05})
    fed = federation(of)
    of.server.round(fed, of.server.initial(fed))
    assert found == {"adam"}


def test_a_run_resumes_to_the_same_bits(tmp_path: Path) -> None:
    of = made()
    once = outcome(of, tmp_path / "once", Options(workers=2))
    with pytest.raises(KeyboardInterrupt):
        outcome(of, tmp_path / "again", observer=Breaks())
    assert outcome(of, tmp_path / "again") == once


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        (
            {"groups": [{"name": "all", "model": "mini-cnn", "client": "fedcompress", "compression": "cluster"}]},
            "groups.all.compression: client 'fedcompress' clusters weights itself, as many clusters as the server "
            "says; received 'cluster', use \"none\".",
        ),
        ({"data": {**DATA, "validation": 0.0}}, "groups.all: clients choose by their own validation examples"),
        ({"groups": [{"name": "all", "model": "mini-cnn"}]}, "received 'sgd'; use client = \"fedcompress\"."),
    ],
)
def test_what_does_not_fit_is_refused(more: dict[str, Any], problem: str) -> None:
    with pytest.raises(InputError) as caught:
        made(**more)
    assert problem in str(caught.value)


def test_there_are_at_least_as_many_clusters_as_in_the_beginning() -> None:
    of = made(server={"strategy": "fedcompress", "params": {"fewest": 9, "most": 8}})
    assert of.server.problems() == ["server.params.most: received 8, expected at least `fewest`, 9."]
