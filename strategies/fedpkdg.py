"""fedpkdg: prune, distil and generate: pruned clients, a GAN that they train together, a global model taught by both.

In a round
 1. the global model goes down; each client prunes and trains it, and the clients train a conditional GAN together,
 2. models are averaged, mask-aware, and with them the classifiers into the global head, which is then frozen,
 3. the averaged generator makes a class-balanced public set; what the clients' ensemble does not recognise is dropped,
    the rest goes into a rolling buffer,
 4. the global model's encoder learns from the ensemble, weighted by examples, and from the samples' labels.

How a teacher travels decides what the ensemble is made of: whole models; or logits or labels of the public set, which
clients draw themselves from the generator and a seed, and then only their classifiers are averaged.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from fedcompress.aggregation import masked_mean
from fedcompress.data.federated import Examples
from fedcompress.distillation import ensemble
from fedcompress.distillation.student import StudentParams, consensus, distil, opinions, speaking, trustworthy, voices
from fedcompress.models.architecture import ModelSpec
from fedcompress.strategy import State
from fedcompress.wire.content import Arrays, Payload
from strategies.fedavg import FedAvg, FedAvgParams

if TYPE_CHECKING:
    from fedcompress.federation import Federation, Reply


class FedPKDGParams(FedAvgParams, StudentParams):
    """Parameters of FedPKDG."""

    teacher: Literal["model", "predictions"] = Field(
        "model", description="what clients send: their models, or predictions (see the client's `teaches`)"
    )
    temperature: float = Field(3.5, gt=0.0, description="T of the distillation")
    alpha: float = Field(0.35, ge=0.0, le=1.0, description="weight of the ensemble against the samples' labels")


class FedPKDG(FedAvg):
    """State: that of FedAvg; `public`, of the generator and the rolling buffer."""

    Params = FedPKDGParams
    params: FedPKDGParams
    requires = frozenset({"train", "train_locally", "predict"})
    needs_public = True
    clients_draw_public = True

    def problems(self) -> list[str]:
        if self.params.teacher == "model":
            return []
        return [
            f"groups.{name}.compression: with teacher = {self.params.teacher!r} models stay with clients, and the "
            'server cannot choose masks for them; use teacher = "model", or masks that clients choose.'
            for name, group in self.groups.items()
            if group.compression.chooser == "server"
        ]

    def initial(self, fed: Federation) -> State:
        assert self.public is not None
        return {**super().initial(fed), "public": self.public.initial()}

    def round(self, fed: Federation, state: State) -> State:
        if self.params.teacher == "model":
            return super().round(fed, state)
        requests = self._requests(fed, state, {group: [] for group in self.groups})
        replies = fed.call("train_locally", requests, expects={"classifier"})
        weights = {**state["weights"], **self._with_heads(state, replies)}
        return self._distilled(fed, {**state, "weights": weights}, replies)

    def aggregated(self, fed: Federation, state: State, replies: Sequence[Reply]) -> State:
        return self._distilled(fed, super().aggregated(fed, state, replies), replies)

    def _with_heads(self, state: State, replies: Sequence[Reply]) -> dict[str, Arrays]:
        """Returns architecture -> weights with the mean of its clients' classifiers, over those that keep a weight."""
        result = {}
        for name in {reply.client.model for reply in replies}:
            own = [reply for reply in replies if reply.client.model == name]
            model, old = self.models[name], state["weights"][name]
            updates = [list(reply.payload["classifier"]) for reply in own]
            masks = [reply.payload.get("classifier mask") for reply in own]
            held = [{0: mask[0]} if mask else None for mask in masks]
            head = masked_mean(updates, held, [reply.client.examples for reply in own], model.head_of(old))
            result[name] = model.with_head(old, head)
        return result

    def _distilled(self, fed: Federation, state: State, replies: Sequence[Reply]) -> State:
        """Returns the state after the round's distillation into every architecture."""
        assert self.public is not None
        clients = [reply.client for reply in replies]
        public = self.public.train(fed, clients, state["public"])
        state = {**state, "public": public}
        recipe = self.public.recipe(fed, public)
        examples = self.public.draw(fed, public, recipe)
        if examples is None:
            return state
        logits = self._ensemble(fed, replies, recipe, examples)
        kept = None if logits is None else self.public.sift(fed, examples.y, logits)
        if logits is None or kept is None:
            return state
        labels = examples.y if self.public.sifting else logits.argmax(axis=1).astype(np.int32)
        samples: dict[str, NDArray[np.generic]] = {"x": examples.x[kept], "y": labels[kept], "logits": logits[kept]}
        public, samples = self.public.remember(public, samples)
        weights = dict(state["weights"])
        for name, model in self.models.items():
            weights[name] = self._student(fed, model, weights[name], samples, self.covered(state, name))
        return {**state, "public": public, "weights": weights}

    def _ensemble(
        self, fed: Federation, replies: Sequence[Reply], recipe: Payload, examples: Examples
    ) -> ensemble.Logits | None:
        """Returns what the clients say of the samples, weighted by their examples; None if nobody says anything."""
        assert self.public is not None
        if self.params.teacher == "model":
            teachers = trustworthy(fed, self, replies)
            weights = voices(teachers, equal=False)
            return ensemble.mean_logits(opinions(fed, self, teachers, examples.x), weights)
        said = speaking(fed, fed.call("predict", {reply.client: recipe for reply in replies}), len(examples))
        return consensus(said, self.public.source.classes, equal=False) if said else None

    def _student(
        self,
        fed: Federation,
        model: ModelSpec,
        weights: Arrays,
        samples: dict[str, NDArray[np.generic]],
        masks: Arrays | None,
    ) -> Arrays:
        """Returns the weights after distillation, the head frozen."""
        known = Examples(samples["x"], samples["y"].astype(np.int32))
        logits = samples["logits"].astype(np.float32)
        encoder = masks[:-1] if masks else None  # the head is not among what is pruned here
        return distil(
            self.trainer(model.with_frozen_head(), fed.round),
            weights,
            known,
            logits,
            self.params,
            self.validation,
            encoder,
        )
