"""faulty: a client strategy from a plug-in folder whose clients misbehave on request."""

import os
import sys
import time

import numpy as np

from clients.sgd import SGD
from fedcompress.client import Result, action
from fedcompress.compression.base import Params
from fedcompress.wire.content import Payload


class FaultyParams(Params):
    """What goes wrong, on clients with an even number of examples or on all."""

    fault: str = "none"
    everywhere: bool = False
    seconds: float = 600.0


class Faulty(SGD):
    """SGD, but for the fault."""

    Params = FaultyParams
    params: FaultyParams

    @action
    def train(self, payload: Payload, round_number: int) -> Result:
        weights = [a.copy() for a in payload["weights"]]
        if self.params.everywhere or len(self.data) % 2 == 0:
            if self.params.fault == "raise":
                raise RuntimeError("sensor unplugged")
            if self.params.fault == "quit":
                sys.exit(0)
            if self.params.fault == "interrupt":
                raise KeyboardInterrupt
            if self.params.fault == "exit":
                os._exit(1)
            if self.params.fault == "hang":
                time.sleep(self.params.seconds)
            if self.params.fault == "nan":
                weights[0][...] = np.nan
            if self.params.fault == "huge":
                weights[0].flat[:10] = 1e9
            if self.params.fault == "shape":
                weights[0] = weights[0][:-1]
            if self.params.fault == "missing":
                return Result({}, {"train_loss": 0.0})
            if self.params.fault == "undeclared":
                return Result({"weights": weights, "secrets": weights})
            if self.params.fault == "mutate":
                for array in payload["weights"]:
                    array[...] = 1e6
        return Result({"weights": weights}, {"train_loss": 0.0})
