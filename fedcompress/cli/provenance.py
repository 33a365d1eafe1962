"""`fedcompress provenance`."""

from __future__ import annotations

from fedcompress.cli.arguments import ProvenanceArguments
from fedcompress.results.appendix import paragraph
from fedcompress.results.compare.formats import in_latex
from fedcompress.results.runs import find_runs


def command(args: ProvenanceArguments) -> None:
    """Prints what runs were made with, as a paragraph."""
    text = paragraph(find_runs(args.runs, unfinished=True))
    print(in_latex(text) if args.latex else text)
