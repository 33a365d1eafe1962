"""What chooses masks keeps what was asked for, and breeds from what was good."""

from __future__ import annotations

import numpy as np

from fedcompress.masks.drawing import bred
from fedcompress.masks.features import FEATURES, Described
from fedcompress.recipes.masks.criteria import apportioned, mixed

RNG = np.random.default_rng(0)
NETWORK = Described((4, 3, 12), RNG.random((19, len(FEATURES))).astype(np.float32))


def test_shares_become_numbers_within_widths_and_floor() -> None:
    """10 in shares of 8 : 1 : 1 would be 8, 1 and 1, of which the first layer has only 4."""
    assert apportioned(np.array([8.0, 1, 1]), (4, 3, 12), 10, 1).tolist() == [4, 3, 3]
    assert apportioned(np.array([1.0, 1e-9, 1]), (4, 3, 12), 5, 1).tolist() == [2, 1, 2]
    assert apportioned(np.ones(3), (4, 3, 12), 19, 1).tolist() == [4, 3, 12]


def test_mixed_masks_keep_as_many_and_differ() -> None:
    model = np.isin(np.arange(19), [0, 4, 7, 8, 9])
    masks = [mixed(NETWORK, [model], 5, 1, np.random.default_rng(seed)) for seed in range(20)]
    assert {int(mask.sum()) for mask in masks} == {5}
    assert all(of_layer.any() for mask in masks for of_layer in NETWORK.kept(mask))
    assert len({mask.tobytes() for mask in masks}) > 10


def test_a_bred_mask_has_what_its_parents_share_but_for_newcomers() -> None:
    """Up to three channels are new to both parents, which may be twice the same one."""
    parents = [np.isin(np.arange(19), kept) for kept in ([0, 4, 7, 8, 9, 10], [0, 4, 7, 8, 11, 12])]
    children = np.array([bred(parents, NETWORK, 6, 1, np.random.default_rng(seed)) for seed in range(200)])
    assert (children.sum(axis=1) == 6).all()
    newcomers = (children & ~parents[0] & ~parents[1]).sum(axis=1)
    assert newcomers.max() == 3
    assert 1 < newcomers.mean() < 2
    often = children.mean(axis=0)
    assert often[[0, 4, 7, 8]].min() > 0.6 > 0.4 > often[[9, 10, 11, 12]].max()
