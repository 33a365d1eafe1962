"""channel, adaptive and lottery through `fedcompress compress`: what their rows say, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tomli_w

from fedcompress import keras
from fedcompress.compression.archive import Archive

Call = Callable[..., Any]


def compressed(call: Call, tmp_path: Path, *experiments: dict[str, Any], out: str = "found") -> list[dict[str, Any]]:
    table = {
        "name": "tiny",
        "model": "mini-cnn",
        "tflite": False,
        "data": {"dataset": "digits", "examples": 300, "validation": 0.2},
        "training": {"epochs": 2, "learning_rate": 0.01},
        "experiments": list(experiments),
    }
    (tmp_path / "tiny.toml").write_text(tomli_w.dumps(table))
    done = call("compress", tmp_path / "tiny.toml", "--out", out, "--json")
    assert done.code == 0, done.err
    files = sorted((tmp_path / out / "experiments").glob("*.json"))
    return [row for file in files for row in json.loads(file.read_text())["rows"]]


def test_a_ladder_ends_in_smaller_dense_models_and_fills_an_archive(call: Call, tmp_path: Path) -> None:
    """mini-cnn has 8 channels; without 2, 4 and 6 of them."""
    file = str(tmp_path / "masks")
    ladder = {"method": "channel", "params": {"ladder": [0.25, 0.5, 0.75], "epochs": 1, "archive": file}}
    random = {"method": "channel", "params": {"sparsity": 0.5, "score": "random", "trials": 2, "smaller": "none"}}
    rows = compressed(call, tmp_path, {"name": "ladder", **ladder}, {"name": "random", **random})
    assert [row["step"] for row in rows] == ["0.25", "0.50", "0.75", "0.75 smaller", "0.50 trial 1", "0.50 trial 2"]
    assert [row["channels_removed"] for row in rows] == [0.25, 0.5, 0.75, 0.75, 0.5, 0.5]
    masked, smaller = rows[2:4]
    assert masked["parameters"] == 358
    assert smaller["parameters"] < 0.5 * 358
    assert smaller["nonzero"] <= masked["nonzero"]
    assert (smaller["test"], smaller["sparsity"]) == pytest.approx((masked["test"], masked["sparsity"]))
    assert all(row["sparsity"] >= row["channels_removed"] for row in rows)
    assert set(rows[0]["layer_sparsity"]) == {"conv2d", "conv2d_1"}
    assert [e.sparsity for e in Archive(Path(file)).entries] == [0.25, 0.5, 0.75]
    reused = {"method": "channel", "params": {"sparsity": 0.5, "epochs": 1, "archive": file, "reuse": True}}
    again, _ = compressed(call, tmp_path, reused, out="again")
    assert again["layer_sparsity"] == rows[1]["layer_sparsity"]
    other = {"name": "other", "model": "mini-cnn", "experiments": [{**reused, "dataset": "npz:other.npz"}]}
    (tmp_path / "other.toml").write_text(tomli_w.dumps(other))
    x, y = np.zeros((100, 8, 8, 1), np.uint8), np.arange(100) % 10
    np.savez(tmp_path / "other.npz", x_train=x, y_train=y, x_test=x, y_test=y)
    refused = call("compress", tmp_path / "other.toml", "--out", "other")
    assert refused.code == 2
    assert "has no mask of 'mini-cnn' at 0.5 that was tried on these data" in refused.err


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_a_saved_model_becomes_smaller_as_well(call: Call, tmp_path: Path, suffix: str) -> None:
    """Convolutions of 4 channels, of which the first is frozen, and a head of 16 features: without half of them."""
    layers = keras.layers
    blocks = [
        [layers.Conv2D(4, 3, activation="relu", trainable=False), layers.BatchNormalization()],
        [layers.Conv2D(4, 3, strides=2), layers.BatchNormalization(), layers.ReLU(), layers.Dropout(0.2)],
    ]
    last = [layers.Flatten(), layers.Dense(10, activation="softmax")]
    keras.Sequential([keras.Input((8, 8, 1)), *blocks[0], *blocks[1], *last]).save(tmp_path / f"mine{suffix}")
    params = {"sparsity": 0.5, "count": "channels", "epochs": 1}
    experiment = {"method": "channel", "model": str(tmp_path / f"mine{suffix}"), "params": params}
    masked, smaller = compressed(call, tmp_path, experiment)
    assert (masked["step"], smaller["step"]) == ("0.50", "0.50 smaller")
    assert masked["parameters"] == 40 + 16 + 148 + 16 + 170
    assert smaller["parameters"] < masked["parameters"]
    assert smaller["multiply_adds"] == smaller["multiply_adds_nonzero"]
    assert smaller["test"] == pytest.approx(masked["test"])


def test_adaptive_says_what_holds_and_what_fails(call: Call, tmp_path: Path) -> None:
    params = {"of_best": 0.9, "step": 0.4, "least_step": 0.1, "epochs": 2}
    rows = compressed(call, tmp_path, {"method": "adaptive", "params": params})
    assert rows[0]["step"] == "0 dense"
    assert rows[-1]["step"] == "found"
    best = rows[0]["trial_validation"]
    for row in rows[1:-1]:
        sparsity, verdict = row["step"].split()
        assert row["sparsity"] == pytest.approx(float(sparsity), abs=0.01)
        assert row["threshold"] == pytest.approx(0.9 * best)
        assert (row["trial_validation"] >= max(best, row["trial_validation"]) * 0.9) == (verdict == "holds")
        best = max(best, row["trial_validation"])
    found = rows[-1]["sparsity"]
    holding = [row["sparsity"] for row in rows[1:-1] if row["step"].endswith("holds")]
    failing = [row["sparsity"] for row in rows[1:-1] if row["step"].endswith("fails")]
    assert found == pytest.approx(max([0.0, *holding]), abs=0.01)
    assert all(f > found for f in failing)


def test_a_target_sparsity_is_reached_in_steps(call: Call, tmp_path: Path) -> None:
    params = {"sparsity": 0.7, "step": 0.4, "epochs": 1}
    rows = compressed(call, tmp_path, {"method": "adaptive", "params": params})
    assert [row["step"] for row in rows] == ["0 dense", "0.4000 holds", "0.7000 holds", "found"]
    assert rows[-1]["sparsity"] == pytest.approx(0.7, abs=0.01)


def test_tickets_and_their_control(call: Call, tmp_path: Path) -> None:
    params = {"remaining": 0.4, "rate": 0.4, "output_rate": 0.4}
    rows = compressed(call, tmp_path, {"method": "lottery", "params": params})
    assert [row["step"].split()[1] for row in rows] == ["ticket", "reinitialised"] * 3
    assert [float(row["step"].split()[0]) for row in rows[::2]] == pytest.approx([1.0, 0.6, 0.4], abs=0.01)
    for row in rows:
        assert 1 - row["sparsity"] == pytest.approx(float(row["step"].split()[0]), abs=0.01)
    assert rows[2]["test"] != rows[3]["test"]


@pytest.mark.parametrize(
    ("method", "params", "problem"),
    [
        (
            "channel",
            {"sparsity": 0.95},
            "model 'mini-cnn': received sparsity 0.95 of its channels, but with floor = 1 the",
        ),
        ("channel", {"ladder": [0.5, 0.2]}, "ladder has to ascend within (0, 1), received [0.5, 0.2]"),
        ("channel", {"trials": 3}, "trials would all be the same"),
        ("channel", {"reuse": True}, "reuse needs an archive to take masks from"),
        ("channel", {"score": "l2"}, "input should be 'l1', 'lamp', 'random' or 'gan'"),
        ("adaptive", {}, "expected one of sparsity (as in 0.9), accuracy (0.85) and of_best (0.995)"),
        ("adaptive", {"sparsity": 1.5}, "received 1.5; input should be less than 1"),
        ("lottery", {"remaining": 0.0}, "received 0.0; input should be greater than 0"),
    ],
)
def test_bad_input_is_one_clear_error(
    call: Call, tmp_path: Path, method: str, params: dict[str, Any], problem: str
) -> None:
    table = {"name": "tiny", "model": "mini-cnn", "data": {"dataset": "digits"}}
    (tmp_path / "tiny.toml").write_text(tomli_w.dumps({**table, "experiments": [{"method": method, "params": params}]}))
    done = call("compress", tmp_path / "tiny.toml", "--out", "found")
    assert done.code == 2
    assert problem in done.err
    assert done.err.count("\n") == 1
    assert not Path("found").exists()
