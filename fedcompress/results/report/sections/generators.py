"""What was left of each variant's slim generator, round by round."""

from __future__ import annotations

from collections.abc import Iterable

from fedcompress.page.blocks import Block, TextTable
from fedcompress.results.report.shown import Shown
from fedcompress.units import size

TITLE, PLACE = "Slim generators", 78
TEXT = (
    "After each round: channels and parameters that are left, and what they take as float32 and packed in their bits. "
    "Crossed: what the generator took in the round, to all clients and back, masks included."
)
NOTED = ("generator_channels", "generator_parameters")
BYTES = ("generator_float_bytes", "generator_packed_bytes", "generator_bytes")


def blocks(shown: Shown) -> Iterable[Block]:
    """Yields a table of each variant's first run."""
    for variant, (run, *_) in shown.variants.items():
        rounds = run.rounds
        if not {*NOTED, *BYTES} <= set(rounds.columns):
            continue
        left = rounds[rounds[NOTED[0]].notna()]
        rows = tuple(
            (str(row["round"]), *(f"{int(row[key]):,}" for key in NOTED), *(size(int(row[key])) for key in BYTES))
            for row in left.to_dict("records")
        )
        titles = ("round", "channels", "parameters", "float32", "packed", "crossed")
        yield TextTable(f"Slim generator of {variant}, seed {run.seed}", titles, rows)
