"""template-name: one line that `fedcompress list clients` shows. If it is a paper's method, cite the paper here.

A client strategy says what a client does in a round. This one trains as `sgd` does, under its group's compression, and
sends only a part of what it learned. What else there is to use: "Write a client strategy" in the documentation.
"""

from __future__ import annotations

from pydantic import Field

from clients.sgd import SGD
from fedcompress.client import Params, Payload, Result, action


class TemplateNameParams(Params):
    """What `[groups.params]` may set; the defaults should be those of the paper. Delete it if there is nothing."""

    part: float = Field(0.5, gt=0.0, le=1.0, description="part of what it learned that it sends")


class TemplateName(SGD):
    """Sends only a part of what it learned."""

    Params = TemplateNameParams
    params: TemplateNameParams

    @action  # a method that the server strategy may call
    def train(self, payload: Payload, round_number: int) -> Result:
        """Trains from the global weights, and goes back a part of the way.

        At hand are self.data and self.validation (the client's examples, with x and y), self.model, self.trainer (fit,
        predict, features, evaluate), self.state (a dictionary of lists of arrays that lasts from round to round) and
        self.rng("a purpose") for random numbers. Weights are arrays in Keras' order, the classifier's two last. A
        client that keeps a model of its own returns it as Result(..., model=weights), and says keeps_model = True.
        """
        learned = super().train(payload, round_number)
        pairs = zip(payload["weights"], learned.payload["weights"], strict=True)
        part = self.params.part
        weights = [old + part * (new - old) for old, new in pairs]
        return Result({**learned.payload, "weights": weights}, learned.metrics)  # metrics go into clients.jsonl
