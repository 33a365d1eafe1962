"""What a method works with: data, model, one way to train, all of it for one experiment and one seed."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from math import cos, inf, pi
from typing import Any

import numpy as np

from fedcompress.compression import masks as masking
from fedcompress.compression.base import Compression
from fedcompress.compression.pruning import resting
from fedcompress.data.federated import Examples
from fedcompress.models.architecture import ModelSpec
from fedcompress.recipes.loading import Split
from fedcompress.recipes.recipe import RecipeTraining
from fedcompress.seeding import SERVER, generator
from fedcompress.training.loop import Trained
from fedcompress.training.objectives import Objective
from fedcompress.training.trainer import Trainer, evaluate
from fedcompress.wire.content import Arrays

TEACHER = "teacher"
"""Phase of the epochs of a model that others learn from."""


@dataclass(frozen=True)
class CurvePoint:
    """One epoch.

    Attributes:
        phase: What the training was for: "dense", "prune", ...; `TEACHER` of another model than comes out.
        epoch: From 1, within the phase.
        loss: Mean over the epoch.
        validation: Accuracy after it.
        validation_loss: Mean cross-entropy after it, on the same examples.
        sparsity: Fraction of zeros after it.
        layers: The same for each prunable tensor.
    """

    phase: str
    epoch: int
    loss: float
    validation: float
    sparsity: float
    layers: tuple[float, ...]
    validation_loss: float = float("nan")


@dataclass(frozen=True, eq=False)
class Fitted(Trained):
    """What a training leaves; loss and steps are those of the last epoch.

    Attributes:
        validation: Accuracy of the weights after the last epoch.
    """

    validation: float = float("nan")


class _Waiting:
    """Says when a training has converged, by `patience` and `min_delta`."""

    def __init__(self, settings: RecipeTraining) -> None:
        self._settings = settings
        self._best, self._waited = inf, 0

    def in_vain(self, loss: float) -> bool:
        """Takes in the validation loss of an epoch, and says whether there has been no gain for too long."""
        if not self._settings.patience:
            return False
        if loss < self._best - self._settings.min_delta:
            self._best, self._waited = loss, 0
        else:
            self._waited += 1
        return self._waited >= self._settings.patience


def random_numbers(seed: int, purpose: str, epoch: int = 0) -> np.random.Generator:
    """Returns the generator of one purpose, independent of all others."""
    return generator(seed, epoch, SERVER, f"compress.{purpose}")


class Bench:
    """Data, a model and one way to train, for one experiment and one seed.

    Attributes:
        spec: The experiment's model.
        data: Training, validation and test examples.
        seed: Every random number derives from it, and from what it is for: two methods that ask for the same thing
            (a split, initial weights, the order of examples in a phase of training) get the same.
        training: `[training]`, with the experiment's own epochs.
        data_digest: Of the data set; empty where nobody asks for it.
        curve: Every epoch that was trained, in order.
    """

    def __init__(
        self,
        spec: ModelSpec,
        data: Split,
        seed: int,
        training: RecipeTraining,
        *,
        model: Callable[[str], ModelSpec],
        memory: dict[Any, Any],
        progress: Callable[[CurvePoint], None] | None = None,
        data_digest: str = "",
    ) -> None:
        self.spec = spec
        self.data = data
        self.seed = seed
        self.training = training
        self.data_digest = data_digest
        self.curve: list[CurvePoint] = []
        self.model = model
        """Returns another model by its name, as "mlp:512-256", for this data."""
        self._memory = memory
        self._progress = progress
        self._counted: set[Any] = set()
        self._spent, self._shared_seconds = 0.0, 0.0

    def rng(self, purpose: str, epoch: int = 0) -> np.random.Generator:
        """Returns the generator of one purpose, independent of all others."""
        return random_numbers(self.seed, purpose, epoch)

    def initial(self, spec: ModelSpec | None = None, purpose: str = "initial") -> Arrays:
        """Returns initial weights; another purpose gives other ones."""
        spec = spec or self.spec
        return spec.initial(self.rng(f"{purpose}.{spec.name}"))

    def dense(self, spec: ModelSpec | None = None, epochs: int | None = None) -> Arrays:
        """Returns the trained, uncompressed model: what compression starts from, and is compared with.

        It is trained once for all experiments of a recipe that want the same. A model from a file is taken as it is.
        """
        return self._shared(spec or self.spec, epochs, "dense")

    def teacher(self, name: str, epochs: int | None = None) -> tuple[ModelSpec, Arrays]:
        """Returns another model by its name, as "mlp:512-256", and its weights once it is trained as it is."""
        spec = self.model(name)
        return spec, self._shared(spec, epochs, TEACHER)

    def _shared(self, spec: ModelSpec, epochs: int | None, named: str) -> Arrays:
        """Returns a model as it is trained for all experiments; its epochs are `named` in this one's curve."""
        if spec.trained is not None:
            return spec.trained
        key = ("dense", spec.key, self.seed, epochs or self.training.epochs)
        if key not in self._memory:
            before, started = len(self.curve), time.perf_counter()
            fitted = self.train(self.initial(spec), spec=spec, epochs=epochs, phase="dense", named=named)
            seconds = time.perf_counter() - started
            self._memory[key] = fitted.weights, self.curve[before:], seconds
            self._spent += seconds
        else:
            self.curve += [replace(point, phase=named) for point in self._memory[key][1]]
        weights: Arrays = self._memory[key][0]
        if key not in self._counted:
            self._counted.add(key)
            self._shared_seconds += self._memory[key][2]
        return weights

    def train(
        self,
        weights: Arrays,
        compression: Compression | None = None,
        *,
        phase: str = "train",
        named: str | None = None,
        objective: Objective | None = None,
        masks: Arrays | None = None,
        epochs: int | None = None,
        learning_rate: float | None = None,
        spec: ModelSpec | None = None,
        examples: Examples | None = None,
        until: Callable[[CurvePoint], bool] | None = None,
    ) -> Fitted:
        """Trains epoch by epoch, each as a round of a federation: the optimizer's state starts anew in it.

        Args:
            weights: Start.
            compression: What training does to the weights, made for as many rounds as there are epochs; default:
                nothing.
            phase: Named in the curve; trainings of different phases see the examples in different orders.
            named: In the curve, instead of the phase.
            objective: Default: cross-entropy.
            masks: Kept from beginning to end, instead of masks that the compression chooses.
            epochs: Instead of `[training] epochs`.
            learning_rate: Instead of `[training] learning_rate`.
            spec: Default: the experiment's model.
            examples: Default: the training examples.
            until: Ends the training after an epoch for which it returns True.
        """
        spec, epochs = spec or self.spec, epochs or self.training.epochs
        compression = compression or self.default_compression(epochs, masked=masks is not None)
        waiting = _Waiting(self.training)
        fixed, fitted = masks, Fitted(weights, masks or [], float("nan"), 0, weights)
        for epoch in range(1, epochs + 1):
            trainer = Trainer(spec, compression, self.training, epoch, partial(self.rng, epoch=epoch))
            rate = self._rate(learning_rate or self.training.learning_rate, epoch, epochs)
            trained = trainer.fit(
                fitted.latent,
                self.data.train if examples is None else examples,
                objective,
                masks=fixed,
                epochs=1,
                learning_rate=rate,
                purpose=f"shuffle.{phase}",
            )
            if masks is None and compression.frozen(epoch + 1):
                fixed = trained.masks or None
            scored = evaluate(spec, trained.weights, self.data.validation)
            fitted = Fitted(**vars(trained), validation=scored.accuracy)
            layers = tuple(masking.sparsity(trained.weights, [i]) for i in spec.prunable)
            total = masking.sparsity(trained.weights, spec.kernels)
            point = CurvePoint(named or phase, epoch, trained.loss, scored.accuracy, total, layers, scored.loss)
            self.curve.append(point)
            if self._progress:
                self._progress(point)
            settled = compression.target(epoch) == compression.target(epochs)
            if (until and until(point)) or (settled and waiting.in_vain(scored.loss)):
                break
        return fitted

    def _rate(self, start: float, epoch: int, epochs: int) -> float:
        if self.training.schedule == "cosine":
            return start * (1 + cos(pi * (epoch - 1) / epochs)) / 2
        return float(start * self.training.learning_rate_decay ** (epoch - 1))

    def default_compression(self, epochs: int, *, masked: bool) -> Compression:
        """Returns what training does to the weights where a method asks for nothing: nothing, or it keeps masks."""
        return resting(epochs, masked=masked)

    def validate(self, weights: Arrays, spec: ModelSpec | None = None) -> float:
        """Returns the accuracy that choices are made by."""
        return evaluate(spec or self.spec, weights, self.data.validation).accuracy

    def network(self, weights: Arrays, spec: ModelSpec | None = None) -> Any:
        """Returns a Keras model with these weights."""
        model = (spec or self.spec).build()
        model.set_weights(weights)
        return model

    def take_curve(self) -> list[dict[str, Any]]:
        """Returns the epochs since it was last called, as rows."""
        taken, self.curve = self.curve, []
        return [asdict(point) for point in taken]

    def take_seconds(self) -> tuple[float, float]:
        """Returns of the shared trainings since it was last called how long this experiment spent on them, and how long
        they took, in whichever experiment that was; the latter counts each once."""
        taken = self._spent, self._shared_seconds
        self._spent, self._shared_seconds = 0.0, 0.0
        return taken
