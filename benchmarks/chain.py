"""The chain of generators at a measured size: what a student loses against its teacher, and how much smaller it is.

    python -m benchmarks.chain [--out DIR] [--only NAME ...] [--page FILE] [--plan]

Teacher `cgan`, 10 epochs in batches of 32; students from 20,000 pairs, 10 epochs. Fashion-MNIST with three seeds at 8
bits, 4 bits and float, one seed at five values of rho, at two of them with the small generator fine-tuned as well;
mnist-5k with one seed; and the recipe `reference` once, with its own sizes. Students of a seed share its teacher. A
folder per chain in DIR: what is finished in it is not done again, and what was interrupted goes on. `--plan` says what
there is to do. The page is written from what is finished, and keeps the figures that it is written from: with `--page`
of an earlier one, what was finished elsewhere is done.

Measured on one core of a busy machine (AVX2, 1 intra-op thread): 9 ms of processor time for an image of the teacher, so
a teacher of 10 epochs of Fashion-MNIST (54,000 images) 80 min. A pair of the student costs as much as it computes with
all channels until they are taken out, and the rounding besides: an estimate is 11 ms, 3.7 min for an epoch of 20,000.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks.kept_rows import rows_in, section
from benchmarks.report import console, machine, print_machine
from benchmarks.results import command_of
from fedcompress.errors import RunError
from fedcompress.files import write_text
from fedcompress.options import Options
from fedcompress.page.blocks import TextTable
from fedcompress.recipes.generate import launch
from fedcompress.recipes.generate.display import ChainDisplay
from fedcompress.recipes.generate.recipe import STEPS, GeneratorRecipe, StepName
from fedcompress.results.compare.formats import markdown
from fedcompress.results.compare.statistics import Interval
from fedcompress.scenario.gallery import named

Row = dict[str, Any]
SEEDS = (1, 2, 3)
BITS = (8, 4, 32)
RHO = 0.05
"""Of all but the sweep over rho. Where nothing holds a scale, 1,570 steps take 0.05 * 0.1 * 1,570 / 2 = 3.9 from it;
before the teacher is trained, scales are 0.2 to 0.5. rho 0.01, the paper's, takes 0.8 here: it is for the published
number of steps."""
RHOS = (0.02, 0.03, 0.05, 0.1, 0.2)
TUNED_RHOS, TUNED = (0.1, 0.2), 10
"""Of the students whose small generators are also fine-tuned, and for how many epochs: as many as they are slimmed."""
SHARED: tuple[StepName, ...] = ("teacher", "dataset")
TITLE = "Generators of the chain"


@dataclass(frozen=True)
class Case:
    """One chain.

    Attributes:
        name: Of its folder.
        group: What it is a seed of.
        base: Folder whose first steps it takes; None: it does its own.
        overrides: Keys of its recipe.
        recipe: That ships, to begin with; None: the sizes above.
        shared: Steps of the base.
    """

    name: str
    group: str
    base: str | None
    overrides: Mapping[str, Any] = field(default_factory=dict)
    recipe: str | None = None
    shared: Sequence[StepName] = SHARED

    def loaded(self) -> GeneratorRecipe:
        """Returns the recipe."""
        if self.recipe is not None:
            return GeneratorRecipe.load(named(Path(self.recipe), "generators"), dict(self.overrides))
        table = {
            "name": "generators",
            "data": {"dataset": "fashion-mnist"},
            "teacher": {"epochs": 10, "batch_size": 32},
            "dataset": {"pairs": 20_000},
            "student": {"epochs": 10, "rho": RHO},
            "private": {"epochs": 5},
        }
        return GeneratorRecipe.parse(table, dict(self.overrides))


def cases() -> Iterator[Case]:
    """Yields all chains, those first whose teacher others take."""
    for seed in SEEDS:
        first = f"fashion-8-bits-seed{seed}"
        for bits in BITS:
            name = f"fashion-{bits}-bits-seed{seed}"
            group = f"Fashion-MNIST, {'float' if bits == 32 else f'{bits} bits'}"
            overrides = {"seed": seed, "student.bits": bits}
            yield Case(name, group, None if name == first else first, overrides)
    few = {"data.dataset": "mnist-5k", "private.discriminator_steps": 5}  # an epoch has 35 steps
    yield Case("mnist-5k-seed1", "mnist-5k, 8 bits", None, few)
    for rho in RHOS:
        if rho != RHO:
            group = f"Fashion-MNIST, 8 bits, rho {rho:g}"
            yield Case(f"fashion-rho-{rho:g}-seed1", group, "fashion-8-bits-seed1", {"student.rho": rho})
    for rho in TUNED_RHOS:
        name, group = f"fashion-rho-{rho:g}", f"Fashion-MNIST, 8 bits, rho {rho:g}, fine-tuned"
        tuned = {"student.rho": rho, "compress.epochs": TUNED}
        yield Case(f"{name}-tuned-seed1", group, f"{name}-seed1", tuned, shared=(*SHARED, "student"))
    yield Case("reference", "the reference size", None, {}, "reference")


def carried_out(case: Case, folder: Path) -> None:
    """Runs what is not finished of a chain."""
    path, recipe = folder / case.name, case.loaded()
    if (path / launch.FILE).exists() and GeneratorRecipe.load(path / launch.FILE) == recipe:
        with ChainDisplay(STEPS[-1]) as display:
            launch.resume(path, display)
        return
    if case.base is not None:
        for step in case.shared:
            shutil.copytree(folder / case.base / step, path / step, dirs_exist_ok=True)
    first = None if case.base is None else STEPS[len(case.shared)]
    with ChainDisplay(STEPS[-1]) as display:
        launch.start(recipe, path, Options(), display, first=first)


def finished(case: Case, folder: Path) -> dict[str, Row]:
    """Returns step -> figures of the steps that are done."""
    files = {step: folder / case.name / step / "figures.json" for step in STEPS}
    return {step: json.loads(file.read_text(encoding="utf-8")) for step, file in files.items() if file.exists()}


def table(found: Mapping[str, Sequence[dict[str, Row]]]) -> TextTable:
    """Returns a row for each group and step, means over seeds.

    Args:
        found: Group -> the figures of its chains, step by step.
    """
    columns = ("chain", "step", "score, %", "int8 score, %", "to teacher", "kernel", "Frechet", "weights")
    columns += ("float32, times fewer", "packed, times fewer", "multiply-adds", "latency, us", "int8, us", "epsilon")
    rows = []
    for group, chains in found.items():
        for step in ("teacher", "student", "compress", "private"):
            if done := [chain for chain in chains if step in chain]:
                rows.append((f"{group} ({len(done)})", step, *_cells(step, done)))
    caption = (
        "In brackets: seeds; ± is half of the 95 % interval over them. Score: accuracy on test images of a classifier "
        "trained on 10,000 samples. Times fewer: bytes of the teacher as float32 divided by those of the generator as "
        "float32, and of its packed file at the student's bits. Epsilon is of the step private alone, whose teacher "
        "and pairs came from data without privacy: the chain has none."
    )
    return TextTable(TITLE, columns, tuple(rows), caption)


def _cells(step: str, chains: Sequence[dict[str, Row]]) -> tuple[str, ...]:
    own = [chain[step] for chain in chains]
    teachers = [chain["teacher"] for chain in chains]
    whole = [row["float32_bytes"] for row in teachers]
    lost = [row["accuracy_score"] - teacher["accuracy_score"] for row, teacher in zip(own, teachers, strict=True)]
    fewer = [of / row["float32_bytes"] for of, row in zip(whole, own, strict=True)]
    packed = [of / row["packed_bytes"] for of, row in zip(whole, own, strict=True) if row.get("packed_bytes")]
    return (
        _spread([100 * row["accuracy_score"] for row in own], 2),
        _spread([100 * row["int8_score"] for row in own if row.get("int8_score") is not None], 2),
        "-" if step == "teacher" else _spread([100 * value for value in lost], 2),
        _spread([row["kernel_distance"] for row in own], 3),
        _spread([row["frechet_distance"] for row in own if row.get("frechet_distance") is not None], 2),
        _spread([row["parameters"] for row in own], 0),
        _spread(fewer, 2),
        _spread(packed, 1),
        _spread([row["multiply_adds"] for row in own], 0),
        _spread([row["latency_us"] for row in own if row.get("latency_us") is not None], 0),
        _spread([row["int8_latency_us"] for row in own if row.get("int8_latency_us") is not None], 0),
        _epsilon(own),
    )


def _spread(values: Sequence[float], digits: int) -> str:
    interval = Interval.of_known(values)
    return interval.text(lambda value: f"{value:,.{digits}f}") if interval else "-"


def _epsilon(rows: Sequence[Row]) -> str:
    steps = [row["epsilon_of_step"] for row in rows if row.get("epsilon_of_step") is not None]
    return f"{max(steps):.2f} (step)" if steps else "-"


def page(found: TextTable, command: str) -> str:
    """Returns the page of results."""
    versions = ", ".join(f"{name} {number}" for name, number in machine()["versions"].items() if number)
    sizes = (
        f"teacher cgan, 10 epochs in batches of 32; students from 20,000 pairs, 10 epochs, rho {RHO:g} where a chain "
        "does not say; private 5 epochs; the reference size has its own"
    )
    return (
        "\n\n".join([f"# {TITLE}", f"```\n{command}\n```", f"- {sizes}\n- {versions}", markdown(found).strip()]) + "\n"
    )


def _figures(case: Case, folder: Path, before: Mapping[str, dict[str, Row]]) -> dict[str, Row]:
    """Returns step -> figures of a chain: as they are here, or else as the page has them."""
    here, known = finished(case, folder), before.get(case.name, {})
    return here if len(here) >= len(known) else known


app = typer.Typer(pretty_exceptions_enable=False)


@app.command()
def main(
    out: Annotated[Path, typer.Option(help="Folder of the chains.")] = Path("runs/chain"),
    only: Annotated[list[str] | None, typer.Option(help="Names of chains; default: all.")] = None,
    results: Annotated[Path | None, typer.Option("--page", help="Writes the page of what is finished.")] = None,
    plan: Annotated[bool, typer.Option("--plan", help="Say what is done, and what is not; do nothing.")] = False,
) -> None:
    """Runs chains, and prints and writes their figures."""
    known = list(cases())
    if unknown := set(only or ()) - {case.name for case in known}:
        raise typer.BadParameter(
            f"no chain is called {sorted(unknown)[0]!r}; known: {', '.join(c.name for c in known)}"
        )
    before = {row["chain"]: row["figures"] for row in rows_in(results)} if results is not None else {}
    for case in known:
        if only is None or not only or case.name in only:
            done = _figures(case, out, before)
            console.print(f"{case.name}: {', '.join(done) or 'nothing'} done")
            if not plan and len(done) < len(STEPS):
                try:
                    if case.base is not None and not all((out / case.base / step).is_dir() for step in case.shared):
                        carried_out(next(each for each in known if each.name == case.base), out)  # done elsewhere
                    carried_out(case, out)
                except (RunError, FloatingPointError) as error:  # too large a rho, say: the others go on
                    console.print(f"{case.name}: {error}")
    chains = [(case, figures) for case in known if (figures := _figures(case, out, before))]
    if chains:
        groups: dict[str, list[dict[str, Row]]] = {}
        for case, figures in chains:
            groups.setdefault(case.group, []).append(figures)
        written = page(
            table(groups), command_of(sys.argv, "python -m benchmarks.chain", {"--out": 1, "--page": 1, "--plan": 0})
        )
        console.print(written)
        if results is not None:
            rows = [{"chain": case.name, "figures": figures} for case, figures in chains]
            write_text(results, written + section(rows))
    print_machine()


if __name__ == "__main__":
    app()
