"""All strategies on equal and on skewed data: docs/results/strategies.md.

    python -m benchmarks.strategies --plan     what there is to do, what is done, and about how long the rest takes
    python -m benchmarks.strategies            does what is left, one run after the other, and writes the page
    python -m benchmarks.strategies --page     writes the page of what is done
    python -m benchmarks.strategies --only "scaffold;feddf" --data mnist-5k --seeds 1       does some of it

Ten clients of one architecture, medium-cnn, without compression: mnist-5k (10 rounds of 1 epoch, five seeds), and 6,000
images of Fashion-MNIST (10 rounds of 2 epochs, three seeds); IID, Dirichlet 0.5 and 0.1. A strategy has its defaults,
and the learning rate is that of scenarios/distillation for all, Adam at 0.003, but SGD at 0.1 for `scaffold`, `fednova`
and `feddyn`, beside which stands FedAvg by SGD: nothing was tuned. Public data are 1,000 held-out images, of
`fedcompress` noise; strategies that train a GAN have three seeds. `fedbn` has resnet-8 with batch normalisation, beside
FedAvg of that. `dense` trains in its one round as many epochs as the others in all; medium-cnn has no batch
normalisation, so its images are made without that part of the loss. In a round a client of `fedrep` passes over its
data 11 times, 10 of them for the classifier alone, and one of `ditto` twice as often as the others. Sub-models have
pages of their own; `relay` is of two clients. Seconds are by the clock, of the machine that a run's `provenance.json`
names.

A run is a directory in `runs/strategies`; what was interrupted goes on, and what is finished is not done again. Each
data set and skew is a section of the page, which stays as it is where it has more runs than there are here.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

from benchmarks.sections import counted, write_merged
from fedcompress.errors import FedcompressError
from fedcompress.launch import start_or_resume
from fedcompress.options import Options
from fedcompress.page.blocks import TextTable
from fedcompress.results.compare.formats import markdown
from fedcompress.results.compare.statistics import AMOUNT, SHARE, Interval
from fedcompress.results.run.directory import RunDirectory
from fedcompress.results.run.new_directory import RUNS
from fedcompress.scenario import Scenario
from fedcompress.units import duration, size

FOLDER = RUNS / "strategies"
PAGE = Path("docs/results/strategies.md")

DATA: Mapping[str, dict[str, Any]] = {
    "mnist-5k": {"seeds": 5, "epochs": 1, "data": {"dataset": "mnist-5k"}},
    "fashion-mnist": {"seeds": 3, "epochs": 2, "data": {"dataset": "fashion-mnist", "examples": 6000}},
}
"""Data set -> seeds, local epochs of each of 10 rounds, and `[data]`."""

SKEWS: Mapping[str, dict[str, Any]] = {
    "IID": {"partition": "iid"},
    "Dirichlet 0.5": {"partition": "dirichlet", "alpha": 0.5},
    "Dirichlet 0.1": {"partition": "dirichlet", "alpha": 0.1},
}

PUBLIC = {"public.source": "holdout", "public.examples": 1000}
GAN = {"public.source": "gan", "public.examples": 1000, "public.epochs": 12, "public.train_rounds": 6}
SGD = {"training.optimizer": "sgd", "training.learning_rate": 0.1}
BATCH = {"groups.all.model": "resnet-8:batch"}
ONCE = {"rounds": 1, "evaluation.own_every": 1}


@dataclass(frozen=True)
class Entry:
    """A strategy of the page.

    Attributes:
        client: Of all groups.
        set: What else is not as for the others.
        seeds: At most.
    """

    client: str
    set: Mapping[str, Any]
    seeds: int = 5


STRATEGIES: Mapping[str, Entry] = {
    "centralized": Entry("sgd", {}),
    "local": Entry("sgd", {}),
    "fedavg": Entry("sgd", {}),
    "fedavg, SGD": Entry("sgd", SGD),
    "fedprox": Entry("fedprox", {"server.strategy": "fedavg"}),
    "flower, FedAdam": Entry("sgd", {"server.params.name": "FedAdam"}),
    "scaffold": Entry("scaffold", SGD),
    "fednova": Entry("fednova", SGD),
    "feddyn": Entry("feddyn", SGD),
    "ditto": Entry("ditto", {}),
    "fedper": Entry("fedper", {}),
    "fedrep": Entry("fedrep", {}),
    "fedbn": Entry("fedbn", BATCH),
    "fedavg, resnet-8": Entry("sgd", BATCH),
    "fedproto": Entry("fedproto", {}),
    "fedgen": Entry("fedgen", {}),
    "feddf": Entry("distilling", PUBLIC),
    "fedmd": Entry("fedmd", PUBLIC),
    "dsfl": Entry("distilling", PUBLIC),
    "fedsimkd": Entry("simkd", {**PUBLIC, "server.model": "medium-cnn"}),
    "fedpkdg, held-out data": Entry("fedpkdg", PUBLIC),
    "fedpkdg, GAN": Entry("fedpkdg", GAN, seeds=3),
    "fedcompress": Entry("fedcompress", {"public.source": "noise", "public.examples": 1000, "data.validation": 0.1}),
    "dense": Entry("sgd", ONCE),
}
"""Name on the page -> what it is; the server strategy is of the same name unless it is set."""


@dataclass(frozen=True)
class Cell:
    """One run.

    Attributes:
        data: One of DATA.
        skew: One of SKEWS.
        strategy: One of STRATEGIES.
        seed: Of everything.
    """

    data: str
    skew: str
    strategy: str
    seed: int

    @property
    def path(self) -> Path:
        """Of its run directory."""
        name = f"{self.strategy}-{self.skew}-seed{self.seed}".replace(", ", "-").replace(" ", "-").lower()
        return FOLDER / self.data / name

    @property
    def summary(self) -> Mapping[str, Any] | None:
        """What came out; None of a run that is not completed."""
        run = RunDirectory(self.path)
        return dict(run.summary) if run.status == "completed" else None

    @property
    def scenario(self) -> Scenario:
        """What is run."""
        entry, of_data = STRATEGIES[self.strategy], DATA[self.data]
        epochs = of_data["epochs"] * (10 if "rounds" in entry.set else 1)
        table = {
            "name": f"{self.strategy} {self.skew}".replace(",", ""),
            "rounds": 10,
            "seed": self.seed,
            "data": {**of_data["data"], "clients": 10, **SKEWS[self.skew]},
            "training": {"epochs": epochs, "batch_size": 32, "learning_rate": 0.003},
            "evaluation": {"tflite": False, "deployed_every": 5, "own_every": 5, "personal_every": 10},
            "server": {"strategy": self.strategy.split(",")[0]},
            "groups": [{"name": "all", "model": "medium-cnn", "client": entry.client}],
        }
        return Scenario.parse(table, entry.set)


def cells(data: Sequence[str], strategies: Sequence[str], seeds: Sequence[int] | None) -> Iterator[Cell]:
    """Yields the runs of a part of the page, those of one strategy in a row."""
    for of_data in data:
        for strategy in strategies:
            most = min(STRATEGIES[strategy].seeds, DATA[of_data]["seeds"])
            for skew in SKEWS:
                for seed in range(1, most + 1) if seeds is None else seeds:
                    yield Cell(of_data, skew, strategy, seed)


def plan(wanted: Sequence[Cell]) -> list[str]:
    """Returns a line for each data set and strategy: what is done of it, and about how long the rest takes.

    A run takes as long as those of its data set and strategy that are done, by the clock; without any, as FedAvg's;
    without those, nobody knows.
    """
    lines, total, unknown = [], 0.0, False
    for data, strategy in dict.fromkeys((cell.data, cell.strategy) for cell in wanted):
        own = [cell for cell in wanted if (cell.data, cell.strategy) == (data, strategy)]
        left = sum(cell.summary is None for cell in own)
        each = _seconds(data, strategy) or _seconds(data, "fedavg")
        unknown |= bool(left) and each is None
        total += left * (each or 0.0)
        rest = "" if not left else f", left {'not known' if each is None else duration(left * each)}"
        lines.append(f"{data}, {strategy}: {len(own) - left} of {len(own)} done{rest}")
    more = " and what is not known" if unknown else ""
    return [*lines, f"left in all: {duration(total)}{more}"]


def _seconds(data: str, strategy: str) -> float | None:
    """Returns the mean time of the runs of a strategy that are done, in seconds."""
    done = [cell.summary for cell in cells([data], [strategy], None)]
    known = [float(summary["seconds"]) for summary in done if summary is not None]
    return mean(known) if known else None


def page(of_page: Sequence[Cell]) -> str:
    """Returns the page of the runs that are done."""
    found = {cell: summary for cell in of_page if (summary := cell.summary) is not None}
    tables = [
        table(data, skew, {cell: s for cell, s in found.items() if (cell.data, cell.skew) == (data, skew)})
        for data in DATA
        for skew in SKEWS
    ]
    setting = str(__doc__).split("\n\n")[2]
    head = "# All strategies\n\nWritten from the runs by `python -m benchmarks.strategies`, never by hand."
    runs = {t.title: sum(f"{cell.data}, {cell.skew}" == t.title for cell in found) for t in tables}
    sections = (f"## {t.title}\n{counted(runs[t.title])}\n\n{markdown(t).strip()}" for t in tables if t.rows)
    return "\n\n".join([head, setting, *sections]) + "\n"


def table(data: str, skew: str, runs: Mapping[Cell, Mapping[str, Any]]) -> TextTable:
    """Returns the table of one data set and skew: a row for each strategy of which there is a run."""
    columns = ("strategy", "global, %", "deployed, %", "personal, %", "own data, %", "worst tenth, %", "bytes", "s")
    rows = []
    for strategy in dict.fromkeys(cell.strategy for cell in runs):
        of = [summary for cell, summary in runs.items() if cell.strategy == strategy]
        shares = [
            [summary.get("accuracy") for summary in of],
            [summary.get("deployed_accuracy") for summary in of],
            [(summary.get("personal") or {}).get("mean") for summary in of],
            [summary["clients"].get("mean") for summary in of],
            [summary["clients"].get("worst10") for summary in of],
        ]
        crossed = mean(summary["uplink_bytes"] + summary["downlink_bytes"] for summary in of)
        seconds = Interval.of([float(summary["seconds"]) for summary in of], AMOUNT).mean
        rows.append((f"{strategy} ({len(of)})", *map(_share, shares), size(crossed), f"{seconds:.0f}"))
    note = "In brackets: seeds. Global, deployed and personal: of the whole test set, and as in What the figures mean."
    return TextTable(f"{data}, {skew}", columns, tuple(rows), note, "text")


def _share(values: Sequence[Any]) -> str:
    known = [float(value) for value in values if value is not None]
    return Interval.of(known, SHARE).percent() if known else "-"


def main() -> None:
    """Does what is left, or says what that is."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--plan", action="store_true", help="say what is left, and do nothing")
    parser.add_argument("--page", action="store_true", help="write the page, and do nothing else")
    parser.add_argument("--data", default=",".join(DATA), help="data sets")
    parser.add_argument("--only", default=";".join(STRATEGIES), help="strategies, with ; between them")
    parser.add_argument("--seeds", help="seeds, instead of 1 to as many as there are to be")
    parser.add_argument("--workers", type=int, default=1)
    asked = parser.parse_args()
    data, strategies = asked.data.split(","), asked.only.split(";")
    if wrong := [*({*data} - {*DATA}), *({*strategies} - {*STRATEGIES})]:
        sys.exit(f"unknown: {', '.join(wrong)}; known are {', '.join(DATA)}, and {'; '.join(STRATEGIES)}")
    seeds = None if asked.seeds is None else [int(seed) for seed in asked.seeds.split(",")]
    wanted = list(cells(data, strategies, seeds))
    if asked.plan:
        print("\n".join(plan(wanted)))
        return
    failed = [] if asked.page else _done(wanted, asked.workers)
    write_merged(PAGE, page(list(cells(list(DATA), list(STRATEGIES), None))))
    print(PAGE)
    if failed:
        sys.exit("\n".join(failed))


def _done(wanted: Sequence[Cell], workers: int) -> list[str]:
    """Runs what is left; returns why runs failed, which cost the others nothing."""
    left = [cell for cell in wanted if cell.summary is None]
    failed = []
    for number, cell in enumerate(left, 1):
        print(f"[{number}/{len(left)}] {cell.data}, {cell.skew}, {cell.strategy}, seed {cell.seed}", flush=True)
        try:
            start_or_resume(cell.scenario, cell.path, Options(workers=workers), command=sys.argv)
        except FedcompressError as error:
            failed.append(f"{cell.path}: {error}")
    return failed


if __name__ == "__main__":
    main()
