"""Sweeps whose variants are all combinations of some values, and their table of runs."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tomli_w

from fedcompress.errors import InputError
from fedcompress.scenario import Scenario


def sweep(**table: Any) -> Scenario:
    return Scenario.parse({"name": "x", "sweep": table})


def test_a_grid_is_every_combination_of_each_variant() -> None:
    made = sweep(
        seeds=[1, 2],
        variants=[{"name": "a"}, {"name": "b", "set": {"rounds": 3}}],
        grid={"data.alpha": [0.1, 1.0], "server": {"cohort": [0.5]}},
    )
    assert made.sweep is not None
    assert [v.name for v in made.sweep.variants] == [f"{n} alpha={a} cohort=0.5" for n in "ab" for a in ("0.1", "1")]
    assert made.sweep.variants[3].set == {"rounds": 3, "data.alpha": 1.0, "server.cohort": 0.5}
    assert len(made.runs()) == 8
    assert Scenario.parse(made.table()) == made


def test_names_are_told_apart_and_fit_a_directory() -> None:
    made = sweep(grid={"training.epochs": [1], "public.epochs": [2], "groups.all.model": ["file:a/b.keras"]})
    assert made.sweep is not None
    assert [v.name for v in made.sweep.variants] == ["training.epochs=1 public.epochs=2 model=file:a_b.keras"]


def test_no_grid_leaves_a_table_as_it_was() -> None:
    assert sweep(seeds=[3]).table()["sweep"] == {"seeds": [3], "variants": [{"name": "base", "set": {}}]}


@pytest.mark.parametrize(
    ("grid", "message"),
    [
        (
            {"data.alpha": 0.1},
            r"sweep: grid\.data\.alpha: received 0\.1; expected a list of values, as in \[0\.1, 1\.0\]\.",
        ),
        ({"data.alpha": []}, r"sweep: grid\.data\.alpha: received \[\]; expected a list"),
        ({"seed": [1, 2]}, "sweep: a variant cannot set seed"),
        ({"rounds": [1, 1]}, "names of variants and seeds have to differ"),
    ],
)
def test_what_is_wrong_with_a_grid(grid: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        sweep(grid=grid)


def test_a_row_for_each_run(call: Callable[..., Any], tiny: dict[str, Any], tmp_path: Path) -> None:
    grid = {**tiny, "rounds": 1, "sweep": {"grid": {"training.epochs": [1, 2]}}}
    (tmp_path / "grid.toml").write_text(tomli_w.dumps(grid))
    assert call("run", "grid.toml", "--out", "out").code == 0
    rows = list(csv.DictReader((tmp_path / "out" / "runs.csv").open()))
    assert [(row["variant"], row["seed"], row["training.epochs"], row["status"]) for row in rows] == [
        ("epochs=1", "1", "1", "completed"),
        ("epochs=2", "1", "2", "completed"),
    ]
    assert all(0 < float(row["deployed_accuracy"]) < 1 and int(row["uplink_bytes"]) > 0 for row in rows)
