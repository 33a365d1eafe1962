"""Training and sampling: the same bits everywhere, one graph for every client, and samples that teach."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Barrier

import numpy as np
import pytest

from fedcompress import keras
from fedcompress.data.federated import Examples
from fedcompress.data.loading import load_dataset
from fedcompress.generators import training
from fedcompress.generators.judge import classifier
from fedcompress.generators.quality import accuracy_score, collapsed
from fedcompress.generators.sampling import balanced_labels, sample
from fedcompress.generators.spec import NAMES, Gan, GanSpec
from fedcompress.generators.training import TrainedGan, train
from graphs import all_kinds, kinds_in_loops

SPEC = GanSpec("compact", (8, 8, 1), 10)
CLASSIFIER = classifier((8, 8, 1), 10)


@pytest.fixture(scope="module")
def digits() -> Examples:
    dataset = load_dataset("digits")
    return Examples(dataset.x_train, dataset.y_train)


def first(examples: Examples, n: int) -> Examples:
    return Examples(examples.x[:n], examples.y[:n])


def start(spec: GanSpec = SPEC) -> Gan:
    return spec.initial(np.random.default_rng(1))


def trained(examples: Examples, spec: GanSpec = SPEC, **options: object) -> TrainedGan:
    settings = {"epochs": 1, "batch_size": 16, "rng": np.random.default_rng(2)} | options
    return train(spec, start(spec), examples, **settings)  # type: ignore[arg-type]


def same(a: Gan, b: Gan) -> bool:
    pairs = zip(a.generator + a.discriminator, b.generator + b.discriminator, strict=True)
    return all(np.array_equal(x, y) for x, y in pairs)


@pytest.mark.parametrize("shape", [(28, 28, 1), (8, 8, 1), (32, 32, 3)])
@pytest.mark.parametrize("name", NAMES)
def test_every_shape_is_trained_and_sampled(name: str, shape: tuple[int, ...]) -> None:
    spec, rng = GanSpec(name, shape, 3), np.random.default_rng(0)
    examples = Examples(rng.integers(0, 256, (5, *shape), np.uint8), np.arange(5, dtype=np.int32) % 3)
    done = trained(examples, spec, batch_size=2, epochs=2)
    assert done.steps == 6
    old = start(spec)
    assert [a.shape for a in done.gan.discriminator] == [a.shape for a in old.discriminator]
    moved = zip(done.gan.generator + done.gan.discriminator, old.generator + old.discriminator, strict=True)
    # A bias of the hinge loss stays where it is while real and generated images pull at it alike.
    assert all(not np.array_equal(a, b) for a, b in moved if a.ndim > 1)
    images = sample(spec, done.gan.generator, np.array([0, 1, 2, 0], np.int32), rng)
    assert (images.shape, images.dtype) == ((4, *shape), np.uint8)
    assert not np.array_equal(images[0], images[3])
    assert sample(spec, done.gan.generator, np.array([], np.int32), rng).shape == (0, *shape)


def test_the_same_arguments_give_the_same_bits_on_any_thread(digits: Examples) -> None:
    """Two threads at the same time, each with graphs of its own, against this one."""
    examples, labels, barrier = first(digits, 70), np.arange(600, dtype=np.int32) % 10, Barrier(2)

    def work(wait: bool = True) -> tuple[Gan, np.ndarray]:
        if wait:
            barrier.wait(timeout=60)
        gan = trained(examples, epochs=2).gan
        return gan, sample(SPEC, gan.generator, labels, np.random.default_rng(5))

    here = work(wait=False)
    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(lambda _: work(), range(2)))
    for gan, images in [*results, work(wait=False)]:
        assert same(gan, here[0])
        assert np.array_equal(images, here[1])
    assert not same(trained(examples, epochs=2, rng=np.random.default_rng(3)).gan, here[0])


def test_one_graph_serves_every_client(digits: Examples, monkeypatch: pytest.MonkeyPatch) -> None:
    """Clients of one example, of one class and of many, with and without a smaller last batch, and every guide."""
    monkeypatch.setattr(keras, "_thread", type(keras._thread)())
    traces = []
    compiled = training.GanLoop._compiled
    monkeypatch.setattr(training.GanLoop, "_compiled", lambda *args: traces.append(1) or compiled(*args))
    one_class = Examples(digits.x[digits.y == 3], digits.y[digits.y == 3])
    for examples in (first(digits, 1), first(digits, 16), one_class, first(digits, 50)):
        done = trained(examples)
        assert done.steps == -(-len(examples) // 16)
        assert np.isfinite([done.generator_loss, done.discriminator_loss]).all()
    assert len(traces) == 1
    weights = CLASSIFIER.initial(np.random.default_rng(0))
    for guide_weight in (0.0, 1.0):
        trained(first(digits, 20), guide=(CLASSIFIER, weights), guide_weight=guide_weight)
    assert len(traces) == 2


def test_no_step_is_part_of_a_cycle(digits: Examples) -> None:
    """As of a classifier; the guide has max-pooling."""
    examples, weights = first(digits, 20), CLASSIFIER.initial(np.random.default_rng(0))
    loop = training.GanLoop(SPEC, CLASSIFIER)
    loop.run(start(), examples, weights, 1.0, epochs=1, batch_size=16, rng=np.random.default_rng(0))
    computed = {"MaxPool", "MaxPoolGrad", "ResourceApplyAdam"}
    assert computed <= all_kinds(loop._graph)
    assert not computed & kinds_in_loops(loop._graph)


def test_a_guide_of_weight_zero_changes_nothing_else_does(digits: Examples) -> None:
    examples, weights = first(digits, 48), CLASSIFIER.initial(np.random.default_rng(0))
    plain = trained(examples).gan.generator
    unheard, heard = (trained(examples, guide=(CLASSIFIER, weights), guide_weight=w).gan.generator for w in (0.0, 10.0))
    assert all(np.allclose(a, b, atol=1e-4) for a, b in zip(plain, unheard, strict=True))
    assert not np.allclose(plain[0], heard[0], atol=1e-4)


def test_nothing_is_kept_between_calls(digits: Examples) -> None:
    once = trained(first(digits, 40)).gan
    trained(first(digits, 90), epochs=2)
    assert same(trained(first(digits, 40)).gan, once)


def test_scaled_bytes_and_floats_train_alike(digits: Examples) -> None:
    few = first(digits, 32)
    as_floats = Examples(few.x.astype(np.float32) * np.float32(1 / 255), few.y)
    pairs = zip(trained(few).gan.generator, trained(as_floats).gan.generator, strict=True)
    assert all(np.allclose(a, b, atol=1e-5) for a, b in pairs)


def test_divergence_is_an_error(digits: Examples) -> None:
    gan = start()
    broken = replace(gan, generator=[np.full_like(a, np.nan) for a in gan.generator])
    with pytest.raises(FloatingPointError, match="diverged"):
        train(SPEC, broken, first(digits, 8), epochs=1, rng=np.random.default_rng(0))


def test_balanced_labels() -> None:
    labels = balanced_labels(25, 10, np.random.default_rng(0))
    assert labels.dtype == np.int32
    assert sorted(np.bincount(labels, minlength=10)) == [2] * 5 + [3] * 5
    assert labels.tolist() != sorted(labels)


def test_samples_teach_a_classifier_to_read_real_digits(digits: Examples) -> None:
    dataset = load_dataset("digits")
    test = Examples(dataset.x_test, dataset.y_test)
    gan = trained(digits, epochs=20, batch_size=64).gan

    def score(gan: Gan) -> float:
        labels = balanced_labels(2000, 10, np.random.default_rng(3))
        samples = Examples(sample(SPEC, gan.generator, labels, np.random.default_rng(4)), labels)
        return accuracy_score(samples, test, CLASSIFIER, np.random.default_rng(5), epochs=10)

    labels = balanced_labels(500, 10, np.random.default_rng(3))
    assert collapsed(sample(SPEC, gan.generator, labels, np.random.default_rng(4)), labels) is None
    assert score(start()) < 0.3
    assert score(gan) > 0.7  # 0.80 to 0.86 over seeds
