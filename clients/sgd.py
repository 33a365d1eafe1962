"""sgd: plain local training (the client of FedAvg, McMahan et al. 2017)."""

from __future__ import annotations

from fedcompress.client import VERDICT, ClientStrategy, Result, action
from fedcompress.training.loop import Trained
from fedcompress.training.objectives import CrossEntropy, Objective
from fedcompress.wire.content import Arrays, Payload


class SGD(ClientStrategy):
    """Trains on its own data, from what it receives, under its group's compression."""

    @action
    def train(self, payload: Payload, round_number: int) -> Result:
        """Trains from the global weights; a mask in the request is kept, otherwise the compression chooses one."""
        return self._fitted(payload, self.objective(payload["weights"]))

    def _fitted(self, payload: Payload, objective: Objective) -> Result:
        """Trains from what came, and returns what is sent of it."""
        return self._sent(self.trainer.fit(payload["weights"], self.data, objective, masks=payload.get("mask")))

    def _sent(self, trained: Trained) -> Result:
        """Of the masks that training kept or chose the server learns with the weights."""
        sent = {"weights": trained.weights} | ({"mask": trained.masks} if trained.masks else {})
        return Result(sent, {"train_loss": trained.loss, **self._verdict(trained.weights)})

    @action
    def train_alone(self, payload: Payload, round_number: int) -> Result:
        """Trains the client's own model, which never leaves it."""
        start = self.state.get("weights") or self.model.initial(self.rng("initial"))
        frozen = self.state.get("mask") if self.compression.frozen(round_number) else None
        trained = self.trainer.fit(start, self.data, self.objective(start), masks=frozen)
        self._keep(trained)
        return Result({}, {"train_loss": trained.loss}, model=trained.weights)

    def objective(self, start: Arrays) -> Objective:
        """Returns what local training minimises, given the weights that it starts from."""
        return CrossEntropy()

    def _verdict(self, weights: Arrays) -> dict[str, float]:
        """How good a model is by the client's own validation examples, if its compression asks for it."""
        if self.compression.judge != "client" or not len(self.validation):
            return {}
        return {VERDICT: self.trainer.evaluate(weights, self.validation).accuracy}

    def _keep(self, trained: Trained) -> None:
        self.state["weights"] = trained.weights
        if trained.masks:
            self.state["mask"] = trained.masks
