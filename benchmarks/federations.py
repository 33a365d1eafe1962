"""One federation, run to its end in this process: what benchmarks of settings judge models by."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedcompress.client_app import make_client_app
from fedcompress.engines.inline import InlineGrid
from fedcompress.evaluation import Scores
from fedcompress.experiment import Experiment
from fedcompress.results.run.checkpoint import Checkpoints
from fedcompress.results.run.directory import RunDirectory
from fedcompress.results.run.recorder import Observer, Recorder
from fedcompress.rows import Summary
from fedcompress.server_app import run_rounds
from fedcompress.strategy import State


@dataclass(frozen=True)
class Finished:
    """What a run leaves.

    Attributes:
        state: Of the server strategy.
        scores: Of the last round.
        summary: As in `summary.json`.
        ledger: Rows of `ledger.jsonl`.
        seconds: Of the processor.
    """

    state: State
    scores: Scores
    summary: Summary
    ledger: Sequence[dict[str, Any]]
    seconds: float


def grid_of(experiment: Experiment) -> InlineGrid:
    """Returns a grid of an experiment's clients in this process."""
    return InlineGrid(make_client_app(lambda _: experiment), len(experiment.clients))


def finished(experiment: Experiment, observer: Observer | None = None) -> Finished:
    """Runs a federation, of whose rounds an observer may be told; its files are gone afterwards."""
    started = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        directory = RunDirectory.create(Path(folder) / "run", experiment.scenario.toml(), {})
        grid = grid_of(experiment)
        recorder, checkpoints = Recorder(experiment, directory, "inline"), Checkpoints(directory)
        state, summary = run_rounds(grid, experiment, recorder, checkpoints, observer or Observer())
        grid.close()
        ledger = list(directory.rows("ledger"))
    return Finished(state, recorder.scores, summary, ledger, time.process_time() - started)
