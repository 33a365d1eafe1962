"""Slices of channels: windows by hand, nesting, and that a masked network trains as the slice itself would."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from fedcompress.compression.base import Compression, Params
from fedcompress.compression.kinds.slice import Slice, SliceParams, prefixes
from fedcompress.data.federated import Examples
from fedcompress.errors import InputError
from fedcompress.models import channels
from fedcompress.models.architecture import ModelSpec
from fedcompress.models.architectures.lenet5 import LeNet5
from fedcompress.models.architectures.mini_cnn import MiniCNN
from fedcompress.models.architectures.resnet_8 import ResNet8
from fedcompress.models.cost import multiply_adds
from fedcompress.scenario.sections import TrainingSettings
from fedcompress.training.trainer import Trainer, predict
from fedcompress.wire.content import Arrays
from tests.models.test_channels import Joined, Normalised, Residual

LENET = ModelSpec("lenet5", LeNet5(), (28, 28, 1), 10)
RESIDUAL = ModelSpec("residual", Residual(), (8, 8, 1), 10)
GROUPED = ModelSpec("resnet-8", ResNet8(), (8, 8, 1), 10)
MINI = ModelSpec("mini-cnn", MiniCNN(), (8, 8, 1), 10)


def of_width(width: float) -> Slice:
    return Slice(SliceParams(width=width), sparsity=0.0, rounds=3)


def kept(spec: ModelSpec, width: float, first: int) -> list[list[int]]:
    """Channels of each layer in a window."""
    return [np.flatnonzero(k).tolist() for k in channels.kept_of(spec, of_width(width).window(spec, first))]


def initial(spec: ModelSpec) -> Arrays:
    """Weights of which none is zero, biases neither."""
    rng = np.random.default_rng(3)
    return [w + np.float32(0.01) * rng.standard_normal(w.shape, np.float32) for w in spec.initial(rng)]


def test_a_window_rolls_by_one_and_goes_on_at_the_first_channel() -> None:
    """mini-cnn has 4 channels a layer, of which half are 2: in the fifth round it is where it was in the first."""
    found = [kept(MINI, 0.5, round_number - 1) for round_number in range(1, 6)]
    assert found == [[[0, 1]] * 2, [[1, 2]] * 2, [[2, 3]] * 2, [[0, 3]] * 2, [[0, 1]] * 2]


def test_layers_of_other_sizes_roll_each_on_its_own_ring() -> None:
    """LeNet-5 has 6, 16, 120 and 84 channels: at width 1/4 that is 1.5, 4, 30 and 21, rounded up."""
    found = kept(LENET, 0.25, 7)
    assert found[:2] == [[1, 2], [7, 8, 9, 10]]
    assert [len(k) for k in found] == [2, 4, 30, 21]


def test_numbers_of_channels_are_rounded_up_and_not_by_what_floats_add() -> None:
    """0.07 x 100 is 7.000000000000001 in floats; 1/16 of 4 channels is one."""
    assert 0.07 * 100 > 7
    wide = channels.narrowed(LENET, [100, 16, 120, 84])
    assert int(prefixes(wide, 0.07)[0].sum()) == 7
    assert [int(k.sum()) for k in prefixes(MINI, 1 / 16)] == [1, 1]


@given(st.floats(0.01, 1.0), st.floats(0.01, 1.0))
@settings(max_examples=30)
def test_slices_of_the_first_channels_are_nested(one: float, other: float) -> None:
    low, high = sorted([one, other])
    assert all((a <= b).all() for a, b in zip(prefixes(LENET, low), prefixes(LENET, high), strict=True))


def test_all_channels_are_no_mask() -> None:
    """A group at width 1 is a dense one."""
    whole, half = of_width(1.0), of_width(0.5)
    assert whole.window(MINI, 2) == []
    assert (whole.chooser, whole.sparsity, half.chooser, half.sparsity) == (None, 0.0, "server", 0.5)
    assert half.target(1) == half.target(3) == 0.5


@pytest.mark.parametrize(("spec", "first"), [(MINI, 0), (MINI, 3), (LENET, 5), (RESIDUAL, 1), (GROUPED, 2)])
def test_the_masked_network_and_the_slice_say_the_same_and_train_alike(spec: ModelSpec, first: int) -> None:
    """Plain SGD: three epochs of either give the same weights, to rounding; the slice is the smaller network."""
    compression, rng = of_width(0.5), np.random.default_rng(0)
    masks = compression.window(spec, first)
    data = Examples(rng.random((96, *spec.input_shape), np.float32), rng.integers(10, size=96).astype(np.int32))
    start = channels_of(spec, initial(spec), masks)
    small_spec, small = compression.deployed(spec, start)
    assert [layer.channels for layer in small_spec.channels[:-1]] == [int(k.sum()) for k in prefixes(spec, 0.5)]
    np.testing.assert_allclose(predict(small_spec, small, data.x), predict(spec, start, data.x), atol=1e-5)
    assert multiply_adds(small_spec.build()) < 0.6 * multiply_adds(spec.build())

    settings_ = TrainingSettings(epochs=3, batch_size=16, learning_rate=0.1, optimizer="sgd")
    plain = Compression(Params(), sparsity=0.0, rounds=1)
    of_whole = Trainer(spec, compression, settings_, 1, lambda _: np.random.default_rng(7))
    of_slice = Trainer(small_spec, plain, settings_, 1, lambda _: np.random.default_rng(7))
    masked, trained = of_whole.fit(start, data, masks=masks), of_slice.fit(small, data)
    assert masked.loss == pytest.approx(trained.loss, abs=1e-5)
    moved = channels.sliced(spec, masked.weights, channels.kept_of(spec, masks))
    for array, like, before in zip(moved, trained.weights, small, strict=True):
        np.testing.assert_allclose(array, like, atol=2e-5)
        assert np.abs(like - before).max() > 1e-3
    np.testing.assert_array_equal(np.concatenate([m.ravel() for m in masked.masks]), [x for m in masks for x in m.flat])


def channels_of(spec: ModelSpec, weights: Arrays, masks: Arrays) -> Arrays:
    """What a client receives: weights that are zero outside of its channels, biases too."""
    held = of_width(0.5).held(spec, masks)
    return [np.where(held[i], w, np.float32(0)) if i in held else w for i, w in enumerate(weights)]


@pytest.mark.parametrize("width", [0.0, -0.5, 1.01])
def test_a_width_is_above_zero_and_at_most_one(width: float) -> None:
    with pytest.raises(ValidationError, match="than"):
        SliceParams(width=width)


def test_models_whose_channels_cannot_be_followed_are_refused() -> None:
    with pytest.raises(InputError, match=r"model 'j': channels cannot be pruned: layer 'beside' \(Concatenate\)"):
        of_width(0.5).check(ModelSpec("j", Joined(), (8, 8, 1), 10))


def test_models_with_statistics_are_refused() -> None:
    with pytest.raises(InputError, match=r"model 'n': has batch normalisation, whose moving statistics sub-models of"):
        of_width(1.0).check(ModelSpec("n", Normalised(), (12, 12, 1), 10))
