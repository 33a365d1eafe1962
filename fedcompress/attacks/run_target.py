"""What can be attacked of a run: the generator and the discriminator of its last round."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fedcompress.attacks.membership import Target
from fedcompress.distillation.source import DISCRIMINATOR, GENERATOR, TRAIN
from fedcompress.distillation.tiers import STATE
from fedcompress.errors import InputError
from fedcompress.experiment import Experiment
from fedcompress.options import Options
from fedcompress.plugins import Plugins
from fedcompress.results.run.checkpoint import Checkpoints
from fedcompress.results.run.directory import RunDirectory
from fedcompress.results.runs import RunResult
from fedcompress.scenario import Scenario


def _trained_by(directory: RunDirectory) -> set[int]:
    """Returns the clients that have trained the generator, and whose training has arrived."""
    return {row["client"] for row in directory.rows("clients") if row["action"] == TRAIN and row["status"] == "ok"}


def target_of_run(path: Path) -> Target:
    """Returns the GAN of a completed run; members are the training examples of the clients whose data it has seen.

    Raises:
        InputError: It is no completed run, has no generator, or its data are not what they were.
    """
    run = RunResult.load(path)
    options = Options.of(dict(run.provenance), path / "provenance.json")
    scenario = Scenario.load(path / "scenario.toml")
    if scenario.public is None or not scenario.public.generated:
        instead = "no public data" if scenario.public is None else f"public data from {scenario.public.source!r}"
        raise InputError(f'{path}: has no generator to attack: {instead}; expected source = "gan" or "embedding".')
    experiment = Experiment.load(scenario, Plugins(options.plugins), options.data_dir)
    if experiment.data.digest != run.provenance["data_digest"]:
        raise InputError(f"{path}: the data changed since the run; its members are not known any more.")
    source, state = experiment.public, Checkpoints(RunDirectory(path)).read().state
    public: dict[str, Any] = state.get("public") or state.get(STATE, {}).get("public") or {}
    if source is None or source.gan is None or not public.get(GENERATOR):
        raise InputError(f"{path}: strategy {scenario.server.strategy!r} left no generator to attack.")
    seen = sorted(public["released"] if source.embedded is not None else _trained_by(RunDirectory(path)))
    if not seen:
        raise InputError(f"{path}: no client trained its generator, so that it has no members.")
    shared = source.embedded is None and scenario.public.share_discriminator
    return Target(
        path.name or str(path),
        source.gan,
        [list(weights) for weights in public.get("generators") or [public[GENERATOR]]],
        list(public[DISCRIMINATOR]) if shared and public.get(DISCRIMINATOR) else None,
        experiment.data.pooled(seen),
        experiment.data.test_examples,
        scenario.seed,
    )
