"""A slim generator as small as compact: two forms of it, channels that are off, and a client's part of slimming it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fedcompress.data.federated import Examples
from fedcompress.generators.packed import packed_arrays
from fedcompress.generators.sampling import render
from fedcompress.generators.slim_compact import (
    GAMMAS,
    MASKED,
    SCALED,
    SLIM,
    SlimCompactSpec,
    compressed,
    masks,
    on,
    plain_of,
    scaled,
    sliced,
)
from fedcompress.generators.slim_locally import Pull, train_slim
from fedcompress.generators.spec import Gan
from fedcompress.wire.content import Arrays

SHAPE, CLASSES = (8, 8, 1), 4
Z = np.random.default_rng(0).standard_normal((40, 32)).astype(np.float32)
LABELS = (np.arange(40) % CLASSES).astype(np.int32)
EXAMPLES = Examples(np.random.default_rng(5).integers(0, 256, (40, *SHAPE), np.uint8), LABELS)


def spec(bits: int = 32, name: str = SLIM) -> SlimCompactSpec:
    return SlimCompactSpec(name, SHAPE, CLASSES, bits)


def untrained() -> Gan:
    """Weights of which none is zero throughout: shifts and styles, too."""
    gan, rng = spec().initial(np.random.default_rng(1)), np.random.default_rng(2)
    return Gan([a + rng.normal(0.0, 0.1, a.shape).astype(np.float32) for a in gan.generator], gan.discriminator)


def with_channels_off(bits: int) -> Arrays:
    """Returns trained weights with 10 of 24 and 30 of 48 channels off, shifts of which are not zero."""
    weights = scaled(spec(bits), untrained().generator)
    weights[GAMMAS[0]][np.random.default_rng(3).permutation(24)[:10]] = 0.0
    weights[GAMMAS[1]][np.random.default_rng(4).permutation(48)[:30]] = 0.0
    return weights


def test_one_form_makes_the_images_of_the_other() -> None:
    plain = untrained().generator
    trained = scaled(spec(), plain)
    assert [a.shape for a in trained] == [a.shape for a in spec(name=SCALED).generator_template]
    images = render(spec(), plain, Z, LABELS)
    assert images.std() > 0.05
    assert np.abs(render(spec(name=SCALED), trained, Z, LABELS) - images).max() <= 1e-5
    again = plain_of(spec(name=SCALED), trained)
    assert all(np.allclose(a, b, atol=1e-6) for a, b in zip(again, plain, strict=True))


@pytest.mark.parametrize("bits", [32, 8, 4])
def test_what_is_left_makes_the_images_of_the_whole(bits: int) -> None:
    """Sums over fewer channels are rounded otherwise, at most by 1e-5 of a pixel where activations are not rounded."""
    trained = with_channels_off(bits)
    plain = plain_of(spec(bits, SCALED), trained)
    small, left = sliced(spec(bits), plain)
    assert small.widths == (14, 18) == tuple(int(layer.sum()) for layer in on(spec(bits), plain))
    assert [a.shape for a in left] == [a.shape for a in small.generator_template]
    whole = render(replace(spec(bits), bits=32), plain, Z, LABELS)
    assert np.abs(render(replace(small, bits=32), left, Z, LABELS) - whole).max() <= 1e-5
    of_trained = render(spec(bits, SCALED), trained, Z, LABELS)
    assert np.abs(of_trained - render(spec(bits), plain, Z, LABELS)).max() <= 1e-2


def test_a_mask_says_what_is_left_of_every_array() -> None:
    plain = plain_of(spec(name=SCALED), with_channels_off(32))
    left = masks(spec(), on(spec(), plain))
    assert len(left) == len(MASKED) == len(plain) - 1
    assert all(np.array_equal(array != 0.0, mask) for array, mask in zip(plain, left, strict=False))
    small, arrays = sliced(spec(), plain)
    assert sum(int(mask.sum()) for mask in left) + plain[-1].size == small.parameters == sum(a.size for a in arrays)


@pytest.mark.parametrize(("bits", "top"), [(4, 7), (8, 127)])
def test_both_ends_round_alike(bits: int, top: int) -> None:
    """q * max|v| / (2^(bits - 1) - 1) with whole q, one step for each array; rounding again changes nothing."""
    plain = plain_of(spec(bits, SCALED), with_channels_off(bits))
    for array in plain:
        steps = array / np.abs(array).max() * top
        assert np.allclose(steps, np.round(steps), atol=1e-3)
    again = compressed(spec(bits), plain)
    assert all(np.allclose(a, b, rtol=1e-6, atol=0.0) for a, b in zip(again, plain, strict=True))
    assert len(packed_arrays(plain, bits)) == sum(4 + -(-a.size * bits // 8) for a in plain)


def test_the_average_loses_a_channel_that_rounds_to_nothing_with_its_shift() -> None:
    mean = untrained().generator
    dense = mean[0].reshape(len(mean[0]), -1, 24)
    dense[..., 5] *= 1e-4
    small = compressed(spec(8), mean)
    assert not on(spec(8), small)[0][5]
    assert not small[1].reshape(-1, 24)[:, 5].any()
    assert on(spec(32), compressed(spec(32), mean))[0].all()


def test_a_proximal_step_by_hand() -> None:
    """A discriminator of zeros says the same of every image, so that there is no gradient.

    Two steps at rate 0.5 and rho 0.2 take 0.2 from the size of each gamma, and what is smaller is 0. The average over
    steps is that of the start, of step 1 and of step 2, which are averaged with 1 and with 1 - 1 / 11.
    """
    gan = untrained()
    weights = scaled(spec(), gan.generator)
    weights[GAMMAS[0]] = np.linspace(0.05, 1.2, 24).astype(np.float32)
    start = Gan(plain_of(spec(name=SCALED), weights), [np.zeros_like(array) for array in gan.discriminator])
    pull = Pull(rho=0.2, beta=0.0, rate=0.5)
    rng = np.random.default_rng(0)
    trained = train_slim(spec(), start, EXAMPLES, pull, epochs=1, batch_size=20, rng=rng).gan
    gammas = scaled(spec(), trained.generator)[GAMMAS[0]]
    first, last = weights[GAMMAS[0]] - 0.1, weights[GAMMAS[0]] - 0.2
    expected = np.maximum(first, 0.0) + 10.0 / 11.0 * (np.maximum(last, 0.0) - np.maximum(first, 0.0))
    assert np.array_equal(gammas == 0.0, last <= 0.0)
    assert np.allclose(gammas, np.where(last > 0.0, expected, 0.0), atol=1e-5)


def test_channels_that_are_off_stay_off_and_the_others_learn() -> None:
    plain = plain_of(spec(8, SCALED), with_channels_off(8))
    before = on(spec(8), plain)
    gan, rng = Gan(plain, untrained().discriminator), np.random.default_rng(0)
    after = train_slim(spec(8), gan, EXAMPLES, Pull(0.0, 0.0, 0.1), epochs=2, batch_size=20, rng=rng).gan
    assert all(np.array_equal(a, b) for a, b in zip(on(spec(8), after.generator), before, strict=True))
    assert not np.array_equal(after.generator[0], plain[0])


def test_beta_keeps_it_where_it_started() -> None:
    """The distance to the images of the start is held down by it."""
    gan, moved = untrained(), []
    for beta in (0.0, 100.0):
        rng = np.random.default_rng(0)
        trained = train_slim(spec(), gan, EXAMPLES, Pull(0.0, beta, 0.1), epochs=5, batch_size=20, rng=rng).gan
        pictures = [render(spec(), weights, Z, LABELS) for weights in (gan.generator, trained.generator)]
        moved.append(float(np.abs(pictures[0] - pictures[1]).mean()))
    assert moved[1] < 0.5 * moved[0]
