"""Weights & Biases: offline in `RUN/tracking/wandb`, to be uploaded with `wandb sync`, or never."""

from __future__ import annotations

import os

import wandb

from fedcompress.scenario.sections import TrackingSettings
from fedcompress.tracking.base import Scalars, Tracked, Tracker


class WeightsAndBiases(Tracker):
    """One W&B run; a resumed run goes on under the same id."""

    def __init__(self, settings: TrackingSettings, run: Tracked, first_round: int) -> None:
        run.folder.mkdir(parents=True, exist_ok=True)
        os.environ["WANDB_DIR"] = str(run.folder)
        quiet = wandb.Settings(
            console="off",
            silent=True,
            disable_git=True,
            disable_code=True,
            save_code=False,
            x_disable_stats=True,
            x_disable_meta=True,
        )
        self._run = wandb.init(
            project=settings.project,
            group=run.scenario,
            name=run.name,
            id=run.key,
            resume="allow" if settings.online else None,
            mode="online" if settings.online else "offline",
            dir=str(run.folder),
            config=dict(run.config),
            settings=quiet,
        )

    def log(self, round_number: int, scalars: Scalars) -> None:
        self._run.log(dict(scalars), step=round_number)

    def close(self, summary: Scalars, *, completed: bool) -> None:
        self._run.summary.update(dict(summary))
        self._run.finish(exit_code=0 if completed else 1)
