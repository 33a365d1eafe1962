"""Writes the weights that a scenario starts from, so that others can start from the same: `start SCENARIO FILE.npz`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

from fedcompress.experiment import Experiment
from fedcompress.scenario import Scenario


def main(scenario: Path, file: Path, data_dir: Path | None) -> None:
    """Writes the initial global model of the scenario's first group, array by array."""
    experiment = Experiment.load(Scenario.load(scenario), data_dir=data_dir)
    nobody: Any = None  # the initial state of these strategies does not depend on the clients
    state = experiment.server.initial(nobody)
    weights = experiment.server.global_model(state, next(iter(experiment.groups.values())))
    assert weights is not None
    np.savez(file, *weights)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]) if len(sys.argv) > 3 else None)
