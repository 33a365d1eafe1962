"""docs/results/papers.md: published tables beside ours, written from runs of `fedcompress reproduce`, never by hand.

    python -m benchmarks.papers [DIRECTORY...]

Without directories, those in `runs/papers` at full size. A small version (`--scale`) has no place here.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from fedcompress.errors import InputError
from fedcompress.reproduce import FOLDER, Reproduction, names, page_of
from fedcompress.results.run.new_directory import RUNS
from fedcompress.scenario.overrides import read_toml

PAGE = Path("docs/results/papers.md")


def main() -> None:
    """Writes the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("paths", nargs="*", type=Path)
    paths = parser.parse_args().paths or [path for name in names() if (path := RUNS / FOLDER / name).exists()]
    if not paths:
        sys.exit(f"no runs in {RUNS / FOLDER}; make some with: fedcompress reproduce {names()[0]}")
    try:
        tables = [Reproduction(str(read_toml(path / "scenario.toml")["name"])).table(path) for path in paths]
    except InputError as error:
        sys.exit(f"error: {error}")
    PAGE.write_text(page_of(tables), encoding="utf-8")
    print(PAGE)


if __name__ == "__main__":
    main()
