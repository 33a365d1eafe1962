"""Scoring a round: the global models on the test set, groups, and each client on its own distribution."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Executor
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import numpy as np

from fedcompress.experiment import Experiment
from fedcompress.groups import Group
from fedcompress.strategy import State
from fedcompress.training.trainer import Evaluation, evaluate
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


class Evaluator:
    """Scores the models that a strategy's state stands for."""

    def __init__(self, experiment: Experiment, pool: Executor | None = None, threads: int = 1) -> None:
        self._experiment = experiment
        self._server = experiment.server
        self._pool, self._threads = pool, threads
        self._validation = experiment.data.server_validation_examples

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
        test = evaluate(group.model, weights, self._experiment.data.test_examples, self._pool, self._threads)
        validation = evaluate(group.model, weights, self._validation, self._pool, self._threads)
        return test.accuracy, test.loss, validation.accuracy

    def clients(self, state: State, rows: Rows) -> dict[str, float]:
        """Scores every client on test examples with its own label distribution, by the model that it would deploy.

        Returns:
            mean, std and worst10, the mean over the tenth of the clients that fare worst.
        """
        whole: dict[int, tuple[Arrays, Evaluation]] = {}
        accuracies = []
        for client in self._experiment.clients:
            group = self._experiment.groups[client.group]
            shared = self._server.global_model(state, group)
            if shared is None:
                if client.partition in rows:
                    accuracies.append(float(rows[client.partition]["accuracy"]))
                continue
            weights = self._server.deployed(state, client)
            assert weights is not None
            accuracies.append(self._own(group, client.partition, weights, whole))
        values = np.sort([a for a in accuracies if np.isfinite(a)])
        if not values.size:
            return {"mean": float("nan"), "std": float("nan"), "worst10": float("nan")}
        worst = values[: max(1, int(np.ceil(0.1 * values.size)))]
        return {"mean": float(values.mean()), "std": float(values.std()), "worst10": float(worst.mean())}

    def _own(self, group: Group, partition: int, weights: Arrays, whole: dict[int, tuple[Arrays, Evaluation]]) -> float:
        """Accuracy on a client's own distribution; a model that many clients share is run over the test set once."""
        data = self._experiment.data
        if group.compression.sparsity > 0:
            return evaluate(group.model, weights, data.test(partition)).accuracy
        key = id(group.model)
        if key not in whole:
            whole[key] = (weights, evaluate(group.model, weights, data.test_examples, self._pool, self._threads))
        return float(whole[key][1].correct[data.test_part(partition)].mean())

    def digest(self, state: State, rows: Rows) -> str:
        """SHA-256 of all final weights: global ones by architecture, or the clients' where there are none."""
        total = sha256()
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

    def deployed(self, state: State) -> dict[str, dict[str, Any]]:
        """Returns, for each group with a global model, the mean test accuracy of what its clients would deploy."""
        result = {}
        for name, group in self._experiment.groups.items():
            accuracies = []
            for partition in group.clients[:DEPLOYED_SAMPLE]:
                weights = self._server.deployed(state, self._experiment.clients[partition])
                if weights is None:
                    break
                test = self._experiment.data.test_examples
                accuracies.append(evaluate(group.model, weights, test, self._pool, self._threads).accuracy)
                if group.compression.chooser != "client":
                    break  # the whole group has the same
            result[name] = {"deployed_accuracy": float(np.mean(accuracies)) if accuracies else None}
        return result


def _of_clients(group: Group, rows: Rows) -> tuple[float, float, float]:
    own = [rows[p] for p in group.clients if p in rows and "test_accuracy" in rows[p]]
    if not own:
        return float("nan"), float("nan"), float("nan")
    accuracy, loss, validation = np.mean(
        [(row["test_accuracy"], row["test_loss"], row["validation_accuracy"]) for row in own], axis=0
    )
    return float(accuracy), float(loss), float(validation)
