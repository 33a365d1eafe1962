"""Environment that keeps third parties silent and at home; set before any of them is imported."""

from __future__ import annotations

import os

ENVIRONMENT = {
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
"""Variables that engines also hand to the processes they start."""


def apply() -> None:
    """Sets every variable that the user has not set."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
