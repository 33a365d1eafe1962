"""Final models of a run on disk: Keras and TFLite files per group."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from fedcompress.compression import tflite
from fedcompress.compression.size import save_h5
from fedcompress.experiment import Experiment
from fedcompress.models.architecture import ModelSpec
from fedcompress.results.run_directory import file_names
from fedcompress.strategy import State
from fedcompress.wire.content import Arrays


def export_models(experiment: Experiment, state: State, folder: Path) -> Mapping[str, Mapping[str, int]]:
    """Writes `GROUP.h5` and `GROUP.tflite` for every group that has a global model, and returns their sizes in bytes.

    Groups whose names would be one file end in a digest there; see `file_names`. A model that is the server's own is
    `server.h5` and `server.tflite`.

    The model is what the group's first client would deploy: the global weights under its mask, without the channels
    that are pruned as a whole. With `mask = "server"` that is the same for the whole group.
    """
    sizes: dict[str, Mapping[str, int]] = {}
    files = file_names(experiment.groups)
    for name, group in experiment.groups.items():
        weights = experiment.deployed(state, experiment.clients[group.clients[0]])
        if weights is None:
            continue
        sizes[name] = _write(*group.compression.deployed(group.model, weights), folder / files[name])
    if own := experiment.server.own_model(state):
        _write(*own, folder / "server")
    return sizes


def _write(spec: ModelSpec, weights: Arrays, stem: Path) -> dict[str, int]:
    stem.parent.mkdir(exist_ok=True)
    model = spec.build()
    model.set_weights(weights)
    return {
        "h5_bytes": save_h5(model, stem.with_name(f"{stem.name}.h5")),
        "tflite_bytes": _write_tflite(model, stem.with_name(f"{stem.name}.tflite")),
    }


def _write_tflite(model: object, path: Path) -> int:
    path.write_bytes(tflite.convert(model))
    return path.stat().st_size
