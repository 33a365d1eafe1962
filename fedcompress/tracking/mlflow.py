"""MLflow: a database in `RUN/tracking/mlflow.db`, or the server of `mlflow_uri`."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable

from mlflow.entities import Metric, Param, RunTag
from mlflow.tracking import MlflowClient

from fedcompress.scenario.sections import TrackingSettings
from fedcompress.tracking.base import Scalars, Tracked, Tracker

MOST_PARAMETERS, LONGEST = 100, 500
"""Parameters of one call, and characters of a value, that MLflow takes."""


class Mlflow(Tracker):
    """One MLflow run; a resumed run goes on in it."""

    def __init__(self, settings: TrackingSettings, run: Tracked, first_round: int) -> None:
        for name in ("mlflow", "alembic"):
            logging.getLogger(name).setLevel(logging.WARNING)
        run.folder.mkdir(parents=True, exist_ok=True)
        database = (run.folder / "mlflow.db").resolve()
        self._client = MlflowClient(tracking_uri=settings.mlflow_uri or f"sqlite:///{database}")
        existing = self._client.get_experiment_by_name(settings.project)
        experiment = existing.experiment_id if existing else self._client.create_experiment(settings.project)
        by_key = f"tags.`fedcompress.key` = '{run.key}'"
        known = self._client.search_runs([experiment], by_key)
        if known:
            self._id = known[0].info.run_id
            return
        tags = {"fedcompress.key": run.key, "fedcompress.scenario": run.scenario}
        self._id = self._client.create_run(experiment, run_name=run.name, tags=tags).info.run_id
        parameters = [Param(name, str(value)[:LONGEST]) for name, value in run.config.items()]
        for start in range(0, len(parameters), MOST_PARAMETERS):
            self._client.log_batch(self._id, params=parameters[start : start + MOST_PARAMETERS])

    def log(self, round_number: int, scalars: Scalars) -> None:
        self._client.log_batch(self._id, metrics=list(_metrics(scalars, round_number)))

    def close(self, summary: Scalars, *, completed: bool) -> None:
        self._client.log_batch(self._id, metrics=list(_metrics(summary, 0)), tags=[RunTag("completed", str(completed))])
        self._client.set_terminated(self._id, "FINISHED" if completed else "FAILED")


def _metrics(scalars: Scalars, step: int) -> Iterable[Metric]:
    now = int(1000 * time.time())
    return (Metric(name, value, now, step) for name, value in scalars.items())
