"""Models of single clients on disk, where a run was asked for them: `models/clients/NN.keras`."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from fedcompress.errors import RunError
from fedcompress.experiment import Experiment
from fedcompress.groups import ClientInfo
from fedcompress.link.client import kept_model
from fedcompress.models.architecture import ModelSpec
from fedcompress.results.run.missing import optional
from fedcompress.results.run.states import ClientStates
from fedcompress.strategy import State
from fedcompress.units import cut_list
from fedcompress.wire.content import Arrays

FOLDER = "clients"


def file_of(client: int, clients: int) -> str:
    """Returns the name of a client's file: numbers of one width, so that they sort.

    >>> file_of(3, 100)
    '03.keras'
    """
    return f"{client:0{len(str(max(clients - 1, 0)))}d}.keras"


def export_client_models(
    experiment: Experiment, state: State, states: ClientStates, folder: Path, missing: list[str]
) -> None:
    """Writes the model of each client: the one that it keeps, or else what its device runs, channels left out.

    Args:
        experiment: The run's.
        state: Of the server strategy, at the end.
        states: What clients keep; empty where they keep it on nodes of their own.
        folder: Of the run's models.
        missing: Takes a line for models that cannot be had.
    """
    keeping, without = experiment.own_models.kept, []
    for client in experiment.clients:
        found = _kept(experiment, client, states) if client.group in keeping else _deployed(experiment, state, client)
        if found is None:
            without.append(client.partition)
            continue
        path = folder / FOLDER / file_of(client.partition, len(experiment.clients))
        with optional(f"models/{FOLDER}/{path.name}", missing):
            path.parent.mkdir(parents=True, exist_ok=True)
            model = found[0].build()
            model.set_weights(found[1])
            model.save(path)
    if without:
        with optional(f"models/{FOLDER} of {cut_list(without)}", missing):
            raise RunError(
                "they have trained none yet, or keep it on nodes of their own, or it is of another architecture"
            )


def _deployed(experiment: Experiment, state: State, client: ClientInfo) -> tuple[ModelSpec, Arrays] | None:
    group, weights = experiment.groups[client.group], experiment.deployed(state, client)
    if weights is None:
        return None
    spec = experiment.deployed_model(state, group)
    return group.compression.deployed(spec, weights) if spec is group.model else (spec, weights)


def _kept(experiment: Experiment, client: ClientInfo, states: ClientStates) -> tuple[ModelSpec, Arrays] | None:
    group, weights = experiment.groups[client.group], kept_model(states.get(client.partition).restored())
    specs = (group.model, experiment.server.client_model(group))
    fitting = [spec for spec in specs if weights and [a.shape for a in spec.template] == [a.shape for a in weights]]
    if not weights or not fitting:
        return None
    spec, own = fitting[0], [np.array(array) for array in weights]
    return group.compression.deployed(spec, own) if spec is group.model else (spec, own)
