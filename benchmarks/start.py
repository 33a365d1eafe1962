"""Writes the weights that a scenario starts from, so that others can start from the same.

python -m benchmarks.start SCENARIO FILE.npz DATA_DIR MODEL
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

from fedcompress.experiment import Experiment
from fedcompress.scenario import Scenario


def main(scenario: Path, file: Path, data_dir: Path, model: str) -> None:
    """Writes the initial global model of the scenario, whose only group is `all`, with a network, array by array."""
    experiment = Experiment.load(Scenario.load(scenario, {"groups.all.model": model}), data_dir=data_dir)
    nobody: Any = None  # the initial state of these strategies does not depend on the clients
    state = experiment.server.initial(nobody)
    weights = experiment.server.global_model(state, next(iter(experiment.groups.values())))
    assert weights is not None
    np.savez(file, *weights)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), sys.argv[4])
