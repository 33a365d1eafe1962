"""The interface of engines: what options name is what one gets, and what each says of itself."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from fedcompress import engines
from fedcompress.engines import engine_of
from fedcompress.engines.cluster import Connection
from fedcompress.engines.engine import LiveRun, LocalEngine
from fedcompress.errors import InputError
from fedcompress.options import ENGINES, Options
from fedcompress.results.run.checkpoint import Checkpoints
from fedcompress.results.run.directory import RunDirectory
from fedcompress.results.run.recorder import Observer, Recorder
from fedcompress.rows import Summary
from federating import experiment


def test_each_name_is_an_engine() -> None:
    assert tuple(engines.ENGINES) == ENGINES
    names = {name: type(engine_of(Options(name))).__name__ for name in ENGINES}
    assert names == {"inline": "InlineEngine", "ray": "RayEngine", "superlink": "SuperLinkEngine"}


@pytest.mark.parametrize(
    ("options", "address", "spreads"),
    [
        (Options("inline", 2), "", False),
        (Options("superlink", 2), "", False),
        (Options("ray", 2), "", True),
        (Options("ray", 1), "", False),
        (Options("ray", 2, ray_address="10.0.0.1:6379"), "", False),
        (Options("ray", 2), "10.0.0.1:6379", False),
        (Options("ray", 2, ray_address="local"), "10.0.0.1:6379", True),
    ],
    ids=[
        "inline",
        "superlink",
        "ray",
        "one worker",
        "cluster",
        "cluster of the environment",
        "this machine all the same",
    ],
)
def test_runs_of_a_sweep_share_the_workers_of_one_machine(
    options: Options, address: str, spreads: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", address)
    assert engine_of(options).spreads_runs == spreads


def test_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    assert version("flwr")
    assert engines.ENGINES["superlink"].state == "ready"
    monkeypatch.setattr(engines, "installed", lambda _: None)
    assert {name: entry.state for name, entry in engines.ENGINES.items()} == {
        "inline": "ready",
        "ray": 'missing: pip install "fedcompress[ray]"',
        "superlink": "missing: pip install flwr",
    }


def test_a_grid_is_closed_however_the_rounds_end(tmp_path: Path) -> None:
    """Also where they raise; the rounds get the grid, and their summary is the engine's."""
    made = experiment()
    directory = RunDirectory.create(tmp_path / "run", made.scenario.toml(), {})
    run = LiveRun(made, directory, Recorder(made, directory, "inline"), Checkpoints(directory), Observer())
    engine, closed = engine_of(Options(workers=2)), []
    assert isinstance(engine, LocalEngine)

    def rounds(grid: Any) -> Summary:
        close = grid.close
        grid.close = lambda: closed.append(close())
        if closed:
            raise ValueError("in a round")
        assert grid.partitions() == {0: 2, 1: 3, 2: 4, 3: 5}
        return Recorder(made, directory, "inline").summary("completed")

    assert engine.run(run, rounds)["engine"] == "inline"
    with pytest.raises(ValueError, match="in a round"):
        engine.run(run, rounds)
    assert len(closed) == 2


@pytest.mark.parametrize(
    ("offered", "message"),
    [
        (
            {"CPU": 4.0},
            "the cluster has 0; leave --gpus-per-worker out, or see what `fedcompress doctor` says of GPUs.",
        ),
        ({"CPU": 4.0, "GPU": 1.0}, "the cluster has 1; lower --workers."),
    ],
)
def test_gpus_that_a_cluster_does_not_have(offered: dict[str, float], message: str) -> None:
    connection = Connection.__new__(Connection)
    connection._options = Options("ray", 2, gpus_per_worker=1.0)
    connection.ray = SimpleNamespace(cluster_resources=lambda: offered)
    with pytest.raises(InputError) as error:
        connection._check_room()
    assert str(error.value) == f"engine ray: 2 workers of 1 GPU each asked for, but {message}"
    connection._options = Options("ray", 2, gpus_per_worker=0.5)
    offered["GPU"] = 1.0
    connection._check_room()
