"""Private training: what is added, divided by and accounted for, and that nothing else of the data gets through."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from fedcompress import keras
from fedcompress.data.federated import Examples
from fedcompress.errors import InputError
from fedcompress.generators import private_training
from fedcompress.generators.compact import Compact
from fedcompress.generators.dp_sgd import DpSgd, Pace
from fedcompress.generators.layers import PLAIN
from fedcompress.generators.private_training import LADDER, PrivateGan, PrivateLoop, normals, train_privately
from fedcompress.generators.spec import KINDS, Gan, GanSpec
from fedcompress.privacy.accounting import Release, epsilon_by, epsilon_of

SPEC = GanSpec("private", (8, 8, 1), 10)
TINY = DpSgd(clip=1.0, noise=1.0, batch_size=8, discriminator_steps=2, generator_batch=8)


def examples(n: int = 40, seed: int = 0) -> Examples:
    rng = np.random.default_rng(seed)
    return Examples(rng.integers(0, 256, (n, 8, 8, 1), np.uint8), (np.arange(n) % 10).astype(np.int32))


def trained(
    data: Examples, settings: DpSgd = TINY, *, steps: int = 4, spec: GanSpec = SPEC, seed: int = 1
) -> PrivateGan:
    start = spec.initial(np.random.default_rng(0))
    rng, noise = np.random.default_rng(seed), np.random.default_rng(seed + 100)
    return train_privately(spec, start, data, settings, steps=steps, rng=rng, noise=noise)


def arrays(gan: Gan) -> list[np.ndarray]:
    return [*gan.generator, *gan.discriminator]


def same(a: PrivateGan, b: PrivateGan) -> bool:
    return all(np.array_equal(x, y) for x, y in zip(arrays(a.gan), arrays(b.gan), strict=True))


def test_noise_goes_further_out_than_one_draw_of_tensorflow(monkeypatch: pytest.MonkeyPatch) -> None:
    """One is at most sqrt(-2 ln 1e-7) = 5.678, which is what a sum of two is not bounded by."""
    tf = keras.tf
    drawn = normals(10**6, tf.constant([1, 2])).numpy()
    assert drawn.var() == pytest.approx(1.0, abs=2.576 * np.sqrt(2 / 10**6))
    assert np.mean(drawn**4) == pytest.approx(3.0, abs=2.576 * np.sqrt(96 / 10**6))
    monkeypatch.setattr(tf.random, "stateless_normal", lambda shape, seed: tf.fill(shape, 5.6777))
    assert normals(3, tf.constant([1, 2])).numpy() == pytest.approx([8.03] * 3, abs=0.01)


@pytest.fixture
def updates(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Has the discriminator go down its noisy gradient by a step of 1 instead of Adam's, in graphs of this test alone;
    returns what a training took off the discriminator."""
    monkeypatch.setattr(keras, "_thread", type(keras._thread)())

    def apply(self: PrivateLoop, which: int, variables: list[Any], gradients: list[Any]) -> None:
        for variable, gradient in zip(variables, gradients, strict=True):
            variable.assign_sub(gradient * float(which))

    monkeypatch.setattr(PrivateLoop, "_apply", apply)

    def of(data: Examples, settings: DpSgd, spec: GanSpec = SPEC, **options: Any) -> np.ndarray:
        start = spec.initial(np.random.default_rng(0)).discriminator
        left = trained(data, settings, spec=spec, **options).gan.discriminator
        return np.concatenate([(a.astype(np.float64) - b).ravel() for a, b in zip(start, left, strict=True)])

    return of


def test_the_noise_has_the_variance_that_is_accounted(updates: Any) -> None:
    """Over more than 1e6 numbers: deviation noise x clip / expected batch, within the 99 % interval of a variance; the
    mean within that of a mean. Gradients are clipped to next to nothing, so that the noise is all there is."""
    settings = DpSgd(clip=1e-6, noise=3e6, batch_size=8, discriminator_steps=1000, generator_batch=8)
    drawn = [updates(examples(), settings, steps=1, seed=seed) for seed in range(40)]
    noise = np.concatenate(drawn) / (3.0 / 8.0)
    assert len(noise) > 1e6
    assert noise.var() == pytest.approx(1.0, abs=2.576 * np.sqrt(2 / len(noise)))
    assert noise.mean() == pytest.approx(0.0, abs=2.576 / np.sqrt(len(noise)))
    assert len(np.unique(noise)) > 0.9 * len(noise)


def test_one_example_changes_a_step_by_at_most_the_bound(updates: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without noise, all others taking part, and generated images of weight 0: the sum of 20 clipped gradients against
    those of 19. What a step takes is the sum divided by the expected number, here all."""
    monkeypatch.setattr(Compact, "fake_loss", lambda self, scores: 0.0 * scores)
    settings = DpSgd(clip=0.5, noise=0.0, batch_size=1000, discriminator_steps=1000, generator_batch=8)
    data = examples(20)
    everybody = 20 * updates(data, settings, steps=1)
    for number in range(3):
        kept = np.arange(20) != number
        change = np.linalg.norm(everybody - 19 * updates(Examples(data.x[kept], data.y[kept]), settings, steps=1))
        assert 0.1 < change <= 0.5 * (1 + 1e-4)


def test_what_is_released_says_sampling_noise_and_steps() -> None:
    """Neighbours differ in one example that is there or not: the sum of clipped gradients changes by at most `clip`, to
    which `noise` is relative. All take part where the batch is as large as the data."""
    done = trained(examples(40))
    assert done.releases == (Release("discriminator", 1.0, 8 / 40, 4),)
    assert trained(examples(5)).releases == (Release("discriminator", 1.0, 1.0, 4),)
    by = epsilon_by(done.releases, 1e-5)
    assert by["PLD"] < by["RDP"] < 1.6 * by["PLD"]
    assert epsilon_of(done.releases, 1e-5) == by["PLD"]
    assert epsilon_of(trained(examples(), replace(TINY, noise=0.0)).releases, 1e-5) == np.inf


def test_the_same_seeds_give_the_same_bits_and_others_do_not() -> None:
    first = trained(examples())
    trained(examples(13), steps=3)
    assert same(trained(examples()), first)
    assert not same(trained(examples(), seed=2), first)
    start, data = SPEC.initial(np.random.default_rng(0)), examples()
    seeds = [np.random.default_rng(1), np.random.default_rng(999)]
    assert not same(train_privately(SPEC, start, data, TINY, steps=4, rng=seeds[0], noise=seeds[1]), first)


def test_labels_of_generated_images_do_not_depend_on_the_data(monkeypatch: pytest.MonkeyPatch) -> None:
    """All classes are asked for as often, of a client that has but one."""
    monkeypatch.setattr(keras, "_thread", type(keras._thread)())
    asked: list[np.ndarray] = []
    original = PrivateLoop._generated

    def noted(self: PrivateLoop, images: Any, seed: Any) -> Any:
        made, labels = original(self, images, seed)
        keras.tf.numpy_function(lambda values: asked.append(values) or np.int64(0), [labels], keras.tf.int64)
        return made, labels

    monkeypatch.setattr(PrivateLoop, "_generated", noted)
    one_class = replace(examples(40), y=np.full(40, 3, np.int32))
    trained(one_class, DpSgd(batch_size=40, discriminator_steps=1, generator_batch=500), steps=4)
    labels = np.concatenate(asked)
    assert len(labels) >= 4 * 540
    shares = np.bincount(labels, minlength=10) / len(labels)
    assert np.abs(shares - 0.1).max() < 4 * np.sqrt(0.09 / len(labels))


def test_one_graph_serves_every_client_and_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Samples of any size, empty ones among them, and batches of several parts."""
    monkeypatch.setattr(keras, "_thread", type(keras._thread)())
    traces = []
    compiled = PrivateLoop._compiled
    monkeypatch.setattr(PrivateLoop, "_compiled", lambda *args: traces.append(1) or compiled(*args))
    monkeypatch.setattr(private_training, "PART", 4)
    for data, settings in (
        (examples(1), TINY),
        (examples(40), replace(TINY, batch_size=1)),
        (examples(90), replace(TINY, batch_size=30, adaptive=True, clip=0.1)),
    ):
        done = trained(data, settings)
        assert np.isfinite([done.generator_loss, done.discriminator_loss]).all()
    assert len(traces) == 1


def test_parts_add_up_to_the_batch(updates: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sum of clipped gradients of real examples is the same in parts of 10 and of 200; the generated images have a
    weight of 0 here, which takes their loss."""
    monkeypatch.setattr(Compact, "fake_loss", lambda self, scores: 0.0 * scores)
    settings = DpSgd(clip=0.5, noise=0.0, batch_size=30, discriminator_steps=1000, generator_batch=8)
    data = examples(60)
    at_once = updates(data, settings, steps=1)
    monkeypatch.setattr(private_training, "PART", 10)
    np.testing.assert_allclose(updates(data, settings, steps=1), at_once, atol=1e-6)
    assert 0 < np.linalg.norm(at_once) <= 0.5 * 60 / 30


def test_the_generator_waits_longer_where_the_discriminator_falls_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    """A discriminator that tells nothing apart, after as many steps of the generator as the average needs to follow."""
    monkeypatch.setattr(keras, "_thread", type(keras._thread)())
    monkeypatch.setattr(private_training, "MEMORY", 0.5)
    monkeypatch.setattr(Compact, "scores", lambda self, *rest: 1.0 + 0.0 * SCORES(self, *rest))
    settings = replace(TINY, discriminator_steps=1)
    assert trained(examples(), settings, steps=12).pace.every == 1
    assert trained(examples(), replace(settings, adaptive=True), steps=12).pace.every == 5
    assert LADDER[:3] == (1, 2, 5)


def test_the_generator_is_due_over_the_calls_that_a_training_is_divided_into(monkeypatch: pytest.MonkeyPatch) -> None:
    """Six steps of the discriminator in a call, ten for one of the generator: it is trained in the second call."""
    start, settings = SPEC.initial(np.random.default_rng(1)), replace(TINY, discriminator_steps=10)

    def call(number: int, gan: Gan, pace: Pace | None, how: DpSgd = settings) -> PrivateGan:
        rng, noise = np.random.default_rng(number), np.random.default_rng(number + 10)
        return train_privately(SPEC, gan, examples(), how, steps=6, rng=rng, noise=noise, pace=pace)

    first = call(1, start, None)
    assert all(map(np.array_equal, first.gan.generator, start.generator))
    assert first.pace == (10, 6, 1, 0)
    second = call(2, first.gan, first.pace)
    assert not all(map(np.array_equal, second.gan.generator, start.generator))
    assert (second.pace.every, second.pace.since, second.pace.waited) == (10, 2, 1)
    assert np.isnan(first.generator_loss)
    assert np.isfinite(second.generator_loss)
    # What adapts goes on as well: twelve steps by sixes come as far as twelve at once.
    monkeypatch.setattr(keras, "_thread", type(keras._thread)())
    monkeypatch.setattr(private_training, "MEMORY", 0.5)
    monkeypatch.setattr(Compact, "scores", lambda self, *rest: 1.0 + 0.0 * SCORES(self, *rest))
    adaptive = replace(TINY, discriminator_steps=1, adaptive=True)
    assert call(2, start, call(1, start, None, adaptive).pace, adaptive).pace.every == 5


SCORES = Compact.scores


class Normalised(Compact):
    """A discriminator with batch normalisation, without weights of its own."""

    def scores(self, weights: Any, images: Any, labels: Any, layers: Any = PLAIN) -> Any:
        tf = keras.tf
        mean, variance = tf.nn.moments(images, [0])
        return super().scores(weights, (images - mean) / tf.sqrt(variance + 1e-3), labels, layers)


class Scaled(Compact):
    """A discriminator with a weight that no layer knows."""

    def scores(self, weights: Any, images: Any, labels: Any, layers: Any = PLAIN) -> Any:
        return super().scores([2.0 * weights[0], *weights[1:]], images, labels, layers)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (Normalised, "GAN 'mine': its discriminator mixes the examples of a batch, as batch normalisation does"),
        (Scaled, "GAN 'mine': its discriminator has weights beside the kernels and biases of its layers"),
    ],
)
def test_a_discriminator_that_cannot_be_private(kind: Any, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(KINDS, "mine", kind)
    monkeypatch.setattr(GanSpec, "__post_init__", lambda self: None)
    with pytest.raises(InputError) as error:
        trained(examples(), spec=GanSpec("mine", (8, 8, 1), 10))
    assert message in str(error.value)


def test_settings_out_of_range() -> None:
    with pytest.raises(InputError) as error:
        DpSgd(clip=0.0, noise=-1.0, batch_size=0, discriminator_steps=0)
    assert [problem.partition(":")[0] for problem in error.value.problems] == [
        "clip", "noise", "batch_size", "discriminator_steps",
    ]  # fmt: skip
    assert "clip: received 0.0, expected more than 0." in error.value.problems
