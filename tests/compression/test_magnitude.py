"""The pruning schedule by round, and that it is really reached on the real weights."""

import numpy as np
import pytest
from pydantic import ValidationError

from fedcompress import keras
from fedcompress.compression import masks
from fedcompress.compression.kinds.magnitude import Magnitude, MagnitudeParams
from fedcompress.compression.pruning import sparsity_that_keeps, tfmot_keeps
from fedcompress.data.federated import Examples
from fedcompress.models.architecture import ModelSpec
from fedcompress.models.architectures.small_cnn import SmallCNN
from fedcompress.scenario.sections import TrainingSettings
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
    trained = trainer(model, magnitude(sparsity, 1, scope="layer"), 1).fit(start, data)
    assert masks.sparsity(trained.weights, model.prunable) == pytest.approx(sparsity, abs=0.01)
    for at, i in enumerate(model.prunable):
        assert trained.masks[at].sum() == masks.survivors(start[i].size, sparsity)
        assert not trained.weights[i][~trained.masks[at]].any()


SIZES = [72, 576, 3920]
"""Weights in the kernels of small-cnn, whose sides sum to 15, 22 and 402."""


@pytest.mark.parametrize("scope", ["layer", "model", "erk"])
@pytest.mark.parametrize("sparsity", [0.3, 0.5, 0.8, 0.9, 0.97])
def test_training_keeps_in_each_layer_what_the_scope_says(
    model: ModelSpec, scope: masks.Scope, sparsity: float
) -> None:
    """Exactly, although tfmot has a threshold for each layer: the model as a whole has the target, or each layer."""
    rng = np.random.default_rng(3)
    data = Examples(rng.integers(0, 256, (100, 28, 28, 1), np.uint8), rng.integers(0, 10, 100).astype(np.int32))
    start = model.initial(np.random.default_rng(1))
    compression = magnitude(sparsity, 1, scope=scope, frequency=3)
    trained = trainer(model, compression, 1).fit(start, data)
    wanted = masks.counts(start, model.prunable, sparsity, scope)
    assert [int(mask.sum()) for mask in trained.masks] == wanted
    assert [np.count_nonzero(trained.weights[i]) for i in model.prunable] == wanted
    assert [int(m.sum()) for m in compression.choose(start, model, 1, rng)] == wanted  # the server's
    if scope == "layer":
        assert wanted == [masks.survivors(size, sparsity) for size in SIZES]
    else:
        assert sum(wanted) == masks.survivors(4568, sparsity)


def test_the_first_layer_in_each_scope(model: ModelSpec) -> None:
    """At 0.9 the first layer keeps 7 of 72 by layer; of 457 weights, erk gives it 457 * 15 / 439 = 15.6."""
    start = model.initial(np.random.default_rng(1))
    kept = {scope: masks.counts(start, model.prunable, 0.9, scope) for scope in ("layer", "model", "erk")}
    assert kept["layer"] == [7, 58, 392]
    assert kept["erk"] == [16, 23, 418]
    assert kept["model"] == [29, 245, 183]  # by the ranges that initial weights are drawn from


def test_a_scope_follows_the_schedule(model: ModelSpec) -> None:
    """Nested from round to round, and the target of each in all."""
    start = model.initial(np.random.default_rng(1))
    for scope in ("model", "erk"):
        compression = magnitude(0.9, 10, begin_round=2, end_round=6, scope=scope)
        before = [np.ones(start[i].shape, bool) for i in model.prunable]
        for number in range(3, 11):
            now = compression.choose(start, model, number, np.random.default_rng(0))
            assert sum(int(m.sum()) for m in now) == masks.survivors(4568, compression.target(number))
            assert not any((n & ~b).any() for n, b in zip(now, before, strict=True))
            before = now


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
    trained = trainer(model, magnitude(0.8, 1, scope="layer"), 1).fit(start, data)
    assert [m.sum() for m in trained.masks] == [masks.survivors(start[i].size, 0.8) for i in model.prunable]


SIZES_OF_KERNELS = (1, 3, 4568, 2_359_296, 2**23 + 1, 2**24 + 1, 25_000_000, 5001**2, 2**26 + 3, 25_088 * 4096, 10**8)


@pytest.mark.parametrize("size", SIZES_OF_KERNELS)
def test_tfmot_is_never_asked_for_too_few_or_for_more_than_there_are(size: int) -> None:
    """It counts in float32. Short of what is kept it is only where float32 has no number up to all of them."""
    wanted = np.random.default_rng(size).integers(1, size, 3000, endpoint=True).tolist()
    spacing = int(np.spacing(np.float32(size))) if size > 2**24 else 0
    fewer = 0
    for keep in [*wanted, *range(max(1, size - 9), size + 1)]:
        sparsity = sparsity_that_keeps(keep, size)
        kept = tfmot_keeps(size, sparsity)
        assert kept <= min(size, keep + 1 + size / 2**22)
        assert kept >= keep or size - kept <= spacing
        plain = np.float32(1 - keep / size)
        fewer += tfmot_keeps(size, plain) < keep
        assert sparsity == plain or not keep <= tfmot_keeps(size, plain) <= size
    assert (fewer > 0) == (size > 2**23)


@pytest.mark.parametrize(("size", "keep"), [(10_240_000, 5_733_555), (2**24 + 3, 2**24 + 3), (2**23 + 1, 1)])
def test_of_millions_of_weights_tfmot_keeps_what_is_reckoned(
    monkeypatch: pytest.MonkeyPatch, size: int, keep: int
) -> None:
    """The weights are sorted already: what takes tfmot seconds is left out."""
    tf = keras.tf
    monkeypatch.setattr(tf.math, "top_k", lambda values, k: (values, tf.range(k)))
    falling = (np.uint32(0x3F000000) + np.arange(size, dtype=np.uint32)[::-1]).view(np.float32)
    sparsity = sparsity_that_keeps(keep, size)
    weights, mask = tf.Variable(falling), tf.Variable(tf.zeros(size))
    pruning = keras.Pruning(
        training_step_fn=lambda: 0,
        pruning_vars=[(weights, mask, tf.Variable(0.0))],
        pruning_schedule=lambda step: (True, tf.constant(sparsity)),
        block_size=(1, 1),
        block_pooling_type="AVG",
    )
    pruning.conditional_mask_update()
    kept = mask.numpy().astype(bool)
    assert kept.sum() == tfmot_keeps(size, sparsity)
    (exactly,) = masks.adjusted([falling], [kept], [0], [keep])
    assert np.array_equal(exactly, np.arange(size) < keep)
