"""What a run with tiers says before it begins."""

from __future__ import annotations

from typing import Any

from fedcompress.experiment import Experiment
from tests import federating
from tests.distillation.test_tiers import SERVER_MASK

GROUPS = [
    {"name": "dense", "share": 0.5, "model": "small-cnn", "client": "generating"},
    {"name": "watch", "share": 0.5, "model": "mini-cnn", "client": "generating", "sparsity": 0.8, **SERVER_MASK},
]


def tiered(source: str, **params: Any) -> Experiment:
    server = {"strategy": "fedavg", "params": params}
    data = {"dataset": "mnist-5k", "clients": 4, "examples": 1200}
    return federating.experiment(
        {"data": data, "public": {"source": source, "examples": 200}, "server": server, "groups": GROUPS}
    )


def test_generators_that_only_tiers_need_are_exchanged_too() -> None:
    assert tiered("gan", tiers="kd").warnings == [
        "Generators are trained without differential privacy and exchanged: they can reveal training data."
    ]
    assert tiered("holdout", tiers="kd").warnings == []
    assert tiered("gan", tiers="none").warnings == []


def test_a_head_that_a_tier_reuses_stays_dense() -> None:
    made = tiered("holdout", tiers="simkd", tier_teacher="small-cnn")
    model = made.device_model(made.groups["watch"])
    assert made.warnings == [
        f"groups.watch: layers of its tier stay dense: {model.dense_text}; a sparsity of 0.8 of the others is one of "
        f"{0.8 * (1 - model.dense_share):.3g} of the model."
    ]
