"""Levels of a lottery ticket: how much goes, where it ends."""

from __future__ import annotations

import numpy as np
import pytest

from fedcompress.compression import masks as masking
from fedcompress.compression.kinds import lottery
from fedcompress.models.architecture import ModelSpec
from fedcompress.models.architectures.mini_cnn import MiniCNN

MINI = ModelSpec("mini-cnn", MiniCNN(), (28, 28, 1), 10)


def test_a_fifth_of_each_layer_and_a_tenth_of_the_last() -> None:
    """36, 144 and 1,960 weights: 7, 29 and 196 go, the smallest of each layer; then 20 % and 10 % of what is left."""
    weights = MINI.initial(np.random.default_rng(0))
    masks = lottery.next_level(MINI, weights, lottery.whole(MINI), rate=0.2, output_rate=0.1, sparsity=0.95)
    assert [int(mask.sum()) for mask in masks] == [29, 115, 1764]
    for i, mask in zip(MINI.prunable, masks, strict=True):
        assert np.abs(weights[i][mask]).min() >= np.abs(weights[i][~mask]).max()
    again = lottery.next_level(MINI, weights, masks, rate=0.2, output_rate=0.1, sparsity=0.95)
    assert [int(mask.sum()) for mask in again] == [23, 92, 1588]
    assert all((a <= b).all() for a, b in zip(again, masks, strict=True))


@pytest.mark.parametrize("sparsity", [0.3, 0.5, 0.9])
def test_the_last_level_ends_at_the_sparsity(sparsity: float) -> None:
    weights, masks = MINI.initial(np.random.default_rng(0)), lottery.whole(MINI)
    densities = [1.0]
    for _ in range(30):
        masks = lottery.next_level(MINI, weights, masks, rate=0.2, output_rate=0.1, sparsity=sparsity)
        densities.append(masking.density(masks))
    assert densities == sorted(densities, reverse=True)
    assert 1 - densities[-1] == pytest.approx(sparsity, abs=1 / 2140)  # one weight
    assert 1 - densities[-1] <= sparsity + 1e-9
    assert densities[-1] == densities[-2]


def test_what_is_gone_does_not_come_back_though_survivors_are_zero() -> None:
    masks = lottery.whole(MINI)
    masks[0].flat[:18] = False
    zeros = [np.zeros_like(a) for a in MINI.template]
    sparser = lottery.next_level(MINI, zeros, masks, rate=0.2, output_rate=0.1, sparsity=0.95)
    assert not sparser[0].ravel()[:18].any()
    assert sparser[0].sum() == 14
