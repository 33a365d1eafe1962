"""cluster: few distinct weights, shared within each tensor (Han et al. 2016, "Deep compression", section 3).

With `hold`, the number of clusters adapts: it is halved as long as the validation accuracy holds that part of the dense
model's, then the smallest number that does is looked for between the last two.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from math import ceil, log2

import numpy as np
from pydantic import Field

from fedcompress.compression.kinds.cluster import MOST, Cluster, ClusterParams
from fedcompress.recipes.bench import Bench
from fedcompress.recipes.method import Method, Outcome
from fedcompress.recipes.rounding import RoundingParams, ramp, zeros
from fedcompress.units import counted


class ClusteringParams(RoundingParams):
    """Parameters of weight clustering."""

    clusters: int = Field(16, ge=2, le=MOST, description="distinct values of a tensor; with hold: the first number")
    tolerance: float = Field(
        0.0, ge=0.0, lt=1.0, description="part of a tensor's variance that fewer clusters may lose; 0: no fewer"
    )
    sparsity: float = Field(0.0, ge=0.0, lt=1.0, description="fraction of zeros that pruning ends with; 0: no pruning")
    hold: float | None = Field(
        None,
        gt=0.0,
        le=1.0,
        description="part of the dense validation accuracy that fewer clusters have to hold",
    )


class Clustering(Method):
    """Trains, then goes on training with clustered weights."""

    Params = ClusteringParams
    params: ClusteringParams

    def problems(self, bench: Bench) -> Iterable[str]:
        if self.params.hold is not None and not len(bench.data.validation):
            yield "params.hold: is measured on validation examples, but data.validation is 0; use 0.1, say."

    def run(self, bench: Bench) -> Iterator[Outcome]:
        if self.params.hold is None:
            yield self._clustered(bench, self.params.clusters)[0]
            return
        wanted = self.params.hold * bench.validate(bench.dense())
        enough, few, clusters = 0, 1, self.params.clusters
        while few < clusters and clusters != enough:
            outcome, validation = self._clustered(bench, clusters, wanted)
            yield outcome
            if validation >= wanted:
                enough = clusters
            else:
                few = clusters
                if not enough:
                    return
            clusters = (few + enough + 1) // 2 if few > 1 else max(enough // 2, 2)

    def _clustered(self, bench: Bench, clusters: int, wanted: float | None = None) -> tuple[Outcome, float]:
        params = self.params
        epochs = params.epochs or bench.training.epochs
        chosen = ClusterParams(clusters=clusters, tolerance=params.tolerance, **ramp(params.ramp, epochs))
        compression = Cluster(chosen, sparsity=params.sparsity, rounds=epochs)
        phase = counted(clusters, "cluster")
        fitted = bench.train(bench.dense(), compression, phase=phase, epochs=epochs, learning_rate=params.learning_rate)
        values = [np.unique(fitted.weights[i]) for i in bench.spec.prunable]
        distinct = max(int(np.count_nonzero(of_kernel)) for of_kernel in values)
        figures: dict[str, float | str] = {"clusters": distinct, **zeros(bench.spec, fitted)}
        if wanted is not None:
            figures["holds"] = "yes" if fitted.validation >= wanted else "no"
        bits = ceil(log2(max(map(len, values))))  # zero is one of them where there is any
        step = "" if params.hold is None else phase
        return Outcome(fitted.weights, step=step, bits=bits, figures=figures), fitted.validation
