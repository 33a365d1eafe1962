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
APART = (
    "groups.model: mini-cnn, small-cnn are averaged each by itself: clients of one learn nothing from another's. "
    "What teaches across them is a strategy such as feddf, fedpkdg or fedproto, and what sparse devices run also "
    "server.params.tiers with a tier_teacher."
)


def tiered(source: str, **params: Any) -> Experiment:
    server = {"strategy": "fedavg", "params": params}
    data = {"dataset": "mnist-5k", "clients": 4, "examples": 1200}
    return federating.experiment(
        {"data": data, "public": {"source": source, "examples": 200}, "server": server, "groups": GROUPS}
    )


def test_generators_that_only_tiers_need_are_exchanged_too() -> None:
    said = "Generators are trained without differential privacy and exchanged: they can reveal training data."
    assert tiered("gan", tiers="kd").warnings == [said, APART]
    assert tiered("gan", tiers="kd", tier_teacher="small-cnn").warnings == [said]
    assert tiered("holdout", tiers="kd").warnings == [APART]
    assert tiered("gan", tiers="none").warnings == [APART]


def test_models_that_are_averaged_each_by_itself() -> None:
    """Of one model, and where public data or data-free students teach across them, there is nothing to say."""
    groups = [{**group, "client": "sgd"} for group in GROUPS]
    data = {"dataset": "mnist-5k", "clients": 4, "examples": 1200}

    def warnings(strategy: str, groups: list[dict[str, Any]], **more: Any) -> list[str]:
        return federating.experiment(
            {"data": data, "server": {"strategy": strategy}, "groups": groups, **more}
        ).warnings

    assert warnings("fedavg", groups) == [APART]
    assert warnings("ditto", [{**group, "client": "ditto"} for group in groups]) == [APART]
    assert warnings("fedavg", [{**group, "model": "small-cnn"} for group in groups]) == []
    assert warnings("feddf", groups, public={"source": "holdout", "examples": 200}) == []
    assert APART not in warnings("dense", groups)


def test_a_head_that_a_tier_reuses_stays_dense() -> None:
    made = tiered("holdout", tiers="simkd", tier_teacher="small-cnn")
    model = made.device_model(made.groups["watch"])
    assert made.warnings == [
        f"groups.watch: layers of its tier stay dense: {model.dense_text}; a sparsity of 0.8 of the others is one of "
        f"{0.8 * (1 - model.dense_share):.3g} of the model."
    ]
