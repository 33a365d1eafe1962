"""The bounds, and Flower's own strategies as aggregators."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest

from fedcompress.errors import InputError
from federating import PRUNING, experiment, federation, run


def test_local_exchanges_envelopes_only(tmp_path: Path) -> None:
    summary, directory, _ = run(experiment(server__strategy="local"), tmp_path / "run")
    assert {row["content"] for row in directory.rows("ledger")} == {"envelope"}
    own = [row["accuracy"] for row in directory.rows("clients") if row["round"] == 3]
    assert summary["clients"]["mean"] == pytest.approx(np.mean(own))
    assert 0.1 < summary["accuracy"] < 1
    assert summary["model_digest"] == run(experiment(server__strategy="local"), tmp_path / "again")[0]["model_digest"]


def test_centralized_exchanges_nothing_and_beats_local(tmp_path: Path) -> None:
    summary, directory, _ = run(experiment(server__strategy="centralized"), tmp_path / "run")
    assert directory.rows("ledger") == []
    assert summary["uplink_bytes"] == summary["downlink_bytes"] == 0
    assert summary["accuracy"] > run(experiment(server__strategy="local"), tmp_path / "local")[0]["accuracy"]


def test_flowers_fedavg_is_our_fedavg_without_masks(tmp_path: Path) -> None:
    ours = experiment()
    theirs = experiment(server__strategy="flower")
    states = []
    for made in (ours, theirs):
        fed = federation(made)
        states.append(made.server.round(fed, made.server.initial(fed))["weights"]["mini-cnn"])
    for a, b in zip(*states, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", ["FedAvgM", "FedAdam", "FedYogi", "FedAdagrad", "FedMedian", "FedTrimmedAvg", "Krum"])
def test_flowers_strategies_aggregate_pruned_clients(name: str) -> None:
    options = {"server_momentum": 0.9} if name == "FedAvgM" else {}
    made = experiment(PRUNING, server__strategy="flower", server__params={"name": name, "options": options})
    fed = federation(made)
    first = made.server.initial(fed)
    state = made.server.round(fed, first)
    fed.begin(2)
    state = made.server.round(fed, state)
    assert all(np.isfinite(a).all() for a in state["weights"]["mini-cnn"])
    assert any(
        not np.array_equal(a, b)
        for a, b in zip(state["weights"]["mini-cnn"], first["weights"]["mini-cnn"], strict=True)
    )
    adaptive = name in {"FedAvgM", "FedAdam", "FedYogi", "FedAdagrad"}
    assert bool(state["moments"].get("mini-cnn")) == adaptive


def test_fedadam_by_hand() -> None:
    """Reddi et al. 2020, Algorithm 2, d the average's change: m = 0.1 d, v = 0.01 d^2, w + eta' m / (sqrt(v) + tau).

    Flower corrects the bias as Adam does after two steps: eta' = eta sqrt(1 - 0.99^2) / (1 - 0.9^2).
    """
    params = {"name": "FedAdam", "options": {"eta": 0.05, "tau": 0.01}}
    made, mean = experiment(server__strategy="flower", server__params=params), experiment()
    fed = federation(made)
    start = made.server.initial(fed)
    adam = made.server.round(fed, start)["weights"]["mini-cnn"]
    fed = federation(mean)
    average = mean.server.round(fed, mean.server.initial(fed))["weights"]["mini-cnn"]
    rate = 0.05 * np.sqrt(1 - 0.99**2) / (1 - 0.9**2)
    for w, new, result in zip(start["weights"]["mini-cnn"], average, adam, strict=True):
        change = new.astype(np.float64) - w
        expected = w + rate * 0.1 * change / (0.1 * np.abs(change) + 0.01)
        np.testing.assert_allclose(result, expected, rtol=1e-4, atol=2e-6)


@pytest.mark.parametrize("name", ["FedAvg", "FedAdam", "Krum", "FedTrimmedAvg"])
def test_flowers_log_says_nothing(name: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """Neither of fractions that are zero, nor of each aggregation; its level is what it was in the end."""
    logger = logging.getLogger("flwr")
    monkeypatch.setattr(logger, "propagate", True)
    with caplog.at_level(logging.DEBUG, logger="flwr"):
        made = experiment(server__strategy="flower", server__params={"name": name})
        fed = federation(made)
        made.server.round(fed, made.server.initial(fed))
        assert logger.level == logging.DEBUG
    assert [record.getMessage() for record in caplog.records if record.name == "flwr"] == []


def test_replies_that_are_too_few_for_a_strategy_are_an_event() -> None:
    """Bulyan needs 4 f + 3 replies: with f = 1 seven, of which there are four."""
    params = {"name": "Bulyan", "options": {"num_malicious_nodes": 1}}
    made = experiment(server__strategy="flower", server__params=params)
    fed = federation(made)
    first = made.server.initial(fed)
    state = made.server.round(fed, first)
    assert fed.record.events == ["Bulyan did not aggregate 4 replies of mini-cnn: too few"]
    for new, old in zip(state["weights"]["mini-cnn"], first["weights"]["mini-cnn"], strict=True):
        np.testing.assert_array_equal(new, old)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"name": "FedAdm"}, "Did you mean 'FedAdam'"),
        ({"name": "FedXgbBagging"}, "not an aggregator of weights"),
        ({"name": "FedAdam", "options": {"etta": 1}}, "does not accept these options"),
        ({"name": "FedAdam", "options": {"fraction_train": 1}}, r"follow from \[server\] cohort"),
    ],
)
def test_wrong_flower_parameters_are_refused(params: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        experiment(server__strategy="flower", server__params=params)
