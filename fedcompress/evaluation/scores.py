"""The accuracies of one round, group by group and for the whole federation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import nan
from typing import Any

import numpy as np


@dataclass(frozen=True)
class GroupScores:
    """Accuracies of one group; NaN where nothing was measured.

    Attributes:
        accuracy: Of the global model on the test set; of the clients' own models where there is no global one.
        validation: Likewise, on the server's validation examples.
        deployed: Of what the group's devices run, on the test set.
        deployed_validation: Likewise, on the server's validation examples.
        personal: Of what they run after one more local epoch, each on its own distribution: the mean over clients.
        personal_worst10: The mean over the worst tenth of the clients.
        own: Of the models that its clients keep, each on its own distribution; likewise `own_worst10`.
    """

    accuracy: float = nan
    validation: float = nan
    deployed: float = nan
    deployed_validation: float = nan
    personal: float = nan
    personal_worst10: float = nan
    own: float = nan
    own_worst10: float = nan


@dataclass(frozen=True)
class Scores:
    """Scores of one round: means over groups, weighted by their clients; NaN if one of the groups has none.

    Attributes:
        accuracy: Of the global models on the test set.
        loss: Mean cross-entropy on the test set.
        validation: Accuracy on the server's validation examples, for choosing; the test set chooses nothing.
        groups: Group -> its accuracies.
        deployed, deployed_validation: Of what devices run.
        worst: Deployed accuracy of the group that fares worst.
        personal: Client by client, after one more local epoch on its own data; empty where it was not measured.
        personal_validation: The same on the client's own validation examples, the mean over clients.
        own: Client by client, of the model that it keeps, on its own distribution; empty where it was not measured.
        own_validation: The same on the client's own validation examples, the mean over clients.
    """

    accuracy: float = nan
    loss: float = nan
    validation: float = nan
    groups: Mapping[str, GroupScores] = field(default_factory=dict)
    deployed: float = nan
    deployed_validation: float = nan
    worst: float = nan
    personal: Sequence[float] = ()
    personal_validation: float = nan
    own: Sequence[float] = ()
    own_validation: float = nan


def mean_over_groups(values: Sequence[Any], clients: Sequence[int]) -> Any:
    """Returns the mean of figures, or of rows of figures, of groups of so many clients each."""
    return np.average(values, axis=0, weights=clients)
