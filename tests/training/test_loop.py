"""The compiled training loop: against arithmetic, against eager TensorFlow, and compiled only once."""

from __future__ import annotations

import numpy as np
import pytest

from fedcompress import keras
from fedcompress.compression.base import Wrapping
from fedcompress.compression.pruning import PruningWrapping, mask_inputs
from fedcompress.models.architecture import Architecture, ModelSpec
from fedcompress.models.architectures.lenet5 import LeNet5
from fedcompress.models.architectures.mini_cnn import MiniCNN
from fedcompress.models.architectures.small_cnn import SmallCNN
from fedcompress.training.loop import Trained, TrainingLoop, batches
from fedcompress.training.objectives import CrossEntropy, Objective, Proximal
from graphs import all_kinds, kinds_in_loops


@pytest.fixture(scope="module")
def model() -> ModelSpec:
    return ModelSpec("mini-cnn", MiniCNN(), (28, 28, 1), 10)


def data(examples: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (examples, 28, 28, 1), np.uint8), rng.integers(0, 10, examples).astype(np.int32)


def train(
    model: ModelSpec,
    objective: Objective,
    examples: int = 50,
    optimizer: str = "sgd",
    rate: float = 0.1,
    **options: int,
) -> Trained:
    x, y = data(examples)
    loop = TrainingLoop(model, Wrapping(), objective, optimizer)
    settings = {"epochs": 1, "batch_size": 16} | options
    start = model.initial(np.random.default_rng(1))
    return loop.run(start, x, y, objective, [], learning_rate=rate, rng=np.random.default_rng(2), **settings)


def test_batches_cover_every_epoch_once_and_end_with_the_rest() -> None:
    order, edges = batches(10, 4, 2, np.random.default_rng(0))
    assert edges.tolist() == [0, 4, 8, 10, 14, 18, 20]
    assert sorted(order[:10]) == sorted(order[10:]) == list(range(10))
    assert order[:10].tolist() != order[10:].tolist()


def test_one_step_is_gradient_descent(model: ModelSpec) -> None:
    """w - 0.1 g, with g from eager TensorFlow on the same batch."""
    tf = keras.tf
    x, y = data(12)
    start = model.initial(np.random.default_rng(1))
    eager = model.build()
    eager.set_weights(start)
    with tf.GradientTape() as tape:
        logits = eager(x.astype(np.float32) / 255)
        loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(y, logits))
    gradients = tape.gradient(loss, eager.trainable_variables)
    trained = train(model, CrossEntropy(), examples=12)
    assert trained.steps == 1
    assert trained.loss == pytest.approx(float(loss), rel=1e-5)
    for w, g, new in zip(start, gradients, trained.weights, strict=True):
        np.testing.assert_allclose(new, w - 0.1 * g.numpy(), rtol=1e-4, atol=1e-6)


def test_fedprox_with_mu_zero_is_sgd_to_the_bit(model: ModelSpec) -> None:
    start = model.initial(np.random.default_rng(1))
    plain, proximal = train(model, CrossEntropy()), train(model, Proximal(0.0, tuple(start)))
    assert all(np.array_equal(a, b) for a, b in zip(plain.weights, proximal.weights, strict=True))


def test_fedprox_second_step_by_hand(model: ModelSpec) -> None:
    """The first step has no pull (w = w_global); the second adds - lr mu (w1 - w_global) to that of plain training."""
    start = model.initial(np.random.default_rng(1))
    first = train(model, CrossEntropy(), examples=16)
    plain, pulled = train(model, CrossEntropy(), examples=32), train(model, Proximal(2.0, tuple(start)), examples=32)
    assert first.steps == 1
    assert plain.steps == 2
    x, y = data(32)
    one = TrainingLoop(model, Wrapping(), CrossEntropy(), "sgd")
    order, _ = batches(32, 16, 1, np.random.default_rng(2))
    half = one.run(
        start, x[order[:16]], y[order[:16]], CrossEntropy(), [], epochs=1, batch_size=16, learning_rate=0.1,
        rng=np.random.default_rng(0),
    )  # fmt: skip
    for w, mid, a, b in zip(start, half.weights, plain.weights, pulled.weights, strict=True):
        np.testing.assert_allclose(b, a - 0.1 * 2.0 * (mid - w), rtol=1e-3, atol=1e-6)


def test_one_graph_serves_every_client(model: ModelSpec) -> None:
    loop = TrainingLoop(model, Wrapping(), CrossEntropy(), "adam")
    start = model.initial(np.random.default_rng(1))
    graphs = set()
    for examples in (5, 16, 33, 50):
        x, y = data(examples)
        rng = np.random.default_rng(0)
        loop.run(start, x, y, CrossEntropy(), [], epochs=2, batch_size=16, learning_rate=examples / 1e4, rng=rng)
        graphs.add(id(loop._graph))
    assert len(graphs) == 1


def test_nothing_is_kept_between_calls(model: ModelSpec) -> None:
    """Adam's moments start anew: the same call gives the same bits after any other."""
    loop = TrainingLoop(model, Wrapping(), CrossEntropy(), "adam")
    start = model.initial(np.random.default_rng(1))

    def call(seed: int) -> Trained:
        x, y = data(40, seed)
        rng = np.random.default_rng(3)
        return loop.run(start, x, y, CrossEntropy(), [], epochs=1, batch_size=8, learning_rate=0.01, rng=rng)

    first, _, again = call(0), call(1), call(0)
    assert all(np.array_equal(a, b) for a, b in zip(first.weights, again.weights, strict=True))


@pytest.mark.parametrize("wrapping", [Wrapping, PruningWrapping])
@pytest.mark.parametrize("architecture", [SmallCNN, LeNet5])
def test_no_step_is_part_of_a_cycle(architecture: type[Architecture], wrapping: type[Wrapping]) -> None:
    """Which kernel computes the gradient of max-pooling in a cycle depends on addresses: 1 graph of 60 differed."""
    spec = ModelSpec("pooled", architecture(), (8, 8, 1), 10)
    x, y = np.zeros((3, 8, 8, 1), np.uint8), np.zeros(3, np.int32)
    loop = TrainingLoop(spec, wrapping(), CrossEntropy(), "adam")
    weights = spec.initial(np.random.default_rng(0))
    inputs = mask_inputs(spec, None, [0.0] * len(spec.prunable), 0) if wrapping is PruningWrapping else []
    rng = np.random.default_rng(0)
    loop.run(weights, x, y, CrossEntropy(), inputs, epochs=1, batch_size=2, learning_rate=0.1, rng=rng)
    computed = {"MaxPool", "MaxPoolGrad", "Conv2DBackpropFilter", "BiasAddGrad", "ResourceApplyAdam"}
    assert computed <= all_kinds(loop._graph)
    assert not computed & kinds_in_loops(loop._graph)
