"""`fedcompress compare`."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from fedcompress.cli.arguments import CompareArguments
from fedcompress.cli.output import explain, show
from fedcompress.progress import console
from fedcompress.results.compare import formats, tables
from fedcompress.results.compare.blocks import compare_blocks
from fedcompress.results.compare.caveats import check_same_task
from fedcompress.results.compare.comparison import Comparison, ComparisonError
from fedcompress.results.compare.condition import Condition
from fedcompress.results.runs import find_runs


def command(args: CompareArguments) -> None:
    """Compares runs over seeds; `--fail-if` is understood before anything is written."""
    runs = find_runs(args.runs)
    if not args.any_data:
        check_same_task(runs.runs)
    chosen = [name for text in args.figures for name in text.split(",") if name]
    made = compare_blocks(runs, by=args.by, baselines=args.baseline, figures=chosen, target=args.target)
    command = shlex.join(["fedcompress", *sys.argv[1:]])
    comparisons = [replace(comparison, command=command) for comparison in made]
    failures = []
    if args.fail_if is not None:
        for comparison in comparisons:
            condition = Condition(args.fail_if, [figure.name for figure in comparison.figures])
            failures.append(comparison.failure(condition))
    if args.out is not None:
        formats.write(comparisons, args.out)
    if len(comparisons) == 1:
        show_comparison(comparisons[0], formats.to_json(comparisons[0]), as_json=args.json)
    else:
        _show_several(comparisons, as_json=args.json)
    if args.explain and not args.json:
        explain(words(comparisons))
    if not args.json:
        console().print(comparisons[0].origin, style="dim", soft_wrap=not sys.stdout.isatty())
    if failed := [str(failure) for failure in failures if failure]:
        raise ComparisonError("\n".join(failed))


def words(comparisons: Sequence[Comparison]) -> Iterator[str]:
    """Yields the headers of all tables."""
    for comparison in comparisons:
        for table in tables.text_tables(comparison):
            yield from table.columns


def _show_several(comparisons: Sequence[Comparison], *, as_json: bool) -> None:
    """Prints comparisons one below the other, each note once."""
    if as_json:
        show(formats.all_as_json(comparisons), "", as_json=True)
    else:
        screen = console()
        for comparison in comparisons:
            screen.rule(f"{comparison.block}  against {comparison.baseline}".strip())
            screen.print(formats.render_terminal(tables.text_tables(comparison)))
    for note in dict.fromkeys(note for comparison in comparisons for note in tables.notes(comparison)):
        print(note, file=sys.stderr)


def show_comparison(comparison: Comparison, table: Mapping[str, Any], *, as_json: bool) -> None:
    """Prints a comparison with its notes; `table` is what a program gets instead."""
    show(table, formats.render_terminal(tables.text_tables(comparison)), as_json=as_json)
    for note in tables.notes(comparison):
        print(note, file=sys.stderr)
