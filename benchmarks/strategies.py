"""All strategies on equal and on skewed data: docs/results/strategies.md.

    python -m benchmarks.strategies --plan     what there is to do, what is done, and about how long the rest takes
    python -m benchmarks.strategies            does what is left, one run after the other, and writes the page
    python -m benchmarks.strategies --page     writes the page of what is done
    python -m benchmarks.strategies --rates    tries learning rates, and says which is chosen for RATES
    python -m benchmarks.strategies --only "scaffold;feddf" --data mnist-5k --seeds 1       does some of it

Ten clients of one architecture, medium-cnn, without compression: mnist-5k (10 rounds of 1 epoch, five seeds), and 6,000
images of Fashion-MNIST (10 rounds of 2 epochs, three seeds); IID, Dirichlet 0.5 and 0.1. A strategy has its defaults
but for the learning rate of its clients, one of four: 0.001, 0.003, 0.01 and 0.03 by Adam, and 0.01, 0.03, 0.1 and 0.3
by SGD, which `scaffold`, `fednova` and `feddyn` have, beside FedAvg by SGD. It is the one with the best validation
accuracy, the mean over the three partitions with seed 101, which is not reported: on the client's own examples where
clients keep models of their own (`local`, `ditto`, `fedper`, `fedrep`, `fedbn`, `fedproto`, `fedmd`), and else on the
server's. With a GAN, `fedpkdg` has the rate that it has with held-out data. `fedsimkd` has a teacher after half of the
rounds, and five passes over public data; with its defaults, one and one, its clients had 0.10 to 0.29 at the rates that
were tried (seed 101). Of FedAvg by SGD, `fedcompress` and `feddf` the largest rate is the best: a larger one was not
tried; and one seed does not show what five do: at 0.03 `feddf` stays at chance with one seed of five, IID and at
Dirichlet 0.5, which is in its means. `scaffold` is lost at the rates at which FedAvg by SGD is best, and has to do with
a tenth of them: its own steps have to be smaller the more of them there are in a round. Nothing else was tuned. Public
data are 1,000 held-out images, of `fedcompress` noise; strategies that train a GAN have three seeds. `fedbn` has
resnet-8 with batch normalisation, beside FedAvg of that: a network that learns little in so few steps. `dense` trains
in its one round as many epochs as the others in all; medium-cnn has no batch normalisation, so its images are made
without that part of the loss. `fedmd` trains as its paper does, up to 25 epochs at the start and 4 in a round. In a
round a client of `fedrep` passes over its data 11 times, 10 of them for the classifier alone, and one of `ditto` twice
as often as the others. Sub-models have pages of their own; `relay` is of two clients. Seconds are by the clock, of the
machine that a run's `provenance.json` names; other things ran beside, so that they may be up to three times those of a
machine that does nothing else.

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
from fedcompress.judged import JUDGED, JudgedName
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
SGD = {"training.optimizer": "sgd"}
BATCH = {"groups.all.model": "resnet-8:batch"}
TAUGHT = {"server.model": "medium-cnn", "server.params.warm_up": 5, "groups.all.params.epochs": 5}
"""With the defaults, a teacher after one round and one pass over the public examples, clients learn next to nothing."""
ONCE = {"rounds": 1, "evaluation.own_every": 1}


@dataclass(frozen=True)
class Entry:
    """A strategy of the page.

    Attributes:
        client: Of all groups.
        set: What else is not as for the others.
        seeds: At most.
        own: Whether its clients keep models of their own, by which its learning rate is chosen.
        rate: Key of that.
    """

    client: str
    set: Mapping[str, Any]
    seeds: int = 5
    own: bool = False
    rate: str = "training.learning_rate"

    @property
    def rates(self) -> tuple[float, ...]:
        """Learning rates that are tried."""
        return (0.01, 0.03, 0.1, 0.3) if "training.optimizer" in self.set else (0.001, 0.003, 0.01, 0.03)


STRATEGIES: Mapping[str, Entry] = {
    "centralized": Entry("sgd", {}),
    "local": Entry("sgd", {}, own=True),
    "fedavg": Entry("sgd", {}),
    "fedavg, SGD": Entry("sgd", SGD),
    "fedprox": Entry("fedprox", {"server.strategy": "fedavg"}),
    "flower, FedAdam": Entry("sgd", {"server.params.name": "FedAdam"}),
    "scaffold": Entry("scaffold", SGD),
    "fednova": Entry("fednova", SGD),
    "feddyn": Entry("feddyn", SGD),
    "ditto": Entry("ditto", {}, own=True),
    "fedper": Entry("fedper", {}, own=True),
    "fedrep": Entry("fedrep", {}, own=True),
    "fedbn": Entry("fedbn", BATCH, own=True),
    "fedavg, resnet-8": Entry("sgd", BATCH),
    "fedproto": Entry("fedproto", {}, own=True),
    "fedgen": Entry("fedgen", {}),
    "feddf": Entry("distilling", PUBLIC),
    "fedmd": Entry("fedmd", PUBLIC, own=True, rate="groups.all.params.learning_rate"),
    "dsfl": Entry("distilling", PUBLIC),
    "fedsimkd": Entry("simkd", {**PUBLIC, **TAUGHT}),
    "fedpkdg, held-out data": Entry("fedpkdg", PUBLIC),
    "fedpkdg, GAN": Entry("fedpkdg", GAN, seeds=3),
    "fedcompress": Entry("fedcompress", {"public.source": "noise", "public.examples": 1000, "data.validation": 0.1}),
    "dense": Entry("sgd", ONCE),
}
"""Name on the page -> what it is; the server strategy is of the same name unless it is set."""


RATES: Mapping[str, Mapping[str, float]] = {
    "mnist-5k": {
        "centralized": 0.003,  # 0.9183 at 0.001, 0.9267 at 0.003, 0.9217 at 0.01, 0.8583 at 0.03
        "local": 0.01,  # 0.8165 at 0.001, 0.9069 at 0.003, 0.9134 at 0.01, 0.7710 at 0.03
        "fedavg": 0.01,  # 0.6033 at 0.001, 0.8283 at 0.003, 0.9033 at 0.01, 0.6033 at 0.03
        "fedavg, SGD": 0.3,  # 0.3333 at 0.01, 0.6417 at 0.03, 0.8583 at 0.1, 0.8833 at 0.3
        "fedprox": 0.01,  # 0.6083 at 0.001, 0.8333 at 0.003, 0.9200 at 0.01, 0.8783 at 0.03
        "flower, FedAdam": 0.01,  # 0.7550 at 0.001, 0.8483 at 0.003, 0.8650 at 0.01, 0.5000 at 0.03
        "scaffold": 0.03,  # 0.1783 at 0.01, 0.5983 at 0.03, 0.3800 at 0.1, 0.1000 at 0.3
        "fednova": 0.1,  # 0.3050 at 0.01, 0.6733 at 0.03, 0.8750 at 0.1, 0.6483 at 0.3
        "feddyn": 0.03,  # 0.6917 at 0.01, 0.8633 at 0.03, 0.8200 at 0.1, 0.1000 at 0.3
        "ditto": 0.01,  # 0.7792 at 0.001, 0.9073 at 0.003, 0.9530 at 0.01, 0.6523 at 0.03
        "fedper": 0.01,  # 0.7419 at 0.001, 0.8814 at 0.003, 0.9212 at 0.01, 0.6350 at 0.03
        "fedrep": 0.003,  # 0.8842 at 0.001, 0.8993 at 0.003, 0.8911 at 0.01, 0.8307 at 0.03
        "fedproto": 0.01,  # 0.8284 at 0.001, 0.9183 at 0.003, 0.9249 at 0.01, 0.7539 at 0.03
        "fedgen": 0.01,  # 0.6067 at 0.001, 0.8433 at 0.003, 0.8933 at 0.01, 0.5233 at 0.03
        "fedpkdg, held-out data": 0.01,  # 0.5583 at 0.001, 0.7583 at 0.003, 0.8483 at 0.01, 0.8367 at 0.03
        "dsfl": 0.003,  # 0.5235 at 0.001, 0.7962 at 0.003, 0.7598 at 0.01, 0.1000 at 0.03
        "fedcompress": 0.03,  # 0.1067 at 0.001, 0.2700 at 0.003, 0.7583 at 0.01, 0.8750 at 0.03
        "feddf": 0.03,  # 0.4717 at 0.001, 0.7100 at 0.003, 0.7967 at 0.01, 0.8683 at 0.03
        "fedmd": 0.003,  # 0.9432 at 0.001, 0.9448 at 0.003, 0.9113 at 0.01, 0.7381 at 0.03; with a public gain of 0.001
        "fedsimkd": 0.01,  # 0.1742 at 0.001, 0.3690 at 0.003, 0.7565 at 0.01, 0.6340 at 0.03
    },
    "fashion-mnist": {},
}
"""Data set -> strategy -> learning rate of its clients: what `--rates` has chosen, by these validation accuracies."""

ALIKE: Mapping[str, str] = {"fedpkdg, GAN": "fedpkdg, held-out data"}
"""Strategy whose learning rate is not tried -> that whose rate it has."""
TRIED_SEED = 101
JUDGED_BY: Mapping[bool, JudgedName] = {True: "own", False: "deployed"}
"""By what a learning rate is chosen: whether clients keep models of their own -> accuracy, on validation examples."""


@dataclass(frozen=True)
class Cell:
    """One run.

    Attributes:
        data: One of DATA.
        skew: One of SKEWS.
        strategy: One of STRATEGIES.
        seed: Of everything.
        tried: Learning rate of a run that a rate is chosen by; None: the one that is chosen.
    """

    data: str
    skew: str
    strategy: str
    seed: int
    tried: float | None = None

    @property
    def path(self) -> Path:
        """Of its run directory."""
        name = f"{self.strategy}-{self.skew}-seed{self.seed}".replace(", ", "-").replace(" ", "-").lower()
        return FOLDER / self.data / (name if self.rate is None else f"{name}-rate{self.rate:g}")

    @property
    def rate(self) -> float | None:
        """Learning rate of its clients; None: none is chosen yet."""
        return RATES[self.data].get(ALIKE.get(self.strategy, self.strategy)) if self.tried is None else self.tried

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
            "training": {"epochs": epochs, "batch_size": 32},
            "evaluation": self._evaluation,
            "server": {"strategy": self.strategy.split(",")[0]},
            "groups": [{"name": "all", "model": "medium-cnn", "client": entry.client}],
        }
        return Scenario.parse(table, {**entry.set, entry.rate: self.rate})

    @property
    def _evaluation(self) -> dict[str, Any]:
        if self.tried is None:
            return {"tflite": False, "deployed_every": 5, "own_every": 5, "personal_every": 10}
        return {"tflite": False, "deployed_every": 10, "judged": JUDGED_BY[STRATEGIES[self.strategy].own]}

    @property
    def validation(self) -> float:
        """Validation accuracy in the end, of a run that is completed."""
        last = RunDirectory(self.path).rows("rounds")[-1]
        return float(last[JUDGED[JUDGED_BY[STRATEGIES[self.strategy].own]].validation])


def tried(data: Sequence[str], strategies: Sequence[str]) -> Iterator[Cell]:
    """Yields the runs by which learning rates are chosen."""
    for of_data in data:
        for strategy in strategies:
            for rate in STRATEGIES[strategy].rates:
                for skew in SKEWS:
                    if strategy not in ALIKE:
                        yield Cell(of_data, skew, strategy, TRIED_SEED, rate)


def choices(of: Sequence[Cell]) -> list[str]:
    """Returns a line for each data set and strategy: the validation accuracy of each learning rate, and the best."""
    lines = []
    for data, strategy in dict.fromkeys((cell.data, cell.strategy) for cell in of):
        found: dict[float | None, list[float]] = {}
        for cell in of:
            if (cell.data, cell.strategy) == (data, strategy) and cell.summary is not None:
                found.setdefault(cell.tried, []).append(cell.validation)
        means = {rate: mean(values) for rate, values in found.items() if len(values) == len(SKEWS)}
        if means:
            best = max(means, key=lambda rate: means[rate])
            each = ", ".join(f"{value:.4f} at {rate:g}" for rate, value in means.items())
            lines.append(f'{data}  "{strategy}": {best:g},  # {each}')
    return lines


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
    sections = []
    for t in tables:
        done = [cell.strategy for cell in found if f"{cell.data}, {cell.skew}" == t.title]
        parts = (f"## {t.title}\n{counted(len(done))}", markdown(t).strip(), lacking(done))
        sections += ["\n\n".join(filter(None, parts))] if done else []
    nothing = [data for data in DATA if not any(cell.data == data for cell in found)]
    left = [f"**Of {' and '.join(nothing)} nothing is measured yet.**"] if nothing else []
    return "\n\n".join([head, setting, *left, *sections]) + "\n"


def lacking(done: Sequence[str]) -> str:
    """Returns which strategies a section lacks, whose runs are these."""
    absent = [strategy for strategy in STRATEGIES if strategy not in done]
    return f"Not measured here yet: {'; '.join(absent)}." if absent else ""


def table(data: str, skew: str, runs: Mapping[Cell, Mapping[str, Any]]) -> TextTable:
    """Returns the table of one data set and skew: a row for each strategy of which there is a run."""
    shares_of = ("deployed, %", "global, %", "personal, %", "own data, %", "worst tenth, %")
    columns = ("strategy", "rate", *shares_of, "bytes", "s")
    rows = []
    for strategy in dict.fromkeys(cell.strategy for cell in runs):
        of = [summary for cell, summary in runs.items() if cell.strategy == strategy]
        shares = [
            [summary.get("deployed_accuracy") for summary in of],
            [summary.get("accuracy") for summary in of],
            [(summary.get("personal") or {}).get("mean") for summary in of],
            [summary["clients"].get("mean") for summary in of],
            [summary["clients"].get("worst10") for summary in of],
        ]
        crossed = mean(summary["uplink_bytes"] + summary["downlink_bytes"] for summary in of)
        seconds = Interval.of([float(summary["seconds"]) for summary in of], AMOUNT).mean
        rate = next(cell.rate for cell in runs if cell.strategy == strategy)
        rows.append((f"{strategy} ({len(of)})", f"{rate:g}", *map(_share, shares), size(crossed), f"{seconds:.0f}"))
    note = "In brackets: seeds. Deployed, global and personal: of the whole test set, and as in What the figures mean."
    return TextTable(f"{data}, {skew}", columns, tuple(rows), note, "text")


def _share(values: Sequence[Any]) -> str:
    interval = Interval.of_known(values, SHARE)
    return interval.percent() if interval else "-"


def main() -> None:
    """Does what is left, or says what that is."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--plan", action="store_true", help="say what is left, and do nothing")
    parser.add_argument("--page", action="store_true", help="write the page, and do nothing else")
    parser.add_argument("--rates", action="store_true", help="try learning rates, and do nothing else")
    parser.add_argument("--data", default=",".join(DATA), help="data sets")
    parser.add_argument("--only", default=";".join(STRATEGIES), help="strategies, with ; between them")
    parser.add_argument("--seeds", help="seeds, instead of 1 to as many as there are to be")
    parser.add_argument("--workers", type=int, default=1)
    asked = parser.parse_args()
    data, strategies = asked.data.split(","), asked.only.split(";")
    if wrong := [*({*data} - {*DATA}), *({*strategies} - {*STRATEGIES})]:
        sys.exit(f"unknown: {', '.join(wrong)}; known are {', '.join(DATA)}, and {'; '.join(STRATEGIES)}")
    if asked.rates:
        trials = list(tried(data, strategies))
        failed = _done(trials, asked.workers)
        print("\n".join(choices(trials)))
        sys.exit("\n".join(failed) or None)
    seeds = None if asked.seeds is None else [int(seed) for seed in asked.seeds.split(",")]
    wanted = list(cells(data, strategies, seeds))
    if asked.plan:
        print("\n".join(plan(wanted)))
        return
    if not asked.page and (unknown := [cell for cell in wanted if cell.rate is None]):
        sys.exit(f"no learning rate in RATES: {', '.join(dict.fromkeys(f'{c.data}, {c.strategy}' for c in unknown))}")
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
        what = f"{cell.data}, {cell.skew}, {cell.strategy}, seed {cell.seed}, rate {cell.rate:g}"
        print(f"[{number}/{len(left)}] {what}", flush=True)
        try:
            start_or_resume(cell.scenario, cell.path, Options(workers=workers), command=sys.argv)
        except FedcompressError as error:
            failed.append(f"{cell.path}: {error}")
    return failed


if __name__ == "__main__":
    main()
