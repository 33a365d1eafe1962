"""lottery: iterative magnitude pruning with rewinding, and the same masks on other initial weights.

Frankle & Carbin 2019, "The lottery ticket hypothesis". A ticket is a mask together with the initial weights that it was
found from; the control keeps the mask and draws the weights anew. Both get the same training at every level.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count

from pydantic import Field

from fedcompress.compression import masks as masking
from fedcompress.compression.kinds import lottery
from fedcompress.recipes.bench import Bench
from fedcompress.recipes.method import Method, Outcome, Params
from fedcompress.wire.content import Arrays


class FindTicketsParams(Params):
    """Parameters of iterative pruning."""

    remaining: float = Field(0.05, gt=0.0, lt=1.0, description="fraction of the weights at which the levels end")
    rate: float = Field(0.2, gt=0.0, lt=1.0, description="fraction of a layer's surviving weights that goes at a level")
    output_rate: float = Field(0.1, gt=0.0, lt=1.0, description="the same for the last layer")
    control: bool = Field(True, description="train each mask from other initial weights as well")


class FindTickets(Method):
    """Trains, prunes, rewinds, level after level."""

    Params = FindTicketsParams
    params: FindTicketsParams

    def run(self, bench: Bench) -> Iterator[Outcome]:
        params, spec = self.params, bench.spec
        start = bench.initial()
        masks = lottery.whole(spec)
        for level in count():
            density = f"{masking.density(masks):.3f}"
            ticket = self._trained(bench, start, masks, level)
            yield Outcome(ticket, step=f"{density} ticket", figures={"series": "ticket"})
            if params.control:
                other = self._trained(bench, bench.initial(purpose=f"reinitialised {level}"), masks, level)
                yield Outcome(other, step=f"{density} reinitialised", figures={"series": "reinitialised"})
            sparser = lottery.next_level(
                spec, ticket, masks, rate=params.rate, output_rate=params.output_rate, sparsity=1 - params.remaining
            )
            if masking.density(sparser) == masking.density(masks):
                break
            masks = sparser

    def _trained(self, bench: Bench, start: Arrays, masks: Arrays, level: int) -> Arrays:
        weights = masking.apply(start, masks, bench.spec.prunable)
        return bench.train(weights, masks=masks, phase=f"lottery {level}").weights
