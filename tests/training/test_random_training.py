"""Random layers in local training: draws follow from the call's generator, under every compression and objective."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from fedcompress import keras
from fedcompress.compression.base import Compression, Params
from fedcompress.compression.kinds.cluster import Cluster
from fedcompress.compression.kinds.magnitude import Magnitude
from fedcompress.compression.kinds.none import NoCompression
from fedcompress.compression.kinds.quantise import Quantise
from fedcompress.data.federated import Examples
from fedcompress.errors import InputError
from fedcompress.generators.spec import GanSpec
from fedcompress.generators.training import train
from fedcompress.models.architecture import Architecture, ModelSpec
from fedcompress.plugins import Plugins
from fedcompress.scenario.sections import TrainingSettings
from fedcompress.training.objectives import CrossEntropy, Distillation, FeatureMatching, Objective, Proximal
from fedcompress.training.trainer import Trainer
from fedcompress.wire.content import Arrays
from federating import PLUGINS

FOUND = Plugins((PLUGINS,))
EXAMPLES = 40
DENSE = NoCompression(Params(), sparsity=0.0, rounds=1)


def spec(name: str) -> ModelSpec:
    return ModelSpec(name, FOUND.architecture(name), (8, 8, 1), 10)


def examples() -> Examples:
    rng = np.random.default_rng(0)
    return Examples(rng.integers(0, 256, (EXAMPLES, 8, 8, 1), np.uint8), rng.integers(0, 10, EXAMPLES).astype(np.int32))


def fit(model: ModelSpec, seed: int, objective: Objective | None = None, compression: Compression = DENSE) -> Arrays:
    """Trains in one batch, so that the order of the examples has no influence but on rounding."""
    settings = TrainingSettings(batch_size=EXAMPLES, optimizer="sgd", learning_rate=0.5)
    trainer = Trainer(model, compression, settings, 1, lambda _: np.random.default_rng(seed))
    return trainer.fit(model.initial(np.random.default_rng(1)), examples(), objective).weights


def largest_difference(one: Arrays, other: Arrays) -> float:
    return max(float(np.abs(a - b).max()) for a, b in zip(one, other, strict=True))


def objectives() -> dict[str, Objective]:
    start = spec("zoo:dropout").initial(np.random.default_rng(1))
    teacher = np.random.default_rng(2).normal(size=(EXAMPLES, 12)).astype(np.float32)
    return {
        "cross-entropy": CrossEntropy(),
        "proximal": Proximal(0.1, tuple(start)),
        "distillation": Distillation(0.5, 2.0, teacher[:, :10]),
        "features": FeatureMatching(teacher),
    }


@pytest.mark.parametrize("name", ["cross-entropy", "proximal", "distillation", "features"])
def test_draws_follow_from_the_generator_of_the_call(name: str) -> None:
    model, objective = spec("zoo:dropout"), objectives()[name]
    first, other, again = (fit(model, seed, objective) for seed in (1, 2, 1))
    assert largest_difference(first, again) == 0
    assert largest_difference(first, other) > 1e-3


@pytest.mark.parametrize("model", ["zoo:sequential", "zoo:spatial-dropout"])
@pytest.mark.parametrize("kind", [Magnitude, Quantise, Cluster])
def test_compressions_leave_random_layers_seeded(kind: type[Magnitude], model: str) -> None:
    compression = kind(kind.Params(), sparsity=0.5, rounds=1, bits=8 if kind is Quantise else 32)
    first, other, again = (fit(spec(model), seed, compression=compression) for seed in (1, 2, 1))
    assert largest_difference(first, again) == 0
    assert largest_difference(first, other) > 1e-3


def test_without_random_layers_the_generator_only_shuffles() -> None:
    rng, same = np.random.default_rng(1), np.random.default_rng(1)
    model = spec("mini-cnn")
    settings = TrainingSettings(batch_size=8, epochs=2)
    Trainer(model, DENSE, settings, 1, lambda _: rng).fit(model.initial(np.random.default_rng(1)), examples())
    same.permutation(EXAMPLES), same.permutation(EXAMPLES)
    assert rng.integers(2**31) == same.integers(2**31)


class Noisy(CrossEntropy):
    """Adds noise to the inputs by an operation that counts its calls."""

    def loss(self, model: Any, x: Any, y: Any, targets: Sequence[Any], constants: Sequence[Any]) -> Any:
        return super().loss(model, x + keras.tf.random.normal(keras.tf.shape(x)), y, targets, constants)


def test_an_objective_that_draws_by_itself_is_refused() -> None:
    with pytest.raises(InputError, match=r"model 'mini-cnn': 'random_normal/RandomStandardNormal' \(Random"):
        fit(spec("mini-cnn"), 1, Noisy())


class MonteCarlo(Architecture):
    """Random in predictions, too."""

    def features(self, inputs: Any) -> Any:
        return keras.layers.Dropout(0.5)(keras.layers.Flatten()(inputs), training=True)


def test_a_guide_with_random_layers_is_seeded_as_well() -> None:
    gan, model = GanSpec("compact", (8, 8, 1), 10), ModelSpec("monte-carlo", MonteCarlo(), (8, 8, 1), 10)
    start, guide = gan.initial(np.random.default_rng(1)), model.initial(np.random.default_rng(1))

    def trained() -> Arrays:
        rng = np.random.default_rng(2)
        return train(gan, start, examples(), epochs=1, rng=rng, guide=(model, guide), guide_weight=1.0).gan.generator

    assert largest_difference(trained(), trained()) == 0
