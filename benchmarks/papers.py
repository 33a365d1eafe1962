"""docs/results/papers.md: published tables beside ours, written from runs of `fedcompress reproduce`, never by hand.

    python -m benchmarks.papers [DIRECTORY...]

Without directories, those in `runs/papers` at full size. Each paper is a section; those without runs here, or with
fewer, stay as they are. A small version (`--scale`) has no place on the page.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from benchmarks.sections import counted, write_merged
from fedcompress.errors import InputError
from fedcompress.reproduce import FOLDER, Reproduction, names
from fedcompress.results.compare.formats import markdown
from fedcompress.results.compare.made_with import versions_of
from fedcompress.results.run.new_directory import RUNS
from fedcompress.results.runs import find_runs
from fedcompress.scenario.overrides import read_toml

PAGE = Path("docs/results/papers.md")
LEAD = """# Papers

Published tables beside ours, written from the runs by `python -m benchmarks.papers`.

A mean is `within` if it is at most the table's margin, 1 point, from the published figure; ± is a 95 % interval over
seeds. Where a difference is given, it is by seed.
"""


def section(path: Path) -> str:
    """Returns the table of the runs in a directory, with the command that made them.

    Raises:
        InputError: There are none, or they are of no reproduction.
    """
    name = str(read_toml(path / "scenario.toml")["name"])
    runs = [run for of in find_runs([path]).variants.values() for run in of]
    table = markdown(Reproduction(name).table(path)).strip()
    made_with = f"`fedcompress reproduce {name}`: {versions_of(runs)}.\n{counted(len(runs))}"
    return f"\n## {name}\n\n{made_with}\n\n{table}\n"


def main() -> None:
    """Writes the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("paths", nargs="*", type=Path)
    paths = parser.parse_args().paths or [path for name in names() if (path := RUNS / FOLDER / name).exists()]
    if not paths:
        sys.exit(f"no runs in {RUNS / FOLDER}; make some with: fedcompress reproduce {names()[0]}")
    try:
        page = LEAD + "".join(map(section, paths))
    except InputError as error:
        sys.exit(f"error: {error}")
    write_merged(PAGE, page)
    print(PAGE)


if __name__ == "__main__":
    main()
