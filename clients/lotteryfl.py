"""lotteryfl: each client looks for a ticket of its own, and only the weights of its ticket travel.

Li et al. 2020, "LotteryFL: Personalized and communication-efficient federated learning with lottery ticket hypothesis
on non-IID datasets", Algorithm 1: where the client's sub-network of the global model does well on its validation
examples, and is not sparse enough yet, its smallest weights go and the others begin anew from their initial values. The
server averages each weight over the clients whose tickets hold it, which is what `fedavg` does with masks.

The initial values are the global model's before the first round, whenever a client first takes part; it makes them from
the seed, as the server does. Not as in the authors' code: there a weight is divided by the number of tickets that hold
it, so that clients count alike, and here they count by their examples; there every tensor loses the same part, the last
layer as well, and here that loses half as much (`output_rate`, 0.1, of Frankle & Carbin).
"""

from __future__ import annotations

from pydantic import Field

from fedcompress.client import ClientStrategy, Result, action
from fedcompress.compression import masks as masking
from fedcompress.compression.base import Params
from fedcompress.compression.kinds import lottery
from fedcompress.data.federated import Examples
from fedcompress.wire.content import Arrays, Payload


class LotteryFLParams(Params):
    """Parameters of LotteryFL; how much goes at a level are those of the compression."""

    accuracy: float = Field(0.5, ge=0.0, le=1.0, description="validation accuracy above which a level is taken")


class LotteryFL(ClientStrategy):
    """Trains its sub-network of the global model; the group's sparsity is where its levels end."""

    Params = LotteryFLParams
    params: LotteryFLParams
    finds_masks = True
    needs_validation = True

    @action
    def train(self, payload: Payload, round_number: int) -> Result:
        """Takes a level if there is reason to, then trains what is left and returns that alone."""
        start = payload["weights"]
        masks = payload.get("mask") or lottery.whole(self.model)
        accuracy = self._accuracy(masking.apply(start, masks, self.model.prunable), self.validation)
        if accuracy > self.params.accuracy:
            rates = {**self.compression.params.model_dump(), "sparsity": self.compression.sparsity}
            sparser = lottery.next_level(self.model, start, masks, **rates)
            if masking.density(sparser) < masking.density(masks):
                masks, start = sparser, self.first_weights()
        trained = self.trainer.fit(masking.apply(start, masks, self.model.prunable), self.data, masks=masks)
        return Result(
            {"weights": trained.weights, "mask": trained.masks},
            {"train_loss": trained.loss, "global_validation_accuracy": accuracy},
        )

    def _accuracy(self, weights: Arrays, examples: Examples) -> float:
        """Nobody can tell how well a client without validation examples does."""
        return self.trainer.evaluate(weights, examples).accuracy if len(examples) else -1.0
