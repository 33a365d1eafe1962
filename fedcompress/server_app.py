"""The server of a run: rounds of a server strategy, scored and written down one by one."""

from __future__ import annotations

import re
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from typing import cast

from flwr.serverapp import Grid

from fedcompress.errors import one_line
from fedcompress.evaluation import Evaluator
from fedcompress.experiment import Experiment
from fedcompress.fairness import over_clients
from fedcompress.federation import Federation
from fedcompress.guard import Guard
from fedcompress.link.delivery import VirtualNodes
from fedcompress.results.run.checkpoint import Checkpoint, Checkpoints
from fedcompress.results.run.recorder import Observer, Recorder
from fedcompress.results.run.samples import SampleReport
from fedcompress.rows import Summary
from fedcompress.stopping import Stopping
from fedcompress.strategy import State
from fedcompress.tracking.trackers import Trackers


def run_rounds(
    grid: Grid,
    experiment: Experiment,
    recorder: Recorder,
    checkpoints: Checkpoints,
    observer: Observer,
    *,
    samples: SampleReport | None = None,
    trackers: Trackers | None = None,
    workers: int = 1,
    fail_fast: bool = False,
) -> tuple[State, Summary]:
    """Runs all rounds, or those after the checkpoint, and returns the final state and the summary.

    Args:
        grid: Any Flower grid whose nodes run our client app.
        experiment: What to run.
        recorder: Writes every round before the next begins.
        checkpoints: Makes every round lasting; where there is a checkpoint, the run goes on from it.
        observer: Is told of every round.
        samples: Judges what generators make, outside the timed rounds.
        trackers: Are sent the scalars of every round.
        workers: Threads that share an evaluation.
        fail_fast: End at the first failure of a client instead of going on without it.

    Raises:
        RunError: Too few clients replied, or `fail_fast` and one failed; the strategy failed; or a model is no longer
            finite. Of the round in which it happens nothing is written.
    """
    strategy, guard = experiment.server, Guard(experiment.scenario.server.strategy, debug=fail_fast)
    fed = Federation(grid, experiment, fail_fast=fail_fast)
    recorder.accounts = fed.accounts
    state, done = _initial(fed, experiment, guard), 0
    if checkpoints.exists:
        checkpoint = checkpoints.load()
        state, done = checkpoint.state, checkpoint.round
        if isinstance(grid, VirtualNodes):  # nodes elsewhere start afresh and hold no masks
            fed.references.update(checkpoint.references)
        fed.accounts.restore(checkpoint.releases)
        recorder.restore()
    recorder.keep_releases()
    stopping = Stopping.of(experiment)
    recorder.stopped = stopping.after(recorder.rounds)
    recorder.federation()
    observer.started(experiment, recorder.rounds)
    if trackers is not None:
        trackers.begin(done + 1)
    with ThreadPoolExecutor(workers) if workers > 1 else nullcontext() as pool:
        evaluator = Evaluator(experiment, guard, pool, workers)
        number, last = done, experiment.scenario.rounds
        while number < last and recorder.stopped is None:
            number += 1
            started = time.perf_counter()
            fed.begin(number)
            with guard.calling(f"round {number}"):
                before, state = state, guard.checked(strategy.round(fed, state), f"round {number}")
                if experiment.tiers is not None:
                    state = experiment.tiers.after(fed, before, state)
            _tell_of_kept_models(fed, experiment, recorder)
            _tell_of_failures(fed, experiment, recorder)
            evaluator.check(state, number)
            recorder.note(fed.record)
            scores = evaluator.score(state, recorder.tested, number)
            ends = stopping.after([*recorder.rounds, recorder.row(number, fed.record, scores, started)]) is not None
            if ends and not evaluator.schedule.complete(number):
                scores = evaluator.score(state, recorder.tested, number, final=True)
            row = recorder.round(number, fed.record, scores, started)
            checkpoints.save(Checkpoint(number, state, fed.references, fed.accounts.rows))
            recorder.stopped = stopping.after(recorder.rounds)
            observer.round_done(row)
            if trackers is not None:
                trackers.round(row, fed.record.clients, state)
            if samples is not None and number != last and samples.due(number):
                samples.write(fed, state, number)
        if samples is not None:
            samples.write(fed, state, number)
        if number == done:  # killed after its last round
            recorder.scores = evaluator.score(state, recorder.tested, number, final=True)
        summary = _concluded(evaluator, recorder, state)
        return state, cast(Summary, {**summary, **(samples.final(number) if samples else {})})


def _initial(fed: Federation, experiment: Experiment, guard: Guard) -> State:
    """Returns the state before the first round, and tells the federation whose models are whose."""
    strategy = experiment.server
    with guard.calling("before round 1"):
        state = guard.checked(strategy.initial(fed), "before round 1")
        fed.personal = frozenset(
            name
            for name, group in experiment.groups.items()
            if strategy.own_models(group)
            or strategy.global_model(state, group) is None
            or (experiment.scenario.judges_own and name in experiment.own_models.kept)
        )
    return state


def _tell_of_kept_models(fed: Federation, experiment: Experiment, recorder: Recorder) -> None:
    """Says, once in a run, that clients have returned models of their own that nobody knew of."""
    told = {event for row in recorder.rounds for event in row["events"]}
    for group in sorted(fed.record.keeping.difference(experiment.own_models.known)):
        if (text := one_line(experiment.own_models.scored_without(group))) not in told:
            fed.event(text)


def _tell_of_failures(fed: Federation, experiment: Experiment, recorder: Recorder) -> None:
    """Says, once in a run for each group, why the first of its clients that failed did so."""
    told = [event for row in recorder.rounds for event in row["events"]]
    for name, group in experiment.groups.items():
        rows = [row for row in fed.record.clients if row["group"] == name and row["status"] in ("failed", "refused")]
        begins = f"clients of group {name!r} failed"
        if not rows or any(event.startswith(begins) for event in told):
            continue
        clients = len({row["client"] for row in rows})
        reason = re.sub(r"^round .*?\): ", "", str(rows[0]["error"])).partition("; the server had sent")[0]
        fed.event(
            f"{begins}, {clients} of {len(group.clients)}: client {rows[0]['client']} in {rows[0]['action']!r} by "
            f"{one_line(reason, 300)}; clients.jsonl has all, and fedcompress run --debug stops at the first and "
            "shows where"
        )


def _concluded(evaluator: Evaluator, recorder: Recorder, state: State) -> Summary:
    """Scores the clients by the final state, and returns the summary."""
    clients = evaluator.clients(state, recorder.tested)
    recorder.federation(clients)
    recorder.confusion(evaluator.confusion(state))
    summary = recorder.summary("completed", over_clients(clients), evaluator.digest(state, recorder.tested))
    return cast(Summary, {**summary, **evaluator.extras(state)})
