"""Scoring a round: global models, what devices run, and each client on its own distribution."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import replace
from hashlib import sha256
from math import nan
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedcompress.distillation.source import DISCRIMINATOR, GENERATOR
from fedcompress.evaluation.bench import Bench
from fedcompress.evaluation.offered import Offered, check_finite, check_loss
from fedcompress.evaluation.own_models import Rows, figure, of_clients, on_own_distributions
from fedcompress.evaluation.personal import personal_accuracy
from fedcompress.evaluation.schedule import Schedule
from fedcompress.evaluation.scores import GroupScores, Scores, mean_over_groups
from fedcompress.experiment import Experiment
from fedcompress.fairness import over_clients
from fedcompress.groups import ClientInfo, Group
from fedcompress.guard import Guard
from fedcompress.models.architecture import ModelSpec
from fedcompress.strategy import State
from fedcompress.training.trainer import Evaluation, evaluate, predict
from fedcompress.wire.content import Arrays, digest


class Evaluator:
    """Scores the models that a strategy's state stands for.

    Attributes:
        schedule: Says what is measured in which round.
    """

    def __init__(self, experiment: Experiment, guard: Guard, pool: Executor | None = None, threads: int = 1) -> None:
        self._experiment = experiment
        self._server, self._guard = experiment.server, guard
        self._offered, self._pool = Offered(experiment, guard), pool
        self._bench = Bench(experiment.data, pool, threads)
        self.schedule = Schedule(experiment)

    def check(self, state: State, number: int) -> None:
        """Makes sure that a round has left models that can be scored, and that the next round can go on from.

        Raises:
            RunError: Weights that the strategy offers are not those of the model; or weights, or the loss, of a global
                model, of what a device runs, of the server's own model or a generator are not finite.
        """
        self._bench.begin()
        for name, group in self._experiment.groups.items():
            weights = self._offered.global_model(state, group)
            if weights is not None:
                what = f"the global model of group {name!r} ({group.model.name})"
                check_finite(weights, what, number)
                check_loss(self._tested(group.model, weights), what, number)
            self._check_deployed(state, group, number)
        if (server_model := self._offered.own_model(state)) is not None:
            what = f"the server's own model ({server_model[0].name})"
            check_finite(server_model[1], what, number)
            check_loss({"validation": self._bench.validate(*server_model)}, what, number)
        public: Any = state.get("public")
        for name in (GENERATOR, DISCRIMINATOR) if isinstance(public, dict) else ():
            check_finite(public.get(name) or [], f"the averaged {name}", number)

    def _check_deployed(self, state: State, group: Group, number: int) -> None:
        spec = self._offered.deployed_model(state, group)
        for client, weights in self._offered.sample(state, group):
            what = f"what client {client.partition} of group {group.name!r} deploys ({spec.name})"
            check_finite(weights, what, number)
            if self.schedule.deployed(number):
                check_loss(self._tested(spec, weights), what, number)

    def _tested(self, spec: ModelSpec, weights: Arrays) -> dict[str, Evaluation]:
        return {"test": self._bench.test(spec, weights), "validation": self._bench.validate(spec, weights)}

    def score(self, state: State, rows: Rows, number: int, *, final: bool = False) -> Scores:
        """Scores every group: by its global model, or by its clients' own models where it has none.

        Args:
            state: After the round.
            rows: Of the clients that have tested models of their own; what they say counts in rounds of such tests.
            number: Of the round; the schedule says what is measured after it.
            final: Whether it has turned out to be the last one, after which all is measured.
        """
        tests_own = final or self.schedule.own(number)
        rows = rows if tests_own else {}
        groups = self._experiment.groups.values()
        of_global = {group.name: self._of_global(state, group, rows) for group in groups}
        counts = [len(group.clients) for group in groups]
        accuracy, loss, validation = mean_over_groups(list(of_global.values()), counts)
        scores = {name: GroupScores(accuracy=s[0], validation=s[2]) for name, s in of_global.items()}
        deployed = deployed_validation = worst = nan
        if final or self.schedule.deployed(number):
            found = {group.name: self._of_deployed(state, group, rows) for group in groups}
            deployed, deployed_validation = mean_over_groups(list(found.values()), counts)
            worst = float(np.min([test for test, _ in found.values()]))
            for name, (test, on_validation) in found.items():
                scores[name] = replace(scores[name], deployed=test, deployed_validation=on_validation)
        personal: Sequence[float] = ()
        personal_validation = nan
        if self.schedule.personal(number) or (final and self.schedule.asks_personal):
            measured = self._personal(state, number)
            personal = [accuracy for accuracy, _ in measured]
            personal_validation = over_clients([validation for _, validation in measured])["mean"]
            for group in groups:
                over = over_clients([personal[partition] for partition in group.clients])
                scores[group.name] = replace(
                    scores[group.name], personal=over["mean"], personal_worst10=over["worst10"]
                )
        own, own_validation = self._own(state, rows, tested=tests_own)
        for group in groups if own else ():
            over = over_clients([own[partition] for partition in group.clients])
            scores[group.name] = replace(scores[group.name], own=over["mean"], own_worst10=over["worst10"])
        return Scores(
            float(accuracy),
            float(loss),
            float(validation),
            scores,
            float(deployed),
            float(deployed_validation),
            worst,
            personal,
            personal_validation,
            own,
            own_validation,
        )

    def _own(self, state: State, rows: Rows, *, tested: bool) -> tuple[Sequence[float], float]:
        """Accuracy of every client's own model on its own distribution, and the mean on own validation examples.

        NaN for clients that keep none, or have not trained one yet; nothing where the run does not go by it. If no
        client keeps one, that of what its device runs, so that runs can be compared with those whose clients do.

        Args:
            state: After the round.
            rows: In which the models that clients keep are scored.
            tested: Whether what devices run is to be scored where no client keeps a model.
        """
        if not self._experiment.scenario.judges_own:
            return (), nan
        kept = [p for name in self._experiment.own_models.kept for p in self._experiment.groups[name].clients]
        if not kept:
            return self._own_of_devices(state, rows) if tested else ((), nan)
        accuracies = dict(zip(kept, on_own_distributions(kept, rows), strict=True))
        validation = over_clients(on_own_distributions(kept, rows, "local_validation_accuracy"))["mean"]
        return [accuracies.get(client.partition, nan) for client in self._experiment.clients], validation

    def _own_of_devices(self, state: State, rows: Rows) -> tuple[Sequence[float], float]:
        """What `_own` returns, of what each client's device runs."""
        validation = []
        for client in self._experiment.clients:
            weights = self._offered.deployed(state, client)
            examples = self._experiment.data.validation(client.partition)
            if weights is None or not len(examples):
                validation.append(nan)
                continue
            spec = self._offered.deployed_model(state, self._experiment.groups[client.group])
            validation.append(evaluate(spec, weights, examples).accuracy)
        return self.clients(state, rows), over_clients(validation)["mean"]

    def _of_global(self, state: State, group: Group, rows: Rows) -> tuple[float, float, float]:
        """Test accuracy and loss, validation accuracy."""
        weights = self._offered.global_model(state, group)
        if weights is None:
            return of_clients(group, rows)
        test, validation = self._tested(group.model, weights).values()
        return test.accuracy, test.loss, validation.accuracy

    def _of_deployed(self, state: State, group: Group, rows: Rows) -> tuple[float, float]:
        """Test and validation accuracy of what devices of a group run: means over clients."""
        spec = self._offered.deployed_model(state, group)
        found = [self._tested(spec, weights).values() for _, weights in self._offered.sample(state, group)]
        if not found:
            accuracy, _, validation = of_clients(group, rows)
            return accuracy, validation
        accuracy, validation = np.mean([[one.accuracy for one in tests] for tests in found], axis=0)
        return float(accuracy), float(validation)

    def _personal(self, state: State, number: int) -> list[tuple[float, float]]:
        """Personal accuracy of every client, and the same on its validation examples where the run goes by that."""

        def of(client: ClientInfo) -> tuple[float, float]:
            weights = self._offered.deployed(state, client, rounded=False)
            if weights is None:
                return nan, nan
            spec = self._offered.deployed_model(state, self._experiment.groups[client.group])
            return personal_accuracy(self._experiment, client, spec, weights, number)

        return list((self._pool.map if self._pool else map)(of, self._experiment.clients))

    def clients(self, state: State, rows: Rows) -> list[float]:
        """Scores every client on test examples with its own label distribution, by the model that it would deploy.

        Returns:
            An accuracy for each partition; NaN for a client of its own model that has not trained one yet, and for one
            without test examples.
        """
        return [self._on_its_distribution(state, client, rows) for client in self._experiment.clients]

    def _on_its_distribution(self, state: State, client: ClientInfo, rows: Rows) -> float:
        """Accuracy of one client; a model that many clients share is run over the test set once."""
        group, data = self._experiment.groups[client.group], self._experiment.data
        weights = self._offered.deployed(state, client)
        if weights is None:
            return figure(rows.get(client.partition, {}), "accuracy")
        spec = self._offered.deployed_model(state, group)
        if group.compression.sparsity > 0:
            return evaluate(spec, weights, data.test(client.partition)).accuracy
        part = data.test_part(client.partition)
        return float(self._bench.test(spec, weights).correct[part].mean()) if len(part) else nan

    def confusion(self, state: State) -> dict[str, NDArray[np.int64]]:
        """Returns, for each group whose devices' models the server has, (classes, classes) counts on the test set.

        A row is a class, a column what its examples were taken for; of clients' models that differ, their sum.
        """
        dataset, found = self._experiment.data.dataset, {}
        for name, group in self._experiment.groups.items():
            spec = self._offered.deployed_model(state, group)
            tests = [self._bench.test(spec, weights) for _, weights in self._offered.sample(state, group)]
            if tests:
                differ = any(test is not tests[0] for test in tests)
                counts = np.zeros((dataset.classes, dataset.classes), np.int64)
                for test in tests if differ else tests[:1]:
                    np.add.at(counts, (dataset.y_test, test.predicted), 1)
                found[name] = counts
        return found

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
        if (server_model := self._offered.own_model(state)) is not None:
            figures["server_accuracy"] = self._bench.test(*server_model).accuracy
        return figures

    def digest(self, state: State, rows: Rows) -> str:
        """SHA-256 of all final weights: global ones by architecture, or the clients' where there are none."""
        total = sha256()
        if server := self._offered.own_model(state):
            total.update(digest(server[1]).encode())
        for name, group in self._experiment.groups.items():
            if (tier := self._experiment.tier(state, group)) is not None:
                total.update(f"tier {name}".encode() + digest(tier).encode())
        for name, model in self._experiment.models.items():
            group = next(g for g in self._experiment.groups.values() if g.model is model)
            weights = self._offered.global_model(state, group)
            total.update(name.encode())
            if weights is not None:
                total.update(digest(weights).encode())
            else:
                trained = [rows[p] for p in sorted(rows) if self._experiment.group_of(p).model is model]
                total.update("".join(str(row.get("model_digest")) for row in trained).encode())
        return total.hexdigest()
