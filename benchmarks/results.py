"""RESULTS.md: what runs gave, written from their directories and never by hand.

    python -m benchmarks.results RUN... [--into RESULTS.md]

Each RUN is the directory of a run or a sweep. Each scenario is a section: what was run, with which versions and seeds,
and the tables of `fedcompress compare`. A section of the same scenario is replaced; the others stay as they are.
"""

from __future__ import annotations

import argparse
import math
import re
import shlex
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import pandas as pd

from fedcompress.errors import InputError
from fedcompress.results.compare.comparison import compare
from fedcompress.results.compare.tables import to_markdown
from fedcompress.results.runs import Found, RunResult, find_runs
from fedcompress.scenario.gallery import shipped
from fedcompress.scenario.overrides import read_toml
from fedcompress.units import size
from fedcompress.wire.ledger import ENVELOPE

HEAD = """# Results

Written by `python -m benchmarks.results RUN...` from run directories; not to be edited by hand. Every figure was
measured by the runs that its section names. ± is half of the 95 % interval over seeds (Student's t); differences are
taken seed by seed; "within noise" says that the interval of the difference holds zero. Accuracy is that on the test set
after the last round; nothing is chosen by it. Times are by the clock, beside whatever else the machine was doing.
Sections begun before 2026-11-26: former networks (stride 1), `scope = "layer"`, dsfl "enhanced"; until measured again.

To add a scenario or renew it, run it from a clean checkout and hand over its directory; the other sections stay:

    fedcompress run scenarios/NAME.toml --out runs/NAME
    python -m benchmarks.results runs/NAME
"""
HIDDEN = {"--out": 1, "--data-dir": 1, "--json": 0}
"""Options that say nothing to another machine, and how many values follow them."""


def section(path: Path) -> tuple[str, str]:
    """Returns the name of the scenario of a run or sweep, and its section.

    Raises:
        InputError: It is no run or sweep, or runs of it are missing.
    """
    found = find_runs([path])
    if found.missing:
        raise InputError(
            f"{path}: {len(found.missing)} runs are missing ({found.missing[0]}); fedcompress resume {path}"
        )
    name = str(read_toml(path / "scenario.toml")["name"])
    runs = found.runs
    parts = [f"## {name}", _made_with(runs), to_markdown(compare(found)), contents_table(found)]
    return name, "\n\n".join(part.strip() for part in parts)


def contents_table(found: Found) -> str:
    """Returns bytes by direction and content, the mean over a variant's runs, as Markdown."""
    sums: dict[str, dict[str, float]] = {}
    for variant, runs in found.variants.items():
        ledger = pd.concat([run.ledger for run in runs])
        means = ledger.groupby(["direction", "content"])["wire_bytes"].sum() / len(runs)
        sums[variant] = {f"{content}, {direction.removesuffix('link')}": n for (direction, content), n in means.items()}
    table = pd.DataFrame(sums).T
    order = sorted(table, key=lambda column: (column.startswith(ENVELOPE), column))
    lines = [["variant", *order], ["---", *("---:" for _ in order)]]
    lines += [[variant, *("-" if math.isnan(n) else size(n) for n in row[order])] for variant, row in table.iterrows()]
    written = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    return f"**Bytes by content**\n\n{written}\n\nOf a whole run, mean over seeds; rows sum to all that crossed."


def _made_with(runs: Sequence[RunResult]) -> str:
    """Says with which command, code, versions, machine and seeds, and how long it took."""

    def distinct(of: Callable[[RunResult], str]) -> str:
        return ", ".join(dict.fromkeys(map(of, runs)))

    commands = dict.fromkeys(_command(run.provenance["command"]) for run in runs)
    shipped = [command for command in commands if "scenarios/" in command]  # beside resumed and split runs of the same
    versions = {f"{name} {number}" for run in runs for name, number in run.provenance["versions"].items() if number}
    seeds = ", ".join(str(seed) for seed in sorted({run.seed for run in runs}))
    data = distinct(lambda run: str(run.scenario["data"]["dataset"]))
    clients = distinct(lambda run: str(run.scenario["data"]["clients"]))
    rounds = distinct(lambda run: str(run.summary["rounds"]))
    lines = [
        "```",
        *(shipped or commands),
        "```",
        "",
        f"- {data}, {clients} clients, {rounds} rounds; {_counted(runs)} {seeds}",
        f"- begun on {min(str(run.provenance['start'])[:10] for run in runs)}; "
        f"{sum(run.summary['seconds'] for run in runs) / 60:.1f} minutes in rounds, by the clock, on "
        f"{distinct(_machine)}",
        f"- engine {distinct(_engine)}",
        f"- commit {distinct(_commit)}; {', '.join(sorted(versions))}",
    ]
    return "\n".join(lines)


def _counted(runs: Sequence[RunResult]) -> str:
    seeds = "seeds" if len({run.seed for run in runs}) > 1 else "seed"
    return f"{len(runs)} runs, {seeds}" if len(runs) > 1 else f"1 run, {seeds}"


def _machine(run: RunResult) -> str:
    machine = run.provenance["machine"]
    return f"{machine['cores']} cores ({machine['processor']})"


def _engine(run: RunResult) -> str:
    return f"{run.provenance['engine']} with {run.provenance['workers']} worker(s)"


def _commit(run: RunResult) -> str:
    made = run.provenance
    return "unknown" if not made["commit"] else f"`{made['commit'][:9]}`" + (" with changes" if made["dirty"] else "")


def _command(words: Sequence[str]) -> str:
    """Returns a command as another machine would run it: without its paths and where it wrote."""
    kept, skipped = ["fedcompress"], 0
    for word in words[1:]:
        option, _, value = word.partition("=")
        if skipped:
            skipped -= 1
        elif option in HIDDEN:
            skipped = 0 if value else HIDDEN[option]
        else:
            kept.append(_relative(word))
    return shlex.join(kept)


def _relative(word: str) -> str:
    """Returns an absolute path as it stands in the repository, or its last part."""
    if not Path(word).is_absolute():
        return word
    parts = Path(word).parts
    return "/".join(parts[parts.index("scenarios") :]) if "scenarios" in parts else parts[-1]


def merged(text: str, sections: Iterable[tuple[str, str]]) -> str:
    """Returns a document in which sections replace those of the same name; they stand by name."""
    known = dict(re.findall(r"<!-- begin (.+?) -->\n(.*?)\n<!-- end \1 -->", text, re.DOTALL))
    known |= dict(sections)
    parts = (f"<!-- begin {name} -->\n{body}\n<!-- end {name} -->\n" for name, body in sorted(known.items()))
    return "\n".join([HEAD, *parts])


def main(arguments: Sequence[str] | None = None) -> int:
    """Writes the document; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.results", description="Writes RESULTS.md from runs.")
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="directory of a run or a sweep")
    parser.add_argument("--into", type=Path, default=Path("RESULTS.md"), metavar="FILE", help="default: RESULTS.md")
    options = parser.parse_args(arguments)
    try:
        sections = [section(path) for path in options.runs]
        text = options.into.read_text(encoding="utf-8") if options.into.exists() else ""
        options.into.write_text(merged(text, sections), encoding="utf-8")
    except (InputError, OSError) as error:
        print("\n".join(f"error: {line}" for line in str(error).splitlines()), file=sys.stderr)
        return 2
    print(f"{options.into}: {', '.join(name for name, _ in sections)}")
    if lacking := [path.stem for path in shipped() if f"<!-- begin {path.stem} -->" not in merged(text, sections)]:
        print(f"scenarios without a section: {', '.join(sorted(lacking))}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
