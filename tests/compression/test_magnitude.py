"""The pruning schedule by round, and that it is really reached on the real weights."""

import numpy as np
import pytest
from pydantic import ValidationError

from fedcompress.compression import masks
from fedcompress.compression.magnitude import Magnitude, MagnitudeParams
from fedcompress.data.federated import Examples
from fedcompress.models.architecture import ModelSpec
from fedcompress.models.small_cnn import SmallCNN
from fedcompress.scenario import TrainingSettings
from fedcompress.training.trainer import Trainer


def magnitude(sparsity: float, rounds: int, **params: object) -> Magnitude:
    return Magnitude(MagnitudeParams(**params), sparsity=sparsity, rounds=rounds)


def test_polynomial_target_by_round() -> None:
    """0.9 (1 - (1 - (t - 2) / 4)^3) for t = 2..6: 0, 0.9 * 37/64, 0.9 * 7/8, 0.9 * 63/64, 0.9."""
    compression = magnitude(0.9, 10, begin_round=2, end_round=6)
    expected = [0, 0, 0.9 * 37 / 64, 0.9 * 7 / 8, 0.9 * 63 / 64, 0.9, 0.9]
    assert [compression.target(t) for t in range(1, 8)] == pytest.approx(expected)


def test_constant_target() -> None:
    compression = magnitude(0.5, 10, schedule="constant", begin_round=3)
    assert [compression.target(t) for t in (3, 4, 10)] == [0, 0.5, 0.5]


@pytest.mark.parametrize("rounds", [1, 2, 3, 5, 10, 20, 100])
def test_default_ramp_is_dense_first_and_full_last(rounds: int) -> None:
    compression = magnitude(0.8, rounds)
    targets = [compression.target(t) for t in range(1, rounds + 1)]
    assert targets == sorted(targets)
    assert targets[-1] == 0.8
    assert rounds < 5 or targets[0] == 0.0
    assert not any(compression.frozen(t) for t in range(1, compression.end_round + 1))


def test_freeze_round_zero_is_never() -> None:
    assert not any(magnitude(0.8, 10, freeze_round=0).frozen(t) for t in range(1, 11))


def test_begin_after_end_is_refused() -> None:
    with pytest.raises(ValidationError, match="begin_round has to come before end_round"):
        MagnitudeParams(begin_round=5, end_round=5)


@pytest.fixture(scope="module")
def model() -> ModelSpec:
    return ModelSpec("small-cnn", SmallCNN(), (28, 28, 1), 10)


def trainer(model: ModelSpec, compression: Magnitude, round_number: int) -> Trainer:
    settings = TrainingSettings(batch_size=8)
    return Trainer(model, compression, settings, round_number, lambda purpose: np.random.default_rng(7))


@pytest.mark.parametrize("sparsity", [0.1, 0.5, 0.8, 0.9, 0.95])
@pytest.mark.parametrize("examples", [3, 8, 100])
def test_sparsity_is_achieved_also_in_one_step(model: ModelSpec, sparsity: float, examples: int) -> None:
    """Within 0.01 of the target on the real weights: 1, 1 and 13 steps, fewer than tfmot's default frequency of 100."""
    rng = np.random.default_rng(examples)
    data = Examples(
        rng.integers(0, 256, (examples, 28, 28, 1), np.uint8), rng.integers(0, 10, examples).astype(np.int32)
    )
    start = model.initial(np.random.default_rng(1))
    trained = trainer(model, magnitude(sparsity, 1), 1).fit(start, data)
    assert masks.sparsity(trained.weights, model.prunable) == pytest.approx(sparsity, abs=0.01)
    for at, i in enumerate(model.prunable):
        assert trained.masks[at].sum() == masks.kept(start[i].size, sparsity)
        assert not trained.weights[i][~trained.masks[at]].any()


def test_given_masks_stay_and_target_zero_leaves_the_model_dense(model: ModelSpec) -> None:
    rng = np.random.default_rng(0)
    data = Examples(rng.integers(0, 256, (30, 28, 28, 1), np.uint8), rng.integers(0, 10, 30).astype(np.int32))
    start = model.initial(np.random.default_rng(1))
    chosen = masks.choose(start, model.prunable, masks.counts(start, model.prunable, 0.7))
    kept = trainer(model, magnitude(0.7, 1), 1).fit(start, data, masks=chosen)
    assert all(np.array_equal(a, b) for a, b in zip(kept.masks, chosen, strict=True))
    assert all(not kept.weights[i][~m].any() for i, m in zip(model.prunable, chosen, strict=True))
    dense = trainer(model, magnitude(0.7, 10), 1).fit(start, data)
    assert dense.masks == []
    assert masks.sparsity(dense.weights, model.prunable) < 0.01


def test_many_zero_weights_do_not_make_the_mask_dense(model: ModelSpec) -> None:
    """tfmot's threshold is zero where more weights are zero than the target asks for, and would keep all of them."""
    start = [np.zeros_like(a) for a in model.initial(np.random.default_rng(1))]
    data = Examples(np.zeros((8, 28, 28, 1), np.uint8), np.zeros(8, np.int32))
    trained = trainer(model, magnitude(0.8, 1), 1).fit(start, data)
    assert [m.sum() for m in trained.masks] == [masks.kept(start[i].size, 0.8) for i in model.prunable]
