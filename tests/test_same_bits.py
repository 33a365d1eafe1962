"""Same seed, same bits, for models with every kind of random initializer and random layer, wherever clients run.

One federation whose groups have one client and one model each; differences on the wire start from initial weights that
both ends make from the seed.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from flwr.serverapp import Grid

from fedcompress.engines import engine_of
from fedcompress.engines.engine import LiveRun
from fedcompress.experiment import Experiment
from fedcompress.options import Options
from fedcompress.results.run.checkpoint import Checkpoints
from fedcompress.results.run.directory import RunDirectory
from fedcompress.results.run.recorder import Observer, Recorder
from fedcompress.rows import Summary
from fedcompress.server_app import run_rounds
from fedcompress.strategy import State
from fedcompress.wire.content import digest
from federating import PLUGINS, experiment, of_zoo

Digests = Mapping[str, str]
"""Model -> digest of its final weights, and under "all" the run's `model_digest`."""


class Breaks(Observer):
    """An observer that interrupts the run after its first round."""

    def round_done(self, row: dict[str, Any]) -> None:
        if row["round"] == 1:
            raise KeyboardInterrupt


def outcome(made: Experiment, path: Path, options: Options | None = None, observer: Observer | None = None) -> Digests:
    """Runs an experiment, or what is left of it in a directory."""
    options = options or Options()
    directory = RunDirectory(path) if path.exists() else RunDirectory.create(path, made.scenario.toml(), {})
    checkpoints = Checkpoints(directory)
    recorder = Recorder(made, directory, options.engine)
    run = LiveRun(made, directory, recorder, checkpoints, observer or Observer())
    states: list[State] = []

    def rounds(grid: Grid) -> Summary:
        state, summary = run_rounds(
            grid, made, recorder, checkpoints, run.observer, workers=options.workers, fail_fast=True
        )
        states.append(state)
        return summary

    summary = engine_of(options).run(run, rounds)
    (state,) = states
    found = {group.model.name: made.server.global_model(state, group) for group in made.groups.values()}
    return {"all": str(summary["model_digest"]), **{name: digest(weights or []) for name, weights in found.items()}}


@pytest.fixture(scope="module")
def made() -> Experiment:
    return experiment(of_zoo())


@pytest.fixture(scope="module")
def once(made: Experiment, tmp_path_factory: pytest.TempPathFactory) -> Digests:
    return outcome(made, tmp_path_factory.mktemp("once") / "run")


def test_models_differ_and_seeds_differ(once: Digests, tmp_path: Path) -> None:
    """What is compared below is no constant."""
    assert len(set(once.values())) == len(of_zoo()["groups"]) + 1
    other = outcome(experiment(of_zoo("dropout", "lstm"), seed=2), tmp_path / "run")
    assert all(other[name] != once[name] for name in ("zoo:dropout", "zoo:lstm"))


def test_twice_in_one_thread(once: Digests, made: Experiment, tmp_path: Path) -> None:
    """The second run finds the graphs of the first, and nothing of what they drew."""
    assert outcome(made, tmp_path / "run") == once


def test_interrupted_and_resumed(once: Digests, made: Experiment, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        outcome(made, tmp_path / "run", observer=Breaks())
    assert outcome(made, tmp_path / "run") == once


def test_on_two_threads(once: Digests, made: Experiment, tmp_path: Path) -> None:
    assert outcome(made, tmp_path / "run", Options(workers=2)) == once


def test_on_two_workers_of_ray(once: Digests, made: Experiment, tmp_path: Path) -> None:
    pytest.importorskip("ray")
    assert outcome(made, tmp_path / "run", Options("ray", 2, plugins=(PLUGINS,))) == once
