"""`fedcompress compare`."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from fedcompress.cli.arguments import CompareArguments
from fedcompress.cli.output import show
from fedcompress.results.compare import tables
from fedcompress.results.compare.caveats import check_same_task
from fedcompress.results.compare.comparison import Comparison, compare
from fedcompress.results.compare.condition import Condition
from fedcompress.results.runs import find_runs


def command(args: CompareArguments) -> None:
    """Compares runs over seeds; `--fail-if` is understood before anything is written."""
    runs = find_runs(args.runs)
    if not args.any_data:
        check_same_task(runs.runs)
    comparison = compare(runs, baseline=args.baseline, target=args.target)
    failure = None
    if args.fail_if is not None:
        failure = comparison.failure(Condition(args.fail_if, [figure.name for figure in comparison.figures]))
    if args.out is not None:
        tables.write(comparison, args.out)
    show_comparison(comparison, tables.to_json(comparison), as_json=args.json)
    if failure:
        raise failure


def show_comparison(comparison: Comparison, table: Mapping[str, Any], *, as_json: bool) -> None:
    """Prints a comparison with its notes; `table` is what a program gets instead."""
    show(table, tables.render_terminal(tables.text_tables(comparison)), as_json=as_json)
    for note in tables.notes(comparison):
        print(note, file=sys.stderr)
