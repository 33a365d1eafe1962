"""Reproductions: a paper's setting as a scenario that ships, and the table that was published beside the one that comes
out.

`scenarios/papers/NAME.toml` is a scenario with a sweep; `scenarios/papers/published/NAME.toml` has the published cells,
what is different here, and what makes a small version of the scenario.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from statistics import mean
from typing import Any, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from fedcompress.errors import InputError, suggestion
from fedcompress.page.blocks import TextTable
from fedcompress.results.compare.figures import model_bytes
from fedcompress.results.compare.statistics import AMOUNT, BETWEEN_SHARES, SHARE, Difference, Interval
from fedcompress.results.runs import RunResult, find_runs
from fedcompress.scenario import Scenario, gallery
from fedcompress.scenario.overrides import read_toml

FOLDER = "papers"
SCALED = "scaled down: no verdict"
"""Instead of one; the small version shows that everything runs, not what comes out."""

Share = Literal[
    "accuracy",
    "best_accuracy",
    "ensemble_accuracy",
    "deployed_accuracy",
    "own_data_accuracy",
    "personal_accuracy",
    "best_trained_accuracy",
]
Amount = Literal["bytes", "model_bytes", "latency"]
Figure = Share | Amount
AMOUNTS = get_args(Amount)
Verdict = Literal["within", "above", "below"]


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Cell(_Table):
    """One cell of a table."""

    row: str = Field(description="what is compared: a method")
    column: str = Field(description="under what: a split of the data")
    variant: str = Field(description="of the scenario's sweep")
    figure: Figure = Field(
        "accuracy",
        description="of a summary; best_trained_accuracy: mean over clients of the best, over rounds, of the model "
        "that each has just trained, on test examples of its own distribution: it flatters, since rounds are chosen on "
        "the test set, and needs evaluation.clients_every; bytes: in both directions; model_bytes: of clients' "
        "deflated files; latency: of the groups' TFLite files on one thread of this machine",
    )
    against: str | None = Field(None, description="variant from which the figure differs: a difference, by seed")
    over: str | None = Field(None, description="variant that has so many times the amount, by seed")
    published: float | None = Field(
        None, description="in percent, percentage points, or times; None: nothing is published"
    )
    other_data: bool = Field(False, description="the published figure is of other data: it has no verdict")

    @model_validator(mode="after")
    def _amounts_are_compared(self) -> Self:
        if (self.figure in AMOUNTS) != (self.over is not None) or (self.over and self.against):
            raise ValueError("amounts (bytes, model_bytes, latency), and no others, are compared by `over`")
        return self


class Published(_Table):
    """What a paper says, and how what is run here differs from it."""

    title: str
    paper: str
    margin: float = Field(gt=0.0, description="percentage points that count as within")
    differences: list[str] = Field(description="of the setting, a phrase each: the reasons where figures differ")
    scale: dict[str, Any] = Field(description="keys that make the small version")
    cells: list[Cell]


class Reproduction:
    """A paper's setting and table.

    Attributes:
        name: As in `fedcompress list reproductions`.
        published: The paper's side.
        scaled: Whether it is the small version.

    Args:
        name: Of one that ships.
        scaled: Whether it is to be the small version.

    Raises:
        InputError: None of that name ships.
    """

    def __init__(self, name: str, *, scaled: bool = False) -> None:
        known = names()
        if name not in known:
            raise InputError(f"reproduce {name}: no reproduction of that name ships.{suggestion(name, known)}")
        self.name, self.scaled = name, scaled
        file = gallery.FOLDER / FOLDER / "published" / f"{name}.toml"
        try:
            self.published = Published.model_validate(read_toml(file))
        except ValidationError as error:
            raise InputError(f"{file}: {error}") from None

    @property
    def label(self) -> str:
        """Its name, and that it is small."""
        return f"{self.name}-scaled" if self.scaled else self.name

    @property
    def scenario(self) -> Scenario:
        """What is run."""
        changes = {**self.published.scale, "name": self.label} if self.scaled else {}
        return Scenario.load(gallery.FOLDER / FOLDER / f"{self.name}.toml", changes)

    def table(self, path: Path) -> TextTable:
        """Returns the published table beside that of the runs in a directory, as far as they are completed.

        Raises:
            InputError: None is.
        """
        return self.table_of(self.rows(path))

    def table_of(self, cells: Iterable[Mapping[str, Any]]) -> TextTable:
        """Returns the table of what `rows` yields."""
        rows = tuple(
            (row["row"], row["column"], *(row[key] for key in ("published", "ours", "seeds", "verdict")))
            for row in map(_written, cells)
        )
        note = "; ".join([f"Published: {self.published.paper}", *self.published.differences])
        title = f"{self.published.title}{' (scaled down)' if self.scaled else ''}"
        return TextTable(title, ("what", "data", "published", "ours, %", "seeds", "verdict"), rows, f"{note}.", "text")

    def rows(self, path: Path) -> Iterator[dict[str, Any]]:
        """Yields each cell as plain values: what was published, the mean here with its interval, and the verdict.

        Args:
            path: Of the sweep.
        """
        runs = find_runs([path]).variants
        for cell in self.published.cells:
            figures = {
                name: {run.seed: value for run in runs.get(name, ()) if (value := _of(run, cell)) is not None}
                for name in (cell.variant, cell.against, cell.over)
                if name is not None
            }
            interval, seeds = _interval(figures, cell)
            verdict = None
            comparable = cell.published is not None and not cell.other_data and cell.over is None
            if interval is not None and comparable and not self.scaled:
                assert cell.published is not None
                verdict = verdict_of(interval.mean, cell.published, self.published.margin)
            yield {
                "row": cell.row,
                "column": cell.column,
                "variant": cell.variant,
                "against": cell.against,
                "over": cell.over,
                "figure": cell.figure,
                "published": cell.published,
                "ours": None if interval is None else interval.mean,
                "half_width": None if interval is None else interval.half_width,
                "seeds": seeds,
                "verdict": verdict,
                "why_none": None if verdict else self._why_none(cell, interval),
            }

    def _why_none(self, cell: Cell, interval: Interval | None) -> str:
        if interval is None:
            return "not run yet"
        if self.scaled:
            return SCALED
        if cell.published is None:
            return "not published"
        return "published of other data" if cell.other_data else "an amount, not an accuracy"


def names() -> list[str]:
    """Returns the names of the reproductions that ship."""
    return sorted(path.stem for path in gallery.shipped("reproductions"))


def verdict_of(ours: float, published: float, margin: float) -> Verdict:
    """Returns whether a figure is within a margin of the published one, above or below it; all in percent."""
    if abs(ours - published) <= margin:
        return "within"
    return "above" if ours > published else "below"


def _of(run: RunResult, cell: Cell) -> float | None:
    """Returns a run's figure, if it has that; accuracies in percent."""
    summary = run.summary
    value: Any
    match cell.figure:
        case "bytes":
            return float(summary["uplink_bytes"] + summary["downlink_bytes"])
        case "model_bytes":
            return model_bytes(run)
        case "latency":
            return _latency(run)
        case "own_data_accuracy":
            value = summary["clients"].get("mean")
        case "personal_accuracy":
            value = summary.get("personal", {}).get("mean")
        case "best_trained_accuracy":
            value = _best_trained(run)
        case _:
            value = summary.get(cell.figure)
    return None if value is None else 100 * float(value)


def _best_trained(run: RunResult) -> float | None:
    """Returns the mean over clients of the best that a model came to that they trained in any round; None: untested."""
    best = run.clients.groupby("client")["accuracy"].max().dropna()
    return float(best.mean()) if len(best) else None


def _latency(run: RunResult) -> float | None:
    """Returns the mean of what one example takes through each of a run's TFLite files, in microseconds."""
    from fedcompress.compression import tflite

    files = sorted((run.path / "models").glob("*.tflite"))
    return mean(tflite.latency(data, tflite.blank(data)) for data in map(Path.read_bytes, files)) if files else None


def _interval(figures: Mapping[str, Mapping[int, float]], cell: Cell) -> tuple[Interval | None, int]:
    """Returns the mean of a cell's figure, difference or ratio, and the number of seeds that it is of; None where a run
    is missing, or none to divide by."""
    if not all(figures.values()):
        return None, 0
    ours = figures[cell.variant]
    if cell.over is not None:
        whole = figures[cell.over]
        ratios = [whole[seed] / ours[seed] for seed in ours if seed in whole and ours[seed]]
        return Interval.of_known(ratios, AMOUNT), len(ratios)
    if cell.against is not None:
        others, (low, high) = figures[cell.against], BETWEEN_SHARES
        found = Difference.of(ours, others, (100 * low, 100 * high))
        return found.interval, found.pairs or len(ours.keys() | others.keys())
    low, high = SHARE
    return Interval.of(list(ours.values()), (100 * low, 100 * high)), len(ours)


def _written(row: Mapping[str, Any]) -> dict[str, str]:
    """Returns a row as a person reads it."""
    style, unit = ("+.2f" if row["against"] else ".2f"), (" times" if row["over"] else "")
    width = row["half_width"]
    spread = "" if width is None else f" ± {width:.2f}"
    ours = "" if row["ours"] is None else f"{row['ours']:{style}}{spread}{unit}"
    published = "" if row["published"] is None else f"{row['published']:{style}}{unit}"
    verdict = row["verdict"] or row["why_none"]
    return {**row, "published": published, "ours": ours, "seeds": str(row["seeds"]), "verdict": verdict}
