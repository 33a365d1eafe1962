"""Turns what happened in a run into its rows and its summary, and has them on disk after every round."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, cast

import numpy as np

from fedcompress.devices import ModelledTotals
from fedcompress.evaluation import Scores
from fedcompress.experiment import Experiment
from fedcompress.federation import RoundRecord
from fedcompress.results.run.directory import RunDirectory, finite
from fedcompress.rows import ClientRow, GroupSummary, RoundRow, Summary
from fedcompress.stopping import Stopped
from fedcompress.wire.ledger import ENVELOPE, Totals, Transfer

_KEPT = ("sparsity_target", "sparsity", "parameters", "dense_bytes", "compressed_bytes")


class Observer:
    """Is told how a run goes on; this one takes no notice, the command line's progress display does."""

    def started(self, experiment: Experiment, before: Sequence[RoundRow]) -> None:
        """The first round is about to begin, after those of the rows that are on disk."""

    def round_done(self, row: RoundRow) -> None:
        """A round is over and on disk."""


class Recorder:
    """Writes one run.

    Attributes:
        latest: Partition -> the client's latest good row that carries measurements of its model.
        uploads: Partition -> bytes of all contents that the client sent in its latest round, and the same as dense.
        totals: Bytes so far.
        scores: Of the last round.
        rounds: The rows of all rounds so far.
        stopped: Why the run has ended before its last round, if it has.
    """

    def __init__(self, experiment: Experiment, directory: RunDirectory, engine: str) -> None:
        self.latest: dict[int, ClientRow] = {}
        self.uploads: dict[int, dict[str, int]] = {}
        self.totals = Totals()
        self.best: dict[str, Any] = {"validation": -1.0, "accuracy": float("nan"), "round": 0}
        self.seconds = 0.0
        self.rounds: list[RoundRow] = []
        self.stopped: Stopped | None = None
        self._modelled = ModelledTotals()
        self._experiment = experiment
        self._directory = directory
        self._engine = engine
        self.scores = Scores(float("nan"), float("nan"), float("nan"), {})

    def note(self, record: RoundRecord) -> None:
        """Takes in what crossed in a round, before it is scored."""
        self._modelled.add(record.clients)
        for row in record.clients:
            if row["status"] == "ok" and row.get("sparsity") is not None:
                self.latest[row["client"]] = row
        for transfer in record.transfers:
            self.totals.add(transfer)
            if transfer.direction == "uplink" and transfer.content != ENVELOPE:
                upload = self.uploads.get(transfer.client)
                if upload is None or upload["round"] != transfer.round:
                    upload = self.uploads[transfer.client] = {"round": transfer.round, "wire": 0, "dense": 0}
                upload["wire"] += transfer.wire_bytes
                upload["dense"] += transfer.dense_bytes

    def restore(self) -> None:
        """Takes in the rows that are on disk, as if their rounds had just been run."""
        ledger = [Transfer(**row) for row in self._directory.rows("ledger")]
        self.note(RoundRecord(self._directory.rows("clients"), ledger))
        for row in self._directory.rows("rounds"):
            figures = (row["accuracy"], row["loss"], row["validation_accuracy"])
            accuracy, loss, validation = (math.nan if figure is None else figure for figure in figures)
            self._choose(row["round"], Scores(accuracy, loss, validation, {}))
            self.seconds += row["seconds"]
            self.rounds.append(row)

    def _choose(self, number: int, scores: Scores) -> None:
        """Remembers the best round by validation accuracy; without validation data, the last that was tested."""
        self.scores = scores
        if not np.isfinite(scores.accuracy):
            return
        chosen_by = scores.validation if np.isfinite(scores.validation) else float(number)
        if chosen_by >= self.best["validation"]:
            self.best = {"validation": chosen_by, "accuracy": scores.accuracy, "round": number}

    def round(self, number: int, record: RoundRecord, scores: Scores, started: float) -> RoundRow:
        """Writes the rows of a round and returns its line in `rounds.jsonl`.

        `best` is the test accuracy of the round that has been best on validation data so far.
        """
        self._choose(number, scores)
        seconds = time.perf_counter() - started
        self.seconds += seconds
        modelled = ModelledTotals()
        modelled.add(record.clients)
        sizes = {d: sum(t.wire_bytes for t in record.transfers if t.direction == d) for d in ("uplink", "downlink")}
        row: RoundRow = {
            "round": number,
            "accuracy": scores.accuracy,
            "loss": scores.loss,
            "validation_accuracy": scores.validation,
            "best": self.best["accuracy"],
            "seconds": seconds,
            "uplink_bytes": sizes["uplink"],
            "downlink_bytes": sizes["downlink"],
            "clients": len({r["client"] for r in record.clients if r["status"] == "ok"}),
            "failures": record.failures,
            "events": list(record.events),
        }
        row = cast(RoundRow, {**row, **modelled.round(record.modelled_seconds), **record.notes})
        self._directory.append("ledger", map(asdict, record.transfers))
        self._directory.append("clients", map(self._client_row, record.clients))
        self._directory.append("rounds", [row])
        self.rounds.append(row)
        return row

    def _client_row(self, row: ClientRow) -> dict[str, Any]:
        blank = dict.fromkeys(("examples", "train_loss", "accuracy", *_KEPT, "seconds"))
        return {**blank, **row}

    def federation(self, accuracies: Sequence[float] | None = None) -> None:
        """Writes `federation.json`: who takes part, with which data, and how each client fares in the end.

        Args:
            accuracies: Of each partition, on its own distribution; None before the end.
        """
        clients = self._experiment.clients
        table = {
            "groups": [client.group for client in clients],
            "labels": self._experiment.data.distribution.tolist(),
            "accuracies": accuracies,
        }
        self._directory.write_text("federation.json", json.dumps(finite(table)) + "\n")

    def summary(
        self,
        status: str,
        clients: Mapping[str, float] | None = None,
        digest: str | None = None,
        extra: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> Summary:
        """Returns `summary.json`.

        Args:
            status: completed, failed or interrupted.
            clients: Each client's accuracy on its own distribution: mean, std, worst10.
            digest: SHA-256 of the final weights.
            extra: Group -> what the end of the run measured for it.
        """
        scenario, totals = self._experiment.scenario, self.totals
        groups = {name: {**self._group(name), **(extra or {}).get(name, {})} for name in self._experiment.groups}
        summary: Summary = {
            "run": self._directory.path.name,
            "scenario": scenario.name,
            "seed": scenario.seed,
            "engine": self._engine,
            "status": status,
            "rounds": len(self.rounds),
            "stopped": asdict(self.stopped) if self.stopped else None,
            "accuracy": self.scores.accuracy,
            "best_accuracy": self.best["accuracy"],
            "best_round": self.best["round"],
            "loss": self.scores.loss,
            "clients": dict(clients or {}),
            "uplink_bytes": totals.uplink,
            "downlink_bytes": totals.downlink,
            "dense_uplink_bytes": totals.dense_uplink,
            "dense_downlink_bytes": totals.dense_downlink,
            "bytes_by_content": {**totals.to_dict()["by_content"]},
            "groups": cast(dict[str, GroupSummary], groups),
            "seconds": self.seconds,
            "model_digest": digest,
            "warnings": list(self._experiment.warnings),
        }
        if any(group.settings.device is not None for group in self._experiment.groups.values()):
            seconds = sum(row.get("modelled_seconds", 0.0) for row in self.rounds)
            summary["modelled"] = self._modelled.table(seconds)
        return summary

    def _group(self, name: str) -> GroupSummary:
        """Means over the latest models of a group's clients, masks applied."""
        group = self._experiment.groups[name]
        rows: list[Mapping[str, Any]] = [self.latest[p] for p in group.clients if p in self.latest]
        uploads = [self.uploads[p] for p in group.clients if p in self.uploads]
        means = {key: float(np.mean([row[key] for row in rows])) if rows else None for key in _KEPT}
        return {
            "model": group.model.name,
            "clients": len(group.clients),
            "accuracy": self.scores.groups.get(name),
            "sparsity_target": means["sparsity_target"],
            "sparsity": means["sparsity"],
            "parameters": means["parameters"] or group.model.parameters,
            "dense_bytes": means["dense_bytes"],
            "compressed_bytes": means["compressed_bytes"],
            "upload_bytes": float(np.mean([u["wire"] for u in uploads])) if uploads else None,
            "dense_upload_bytes": float(np.mean([u["dense"] for u in uploads])) if uploads else None,
        }
