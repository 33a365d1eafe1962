"""What a client of a small network costs beside its training and its share of the test, by stage: processor time.

    python -m benchmarks.overhead [--rounds N]

The work is that of `benchmarks.engines`: medium-cnn, 10 of 100 clients a round. Milliseconds of the processor for a
client, its share of the round's test included; the first two rounds, in which graphs are traced, do not count.
"""

from __future__ import annotations

from typing import Annotated

import typer

from benchmarks.engines import SCENARIO
from benchmarks.federations import finished
from benchmarks.report import console, print_machine
from benchmarks.stages import Meter, metered
from fedcompress.experiment import Experiment
from fedcompress.results.run.recorder import Observer
from fedcompress.rows import RoundRow
from fedcompress.scenario import Scenario

COHORT, SKIPPED = 10, 2

app = typer.Typer(pretty_exceptions_enable=False)


class _Rounds(Observer):
    """Counts from the end of the rounds that are skipped to that of the last."""

    def __init__(self, meter: Meter, last: int) -> None:
        self._meter, self._last = meter, last
        self.seconds: dict[str, float] = {}

    def round_done(self, row: RoundRow) -> None:
        if row["round"] == SKIPPED:
            self._meter.reset()
        if row["round"] == self._last:
            self.seconds = self._meter.seconds


def ours(rounds: int) -> dict[str, float]:
    """Returns stage -> milliseconds for a client."""
    with metered("fedavg") as meter:
        counted = _Rounds(meter, rounds + SKIPPED)
        finished(Experiment.load(Scenario.load(SCENARIO, {"rounds": rounds + SKIPPED})), counted)
    return {name: 1000 * value / rounds / COHORT for name, value in counted.seconds.items()}


@app.command()
def main(rounds: Annotated[int, typer.Option(min=1, help="That count.")] = 20) -> None:
    """Print milliseconds of the processor for a client, by stage."""
    print_machine()
    found = ours(rounds)
    beside = sum(value for name, value in found.items() if name not in ("train", "score"))
    console.print(", ".join(f"{name} {value:.2f}" for name, value in found.items()))
    console.print(
        f"beside training and test {beside:.2f} ms, {beside / (found['train'] + found['score']):.1%} of these"
    )


if __name__ == "__main__":
    app()
