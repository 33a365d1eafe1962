"""The usual baselines end in the same weights, whoever runs their clients: what they keep and add up travels along."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from test_same_bits import outcome

from fedcompress.options import Options
from federating import PLUGINS, experiment


@pytest.mark.slow
@pytest.mark.parametrize("method", ["scaffold", "fednova", "feddyn", "fedproto", "fedgen", "dense"])
def test_two_workers_inline_and_of_ray_come_to_the_same_digest(method: str, tmp_path: Path) -> None:
    pytest.importorskip("ray")
    quick: dict[str, Any] = {"epochs": 2, "generator_steps": 1, "noise": 8} if method == "dense" else {}
    of = experiment(
        {
            "rounds": 2,
            "data": {"dataset": "digits", "clients": 3, "examples": 120, "partition": "dirichlet"},
            "training": {"batch_size": 16, "optimizer": "sgd", "learning_rate": 0.1},
            "server": {"strategy": method, "params": quick},
            "groups": [{"name": "all", "model": "mlp:8", "client": "sgd" if method == "dense" else method}],
        }
    )
    inline = outcome(of, tmp_path / "inline", Options(workers=2))
    assert outcome(of, tmp_path / "ray", Options("ray", 2, plugins=(PLUGINS,))) == inline
