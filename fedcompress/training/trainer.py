"""What a strategy trains and predicts with: the compiled loops of this thread, bound to one model and one call."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from math import ceil
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from fedcompress import keras
from fedcompress.compression import masks as masking
from fedcompress.compression.base import Compression
from fedcompress.compression.pruning import keeping
from fedcompress.data.federated import Examples
from fedcompress.models.architecture import ModelSpec
from fedcompress.models.random_layers import RandomLayers
from fedcompress.scenario.sections import AugmentationSettings, TrainingSettings
from fedcompress.training import work
from fedcompress.training.loop import Trained, TrainingLoop, scaled
from fedcompress.training.objectives import CrossEntropy, Objective
from fedcompress.training.precision import half
from fedcompress.training.rates import Cosine
from fedcompress.wire.content import Arrays

PREDICTION_BATCH = 1000
"""Examples in one forward pass; bounds memory, changes no result."""


@dataclass(frozen=True)
class Evaluation:
    """Accuracy and mean cross-entropy, which examples were right, and which class each was taken for.

    A model whose loss is not finite names the first class throughout: its accuracy is NaN, not the share of that class.
    """

    accuracy: float
    loss: float
    correct: NDArray[np.bool_]
    predicted: NDArray[np.int64]


class Predictor:
    """A model whose forward pass is compiled once per thread.

    Args:
        spec: The model.
        features: Stop at the features instead of going on to the logits.
    """

    def __init__(self, spec: ModelSpec, *, features: bool = False) -> None:
        with keras.LOCK:
            self._model = spec.build()
            self._output = spec.feature_extractor(self._model) if features else self._model
            self._random = RandomLayers(self._output, spec.name)
        self._shape = spec.input_shape
        self._compiled: dict[np.dtype[Any], Any] = {}

    def _forward(self, dtype: np.dtype[Any]) -> Any:
        """Returns the forward pass for inputs of a dtype and any number of them."""
        if dtype not in self._compiled:
            signature = [keras.tf.TensorSpec([None, *self._shape], dtype)]

            def forward(x: Any) -> Any:
                return self._output(scaled(x), training=False)

            with keras.building(), keras.LOCK:
                function = keras.tf.function(forward, input_signature=signature, autograph=False)
                self._compiled[dtype] = self._random.bind(function.get_concrete_function())
        return self._compiled[dtype]

    def run(self, weights: Arrays, x: NDArray[Any]) -> NDArray[np.float32]:
        """Returns logits (n, classes), or features (n, f), of inputs (n, *input_shape)."""
        if not len(x):
            return np.zeros((0, *self._output.output_shape[1:]), np.float32)
        self._model.set_weights(weights)
        forward = self._forward(x.dtype)

        def part(start: int) -> Any:
            self._random.seed(np.random.default_rng(0))  # layers that are random in predictions, too
            return forward(x[start : start + PREDICTION_BATCH]).numpy()

        return np.concatenate([part(start) for start in range(0, len(x), PREDICTION_BATCH)])


def predict(spec: ModelSpec, weights: Arrays, x: NDArray[Any], *, features: bool = False) -> NDArray[np.float32]:
    """Returns the logits (n, classes) of a model on inputs (n, *input_shape), or its features (n, f)."""
    work.add_pass(spec, len(x), training=False)
    predictor: Predictor = keras.compiled(("predict", spec.key, features), lambda: Predictor(spec, features=features))
    return predictor.run(weights, x)


def evaluate(
    spec: ModelSpec, weights: Arrays, examples: Examples, pool: Executor | None = None, threads: int = 1
) -> Evaluation:
    """Returns accuracy and mean cross-entropy of a model; NaN on no examples.

    Args:
        spec: The model.
        weights: Its weights.
        examples: What it is tested on.
        pool: Threads that share the work; the result is the same to the bit.
        threads: Their number.
    """
    if not len(examples):
        return Evaluation(float("nan"), float("nan"), np.zeros(0, bool), np.zeros(0, np.int64))
    # Parts end where batches end, so that every example is in the same batch whatever the number of threads.
    length = PREDICTION_BATCH * ceil(len(examples) / PREDICTION_BATCH / threads)
    parts = [examples.x[i : i + length] for i in range(0, len(examples), length)]
    mapped = (pool.map if pool else map)(lambda x: predict(spec, weights, x), parts)
    logits = np.concatenate(list(mapped)).astype(np.float64)
    predicted = logits.argmax(axis=1)
    correct = predicted == examples.y
    with np.errstate(invalid="ignore"):
        top = logits.max(axis=1, keepdims=True)
        log_sum = top[:, 0] + np.log(np.exp(logits - top).sum(axis=1))
        loss = float(np.mean(log_sum - logits[np.arange(len(logits)), examples.y]))
    return Evaluation(float(correct.mean()) if np.isfinite(loss) else float("nan"), loss, correct, predicted)


class Trainer:
    """Local training and prediction for one model in one round; the same graph serves all of them.

    Args:
        spec: The model.
        compression: What training does to its weights.
        settings: `[training]`.
        round_number: Indexes the compression's target.
        rng: Makes a generator for a purpose, for shuffling and for random layers.
        augmentation: `[augmentation]`, of images alone; None for none.
    """

    def __init__(
        self,
        spec: ModelSpec,
        compression: Compression,
        settings: TrainingSettings,
        round_number: int,
        rng: Callable[[str], np.random.Generator],
        augmentation: AugmentationSettings | None = None,
    ) -> None:
        self.spec = spec
        self.compression = compression
        self.settings = settings
        self.round_number = round_number
        self._rng = rng
        self._augmentation = augmentation

    def of(self, spec: ModelSpec) -> Trainer:
        """Returns a trainer of another model, with the same compression, settings, round and generators."""
        return Trainer(spec, self.compression, self.settings, self.round_number, self._rng, self._augmentation)

    def under(self, compression: Compression) -> Trainer:
        """Returns a trainer under another compression, with the same model, settings, round and generators."""
        return Trainer(self.spec, compression, self.settings, self.round_number, self._rng, self._augmentation)

    def by(self, optimizer: Literal["adam", "sgd", "momentum"]) -> Trainer:
        """Returns a trainer with another optimizer, and else the same."""
        settings = self.settings.model_copy(update={"optimizer": optimizer})
        return Trainer(self.spec, self.compression, settings, self.round_number, self._rng, self._augmentation)

    @property
    def learning_rate(self) -> float:
        """That of this round, as `[training]` says."""
        return self.settings.learning_rate * self.settings.learning_rate_decay ** (self.round_number - 1)

    def fit(
        self,
        weights: Arrays,
        examples: Examples,
        objective: Objective | None = None,
        *,
        masks: Arrays | None = None,
        epochs: int | None = None,
        learning_rate: float | Cosine | None = None,
        batch_size: int | None = None,
        purpose: str = "shuffle",
        steps: int | None = None,
        continued: bool = False,
    ) -> Trained:
        """Trains from `weights` and returns new ones; `masks` is empty where nothing is pruned in this round.

        Args:
            weights: Start, in the model's order.
            examples: The client's own.
            objective: What to minimise; cross-entropy by default.
            masks: Masks to keep; None lets the compression choose them.
            epochs: Instead of `[training] epochs`.
            learning_rate: Instead of `[training] learning_rate`, and not decayed; a `Cosine` falls from step to step.
            batch_size: Instead of `[training] batch_size`.
            purpose: Of the generator for shuffling and for random layers; trainings of one action need different ones.
            steps: Instead of `epochs`, which is passes: steps of the optimizer.
            continued: Whether this is a part of a longer training, not its first: the optimizer goes on from where this
                thread's training of the same kind before it left it, and `weights` are what that one returned.

        Raises:
            FloatingPointError: Training diverged.
            AssertionError: The sparsity that was asked for is not the one of the real weights.
        """
        objective, settings = CrossEntropy() if objective is None else objective, self.settings
        if not isinstance(objective, Objective):
            raise TypeError(
                f"objective is a {type(objective).__name__}, expected fedcompress.training.objectives.Objective"
            )
        if masks is None:
            masks = self.compression.chosen(weights, self.spec, self.round_number)
        counts = self.compression.counts(weights, self.spec, self.round_number)
        compression = keeping(self.compression, masks)
        augmentation = self._augmentation if len(self.spec.input_shape) == 3 else None
        how = settings.optimizer, augmentation, half() if settings.precision == "mixed" else "float32"
        key = ("train", self.spec.key, compression.key, objective.key, examples.x.dtype.str, *how)
        loop: TrainingLoop = keras.compiled(
            key, lambda: TrainingLoop(self.spec, compression.wrapping(), objective, *how)
        )
        trained = loop.run(
            weights,
            examples.x,
            examples.y,
            objective,
            compression.inputs(weights, self.spec, self.round_number, masks, counts),
            epochs=epochs or settings.epochs,
            batch_size=batch_size or settings.batch_size,
            learning_rate=learning_rate or self.learning_rate,
            rng=self._rng(purpose),
            steps=steps,
            continued=continued,
        )
        work.add_pass(self.spec, objective.passes * trained.examples, training=True)
        if not np.isfinite(trained.loss):
            raise FloatingPointError(f"training diverged, the loss is {trained.loss}; try a smaller learning rate")
        if not trained.masks or (masks is None and not self.compression.prunes_in_training(self.round_number)):
            trained = replace(trained, masks=[])
        else:
            trained = self._checked(trained, counts if masks is None else None)
        return replace(trained, weights=self.compression.rounded(trained.latent, self.spec))

    def _checked(self, trained: Trained, counts: Sequence[int] | None) -> Trained:
        """Applies the final masks; of those chosen here, makes sure that they keep what was asked, tensor by tensor."""
        prunable = self.spec.prunable
        final = trained.masks if counts is None else masking.adjusted(trained.latent, trained.masks, prunable, counts)
        if counts is not None:
            achieved = [int(m.sum()) for m in final]
            assert achieved == list(counts), f"pruning kept {achieved} weights where {counts} were asked for"
        return replace(
            trained, masks=final, latent=masking.restrict(trained.latent, self.compression.held(self.spec, final))
        )

    def predict(self, weights: Arrays, x: NDArray[Any]) -> NDArray[np.float32]:
        """Returns logits (n, classes)."""
        return predict(self.spec, weights, x)

    def features(self, weights: Arrays, x: NDArray[Any]) -> NDArray[np.float32]:
        """Returns features (n, f): what enters the head."""
        return predict(self.spec, weights, x, features=True)

    def evaluate(self, weights: Arrays, examples: Examples) -> Evaluation:
        """Returns accuracy and mean cross-entropy."""
        return evaluate(self.spec, weights, examples)
