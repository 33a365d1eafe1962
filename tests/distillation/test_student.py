"""How a student is taught: when it stops, what is kept, and at which rates; with a trainer of given accuracies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from fedcompress.data.federated import Examples
from fedcompress.distillation.student import StudentParams, distil, taught
from fedcompress.training.loop import Trained
from fedcompress.training.objectives import CrossEntropy
from fedcompress.training.rates import Cosine

SOME = Examples(np.zeros((5, 2)), np.zeros(5, np.int32))
NONE = Examples(np.zeros((0, 2)), np.zeros(0, np.int32))
LOGITS = np.zeros((5, 3), np.float32)


@dataclass
class Scripted:
    """A trainer whose weights are the number of the block that they came out of; `accuracies[0]` is the start's."""

    accuracies: Sequence[float]
    spec: Any = field(default_factory=lambda: SimpleNamespace(name="small"))
    calls: list[dict[str, Any]] = field(default_factory=list)
    compression: Any = field(default_factory=lambda: SimpleNamespace(rounded=lambda weights, spec: weights))

    def fit(self, weights: Any, examples: Any, objective: Any, **settings: Any) -> Trained:
        self.calls.append(settings)
        after = [weights[0] + 1]
        return Trained(after, [], 0.0, steps=10, latent=after)

    def evaluate(self, weights: Any, examples: Any) -> Any:
        return SimpleNamespace(accuracy=self.accuracies[int(weights[0])])


@pytest.mark.parametrize(
    ("accuracies", "settings", "blocks", "kept"),
    [
        # Best of all, the start among them: it ends after the first block that is worse, an equal one counts as better.
        ((0.5, 0.6, 0.6, 0.55, 0.9), {}, 3, 2),
        ((0.5, 0.4, 0.9, 0.9, 0.9), {}, 1, 0),
        ((0.5, 0.6, 0.7, 0.8, 0.9), {}, 4, 4),
        ((0.5, np.nan, 0.9, 0.9, 0.9), {}, 1, 0),
        ((0.5, 0.4, 0.9, 0.8, 0.7), {"patience": 2}, 4, 2),
        # Best block, the start is not among them, and an equal one is no gain.
        ((0.5, 0.4, 0.3, 0.3, 0.3), {"keep": "trained"}, 2, 1),
        ((0.5, 0.4, 0.4, 0.6, 0.5), {"keep": "trained", "patience": 2}, 4, 3),
        ((0.5, 0.4, 0.4, 0.4, 0.6), {"keep": "trained", "patience": 2}, 3, 1),
        # The last one.
        ((0.5, 0.4, 0.3, 0.9, 0.9), {"keep": "last"}, 2, 2),
        ((0.5, 0.4, 0.6, 0.5, 0.3), {"keep": "last", "patience": 3}, 4, 4),
    ],
)
def test_when_it_ends_and_what_is_kept(
    accuracies: Sequence[float], settings: dict[str, Any], blocks: int, kept: int
) -> None:
    trainer: Any = Scripted(accuracies)
    student = taught(trainer, [np.float32(0)], SOME, CrossEntropy(), StudentParams(**settings), SOME)
    assert len(trainer.calls) == blocks
    assert (int(student.weights[0]), student.steps) == (kept, 10 * kept)
    assert student.accuracies == pytest.approx(accuracies[: blocks + 1], nan_ok=True)


@pytest.mark.parametrize("keep", ["best", "trained", "last"])
def test_without_validation_examples_the_last_block_counts(keep: Any) -> None:
    trainer: Any = Scripted((0.5,) * 5)
    student = taught(trainer, [np.float32(0)], SOME, CrossEntropy(), StudentParams(keep=keep), NONE)
    assert (int(student.weights[0]), student.steps, student.accuracies) == (4, 40, (-1.0,) * 5)


def test_a_cosine_goes_over_all_blocks_and_the_optimizer_through_blocks_of_steps() -> None:
    trainer: Any = Scripted((0.1, 0.2, 0.3))
    params = StudentParams(blocks=2, schedule="cosine", learning_rate=0.01, block_steps=7)
    taught(trainer, [np.float32(0)], SOME, CrossEntropy(), params, SOME, purpose="tier")
    assert [call["learning_rate"] for call in trainer.calls] == [Cosine(0.01, 0.0, 0.5), Cosine(0.01, 0.5, 1.0)]
    assert [(call["steps"], call["continued"]) for call in trainer.calls] == [(7, False), (7, True)]
    assert [call["purpose"] for call in trainer.calls] == ["tier.0", "tier.1"]


def test_blocks_of_passes_are_trainings_of_their_own() -> None:
    trainer: Any = Scripted((0.1, 0.2, 0.3))
    taught(trainer, [np.float32(0)], SOME, CrossEntropy(), StudentParams(blocks=2, epochs=3), SOME)
    assert [(c["epochs"], c["steps"], c["continued"], c["learning_rate"]) for c in trainer.calls] == [
        (3, None, False, 0.001)
    ] * 2


def test_a_distillation_that_changes_nothing_is_an_event() -> None:
    notes: dict[str, float] = {}
    events: list[str] = []
    fed: Any = SimpleNamespace(note=notes.__setitem__, event=events.append)
    start, params = [np.float32(0)], StudentParams(patience=2)
    trainer: Any = Scripted((0.5, 0.4, 0.45, 0.9, 0.9))
    assert distil(trainer, start, SOME, LOGITS, params, SOME, None, fed) == start
    assert notes == {"distilled_steps small": 0}
    assert events == [
        "distillation changed nothing: the small that it began with has 0.500 on validation, the best of 2 blocks 0.450"
    ]
    better: Any = Scripted((0.5, 0.6, 0.5, 0.5, 0.5))
    assert distil(better, start, SOME, LOGITS, params, SOME, None, fed) == [1]
    assert notes == {"distilled_steps small": 10}
    assert len(events) == 1
