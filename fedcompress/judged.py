"""The accuracy that a run is judged by, `[evaluation] judged`: in which columns it stands, and what it is called."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

JudgedName = Literal["deployed", "global", "own", "personal"]
DEFAULT: JudgedName = "deployed"


@dataclass(frozen=True)
class Judged:
    """One of the accuracies that a run can be judged by.

    Attributes:
        figure: Its column in `rounds.jsonl`, and its name in comparisons.
        validation: The column of the same on validation examples, which a run may be ended by.
        title: What a person reads.
        short: Header of a column.
        whose: Of which models, on which examples.
    """

    figure: str
    validation: str
    title: str
    short: str
    whose: str


JUDGED: Mapping[JudgedName, Judged] = {
    "deployed": Judged(
        "deployed_accuracy",
        "deployed_validation_accuracy",
        "deployed accuracy",
        "deployed",
        "Of what devices run, mean over groups weighted by clients, on the test set",
    ),
    "global": Judged(
        *("accuracy", "validation_accuracy", "global accuracy", "global"),
        "Of the global model, on the test set",
    ),
    "own": Judged(
        "own_accuracy",
        "own_validation_accuracy",
        "accuracy of the clients' own models",
        "own models",
        "Mean over clients of the models that they keep, or where no client of a run keeps one, of what their devices "
        "run, each on test examples of its own distribution",
    ),
    "personal": Judged(
        "personal_accuracy",
        "personal_validation_accuracy",
        "personal accuracy",
        "personal",
        "Mean over clients of what their devices run after one more local epoch, each on its own distribution",
    ),
}


def judged_name(scenario: Mapping[str, Any]) -> JudgedName:
    """Returns the name in a scenario's table, of whatever version."""
    name = scenario.get("evaluation", {}).get("judged", DEFAULT)
    return name if name in JUDGED else DEFAULT
