"""Samples of each variant's generator."""

from __future__ import annotations

import base64
from collections.abc import Iterable

from fedcompress.page.blocks import Block, Picture, TextTable
from fedcompress.results.report.shown import Shown
from fedcompress.results.run.directory import RunDirectory

TITLE, PLACE = "Generated samples", 80
TEXT = (
    "A row per class. "
    "Accuracy score: what a classifier that learned from samples alone gets right on the real test set."
)
MOST_GRIDS = 4
"""Grids of samples that one run shows: the first, the last and some between them."""


def blocks(shown: Shown) -> Iterable[Block]:
    """Yields grids of each variant's first run."""
    for variant, (run, *_) in shown.variants.items():
        pictures = sorted((run.path / "samples").glob("*.png"))
        step = max(1, -(-len(pictures) // MOST_GRIDS))
        for picture in pictures[::-1][::step][::-1]:
            measured = picture.with_suffix(".json")
            figures = RunDirectory(run.path).read_json(f"samples/{measured.name}") if measured.exists() else {}
            rows = [(key.replace("_", " "), f"{value:.4g}") for key, value in figures.items() if value is not None]
            title = f"{variant}, {picture.stem.replace('-', ' ')}"
            png = base64.b64encode(picture.read_bytes()).decode("ascii")
            yield Picture(title, png, TextTable(f"Quality of {title}", (), tuple(rows)))
