"""A round with large models: what encoding, measuring and keeping cost beside training, by wire format.

    python -m benchmarks.size [NAME ...] [--rounds N] [--page]

Each case is a federation in this process, on one worker; the first round, in which graphs are traced, does not count,
nor does what a run does once, after its last round.
Seconds are of the processor, so that other work on the machine matters less. A finished case is kept in `--runs` and
not run again; with `--page`, docs/results/size.md is written from them, and from what `python -m benchmarks.codecs`
has left there in `codecs.json`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from benchmarks.federations import finished
from benchmarks.report import Asked, console, machine, print_asked, print_machine, processor_of
from benchmarks.stages import STAGES, Meter, metered
from fedcompress.experiment import Experiment
from fedcompress.page.blocks import TextTable
from fedcompress.results.compare.formats import markdown
from fedcompress.results.run.recorder import Observer
from fedcompress.rows import RoundRow
from fedcompress.scenario import Scenario

PAGE = Path("docs/results/size.md")
CLIENTS = 4
MODELS = {"mlp:2048-2048": 1000, "resnet-18:group": 200}
"""Model -> images of a client."""
MOST = {"mlp:2048-2048": (0.25, 0.50), "resnet-18:group": (0.10, 0.25)}
"""Model -> what everything around training may take of its time: dense float32, and every other format."""
PRUNED = {
    "compression": "magnitude",
    "sparsity": 0.9,
    "compression_params": {"schedule": "constant", "begin_round": 0, "end_round": 1, "freeze_round": 2},
}
DENSE = "dense float32"
FORMATS: dict[str, dict[str, Any]] = {
    DENSE: {"wire": {"weights": "dense", "deflate": False}},
    "float32 deflate": {},
    "float16 deflate": {"wire": {"values": "float16"}},
    "int8 entropy": {"wire": {"values": "int8", "entropy": True}},
    "top-k 1 % feedback": {
        "wire": {"values": "int8", "delta": True, "top_k": 0.01, "feedback": True, "entropy": True},
    },
    "0.9 sparse": {"group": PRUNED},
}
"""Name -> what differs in the scenario. `float32 deflate` is what a scenario has that says nothing."""
AROUND = ("encode", "decode", "measure", "digest", "bound", "judge", "aggregate", "checkpoint", "message", "rest")
"""Stages that are held against training. Choosing masks is what is trained, and testing is what was asked for."""


def scenario(model: str, case: str, rounds: int) -> Scenario:
    """Returns the federation of one case."""
    changes = FORMATS[case]
    return Scenario.parse(
        {
            "name": "size",
            "rounds": rounds,
            "seed": 1,
            "data": {
                "dataset": "mnist-5k",
                "examples": CLIENTS * MODELS[model],
                "clients": CLIENTS,
                "partition": "iid",
                "validation": 0.0,
                "server_validation": 0.0,
            },
            "training": {"epochs": 1, "batch_size": 64},
            "wire": changes.get("wire", {}),
            "evaluation": {"tflite": False},
            "groups": [{"name": "all", "model": model, **changes.get("group", {})}],
        }
    )


class _BetweenRounds(Observer):
    """Counts from the end of the first round to that of the last: what a run does after it, it does once."""

    def __init__(self, meter: Meter, last: int) -> None:
        self._meter = meter
        self._last = last
        self.seconds: dict[str, float] = {}

    def round_done(self, row: RoundRow) -> None:
        if row["round"] == 1:
            self._meter.reset()
        if row["round"] == self._last:
            self.seconds = self._meter.seconds


def measure(model: str, case: str, rounds: int) -> dict[str, Any]:
    """Runs a case and returns its figures, a round and client each."""
    with metered("fedavg") as meter:
        between = _BetweenRounds(meter, rounds + 1)
        run = finished(Experiment.load(scenario(model, case, rounds + 1)), between)
    crossed = sum(row["wire_bytes"] for row in run.ledger if row["round"] > 1)
    return {
        "model": model,
        "case": case,
        "rounds": rounds,
        "seconds": {name: value / rounds / CLIENTS for name, value in between.seconds.items()},
        "bytes": crossed / rounds / CLIENTS,
        "digest": run.summary["model_digest"],
        "machine": machine(),
    }


def around(row: Mapping[str, Any]) -> float:
    """Returns what everything around training takes, as a share of it."""
    return float(sum(row["seconds"][name] for name in AROUND) / row["seconds"]["train"])


def asked(rows: Sequence[Mapping[str, Any]]) -> list[Asked]:
    """Returns what is demanded beside what was measured."""
    return [
        Asked(
            f"{row['model']}, {row['case']}: around / training", [around(row)], MOST[row["model"]][row["case"] != DENSE]
        )
        for row in rows
    ]


SPEED = (
    "Shares depend on the processor: training gains from wide vectors, such as AVX-512, codecs hardly, so that the "
    "same work around it is a larger share of a faster training."
)

_COLUMNS = (
    *("format", "train, s", "around it"),
    *(stage for stage in STAGES if stage != "train"),
    "MB of a client and round",
)


def _cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    train = row["seconds"]["train"]
    shares = (f"{row['seconds'][stage] / train:.1%}" for stage in STAGES if stage != "train")
    return (row["case"], f"{train:.2f}", f"{around(row):.1%}", *shares, f"{row['bytes'] / 1e6:.2f}")


def tables(rows: Sequence[Mapping[str, Any]]) -> list[TextTable]:
    """Returns a table for each model."""
    found = []
    for model in dict.fromkeys(row["model"] for row in rows):
        of_model = [row for row in rows if row["model"] == model]
        caption = (
            f"Of a client and round: processor seconds of training, and the others as a share of it. {CLIENTS} clients "
            f"of {MODELS[model]:,} images, batch 64, Adam; rounds: {of_model[0]['rounds']}, after one that is not "
            f'counted. "around it" is all but "compress" and "score". In one process what was encoded is not decoded '
            "again; on other engines it is."
        )
        found.append(TextTable(model, _COLUMNS, tuple(map(_cells, of_model)), caption))
    return found


def codec_tables(codecs: Mapping[str, Any]) -> list[TextTable]:
    """Returns a table for each number of weights, of what `benchmarks.codecs` has measured."""
    load = codecs["machine"]["load_at_start"]
    caption = f"MB of float32 a second and core, in one run of one thread (load as it began: {load:.1f})."
    found = []
    for size in dict.fromkeys(row["weights"] for row in codecs["rows"]):
        cells = tuple(
            (row["format"], f"{row['encode']:,.0f}", f"{row['decode']:,.0f}", f"{8 * row['bytes'] / size:.2f}")
            for row in codecs["rows"]
            if row["weights"] == size
        )
        found.append(TextTable(f"{size:,} weights", ("format", "encode", "decode", "bits a weight"), cells, caption))
    return found


def page(rows: Sequence[Mapping[str, Any]], command: str, codecs: Mapping[str, Any] | None = None) -> str:
    """Returns docs/results/size.md."""
    found = rows[0]["machine"]
    versions = ", ".join(f"{name} {number}" for name, number in sorted(found["versions"].items()) if number)
    loads = [row["machine"]["load_at_start"] for row in rows]
    parts = [
        "# size",
        f"```\n{command}\n```",
        f"- {found['cores']} cores ({processor_of(found)}); load as cases began: {min(loads):.1f} to {max(loads):.1f}",
        f"- {versions}",
        SPEED,
        *(markdown(table).strip() for table in tables(rows)),
        "| demand | at most | measured |\n| --- | --- | --- |\n"
        + "\n".join(f"| {one.what} | {one.limit:.0%} | {one.values[0]:.1%} |" for one in asked(rows)),
        *(markdown(table).strip() for table in (codec_tables(codecs) if codecs else ())),
    ]
    return "\n\n".join(parts) + "\n"


app = typer.Typer(pretty_exceptions_enable=False)


@app.command()
def main(
    names: Annotated[list[str] | None, typer.Argument(metavar="NAME", help=f"Of {', '.join(MODELS)}.")] = None,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds that count.")] = 2,
    runs: Annotated[Path, typer.Option(metavar="DIR", help="Where finished cases are kept.")] = Path("runs/size"),
    write_page: Annotated[bool, typer.Option("--page", help=f"Write {PAGE}.")] = False,
) -> None:
    """Measure what a round of large models costs beside training."""
    print_machine()
    runs.mkdir(parents=True, exist_ok=True)
    rows = []
    for model in names or MODELS:
        for case in FORMATS:
            file = runs / f"{model} {case} {rounds}.json".replace(" ", "-").replace(":", "-").replace("-%-", "-")
            if not file.exists():
                row = measure(model, case, rounds)
                file.write_text(json.dumps(row, indent=2) + "\n", encoding="utf-8")
                console.print(f"{model}, {case}: {around(row):.1%} of training")
            rows.append(json.loads(file.read_text(encoding="utf-8")))
    for table in tables(rows):
        shown = Table(*table.columns, title=table.title)
        for cells in table.rows:
            shown.add_row(*cells)
        console.print(shown)
    print_asked(asked(rows))
    if write_page:
        words = [
            "python -m benchmarks.size",
            *(names or []),
            *(["--rounds", str(rounds)] if rounds != 2 else []),
            "--page",
        ]
        file = runs / "codecs.json"
        codecs = json.loads(file.read_text(encoding="utf-8")) if file.exists() else None
        PAGE.write_text(page(rows, " ".join(words), codecs), encoding="utf-8")
        console.print(str(PAGE))


if __name__ == "__main__":
    app()
