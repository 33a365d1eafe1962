"""fedavg: federated averaging, weight by weight over the clients that keep the weight.

McMahan et al. 2017, "Communication-efficient learning of deep networks from decentralized data", Algorithm 1, with
masks m_k: w_j = sum_k n_k m_kj w_kj / sum_k n_k m_kj. With no masks this is FedAvg. Clients of one architecture are
averaged with each other. A weight that no client keeps is remembered, so that it can regrow, and is zero in every model
that is evaluated or exported.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from fedcompress.aggregation import masked_mean, replaced, union, weighted_mean
from fedcompress.client import VERDICT
from fedcompress.compression import masks as masking
from fedcompress.compression.nested import NESTED, packed, sparser
from fedcompress.distillation import tiers
from fedcompress.distillation.tiers import TierParams
from fedcompress.strategy import (
    Arrays,
    ClientInfo,
    Federation,
    Group,
    Payload,
    Reply,
    Requests,
    ServerStrategy,
    State,
)


class FedAvgParams(TierParams):
    """Parameters of FedAvg."""

    plain: bool = Field(False, description="average zeros as if they were values, for comparison")


class FedAvg(ServerStrategy):
    """Mask-aware federated averaging.

    State: `weights[architecture]`; `masks[partition]`, the last mask of each client as bits, empty for all ones;
    `server_masks[group]`, the masks that the server chose; `memories[group]`, what its compression has it remember.
    """

    Params: ClassVar[type[TierParams]] = FedAvgParams
    params: TierParams
    requires = frozenset({"train"})
    hands_out_masks = True
    _unions: tuple[Any, dict[str, Arrays | None]] = (None, {})
    """Masks of the clients, and architecture -> which weights at least one of them keeps."""

    def warnings(self) -> list[str]:
        taught = self.params.tiers != "none" and self.params.tier_teacher is not None
        if len(self.models) == 1 or self.needs_public or taught:
            return []
        return [
            f"groups.model: {', '.join(self.models)} are averaged each by itself: clients of one learn nothing from "
            "another's. What teaches across them is a strategy such as feddf, fedpkdg or fedproto, and what sparse "
            "devices run also server.params.tiers with a tier_teacher."
        ]

    def initial(self, fed: Federation) -> State:
        weights = {name: model.initial(self.rng(f"initial.{name}")) for name, model in self.models.items()}
        return {"weights": weights, "masks": {}, "server_masks": {}, "memories": {}}

    def round(self, fed: Federation, state: State) -> State:
        server_masks = {name: self._choose(group, fed.round, state) for name, group in self.groups.items()}
        requests = self._requests(fed, state, server_masks)
        replies = fed.stream("train", requests, expects={"weights"})
        chosen = {name: masks for name, masks in server_masks.items() if masks}
        state = self.aggregated(fed, {**state, "server_masks": chosen}, replies)
        return {**state, "memories": self._memories(fed, state, server_masks, replies)}

    def aggregated(self, fed: Federation, state: State, replies: Sequence[Reply]) -> State:
        """Returns the state after one round's replies."""
        weights, masks = dict(state["weights"]), dict(state["masks"])
        for reply in replies:
            mask = reply.payload.get("mask")
            masks[str(reply.client.partition)] = masking.pack(mask) if mask else np.zeros(0, np.uint8)
        for name, model in self.models.items():
            of_model, old = [reply for reply in replies if reply.client.model == name], weights[name]
            if of_model:
                weights[name] = replaced(self.aggregate(name, of_model, old), old, model.kinds, "constant")
        return {**state, "weights": weights, "masks": masks}

    def aggregate(self, model: str, replies: Sequence[Reply], old: Arrays) -> Arrays:
        """Returns the new weights of one architecture; takes in one reply after the other."""
        updates = (reply.payload["weights"] for reply in replies)
        if isinstance(self.params, FedAvgParams) and self.params.plain:
            return weighted_mean(updates, self._voices(replies))
        return self._mean(updates, replies, old)

    def _mean(self, updates: Iterable[Arrays], replies: Sequence[Reply], old: Arrays) -> Arrays:
        """The mean of an update for each reply, weight by weight over the clients that have it; else the old one."""
        masked = {i for reply in replies for i in self._held(reply) or ()}
        return masked_mean(updates, map(self._held, replies), self._voices(replies), old, masked)

    def _voices(self, replies: Sequence[Reply]) -> list[float]:
        """How much each reply counts in a mean: as many as the client has examples."""
        return [reply.client.examples for reply in replies]

    def global_model(self, state: State, group: Group) -> Arrays | None:
        """Returns the architecture's weights, zero where no client of it keeps them."""
        covered = self.covered(state, group.model.name)
        weights: Arrays = state["weights"][group.model.name]
        return weights if covered is None else masking.apply(weights, covered, group.model.prunable)

    def covered(self, state: State, model: str) -> Arrays | None:
        """Returns which weights of an architecture at least one client keeps; None for all of them."""
        masks, unions = self._unions
        if masks is not state["masks"]:  # each round makes a new dict; asking for ten thousand clients costs one union
            unions = {}
            self._unions = state["masks"], unions
        if model not in unions:
            groups = [group for group in self.groups.values() if group.model.name == model]
            unions[model] = union(
                [self._mask(state, p, g) for g in groups for p in g.clients if str(p) in state["masks"]]
            )
        return unions[model]

    def deployed(self, state: State, client: ClientInfo) -> Arrays | None:
        """Returns the global weights that the client's own mask keeps; None while a pruned client has none yet."""
        group = self.groups[client.group]
        if group.compression.sparsity > 0 and str(client.partition) not in state["masks"]:
            return None
        weights = self.global_model(state, group)
        mask = self._mask(state, client.partition, group)
        return weights if mask is None or weights is None else masking.apply(weights, mask, group.model.prunable)

    def masks_of(self, state: State, group: Group) -> Arrays | None:
        masks: Arrays | None = state["server_masks"].get(group.name)
        return masks

    def _requests(self, fed: Federation, state: State, server_masks: dict[str, Arrays]) -> Requests:
        """The global weights; where a mask is the server's or frozen it goes along, and only what it keeps."""
        shared = {name: self._request(self.groups[name], state, mask) for name, mask in server_masks.items()}
        nested = {name: self._nested(self.groups[name], fed.round, server_masks) for name in shared}

        def request(client: ClientInfo) -> Payload:
            group = self.groups[client.group]
            mask = None if server_masks[client.group] else self._resumed(group, fed.round, state, client)
            return {**(self._request(group, state, mask) if mask else shared[client.group]), **nested[client.group]}

        return Requests(fed.cohort(self.cohort), request)

    def _request(self, group: Group, state: State, mask: Arrays) -> Payload:
        tier = tiers.of_group(state, group) if self.params.tier_start == "tier" else None
        weights: Arrays = tier or state["weights"][group.model.name]
        if not mask:
            return {"weights": weights}
        return {"weights": masking.restrict(weights, group.compression.held(group.model, mask)), "mask": mask}

    def _nested(self, group: Group, round_number: int, server_masks: Mapping[str, Arrays]) -> Payload:
        """The masks of the sparser groups of an architecture, for clients that train their sub-networks, too."""
        if NESTED not in group.client.contents(group.model):
            return {}
        own = server_masks[group.name]
        density = masking.density(own) if own else 1.0 - group.compression.target(round_number)
        others = (mask for name, mask in server_masks.items() if self.groups[name].model.name == group.model.name)
        masks = sparser(others, density)
        return {NESTED: packed(masks)} if masks else {}

    def _choose(self, group: Group, round_number: int, state: State) -> Arrays:
        """The server's mask of a group, nested across groups since all are cut from the same weights; or nothing."""
        if group.compression.chooser != "server":
            return []
        frozen = group.compression.judge is None and group.compression.frozen(round_number)
        if frozen and group.name in state["server_masks"]:
            return list(state["server_masks"][group.name])
        weights, memory = state["weights"][group.model.name], state["memories"].get(group.name)
        return self.chosen_masks(group, weights, group.model, round_number, memory)

    def _memories(
        self, fed: Federation, state: State, server_masks: dict[str, Arrays], replies: Sequence[Reply]
    ) -> dict[str, Any]:
        """What is remembered of the groups whose compression wants a verdict on each round."""
        memories = dict(state["memories"])
        for name, group in self.groups.items():
            of_group = [reply for reply in replies if reply.client.group == name]
            if not of_group or group.compression.judge is None:
                continue
            accuracy = self._verdict(group, fed.round, state, server_masks[name], of_group)
            if accuracy is not None:
                memories[name] = group.compression.judged(memories.get(name), fed.round, server_masks[name], accuracy)
                fed.note(f"verdict {name}", accuracy)
        return memories

    def _verdict(
        self, group: Group, round_number: int, state: State, mask: Arrays, replies: Sequence[Reply]
    ) -> float | None:
        """The accuracy of a group's model on validation examples: the server's, or its clients', each on its own."""
        if group.compression.judge == "client":
            verdicts = [(r.metrics.get(VERDICT, np.nan), r.client.examples) for r in replies]
            finite = [(accuracy, examples) for accuracy, examples in verdicts if np.isfinite(accuracy)]
            return float(np.average([a for a, _ in finite], weights=[n for _, n in finite])) if finite else None
        weights: Arrays = state["weights"][group.model.name]
        weights = masking.apply(weights, mask, group.model.prunable) if mask else weights
        return self.trainer(group.model, round_number).evaluate(weights, self.validation).accuracy

    def _resumed(self, group: Group, round_number: int, state: State, client: ClientInfo) -> Arrays | None:
        """The mask that the client returned last, if it goes on from that."""
        mask = self._mask(state, client.partition, group)
        return mask if mask and group.compression.resumes(mask, group.model, round_number) else None

    def _held(self, reply: Reply) -> Mapping[int, Any] | None:
        """Which weights a client has, by position; None for all."""
        mask, group = reply.payload.get("mask"), self.groups[reply.client.group]
        return group.compression.held(group.model, mask) if mask else None

    def _mask(self, state: State, partition: int, group: Group) -> Arrays | None:
        bits: Any = state["masks"].get(str(partition))
        shapes = [group.model.template[i].shape for i in group.model.prunable]
        return masking.unpack(bits, shapes) if bits is not None and bits.size else None
