"""Learning rates of the steps of one training."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Cosine:
    """A rate that falls along half a cosine, rate (1 + cos(pi t)) / 2 (Loshchilov & Hutter 2017, "SGDR", eq. 5).

    Attributes:
        learning_rate: Of the first step of the whole.
        begin: Which share of the whole is over before this training begins, in [0, 1].
        end: Which share is over once it ends, in [begin, 1]: trainings one after the other share one cosine.
    """

    learning_rate: float
    begin: float = 0.0
    end: float = 1.0


def of_steps(rate: float | Cosine, steps: int) -> NDArray[np.float32]:
    """Returns the learning rate of each step of a training, (steps,)."""
    if not isinstance(rate, Cosine):
        return np.full(steps, rate, np.float32)
    past = rate.begin + (rate.end - rate.begin) * np.arange(steps) / steps
    return (rate.learning_rate * 0.5 * (1.0 + np.cos(np.pi * past))).astype(np.float32)
