"""Mask-aware averaging: against numbers worked out by hand, and against its invariants."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from fedcompress.aggregation import masked_mean, union, weighted_mean


def arrays(*values: object) -> list[np.ndarray]:
    return [np.array(v, np.float32) for v in values]


def bits(*values: object) -> list[np.ndarray]:
    return [np.array(v, bool) for v in values]


def test_weighted_mean() -> None:
    """(1 * 2 + 3 * 6) / 4 = 5."""
    assert weighted_mean([arrays([2.0]), arrays([6.0])], [1, 3])[0].tolist() == [5.0]


def test_masked_mean() -> None:
    """n = 1, 3. Kept by both: (1*2 + 3*6)/4 = 5. By the second: 6. By none: the old 9. The bias is unmasked."""
    updates = [arrays([2, 0, 0], [1]), arrays([6, 6, 0], [5])]
    masks = [bits([1, 0, 0]), bits([1, 1, 0])]
    result = masked_mean(updates, masks, [1, 3], [0], arrays([9, 9, 9], [9]))
    assert result[0].tolist() == [5, 6, 9]
    assert result[1].tolist() == [4]


def test_plain_mean_shrinks_what_the_masked_mean_keeps() -> None:
    """A weight of 4 kept by one client of two with equal n: 4 with masks, 2 without."""
    updates, masks = [arrays([4]), arrays([0])], [bits([1]), bits([0])]
    assert masked_mean(updates, masks, [1, 1], [0], arrays([7]))[0].tolist() == [4]
    assert weighted_mean(updates, [1, 1])[0].tolist() == [2]


def test_a_client_without_mask_keeps_everything() -> None:
    result = masked_mean([arrays([2, 0]), arrays([4, 8])], [bits([1, 0]), None], [1, 1], [0], arrays([9, 9]))
    assert result[0].tolist() == [3, 8]


def test_without_masks_it_is_the_weighted_mean() -> None:
    updates = [arrays([1.5, 2.5]), arrays([0.5, 4.5])]
    old = arrays([0, 0])
    assert np.array_equal(masked_mean(updates, [None, None], [2, 5], [0], old)[0], weighted_mean(updates, [2, 5])[0])


@st.composite
def federations(draw: st.DrawFn) -> tuple[list, list, list, list]:
    clients = draw(st.integers(1, 5))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    updates, masks = [], []
    for _ in range(clients):
        mask = rng.random((4, 3)) < draw(st.sampled_from([0.1, 0.5, 1.0]))
        masks.append([mask])
        updates.append([np.where(mask, rng.normal(size=(4, 3)), 0).astype(np.float32), rng.normal(size=2).astype("f4")])
    examples = [draw(st.integers(1, 1000)) for _ in range(clients)]
    return updates, masks, examples, [rng.normal(size=(4, 3)).astype(np.float32), np.zeros(2, np.float32)]


@given(federations(), st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None)
def test_order_of_replies_does_not_matter(federation: tuple, random: object) -> None:
    updates, masks, examples, old = federation
    order = list(range(len(updates)))
    random.shuffle(order)  # type: ignore[attr-defined]
    one = masked_mean(updates, masks, examples, [0], old)
    other = masked_mean([updates[i] for i in order], [masks[i] for i in order], [examples[i] for i in order], [0], old)
    for a, b in zip(one, other, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-7)


@given(federations())
@settings(max_examples=60, deadline=None)
def test_equal_updates_are_a_fixed_point(federation: tuple) -> None:
    _, masks, examples, old = federation
    same = [[np.where(mask[0], old[0], 0).astype(np.float32), old[1]] for mask in masks]
    result = masked_mean(same, masks, examples, [0], old)
    np.testing.assert_allclose(result[0], old[0], rtol=1e-6)
    np.testing.assert_allclose(result[1], old[1], rtol=1e-6)


def test_union() -> None:
    assert union([bits([1, 0, 0]), bits([0, 1, 0])])[0].tolist() == [True, True, False]  # type: ignore[index]
    assert union([bits([1, 0]), None]) is None
    assert union([]) is None
