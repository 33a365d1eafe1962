"""What a chain looks like while it runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fedcompress.progress import ProgressLine
from fedcompress.recipes.generate.recipe import STEPS, StepName
from fedcompress.recipes.generate.workshop import Observer
from fedcompress.units import number, size


class ChainDisplay(ProgressLine, Observer):
    """An observer: a line per finished step, and a live one over the epochs of the step that is being done.

    Args:
        last: Step after which the chain ends.
    """

    def __init__(self, last: StepName) -> None:
        super().__init__("generate", "epochs")
        self._steps = STEPS.index(last) + 1

    def started(self, step: str, epochs: int, done: int) -> None:
        """Shows the step that begins."""
        self.note(f"step {STEPS.index(step) + 1} of {self._steps}: {step}")
        self._label = step
        self.begin(max(epochs, 1), done, ["training"] if epochs else ["working"])

    def epoch_done(self, step: str, row: Mapping[str, Any]) -> None:
        """Shows an epoch."""
        losses = (f"loss {row['generator_loss']:.3f}", f"discriminator {row['discriminator_loss']:.3f}")
        self.update(row["epoch"], losses)
        self.note(f"{step}, epoch {row['epoch']}: {', '.join(losses)}")

    def measuring(self, step: str) -> None:
        """Shows that the generator of a step is measured."""
        self.show(["measuring"])

    def finished(self, step: str, figures: Mapping[str, Any]) -> None:
        """Shows what came out of a step."""
        self.update(self._total)
        if "accuracy_score" in figures:
            parts = [f"score {number(figures['accuracy_score'])}", f"{figures['parameters']:,} weights"]
            parts += [f"packed {size(figures['packed_bytes'])}"] if figures.get("packed_bytes") else []
        else:
            parts = [f"{figures['pairs']:,} pairs"]
        self.say(f"{step}: {', '.join(parts)}, {self.elapsed:.0f} s so far")
