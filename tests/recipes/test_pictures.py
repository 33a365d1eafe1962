"""Pictures of ladders, layers and trials: what is drawn of which rows."""

from __future__ import annotations

from typing import Any

from fedcompress.recipes.pictures import ladders


def row(experiment: str, step: str, sparsity: float, **more: Any) -> dict[str, Any]:
    layers = {"conv2d": sparsity / 2, "dense": sparsity}
    table = {"experiment": experiment, "step": step, "sparsity": sparsity, "test": 1 - sparsity}
    return {**table, "layer_sparsity": layers, **more}


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
