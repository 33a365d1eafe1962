"""Scoring a round: the global models on the test set, groups, and each client on its own distribution."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Executor
from dataclasses import dataclass
from hashlib import sha256
from math import isfinite, nan
from typing import Any

import numpy as np

from fedcompress.data.federated import Examples
from fedcompress.distillation.source import DISCRIMINATOR, GENERATOR
from fedcompress.errors import RunError
from fedcompress.experiment import Experiment
from fedcompress.groups import ClientInfo, Group
from fedcompress.guard import Guard
from fedcompress.models.architecture import ModelSpec
from fedcompress.rows import ClientRow
from fedcompress.strategy import State
from fedcompress.training.trainer import Evaluation, evaluate, predict
from fedcompress.wire.content import Arrays, digest

DEPLOYED_SAMPLE = 10
"""Clients of a group whose deployed models are run over the whole test set at the end."""

Rows = Mapping[int, ClientRow]
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

    def __init__(self, experiment: Experiment, guard: Guard, pool: Executor | None = None, threads: int = 1) -> None:
        self._experiment = experiment
        self._server, self._guard = experiment.server, guard
        self._pool, self._threads = pool, threads
        self._last: dict[tuple[str, str], tuple[str, Evaluation]] = {}
        """(test or validation, architecture) -> digest of the last weights, and how they did."""

    def check(self, state: State, number: int) -> None:
        """Makes sure that a round has left models that can be scored, and that the next round can go on from.

        Raises:
            RunError: Weights that the strategy offers are not those of the model; or weights, or the loss, of a global
                model, the server's own or a generator are not finite.
        """
        for name, group in self._experiment.groups.items():
            weights = self._global(state, group)
            if weights is not None:
                what = f"the global model of group {name!r} ({group.model.name})"
                self._check_finite(weights, what, number)
                test, validation = self._test(group.model, weights), self._validate(group.model, weights)
                self._check_loss({"test": test, "validation": validation}, what, number)
        if (server_model := self._own_model(state)) is not None:
            what = f"the server's own model ({server_model[0].name})"
            self._check_finite(server_model[1], what, number)
            self._check_loss({"validation": self._validate(*server_model)}, what, number)
        public: Any = state.get("public")
        for name in (GENERATOR, DISCRIMINATOR) if isinstance(public, dict) else ():
            self._check_finite(public.get(name) or [], f"the averaged {name}", number)

    def _check_finite(self, weights: Arrays, what: str, number: int) -> None:
        bad = sum(int(array.size - np.count_nonzero(np.isfinite(array))) for array in weights)
        if bad:
            raise _not_finite(what, f"{bad:,} of its {sum(array.size for array in weights):,} weights", number)

    def _check_loss(self, evaluations: Mapping[str, Evaluation], what: str, number: int) -> None:
        for examples, evaluation in evaluations.items():
            if evaluation.correct.size and not np.isfinite(evaluation.loss):
                raise _not_finite(what, f"its loss on the {examples} examples is {evaluation.loss}", number)

    def _global(self, state: State, group: Group) -> Arrays | None:
        """Returns the weights that the strategy offers a group.

        Raises:
            RunError: They are not those of the group's model.
        """
        where = f"global_model of group {group.name!r}"
        with self._guard.calling(where):
            weights = self._server.global_model(state, group)
        return self._checked(weights, group.model, where)

    def _own_model(self, state: State) -> tuple[ModelSpec, Arrays] | None:
        """The same of the server's own model."""
        with self._guard.calling("own_model"):
            model = self._server.own_model(state)
        if model is not None:
            self._checked(model[1], model[0], "own_model")
        return model

    def _deployed(self, state: State, client: ClientInfo) -> Arrays | None:
        """The same of the weights that a client would deploy."""
        where = f"deployed of client {client.partition}"
        with self._guard.calling(where):
            weights = self._experiment.deployed(state, client)
        return self._checked(weights, self._experiment.groups[client.group].model, where)

    def _checked(self, weights: Arrays | None, spec: ModelSpec, where: str) -> Arrays | None:
        if weights is not None and (problem := _misshapen(weights, spec)):
            raise RunError(f"{where}: server strategy {self._guard.strategy!r} returned {problem}.")
        return weights

    def score(self, state: State, rows: Rows) -> Scores:
        """Scores every group: by its global model, or by its clients' own models where it has none."""
        cache: dict[str, tuple[float, float, float]] = {}
        scores = {}
        for name, group in self._experiment.groups.items():
            weights = self._global(state, group)
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
        test, validation = self._test(group.model, weights), self._validate(group.model, weights)
        return test.accuracy, test.loss, validation.accuracy

    def _test(self, spec: ModelSpec, weights: Arrays) -> Evaluation:
        """Scores weights on the test set; the last ones of each architecture are not run over it twice."""
        return self._once("test", spec, weights, self._experiment.data.test_examples)

    def _validate(self, spec: ModelSpec, weights: Arrays) -> Evaluation:
        """The same on the server's validation examples."""
        return self._once("validation", spec, weights, self._experiment.data.server_validation_examples)

    def _once(self, which: str, spec: ModelSpec, weights: Arrays, examples: Examples) -> Evaluation:
        key, now = (which, spec.name), digest(weights)
        if self._last.get(key, ("",))[0] != now:
            self._last[key] = (now, evaluate(spec, weights, examples, self._pool, self._threads))
        return self._last[key][1]

    def clients(self, state: State, rows: Rows) -> list[float]:
        """Scores every client on test examples with its own label distribution, by the model that it would deploy.

        Returns:
            An accuracy for each partition; NaN for a client of its own model that has not trained one yet.
        """
        return [self._on_its_distribution(state, client, rows) for client in self._experiment.clients]

    def _on_its_distribution(self, state: State, client: ClientInfo, rows: Rows) -> float:
        """Accuracy of one client; a model that many clients share is run over the test set once."""
        group, data = self._experiment.groups[client.group], self._experiment.data
        if self._server.personal or self._global(state, group) is None:
            return _figure(rows.get(client.partition, {}), "accuracy")
        weights = self._deployed(state, client)
        if weights is None:
            return nan
        if group.compression.sparsity > 0:
            return evaluate(group.model, weights, data.test(client.partition)).accuracy
        return float(self._test(group.model, weights).correct[data.test_part(client.partition)].mean())

    def extras(self, state: State) -> dict[str, float]:
        """Returns further test accuracies: of the uploads' ensemble, of the server's own model."""
        figures = {}
        test = self._experiment.data.test_examples
        with self._guard.calling("teachers"):
            teachers = self._server.teachers(state)
        if teachers:
            opinions = [predict(spec, weights, test.x) for spec, weights, _ in teachers]
            with self._guard.calling("ensemble"):
                logits = self._server.ensemble(state, opinions)
            figures["ensemble_accuracy"] = float((logits.argmax(axis=1) == test.y).mean())
        if (server_model := self._own_model(state)) is not None:
            figures["server_accuracy"] = evaluate(*server_model, test, self._pool, self._threads).accuracy
        return figures

    def digest(self, state: State, rows: Rows) -> str:
        """SHA-256 of all final weights: global ones by architecture, or the clients' where there are none."""
        total = sha256()
        if server := self._own_model(state):
            total.update(digest(server[1]).encode())
        for name, model in self._experiment.models.items():
            group = next(g for g in self._experiment.groups.values() if g.model is model)
            weights = self._global(state, group)
            total.update(name.encode())
            if weights is not None:
                total.update(digest(weights).encode())
            else:
                trained = [rows[p] for p in sorted(rows) if self._experiment.group_of(p).model is model]
                total.update("".join(str(row.get("model_digest")) for row in trained).encode())
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
                weights = self._deployed(state, self._experiment.clients[partition])
                if weights is None:
                    break
                accuracies.append(self._test(group.model, weights).accuracy)
                if group.compression.chooser != "client":
                    break  # the whole group has the same
            result[name] = {"deployed_accuracy": float(np.mean(accuracies)) if accuracies else None}
        return result


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None


def _of_clients(group: Group, rows: Rows) -> tuple[float, float, float]:
    """Means over the clients whose own models have been tested: test accuracy and loss, validation accuracy."""
    tested = [rows[p] for p in group.clients if p in rows and isfinite(_figure(rows[p], "test_accuracy"))]
    if not tested:
        return nan, nan, nan
    columns = ("test_accuracy", "test_loss", "validation_accuracy")
    accuracy, loss, validation = np.mean([[_figure(row, name) for name in columns] for row in tested], axis=0)
    return float(accuracy), float(loss), float(validation)


def _figure(row: Mapping[str, Any], name: str) -> float:
    """A figure of a row, NaN where there is none: in a row that was read from disk that is null."""
    value = row.get(name)
    return nan if value is None else float(value)


def _misshapen(weights: Any, spec: ModelSpec) -> str | None:
    """Returns what is wrong with weights that are not a model's; None if nothing is."""
    expected = f"expected a list of the {len(spec.template)} arrays of {spec.name}"
    if not isinstance(weights, list | tuple) or not all(isinstance(array, np.ndarray) for array in weights):
        return f"{type(weights).__name__}, {expected}"
    if len(weights) != len(spec.template):
        return f"{len(weights)} arrays, {expected}"
    for i, (array, like) in enumerate(zip(weights, spec.template, strict=True)):
        if array.shape != like.shape or array.dtype.kind not in "fiub":
            return f"[{i}] as {array.dtype}{list(array.shape)}, expected {like.dtype}{list(like.shape)} in {spec.name}"
    return None


def _not_finite(what: str, problem: str, number: int) -> RunError:
    return RunError(
        f"round {number}: {what} is not finite: {problem}. Nothing of this round is kept, and a resumed run goes on "
        "from before it; if that ends alike, start a new run with a smaller learning rate or server.implausible."
    )
