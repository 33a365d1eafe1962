"""fedcompress: averages clustered models, and has each average learn, on public data, to do with clustered weights.

Tsouvalas et al. 2024, "Communication-efficient federated learning through adaptive weight clustering and server-side
distillation" (ICASSP), with the settings of the authors' code (FederatedML/FedCompress). After FedAvg the server
clusters the average, which has many values again: a student that computes with centroids learns the average's own
logits on out-of-distribution data, by Adam whatever clients train by. So both directions carry clustered weights. What
clients do is in `clients/fedcompress.py`.

How many clusters a layer has begins with 8 and rises by one, up to 30, where the clients' representation score stops
rising: after 4 rounds with C clusters, once its mean over the last 3 rounds has gained at most 0.1 / max(1, 2 (C - 8))
in a round. (The code also wants their validation accuracy to have stopped, by a tenth of that; the score needs no
labels.) The student's moving averages of batch normalisation are those of the public data, if not told otherwise.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import Field

from clients.fedcompress import CLUSTERS, SCORE, clustering
from clients.fedcompress import FedCompress as Client
from fedcompress.aggregation import replaced
from fedcompress.compression.kinds.cluster import MOST
from fedcompress.distillation import round as public_round
from fedcompress.distillation.round import PublicRound
from fedcompress.distillation.student import StudentParams, distil
from fedcompress.strategy import Arrays, Federation, Group, Payload, Reply, State
from strategies.fedavg import FedAvg, FedAvgParams
from strategies.heterofl import trained_by

if TYPE_CHECKING:
    from fedcompress.plugins import Use


class FedCompressParams(FedAvgParams, StudentParams):
    """Parameters of FedCompress's server; the defaults are those of the authors' code."""

    fewest: int = Field(8, ge=2, lt=MOST, description="clusters of a layer in the first rounds")
    most: int = Field(30, ge=2, lt=MOST, description="clusters of a layer at most")
    step: int = Field(1, ge=1, description="clusters more, where the score no longer rises")
    window: int = Field(3, ge=1, description="rounds whose scores are averaged")
    wait: int = Field(4, ge=1, description="rounds with a number of clusters, before there can be more")
    gain: float = Field(0.1, ge=0.0, description="of the mean score in a round, up to which it no longer rises")
    temperature: float = Field(2.0, gt=0.0, description="T of the distillation")
    epochs: int = Field(10, ge=1, description="passes over the public examples in a round")
    blocks: int = Field(1, ge=1, description="most blocks of so many epochs")
    batch_size: int = Field(256, ge=1, description="public examples in a step")
    learning_rate: float = Field(0.0001, gt=0.0, description="of the server, Adam")
    keep: Literal["best", "trained", "last"] = Field("last", description="of the blocks; see `feddf`")
    statistics: Literal["student", "average"] = Field(
        "student", description="whose moving averages of batch normalisation: of public data, or of the clients'"
    )


class FedCompress(FedAvg):
    """FedAvg whose averages are clustered anew.

    State: that of FedAvg; `public`, of the public data; `clusters`, of a layer, now; `rounds_at`, for how many rounds
    by now; `scores`, of each round, the clients' mean.
    """

    Params = FedCompressParams
    params: FedCompressParams
    needs_public = True

    @classmethod
    def problems_in(cls, use: Use) -> Iterable[str]:
        yield from super().problems_in(use)
        yield from trained_by(use, Client)

    def problems(self) -> list[str]:
        fewest, most = self.params.fewest, self.params.most
        if fewest <= most:
            return super().problems()
        return [*super().problems(), f"server.params.most: received {most}, expected at least `fewest`, {fewest}."]

    def initial(self, fed: Federation) -> State:
        state, fewest = super().initial(fed), self.params.fewest
        weights = {name: clustering(fewest).rounded(w, self.models[name]) for name, w in state["weights"].items()}
        public = public_round.initial(self)
        return {**state, "weights": weights, "public": public, "clusters": fewest, "rounds_at": 0, "scores": []}

    def aggregated(self, fed: Federation, state: State, replies: Sequence[Reply]) -> State:
        """Returns the state after one round's replies: the averages of FedAvg, clustered by distillation."""
        state = super().aggregated(fed, state, replies)
        adapted = self._adapted(state, replies)
        clusters = adapted["clusters"]
        fed.note("clusters", clusters)
        fed.note(SCORE, adapted["scores"][-1])
        public = PublicRound(self, fed, [reply.client for reply in replies], state)
        trained = {reply.client.model for reply in replies}
        weights = {
            name: self._clustered(fed, public, name, w, clusters) if name in trained else w
            for name, w in state["weights"].items()
        }
        return {**state, **adapted, "weights": weights, "public": public.state}

    def _adapted(self, state: State, replies: Sequence[Reply]) -> State:
        """Returns what of the state says how many clusters there are, after one round's scores."""
        scored = [(reply.metrics[SCORE], reply.client.examples) for reply in replies if SCORE in reply.metrics]
        before = state["scores"][-1] if state["scores"] else 0.0
        score = float(np.average([s for s, _ in scored], weights=[n for _, n in scored])) if scored else before
        scores, rounds_at, clusters = [*state["scores"], score], state["rounds_at"] + 1, state["clusters"]
        if rounds_at >= self.params.wait and no_longer_rises(self.params, clusters, scores):
            clusters, rounds_at = min(clusters + self.params.step, self.params.most), 0
        return {"clusters": clusters, "rounds_at": rounds_at, "scores": scores}

    def _clustered(self, fed: Federation, public: PublicRound, name: str, average: Arrays, clusters: int) -> Arrays:
        """Returns a student with clustered weights of an average; the average, rounded, without public examples."""
        trainer = self.trainer(self.models[name], fed.round).under(clustering(clusters)).by("adam")
        if public.examples is None:
            return trainer.compression.rounded(average, trainer.spec)
        logits = trainer.predict(average, public.examples.x)
        student = distil(trainer, average, public.examples, logits, self.params, self.validation, None, fed)
        if self.params.statistics == "student":
            return student
        return replaced(student, average, trainer.spec.kinds, "statistic")

    def _request(self, group: Group, state: State, mask: Arrays) -> Payload:
        return {**super()._request(group, state, mask), CLUSTERS: [np.array([state["clusters"]], np.uint8)]}


def no_longer_rises(params: FedCompressParams, clusters: int, scores: Sequence[float]) -> bool:
    """Says whether the mean of the last scores has gained too little over that of a round before.

    Args:
        params: Of the server.
        clusters: Of a layer, with which the last score came about.
        scores: Of each round so far.
    """
    if len(scores) < 2:
        return False
    now, before = (np.mean(part[-params.window :]) for part in (scores, scores[:-1]))
    return bool(now - before <= params.gain / max(1, 2 * (clusters - params.fewest)))
