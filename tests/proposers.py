"""Proposers of masks for tests: of random weights, and a federation that has its masks from one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from fedcompress.masks.features import FEATURES
from fedcompress.masks.head import head_shapes
from fedcompress.masks.proposer import Proposer, shapes


def made_proposer(path: Path) -> Path:
    """Writes a proposer that has learned nothing."""
    rng = np.random.default_rng(1)
    weights, head = (
        {name: rng.standard_normal(shape).astype(np.float32) / 4 for name, shape in part.items()}
        for part in (shapes(), head_shapes())
    )
    path.write_bytes(Proposer(weights, head, np.zeros(len(FEATURES)), np.ones(len(FEATURES)), {}).written())
    return path


def proposed(path: Path, clients: int = 3) -> dict[str, Any]:
    """Returns a federation of two groups, whose nested masks are drawn by a proposer that is written to a file."""
    proposer = str(made_proposer(path))
    params = {"score": "gan", "proposer": proposer, "draws": 2, "begin_round": 1, "nested": True, "count": "channels"}
    pruned = {"model": "mini-cnn", "compression": "channel", "compression_params": params}
    return {
        "data": {"dataset": "digits", "clients": clients, "server_validation": 0.1},
        "groups": [
            {"name": "half", "share": 0.34, "sparsity": 0.5, **pruned},
            {"name": "quarter", "share": 0.66, "sparsity": 0.75, **pruned},
        ],
    }
