"""Turns what happened in a run into its rows and its summary, and has them on disk after every round."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from fedcompress.devices import ModelledTotals
from fedcompress.distillation.slimming import GENERATOR_MASK
from fedcompress.distillation.source import GENERATOR
from fedcompress.evaluation import GroupScores, Scores
from fedcompress.evaluation.own_models import figure
from fedcompress.experiment import Experiment
from fedcompress.fairness import over_clients
from fedcompress.federation import RoundRecord
from fedcompress.privacy.accounts import NOT_COVERED, Accounts
from fedcompress.results.run.directory import RunDirectory, as_lines, finite
from fedcompress.rows import ClientRow, GroupSummary, RoundRow, Summary
from fedcompress.stopping import Stopped
from fedcompress.wire.ledger import ENVELOPE, Totals, Transfer

PRIVACY = "privacy.jsonl"
CONFUSION = "confusion.json"
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
        tested: Partition -> its latest good row in which it has tested a model of its own.
        uploads: Partition -> bytes of all contents that the client sent in its latest round, and the same as dense.
        totals: Bytes so far.
        scores: Of the last round.
        rounds: The rows of all rounds so far.
        stopped: Why the run has ended before its last round, if it has.
        accounts: What clients have released, and at what cost.
    """

    def __init__(self, experiment: Experiment, directory: RunDirectory, engine: str) -> None:
        self.latest: dict[int, ClientRow] = {}
        self.tested: dict[int, ClientRow] = {}
        self.uploads: dict[int, dict[str, int]] = {}
        self.totals = Totals()
        self.best = _Best()
        self.best_deployed = _Best()
        self.seconds = 0.0
        self.rounds: list[RoundRow] = []
        self.stopped: Stopped | None = None
        self.accounts = Accounts(experiment.scenario.privacy)
        self._modelled = ModelledTotals()
        self._experiment = experiment
        self._directory = directory
        self._engine = engine
        self.scores = Scores()

    def note(self, record: RoundRecord) -> None:
        """Takes in what crossed in a round, before it is scored."""
        self._modelled.add(record.clients)
        for row in record.clients:
            if row["status"] == "ok" and row.get("sparsity") is not None:
                self.latest[row["client"]] = row
                if row.get("test_accuracy") is not None:
                    self.tested[row["client"]] = row
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
            self._choose(row["round"], _scores(row))
            self.seconds += row["seconds"]
            self.rounds.append(row)

    def keep_releases(self) -> None:
        """Has releases on disk before they are asked for, where a round that is repeated would draw other noise.

        Those of a round that was cut off are counted.
        """
        settings = self._experiment.scenario.privacy
        if settings is None or settings.noise == "seed":
            return
        path, whole = self._directory.path / PRIVACY, self.accounts.rows
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True) if path.exists() else []
        asked = [json.loads(line) for line in lines if line.endswith("\n")]  # a torn line was not asked for yet
        self.accounts.restore(whole, asked[len(whole) :])
        self._directory.write_text(PRIVACY, as_lines(self.accounts.rows))
        self.accounts.journal = lambda row: self._directory.append("privacy", [row])

    def _choose(self, number: int, scores: Scores) -> None:
        """Remembers the best rounds by validation accuracy: of the global model, and of what devices run."""
        self.scores = scores
        self.best = self.best.after(number, scores.accuracy, scores.validation)
        self.best_deployed = self.best_deployed.after(number, scores.deployed, scores.deployed_validation)

    def round(self, number: int, record: RoundRecord, scores: Scores, started: float) -> RoundRow:
        """Writes the rows of a round and returns its line in `rounds.jsonl`."""
        row = self.row(number, record, scores, started)
        self._choose(number, scores)
        self.seconds += row["seconds"]
        self._directory.append("ledger", map(vars, record.transfers))
        self._directory.append("clients", map(self._client_row, record.clients))
        self._directory.append("rounds", [row])
        if self._has_ledger:
            self._directory.write_text(PRIVACY, as_lines(self.accounts.rows))
        self.rounds.append(row)
        return row

    def row(self, number: int, record: RoundRecord, scores: Scores, started: float) -> RoundRow:
        """Returns the line of a round in `rounds.jsonl` as it would be now.

        `best` is the test accuracy of the round that has been best on validation data so far.
        """
        modelled = ModelledTotals()
        modelled.add(record.clients)
        sizes = {d: sum(t.wire_bytes for t in record.transfers if t.direction == d) for d in ("uplink", "downlink")}
        row = {
            "round": number,
            "accuracy": scores.accuracy,
            "loss": scores.loss,
            "validation_accuracy": scores.validation,
            "best": self.best.after(number, scores.accuracy, scores.validation).accuracy,
            **self._of_devices(scores),
            "seconds": time.perf_counter() - started,
            "uplink_bytes": sizes["uplink"],
            "downlink_bytes": sizes["downlink"],
            "clients": len({r["client"] for r in record.clients if r["status"] == "ok"}),
            "failures": record.failures,
            "events": list(record.events),
            **({"epsilon": self.accounts.largest} if self._has_ledger else {}),
            **self._of_generator(record.transfers),
            "graph_seconds": sum(row.get("graph_seconds") or 0.0 for row in record.clients),
        }
        return cast(RoundRow, {**row, **modelled.round(record.modelled_seconds), **record.notes})

    def _of_generator(self, transfers: Iterable[Transfer]) -> dict[str, int]:
        """What a slim generator took in both directions, with the masks of what is left of it."""
        public = self._experiment.public
        if public is None or public.slim is None:
            return {}
        return {"generator_bytes": sum(t.wire_bytes for t in transfers if t.content in (GENERATOR, GENERATOR_MASK))}

    @property
    def _has_ledger(self) -> bool:
        """Whether anything is released that the ledger of privacy is about."""
        return self._experiment.scenario.privacy is not None or bool(self.accounts.rows)

    def _privacy(self) -> dict[str, Any]:
        """What releases have cost, for the summary."""
        settings = self._experiment.scenario.privacy
        given = {"delta": settings.delta, "unit": settings.unit, "noise": settings.noise} if settings else {}
        return {"epsilon": self.accounts.largest, **given, "not_covered": NOT_COVERED}

    def _of_devices(self, scores: Scores) -> dict[str, Any]:
        """The columns of what devices run, and those of groups."""
        scenario = self._experiment.scenario
        measured: dict[str, Sequence[float]] = (
            {"personal": scores.personal} if scenario.evaluation.personal_every else {}
        )
        on_validation = {"personal": scores.personal_validation} if scenario.judges_personal else {}
        if scenario.judges_own:
            measured["own"], on_validation["own"] = scores.own, scores.own_validation
        over = {name: over_clients(of) for name, of in measured.items()}
        return {
            "deployed_accuracy": scores.deployed,
            "deployed_validation_accuracy": scores.deployed_validation,
            "deployed_worst": scores.worst,
            "groups": {name: _group_row(group, over) for name, group in scores.groups.items()},
            **{f"{name}_accuracy": of["mean"] for name, of in over.items()},
            **{f"{name}_worst10": of["worst10"] for name, of in over.items()},
            **{f"{name}_validation_accuracy": value for name, value in on_validation.items()},
        }

    def _client_row(self, row: ClientRow) -> dict[str, Any]:
        blank = dict.fromkeys(("examples", "train_loss", "accuracy", *_KEPT, "seconds", "graph_seconds"))
        return {**blank, **row}

    def federation(self, accuracies: Sequence[float] | None = None) -> None:
        """Writes `federation.json`: who takes part, with which data, and how each client fares in the end.

        Args:
            accuracies: Of each partition, on its own distribution; None before the end.
        """
        clients = self._experiment.clients
        table: dict[str, Any] = {
            "groups": [client.group for client in clients],
            "labels": self._experiment.data.distribution.tolist(),
            "accuracies": accuracies,
        }
        if accuracies is not None and self.scores.personal:
            table["personal"] = list(self.scores.personal)
        if accuracies is not None and self.scores.own:
            table["own"] = list(self.scores.own)
        self._directory.write_text("federation.json", json.dumps(finite(table)) + "\n")

    def confusion(self, counts: Mapping[str, NDArray[np.int64]]) -> None:
        """Writes `confusion.json`: group -> for each class, how many of its examples were taken for which class."""
        table = {name: matrix.tolist() for name, matrix in counts.items()}
        self._directory.write_text(CONFUSION, json.dumps(table) + "\n")

    def summary(
        self,
        status: str,
        clients: Mapping[str, float] | None = None,
        digest: str | None = None,
    ) -> Summary:
        """Returns `summary.json`.

        Args:
            status: completed, failed or interrupted.
            clients: Each client's accuracy on its own distribution: mean, std, worst10.
            digest: SHA-256 of the final weights.
        """
        scenario, totals = self._experiment.scenario, self.totals
        summary: Summary = {
            "run": self._directory.path.name,
            "scenario": scenario.name,
            "seed": scenario.seed,
            "engine": self._engine,
            "status": status,
            "rounds": len(self.rounds),
            "judged": scenario.evaluation.judged,
            "stopped": asdict(self.stopped) if self.stopped else None,
            "deployed_accuracy": self.scores.deployed,
            "deployed_worst": self.scores.worst,
            "accuracy": self.scores.accuracy,
            "best_accuracy": self.best.accuracy,
            "best_round": self.best.round,
            "loss": self.scores.loss,
            "deployed_best_accuracy": self.best_deployed.accuracy,
            "deployed_rounds": [row["round"] for row in self.rounds if _is_tested(row)],
            "clients": dict(clients or {}),
            "uplink_bytes": totals.uplink,
            "downlink_bytes": totals.downlink,
            "dense_uplink_bytes": totals.dense_uplink,
            "dense_downlink_bytes": totals.dense_downlink,
            "bytes_by_content": {**totals.to_dict()["by_content"]},
            "groups": {name: self._group(name) for name in self._experiment.groups},
            "seconds": self.seconds,
            "graph_seconds": sum(row.get("graph_seconds", 0.0) for row in self.rounds),
            "model_digest": digest,
            "warnings": list(self._experiment.warnings),
        }
        if any(group.settings.device is not None for group in self._experiment.groups.values()):
            seconds = sum(row.get("modelled_seconds", 0.0) for row in self.rounds)
            summary["modelled"] = self._modelled.table(seconds)
        summary.update(cast(Summary, self._over_clients()))
        if self._has_ledger:
            summary["epsilon"] = self.accounts.largest
            summary["privacy"] = self._privacy()
        return summary

    def _over_clients(self) -> dict[str, dict[str, float]]:
        """Mean and worst tenth of `personal` and `own` in the last round, where they were measured.

        A row that was read from disk has no deviation.
        """
        last: Mapping[str, Any] = self.rounds[-1] if self.rounds else {}
        found = {}
        for name, measured in (("personal", self.scores.personal), ("own", self.scores.own)):
            if measured:
                found[name] = over_clients(measured)
            elif math.isfinite(mean := figure(last, f"{name}_accuracy")):
                found[name] = {"mean": mean, "std": math.nan, "worst10": figure(last, f"{name}_worst10")}
        return found

    def _group(self, name: str) -> GroupSummary:
        """Means over the latest models of a group's clients, masks applied."""
        group = self._experiment.groups[name]
        rows: list[Mapping[str, Any]] = [self.latest[p] for p in group.clients if p in self.latest]
        uploads = [self.uploads[p] for p in group.clients if p in self.uploads]
        means = {key: float(np.mean([row[key] for row in rows])) if rows else None for key in _KEPT}
        scores = _group_row(self.scores.groups.get(name, GroupScores()), self._over_clients())
        del scores["validation_accuracy"]
        summary = {
            "model": group.model.name,
            "clients": len(group.clients),
            **finite(scores),
            "sparsity_target": means["sparsity_target"],
            "sparsity": means["sparsity"],
            "parameters": means["parameters"] or group.model.parameters,
            "dense_bytes": means["dense_bytes"],
            "compressed_bytes": means["compressed_bytes"],
            "upload_bytes": float(np.mean([u["wire"] for u in uploads])) if uploads else None,
            "dense_upload_bytes": float(np.mean([u["dense"] for u in uploads])) if uploads else None,
        }
        return cast(GroupSummary, summary)


@dataclass(frozen=True)
class _Best:
    """The tested round that was best on validation data; without such data, the last one."""

    validation: float = -1.0
    accuracy: float = math.nan
    round: int = 0

    def after(self, number: int, accuracy: float, validation: float) -> _Best:
        """Returns the best one after another round; NaN for what was not tested."""
        chosen_by = validation if math.isfinite(validation) else float(number)
        return _Best(chosen_by, accuracy, number) if math.isfinite(accuracy) and chosen_by >= self.validation else self


def _group_row(scores: GroupScores, over: Collection[str]) -> dict[str, float]:
    """Returns the columns of a group; `over`: those means over clients that are asked for, "personal" and "own"."""
    columns = {
        "accuracy": scores.accuracy,
        "validation_accuracy": scores.validation,
        "deployed_accuracy": scores.deployed,
        "deployed_validation_accuracy": scores.deployed_validation,
    }
    personal = {"personal_accuracy": scores.personal, "personal_worst10": scores.personal_worst10}
    own = {"own_accuracy": scores.own, "own_worst10": scores.own_worst10}
    return {**columns, **(personal if "personal" in over else {}), **(own if "own" in over else {})}


def _scores(row: RoundRow) -> Scores:
    """Returns the scores of a row that was read from disk, but for those of clients."""

    def of(name: str) -> float:
        return figure(row, name)

    return Scores(
        of("accuracy"),
        of("loss"),
        of("validation_accuracy"),
        {name: _group_scores(group) for name, group in row.get("groups", {}).items()},
        of("deployed_accuracy"),
        of("deployed_validation_accuracy"),
        of("deployed_worst"),
    )


def _group_scores(row: Mapping[str, Any]) -> GroupScores:
    return GroupScores(
        accuracy=figure(row, "accuracy"),
        validation=figure(row, "validation_accuracy"),
        deployed=figure(row, "deployed_accuracy"),
        deployed_validation=figure(row, "deployed_validation_accuracy"),
        personal=figure(row, "personal_accuracy"),
        personal_worst10=figure(row, "personal_worst10"),
        own=figure(row, "own_accuracy"),
        own_worst10=figure(row, "own_worst10"),
    )


def _is_tested(row: RoundRow) -> bool:
    """Says whether what devices run was tested after a round; rows of earlier versions do not say so."""
    groups = row.get("groups", {}).values()
    values = [group["deployed_accuracy"] for group in groups]
    return any(value is not None and math.isfinite(value) for value in values)
