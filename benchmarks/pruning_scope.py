"""Which `scope` of magnitude pruning is best: by the server's validation examples, on seeds that nothing else reports.

    python -m benchmarks.pruning_scope [--mask client] [--out FILE]

A federation like scenarios/mixed-sparsity: 5,000 digits, ten clients, Dirichlet 0.5, medium-cnn, groups at 0, 0.5, 0.8
and 0.9. Each scope with seeds 101 to 105. `global` is the validation accuracy of the global model, the others are those
of what a group's clients would deploy: the global weights under each one's mask. What is in FILE is not done again.
"""

from __future__ import annotations

import json
from pathlib import Path
from statistics import mean
from typing import Annotated, Any

import typer
from rich.table import Table

from benchmarks.federations import finished
from benchmarks.report import console, print_machine
from fedcompress.experiment import Experiment
from fedcompress.groups import Group
from fedcompress.plugins import Plugins
from fedcompress.results.compare.statistics import Difference, Interval
from fedcompress.scenario import Scenario
from fedcompress.strategy import State
from fedcompress.training.trainer import evaluate

SCOPES = ("layer", "model", "erk")
SEEDS = range(101, 106)
SPARSITIES = {"dense": 0.0, "half": 0.5, "phone": 0.8, "watch": 0.9}
SHARES = {"dense": 0.4, "half": 0.2, "phone": 0.2, "watch": 0.2}
PRUNED = "pruned"
"""The mean over the groups that prune, which the choice is made by."""

Row = dict[str, Any]


def scenario(scope: str, seed: int, mask: str) -> Scenario:
    """Returns the federation with one scope in all groups."""
    params = {"scope": scope, "mask": mask, "begin_round": 3, "end_round": 8, "freeze_round": 10}
    pruning = {"compression": "magnitude", "compression_params": params}
    groups = [
        {"name": name, "share": SHARES[name], "model": "medium-cnn"}
        | ({**pruning, "sparsity": sparsity} if sparsity else {})
        for name, sparsity in SPARSITIES.items()
    ]
    return Scenario.parse(
        {
            "name": "pruning-scope",
            "rounds": 12,
            "seed": seed,
            "data": {"partition": "dirichlet", "alpha": 0.5, "server_validation": 0.2},
            "training": {"epochs": 2, "batch_size": 32, "learning_rate": 0.004, "learning_rate_decay": 0.9},
            "wire": {"values": "float16"},
            "groups": groups,
        }
    )


def measured(scope: str, seed: int, mask: str) -> Row:
    """Runs one federation and returns validation accuracies: of the global model, of each group's deployed models."""
    experiment = Experiment.load(scenario(scope, seed, mask), Plugins())
    run = finished(experiment)
    accuracies = {name: _deployed(experiment, run.state, group) for name, group in experiment.groups.items()}
    pruned = mean(accuracies[name] for name, sparsity in SPARSITIES.items() if sparsity)
    # Dense clients deploy the global model.
    row = {"scope": scope, "seed": seed, "mask": mask, "global": accuracies.pop("dense"), **accuracies, PRUNED: pruned}
    return {**row, "processor_seconds": run.seconds}


def _deployed(experiment: Experiment, state: State, group: Group) -> float:
    """Returns the mean validation accuracy of what a group's clients would deploy."""
    examples = experiment.data.server_validation_examples
    weights = [experiment.deployed(state, experiment.clients[partition]) for partition in group.clients]
    return mean(evaluate(group.model, w, examples).accuracy for w in weights if w is not None)


def table(rows: list[Row]) -> Table:
    """Returns means over seeds with 95 % intervals, and differences to the first scope, seed by seed."""
    columns = ("global", *(name for name, sparsity in SPARSITIES.items() if sparsity), PRUNED)
    shown = Table("scope", title=f"Validation accuracy in %, {len(rows) // len(SCOPES)} seeds", title_justify="left")
    for name in (*columns, f"{PRUNED}, to {SCOPES[0]}"):
        shown.add_column(name, justify="right")
    by = {scope: {row["seed"]: row for row in rows if row["scope"] == scope} for scope in SCOPES}
    for scope, own in by.items():
        cells = [Interval.of([row[name] for row in own.values()]).percent() for name in columns]
        pruned, first = ({seed: row[PRUNED] for seed, row in found.items()} for found in (own, by[SCOPES[0]]))
        compared = "-" if scope == SCOPES[0] else Difference.of(pruned, first).interval.percent("+")
        shown.add_row(scope, *cells, compared)
    return shown


app = typer.Typer(pretty_exceptions_enable=False)


@app.command()
def main(
    mask: Annotated[str, typer.Option(help="Who chooses masks: client or server.")] = "client",
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="A JSON object per run, a line each.")] = None,
) -> None:
    """Compare the scopes of magnitude pruning."""
    print_machine()
    lines = out.read_text(encoding="utf-8").splitlines() if out and out.exists() else []
    rows = [row for row in map(json.loads, lines) if row["mask"] == mask]
    done = {(row["scope"], row["seed"]) for row in rows}
    for seed in SEEDS:
        for scope in SCOPES:
            if (scope, seed) in done:
                continue
            rows.append(measured(scope, seed, mask))
            console.print(json.dumps(rows[-1]))
            if out:
                with out.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(rows[-1]) + "\n")
    console.print(table(rows))


if __name__ == "__main__":
    app()
