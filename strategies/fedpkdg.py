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
from typing import Literal

from pydantic import Field

from fedcompress.aggregation import masked_mean
from fedcompress.distillation import round as public_round
from fedcompress.distillation.ensemble import EnsembleParams
from fedcompress.distillation.round import Lesson, PublicRound, trustworthy
from fedcompress.distillation.student import StudentParams, distil
from fedcompress.strategy import Arrays, ClientInfo, Federation, Group, Reply, State
from strategies.fedavg import FedAvg, FedAvgParams


class FedPKDGParams(FedAvgParams, StudentParams, EnsembleParams):
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
        return {**super().initial(fed), "public": public_round.initial(self)}

    def round(self, fed: Federation, state: State) -> State:
        if self.params.teacher == "model":
            return super().round(fed, state)
        requests = self._requests(fed, state, {group: [] for group in self.groups})
        replies = fed.call("train_locally", requests, expects={"classifier"})
        weights = {**state["weights"], **self._with_heads(state, replies)}
        return self._distilled(fed, {**state, "weights": weights}, replies)

    def own_models(self, group: Group) -> bool:
        """With predictions, the mask of a sparse client never reaches the server: its device runs what it trained."""
        return self.params.teacher == "predictions" and group.compression.sparsity > 0

    def deployed(self, state: State, client: ClientInfo) -> Arrays | None:
        return None if self.own_models(self.groups[client.group]) else super().deployed(state, client)

    def aggregated(self, fed: Federation, state: State, replies: Sequence[Reply]) -> State:
        return self._distilled(fed, super().aggregated(fed, state, replies), replies)

    def _with_heads(self, state: State, replies: Sequence[Reply]) -> dict[str, Arrays]:
        """Returns architecture -> weights with the mean of its clients' classifiers, over those that keep a weight."""
        result = {}
        for name in {reply.client.model for reply in replies}:
            of_model = [reply for reply in replies if reply.client.model == name]
            model, old = self.models[name], state["weights"][name]
            updates = [list(reply.payload["classifier"]) for reply in of_model]
            masks = [reply.payload.get("classifier mask") for reply in of_model]
            holdings = [{0: mask[0]} if mask else None for mask in masks]
            head = masked_mean(updates, holdings, [reply.client.examples for reply in of_model], model.head_of(old))
            result[name] = model.with_head(old, head)
        return result

    def _distilled(self, fed: Federation, state: State, replies: Sequence[Reply]) -> State:
        """Returns the state after the round's distillation into every architecture."""
        public = PublicRound(self, fed, [reply.client for reply in replies], state)
        lesson = None if public.examples is None else self._lesson(fed, public, replies)
        if lesson is None:
            return {**state, "public": public.state}
        samples, logits = public.collected(lesson, as_asked=public.sifting)
        weights = dict(state["weights"])
        for name, model in self.models.items():
            trainer, masks = self.trainer(model.with_frozen_head(), fed.round), self.covered(state, name)
            encoder = masks[:-1] if masks else None  # the head is not among what is pruned here
            weights[name] = distil(trainer, weights[name], samples, logits, self.params, self.validation, encoder, fed)
        return {**state, "public": public.state, "weights": weights}

    def _lesson(self, fed: Federation, public: PublicRound, replies: Sequence[Reply]) -> Lesson | None:
        """Returns what the clients teach, weighted by their examples."""
        if self.params.teacher == "model":
            teachers = public.weighable(trustworthy(fed, self, replies))
            return public.uploaded(teachers, public.voices(teachers, equal=False))
        predictions = fed.call("predict", {reply.client: public.recipe for reply in replies})
        return public.spoken(public.speakers(predictions), equal=False)
