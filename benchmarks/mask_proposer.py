"""How well masks retrain that a proposer draws for networks it has never seen, against scores, chance and search.

    fedcompress masks collect benchmarks/mask_proposer.toml --out runs/mask-proposer/archive.trials --workers 2
    python -m benchmarks.mask_proposer [--only CASE ...] [--method NAME ...] [--seed N ...] [--plan]
    python -m benchmarks.mask_proposer --page docs/results/mask-proposer.md

Each case has five networks, seeds 1 to 5, each of another initialisation, and for each of them a proposer that is
trained anew (from another start, and with other networks of the archive held out). No proposer has seen a retraining of
the network it is asked for; in the case `architecture`, which tests the networks of `initialisations`, none has seen a
network of their architecture. Every mask is retrained by the same two epochs; of several masks the one that is best on
validation examples is reported, by its test accuracy. `search` collects for the tested network itself as many masks as
the archive has of one of its networks. What has a row in --out or on the page, by the same recipe, is not done again:
several sessions add up. Settings were chosen on the seeds 101 to 106.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from hashlib import sha256
from pathlib import Path
from statistics import fmean
from typing import Annotated, Any, TypeVar

import numpy as np
import typer
from numpy.typing import NDArray

from benchmarks.kept_rows import rows_in, section, together
from benchmarks.mask_proposer_page import ARCHIVE, distance, page
from benchmarks.report import console, machine, print_machine, processor_of
from fedcompress.files import write_text
from fedcompress.masks.drawing import kept_of
from fedcompress.masks.features import Described, describe
from fedcompress.masks.proposer import TRIES, Proposer, read_proposer
from fedcompress.recipes.bench import Bench
from fedcompress.recipes.masks.adversarial import good_ones, learn
from fedcompress.recipes.masks.collecting import bench_of, fitted_under, tried_at
from fedcompress.recipes.masks.criteria import masked_by
from fedcompress.recipes.masks.settings import Criterion, MaskRecipe, Source
from fedcompress.recipes.masks.trials import Network, Trials, as_text
from fedcompress.training.trainer import evaluate
from fedcompress.wire.content import Arrays

RECIPE = Path("benchmarks/mask_proposer.toml")
SEEDS = (1, 2, 3, 4, 5)
DRAWS, MANY = 10, 100
"""Masks of a method that draws; of random masks with a floor, the first ten of which are compared with the others."""
PROPOSERS: dict[str, tuple[dict[str, Any], int]] = {
    "GAN": ({}, TRIES),
    "GAN, not ranked by the head": ({}, 1),
    "head only": ({"adversarial": 0.0, "likelihood": 0.0}, TRIES),
    "adversarial only": ({"accuracy": 0.0, "likelihood": 0.0}, 1),
    "likelihood only": ({"accuracy": 0.0, "adversarial": 0.0}, 1),
    "position only": ({"features": "position"}, TRIES),
}
"""What differs from the recipe's [proposer], and the tries that the head chooses a draw from."""
SCORES: dict[str, Criterion] = {"L1": "l1", "L1, equal shares": "equal", "LAMP": "lamp"}
RANDOMISED = "LAMP, randomised"
CHANCE, FLOOR, SEARCH = "random", "random with floor", "search"
KEYS = ("case", "seed", "sparsity", "method")
"""What tells a row from others of the same recipe."""
METHODS = (CHANCE, FLOOR, *SCORES, RANDOMISED, SEARCH, *PROPOSERS)

T = TypeVar("T")
Row = dict[str, Any]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Case:
    """Networks that no archive has.

    Attributes:
        name: Of the case.
        model: Architecture.
        data: Data set.
        settings: Of `[data]`.
        unlike: Whether proposers learn from the archive's networks of other architectures only.
    """

    name: str
    model: str
    data: str
    settings: tuple[tuple[str, float], ...] = ()
    unlike: bool = False

    def learned(self, networks: Sequence[Network]) -> list[Network]:
        """Returns what of an archive proposers learn from."""
        return [network for network in networks if not (self.unlike and network.source.model == self.model)]


CASES = (
    Case("initialisations", "lenet5", "digits"),
    Case("data", "lenet5", "fashion-mnist", (("examples", 1150), ("validation", 0.02))),
    Case("architecture", "lenet5", "digits", unlike=True),
)


class Tested:
    """One network, and everything that masks of it are compared by."""

    def __init__(self, case: Case, seed: int, recipe: MaskRecipe) -> None:
        self.recipe = recipe.model_copy(update={"data": recipe.data.model_copy(update=dict(case.settings))})
        self.bench: Bench = bench_of(self.recipe, Source(case.model, case.data, seed))
        self.seed = seed

    @cached_property
    def weights(self) -> Arrays:
        """Of the dense network."""
        return self.bench.dense()

    @cached_property
    def described(self) -> Described:
        """Its channels."""
        return self.look(self.weights)

    def look(self, weights: Arrays) -> Described:
        """Looks at the channels."""
        return describe(self.bench.spec, weights, self.bench.data.train.x, self.bench.data.train.y)

    def accuracies(self, mask: Mask) -> tuple[float, float]:
        """Returns validation and test accuracy after retraining."""
        fitted = fitted_under(mask, self.bench, self.weights, self.described, self.recipe.trying)
        return fitted.validation, evaluate(self.bench.spec, fitted.weights, self.bench.data.test).accuracy

    def by(self, criterion: Criterion, sparsity: float, draw: int, strength: float, floor: int = 1) -> Mask:
        """Returns the mask of a criterion."""
        trying = self.recipe.trying.model_copy(update={"floor": floor})
        rng = self.bench.rng(f"benchmark {criterion} {floor}", draw)
        return masked_by(criterion, self.bench.spec, self.weights, self.described, sparsity, trying, rng, strength)

    def masks(self, method: str, sparsity: float, proposer: Callable[[str], Proposer]) -> Iterator[Mask]:
        """Yields the masks of a method, each as it is asked for."""
        if method in SCORES:
            yield self.by(SCORES[method], sparsity, 0, 0.0)
        elif method == RANDOMISED:
            yield from (self.by("lamp", sparsity, draw, 1.0) for draw in range(DRAWS))
        elif method in (CHANCE, FLOOR):
            floor, count = (0, DRAWS) if method == CHANCE else (1, MANY)
            yield from (self.by("random", sparsity, draw, 1.0, floor) for draw in range(count))
        elif method == SEARCH:
            trials = tried_at(sparsity, self.bench, self.weights, self.described, self.recipe.trying)
            yield max(trials, key=lambda trial: trial.accuracy).mask
        else:
            kept_of(self.described.widths, sparsity, 1)
            for draw in range(DRAWS):
                rng = self.bench.rng("benchmark proposer", draw)
                yield proposer(method).draw(self.described, sparsity, rng, tries=PROPOSERS[method][1])

    def row(self, case: Case, method: str, sparsity: float, proposer: Callable[[str], Proposer]) -> Row:
        """Returns a row of results.

        Processor milliseconds are those to a single mask, its retraining apart. For a proposer that is one look at the
        network's channels and one draw.
        """
        looking = 0.0
        _ = self.described  # which compiles the graph that looks
        if method in PROPOSERS:
            proposer(method)
            looking, _ = timed(partial(self.look, self.weights))
        seconds, masks = timed(lambda: list(self.masks(method, sparsity, proposer)))
        found = [self.accuracies(mask) for mask in masks]
        spec = self.bench.spec
        texts = [as_text(mask, self.described) for mask in masks]
        return {
            "case": case.name,
            "seed": self.seed,
            "sparsity": sparsity,
            "method": method,
            "dense": evaluate(spec, self.weights, self.bench.data.test).accuracy,
            "chance": 1 / spec.classes,
            "validation": [round(validation, 4) for validation, _ in found],
            "test": [round(test, 4) for _, test in found],
            "distance": distance(texts) if len(texts) > 1 else None,
            "milliseconds": 1000 * (looking + seconds / len(masks)),
            "recipe": identity(self.recipe),
            "processor": processor_of(machine()),
        }


def identity(recipe: MaskRecipe) -> str:
    """Returns what tells a recipe from others, but for the `[data]` that a case changes."""
    same = {key: value for key, value in recipe.table().items() if key != "data"}
    return sha256(json.dumps(same, sort_keys=True).encode()).hexdigest()[:12]


def timed(make: Callable[[], T]) -> tuple[float, T]:
    """Returns the processor's seconds that something takes, and what it gives."""
    started = time.process_time()
    made = make()
    return time.process_time() - started, made


class Proposers:
    """The proposers of one seed, trained when they are asked for, and kept in a folder."""

    def __init__(self, networks: Sequence[Network], recipe: MaskRecipe, seed: int, folder: Path) -> None:
        self._networks, self._recipe, self._seed, self._folder = networks, recipe, seed, folder

    def __call__(self, method: str) -> Proposer:
        changes, _ = PROPOSERS[method]
        name = "-".join(f"{key}-{value}" for key, value in changes.items()) or "all"
        path = self._folder / identity(self._recipe) / f"{name}-{self._seed}.npz"
        if not path.exists():
            settings = self._recipe.proposer.model_copy(update=changes)
            made, _ = learn(self._networks, settings, np.random.default_rng(self._seed))
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(made.written())
        return read_proposer(path)


def good_distance(networks: Sequence[Network], sparsity: float, recipe: MaskRecipe) -> float | None:
    """Returns in how many channels two good masks of a network differ, mean over networks; None without any.

    Good ones are those that a proposer learns from, and networks those of the architecture that is tested.
    """
    found = []
    for network in networks:
        good = zip(network.trials, good_ones(network, recipe.proposer.good), strict=True)
        masks = [
            as_text(trial.mask, network.described) for trial, is_good in good if is_good and trial.sparsity == sparsity
        ]
        if network.source.model in {case.model for case in CASES} and len(masks) > 1:
            found.append(distance(masks))
    return fmean(found) if found else None


def archive_rows(path: Path, kept: Iterable[Row], recipe: MaskRecipe) -> list[Row]:
    """Returns a row for each sparsity on the good masks of an archive, or those that a page keeps."""
    if not path.exists():
        return [row for row in kept if row["method"] == ARCHIVE and row["recipe"] == identity(recipe)]
    found = {sparsity: good_distance(Trials(path).networks, sparsity, recipe) for sparsity in recipe.trying.sparsities}
    return [
        {"method": ARCHIVE, "sparsity": sparsity, "distance": value, "recipe": identity(recipe)}
        for sparsity, value in found.items()
        if value is not None
    ]


def rows_of(path: Path, kept: Iterable[Row], recipe: MaskRecipe) -> list[Row]:
    """Returns the rows that are done by a recipe: those of a file, and those that a page keeps."""
    own = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    return [row for row in together(kept, own, KEYS) if row.get("recipe") == identity(recipe) and "case" in row]


def key_of(row: Row) -> tuple[Any, ...]:
    """Returns what tells a row from others."""
    return tuple(row[key] for key in KEYS)


app = typer.Typer(pretty_exceptions_enable=False)


@app.command()
def main(
    out: Annotated[Path, typer.Option(help="Folder of rows, archive and proposers.")] = Path("runs/mask-proposer"),
    only: Annotated[list[str] | None, typer.Option(help="Names of cases; default: all.")] = None,
    method: Annotated[list[str] | None, typer.Option(help="Names of methods; default: all.")] = None,
    seed: Annotated[list[int] | None, typer.Option(help="Default: 1 to 5.")] = None,
    results: Annotated[Path | None, typer.Option("--page", help="Writes the page of what is done.")] = None,
    plan: Annotated[bool, typer.Option("--plan", help="Say what is done, and what is not; do nothing.")] = False,
) -> None:
    """Retrains the masks of every method that have no row yet, and writes the page."""
    _known("case", only, [case.name for case in CASES])
    _known("method", method, METHODS)
    recipe, rows = MaskRecipe.load(RECIPE), out / "rows.jsonl"
    kept = rows_in(results) if results else []
    for case in CASES:
        for number in seed or SEEDS:
            done = {key_of(row) for row in rows_of(rows, kept, recipe)}
            wanted = [
                (sparsity, name)
                for sparsity in recipe.trying.sparsities
                for name in METHODS
                if (not only or case.name in only) and name in (method or METHODS)
            ]
            missing = [(s, name) for s, name in wanted if (case.name, number, s, name) not in done]
            if wanted:
                console.print(f"{case.name}, seed {number}: {len(wanted) - len(missing)} of {len(wanted)} rows done")
            if missing and not plan:
                networks = case.learned(Trials(out / "archive.trials").networks)
                folder = out / ("unlike" if case.unlike else "proposers")
                tested, proposers = Tested(case, number, recipe), Proposers(networks, recipe, number, folder)
                for sparsity, name in missing:
                    row = _same(case, rows_of(rows, kept, recipe), number, sparsity, name)
                    row = row or tested.row(case, name, sparsity, proposers)
                    with rows.open("a", encoding="utf-8") as file:
                        file.write(json.dumps(row) + "\n")
                    console.print(f"  {sparsity:g} {name}: {np.mean(row['test']):.3f}")
    if results is not None:
        reported = [*rows_of(rows, kept, recipe), *archive_rows(out / "archive.trials", kept, recipe)]
        write_text(results, page(reported) + section(reported))
    if not plan:
        print_machine()


def _same(case: Case, rows: Sequence[Row], seed: int, sparsity: float, method: str) -> Row | None:
    """Returns the row of the same network and masks in another case, if there is one."""
    same = [other.name for other in CASES if (other.model, other.data) == (case.model, case.data)]
    for row in rows if method not in PROPOSERS else ():
        if row["case"] in same and key_of(row)[1:] == (seed, sparsity, method):
            return {**row, "case": case.name}
    return None


def _known(what: str, names: Sequence[str] | None, known: Sequence[str]) -> None:
    if unknown := sorted(set(names or ()) - set(known)):
        raise typer.BadParameter(f"no {what} is called {unknown[0]!r}; known: {'; '.join(known)}")


if __name__ == "__main__":
    app()
