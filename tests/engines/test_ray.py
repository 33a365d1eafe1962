"""Engine ray on two nodes on loopback: the same bits as in one process, and faults that cost one client."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fedcompress.errors import InputError, RunError
from fedcompress.launch import run_one
from fedcompress.options import Options
from fedcompress.results.run_directory import RunDirectory
from fedcompress.scenario import Scenario
from federating import FEDPKDG, PLUGINS, PRUNING, TINY, experiment, run

ray = pytest.importorskip("ray")
MIXED = {
    "groups": [
        {"name": "dense", "share": 0.5, "model": "small-cnn"},
        {"name": "pruned", "share": 0.5, "model": "mini-cnn", "compression": "magnitude", "sparsity": 0.8},
    ],
    "wire": {"values": "int8"},
}
DIFFERENCES = {
    **MIXED,
    "wire": {"values": "ternary", "delta": True, "top_k": 0.1, "feedback": True, "entropy": True},
    "server": {"cohort": 0.75},
}
DEVICES = {
    "groups": [
        {"name": "fast", "share": 0.5, "model": "mini-cnn", "device": "laptop"},
        {"name": "slow", "share": 0.5, "model": "mini-cnn", "device": "phone-low"},
    ],
    "server": {"deadline": 0.25},
}
"""Of the slow clients one drops out and some are late: what the model decides is the same everywhere."""


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """Two nodes of one CPU each."""
    from ray.cluster_utils import Cluster

    nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    nodes.add_node(num_cpus=1)
    yield nodes.address
    nodes.shutdown()


def scenario(table: dict[str, Any], **overrides: Any) -> Scenario:
    dotted = {key.replace("__", "."): value for key, value in overrides.items()}
    return Scenario.parse({**TINY, **table}, dotted)


def on_ray(cluster: str, made: Scenario, path: Path, workers: int = 2) -> tuple[dict[str, Any], RunDirectory]:
    options = Options("ray", workers, plugins=(PLUGINS,), ray_address=cluster)
    return run_one(made, path, options), RunDirectory(path)


@pytest.mark.parametrize(
    ("table", "workers"),
    [(MIXED, 1), (MIXED, 2), (FEDPKDG, 2), (DIFFERENCES, 2), (DEVICES, 2)],
    ids=["mixed-1", "mixed-2", "fedpkdg-2", "differences-2", "devices-2"],
)
def test_the_same_model_as_inline(cluster: str, tmp_path: Path, table: dict[str, Any], workers: int) -> None:
    summary, directory = on_ray(cluster, scenario(table), tmp_path / "ray", workers)
    inline, other, _ = run(experiment(table), tmp_path / "inline", workers)
    assert summary["model_digest"] == inline["model_digest"]
    assert directory.rows("ledger") == other.rows("ledger")
    assert directory.rows("rounds")[-1]["accuracy"] == other.rows("rounds")[-1]["accuracy"]
    assert summary.get("modelled") == inline.get("modelled")


@pytest.mark.parametrize(
    ("fault", "status", "reason"),
    [
        ("raise", "failed", "sensor unplugged"),
        ("quit", "failed", "SystemExit: 0"),
        ("interrupt", "failed", "KeyboardInterrupt"),
        ("exit", "failed", "worker died 2 times"),
        ("hang", "lost", "no reply within the time limit"),
        ("nan", "failed", "non-finite"),
    ],
)
def test_a_fault_costs_one_contribution(cluster: str, tmp_path: Path, fault: str, status: str, reason: str) -> None:
    groups = [{"name": "all", "model": "mini-cnn", "client": "faulty", "params": {"fault": fault}}]
    made = scenario({"groups": groups}, rounds=1, data__clients=3, data__partition="iid", server__timeout=30.0)
    bad = {c.partition for c in experiment(made.table()).clients if c.examples % 2 == 0}
    assert 0 < len(bad) < 3
    summary, directory = on_ray(cluster, made, tmp_path / "run")
    assert summary["status"] == "completed"
    rows = directory.rows("clients")
    assert {row["client"] for row in rows if row["status"] == status and reason in row["error"]} == bad
    assert {row["client"] for row in rows if row["status"] == "ok"} == {0, 1, 2} - bad


def test_debugging_shows_where_a_client_failed(cluster: str, tmp_path: Path) -> None:
    groups = [{"name": "all", "model": "mini-cnn", "client": "faulty", "params": {"fault": "quit", "everywhere": True}}]
    made = scenario({"groups": groups}, rounds=1, data__clients=2)
    options = Options("ray", 1, plugins=(PLUGINS,), ray_address=cluster, fail_fast=True)
    with pytest.raises(RunError) as caught:
        run_one(made, tmp_path / "run", options)
    lines = str(caught.value).splitlines()
    assert lines[0] == "client 0 failed in round 1, action 'train':"
    assert lines[2] == "Traceback (most recent call last):"
    assert any("clients/faulty.py" in line for line in lines)


def test_more_workers_than_the_cluster_has_are_refused(cluster: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="5 workers of 1 CPU each were asked for, the cluster has 2"):
        on_ray(cluster, scenario(PRUNING, data__clients=5), tmp_path / "run", workers=5)
