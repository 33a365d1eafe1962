"""dense: one round of FedAvg, and then a student of all clients' models on images that those models have made.

Zhang et al. 2022, "DENSE: Data-free one-shot federated learning" (NeurIPS): in each of 200 epochs a generator takes 30
steps towards images of random labels that the ensemble of the uploads is sure of and the student is not
(`fedcompress/distillation/data_free.py`), and the student learns the ensemble's mean logits, T = 20, on all images that
have been made so far. The student begins anew; where architectures differ, each has a student of its own. Clients train
as `sgd` does, 400 epochs in the paper. With more rounds, clients begin each with the students of the last, and students
begin anew in each.

One generator that goes on from epoch to epoch is the paper's, Algorithm 1, as its losses are; that the student learns
from all images so far is the authors' code's (zj-jayzhang/DENSE; the algorithm distils on the batch just made). Of the
code, this leaves out that the generator begins anew in each epoch, that noise is optimised along with it, that images
are cropped and flipped, and that of the steps' batches the one of lowest loss is kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from pydantic import Field

from fedcompress import keras
from fedcompress.data.federated import Examples
from fedcompress.distillation.data_free import MULTIPLE, DataFree, Synthesiser, fits
from fedcompress.distillation.ensemble import Logits, mean_logits
from fedcompress.generators.sampling import as_pixels, balanced_labels
from fedcompress.models.architecture import ModelSpec
from fedcompress.scenario.sections import TrainingSettings
from fedcompress.strategy import Arrays, Federation, Reply, State
from fedcompress.training.objectives import Distillation
from fedcompress.training.trainer import Trainer
from strategies.fedavg import FedAvg, FedAvgParams


class DenseParams(FedAvgParams):
    """Parameters of DENSE; the defaults are the published ones."""

    epochs: int = Field(
        200, ge=1, description="in each the generator makes a batch, from which the student then learns"
    )
    generator_steps: int = Field(30, ge=1, description="of the generator in an epoch")
    noise: int = Field(256, ge=1, description="length of what the generator makes an image from")
    batch_size: int = Field(128, ge=1, description="images that are made in an epoch, and in a step of the student")
    generator_rate: float = Field(0.001, gt=0.0, description="learning rate of the generator, Adam")
    bn: float = Field(1.0, ge=0.0, description="lambda_1, weight of the statistics of batch normalisation")
    diversity: float = Field(0.5, ge=0.0, description="lambda_2, weight of what the student does not know yet")
    temperature: float = Field(20.0, gt=0.0, description="T of the distillation")
    learning_rate: float = Field(0.01, gt=0.0, description="of the student, SGD with momentum 0.9")
    passes: int = Field(1, ge=1, description="of the student over all images so far, in an epoch")
    start: Literal["new", "average"] = Field(
        "new",
        description="what the student begins with in a round: new weights, as published, or the average of the uploads",
    )


class Dense(FedAvg):
    """FedAvg whose averages give way to students.

    State: that of FedAvg; `teachers`, the last uploads, for the ensemble's accuracy.
    """

    Params = DenseParams
    params: DenseParams

    def problems(self) -> list[str]:
        unfit = next((model for model in self.models.values() if not fits(model.input_shape)), None)
        if unfit is None:
            return super().problems()
        shape = "x".join(map(str, unfit.input_shape))
        return [
            *super().problems(),
            f"data.dataset: strategy 'dense' makes images whose sides are multiples of {MULTIPLE}, received {shape}.",
        ]

    def warnings(self) -> list[str]:
        """Nothing about architectures: all their students learn from the same teachers."""
        return [
            f"strategy 'dense': {name} has no batch normalisation, so images are made without that part of the loss."
            for name, model in self.models.items()
            if self.params.bn and not _normalises(model)
        ]

    def initial(self, fed: Federation) -> State:
        return {**super().initial(fed), "teachers": []}

    def aggregated(self, fed: Federation, state: State, replies: Sequence[Reply]) -> State:
        state = super().aggregated(fed, state, replies)
        uploads = [{"model": r.client.model, "weights": list(r.payload["weights"])} for r in replies]
        students = {name: self._student(fed, state, name, uploads) for name in self.models}
        return {**state, "teachers": uploads, "weights": {**state["weights"], **students}}

    def _student(self, fed: Federation, state: State, name: str, uploads: Sequence[State]) -> Arrays:
        """Returns what a student of an architecture has learned from all uploads."""
        params, model, rng = self.params, self.models[name], fed.rng(f"dense.{name}")
        begins_new = params.start == "new"
        weights: Arrays = model.initial(fed.rng(f"student.{name}")) if begins_new else state["weights"][name]
        settings = DataFree(params.noise, params.batch_size, params.generator_rate, params.bn, params.diversity)
        teachers = [(self.models[upload["model"]], upload["weights"]) for upload in uploads]
        synthesiser = Synthesiser(teachers, model, settings, int(rng.integers(2**31)))
        trainer, covered = self._student_trainer(fed, model), self.covered(state, name)
        made: list[tuple[np.ndarray, Logits]] = []
        for epoch in range(params.epochs):
            z = rng.standard_normal((params.batch_size, params.noise), np.float32)
            labels = balanced_labels(params.batch_size, model.classes, rng)
            images, logits, loss = synthesiser.images(weights, z, labels, params.generator_steps)
            made.append((as_pixels(images), logits))
            x, y = (np.concatenate(arrays) for arrays in zip(*made, strict=True))
            trained = trainer.fit(
                weights,
                Examples(x, y.argmax(axis=1).astype(np.int32)),
                Distillation(1.0, params.temperature, y),
                masks=covered,
                epochs=params.passes,
                purpose=f"student.{epoch}",
                continued=epoch > 0,
            )
            weights = trained.latent
        fed.note(f"generator_loss {name}", loss)
        fed.note(f"distillation_loss {name}", trained.loss)
        return trained.weights

    def _student_trainer(self, fed: Federation, model: ModelSpec) -> Trainer:
        params, server = self.params, self.trainer(model, fed.round)
        settings = TrainingSettings(
            optimizer="momentum", learning_rate=params.learning_rate, batch_size=params.batch_size, epochs=1
        )
        return Trainer(model, server.compression, settings, 1, fed.rng)

    def teachers(self, state: State) -> list[tuple[ModelSpec, Arrays, float]]:
        return [(self.models[t["model"]], t["weights"], 1.0) for t in state["teachers"]]

    def ensemble(self, state: State, opinions: Sequence[Logits]) -> Logits:
        return mean_logits(opinions, [1.0] * len(opinions))


def _normalises(model: ModelSpec) -> bool:
    """Says whether images are made by statistics of a model's batch normalisation, too."""
    return any(isinstance(layer, keras.layers.BatchNormalization) for layer in model.build().layers)
