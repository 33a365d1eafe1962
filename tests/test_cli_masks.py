"""`fedcompress masks`: an archive, a proposer of it, masks from that; what is refused."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tomli_w

from fedcompress import keras
from fedcompress.launch import resume_one, run_one
from fedcompress.models import channels
from fedcompress.recipes.masks.trials import Trials
from fedcompress.results.run.recorder import Observer
from fedcompress.training.trainer import evaluate
from federating import experiment, run
from proposers import made_proposer, proposed

Call = Callable[..., Any]
NAMES = ("half", "quarter")
RECIPE: dict[str, Any] = {
    "name": "tiny",
    "seeds": [1, 2],
    "models": ["mini-cnn"],
    "datasets": ["digits"],
    "data": {"examples": 200},
    "training": {"epochs": 1, "learning_rate": 0.01},
    "trying": {"sparsities": [0.5], "criteria": ["lamp", "random"], "draws": 2, "mixed": 2, "bred": 1, "epochs": 1},
    "proposer": {"steps": 3, "batch": 4},
}


def written(path: Path, table: dict[str, Any]) -> Path:
    path.write_text(tomli_w.dumps(table))
    return path


def test_from_a_recipe_to_masks(call: Call, tmp_path: Path) -> None:
    """mini-cnn has 8 channels, of which 4 stay."""
    recipe, archive = written(tmp_path / "tiny.toml", RECIPE), tmp_path / "tiny.trials"
    done = call("masks", "collect", recipe, "--set", "seeds=[1]")
    assert done.code == 0, done.err
    assert [n.source.seed for n in Trials(archive).networks] == [1]
    first = archive.read_text()
    archive.write_text(first + '{"model": "cut')  # as if the process had died while it wrote
    done = call("masks", "collect", recipe)
    assert done.code == 0, done.err
    networks = Trials(archive).networks
    assert [n.source.seed for n in networks] == [1, 2]
    assert archive.read_text().startswith(first)
    assert networks[0].layers == ("conv2d", "conv2d_1")
    for network in networks:
        assert {int(t.mask.sum()) for t in network.trials} == {4}
        assert len({t.mask.tobytes() for t in network.trials}) == len(network.trials)
        assert 0.1 < network.dense <= 1
    shown = json.loads(call("masks", "show", archive, "--json", "--out", "archive.html").out)
    assert [(row["criterion"], row["sparsity"]) for row in shown["rows"]] == [
        (criterion, "0.5") for criterion in ("lamp", "random", "mixed", "bred")
    ]
    plots = (tmp_path / "archive.html").read_text()
    assert "Layer by layer: mini-cnn" in plots
    found = [trial.accuracy for network in networks for trial in network.trials if trial.criterion == "lamp"]
    assert f"{min(found):.3f} to {max(found):.3f}, half of them" in plots
    assert re.search(r"lamp</t[dh]>\s*<td[^>]*>0\.5<", plots)  # in numbers, criteria are not moved apart
    done = call("masks", "train", archive, "--set", "steps=3", "--set", "batch=4", "--page", "curves.html")
    assert done.code == 0, done.err
    assert (tmp_path / "tiny.npz").stat().st_size < 100_000
    assert "Losses" in (tmp_path / "curves.html").read_text()
    layers = keras.layers
    keras.Sequential(
        [keras.Input((8, 8, 1)), layers.Conv2D(4, 3), layers.Flatten(), layers.Dense(6), layers.Dense(10)]
    ).save(tmp_path / "mine.keras")
    model = ("--model", "mine.keras", "--data", "digits", "--proposer", "tiny.npz")
    done = call("masks", "propose", *model, "--sparsity", 0.5, "--count", 3, "--out", "found", "--cut", "--json")
    assert done.code == 0, done.err
    masks = json.loads(done.out)["masks"]
    assert [mask["mask"].count("1") for mask in masks] == [5, 5, 5]
    assert (tmp_path / "found" / "masks.txt").read_text().splitlines() == [f"0.5 {mask['mask']}" for mask in masks]
    assert "conv2d" in (tmp_path / "found" / "proposals.html").read_text()
    small = keras.models.load_model(tmp_path / "found" / "mask-1.keras")
    assert [layer.kernel.shape[-1] for layer in small.layers if layer.weights] == [*masks[0]["kept"].values(), 10]


def refused(done: Any) -> str:
    assert done.code == 2
    assert len(done.err.strip().splitlines()) == 1, done.err
    return str(done.err)


def test_masks_that_were_tried_by_other_settings_are_not_gone_on_with(call: Call, tmp_path: Path) -> None:
    """The same for a network of which the archive does not say how its masks were tried; it is read all the same."""
    recipe, archive = written(tmp_path / "tiny.toml", RECIPE), tmp_path / "tiny.trials"
    assert call("masks", "collect", recipe, "--set", "seeds=[1]").code == 0
    before = archive.read_text()
    for changed in ("sparsities=[0.25,0.5]", 'criteria=["l1","lamp"]', "draws=3", "jitter=0.1"):
        done = refused(call("masks", "collect", recipe, "--set", "seeds=[1]", "--set", f"trying.{changed}"))
        assert "tiny.trials: masks of mini-cnn on digits, seed 1, were tried by another [trying]" in done
        assert "name a new archive with --out" in done
    assert call("masks", "collect", recipe, "--set", "seeds=[1]").code == 0
    assert archive.read_text() == before
    header, line = before.splitlines()
    table = json.loads(line)
    del table["tried"]
    archive.write_text(f"{header}\n{json.dumps(table)}\n")
    assert "before archives said by which" in refused(call("masks", "collect", recipe, "--set", "seeds=[1]"))
    assert call("masks", "show", archive).code == 0


def test_training_that_diverges_is_said_in_a_line(call: Call, tmp_path: Path) -> None:
    recipe = written(tmp_path / "tiny.toml", RECIPE)
    done = call("masks", "collect", recipe, "--set", "trying.learning_rate=1e25")
    assert done.code == 1
    assert done.err.strip().splitlines()[-1].startswith("error: mini-cnn on digits, seed 1: training diverged")
    assert "Traceback" not in done.err


FROZEN = """
from fedcompress import keras
from fedcompress.models.architecture import Architecture

class Frozen(Architecture):
    def features(self, inputs):
        x = keras.layers.Flatten()(inputs)
        return keras.layers.Dense(4, trainable=False)(keras.layers.Dense(6, name="seen")(x))
"""


def test_networks_with_channels_that_all_stay_are_not_collected(call: Call, tmp_path: Path) -> None:
    (tmp_path / "mine" / "models").mkdir(parents=True)
    (tmp_path / "mine" / "models" / "frozen.py").write_text(FROZEN)
    recipe = written(tmp_path / "tiny.toml", {**RECIPE, "models": ["frozen"]})
    found = refused(call("masks", "collect", recipe, "--plugins", tmp_path / "mine"))
    assert "model 'frozen': channels of layer 'seen' all stay, since a frozen layer reads them" in found


@pytest.mark.parametrize("options", [("--set", "steps=3"), ("--seed", 2)])
def test_another_proposer_than_quick_needs_a_file_of_its_own(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: tuple[Any, ...]
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    found = refused(call("masks", "train", "quick", *options))
    assert "--set and --seed make another proposer than 'quick' names; say where it goes with --out." in found
    assert not (tmp_path / "fedcompress").exists()


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"trying": {"sparsities": [0.9], "floor": 1}}, "sparsity 0.9 of 8 channels keeps 1, but floor = 1 keeps 2"),
        ({"models": ["mine.keras"]}, "an archive needs initialisations"),
        ({"seeds": [1, 1]}, "seeds: some are named twice"),
        (
            {"trying": {"sparsities": [0.5, 0.8, 0.5]}},
            "trying: sparsities: some are named twice: 0.5; expected each once",
        ),
        (
            {"trying": {"criteria": ["lamp", "lamp"]}},
            "trying: criteria: some are named twice: lamp; expected each once",
        ),
        (
            {"data": {"validation": 0.0}},
            "error: data.validation: received 0, which is none of the examples of digits; masks are",
        ),
        ({"data": {"validation": 1e-4}}, "data.validation: received 0.0001, which is none of the examples of digits"),
        ({"models": ["nothing"]}, "nothing"),
    ],
)
def test_recipes_that_are_wrong(call: Call, tmp_path: Path, change: dict[str, Any], problem: str) -> None:
    recipe = written(tmp_path / "tiny.toml", {**RECIPE, **change})
    assert problem in refused(call("masks", "collect", recipe))
    assert not (tmp_path / "tiny.trials").exists()


def test_what_is_no_archive_or_no_proposer(call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    (tmp_path / "other").write_text("something\n")
    assert "there is no such archive" in refused(call("masks", "show", "absent"))
    assert "is no archive of tried masks" in refused(call("masks", "train", "other"))
    model = ("--model", "mine.keras", "--data", "digits", "--sparsity", 0.5)
    assert "run: fedcompress masks train quick" in refused(call("masks", "propose", *model))
    keras.Sequential(
        [keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(6), keras.layers.Dense(10)]
    ).save(tmp_path / "mine.keras")
    proposer = ("--proposer", made_proposer(tmp_path / "made.npz"))
    wanted = ("--model", "mine.keras", "--data", "digits", *proposer, "--floor", 4, "--sparsity", 0.5)
    assert "with floor = 4 the most is 0.3333" in refused(call("masks", "propose", *wanted))
    cut = ("--floor", 0, "--out", "found", "--cut")
    assert "a layer without channels cannot be cut out; use --floor 1" in refused(
        call("masks", "propose", *model, *proposer, *cut)
    )


def test_a_recipe_of_compress_takes_a_proposer(call: Call, tmp_path: Path) -> None:
    """Along a ladder what is gone stays gone, whatever counts as a fraction."""
    made_proposer(tmp_path / "made.npz")
    params = {"score": "gan", "proposer": "made.npz", "draws": 2, "ladder": [0.25, 0.5], "epochs": 1, "smaller": "none"}
    table = {
        "name": "tiny",
        "model": "mini-cnn",
        "tflite": False,
        "data": {"dataset": "digits", "examples": 200, "validation": 0.2},
        "training": {"epochs": 1, "learning_rate": 0.01},
        "experiments": [{"method": "channel", "params": params}],
    }
    done = call("compress", written(tmp_path / "compress.toml", table), "--out", "found", "--json")
    assert done.code == 0, done.err
    rows = json.loads(done.out)["rows"]
    assert [row["channels_removed"] for row in rows] == [0.25, 0.5]
    files = sorted((tmp_path / "found" / "models").glob("*.keras"))
    kernels = [keras.models.load_model(file).get_weights()[0] for file in files]
    dead = [set(np.flatnonzero((kernel == 0).all(axis=(0, 1, 2)))) for kernel in kernels]
    assert dead[0] <= dead[1]
    del params["proposer"]
    assert "`fedcompress masks train quick`" in refused(call("compress", written(tmp_path / "without.toml", table)))


class Breaks(Observer):
    """Interrupts a run after the round in which its masks are chosen."""

    def round_done(self, row: dict[str, Any]) -> None:
        if row["round"] == 2:
            raise KeyboardInterrupt


def test_a_federation_takes_a_proposer(tmp_path: Path) -> None:
    """A mask is chosen once, after the dense round, and kept; those of two groups are nested. Workers and a resume
    change nothing."""
    made = experiment(proposed(tmp_path / "made.npz"), rounds=4)
    spec, validation = made.groups["half"].model, made.data.server_validation_examples
    weights = spec.initial(np.random.default_rng(0))

    def chosen(name: str) -> list[np.ndarray]:
        compression, rng = made.groups[name].compression, np.random.default_rng(1)
        loss = lambda w: evaluate(spec, w, validation).loss  # noqa: E731
        return channels.kept_of(spec, compression.choose_on(weights, spec, 2, rng, None, validation, loss))

    half, quarter = map(chosen, NAMES)
    assert (sum(int(k.sum()) for k in half), sum(int(k.sum()) for k in quarter)) == (4, 2)
    assert all((a | ~b).all() for a, b in zip(half, quarter, strict=True))
    compression = made.groups["half"].compression
    assert [compression.target(number) for number in (1, 2, 4)] == [0.0, 0.5, 0.5]
    assert [compression.frozen(number) for number in (1, 2, 4)] == [False, True, True]
    summary, _, _ = run(made, tmp_path / "run")
    assert np.isfinite(summary["accuracy"])
    two, _, _ = run(made, tmp_path / "two", workers=2)
    with pytest.raises(KeyboardInterrupt):
        run_one(made.scenario, tmp_path / "cut", observer=Breaks())
    resumed = resume_one(tmp_path / "cut", report=False)
    assert two["model_digest"] == resumed["model_digest"] == summary["model_digest"]


def test_a_federation_without_what_a_proposer_needs(call: Call, tiny: dict[str, Any], tmp_path: Path) -> None:
    made_proposer(tmp_path / "made.npz")
    params = {"score": "gan", "proposer": "made.npz", "begin_round": 1}
    tiny["groups"] = [{"name": "all", "model": "mini-cnn", "compression": "channel", "sparsity": 0.5}]
    tiny["groups"][0]["compression_params"] = params
    tiny["data"]["server_validation"] = 0
    found = refused(call("run", written(tmp_path / "tiny.toml", tiny), "--out", "run"))
    assert "judged by the server's validation examples, but data.server_validation is 0" in found
    tiny["data"]["server_validation"] = 0.1
    tiny["groups"][0]["compression_params"] = {"score": "gan"}
    assert "masks train quick" in refused(call("run", written(tmp_path / "tiny.toml", tiny), "--out", "run"))
    tiny["groups"][0]["compression_params"] = {**params, "proposer": "absent.npz"}
    assert "there is no such file" in refused(call("run", written(tmp_path / "tiny.toml", tiny), "--out", "run"))
