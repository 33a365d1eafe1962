"""exploding: a client of many strategies whose training ends in finite numbers that no training ends in."""

from pathlib import Path

import numpy as np

from clients.simkd import SimKD, SimKDParams
from fedcompress.client import Result, action
from fedcompress.wire.content import Payload


class ExplodingParams(SimKDParams):
    """When it explodes, and to what."""

    value: float = 1e30
    only: int = 0  # round; 0 for all
    needs: str = ""  # explodes while this file is there


class Exploding(SimKD):
    """Trains, and then has `value` in every place of what it sends; if it sends nothing, of its own model."""

    Params = ExplodingParams
    params: ExplodingParams

    @action
    def train(self, payload: Payload, round_number: int) -> Result:
        return self._exploded(super().train(payload, round_number), round_number)

    @action
    def train_alone(self, payload: Payload, round_number: int) -> Result:
        return self._exploded(super().train_alone(payload, round_number), round_number)

    @action
    def train_generator(self, payload: Payload, round_number: int) -> Result:
        return self._exploded(super().train_generator(payload, round_number), round_number)

    @action
    def encode(self, payload: Payload, round_number: int) -> Result:
        return self._exploded(super().encode(payload, round_number), round_number)

    def _exploded(self, result: Result, round_number: int) -> Result:
        if self.params.only not in (0, round_number) or not Path(self.params.needs or ".").exists():
            return result
        huge = {
            name: [np.full_like(a, self.params.value) if a.dtype == np.float32 else a for a in arrays]
            for name, arrays in result.payload.items()
        }
        model = result.model
        if model is not None and not huge:
            model = [np.full_like(a, self.params.value) for a in model]
        return Result(huge, result.metrics, model, result.spec)
