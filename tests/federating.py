"""Small federations for tests: real digits, real Flower apps, the inline engine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fedcompress.client_app import make_client_app
from fedcompress.engines.inline import InlineGrid
from fedcompress.experiment import Experiment
from fedcompress.federation import Federation
from fedcompress.plugins import Plugins
from fedcompress.results.run.checkpoint import Checkpoints
from fedcompress.results.run.directory import RunDirectory
from fedcompress.results.run.recorder import Observer, Recorder
from fedcompress.scenario import Scenario
from fedcompress.server_app import run_rounds

PLUGINS = Path(__file__).parent / "plugins"

TINY: dict[str, Any] = {
    "name": "tiny",
    "rounds": 3,
    "data": {"dataset": "mnist-5k", "clients": 4, "partition": "dirichlet"},
    "training": {"batch_size": 64},
    "evaluation": {"tflite": False},
    "groups": [{"name": "all", "model": "mini-cnn"}],
}
"""Without TFLite files, which take most of the time of a run as short as this."""

PRUNING = {
    "groups": [
        {"name": "dense", "share": 0.5, "model": "mini-cnn"},
        {"name": "pruned", "share": 0.5, "model": "mini-cnn", "compression": "magnitude", "sparsity": 0.8},
    ],
}

FEDPKDG: dict[str, Any] = {
    "data": {"dataset": "digits", "clients": 4, "partition": "dirichlet"},
    "groups": [{**group, "client": "fedpkdg"} for group in PRUNING["groups"]],
    "public": {"source": "gan", "examples": 200, "buffer": 2, "share_discriminator": False, "guide": 0.1},
    "server": {"strategy": "fedpkdg"},
    "wire": {"values": "int8"},
}
"""Everything at once: pruned clients, generators, client state, a rolling buffer, lossy transfers."""

EMBEDDED: dict[str, Any] = {
    "data": {"dataset": "digits", "clients": 4, "partition": "dirichlet"},
    "groups": [{"name": "all", "model": "mini-cnn", "client": "fedpkdg"}],
    "public": {
        "source": "embedding",
        "examples": 60,
        "embedding": {"features": 20, "steps": 12, "more_steps": 3, "batch_size": 20},
    },
    "privacy": {"epsilon": 10.0},
    "server": {"strategy": "fedpkdg", "cohort": 0.5},
}
"""A generator made of what clients release once, each when it first takes part."""

PRIVATE_GAN: dict[str, Any] = {
    "data": {"dataset": "digits", "clients": 4, "partition": "dirichlet"},
    "groups": [{"name": "all", "model": "mini-cnn", "client": "distilling"}],
    "public": {
        "source": "gan",
        "gan": "private",
        "examples": 60,
        "share_discriminator": False,
        "dp_sgd": {"sampling": 0.2, "discriminator_steps": 2, "noise": 0.8},
    },
    "privacy": {"epsilon": 8.0},
    "server": {"strategy": "feddf"},
}
"""A GAN that clients train by DP-SGD, whose budget lasts for two rounds; discriminators stay with clients."""

SLIM_GAN: dict[str, Any] = {
    "data": {"dataset": "digits", "clients": 4, "partition": "dirichlet"},
    "groups": [{"name": "all", "model": "mini-cnn", "client": "fedpkdg"}],
    "public": {"source": "gan", "gan": "slim", "examples": 60, "epochs": 2, "rho": 0.75, "slim_from": 2},
    "server": {"strategy": "fedpkdg", "params": {"teacher": "predictions"}},
}
"""A generator that loses channels from the second round on."""

OF_PLUG_INS: dict[str, Any] = {
    "delta": True,
    "top_k": 0.1,
    "feedback": True,
    "entropy": True,
    "values": "coarse",
    "downlink_values": "brain",
    "whole": "brain",
}
"""A wire format whose value types are those of `plugins/values`."""


BY_WRITER: dict[str, Any] = {
    "data": {
        "dataset": "signed",
        "clients": 4,
        "examples": 240,
        "partition": "by-writer",
        "partition_params": {"writers": 3},
    },
}
"""A data set that says whose each example is, and a partition that asks for it: both plug-ins, of one file each."""


ZOO = (
    *("depthwise", "separable", "lstm", "gru", "embedding", "nested", "sequential", "dropout", "spatial-dropout"),
    *("noise", "augmentation", "recurrent-dropout", "bidirectional", "attention", "distributed", "twice"),
    *("normalised", "own"),
)
"""Models of `plugins/models/zoo.py`: what draws random numbers, initial weights or in training."""


def of_zoo(*names: str) -> dict[str, Any]:
    """Returns a federation in which each client has a model, and a group, of its own; of all of `ZOO` by default."""
    names = names or ZOO
    return {
        "rounds": 2,
        "data": {"dataset": "digits", "clients": len(names), "examples": 20 * len(names)},
        "training": {"batch_size": 8},
        "wire": {"delta": True},
        "groups": [{"name": name, "share": 1 / len(names), "model": f"zoo:{name}"} for name in names],
    }


def experiment(table: dict[str, Any] | None = None, **overrides: Any) -> Experiment:
    """Returns TINY with the top-level keys of `table` replaced, and dotted overrides (`.` written as `__`)."""
    dotted = {key.replace("__", "."): value for key, value in overrides.items()}
    return Experiment.load(Scenario.parse({**TINY, **(table or {})}, dotted), Plugins((PLUGINS,)))


def grid(made: Experiment, workers: int = 1) -> InlineGrid:
    return InlineGrid(make_client_app(lambda _: made), len(made.clients), workers)


def federation(made: Experiment) -> Federation:
    fed = Federation(grid(made), made)
    fed.begin(1)
    return fed


def run(made: Experiment, path: Path, workers: int = 1) -> tuple[dict[str, Any], RunDirectory, InlineGrid]:
    """Runs an experiment and returns summary, run directory and grid."""
    directory = RunDirectory.create(path, made.scenario.toml(), {})
    engine = grid(made, workers)
    recorder, checkpoints = Recorder(made, directory, "inline"), Checkpoints(directory)
    _, summary = run_rounds(engine, made, recorder, checkpoints, Observer(), workers=workers)
    engine.close()
    return summary, directory, engine
