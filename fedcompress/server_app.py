"""The Flower ServerApp: rounds of a server strategy, scored and written down one by one."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from fedcompress.evaluation import Evaluator
from fedcompress.experiment import Experiment
from fedcompress.federation import Federation
from fedcompress.results.recorder import Observer, Recorder, Row
from fedcompress.strategy import State
from fedcompress.training.trainer import evaluate

DEPLOYED_SAMPLE = 10
"""Clients of a group whose deployed models are run over the whole test set at the end."""


def make_server_app(run: Callable[[Grid, Context], None]) -> ServerApp:
    """Returns a ServerApp whose main function is `run`."""
    app = ServerApp()
    app.main()(run)
    return app


def run_rounds(
    grid: Grid, experiment: Experiment, recorder: Recorder, observer: Observer, *, fail_fast: bool = False
) -> tuple[State, Row]:
    """Runs all rounds and returns the final state and the summary.

    Args:
        grid: Any Flower grid whose nodes run our client app.
        experiment: What to run.
        recorder: Writes every round before the next begins.
        observer: Is told of every round.
        fail_fast: End at the first failure of a client instead of going on without it.

    Raises:
        RunError: Too few clients replied, or `fail_fast` and one failed.
    """
    strategy = experiment.server
    evaluator = Evaluator(experiment)
    fed = Federation(grid, experiment, fail_fast=fail_fast)
    state = strategy.initial(fed)
    fed.tests = {name: strategy.global_model(state, group) is None for name, group in experiment.groups.items()}
    observer.started(experiment, 1)
    for number in range(1, experiment.scenario.rounds + 1):
        started = time.perf_counter()
        fed.begin(number)
        state = strategy.round(fed, state)
        recorder.note(fed.record)
        scores = evaluator.score(state, recorder.latest)
        observer.round_done(recorder.round(number, fed.record, scores, started))
    clients = evaluator.clients(state, recorder.latest)
    digest = evaluator.digest(state, recorder.latest)
    return state, recorder.summary("completed", clients, digest, deployed_accuracy(experiment, state))


def deployed_accuracy(experiment: Experiment, state: State) -> Mapping[str, Mapping[str, Any]]:
    """Returns, for each group with a global model, the mean test accuracy of what its clients would deploy."""
    result = {}
    for name, group in experiment.groups.items():
        accuracies = []
        for partition in group.clients[:DEPLOYED_SAMPLE]:
            weights = experiment.server.deployed(state, experiment.clients[partition])
            if weights is None:
                break
            accuracies.append(evaluate(group.model, weights, experiment.data.test_examples).accuracy)
            if group.compression.chooser != "client":
                break  # all clients of the group have the same
        result[name] = {"deployed_accuracy": float(np.mean(accuracies)) if accuracies else None}
    return result
