"""The interface of engines: what carries out the rounds of a run. Nothing outside this package asks which one it is."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass

from flwr.serverapp import Grid

from fedcompress.engines.grid import LocalGrid
from fedcompress.experiment import Experiment
from fedcompress.options import Options
from fedcompress.results.run.checkpoint import Checkpoints
from fedcompress.results.run.directory import RunDirectory
from fedcompress.results.run.recorder import Observer, Recorder
from fedcompress.results.run.states import ClientStates
from fedcompress.rows import Summary

Rounds = Callable[[Grid], Summary]
"""Runs what is left of a run on a grid, and returns the summary."""


@dataclass(frozen=True)
class LiveRun:
    """A run that is under way.

    Attributes:
        experiment: What is run.
        directory: Where it is written.
        recorder: Writes its rows.
        checkpoints: Make its rounds lasting, and hold what its clients keep.
        observer: Is told of every round.
    """

    experiment: Experiment
    directory: RunDirectory
    recorder: Recorder
    checkpoints: Checkpoints
    observer: Observer


class Engine:
    """Carries out the rounds of runs; what a subclass does not say is as for the simplest one.

    Args:
        options: Among them, with how many workers.
    """

    def __init__(self, options: Options) -> None:
        self.options = options

    @property
    def spreads_runs(self) -> bool:
        """Whether the workers share out the runs of a sweep, rather than the clients of one run after the other."""
        return False

    @property
    def clients_are_apart(self) -> bool:
        """Whether a client may be a machine of its own, from which the server is to learn no more than it releases."""
        return False

    def check_clients(self, clients: int) -> None:
        """Raises InputError if a run has more clients than the engine can have."""

    def check(self, most: int) -> None:
        """Checks that the engine can be had; nothing of it is left.

        Args:
            most: So many workers are enough.

        Raises:
            InputError: It cannot be reached, or offers too little.
        """

    def check_resumable(self, directory: RunDirectory) -> None:
        """Raises InputError if a run that this engine began cannot go on to the result that it would have had."""

    def run(self, run: LiveRun, rounds: Rounds) -> Summary:
        """Runs what is left of a run and returns its summary.

        Args:
            run: The run.
            rounds: What the server does, on the engine's grid: here, or wherever the server is.

        Raises:
            RunError: The run failed. Nothing that was started is left.
        """
        raise NotImplementedError


class LocalEngine(Engine):
    """An engine whose server is this process, on a grid of its own."""

    def grid(self, experiment: Experiment, states: ClientStates) -> LocalGrid:
        """Returns the grid on which an experiment's clients run; `states` holds what they keep."""
        raise NotImplementedError

    def run(self, run: LiveRun, rounds: Rounds) -> Summary:
        with closing(self.grid(run.experiment, run.checkpoints.states)) as grid:
            return rounds(grid)
