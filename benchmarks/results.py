"""docs/results/NAME.md: what scenarios, recipes and `fedcompress distill` gave, written by command and never by hand.

    python -m benchmarks.results NAME... [--seeds N] [--set KEY=VALUE]    runs what ships, and writes its pages
    python -m benchmarks.results DIRECTORY...                             of runs, sweeps, recipes, distillations

A scenario without a sweep runs with the seeds 1 to N, a recipe as well if N is given; a sweep has its own. They run
from the checkout as it is (commit first) into `runs/results/NAME`; what is finished there is not run again. Directories
of one scenario with different seeds are one page. A distillation's `results.json` does not say on which machine it was
made.
"""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.results_groups import groups_table, mean, mean_size, of_seeds
from fedcompress.errors import InputError
from fedcompress.page.blocks import TextTable
from fedcompress.recipes.table import label, measured, over_seeds, problems
from fedcompress.results.compare.comparison import compare
from fedcompress.results.compare.formats import markdown, to_markdown
from fedcompress.results.compare.statistics import SHARE, Interval
from fedcompress.results.deployed import deployed_accuracy, deployed_worst
from fedcompress.results.run.directory import RunDirectory
from fedcompress.results.runs import FoundRuns, find_runs
from fedcompress.rows import Provenance
from fedcompress.scenario.gallery import shipped
from fedcompress.scenario.overrides import read_toml
from fedcompress.units import counted, number, size
from fedcompress.wire.ledger import ENVELOPE

INTO = Path("docs/results")
HIDDEN = {"--out": 1, "--data-dir": 1, "--json": 0}
"""Options that say nothing to another machine, and how many values follow them."""


def run(name: str, seeds: int | None, settings: Sequence[str], folder: Path) -> list[Path]:
    """Runs a shipped scenario or recipe, or what of it is not finished, and returns its directories.

    Raises:
        InputError: There is none of that name, or it failed.
    """
    files = {path.stem: path for kind in ("scenarios", "recipes") for path in shipped(kind)}
    if name not in files:
        raise InputError(f"{name}: is no directory, and no scenario or recipe that ships; see fedcompress list.")
    file, more = files[name], [word for setting in settings for word in ("--set", setting)]
    if file.parent.name == "recipes":
        numbers = ",".join(str(seed) for seed in range(1, (seeds or 0) + 1))
        return [_run(["compress", name, *more, *(["--set", f"seeds=[{numbers}]"] if seeds else [])], folder / name)]
    words = ["run", f"scenarios/{file.name}", *more]
    if "sweep" in read_toml(file):
        return [_run(words, folder / name)]
    return [_run([*words, "--seed", str(n)], folder / name / f"seed-{n}") for n in range(1, (seeds or 1) + 1)]


def _run(words: Sequence[str], path: Path) -> Path:
    words = ["resume", str(path)] if path.exists() else [*words, "--out", str(path)]
    if subprocess.run([sys.executable, "-m", "fedcompress.cli", *words], stdout=sys.stderr, check=False).returncode:
        raise InputError(f"fedcompress {shlex.join(words)}: failed; see above.")
    return path


def page(paths: Sequence[Path]) -> tuple[str, str]:
    """Returns the name and the page of directories of one scenario, or of one recipe or distillation.

    Raises:
        InputError: It is none of these, or something of it is missing.
    """
    for file, of in (("recipe.toml", _recipe), ("results.json", _distillation)):
        if (paths[0] / file).exists():
            if len(paths) > 1:
                raise InputError(f"{paths[1]}: {paths[0]} is another of that name; name one of them.")
            name, parts = of(paths[0])
            return name, _page(name, parts)
    found = find_runs(paths)
    if found.missing:
        lacking = f"{counted(len(found.missing), 'missing run')} ({found.missing[0]})"
        raise InputError(f"{paths[0]}: {lacking}; fedcompress resume {paths[0]}")
    name = str(read_toml(paths[0] / "scenario.toml")["name"])
    return name, _page(name, _scenario(found))


def _page(name: str, parts: Iterable[str]) -> str:
    header = [line for file in (*shipped(), *shipped("recipes")) if file.stem == name for line in _header(file)]
    return "\n\n".join([f"# {name}", *(["\n".join(header)] if header else []), *map(str.strip, parts)]) + "\n"


def _header(file: Path) -> Iterable[str]:
    """Yields the comment at the top of a scenario: what to expect, how long it takes, the command."""
    for line in file.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            return
        text = line.removeprefix("#").strip()
        yield f"> {text}" if ": " not in text[:8] else f">\n> **{text.partition(': ')[0]}:** {text.partition(': ')[2]}"


def _scenario(found: FoundRuns) -> Iterable[str]:
    """Yields how it was run, what the groups' devices run, a row for each seed, the comparison, and bytes."""
    runs = found.runs
    scenario = runs[0].scenario["data"]
    rounds = ", ".join(dict.fromkeys(str(run.summary["rounds"]) for run in runs))
    what = f"{scenario['dataset']}, {scenario['clients']} clients, {rounds} rounds"
    seconds = sum(run.summary["seconds"] for run in runs)
    yield _made_with([run.provenance for run in runs], what, sorted({run.seed for run in runs}), seconds)
    yield markdown(groups_table(found))
    yield markdown(_seeds(found))
    yield to_markdown(compare(found), origin=False)
    yield markdown(_contents(found))


def _seeds(found: FoundRuns) -> TextTable:
    rows = tuple(
        (
            variant,
            str(run.seed),
            *(number(accuracy) for accuracy in (deployed_accuracy(run), deployed_worst(run))),
            *(number(run.summary[key]) for key in ("accuracy", "best_accuracy")),
            *(number(run.summary["clients"].get(key)) for key in ("mean", "worst10")),
            *(size(run.summary[key]) for key in ("uplink_bytes", "downlink_bytes")),
            f"{run.summary['seconds']:.1f} s",
        )
        for variant, runs in found.variants.items()
        for run in runs
    )
    columns = (
        *("variant", "seed", "deployed", "worst group", "global", "best on validation", "own data", "worst tenth"),
        *("up", "down", "time"),
    )
    caption = (
        "On the test set after the last round. deployed, worst group, own data: of what devices run; global, best on "
        "validation: of the global model."
    )
    return TextTable("Each seed", columns, rows, caption)


def _recipe(path: Path) -> tuple[str, Iterable[str]]:
    recipe, directory = read_toml(path / "recipe.toml"), RunDirectory(path)
    tables = [directory.read_json(f"experiments/{file.name}") for file in sorted((path / "experiments").glob("*.json"))]
    rows = [row for table in tables for row in table["rows"]]
    if unfinished := [table for table in tables if not table.get("finished")]:
        raise InputError(f"{path}: {len(unfinished)} experiments are not finished; fedcompress resume {path}")
    seeds = sorted({row["seed"] for row in rows})
    made: Any = directory.read_json("provenance.json")
    what = f"{recipe['data']['dataset']}, model {recipe['model']}"
    parts = [
        _made_with([made], what, seeds, _seconds(rows)),
        markdown(TextTable("Models", _MODELS, tuple(map(_model, over_seeds(measured(rows)))), of_seeds(len(seeds)))),
        *(f"- {problem}" for problem in problems(rows)),
    ]
    return str(recipe["name"]), parts


_MODELS = ("model", "test accuracy", "by seed", "validation", "sparsity", "bits", "deflated", "weights", "time")


def _seconds(rows: Sequence[dict[str, Any]]) -> float:
    """Returns what trainings took; one that experiments share, whose seconds are the same on each, counts once."""
    return sum(row["seconds"] for row in rows) + sum({row.get("shared_seconds", 0.0) for row in rows})


def _model(rows: Sequence[dict[str, Any]]) -> tuple[str, ...]:
    return (
        label(rows[0]),
        mean([row["test"] for row in rows], SHARE),
        ", ".join(number(row["test"]) for row in rows),
        mean([row["validation"] for row in rows], SHARE),
        mean([row["sparsity"] for row in rows], SHARE, 3),
        str(rows[0]["bits"]),
        mean_size([row["deflated_bytes"] for row in rows]),
        f"{rows[0]['parameters']:,}",
        f"{sum(row['seconds'] + row.get('shared_seconds', 0.0) for row in rows) / len(rows):.1f} s",
    )


def _distillation(path: Path) -> tuple[str, Iterable[str]]:
    table = RunDirectory(path).read_json("results.json")
    settings = table["settings"]
    options = [f"--{key} {settings[key]}" for key in ("teacher", "student", "data", "epochs", "seeds")]
    rows = tuple(
        (
            method["method"],
            Interval(method["test"]["mean"], method["test"]["half_width"], SHARE).text(number),
            ", ".join(number(run["test"]) for run in table["runs"] if run["method"] == method["method"]),
            f"{method['parameters']:,}",
            f"{method['sparsity']:.3f}",
            f"{method['seconds']:.1f} s",
        )
        for method in table["methods"]
    )
    columns = ("method", "test accuracy", "by seed", "parameters", "sparsity", "time")
    versions = ", ".join(f"{name} {version}" for name, version in table["versions"].items() if version)
    parts = [
        _fenced([f"fedcompress distill {' '.join(options)}"]) + f"\n\n- {versions}",
        markdown(TextTable("Methods", columns, rows, of_seeds(settings["seeds"]))),
    ]
    return f"distill-{settings['teacher']}-{settings['student']}".replace(":", "-"), parts


def _contents(found: FoundRuns) -> TextTable:
    """Bytes by direction and content: of a whole run, the mean over a variant's runs."""
    sums: dict[str, dict[str, float]] = {}
    for variant, runs in found.variants.items():
        bar = sums[variant] = {}
        for of_run in (run.summary["bytes_by_content"] for run in runs):
            for direction, contents in of_run.items():
                for content, count in contents.items():
                    column = f"{content}, {direction.removesuffix('link')}"
                    bar[column] = bar.get(column, 0.0) + count / len(runs)
    columns = {column for bar in sums.values() for column in bar}
    order = sorted(columns, key=lambda column: (column.startswith(ENVELOPE), column))
    rows = tuple(
        (variant, *(size(bar[column]) if column in bar else "-" for column in order)) for variant, bar in sums.items()
    )
    caption = "Of a whole run, mean over seeds; rows sum to all that crossed."
    return TextTable("Bytes by content", ("variant", *order), rows, caption)


def _made_with(made: Sequence[Provenance], what: str, seeds: Sequence[int], seconds: float) -> str:
    """Says with which command, code, versions, machine and seeds, when, and how long it took."""

    def distinct(of: Callable[[Any], str]) -> str:
        return ", ".join(dict.fromkeys(map(of, made)))

    commands = dict.fromkeys(command_of(one["command"]) for one in made)
    originals = [command for command in commands if "resume" not in command]
    versions = {f"{name} {version}" for one in made for name, version in one["versions"].items() if version}
    several = "seeds" if len(seeds) > 1 else "seed"
    lines = [
        f"- {what}; {several} {', '.join(map(str, seeds))}",
        f"- begun on {min(str(one['start'])[:10] for one in made)}; {seconds / 60:.1f} minutes by the clock, "
        f"whatever else ran, on {distinct(lambda one: '{cores} cores ({processor})'.format(**one['machine']))}",
        f"- engine {distinct(lambda one: '{engine} with {workers} worker(s)'.format(**one))}",
        f"- commit {distinct(_commit)}; {', '.join(sorted(versions))}",
    ]
    return _fenced(originals or list(commands)) + "\n\n" + "\n".join(lines)


def _fenced(commands: Iterable[str]) -> str:
    return "\n".join(["```", *commands, "```"])


def _commit(made: Mapping[str, Any]) -> str:
    return "unknown" if not made["commit"] else f"`{made['commit'][:9]}`" + (" with changes" if made["dirty"] else "")


def command_of(words: Sequence[str], program: str = "fedcompress", hidden: Mapping[str, int] = HIDDEN) -> str:
    """Returns a command as another machine would run it: without its paths and where it wrote.

    Args:
        words: Of the command, the program first.
        program: What it is called elsewhere.
        hidden: Options that say nothing there, and how many values follow them.
    """
    shown, skipped = program.split(), 0
    for word in words[1:]:
        option, _, value = word.partition("=")
        if skipped:
            skipped -= 1
        elif option in hidden:
            skipped = 0 if value else hidden[option]
        else:
            shown.append(_relative(word))
    return shlex.join(shown)


def _relative(word: str) -> str:
    """Returns an absolute path as it stands in the repository, or its last part."""
    if not Path(word).is_absolute():
        return word
    parts = Path(word).parts
    return "/".join(parts[parts.index("scenarios") :]) if "scenarios" in parts else parts[-1]


def main(arguments: Sequence[str] | None = None) -> int:
    """Writes the pages; returns the exit code."""
    about = "Writes docs/results/NAME.md."
    parser = argparse.ArgumentParser(prog="python -m benchmarks.results", description=about)
    parser.add_argument("what", nargs="+", metavar="NAME", help="a shipped scenario or recipe, or a directory")
    parser.add_argument("--seeds", type=int, metavar="N", help="1 to N; by default 1, or a recipe's own")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="for what is run")
    parser.add_argument("--runs", type=Path, default=Path("runs/results"), metavar="DIR", help="where they run")
    parser.add_argument("--into", type=Path, default=INTO, metavar="DIR", help=f"of the pages; default: {INTO}")
    options = parser.parse_args(arguments)
    try:
        paths: list[Path] = []
        for what in options.what:
            paths += [Path(what)] if Path(what).is_dir() else run(what, options.seeds, options.set, options.runs)
        options.into.mkdir(parents=True, exist_ok=True)
        for together in _by_name(paths).values():
            name, text = page(together)
            (options.into / f"{name}.md").write_text(text, encoding="utf-8")
            print(options.into / f"{name}.md")
    except (InputError, OSError) as error:
        print("\n".join(f"error: {line}" for line in str(error).splitlines()), file=sys.stderr)
        return 2
    return 0


def _by_name(paths: Sequence[Path]) -> dict[str, list[Path]]:
    """Returns the directories of each scenario or recipe; a distillation stands for itself."""
    named: dict[str, list[Path]] = {}
    for path in paths:
        file = next((path / f for f in ("recipe.toml", "scenario.toml") if (path / f).exists()), None)
        named.setdefault(str(path) if file is None else str(read_toml(file)["name"]), []).append(path)
    return named


if __name__ == "__main__":
    sys.exit(main())
