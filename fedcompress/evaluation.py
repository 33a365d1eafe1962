"""Scoring a round: the global models on the test set, groups, and each client on its own distribution."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import numpy as np

from fedcompress.distillation.ensemble import mean_logits
from fedcompress.experiment import Experiment
from fedcompress.groups import Group
from fedcompress.strategy import State
from fedcompress.training.trainer import Evaluation, evaluate, predict
from fedcompress.wire.content import Arrays, digest

DEPLOYED_SAMPLE = 10
"""Clients of a group whose deployed models are run over the whole test set at the end."""

Rows = Mapping[int, Mapping[str, Any]]
"""Partition -> the client's latest good row of `clients.jsonl`."""


@dataclass(frozen=True)
class Scores:
    """Scores of one round: means over groups, weighted by their clients.

    Attributes:
        accuracy: On the test set.
        loss: Mean cross-entropy on the test set.
        validation: Accuracy on the server's validation examples, for choosing; the test set chooses nothing.
        groups: Group -> accuracy on the test set.
    """

    accuracy: float
    loss: float
    validation: float
    groups: Mapping[str, float]


def spread(accuracies: Sequence[float]) -> dict[str, float]:
    """Returns mean, std and worst10, the mean over the tenth of the clients that fare worst."""
    values = np.sort([a for a in accuracies if np.isfinite(a)])
    if not values.size:
        return {"mean": float("nan"), "std": float("nan"), "worst10": float("nan")}
    worst = values[: max(1, int(np.ceil(0.1 * values.size)))]
    return {"mean": float(values.mean()), "std": float(values.std()), "worst10": float(worst.mean())}


class Evaluator:
    """Scores the models that a strategy's state stands for."""

    def __init__(self, experiment: Experiment, pool: Executor | None = None, threads: int = 1) -> None:
        self._experiment = experiment
        self._server = experiment.server
        self._pool, self._threads = pool, threads
        self._validation = experiment.data.server_validation_examples
        self._tested: dict[str, tuple[str, Evaluation]] = {}

    def score(self, state: State, rows: Rows) -> Scores:
        """Scores every group: by its global model, or by its clients' own models where it has none."""
        cache: dict[str, tuple[float, float, float]] = {}
        scores = {}
        for name, group in self._experiment.groups.items():
            weights = self._server.global_model(state, group)
            if weights is None:
                scores[name] = _of_clients(group, rows)
            else:
                if group.model.name not in cache:
                    cache[group.model.name] = self._of_model(group, weights)
                scores[name] = cache[group.model.name]
        counts = [len(group.clients) for group in self._experiment.groups.values()]
        accuracy, loss, validation = np.average(list(scores.values()), axis=0, weights=counts)
        return Scores(float(accuracy), float(loss), float(validation), {name: s[0] for name, s in scores.items()})

    def _of_model(self, group: Group, weights: Arrays) -> tuple[float, float, float]:
        test = self._test(group, weights)
        validation = evaluate(group.model, weights, self._validation, self._pool, self._threads)
        return test.accuracy, test.loss, validation.accuracy

    def _test(self, group: Group, weights: Arrays) -> Evaluation:
        """Scores weights on the test set; the last ones of each architecture are not run over it twice."""
        name, now = group.model.name, digest(weights)
        if self._tested.get(name, ("",))[0] != now:
            test = self._experiment.data.test_examples
            self._tested[name] = (now, evaluate(group.model, weights, test, self._pool, self._threads))
        return self._tested[name][1]

    def clients(self, state: State, rows: Rows) -> list[float]:
        """Scores every client on test examples with its own label distribution, by the model that it would deploy.

        Returns:
            An accuracy for each partition; NaN for a client of its own model that has not trained one yet.
        """
        accuracies = []
        for client in self._experiment.clients:
            group = self._experiment.groups[client.group]
            shared = self._server.global_model(state, group)
            if shared is None or self._server.personal:
                accuracies.append(float(rows.get(client.partition, {}).get("accuracy") or np.nan))
                continue
            weights = self._experiment.deployed(state, client)
            assert weights is not None
            accuracies.append(self._own(group, client.partition, weights))
        return accuracies

    def _own(self, group: Group, partition: int, weights: Arrays) -> float:
        """Accuracy on a client's own distribution; a model that many clients share is run over the test set once."""
        data = self._experiment.data
        if group.compression.sparsity > 0:
            return evaluate(group.model, weights, data.test(partition)).accuracy
        return float(self._test(group, weights).correct[data.test_part(partition)].mean())

    def extras(self, state: State) -> dict[str, float]:
        """Returns further test accuracies: of the uploads' ensemble, of the server's own model."""
        found = {}
        test = self._experiment.data.test_examples
        if teachers := self._server.teachers(state):
            said = [predict(spec, weights, test.x) for spec, weights, _ in teachers]
            logits = mean_logits(said, [voice for *_, voice in teachers])
            found["ensemble_accuracy"] = float((logits.argmax(axis=1) == test.y).mean())
        if (own := self._server.own_model(state)) is not None:
            found["server_accuracy"] = evaluate(*own, test, self._pool, self._threads).accuracy
        return found

    def digest(self, state: State, rows: Rows) -> str:
        """SHA-256 of all final weights: global ones by architecture, or the clients' where there are none."""
        total = sha256()
        if server := self._server.own_model(state):
            total.update(digest(server[1]).encode())
        for name, model in self._experiment.models.items():
            group = next(g for g in self._experiment.groups.values() if g.model is model)
            weights = self._server.global_model(state, group)
            total.update(name.encode())
            if weights is not None:
                total.update(digest(weights).encode())
            else:
                own = [rows[p] for p in sorted(rows) if self._experiment.group_of(p).model is model]
                total.update("".join(str(row.get("model_digest")) for row in own).encode())
        return total.hexdigest()

    def deployed(self, state: State, rows: Rows) -> dict[str, dict[str, Any]]:
        """Returns, for each group with a global model, the mean test accuracy of what its clients would deploy."""
        result = {}
        for name, group in self._experiment.groups.items():
            if self._server.personal:
                result[name] = {"deployed_accuracy": _finite(_of_clients(group, rows)[0])}
                continue
            accuracies = []
            for partition in group.clients[:DEPLOYED_SAMPLE]:
                weights = self._experiment.deployed(state, self._experiment.clients[partition])
                if weights is None:
                    break
                accuracies.append(self._test(group, weights).accuracy)
                if group.compression.chooser != "client":
                    break  # the whole group has the same
            result[name] = {"deployed_accuracy": float(np.mean(accuracies)) if accuracies else None}
        return result


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None


def _of_clients(group: Group, rows: Rows) -> tuple[float, float, float]:
    own = [rows[p] for p in group.clients if p in rows and "test_accuracy" in rows[p]]
    if not own:
        return float("nan"), float("nan"), float("nan")
    accuracy, loss, validation = np.mean(
        [(row["test_accuracy"], row["test_loss"], row["validation_accuracy"]) for row in own], axis=0
    )
    return float(accuracy), float(loss), float(validation)
