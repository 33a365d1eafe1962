"""How tiers are best taught: by clients' validation examples, on seeds that nothing else reports.

    python -m benchmarks.tiers [--out FILE] [--only NAME ...]

The setting of scenarios/distillation: 6,000 images of Fashion-MNIST, ten clients, Dirichlet 0.5 and 0.1, medium-cnn,
groups at 0, 0.5, 0.8 and 0.9, ten rounds of two epochs, 1,000 held-out public images; seeds 101 to 103. The federation
is trained once for each seed and skew; then its tiers are taught in each way. The block that counts is chosen by the
server's validation examples; the figure here is on those of all clients, which nothing has chosen by. What is in FILE
is not done again.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from statistics import mean
from typing import Annotated, Any

import numpy as np
import typer
from rich.table import Table

from benchmarks.federations import finished, grid_of
from benchmarks.report import console, print_machine
from fedcompress.data.federated import Examples
from fedcompress.distillation.tier_teaching import Tiers
from fedcompress.experiment import Experiment
from fedcompress.federation import Federation
from fedcompress.plugins import Plugins
from fedcompress.results.compare.statistics import Difference, Interval
from fedcompress.scenario import Scenario
from fedcompress.strategy import State
from fedcompress.training.trainer import evaluate

SEEDS = range(101, 104)
ALPHAS = (0.5, 0.1)
SPARSITIES = {"half": 0.5, "phone": 0.8, "watch": 0.9}
RECIPE: dict[str, Any] = {"tiers": "kd"}
SETTINGS: dict[str, dict[str, Any]] = {
    "kd, as by default": {},
    "rate 0.002": {"tier_learning_rate": 0.002},
    "rate 0.008": {"tier_learning_rate": 0.008},
    "4 blocks": {"tier_blocks": 4},
    "16 blocks": {"tier_blocks": 16},
    "T 1": {"tier_temperature": 1.0},
    "T 4": {"tier_temperature": 4.0},
    "batches of 64": {"tier_batch_size": 64},
    "simkd": {"tiers": "simkd"},
    "head-reuse": {"tiers": "head-reuse"},
}
FIRST = next(iter(SETTINGS))
Row = dict[str, Any]


def scenario(seed: int, alpha: float, examples: int = 6000) -> Scenario:
    """Returns the federation."""
    pruning = {"compression": "magnitude", "compression_params": {"mask": "server"}}
    groups = [{"name": "dense", "share": 0.4, "model": "medium-cnn"}]
    groups += [
        {"name": name, "share": 0.2, "model": "medium-cnn", "sparsity": sparsity, **pruning}
        for name, sparsity in SPARSITIES.items()
    ]
    return Scenario.parse(
        {
            "name": "tiers",
            "rounds": 10,
            "seed": seed,
            "data": {
                "dataset": "fashion-mnist",
                "examples": examples,
                "partition": "dirichlet",
                "alpha": alpha,
            },
            "public": {"source": "holdout", "examples": 1000},
            "training": {"epochs": 2, "batch_size": 32, "learning_rate": 0.003},
            "wire": {"values": "float16"},
            "groups": groups,
        }
    )


def judged_on(experiment: Experiment) -> Examples:
    """Returns the validation examples of all clients."""
    parts = [experiment.data.validation(client.partition) for client in experiment.clients]
    return Examples(np.concatenate([part.x for part in parts]), np.concatenate([part.y for part in parts]))


def measured(experiment: Experiment, state: State, settings: dict[str, Any]) -> Row:
    """Teaches all tiers in one way, and returns their accuracies and how long it took."""
    server, examples = experiment.server, judged_on(experiment)
    server.params = server.params.model_copy(update={**RECIPE, **settings})
    tiers, started = Tiers(server, experiment.scenario.rounds), time.process_time()
    grid = grid_of(experiment)
    fed = Federation(grid, experiment)
    fed.begin(experiment.scenario.rounds)
    public = experiment.public
    assert public is not None
    lesson = public.draw({"seed": [np.array([1], np.int64)]})
    row: Row = {}
    for name in SPARSITIES:
        group = experiment.groups[name]
        tier = tiers.taught(fed, group, state, lesson)
        assert tier is not None
        row[name] = evaluate(group.model, tier[0], examples).accuracy
    grid.close()
    return {**row, "seconds": time.process_time() - started}


def untaught(experiment: Experiment, state: State) -> Row:
    """Returns the accuracies of the global model, and of its parts under the groups' masks."""
    examples = judged_on(experiment)
    row: Row = {}
    for name, group in experiment.groups.items():
        weights = experiment.deployed(state, experiment.clients[group.clients[0]])
        assert weights is not None
        row[name] = evaluate(group.model, weights, examples).accuracy
    return {**row, "seconds": 0.0}


def table(rows: list[Row], alpha: float) -> Table:
    """Returns means over seeds with 95 % intervals, and differences of the means over tiers to the first setting."""
    of_alpha = [row for row in rows if row["alpha"] == alpha]
    seeds = sorted({row["seed"] for row in of_alpha})
    title = f"Dirichlet {alpha:g}: clients' validation accuracy in %, {len(seeds)} seeds"
    shown = Table("setting", title=title, title_justify="left")
    for name in (*SPARSITIES, f"all, to {FIRST!r}", "s"):
        shown.add_column(name, justify="right")
    means = {
        name: {row["seed"]: mean(row[tier] for tier in SPARSITIES) for row in of_alpha if row["setting"] == name}
        for name in dict.fromkeys(row["setting"] for row in of_alpha)
    }
    for name, own in means.items():
        found = [row for row in of_alpha if row["setting"] == name]
        cells = [Interval.of([row[tier] for row in found]).percent() for tier in SPARSITIES]
        compared = "-" if name == FIRST else Difference.of(own, means[FIRST]).interval.percent("+")
        shown.add_row(name, *cells, compared, f"{mean(row['seconds'] for row in found):.0f}")
    return shown


app = typer.Typer(pretty_exceptions_enable=False)


@app.command()
def main(
    out: Annotated[Path, typer.Option(help="A line for each setting, seed and skew.")] = Path("runs/tiers.jsonl"),
    only: Annotated[list[str] | None, typer.Option(help="Settings; default: all.")] = None,
) -> None:
    """Teaches tiers in each way, and prints the tables."""
    out.parent.mkdir(parents=True, exist_ok=True)
    rows: list[Row] = [json.loads(line) for line in out.read_text().splitlines()] if out.exists() else []
    done = {(row["setting"], row["alpha"], row["seed"]) for row in rows}
    names = [*(only or SETTINGS), "untaught"]
    for seed in SEEDS:
        for alpha in ALPHAS:
            left = [name for name in names if (name, alpha, seed) not in done]
            if not left:
                continue
            experiment = Experiment.load(scenario(seed, alpha), Plugins())
            state = finished(experiment).state
            for name in left:
                figures = (
                    untaught(experiment, state) if name == "untaught" else measured(experiment, state, SETTINGS[name])
                )
                rows.append({"setting": name, "alpha": alpha, "seed": seed, **figures})
                with out.open("a") as file:
                    file.write(json.dumps(rows[-1]) + "\n")
    for alpha in ALPHAS:
        console.print(table(rows, alpha))
    print_machine()


if __name__ == "__main__":
    app()
