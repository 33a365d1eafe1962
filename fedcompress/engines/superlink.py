"""Engine "superlink": Flower's deployment runtime on this machine, a SuperNode for each client.

The server runs as a Flower ServerApp in a process of its own and writes the run directory. This process starts
everything on loopback, submits the app, follows its rounds, and ends everything. What both sides build their experiment
from is the app's run configuration, so the same app runs on real hosts.
"""

from __future__ import annotations

import json
from pathlib import Path

from flwr.app import Context
from flwr.serverapp import Grid

from fedcompress.engines.deployment import Deployment, program
from fedcompress.engines.engine import Engine, LiveRun, Rounds
from fedcompress.engines.run_config import run_config
from fedcompress.errors import InputError, RunError
from fedcompress.link.client import keeps_state
from fedcompress.options import Options
from fedcompress.results.run.checkpoint import Checkpoints
from fedcompress.results.run.directory import RunDirectory
from fedcompress.rows import RoundRow, Summary

MOST_CLIENTS = 32
"""A client is a SuperNode here, which is three processes and up to 0.7 GB while it trains."""
_STATE_MARK = Path("checkpoint") / "clients-keep-state"


class SuperLinkEngine(Engine):
    """Runs the server and the clients in processes of Flower's deployment runtime, and follows what they write."""

    @property
    def clients_are_apart(self) -> bool:
        return True

    def check_clients(self, clients: int) -> None:
        """Raises InputError if Flower's programs are not there, too."""
        for name in ("flwr", "flower-superlink", "flower-supernode"):
            program(name)
        if clients > MOST_CLIENTS:
            raise InputError(
                f"engine superlink: {clients} clients are as many SuperNodes, each with processes of its own; expected "
                f"at most {MOST_CLIENTS}. Lower data.clients, or use --engine inline or ray."
            )

    def check_resumable(self, directory: RunDirectory) -> None:
        """Raises InputError if its clients' state is gone with their nodes."""
        if (directory.path / _STATE_MARK).exists() and Checkpoints(directory).exists:
            raise InputError(
                f"resume {directory.path}: its clients keep state, which was on the SuperNodes of the run and is gone "
                "with them; start a new run, with --engine inline or ray if it has to be resumable."
            )

    def run(self, run: LiveRun, rounds: Rounds) -> Summary:
        """Has `rounds` run by the app's server; what that leaves of a round that it has not finished is taken back."""
        _take_back(run.checkpoints)
        try:
            return self._follow(run)
        except (RunError, KeyboardInterrupt):
            _take_back(run.checkpoints)
            run.recorder.restore()
            raise

    def _follow(self, run: LiveRun) -> Summary:
        """Tells the observer of rounds as they appear on disk."""
        rows = _rounds(run.directory)
        observed = len(rows)
        run.observer.started(run.experiment, rows)
        with Deployment(len(run.experiment.clients)) as deployment:
            for _ in deployment.run(run_config(run.experiment, run.directory.path, self.options)):
                rows = _rounds(run.directory)
                for row in rows[observed:]:
                    run.observer.round_done(row)
                observed = len(rows)
        return run.directory.summary


class ServerAppEngine(SuperLinkEngine):
    """The same engine as the app's server sees it: Flower has started it, and the grid is there."""

    def __init__(self, options: Options, grid: Grid) -> None:
        super().__init__(options)
        self._grid = grid

    def run(self, run: LiveRun, rounds: Rounds) -> Summary:
        return rounds(self._grid)


def note_state(context: Context) -> None:
    """Leaves a mark in the run directory, where this host has it, that a client keeps state on its node."""
    out = Path(str(context.run_config.get("out", "")) or "-")
    if keeps_state(context.state) and out.is_dir() and not (out / _STATE_MARK).exists():
        (out / _STATE_MARK).parent.mkdir(exist_ok=True)
        (out / _STATE_MARK).touch()


def _take_back(checkpoints: Checkpoints) -> None:
    """Leaves on disk what whole rounds have left there."""
    if checkpoints.exists:
        checkpoints.load()
    else:
        checkpoints.reset()


def _rounds(directory: RunDirectory) -> list[RoundRow]:
    """Returns the rounds that are on disk, without one that is just being written."""
    text = (directory.path / "rounds.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.rpartition("\n")[0].splitlines()]
