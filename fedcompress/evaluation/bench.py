"""Runs models over the server's examples: the same weights once in two rounds in a row, whoever has them."""

from __future__ import annotations

from concurrent.futures import Executor
from typing import Literal

from fedcompress.data.federated import Examples, FederatedData
from fedcompress.models.architecture import ModelSpec
from fedcompress.training.trainer import Evaluation, evaluate
from fedcompress.wire.content import Arrays, digest

Which = Literal["test", "validation"]


class Bench:
    """Test set and server validation examples of a run.

    Args:
        data: The run's.
        pool: Threads that share an evaluation.
        threads: Their number.
    """

    def __init__(self, data: FederatedData, pool: Executor | None = None, threads: int = 1) -> None:
        self._data, self._pool, self._threads = data, pool, threads
        self._before: dict[tuple[str, str], Evaluation] = {}
        self._now: dict[tuple[str, str], Evaluation] = {}
        """(test or validation, digest of the weights) -> how they did, in the round before and in this one."""

    def begin(self) -> None:
        """Starts a round: what was tested in the round before last is forgotten."""
        self._before, self._now = self._now, {}

    def test(self, spec: ModelSpec, weights: Arrays) -> Evaluation:
        """Scores weights on the test set."""
        return self._once("test", spec, weights)

    def validate(self, spec: ModelSpec, weights: Arrays) -> Evaluation:
        """Scores weights on the server's validation examples."""
        return self._once("validation", spec, weights)

    def _once(self, which: Which, spec: ModelSpec, weights: Arrays) -> Evaluation:
        key = (which, f"{spec.name} {digest(weights)}")
        if key not in self._now:
            known = self._before.get(key)
            self._now[key] = self.run(which, spec, weights) if known is None else known
        return self._now[key]

    def run(self, which: Which, spec: ModelSpec, weights: Arrays) -> Evaluation:
        """Scores weights, remembering nothing."""
        examples: Examples = self._data.test_examples if which == "test" else self._data.server_validation_examples
        return evaluate(spec, weights, examples, self._pool, self._threads)
