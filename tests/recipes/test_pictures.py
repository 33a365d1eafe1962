"""Pictures of ladders, layers and trials: what is drawn of which rows."""

from __future__ import annotations

import io
import re
from typing import Any

from rich.console import Console

from fedcompress.recipes.page import _curves, html
from fedcompress.recipes.pictures import ladders
from fedcompress.recipes.table import result_table


def row(experiment: str, step: str, sparsity: float, **more: Any) -> dict[str, Any]:
    layers = {"conv2d": sparsity / 2, "dense": sparsity}
    table = {"experiment": experiment, "step": step, "sparsity": sparsity, "test": 1 - sparsity}
    return {**table, "layer_sparsity": layers, **more}


def done(seed: int, test: float, **more: Any) -> dict[str, Any]:
    """A row of an experiment that did not fail."""
    table = {"experiment": "plain", "step": "", "seed": seed, "bits": 32, "sparsity": 0.0, "parameters": 10}
    accuracies = {"train": 1.0, "validation": None, "test": test}
    point = {"phase": "train", "epoch": 1, "loss": 0.1, "sparsity": 0.0, "validation": 0.5}
    pictured = {"curve": [point], "layer_sparsity": {"dense": 0.0}, "confusion": [[1, 0], [0, 1]]}
    return {**table, **accuracies, **pictured, "deflated_bytes": 5, **more}


def test_pictures_are_of_the_first_seed_that_did_not_fail() -> None:
    failed = {"experiment": "plain", "step": "", "seed": 1, "problem": "diverged"}
    assert re.findall(r"Pictures, seed \d", html("made-up", "", [failed, done(2, 0.5)])) == ["Pictures, seed 2"] * 2
    assert "Pictures, seed" not in html("made-up", "", [failed])


def test_a_teachers_epochs_are_no_part_of_a_models_line() -> None:
    point = done(1, 0.5)["curve"][0]
    curve = [{**point, "phase": "teacher", "validation": 0.9}, {**point, "phase": "distil", "validation": 0.25}]
    (panel,) = _curves([done(1, 0.5, curve=curve)])
    (line,) = panel.figure["data"]
    assert (list(line["x"]), line["y"]) == ([1], [0.25])
    assert list(_curves([done(1, 0.5, curve=curve[:1])])) == []


def test_a_table_of_several_seeds_has_intervals_and_says_so() -> None:
    """Of 0.5, 0.6 and 0.7 half the width is 4.303 * 0.1 / sqrt(3) = 0.248; of 1, 1 and 1 it is 0; none is validated."""
    rows = [done(1, 0.5), done(2, 0.6), done(3, 0.7)]
    shown = io.StringIO()
    Console(width=120, file=shown).print(result_table("made-up", rows))
    text = " ".join(shown.getvalue().split())
    assert "1.000 ± 0.000 - 0.600 ± 0.248" in text
    assert "± half of the 95 % interval over 3 seeds, in parentheses where it ends at 0 or 1" in text
    one = io.StringIO()
    Console(width=120, file=one).print(result_table("made-up", rows[:1]))
    assert "±" not in one.getvalue()


def test_a_ladder_is_a_line_and_its_layers_a_picture() -> None:
    rows = [row("l1", f"{s}", s, channels_removed=s / 2, emptied="") for s in (0.8, 0.2, 0.4)]
    accuracies, layers = ladders([row("plain", "", 0.0), *rows])
    (line,) = accuracies.figure["data"]
    assert (line["name"], line["x"], line["y"]) == ("l1", [0.1, 0.2, 0.4], [0.8, 0.6, 0.2])
    assert accuracies.table.rows[0] == ("l1", "0.1", "0.8", "0.2")
    assert [(series["name"], series["y"]) for series in layers.figure["data"]] == [
        ("conv2d", [0.1, 0.2, 0.4]),
        ("dense", [0.2, 0.4, 0.8]),
    ]


def test_each_series_is_a_line() -> None:
    rows = [row("lottery", f"{s} {kind}", s, series=kind) for s in (0, 0.5, 0.9) for kind in ("ticket", "control")]
    first, *_ = ladders(rows)
    assert [series["name"] for series in first.figure["data"]] == ["lottery ticket", "lottery control"]


def test_trials_are_points_beside_each_other() -> None:
    rows = [
        row(
            f"floor {floor}",
            f"0.90 trial {trial}",
            0.9,
            trial=trial,
            channels_removed=0.9,
            emptied="conv2d" * (1 - floor),
        )
        for floor in (0, 1)
        for trial in (1, 2)
    ]
    (panel,) = ladders(rows)
    data = panel.figure["data"]
    assert [(series["name"], len(series["y"])) for series in data] == [
        ("floor 0, 0.90", 2),
        ("floor 1, 0.90", 2),
    ]
    assert data[0]["text"][0] == "trial 1, emptied: conv2d"


def test_single_models_need_no_such_picture() -> None:
    assert list(ladders([row("plain", "", 0.0), row("magnitude", "", 0.8)])) == []
