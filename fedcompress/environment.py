"""Environment that keeps third parties silent, at home and fast; set before any of them is imported."""

from __future__ import annotations

import os
import platform

ONEDNN = "TF_ENABLE_ONEDNN_OPTS"
VARIABLES = {
    "FLWR_TELEMETRY_ENABLED": "0",
    "FLWR_DISABLE_UPDATE_CHECK": "1",
    "FLWR_LOG_LEVEL": "ERROR",
    "RAY_USAGE_STATS_ENABLED": "0",
    "WANDB_ERROR_REPORTING": "false",
    "WANDB_SILENT": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "TF_USE_LEGACY_KERAS": "1",
    "TF_FORCE_GPU_ALLOW_GROWTH": "true",
}
"""Values of what the user has not set."""
if platform.machine().lower() in ("x86_64", "amd64"):
    # TensorFlow has it on by itself only where there are instructions for int8. With AVX2 alone a training of small
    # networks of convolutions takes 0.3 to 0.7 of the time with it, and some convolutions a tenth.
    VARIABLES[ONEDNN] = "1"


def apply() -> None:
    """Sets every variable that the user has not set."""
    for name, value in VARIABLES.items():
        os.environ.setdefault(name, value)


def applied() -> dict[str, str]:
    """Returns every variable as it is here: engines hand them to the processes that they start."""
    return {name: os.environ.get(name, value) for name, value in VARIABLES.items()}
