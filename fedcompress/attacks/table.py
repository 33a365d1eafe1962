"""What came of an attack, for a terminal and for a file."""

from __future__ import annotations

from typing import Any

from fedcompress.attacks.auc import Auc
from fedcompress.attacks.membership import Attack
from fedcompress.fitted_table import FittedTable
from fedcompress.units import number


def attack_table(name: str, found: Attack) -> FittedTable:
    """Returns a row for each score.

    Args:
        name: Of what was attacked.
        found: What came of it.
    """
    title = f"{name}: {found.examples:,} training and {found.examples:,} test examples, {found.samples:,} samples"
    rows = [
        (score, number(one.value, 3), f"{number(one.low, 3)} to {number(one.high, 3)}", _meaning(one))
        for score, one in found.aucs.items()
    ]
    caption = (
        "AUC: how often a training example looks more like one than a test example does;\n"
        "0.5 is chance. Interval: DeLong et al. 1988, over examples."
    )
    return FittedTable(title, ("attack by", "AUC", "95 % interval", "members"), rows, caption, words=("members",))


def attack_record(name: str, found: Attack) -> dict[str, Any]:
    """Returns what `attack.json` holds."""
    return {
        "target": name,
        "members": found.examples,
        "held_out": found.examples,
        "samples": found.samples,
        "interval": "DeLong, 95 %",
        "attacks": [
            {"by": score, "auc": one.value, "low": one.low, "high": one.high} for score, one in found.aucs.items()
        ],
    }


def _meaning(one: Auc) -> str:
    """Returns what an interval says of members."""
    if one.low > 0.5:
        return "recognised"
    return "not told apart" if one.high >= 0.5 else "look less like it"
