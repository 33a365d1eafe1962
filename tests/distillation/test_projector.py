"""Students that end in their teacher's head: sizes by arithmetic, layouts, and a head that nothing changes."""

from __future__ import annotations

from functools import lru_cache
from itertools import permutations
from typing import Any

import numpy as np
import pytest

from fedcompress import keras
from fedcompress.compression import masks as masking
from fedcompress.compression.kinds.magnitude import Magnitude, MagnitudeParams
from fedcompress.compression.pruning import resting
from fedcompress.data.federated import Examples
from fedcompress.distillation.projector import Normalisation, _pooled, compatible, head_reused, in_turn, projected
from fedcompress.errors import InputError
from fedcompress.generators.judge import classifier
from fedcompress.models.architecture import Architecture, ModelSpec
from fedcompress.plugins import Plugins
from fedcompress.scenario.sections import TrainingSettings
from fedcompress.training.objectives import Distillation, FeatureMatching, Objective
from fedcompress.training.trainer import Trainer, predict

NAMES = ("small-cnn", "medium-cnn", "big-cnn", "lenet5", "mlp")
MAPS = {"small-cnn": 8, "medium-cnn": 16, "big-cnn": 32}
"""Channels of the last map."""
FEATURES = {"small-cnn": 392, "medium-cnn": 256, "big-cnn": 512, "lenet5": 84, "mlp": 20}


@lru_cache
def spec(name: str, shape: tuple[int, ...] = (28, 28, 1), classes: int = 10) -> ModelSpec:
    return ModelSpec(name, Plugins().load("models", name)(), shape, classes)


def weights(model: ModelSpec, seed: int = 1) -> list[np.ndarray]:
    return model.initial(np.random.default_rng(seed))


def projector_size(student: str, teacher: str) -> int:
    """Kernels without biases, and four values of normalisation per channel or unit."""
    if student in MAPS and teacher in MAPS:
        source, target = MAPS[student], MAPS[teacher]
        half = target // 2
        return source * half + 9 * half * half + half * target + 4 * (half + half + target)
    source, target = FEATURES[student], FEATURES[teacher]
    hidden = max(target // 2, 10)
    return source * hidden + hidden * target + 4 * (hidden + target)


@pytest.mark.parametrize(("student", "teacher"), list(permutations(NAMES, 2)))
def test_every_student_fits_every_teacher(student: str, teacher: str) -> None:
    model = projected(spec(student), spec(teacher))
    assert model.name == f"{student}>{teacher}"
    assert model.features == FEATURES[teacher]
    encoder = spec(student).parameters - (FEATURES[student] + 1) * 10
    assert model.parameters == encoder + projector_size(student, teacher) + (FEATURES[teacher] + 1) * 10

    taught = weights(spec(teacher), seed=2)
    head = [taught[i] for i in spec(teacher).head]
    start = model.with_head(weights(model), head)
    x = np.random.default_rng(0).integers(0, 256, (3, 28, 28, 1), np.uint8)
    features = predict(model, start, x, features=True)
    # As the teacher's: those of the convolutional networks come without an activation, the others' from a ReLU.
    assert (features.min() < 0) == (teacher in MAPS)
    np.testing.assert_allclose(features @ head[0] + head[1], predict(model, start, x), rtol=1e-4, atol=1e-4)


def test_small_student_of_a_medium_teacher_by_hand() -> None:
    """Encoder 80 + 584; 1x1 8 -> 8, 3x3 8 -> 8, 1x1 8 -> 16: 64 + 576 + 128; normalisation 4 * 32; head 2570."""
    assert projected(spec("small-cnn"), spec("medium-cnn")).parameters == 664 + 64 + 576 + 128 + 128 + 2570


def test_a_spec_is_made_once_and_told_apart_from_others() -> None:
    small, medium, big = spec("small-cnn"), spec("medium-cnn"), spec("big-cnn")
    assert projected(small, medium) is projected(small, medium)
    keys = {
        projected(small, medium).key,
        projected(medium, small).key,
        projected(small, big).key,
        head_reused(small, small).key,
        projected(small, small).key,
        small.key,
    }
    assert len(keys) == 6


def test_initial_weights_are_seeded_and_normalisation_starts_neutral() -> None:
    model = projected(spec("small-cnn"), spec("mlp"))
    one, same, other = weights(model), weights(model), weights(model, seed=2)
    assert all(np.array_equal(a, b) for a, b in zip(one, same, strict=True))
    kernels = [i for i, w in enumerate(one) if w.ndim > 1]
    assert all(not np.array_equal(one[i], other[i]) for i in kernels)
    student = weights(spec("small-cnn"))
    assert all(np.array_equal(a, b) for a, b in zip(one[:4], student[:4], strict=True))  # the same encoder
    gamma, beta, mean, variance = one[5:9]
    assert (gamma == 1).all()
    assert (variance == 1).all()
    assert not beta.any()
    assert not mean.any()


@pytest.mark.parametrize("feature_loss", [True, False])
@pytest.mark.parametrize("sparsity", [0.0, 0.8])
def test_training_and_pruning_leave_the_head_alone(feature_loss: bool, sparsity: float) -> None:
    teacher, student = spec("medium-cnn", (8, 8, 1)), spec("small-cnn", (8, 8, 1))
    model, taught = projected(student, teacher), weights(teacher, seed=2)
    rng = np.random.default_rng(3)
    examples = Examples(rng.integers(0, 256, (40, 8, 8, 1), np.uint8), rng.integers(0, 10, 40).astype(np.int32))
    objective: Objective = Distillation(0.9, 4.0, predict(teacher, taught, examples.x))
    if feature_loss:
        objective = FeatureMatching(predict(teacher, taught, examples.x, features=True))
    compression = Magnitude(
        MagnitudeParams(schedule="constant", begin_round=0, scope="layer"), sparsity=sparsity, rounds=1
    )
    settings = TrainingSettings(batch_size=16, epochs=2, learning_rate=0.01)
    trainer = Trainer(model, compression, settings, 1, lambda purpose: np.random.default_rng(0))
    start = model.with_head(weights(model), [taught[i] for i in teacher.head])
    trained = trainer.fit(start, examples, objective)

    assert set(model.head).isdisjoint({*model.prunable, *model.trainable})
    for i in model.head:
        assert np.array_equal(trained.weights[i], start[i])
    for i in set(range(len(start))) - set(model.head):
        assert not np.array_equal(trained.weights[i], start[i])
    kept = [int(np.count_nonzero(trained.weights[i])) for i in model.prunable]
    assert kept == [masking.survivors(start[i].size, sparsity) for i in model.prunable]
    assert len(kept) == 5


def test_features_of_equal_length_need_no_projector() -> None:
    small = spec("small-cnn")
    model = head_reused(small, small)
    assert model.parameters == small.parameters
    assert model.trainable == (0, 1, 2, 3)
    assert model.prunable == (0, 2)


def test_other_features_go_through_the_projector_of_simkd() -> None:
    small, medium = spec("small-cnn"), spec("medium-cnn")
    assert head_reused(small, medium).key == projected(small, medium).key


def test_what_does_not_fit_is_refused() -> None:
    small, medium = spec("small-cnn"), spec("medium-cnn")
    head = [weights(medium)[i] for i in medium.head]
    with pytest.raises(InputError, match=r"256x10 and 10 does not fit 'small-cnn', whose head is 392x10 and 10"):
        small.with_head(weights(small), head)
    assert compatible(small, medium) is None
    coloured, binary = spec("medium-cnn", (32, 32, 3)), spec("medium-cnn", classes=2)
    assert compatible(small, coloured) == (
        "Student 'small-cnn' sees inputs of 28x28x1, teacher 'medium-cnn' of 32x32x3."
    )
    assert compatible(small, binary) == "Student 'small-cnn' tells 10 classes apart, teacher 'medium-cnn' 2."
    for make in (projected, head_reused):
        with pytest.raises(InputError, match="A reused head needs the same"):
            make(small, coloured)


class Linear(Architecture):
    """Features that can be negative."""

    def features(self, inputs: Any) -> Any:
        return keras.layers.Dense(30)(keras.layers.Flatten()(inputs))


def test_features_that_may_be_negative_are_not_rectified() -> None:
    teacher = ModelSpec("linear", Linear(), (28, 28, 1), 10)
    model = projected(spec("mlp"), teacher)
    x = np.random.default_rng(0).integers(0, 256, (20, 28, 28, 1), np.uint8)
    assert predict(model, weights(model), x, features=True).min() < 0


class Map(Architecture):
    """Two channels of a size, from one convolution; no pooling."""

    def __init__(self, *size: int) -> None:
        self._size = size

    @property
    def key(self) -> tuple[Any, ...]:
        return type(self), self._size

    def features(self, inputs: Any) -> Any:
        window = [28 - side + 1 for side in self._size]
        return keras.layers.Flatten()(keras.layers.Conv2D(2, window, activation="relu")(inputs))


@pytest.mark.parametrize(
    ("size", "wanted"), [((7, 7), (4, 4)), ((10, 10), (7, 7)), ((4, 4), (7, 7)), ((9, 3), (4, 5)), ((5, 5), (5, 5))]
)
def test_maps_are_brought_to_any_size(size: tuple[int, int], wanted: tuple[int, int]) -> None:
    student, teacher = (ModelSpec(f"map{shape}", Map(*shape), (28, 28, 1), 10) for shape in (size, wanted))
    model = projected(student, teacher)
    assert model.features == 2 * wanted[0] * wanted[1]
    x = np.random.default_rng(0).integers(0, 256, (2, 28, 28, 1), np.uint8)
    assert np.isfinite(predict(model, weights(model), x)).all()


def test_pooling_by_hand() -> None:
    """7 -> 4: windows of two from the left, as the networks' own pooling; the last one is a single column.

    10 -> 7: no windows side by side give 7, so 10 - 6 = 4 columns at a time, one further each.
    """

    def row(columns: int, wanted: int, *, by_maximum: bool) -> list[float]:
        x = np.tile(np.arange(columns, dtype=np.float32), (columns, 1))[np.newaxis, :, :, np.newaxis]
        pooled = _pooled(keras.tf.constant(x), wanted, wanted, by_maximum=by_maximum).numpy()
        assert pooled.shape == (1, wanted, wanted, 1)
        return list(pooled[0, 0, :, 0])

    assert row(7, 4, by_maximum=True) == [1, 3, 5, 6]
    assert row(7, 4, by_maximum=False) == [0.5, 2.5, 4.5, 6]
    assert row(10, 7, by_maximum=False) == [1.5, 2.5, 3.5, 4.5, 5.5, 6.5, 7.5]


def test_a_larger_map_is_pooled_as_the_teacher_pools() -> None:
    """Max-pooling keeps the largest of four features: it is never below the mean of the same four."""
    student = spec("small-cnn")
    teachers = {"max": classifier((28, 28, 1), 10), "mean": ModelSpec("map", Map(4, 4), (28, 28, 1), 10)}
    kinds = {**teachers, "strides": spec("medium-cnn")}
    layers = {kind: {type(x).__name__ for x in projected(student, t).build().layers} for kind, t in kinds.items()}
    assert "AveragePooling2D" not in layers["max"]
    assert "AveragePooling2D" in layers["mean"]
    assert "AveragePooling2D" in layers["strides"]  # its last map is a convolution's


def test_the_reduction_is_the_width_of_the_middle() -> None:
    """small-cnn under medium-cnn, reduction 1: 8 * 16 + 9 * 16 * 16 + 16 * 16 and 4 * 48, instead of 896."""
    small, medium = spec("small-cnn"), spec("medium-cnn")
    wide = projected(small, medium, 1)
    assert wide.parameters == 664 + 128 + 2304 + 256 + 192 + 2570
    assert wide.key != projected(small, medium).key
    assert head_reused(small, medium, 1).parameters == wide.parameters


def test_normalisation_by_groups_has_no_statistics() -> None:
    """Two values per channel instead of four, 8 + 8 + 16 channels; the rest is the batch's."""
    small, medium = spec("small-cnn"), spec("medium-cnn")
    grouped, batch = projected(small, medium, normalisation="group"), projected(small, medium)
    assert grouped.parameters == batch.parameters - 2 * (8 + 8 + 16)
    assert "statistic" not in grouped.kinds
    assert batch.kinds.count("statistic") == 6
    assert grouped.key != batch.key


def test_an_example_is_normalised_by_groups_whatever_is_in_its_batch() -> None:
    model = projected(spec("small-cnn"), spec("medium-cnn"), normalisation="group").build(1)
    x = keras.tf.constant(np.random.default_rng(0).random((8, 28, 28, 1), np.float32))
    alone, among = model(x[:1], training=True), model(x, training=True)
    np.testing.assert_allclose(alone[0], among[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("normalisation", ["batch", "group", "frozen"])
def test_what_training_does_to_a_normalisation(normalisation: Normalisation) -> None:
    """Frozen: nothing. Its weights are those of the batch's, in the same places."""
    teacher, student = spec("medium-cnn", (8, 8, 1)), spec("small-cnn", (8, 8, 1))
    model, batch = projected(student, teacher, 2, normalisation), projected(student, teacher)
    rng = np.random.default_rng(3)
    examples = Examples(rng.integers(0, 256, (40, 8, 8, 1), np.uint8), np.zeros(40, np.int32))
    objective = FeatureMatching(rng.random((40, teacher.features), np.float32))
    settings = TrainingSettings(batch_size=16, epochs=1, learning_rate=0.01)
    trainer = Trainer(model, resting(1, masked=False), settings, 1, lambda purpose: np.random.default_rng(0))
    start = weights(model)
    trained = trainer.fit(start, examples, objective)
    same = {i for i in range(len(start)) if np.array_equal(start[i], trained.weights[i])}
    of_batch = {i for i, array in enumerate(batch.template) if array.ndim == 1} - set(batch.biases) - set(batch.head)
    assert same == {*model.head, *(of_batch if normalisation == "frozen" else ())}
    if normalisation != "group":
        assert [a.shape for a in model.template] == [a.shape for a in batch.template]


def test_statistics_are_learned_before_they_are_frozen() -> None:
    assert in_turn("batch") == ("batch", "batch")
    assert in_turn("group") == ("group", "group")
    assert in_turn("frozen") == ("batch", "frozen")
