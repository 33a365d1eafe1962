"""The staged search: what it tries, when it halves, where it ends."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedcompress.compression import masks as masking
from fedcompress.compression.kinds.adaptive import Adaptive, AdaptiveParams, Search
from fedcompress.models.architecture import ModelSpec
from fedcompress.models.architectures.mini_cnn import MiniCNN
from fedcompress.tree import load_tree, save_tree

MINI = ModelSpec("mini-cnn", MiniCNN(), (28, 28, 1), 10)


def searched(search: Search, holds: float) -> tuple[Search, list[float]]:
    """Runs a search on a model that is perfect up to a sparsity and useless beyond."""
    tried = []
    while not search.done:
        tried.append(round(search.trial, 6))
        search = search.after(1.0 if search.trial <= holds else 0.1)
    return search, tried


def test_what_is_tried_when_the_accuracy_holds_up_to_0_66() -> None:
    """By 0.2 to 0.6, then fails at 0.8; 0.7 fails; 0.65 holds; 0.675 fails; half of that is below the least step."""
    search, tried = searched(Search(0.9, False, 0.99, 0.2, 0.02), holds=0.66)
    assert tried == [0.2, 0.4, 0.6, 0.8, 0.7, 0.65, 0.675]
    assert search.passed == pytest.approx(0.65)
    assert search.failed == pytest.approx(0.675)


def test_a_limit_that_holds_ends_the_search_there() -> None:
    search, tried = searched(Search(0.995, True, 0.9, 0.4), holds=1.0)
    assert tried == [0.4, 0.8, 0.9]
    assert search.passed == 0.9


def test_nothing_holds() -> None:
    search, tried = searched(Search(0.9, False, 0.99, 0.1, 0.05), holds=0.0)
    assert (search.passed, tried) == (0.0, [0.1, 0.05])


@given(st.floats(0, 1), st.floats(0.02, 0.5), st.floats(0.5, 0.99))
@settings(max_examples=100)
def test_the_next_step_up_has_failed(holds: float, step: float, limit: float) -> None:
    search, tried = searched(Search(0.9, False, limit, step), holds)
    assert search.passed <= max(holds, 0) + 1e-6
    assert search.passed == pytest.approx(limit) or search.failed - search.passed < 0.0201
    assert len(tried) == len(set(tried)) < 70


def test_a_fraction_of_the_best_is_one_of_the_best_so_far() -> None:
    """0.99 of 0.9 is 0.891; a trial at 0.95 passes and raises the threshold to 0.9405."""
    search = Search(0.99, True, 0.99, 0.1).seen(0.9)
    assert search.threshold == pytest.approx(0.891)
    assert not search.holds(0.89)
    assert search.after(0.95).threshold == pytest.approx(0.9405)
    assert search.after(0.89).step == 0.05


@pytest.mark.parametrize("params", [{}, {"accuracy": 0.9, "of_best": 0.9}])
def test_there_is_one_goal(params: dict) -> None:
    with pytest.raises(ValueError, match=r"expected one of accuracy .* and of_best"):
        AdaptiveParams(**params)


def test_a_group_gets_its_last_good_mask_back() -> None:
    """Dense, a trial that holds, one that fails twice (patience 2), and the end, which is the first trial's mask."""
    params = AdaptiveParams(accuracy=0.9, step=0.4, patience=2, begin_round=1, freeze_round=6)
    compression = Adaptive(params, sparsity=0.95, rounds=8)
    rng = np.random.default_rng(0)
    weights = MINI.initial(rng)
    memory, densities = None, []
    for round_number, accuracy in enumerate([0.95, 0.91, 0.5, 0.6, 0.9, 0.7], 1):
        masks = compression.choose(weights, MINI, round_number, rng, memory)
        densities.append(round(masking.density(masks), 2) if masks else 1.0)
        memory = compression.judged(memory, round_number, masks, accuracy)
    assert densities == [1.0, 0.6, 0.2, 0.2, 0.4, 0.4]
    assert memory["passed"] == pytest.approx(0.6)


def test_what_is_remembered_goes_through_a_checkpoint(tmp_path: Path) -> None:
    compression = Adaptive(AdaptiveParams(of_best=0.9, step=0.3, begin_round=0), sparsity=0.95, rounds=9)
    rng = np.random.default_rng(0)
    weights = MINI.initial(rng)
    memory = compression.judged(None, 1, [], 0.9)
    for round_number, accuracy in ((2, 0.9), (3, 0.2)):
        masks = compression.choose(weights, MINI, round_number, rng, memory)
        memory = compression.judged(memory, round_number, masks, accuracy)
    save_tree(tmp_path / "memory.npz", memory)
    again = load_tree(tmp_path / "memory.npz")
    assert memory["age"] == 1
    for one, other in zip(*(compression.choose(weights, MINI, 4, rng, m) for m in (memory, again)), strict=True):
        assert np.array_equal(one, other)


def test_a_mask_is_within_the_last_good_one() -> None:
    compression = Adaptive(AdaptiveParams(of_best=0.9, step=0.3, begin_round=0), sparsity=0.95, rounds=9)
    rng = np.random.default_rng(0)
    first = compression.judged(None, 1, [], 0.9)
    good = compression.choose(MINI.initial(rng), MINI, 2, rng, first)
    second = compression.judged(first, 2, good, 0.9)
    sparser = compression.choose(MINI.initial(rng), MINI, 3, rng, second)
    assert all((a <= b).all() for a, b in zip(sparser, good, strict=True))
    assert masking.density(sparser) == pytest.approx(0.4, abs=0.01)
