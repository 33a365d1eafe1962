"""Whether a change that should change no result changed none: digests and bytes of all scenarios and recipes that ship.

    python -m benchmarks.unchanged record FILE [NAME ...]    before, and after, each from its own checkout
    python -m benchmarks.unchanged compare BEFORE AFTER      a table; exit code 1 if anything differs

A scenario runs each of its variants with its first seed for two rounds on the embedded digits, a recipe one epoch on
200 examples. FILE is written after each, and what is in it is not run again.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any

import fedcompress
from fedcompress.errors import FedcompressError
from fedcompress.options import Options
from fedcompress.recipes import launch as recipes
from fedcompress.recipes.display import RecipeDisplay
from fedcompress.recipes.recipe import Recipe
from fedcompress.scenario import Scenario
from fedcompress.scenario.gallery import shipped
from fedcompress.scenario.loading import load_scenario

Found = dict[str, Any]
SMALL = {"rounds": 2, "data.dataset": "mnist-5k", "public.epochs": 1}
TINY = {"training.epochs": 1, "data.examples": 200, "tflite": False}
COLUMNS = ("experiment", "step", "seed", "bits", "sparsity", "train", "validation", "test", "deflated_bytes")
"""What of a recipe's row is compared; times differ from run to run."""


def scenarios() -> Iterator[tuple[str, Callable[[Path], Found]]]:
    """Yields the name of each variant, and what runs it in a folder."""
    for path in shipped():
        whole = load_scenario(path, {})
        variants = [v.name for v in whole.sweep.variants] if whole.sweep else [""]
        for number, variant in enumerate(variants):
            yield f"{path.stem}: {variant}" if variant else path.stem, _scenario(path, number)


def _scenario(path: Path, number: int) -> Callable[[Path], Found]:
    def run(out: Path) -> Found:
        whole = load_scenario(path, {})
        single = whole.runs()[number * (len(whole.sweep.seeds) if whole.sweep else 1)][1]
        overrides = {k: v for k, v in SMALL.items() if not k.startswith("public.") or _generated(single)}
        summary = fedcompress.run(load_scenario(single, overrides), out=out / "run", progress=False).summary
        return {
            "digest": summary["model_digest"],
            "bytes": summary["uplink_bytes"] + summary["downlink_bytes"],
            "accuracy": summary["accuracy"],
        }

    return run


def _generated(scenario: Scenario) -> bool:
    return scenario.public is not None and scenario.public.generated


def recipe(path: Path) -> Callable[[Path], Found]:
    """Returns what runs a recipe in a folder."""

    def run(out: Path) -> Found:
        with RecipeDisplay() as display:
            rows = recipes.start(Recipe.load(path, TINY), out / "recipe", Options(), display, ("benchmarks.unchanged",))
        text = json.dumps([[row[column] for column in COLUMNS] for row in rows])
        return {"digest": sha256(text.encode()).hexdigest(), "bytes": sum(row["deflated_bytes"] for row in rows)}

    return run


def record(file: Path, names: Sequence[str]) -> None:
    """Runs what `file` does not hold yet; an error is a result, too."""
    done: dict[str, Found] = json.loads(file.read_text()) if file.exists() else {}
    for name, run in [*scenarios(), *((f"recipe {path.stem}", recipe(path)) for path in shipped("recipes"))]:
        if name in done or (names and not any(name.startswith(wanted) for wanted in names)):
            continue
        with tempfile.TemporaryDirectory() as folder:
            try:
                done[name] = run(Path(folder))
            except FedcompressError as error:
                done[name] = {"digest": f"{type(error).__name__}: {error}", "bytes": 0}
        file.write_text(json.dumps(done, indent=1) + "\n")
        print(f"{name}: {done[name]['digest'][:60]}", flush=True)


def compare(before: Path, after: Path) -> bool:
    """Prints both side by side and returns whether all is equal."""
    first, second = (json.loads(path.read_text()) for path in (before, after))
    for name in dict.fromkeys([*first, *second]):
        pair = [table.get(name, {"digest": "-", "bytes": 0}) for table in (first, second)]
        digests, sizes = ([found[key] for found in pair] for key in ("digest", "bytes"))
        verdict = "same" if digests[0] == digests[1] and sizes[0] == sizes[1] else "DIFFERENT"
        print(f"{verdict:9}  {name:48}  {digests[0][:12]}  {digests[1][:12]}  {sizes[0]:>11,}  {sizes[1]:>11,}")
    return bool(first == second)


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        what, *arguments = sys.argv[1:] or [""]
        if what == "record" and arguments:
            record(Path(arguments[0]), arguments[1:])
        elif what == "compare" and len(arguments) == 2:
            sys.exit(0 if compare(*map(Path, arguments)) else 1)
        else:
            sys.exit(__doc__)
