"""The sandwich objective: against gradients worked out by hand, and what the sub-networks' passes leave alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fedcompress import keras
from fedcompress.compression.base import Compression, Params
from fedcompress.data.federated import Examples
from fedcompress.models.architecture import ModelSpec
from fedcompress.models.architectures.mini_cnn import MiniCNN
from fedcompress.models.kernels import compressible, replaced
from fedcompress.scenario.sections import TrainingSettings
from fedcompress.training.objectives import CrossEntropy
from fedcompress.training.sandwich import Sandwich
from fedcompress.training.trainer import Trainer
from fedcompress.training.work import counted

RNG = np.random.default_rng(0)
X = RNG.normal(0, 1, (6, 4)).astype(np.float32)
Y = (np.arange(6) % 3).astype(np.int32)
KERNEL = RNG.normal(0, 1, (4, 3)).astype(np.float32)
MASKS = [[RNG.random((4, 3)) < density] for density in (0.8, 0.6, 0.3)]


@pytest.fixture
def linear() -> Any:
    """Logits x W, of one kernel W (4, 3)."""
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, use_bias=False)])
    model.set_weights([KERNEL])
    return model


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def losses_and_gradient(objective: Sandwich, model: Any) -> tuple[np.ndarray, np.ndarray]:
    """Loss of each example, and the gradient of their sum by the kernel."""
    tf, model = keras.tf, objective.outputs(model)
    targets, constants = ([tf.constant(a) for a in part] for part in (objective.targets, objective.constants))
    with tf.GradientTape() as tape:
        each = objective.loss(model, tf.constant(X), tf.constant(Y), targets, constants)
    return each.numpy(), tape.gradient(each, model.trainable_variables)[0].numpy()


def by_hand(alpha: float, temperature: float, weight: float, masks: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """With z = x W, z_m = x (m o W), p = softmax(z / T), p_m = softmax(z_m / T), e the labels as unit vectors:

    loss = -ln softmax(z)_y + weight sum_m [-(1 - alpha) ln softmax(z_m)_y + alpha T^2 sum_c p (ln p - ln p_m)],
    dloss/dW = x^T (softmax(z) - e) + weight sum_m m o x^T [(1 - alpha) (softmax(z_m) - e) + alpha T (p_m - p)],
    since p, as a teacher, is a constant.
    """
    each, labels, soft = np.arange(6), np.eye(3)[Y], softmax(X @ KERNEL / temperature)
    whole = softmax(X @ KERNEL)
    losses, gradient = -np.log(whole[each, Y]), X.T @ (whole - labels)
    for mask in masks:
        logits = X @ (mask * KERNEL)
        hard, inner = softmax(logits), softmax(logits / temperature)
        divergence = (soft * (np.log(soft) - np.log(inner))).sum(axis=1)
        losses = losses + weight * (-(1 - alpha) * np.log(hard[each, Y]) + alpha * temperature**2 * divergence)
        inward = (1 - alpha) * (hard - labels) + alpha * temperature * (inner - soft)
        gradient = gradient + weight * mask * (X.T @ inward)
    return losses, gradient


@pytest.mark.parametrize(
    ("alpha", "temperature", "weight"), [(1.0, 1.0, 1.0), (0.4, 3.0, 0.5), (0.0, 2.0, 2.0), (1.0, 4.0, 0.0)]
)
def test_losses_and_gradient_by_hand(linear: Any, alpha: float, temperature: float, weight: float) -> None:
    found = losses_and_gradient(Sandwich(alpha, temperature, weight, MASKS), linear)
    for one, expected in zip(found, by_hand(alpha, temperature, weight, [m for (m,) in MASKS]), strict=True):
        np.testing.assert_allclose(one, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("drawn", [0, 1, 4])
def test_a_draw_trains_one_of_the_others_beside_the_smallest(linear: Any, drawn: int) -> None:
    draws = np.array([drawn, 9, 9, 9, 9, 9], np.int32)  # the first of the batch counts, modulo the others
    (chosen,), (smallest,) = MASKS[drawn % 2], MASKS[2]
    found = losses_and_gradient(Sandwich(0.4, 3.0, 0.5, MASKS, draws), linear)
    for one, expected in zip(found, by_hand(0.4, 3.0, 0.5, [chosen, smallest]), strict=True):
        np.testing.assert_allclose(one, expected, rtol=1e-4, atol=1e-5)


def test_what_is_masked_is_what_the_model_computes_with(linear: Any) -> None:
    """A compression puts rounded weights in the place of the variable, whose value then has no influence."""
    (kernel,), tf = compressible(linear), keras.tf
    objective = Sandwich(0.4, 3.0, 0.5, MASKS)
    model = objective.outputs(linear)
    linear.set_weights([np.full((4, 3), 9.0)])
    with replaced([(kernel, tf.constant(KERNEL))]):
        found = objective.loss(model, tf.constant(X), tf.constant(Y), [], objective.constants).numpy()
    expected, _ = by_hand(0.4, 3.0, 0.5, [m for (m,) in MASKS])
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_running_statistics_are_those_of_the_whole_network() -> None:
    def statistics(objective: Any) -> list[np.ndarray]:
        layers = [keras.Input((4,)), keras.layers.Dense(5, name="in"), keras.layers.BatchNormalization()]
        with keras.seeded(1):
            model = objective.outputs(keras.Sequential([*layers, keras.layers.Dense(3)]))
        tf = keras.tf
        step = tf.function(lambda: objective.loss(model, tf.constant(X), tf.constant(Y), [], objective.constants))
        step()
        return [variable.numpy() for variable in model.non_trainable_variables]

    masks = [[np.zeros((4, 5), bool), np.ones((5, 3), bool)]]
    plain, nested = statistics(CrossEntropy()), statistics(Sandwich(1.0, 1.0, 1.0, masks))
    assert plain[1].min() < 0.999  # they have moved
    assert all(np.array_equal(a, b) for a, b in zip(plain, nested, strict=True))


@pytest.mark.parametrize(("subnetworks", "draws", "passes"), [(1, False, 2), (3, False, 4), (3, True, 3)])
def test_one_graph_for_all_masks_and_the_work_of_every_pass(subnetworks: int, draws: bool, passes: int) -> None:
    model = ModelSpec("mini-cnn", MiniCNN(), (8, 8, 1), 10)
    rng = np.random.default_rng(3)
    examples = Examples(rng.integers(0, 256, (20, 8, 8, 1), np.uint8), (np.arange(20) % 10).astype(np.int32))
    compression = Compression(Params(), sparsity=0.0, rounds=1)
    trainer = Trainer(model, compression, TrainingSettings(batch_size=8), 1, lambda _: np.random.default_rng(4))
    start = model.initial(np.random.default_rng(5))
    traces = []

    class Counted(Sandwich):
        def loss(self, *arguments: Any) -> Any:
            traces.append(self)
            return super().loss(*arguments)

    def trained(density: float) -> list[np.ndarray]:
        masks = [[rng.random(start[i].shape) < density for i in model.prunable] for _ in range(subnetworks)]
        numbers = rng.integers(2**31 - 1, size=20, dtype=np.int32) if draws else None
        return trainer.fit(start, examples, Counted(1.0, 1.0, 1.0, masks, numbers)).weights

    one, other = trained(0.5), trained(0.2)
    assert len(traces) == 1
    assert not np.array_equal(one[0], other[0])
    with counted() as nested:
        trained(0.5)
    with counted() as plain:
        trainer.fit(start, examples)
    assert nested.multiply_adds == passes * plain.multiply_adds
