"""Objectives: against numbers worked out by hand, and through the compiled loop, with and without pruning."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fedcompress import keras
from fedcompress.compression.base import Compression, Params, Wrapping
from fedcompress.compression.kinds.magnitude import Magnitude, MagnitudeParams
from fedcompress.compression.kinds.none import NoCompression
from fedcompress.data.federated import Examples
from fedcompress.models.architecture import ModelSpec
from fedcompress.models.architectures.mini_cnn import MiniCNN
from fedcompress.scenario.sections import TrainingSettings
from fedcompress.training.loop import Trained, TrainingLoop
from fedcompress.training.objectives import (
    CrossEntropy,
    Distillation,
    FeatureMatching,
    LogitMatching,
    Objective,
    PartlyLabelled,
    Rehearsal,
)
from fedcompress.training.trainer import Trainer

LOG3 = np.log(3.0)


@pytest.fixture(scope="module")
def model() -> ModelSpec:
    return ModelSpec("mini-cnn", MiniCNN(), (8, 8, 1), 10)


@pytest.fixture(scope="module")
def examples() -> Examples:
    rng = np.random.default_rng(0)
    return Examples(rng.integers(0, 256, (50, 8, 8, 1), np.uint8), rng.integers(0, 10, 50).astype(np.int32))


@pytest.fixture(scope="module")
def start(model: ModelSpec) -> list[np.ndarray]:
    return model.initial(np.random.default_rng(1))


def identity(x: Any, training: bool) -> Any:
    """A model whose logits are its inputs."""
    return x


def losses(objective: Objective, outputs: Any, labels: Any, model: Any = identity) -> np.ndarray:
    tf = keras.tf
    targets, constants = ([tf.constant(a) for a in part] for part in (objective.targets, objective.constants))
    return objective.loss(model, outputs, tf.constant(labels, tf.int32), targets, constants).numpy()


def train(model: ModelSpec, objective: Objective, examples: Examples, start: list[np.ndarray]) -> Trained:
    loop = TrainingLoop(model, Wrapping(), objective, "adam")
    return loop.run(
        start, examples.x, examples.y, objective, [],
        epochs=2, batch_size=16, learning_rate=0.01, rng=np.random.default_rng(2),
    )  # fmt: skip


def trainer(model: ModelSpec, sparsity: float = 0.0, optimizer: str = "adam") -> Trainer:
    compression: Compression = NoCompression(Params(), sparsity=0.0, rounds=1)
    if sparsity:
        params = MagnitudeParams(schedule="constant", begin_round=0, freeze_round=0, scope="layer")
        compression = Magnitude(params, sparsity=sparsity, rounds=1)
    settings = TrainingSettings(batch_size=50, optimizer=optimizer, learning_rate=0.01)
    return Trainer(model, compression, settings, 1, lambda purpose: np.random.default_rng(len(purpose)))


def test_distillation_by_hand() -> None:
    """T = 2, z = (2 ln 3, 0), z_t = (0, 2 ln 3), alpha = 1/4.

    softmax(z / T) = (3/4, 1/4), softmax(z_t / T) = (1/4, 3/4), KL = 1/4 ln 1/3 + 3/4 ln 3 = 1/2 ln 3.
    softmax(z) = (9, 1) / 10, so CE is ln 10/9 for label 0 and ln 10 for label 1.
    Label 0: 3/4 * 0.105361 + 1/4 * 4 * 0.549306 = 0.628326; label 1: 3/4 * 2.302585 + 0.549306 = 2.276245.
    """
    teacher = np.array([[0, 2 * LOG3]] * 2, np.float32)
    logits = keras.tf.constant([[2 * LOG3, 0]] * 2, keras.tf.float32)
    found = losses(Distillation(0.25, 2.0, teacher), logits, [0, 1])
    np.testing.assert_allclose(found, [0.628326, 2.276245], rtol=1e-5)


def test_distillation_sums_over_classes() -> None:
    """A third class of probability zero on both sides changes nothing: alpha = 1, KL = 1/2 ln 3, T^2 = 4."""
    teacher = np.array([[0, 2 * LOG3, -200]], np.float32)
    logits = keras.tf.constant([[2 * LOG3, 0, -200]], keras.tf.float32)
    np.testing.assert_allclose(losses(Distillation(1.0, 2.0, teacher), logits, [2]), [2 * LOG3], rtol=1e-5)


@pytest.mark.parametrize(("alpha", "temperature"), [(0.0, 1.0), (0.3, 4.0), (0.9, 2.5), (1.0, 20.0)])
def test_gradient_of_distillation(alpha: float, temperature: float) -> None:
    """alpha T (softmax(z / T) - softmax(z_t / T)) + (1 - alpha) (softmax(z) - onehot(y)); none for the teacher."""
    tf = keras.tf
    rng = np.random.default_rng(3)
    z, z_t = (rng.normal(0, 3, (6, 5)).astype(np.float32) for _ in range(2))
    labels = np.arange(6, dtype=np.int32) % 5
    logits, teacher = tf.constant(z), tf.constant(z_t)
    objective = Distillation(alpha, temperature, z_t)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch([logits, teacher])
        each = objective.loss(identity, logits, tf.constant(labels), [teacher], objective.constants)
    soft, soft_t = tf.nn.softmax(z / temperature).numpy(), tf.nn.softmax(z_t / temperature).numpy()
    hard = tf.nn.softmax(z).numpy() - np.eye(5)[labels]
    expected = alpha * temperature * (soft - soft_t) + (1 - alpha) * hard
    np.testing.assert_allclose(tape.gradient(each, logits), expected, rtol=1e-4, atol=1e-5)
    assert tape.gradient(each, teacher) is None


def test_partly_labelled_by_hand() -> None:
    """As above; one of two has a label, so that its cross-entropy counts twice and that of the other not at all.

    Label 0: 3/4 * 2 * 0.105361 + 0.549306 = 0.707347; none: 0.549306, whatever its label says.
    """
    teacher = np.array([[0, 2 * LOG3]] * 2, np.float32)
    logits = keras.tf.constant([[2 * LOG3, 0]] * 2, keras.tf.float32)
    objective = PartlyLabelled(0.25, 2.0, teacher, np.array([True, False]))
    for label in (0, 1):
        np.testing.assert_allclose(losses(objective, logits, [0, label]), [0.707347, 0.549306], rtol=1e-5)


def test_a_student_equal_to_its_teacher_has_no_loss() -> None:
    logits = np.random.default_rng(4).normal(0, 5, (20, 10)).astype(np.float32)
    assert not losses(Distillation(1.0, 3.0, logits), keras.tf.constant(logits), np.zeros(20)).any()


def test_alpha_zero_is_plain_training_to_the_bit(model: ModelSpec, examples: Examples, start: list[np.ndarray]) -> None:
    teacher = np.random.default_rng(5).normal(0, 9, (50, 10)).astype(np.float32)
    plain = train(model, CrossEntropy(), examples, start)
    taught = train(model, Distillation(0.0, 4.0, teacher), examples, start)
    assert plain.loss == taught.loss
    assert all(np.array_equal(a, b) for a, b in zip(plain.weights, taught.weights, strict=True))


def test_logit_matching_by_hand() -> None:
    """(|1 - 0| + |3 - 5|) / 2 = 1.5 and (0 + 1) / 2; labels have no part in it."""
    logits, teacher = keras.tf.constant([[1.0, 3.0], [2.0, -1.0]]), np.array([[0, 5], [2, 0]], np.float32)
    for labels in ([0, 0], [1, 1]):
        assert losses(LogitMatching(teacher), logits, labels).tolist() == [1.5, 0.5]


def test_labels_do_not_matter_with_alpha_one(model: ModelSpec, examples: Examples, start: list[np.ndarray]) -> None:
    objective = Distillation(1.0, 4.0, np.random.default_rng(5).normal(0, 9, (50, 10)))
    unlabelled = Examples(examples.x, np.zeros(50, np.int32))
    one, other = (train(model, objective, e, start) for e in (examples, unlabelled))
    assert all(np.array_equal(a, b) for a, b in zip(one.weights, other.weights, strict=True))


def test_nothing_makes_the_graph_trace_again(model: ModelSpec, examples: Examples, start: list[np.ndarray]) -> None:
    traces = []

    class Counted(Distillation):
        def loss(self, *arguments: Any) -> Any:
            traces.append(self)
            return super().loss(*arguments)

    of_model = trainer(model)
    for alpha, temperature, scale, n in [(0.0, 1.0, 1, 50), (0.5, 4.0, 9, 50), (1.0, 20.0, 3, 17), (0.9, 2.0, 1, 5)]:
        teacher = np.random.default_rng(n).normal(0, scale, (n, 10)).astype(np.float32)
        of_model.fit(start, Examples(examples.x[:n], examples.y[:n]), Counted(alpha, temperature, teacher))
    assert len(traces) == 1


def test_feature_matching_by_hand() -> None:
    """((1 - 0)^2 + (2 - 0)^2) / 2 = 2.5 and ((0 - 3)^2 + (0 - 1)^2) / 2 = 5; the logits take no part."""
    features = keras.tf.constant([[1.0, 2.0], [0.0, 0.0]])
    found = losses(FeatureMatching(np.array([[0, 0], [3, 1]])), features, [0, 1], lambda x, training: (x, None))
    assert found.tolist() == [2.5, 5.0]


def test_rehearsal_by_hand() -> None:
    """The first example by its label: logits (ln 3, 0) are 3/4 and 1/4, ln 4/3. The second by beta = 1/2 times 5."""
    features, logits = keras.tf.constant([[1.0, 2.0], [0.0, 0.0]]), keras.tf.constant([[LOG3, 0.0]] * 2)
    objective = Rehearsal(np.array([[9, 9], [3, 1]]), np.array([False, True]), 0.5)
    found = losses(objective, features, [0, 1], lambda x, training: (x, keras.tf.cast(logits, "float32")))
    np.testing.assert_allclose(found, [np.log(4 / 3), 2.5], rtol=1e-6)


@pytest.mark.parametrize("sparsity", [0.0, 0.8])
def test_features_are_what_enters_the_head(
    model: ModelSpec, examples: Examples, start: list[np.ndarray], sparsity: float
) -> None:
    """The loss of one step on everything is the error of the features that the start, pruned or not, gives."""
    teacher = np.random.default_rng(6).random((50, model.features), np.float32)
    of_model = trainer(model, sparsity)
    trained = of_model.fit(start, examples, FeatureMatching(teacher), epochs=1)
    assert trained.steps == 1
    counts = [max(round(0.2 * start[i].size), 1) for i in model.prunable]
    pruned = list(start)
    if sparsity:
        for i, count in zip(model.prunable, counts, strict=True):
            threshold = np.sort(np.abs(start[i]), axis=None)[-count]
            pruned[i] = np.where(np.abs(start[i]) >= threshold, start[i], 0)
        assert [int(np.count_nonzero(trained.weights[i])) for i in model.prunable] == counts
    error = np.mean((of_model.features(pruned, examples.x) - teacher) ** 2)
    assert trained.loss == pytest.approx(error, rel=1e-4)
    for i in model.head:  # trainable, but without a gradient
        assert np.array_equal(trained.weights[i], pruned[i])


def test_masks_count_steps_and_not_passes(model: ModelSpec, examples: Examples, start: list[np.ndarray]) -> None:
    """An objective that runs the model twice in a step; two epochs of 50 in 16s take 8 steps."""

    class Twice(CrossEntropy):
        def loss(self, model: Any, x: Any, y: Any, targets: Any, constants: Any) -> Any:
            return super().loss(model, x, y, targets, constants) + super().loss(model, x, y, targets, constants)

    compression = Magnitude(MagnitudeParams(schedule="constant", begin_round=0), sparsity=0.5, rounds=1)
    wrapping: Any = compression.wrapping()
    loop = TrainingLoop(model, wrapping, Twice(), "sgd")
    inputs = compression.inputs(start, model, 1, None, compression.counts(start, model, 1))
    trained = loop.run(
        start, examples.x, examples.y, Twice(), inputs,
        epochs=2, batch_size=16, learning_rate=0.01, rng=np.random.default_rng(0),
    )  # fmt: skip
    assert trained.steps == int(wrapping._done) == 8


def test_logits_are_features_through_the_head(model: ModelSpec, examples: Examples, start: list[np.ndarray]) -> None:
    of_model = trainer(model)
    features = of_model.features(start, examples.x)
    assert features.shape == (50, model.features)
    kernel, bias = (start[i] for i in model.head)
    np.testing.assert_allclose(features @ kernel + bias, of_model.predict(start, examples.x), rtol=1e-4, atol=1e-5)


def test_a_trainer_of_another_model_has_the_same_settings(model: ModelSpec) -> None:
    other = ModelSpec("mini-cnn", MiniCNN(), (8, 8, 1), 3)
    one = trainer(model, 0.5)
    two = one.of(other)
    assert two.spec is other
    assert (two.compression, two.settings, two.round_number, two._rng) == (
        one.compression, one.settings, one.round_number, one._rng,
    )  # fmt: skip


def test_fit_overrides(model: ModelSpec, examples: Examples, start: list[np.ndarray]) -> None:
    """SGD's step is the learning rate times the gradient; steps follow the batch size, the order the purpose."""
    sgd = trainer(model, optimizer="sgd")
    whole, tenth = sgd.fit(start, examples), sgd.fit(start, examples, learning_rate=0.001)
    for w, a, b in zip(start, whole.weights, tenth.weights, strict=True):
        np.testing.assert_allclose(10 * (b - w), a - w, rtol=2e-2, atol=1e-5)
    assert sgd.fit(start, examples, batch_size=8, epochs=2).steps == 14
    small = [sgd.fit(start, examples, batch_size=8, purpose=p).weights[0] for p in ("shuffle", "digest", "shuffle")]
    assert np.array_equal(small[0], small[2])
    assert not np.array_equal(small[0], small[1])


class MeanLoss(CrossEntropy):
    """One number for the whole batch, which would be taken for the loss of each example."""

    def loss(self, *given: Any) -> Any:
        return keras.tf.reduce_mean(super().loss(*given))


def test_a_loss_that_is_not_one_for_each_example(model: ModelSpec, examples: Examples, start: list[np.ndarray]) -> None:
    with pytest.raises(TypeError) as caught:
        train(model, MeanLoss(), examples, start)
    assert str(caught.value) == "MeanLoss.loss returned shape (), expected a loss for each example, (batch,)"


def test_an_objective_that_is_none(model: ModelSpec, examples: Examples, start: list[np.ndarray]) -> None:
    with pytest.raises(TypeError) as caught:
        trainer(model).fit(start, examples, len)  # type: ignore[arg-type]
    assert (
        str(caught.value)
        == "objective is a builtin_function_or_method, expected fedcompress.training.objectives.Objective"
    )
