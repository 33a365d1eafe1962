"""`fedcompress compress`: from options and recipes to tables, resumed and refused."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tomli_w

from fedcompress import keras
from fedcompress.recipes.bench import Bench
from fedcompress.recipes.method import Outcome
from fedcompress.recipes.methods.plain import Plain

OPTIONS = ("compress", "--model", "mini-cnn", "--data", "digits", "--epochs", 1, "--examples", 200)
NO_LITE = ("--set", "tflite=false")


def test_one_method_beside_no_compression(call: Callable[..., Any], tmp_path: Path) -> None:
    done = call(*OPTIONS, *NO_LITE, "--method", "magnitude", "--sparsity", 0.8, "--out", "found", "--json")
    assert done.code == 0, done.err
    plain, pruned = json.loads(done.out)["rows"]
    assert (plain["method"], pruned["method"]) == ("plain", "magnitude")
    assert plain["sparsity"] < 0.01
    assert pruned["sparsity"] == pytest.approx(0.8, abs=0.01)
    assert pruned["parameters"] == plain["parameters"] == 358
    assert pruned["nonzero"] < 0.3 * plain["nonzero"]
    assert pruned["deflated_bytes"] < plain["deflated_bytes"]
    with (tmp_path / "found" / "results.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["test"]) for row in rows] == [plain["test"], pruned["test"]]
    assert call(*OPTIONS, "--method", "plain", "--out", "found").code == 2


def test_without_validation_examples_there_is_no_validation_accuracy(call: Callable[..., Any], tmp_path: Path) -> None:
    """Of two seeds; a method whose model has no compiled graph of its own as well. Choices need such examples."""
    none = ("--set", "data.validation=0.0", *NO_LITE)
    done = call(*OPTIONS, *none, "--set", "seeds=[1,2]", "--method", "qat", "--bits", 4, "--out", "found", "--json")
    assert done.code == 0, done.err
    rows = json.loads(done.out)["rows"]
    assert [(row["method"], row["validation"], 0 < row["test"] < 1) for row in rows] == [
        *[("plain", None, True)] * 2,
        *[("qat", None, True)] * 2,
    ]
    assert "Validation accuracy over epochs" not in (tmp_path / "found" / "report.html").read_text(encoding="utf-8")
    kept = {"sparsity": 0.5, "archive": "masks.txt"}
    recipe = {
        "name": "choosing",
        "model": "mini-cnn",
        "data": {"dataset": "digits", "examples": 200, "validation": 0.0},
        "training": {"patience": 1},
        "experiments": [{"method": "cluster", "params": {"hold": 0.9}}, {"method": "channel", "params": kept}],
    }
    (tmp_path / "choosing.toml").write_text(tomli_w.dumps(recipe), encoding="utf-8")
    refused = call("compress", "choosing.toml")
    assert refused.code == 2
    assert [line.rpartition("; ")[2] for line in refused.err.splitlines()] == ["use 0.1, say."] * 3, refused.err


@pytest.mark.parametrize("method", ["magnitude", "qat"])
def test_a_model_with_a_counter_is_compressed(call: Callable[..., Any], tmp_path: Path, method: str) -> None:
    """Normalisation that has seen 40 examples counts their values in an integer; nothing is averaged here."""
    layers = keras.layers
    normalisation = layers.Normalization(axis=None)
    normalisation.adapt(np.random.default_rng(0).random((40, 8, 8, 1), np.float32))
    model = keras.Sequential([keras.Input((8, 8, 1)), normalisation, layers.Flatten(), layers.Dense(10)])
    model.save(tmp_path / "counts.keras")
    sparsity = ["--sparsity", 0.5] if method == "magnitude" else ["--bits", 4]
    options = ("--data", "digits", "--epochs", 1, "--examples", 100, *NO_LITE, "--out", "found", "--json")
    done = call("compress", "--model", "counts.keras", "--method", method, *sparsity, *options)
    assert done.code == 0, done.err
    row = json.loads(done.out)["rows"][-1]
    written = keras.models.load_model(tmp_path / "found" / row["file"], compile=False)
    mean, variance, count = written.layers[1].get_weights()
    assert (mean, variance) == (normalisation.mean.numpy(), normalisation.variance.numpy())
    assert (count.dtype, count) == (np.int64, 40 * 64)


SUMMARY = """
name = "summary"
model = "mini-cnn"
summary = true
tflite = false
data = { dataset = "digits", examples = 200 }
training = { epochs = 3, schedule = "constant", patience = 2, min_delta = 100.0 }
tracking = { trackers = ["tensorboard"] }

[[experiments]]
each = { dataset = ["digits", "npz:other.npz"] }

[[experiments]]
method = "magnitude"
params = { sparsity = 0.5, epochs = 6, ramp = 0.4 }
"""


def test_a_summary_of_data_sets_whose_trainings_end_once_they_gain_nothing(
    call: Callable[..., Any], tmp_path: Path
) -> None:
    """A gain of 100 is none: dense trainings end with the third epoch, the second without one; that of pruning, whose
    ramp ends with the second of six, with the fourth."""
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    rng = np.random.default_rng(0)
    other = {f"{kind}_train": values for kind, values in _examples(rng, 300).items()}
    np.savez("other.npz", **other, **{f"{kind}_test": values for kind, values in _examples(rng, 50).items()})
    Path("summary.toml").write_text(SUMMARY)
    done = call("compress", "summary.toml", "--out", "found")
    assert done.code == 0, done.err
    assert re.search(r"digits +3 +4-4-10 +plain +32 ", done.out)
    assert re.search(r"npz:other.npz +3 +4-4-10 +plain +32 ", done.out)
    assert re.search(r"digits +3 +4-4-10 +magnitude +32 +0\.5", done.out)
    files = sorted((tmp_path / "found" / "experiments").glob("*.json"))
    curves = [json.loads(file.read_text())["rows"][0]["curve"] for file in files]
    assert [[point["epoch"] for point in curve] for curve in curves] == [[1, 2, 3], [1, 2, 3], [1, 2, 3, 1, 2, 3, 4]]
    pruning = curves[-1][3:]
    events = EventAccumulator(str(tmp_path / "found" / "tracking" / files[-1].stem / "tensorboard")).Reload()
    tracked = {tag: [event.value for event in events.Scalars(tag)] for tag in events.Tags()["scalars"]}
    assert tracked["prune/validation_loss"] == pytest.approx([point["validation_loss"] for point in pruning])
    for number in (1, 2, 3):
        expected = [point["layers"][number - 1] for point in pruning]
        assert tracked[f"sparsity prune/layer {number}"] == pytest.approx(expected)
    assert tracked["final/sparsity"] == pytest.approx([json.loads(files[-1].read_text())["rows"][0]["sparsity"]])


def _examples(rng: np.random.Generator, count: int) -> dict[str, np.ndarray]:
    return {"x": rng.integers(0, 256, (count, 8, 8, 1), np.uint8), "y": np.arange(count) % 10}


def test_what_is_finished_is_not_repeated(call: Callable[..., Any], tmp_path: Path) -> None:
    done = call(*OPTIONS, "--method", "magnitude", "--sparsity", 0.5, "--out", "found", "--json")
    first, second = sorted((tmp_path / "found" / "experiments").iterdir())
    unfinished = json.loads(second.read_text()) | {"finished": False}
    second.write_text(json.dumps(unfinished))
    before = first.read_bytes()
    again = call("resume", "found", "--json")
    assert again.code == 0, again.err
    assert "plain" not in again.err
    assert "magnitude sparsity 0.5, seed 1: experiment 2 of 2" in again.err
    assert first.read_bytes() == before
    drop = ("seconds", "shared_seconds", "latency_us", "int8_latency_us")
    old, new = (
        [{k: v for k, v in r.items() if k not in drop} for r in json.loads(d.out)["rows"]] for d in (done, again)
    )
    assert old == new
    for path, text in (
        (tmp_path / "found" / "recipe.toml", "epochs = 2"),
        (tmp_path / "found" / "experiments" / first.name, None),
    ):
        whole = path.read_text()
        path.write_text("{" if text is None else whole.replace("epochs = 1", text))
        refused = call("resume", "found")
        assert refused.code == 2
        expected = (
            "resume found: recipe.toml changed since the recipe began; start it anew." if text else str(path.name)
        )
        assert expected in refused.err
        assert "Traceback" not in refused.err
        path.write_text(whole)


def test_steps_of_like_names_are_files_of_their_own(
    call: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And a label of 300 characters makes a file name that can be had."""

    def run(self: Plain, bench: Bench) -> Iterator[Outcome]:
        for step in ("50 %", "50 ?", "A" * 300, "a" * 300):
            yield Outcome(bench.initial(), step=step)

    monkeypatch.setattr(Plain, "run", run)
    recipe = {"name": "steps", "model": "mini-cnn", "tflite": False, "experiments": [{"method": "plain"}]}
    recipe |= {"data": {"dataset": "digits", "examples": 100}, "training": {"epochs": 1}}
    Path("steps.toml").write_text(tomli_w.dumps(recipe))
    done = call("compress", "steps.toml", "--out", "found", "--json")
    assert done.code == 0, done.err
    files = {row["file"] for row in json.loads(done.out)["rows"]}
    assert len(files) == 4
    assert all((tmp_path / "found" / file).exists() for file in files)


def test_what_was_made_with_other_plug_ins_is_not_resumed(call: Callable[..., Any], tmp_path: Path) -> None:
    method = tmp_path / "mine" / "methods" / "mine.py"
    method.parent.mkdir(parents=True)
    method.write_text("from fedcompress.recipes.methods.plain import Plain\nclass Mine(Plain):\n    pass\n")
    done = call(*OPTIONS, *NO_LITE, "--method", "mine", "--plugins", "mine", "--out", "found")
    assert done.code == 0, done.err
    method.write_text(method.read_text() + "# changed\n")
    again = call("resume", "found")
    assert (again.code, again.out) == (2, "")
    assert again.err == "error: resume found: the plug-ins changed since the recipe began; start it anew.\n"


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ([], "error: compress: expected a RECIPE, or --method"),
        (["--method", "magnitud"], "error: unknown method 'magnitud'. Did you mean 'magnitude'?\n"),
        (
            ["--method", "magnitude"],
            "error: experiment 'magnitude': params.sparsity: is missing; fraction of zeros",
        ),
        (["--method", "plain", "--model", "mlp:x"], "error: model 'mlp:x': expected the units of its hidden layers"),
        (["--method", "plain", "--model", "lenet5:3"], "error: model 'lenet5:3': 'lenet5' takes no argument"),
        (["--method", "plain", "--bits", 8], "error: experiment 'plain bits 8': params.bits: unknown parameter."),
        (["--method", "plain", "--examples", 10**6], "error: data.examples: received 1000000; there are "),
    ],
)
def test_bad_input_is_one_clear_error(call: Callable[..., Any], arguments: list[Any], problem: str) -> None:
    done = call("compress", "--model", "mini-cnn", "--data", "digits", *arguments, "--out", "found")
    assert done.code == 2
    assert done.err.startswith(problem)
    assert done.err.count("\n") == 1
    assert done.out == ""
    assert not Path("found").exists()


EXITING = """
import sys
from fedcompress.recipes.methods.plain import Plain

class Odd(Plain):
    def {method}:
        {does}
"""


@pytest.mark.parametrize(
    ("method", "does", "code", "message"),
    [
        ("__init__(self, params)", "sys.exit(0)", 2, "error: method 'odd': cannot be prepared: SystemExit: 0."),
        ("problems(self, bench)", "sys.exit(0)", 2, "error: method 'odd': cannot be prepared: SystemExit: 0."),
        (
            "problems(self, bench)",
            "return [1][1]",
            2,
            "error: method 'odd': cannot be prepared: IndexError: list index",
        ),
        ("run(self, bench)", "sys.exit(0)", 1, "error: experiment odd, seed 1: SystemExit: 0"),
        ("run(self, bench)", "raise GeneratorExit('now')", 1, "error: experiment odd, seed 1: GeneratorExit: now"),
    ],
)
def test_a_method_that_exits_is_no_success(
    call: Callable[..., Any], tmp_path: Path, method: str, does: str, code: int, message: str
) -> None:
    (tmp_path / "plug" / "methods").mkdir(parents=True)
    (tmp_path / "plug" / "methods" / "odd.py").write_text(EXITING.format(method=method, does=does), encoding="utf-8")
    done = call(*OPTIONS, *NO_LITE, "--method", "odd", "--plugins", "plug", "--out", "found")
    assert done.code == code
    assert done.err.splitlines()[-1].startswith(message)
    assert (tmp_path / "found").exists() == (code == 1)


def test_what_a_method_calls_its_outcome_is_printable(call: Callable[..., Any], tmp_path: Path) -> None:
    """A character that no file holds does not cost the table."""
    (tmp_path / "plug" / "methods").mkdir(parents=True)
    does = (
        'yield from (o.__class__(o.weights, step="\\udc80 1", figures={"a\\udc81": 2.0}) for o in super().run(bench))'
    )
    text = EXITING.format(method="run(self, bench)", does=does)
    (tmp_path / "plug" / "methods" / "odd.py").write_text(text, encoding="utf-8")
    done = call(*OPTIONS, *NO_LITE, "--method", "odd", "--plugins", "plug", "--out", "found", "--json")
    assert done.code == 0, done.err
    row = json.loads(done.out)["rows"][-1]
    assert (row["step"], row["a\\udc81"]) == ("\\udc80 1", 2.0)
    assert "\\udc80 1" in (tmp_path / "found" / "results.csv").read_text(encoding="utf-8")
