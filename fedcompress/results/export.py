"""Final models of a run on disk: Keras and TFLite files per group."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from fedcompress.compression import tflite
from fedcompress.compression.size import save_h5
from fedcompress.experiment import Experiment
from fedcompress.groups import Group
from fedcompress.models.architecture import ModelSpec
from fedcompress.models.cost import UncountedError, multiply_adds
from fedcompress.results import exported
from fedcompress.results.run.directory import file_names
from fedcompress.results.run.missing import optional
from fedcompress.strategy import State
from fedcompress.wire.content import Arrays


def export_models(
    experiment: Experiment, state: State, folder: Path, missing: list[str]
) -> Mapping[str, Mapping[str, int | str | None]]:
    """Writes `GROUP.h5` and `GROUP.tflite` for every group whose devices' model the server has; returns their costs.

    Those are sizes in bytes, and the multiply-adds of one example, None where they cannot be counted.

    Groups whose names would be one file end in a digest there; see `file_names`. A model that is the server's own is
    `server.h5` and `server.tflite`. A file that cannot be made is left out: its size is None, and `missing` says why.
    A TFLite file that needs operations of TensorFlow says so beside its size. `models.json` says what they take.

    The model is what the group's first client deploys: the global weights under its mask, without the channels that are
    pruned as a whole. With `mask = "server"` that is the same for the whole group.
    """
    sizes: dict[str, Mapping[str, int | str | None]] = {}
    with_tflite = experiment.scenario.evaluation.tflite
    files = file_names(experiment.groups)
    written: dict[str, tuple[str, str]] = {}
    for name, group in experiment.groups.items():
        weights = _deployed(experiment, state, group)
        if weights is None:
            continue
        spec = experiment.deployed_model(state, group)
        small = group.compression.deployed(spec, weights) if spec is group.model else (spec, weights)
        sizes[name] = _write(*small, folder / files[name], missing, with_tflite)
        written[name] = files[name], small[0].name
    if of_server := experiment.server.own_model(state):
        _write(*of_server, folder / "server", missing, with_tflite)
        written["server"] = "server", of_server[0].name
    with optional(f"models/{exported.FILE}", missing):
        exported.write(folder, {name: _said(experiment, folder, *stem) for name, stem in written.items()})
    return sizes


def _said(experiment: Experiment, folder: Path, stem: str, model: str) -> exported.Exported:
    present = [f"{stem}{suffix}" for suffix in (".h5", ".tflite") if (folder / f"{stem}{suffix}").exists()]
    return exported.said(model, present, experiment.data.dataset, experiment.scenario.data.classes)


def _deployed(experiment: Experiment, state: State, group: Group) -> Arrays | None:
    """Returns what the first client deploys of which the server knows it."""
    deployed = (experiment.deployed(state, experiment.clients[partition]) for partition in group.clients)
    return next((weights for weights in deployed if weights is not None), None)


def _write(
    spec: ModelSpec, weights: Arrays, stem: Path, missing: list[str], with_tflite: bool
) -> dict[str, int | str | None]:
    stem.parent.mkdir(exist_ok=True)
    model = spec.build()
    model.set_weights(weights)
    sizes: dict[str, int | str | None] = {"h5_bytes": None, "tflite_bytes": None, "multiply_adds": None}
    with suppress(UncountedError):
        sizes["multiply_adds"] = multiply_adds(model)
    with optional(f"models/{stem.name}.h5", missing):
        sizes["h5_bytes"] = save_h5(model, stem.with_name(f"{stem.name}.h5"))
    if with_tflite:
        with optional(f"models/{stem.name}.tflite", missing):
            data = tflite.convert(model)
            stem.with_name(f"{stem.name}.tflite").write_bytes(data)
            sizes["tflite_bytes"] = len(data)
            if (needed := tflite.operations(data)) != "builtin":
                sizes["tflite_operations"] = needed
    return sizes
