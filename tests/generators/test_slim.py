"""A slim generator: it starts as the teacher, its channels can be off, and without them it makes the same images."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fedcompress import keras
from fedcompress.data.federated import Examples
from fedcompress.errors import InputError
from fedcompress.generators.packed import pack, unpack
from fedcompress.generators.sampling import render
from fedcompress.generators.slim import GAMMAS, SlimSpec, of_reference, on, sliced
from fedcompress.generators.slim_training import Slimming, begun, slim_epoch
from fedcompress.generators.spec import Gan, GanSpec
from fedcompress.generators.training import ByEpochs, GanState
from fedcompress.wire.content import Arrays

SHAPE = (8, 8, 1)
TEACHER = GanSpec("cgan", SHAPE, 4)
Z = np.random.default_rng(0).standard_normal((40, 64)).astype(np.float32)
LABELS = (np.arange(40) % 4).astype(np.int32)


def spec(bits: int = 32, name: str = "slim") -> SlimSpec:
    return SlimSpec(name, SHAPE, 4, bits=bits)


def teacher() -> Gan:
    """One whose kernels are as large as trained ones: those of an untrained one make images that hardly vary."""
    gan = TEACHER.initial(np.random.default_rng(1))
    return Gan([3.0 * array for array in gan.generator], gan.discriminator)


def with_channels_off(generator: Arrays) -> Arrays:
    """Returns weights with 50, 100 and 90 channels off, the last one of each layer among them; shifts are not zero."""
    rng, changed = np.random.default_rng(3), [array.copy() for array in generator]
    for index, count in zip(GAMMAS, (50, 100, 90), strict=True):
        off = rng.permutation(len(changed[index]) - 1)[: count - 1]
        changed[index][off] = changed[index][-1] = 0.0
        changed[index + 1] += rng.normal(0.0, 0.5, changed[index + 1].shape).astype(np.float32)
    return changed


def test_it_starts_as_the_teacher_without_rounding() -> None:
    gan = teacher()
    student = of_reference(spec(), gan.generator)
    assert [array.shape for array in student] == [array.shape for array in spec().generator_template]
    difference = np.abs(render(spec(), student, Z, LABELS) - render(TEACHER, gan.generator, Z, LABELS))
    assert difference.max() <= 1e-5


@pytest.mark.parametrize("bits", [32, 8, 4])
def test_what_is_left_of_it_makes_the_same_images(bits: int) -> None:
    """Sums over fewer channels are rounded otherwise, at most by 1e-5 of a pixel where activations are not rounded."""
    student = with_channels_off(of_reference(spec(bits), teacher().generator))
    small, plain = sliced(spec(bits), student)
    assert small.networks.widths == (68 - 50, 128 - 100, 128 - 90) == tuple(int(kept.sum()) for kept in on(student))
    assert [array.shape for array in plain] == [array.shape for array in small.generator_template]
    masked = [np.asarray(a) for a in spec(bits).networks.rounded([keras.tf.constant(a) for a in student])]
    images = [
        render(replace(s, bits=32), weights, Z, LABELS) for s, weights in ((spec(name="small"), masked), (small, plain))
    ]
    assert np.abs(images[0] - images[1]).max() <= 1e-5
    assert images[0].std() > 0.05
    assert np.abs(render(spec(bits), student, Z, LABELS) - render(small, plain, Z, LABELS)).max() <= 1e-2


def test_a_channel_that_is_off_changes_nothing_whatever_its_kernel_and_shift() -> None:
    for bits in (32, 4):
        student = with_channels_off(of_reference(spec(bits), teacher().generator))
        other = [array.copy() for array in student]
        other[6][:, :, other[7] == 0.0] = 9.0
        other[8][other[7] == 0.0] = 9.0
        other[6][..., other[4] == 0.0] = 9.0  # what the layer would see of channels that are off
        other[9][:, :, other[7] == 0.0] = 9.0
        small = [sliced(spec(bits), weights)[1] for weights in (student, other)]
        same = [np.allclose(a, b, rtol=1e-6) for a, b in zip(*small, strict=True)]
        assert same[:4] + same[6:] == [True] * 6
        # Kernels are normalised over all that they see, so this one alone is another.
        assert not same[4]


@pytest.mark.parametrize(("bits", "top"), [(2, 1), (4, 7), (8, 127)])
def test_kernels_are_rounded_to_whole_steps(bits: int, top: int) -> None:
    """q * max|v| / (2^(bits - 1) - 1) with whole q, one step for each kernel; the largest is on the grid."""
    for kernel in sliced(spec(bits), of_reference(spec(bits), teacher().generator))[1][::2]:
        steps = kernel / np.abs(kernel).max() * top
        assert np.allclose(steps, np.round(steps), atol=1e-3)
        assert np.abs(np.round(steps)).max() == top


@pytest.mark.parametrize("bits", [2, 4, 5, 8, 20, *range(24, 33)])
def test_a_packed_file_holds_the_generator_at_its_bits(bits: int) -> None:
    """Half a byte for each value of a kernel at 4 bits; biases and scales at 4 bytes."""
    small, plain = sliced(spec(bits), with_channels_off(of_reference(spec(bits), teacher().generator)))
    data = pack(small, plain)
    found, arrays = unpack(data)
    assert found == small
    assert all(np.allclose(a, b, rtol=1e-6, atol=0) for a, b in zip(plain, arrays, strict=True))
    kernels, biases = sum(a.size for a in plain[::2]), sum(a.size for a in plain[1::2])
    assert 0 <= len(data) - (kernels * bits // 8 + 4 * biases) <= 200
    with pytest.raises(InputError, match="a packed generator: received other or damaged bytes"):
        unpack(data[:-3])


def test_a_proximal_step_by_hand() -> None:
    """Without gradient: beta 0, and a discriminator of zeros, whose verdict no image changes.

    Two steps at rate 0.5 and rho 0.2 take 0.2 from the size of each gamma, and what is smaller is 0.
    """
    gan = teacher()
    student = of_reference(spec(), gan.generator)
    for index in GAMMAS:
        student[index] = np.linspace(-1.0, 1.0, len(student[index])).astype(np.float32)
    start = Gan(student, [np.zeros_like(array) for array in gan.discriminator])
    pairs = Examples(np.zeros((40, *SHAPE), np.uint8), LABELS)
    settings = Slimming(rho=0.2, beta=0.0, gamma_rate=0.5, discriminator_rate=1e-12)
    state = begun(spec(), start, "l1")
    _, after = slim_epoch(spec(), state, pairs, Z, settings, done=0.0, batch_size=20, rng=np.random.default_rng(0))
    for index in GAMMAS:
        moved = np.sign(student[index]) * np.maximum(np.abs(student[index]) - 0.2, 0.0)
        assert np.allclose(after.arrays[index], moved, atol=1e-4)


def test_slimming_turns_channels_off_and_they_are_off_in_the_average() -> None:
    gan = teacher()
    state = begun(spec(8), Gan(of_reference(spec(8), gan.generator), gan.discriminator), "l1")
    pairs = Examples(np.round(255 * render(TEACHER, gan.generator, Z, LABELS)).astype(np.uint8), LABELS)
    for epoch in range(3):
        trained, state = slim_epoch(
            spec(8), state, pairs, Z, Slimming(rho=2.0), done=epoch / 3, batch_size=10, rng=np.random.default_rng(epoch)
        )
    assert [int(kept.sum()) for kept in on(trained.gan.generator)] == [
        int((state.arrays[index] != 0).sum()) for index in GAMMAS
    ]
    assert sum(int(kept.sum()) for kept in on(trained.gan.generator)) < 68 + 128 + 128


def test_a_training_that_goes_on_from_its_state_ends_as_if_it_had_not_stopped() -> None:
    """State as arrays, put into other loops in between; plain and slimmed."""
    gan = teacher()
    pairs = Examples(np.random.default_rng(0).integers(0, 256, (40, *SHAPE), np.uint8), LABELS)

    def plain(state: GanState, epoch: int) -> GanState:
        return ByEpochs(TEACHER).epoch(state, pairs, [], batch_size=16, rng=np.random.default_rng(epoch))[1]

    def slimmed(state: GanState, epoch: int) -> GanState:
        how = {"done": epoch / 3, "batch_size": 16, "rng": np.random.default_rng(epoch)}
        return slim_epoch(spec(8), state, pairs, Z, Slimming(rho=0.5), **how)[1]  # type: ignore[arg-type]

    student = Gan(of_reference(spec(8), gan.generator), gan.discriminator)
    for step, first in ((plain, ByEpochs(TEACHER).begun(gan)), (slimmed, begun(spec(8), student, "l1"))):
        straight = step(step(step(first, 0), 1), 2)
        halfway = step(step(first, 0), 1)
        saved = GanState([array.copy() for array in halfway.arrays], halfway.steps)
        step(first, 7)  # another training in the same graph
        again = step(saved, 2)
        assert straight.steps == again.steps == 9
        assert all(np.array_equal(a, b) for a, b in zip(straight.arrays, again.arrays, strict=True))
        optimizers_new = step(GanState(saved.arrays, 0), 2)
        assert not all(np.array_equal(a, b) for a, b in zip(straight.arrays, optimizers_new.arrays, strict=True))


def test_it_is_one_of_two_kinds_and_makes_images() -> None:
    with pytest.raises(InputError, match=r"Unknown GAN 'slimm'\. Did you mean 'slim'\?"):
        SlimSpec("slimm", SHAPE, 4)
    with pytest.raises(InputError, match=r"A GAN cannot make inputs of shape \(8,\)"):
        SlimSpec("slim", (8,), 4)
