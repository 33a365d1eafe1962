"""Mask-aware averaging: against numbers worked out by hand, and against its invariants."""

import weakref
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedcompress.aggregation import masked_mean, union, weighted_mean
from fedcompress.compression import masks as masking
from fedcompress.models import channels
from fedcompress.models.architecture import ModelSpec
from fedcompress.models.architectures.mini_cnn import MiniCNN

MINI = ModelSpec("mini-cnn", MiniCNN(), (28, 28, 1), 10)


def arrays(*values: object) -> list[np.ndarray]:
    return [np.array(v, np.float32) for v in values]


def bits(*values: object) -> list[np.ndarray]:
    return [np.array(v, bool) for v in values]


def kept(*values: object) -> dict[int, np.ndarray]:
    """What a client has of its first arrays."""
    return dict(enumerate(bits(*values)))


def test_weighted_mean() -> None:
    """(1 * 2 + 3 * 6) / 4 = 5."""
    assert weighted_mean([arrays([2.0]), arrays([6.0])], [1, 3])[0].tolist() == [5.0]


@pytest.mark.parametrize("density", [0.05, 0.6])
def test_masked_mean_of_few_and_of_most_weights(density: float) -> None:
    """What a client has is added one by one where it is little: the sums are the same to the bit."""
    rng = np.random.default_rng(1)
    values = [rng.normal(size=(300, 200)).astype(np.float32) for _ in range(3)]
    masks = [rng.random((300, 200)) < density for _ in range(3)]
    total = sum((v * (m * n) for v, m, n in zip(values, masks, (1.0, 2.0, 4.0), strict=True)), np.zeros((300, 200)))
    weight = sum((m * n for m, n in zip(masks, (1.0, 2.0, 4.0), strict=True)), np.zeros((300, 200)))
    expected = np.where(weight > 0, total / np.maximum(weight, 1), 9).astype(np.float32)
    old = [np.full((300, 200), 9, np.float32)]
    (mean,) = masked_mean([[v] for v in values], [{0: m} for m in masks], [1, 2, 4], old)
    assert mean.tobytes() == expected.tobytes()
    assert old[0].min() == 9


def test_masked_mean() -> None:
    """n = 1, 3. Kept by both: (1*2 + 3*6)/4 = 5. By the second: 6. By none: the old 9. The bias is unmasked."""
    updates = [arrays([2, 0, 0], [1]), arrays([6, 6, 0], [5])]
    masks = [kept([1, 0, 0]), kept([1, 1, 0])]
    result = masked_mean(updates, masks, [1, 3], arrays([9, 9, 9], [9]))
    assert result[0].tolist() == [5, 6, 9]
    assert result[1].tolist() == [4]


def test_plain_mean_shrinks_what_the_masked_mean_keeps() -> None:
    """A weight of 4 kept by one client of two with equal n: 4 with masks, 2 without."""
    updates, masks = [arrays([4]), arrays([0])], [kept([1]), kept([0])]
    assert masked_mean(updates, masks, [1, 1], arrays([7]))[0].tolist() == [4]
    assert weighted_mean(updates, [1, 1])[0].tolist() == [2]


def test_a_client_without_mask_keeps_everything() -> None:
    result = masked_mean([arrays([2, 0]), arrays([4, 8])], [kept([1, 0]), None], [1, 1], arrays([9, 9]))
    assert result[0].tolist() == [3, 8]


def test_without_masks_it_is_the_weighted_mean() -> None:
    updates = [arrays([1.5, 2.5]), arrays([0.5, 4.5])]
    old = arrays([0, 0])
    assert np.array_equal(masked_mean(updates, [None, None], [2, 5], old)[0], weighted_mean(updates, [2, 5])[0])


@st.composite
def federations(draw: st.DrawFn) -> tuple[list, list, list, list]:
    clients = draw(st.integers(1, 5))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    updates, masks = [], []
    for _ in range(clients):
        mask = rng.random((4, 3)) < draw(st.sampled_from([0.1, 0.5, 1.0]))
        masks.append({0: mask})
        updates.append([np.where(mask, rng.normal(size=(4, 3)), 0).astype(np.float32), rng.normal(size=2).astype("f4")])
    examples = [draw(st.integers(1, 1000)) for _ in range(clients)]
    return updates, masks, examples, [rng.normal(size=(4, 3)).astype(np.float32), np.zeros(2, np.float32)]


@given(federations(), st.randoms(use_true_random=False))
@settings(max_examples=60)
def test_order_of_replies_does_not_matter(federation: tuple, random: object) -> None:
    updates, masks, examples, old = federation
    order = list(range(len(updates)))
    random.shuffle(order)  # type: ignore[attr-defined]
    one = masked_mean(updates, masks, examples, old)
    other = masked_mean([updates[i] for i in order], [masks[i] for i in order], [examples[i] for i in order], old)
    for a, b in zip(one, other, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-7)


@given(federations())
@settings(max_examples=60)
def test_equal_updates_are_a_fixed_point(federation: tuple) -> None:
    _, masks, examples, old = federation
    same = [[np.where(mask[0], old[0], 0).astype(np.float32), old[1]] for mask in masks]
    result = masked_mean(same, masks, examples, old)
    np.testing.assert_allclose(result[0], old[0], rtol=1e-6)
    np.testing.assert_allclose(result[1], old[1], rtol=1e-6)


def test_a_channel_with_its_bias_is_averaged_over_the_clients_that_have_it() -> None:
    """Client 1 (n = 1) has the first of mini-cnn's 4 first channels alone, client 2 (n = 3) the whole model.

    Of the first channel (1 * 2 + 3 * 6) / 4 = 5, of the others what the second says: 6; biases likewise.
    """
    narrow = channels.whole(MINI.channels)
    narrow[0][1:] = False
    held = channels.held(MINI, channels.masks_of(MINI, narrow))
    updates = [[np.full(a.shape, value, np.float32) for a in MINI.template] for value in (2, 6)]
    result = masked_mean([masking.restrict(updates[0], held), updates[1]], [held, None], [1, 3], MINI.template)
    assert np.unique(result[0][..., 0]).tolist() == [5]
    assert np.unique(result[0][..., 1:]).tolist() == [6]
    assert result[1].tolist() == [5, 6, 6, 6]
    assert np.unique(result[2][:, :, 0]).tolist() == [5]
    assert np.unique(result[2][:, :, 1:]).tolist() == [6]


@st.composite
def widths(draw: st.DrawFn) -> tuple[list, list, list, list]:
    """Clients of mini-cnn with different channels, some of them with all."""
    clients = draw(st.integers(1, 4))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    updates, held = [], []
    for _ in range(clients):
        density = draw(st.sampled_from([0.2, 0.5, 1.0]))
        kept = [rng.random(layer.channels) < density for layer in MINI.channels[:-1]]
        has = channels.held(MINI, channels.masks_of(MINI, kept))
        held.append(None if density == 1.0 else has)
        full = [rng.normal(size=a.shape).astype(np.float32) for a in MINI.template]
        updates.append(masking.restrict(full, has))
    examples = [draw(st.integers(1, 1000)) for _ in range(clients)]
    return updates, held, examples, [rng.normal(size=a.shape).astype(np.float32) for a in MINI.template]


@given(widths(), st.randoms(use_true_random=False))
@settings(max_examples=30)
def test_widths_order_of_replies_does_not_matter(federation: tuple, random: object) -> None:
    updates, held, examples, old = federation
    order = list(range(len(updates)))
    random.shuffle(order)  # type: ignore[attr-defined]
    one = masked_mean(updates, held, examples, old)
    other = masked_mean([updates[i] for i in order], [held[i] for i in order], [examples[i] for i in order], old)
    for a, b in zip(one, other, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-7)


@given(widths())
@settings(max_examples=30)
def test_widths_equal_updates_are_a_fixed_point(federation: tuple) -> None:
    """Also where no client has a channel: it is remembered."""
    _, held, examples, old = federation
    same = [old if has is None else masking.restrict(old, has) for has in held]
    for a, b in zip(masked_mean(same, held, examples, old), old, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-7)


@given(widths())
@settings(max_examples=30)
def test_widths_what_only_one_client_has_is_as_it_says_and_a_whole_client_covers_all(federation: tuple) -> None:
    updates, held, examples, old = federation
    whole = [np.float32(3) + a for a in old]
    result = masked_mean([*updates, whole], [*held, None], [*examples, 5], old)
    for i, array in enumerate(result):
        alone = ~np.logical_or.reduce(
            [np.ones(array.shape, bool) if has is None or i not in has else has[i] for has in held]
        )
        np.testing.assert_allclose(array[alone], whole[i][alone], rtol=1e-6)


@given(federations())
@settings(max_examples=30, deadline=None)
def test_one_by_one_it_is_the_same_to_the_bit(federation: tuple) -> None:
    """Sums of n_k m_kj w_kj and of n_k m_kj in the order of the clients, as if all were in memory."""
    updates, masks, examples, old = federation
    one_by_one = masked_mean(iter(updates), iter(masks), examples, old, masked={0})
    total, weight = np.zeros((4, 3)), np.zeros((4, 3))
    for update, mask, n in zip(updates, masks, examples, strict=True):
        total += update[0] * (mask[0] * float(n))
        weight += mask[0] * float(n)
    expected = np.where(weight > 0, total / np.where(weight > 0, weight, 1.0), old[0]).astype(np.float32)
    assert np.array_equal(one_by_one[0], expected)
    assert np.array_equal(one_by_one[1], weighted_mean([[update[1]] for update in updates], examples)[0])
    assert all(map(np.array_equal, one_by_one, masked_mean(updates, masks, examples, old)))


@pytest.mark.parametrize("masked", [set(), {0}], ids=["plain", "masked"])
def test_no_more_than_two_updates_are_in_memory(masked: set[int]) -> None:
    """The one that is taken in, and the next, which is made before that is let go."""
    alive: weakref.WeakSet[Update] = weakref.WeakSet()
    most = 0

    def made() -> Iterator[Update]:
        nonlocal most
        for n in range(6):
            alive.add(update := Update([np.full((2, 2), n, np.float32)]))
            most = max(most, len(alive))
            yield update
            del update

    held = [{0: np.ones((2, 2), bool)} if masked else None] * 6
    (mean,) = masked_mean(made(), held, [1] * 6, [np.zeros((2, 2), np.float32)], masked)
    assert (most, mean.tolist()) == (2, [[2.5, 2.5], [2.5, 2.5]])


class Update(list):
    """A list of arrays that can be watched."""

    __hash__ = object.__hash__  # type: ignore[assignment]


def test_union() -> None:
    assert union([bits([1, 0, 0]), bits([0, 1, 0])])[0].tolist() == [True, True, False]  # type: ignore[index]
    assert union([bits([1, 0]), None]) is None
    assert union([]) is None
