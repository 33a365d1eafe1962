"""Settings of `client = "nested"` and of the server's masks in the quickstart: by the server's validation examples.

    python -m benchmarks.nested [--only NAME ...] [--seeds 101,102,103] [--out FILE]

The quickstart with its groups' masks chosen by the server, and dense and half-sparse clients that train the
sub-networks of the sparser ones, too, beside the quickstart as it was before; on seeds that nothing else reports.
`global` is the validation accuracy of the global model, the others are those of what a group's devices run. `seconds`
are of the processor, in the rounds and at the end. What is in FILE is not done again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from statistics import mean
from typing import Annotated, Any

import typer
from rich.table import Table

from benchmarks.federations import finished
from benchmarks.process import ROOT
from benchmarks.report import console, print_machine
from fedcompress.experiment import Experiment
from fedcompress.plugins import Plugins
from fedcompress.results.compare.statistics import Interval
from fedcompress.scenario import Scenario
from fedcompress.training.trainer import evaluate

SCENARIO = ROOT / "scenarios" / "quickstart.toml"
VALIDATION = 0.2
"""Of the data, so that a point is not the noise of few examples."""

Row = dict[str, Any]


def setting(
    *,
    schedule: tuple[int, int, int] = (3, 9, 12),
    scope: str = "model",
    clients: str = "nested",
    mask: str = "server",
    phone: str | None = None,
    params: Mapping[str, Any] | None = None,
    training: Mapping[str, Any] | None = None,
) -> Row:
    """Returns what a setting changes in the quickstart, as overrides.

    Args:
        schedule: Last dense round, round that reaches the target, first round with masks that stay.
        scope: Of magnitude pruning.
        clients: Client strategy of the groups that have sparser ones.
        mask: Who chooses masks.
        phone: That of the half-sparse group, if it is another.
        params: Of the nested clients.
        training: Keys of `[training]`.
    """
    begin, end, freeze = schedule
    pruning = {"begin_round": begin, "end_round": end, "freeze_round": freeze, "scope": scope, "mask": mask}
    overrides: Row = {f"training.{key}": value for key, value in {"batch_size": 32, **(training or {})}.items()}
    for group, client in (("server-class", clients), ("phone", phone or clients)):
        overrides[f"groups.{group}.client"] = client
        if client == "nested":
            overrides |= {f"groups.{group}.params.{key}": value for key, value in (params or {}).items()}
    for group in ("phone", "watch"):
        overrides |= {f"groups.{group}.compression_params.{key}": value for key, value in pruning.items()}
    return overrides


EARLY, SOONER, LATE = (0, 3, 4), (2, 5, 6), (5, 10, 11)
SETTINGS: dict[str, Row] = {
    "as before": setting(clients="sgd", mask="client"),
    "server masks": setting(clients="sgd"),
    "nested": setting(),
    "nested, early": setting(schedule=EARLY),
    "nested, sooner": setting(schedule=SOONER),
    "nested, late": setting(schedule=LATE),
    "nested, erk": setting(scope="erk"),
    "nested, smallest": setting(params={"subnetworks": "smallest"}),
    "nested, alpha 0.5": setting(params={"alpha": 0.5}),
    "nested, T 3": setting(params={"temperature": 3.0}),
    "nested, weight 2": setting(params={"weight": 2.0}),
    "nested, batch 16": setting(training={"batch_size": 16}),
    "nested, batch 16, half rate": setting(training={"batch_size": 16, "learning_rate": 0.002}),
    "nested, rate 0.008": setting(training={"learning_rate": 0.008}),
    "nested, decay 0.95": setting(training={"learning_rate_decay": 0.95}),
    "nested, batch 16, 2 epochs": setting(training={"batch_size": 16, "epochs": 2}),
    "nested, batch 16, smallest": setting(params={"subnetworks": "smallest"}, training={"batch_size": 16}),
    "nested, batch 16, 2 epochs, smallest": setting(
        params={"subnetworks": "smallest"}, training={"batch_size": 16, "epochs": 2}
    ),
    "nested, batch 16, late": setting(schedule=LATE, training={"batch_size": 16}),
    "nested, batch 16, half, smallest": setting(
        params={"subnetworks": "smallest"}, training={"batch_size": 16, "learning_rate": 0.002}
    ),
    "nested, batch 8, 2 epochs, half rate": setting(training={"batch_size": 8, "epochs": 2, "learning_rate": 0.002}),
    "nested, batch 16, dense clients only": setting(phone="sgd", training={"batch_size": 16}),
    "nested, batch 16, 12 rounds": {**setting(schedule=(2, 7, 9), training={"batch_size": 16}), "rounds": 12},
    "as before, batch 16": setting(clients="sgd", mask="client", training={"batch_size": 16}),
    "server masks, batch 16": setting(clients="sgd", training={"batch_size": 16}),
}


def scenario(overrides: Row, seed: int) -> Scenario:
    """Returns the quickstart under a setting."""
    fixed = {"seed": seed, "data.server_validation": VALIDATION, "evaluation.tflite": False}
    return Scenario.load(SCENARIO, {**overrides, **fixed})


def measured(name: str, seed: int) -> Row:
    """Runs one federation and returns validation accuracies: of the global model, of what each group's devices run."""
    experiment = Experiment.load(scenario(SETTINGS[name], seed), Plugins())
    run = finished(experiment)
    row: Row = {"setting": name, "seed": seed, "global": run.scores.validation, "seconds": run.seconds}
    for group in experiment.groups.values():
        models = (experiment.deployed(run.state, experiment.clients[partition]) for partition in group.clients)
        examples = experiment.data.server_validation_examples
        row[group.name] = mean(evaluate(group.model, w, examples).accuracy for w in models if w is not None)
    return row


def table(rows: list[Row]) -> Table:
    """Returns means over seeds with 95 % intervals."""
    columns = [name for name in rows[0] if name not in ("setting", "seed", "seconds")]
    shown = Table("setting", title="Validation accuracy in %", title_justify="left")
    for name in ("seeds", *columns, "seconds"):
        shown.add_column(name, justify="right")
    for name in SETTINGS:
        own = [row for row in rows if row["setting"] == name]
        if own:
            cells = [Interval.of([row[column] for row in own]).percent() for column in columns]
            shown.add_row(name, str(len(own)), *cells, f"{mean(row['seconds'] for row in own):.1f}")
    return shown


app = typer.Typer(pretty_exceptions_enable=False)


@app.command()
def main(
    only: Annotated[list[str] | None, typer.Option(help="Settings to run; all by default.")] = None,
    seeds: Annotated[str, typer.Option(help="Numbers with commas between.")] = "101,102,103",
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="A JSON object per run, a line each.")] = None,
) -> None:
    """Compare settings of self-distillation in the quickstart."""
    print_machine()
    lines = out.read_text(encoding="utf-8").splitlines() if out and out.exists() else []
    rows: list[Row] = [json.loads(line) for line in lines]
    done = {(row["setting"], row["seed"]) for row in rows}
    for name in only or SETTINGS:
        for seed in map(int, seeds.split(",")):
            if (name, seed) in done:
                continue
            rows.append(measured(name, seed))
            console.print(json.dumps(rows[-1]))
            if out:
                with out.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(rows[-1]) + "\n")
    console.print(table(rows))


if __name__ == "__main__":
    app()
