"""The benchmarks: what they derive from their figures, and one comparison small enough to be run here."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from benchmarks import (
    bare,
    chain,
    counts,
    engines,
    gpu,
    kept_rows,
    mask_proposer,
    mask_proposer_page,
    private_page,
    sections,
    strategies,
    submodels,
)
from benchmarks.process import ROOT, watch
from fedcompress import keras
from fedcompress.experiment import Experiment
from fedcompress.masks.features import FEATURES, Described
from fedcompress.models.architecture import ModelSpec
from fedcompress.plugins import Plugins
from fedcompress.recipes.generate.recipe import STEPS
from fedcompress.recipes.masks.settings import MaskRecipe, Source
from fedcompress.recipes.masks.trials import Network, Trial
from fedcompress.training.trainer import predict

FOLDER = engines.DEBIAN
WRITER = """
import json, subprocess, sys, time
held = "held = bytearray(2**26); import sys, time; time.sleep(60); open(sys.argv[1], 'w')"
child = subprocess.Popen([sys.executable, "-c", held, sys.argv[1] + ".waited"])
for number in (1, 2, 3):
    time.sleep(0.3)
    with open(sys.argv[1], "a") as file:
        file.write(json.dumps({"round": number, "seconds": 0.3, "accuracy": 0.5}) + "\\n")
print("done")
sys.exit(3)
"""


def test_a_command_is_watched_with_its_children(tmp_path: Path) -> None:
    watched = watch([sys.executable, "-c", WRITER, str(tmp_path / "rounds.jsonl")], tmp_path / "rounds.jsonl")
    assert (watched.code, watched.output) == (3, "done\n")
    assert [row["round"] for row in watched.rounds] == [1, 2, 3]
    assert watched.finished == sorted(watched.finished)
    assert 0.25 <= watched.seconds_a_round <= watched.wall  # rounds of 0.3 s, seen by polling
    assert not (tmp_path / "rounds.jsonl.waited").exists()  # the child that it left behind is not waited for
    if Path("/proc/self/smaps_rollup").exists():
        assert watched.peak > 64


def test_a_command_that_takes_too_long_is_killed(tmp_path: Path) -> None:
    watched = watch([sys.executable, "-c", "import time; time.sleep(60)"], tmp_path / "none", limit=0.5)
    assert watched.code is None


def test_ratios_are_taken_pair_by_pair_and_the_faster_engine_by_its_median() -> None:
    def runs(*seconds: float) -> list[dict[str, float]]:
        return [{"round": s, "wall": 10 * s, "to_first": 5.0, "accuracy": 0.75} for s in seconds]

    figures = {"bare-2": runs(1, 2, 4), "inline-2": runs(2, 2, 4), "ray-2": runs(1, 3, 5), "flower-keras": runs(30)}
    assert engines.ratios(figures, "inline-2", "bare-2", "round") == [2, 1, 1]
    assert engines.ratios(figures, "flower-keras", "bare-2", "round") == [30, 15, 7.5]
    assert engines.fastest(figures, ("inline-2", "ray-2")) == "inline-2"
    demands = {demand.what: demand.met for demand in engines.asked(engines.WORKS["full"], figures)}
    assert demands["inline-2 / bare-2, seconds a round"]
    assert not demands["flower-keras / inline-2, seconds a round"]  # 15, 15 and 7.5 times
    assert engines.agree(engines.WORKS["full"], figures)
    assert not engines.agree(engines.WORKS["full"], {**figures, "inline-1": [{"accuracy": 0.72}]})


def test_sub_models_are_compared_at_equal_parameters() -> None:
    """big-cnn has 23,946 parameters, 106 of them biases. Of its 32 channels a layer a fourth are 8: 80 + 584 + 584 +
    1,290 = 2,538 parameters. What is pruned keeps as many, biases included."""
    case = submodels.Case("big-cnn", (1.0, 0.25), "parameters", public=False)
    assert submodels.slice_densities(case) == [1.0, (2538 - 106) / (23946 - 106)]
    for method in submodels.METHODS:
        groups = submodels.scenario(case, method, 0.003, 1, submodels.slice_densities(case)).groups
        kept = groups[1].compression_params.get("width") or 1 - groups[1].sparsity
        assert kept == pytest.approx(0.25 if method in submodels.SLICES else 0.102013, abs=1e-6)
        assert [group.name for group in groups] == ["width-1", "width-0_25"]


def test_what_is_measured_is_not_run_again_and_rates_are_chosen_on_validation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four rates on three seeds, then the reported seed; a second time nothing. The test accuracy does not choose."""
    ran = []

    def measured(case: submodels.Case, method: str, rate: float, seed: int, densities: list[float]) -> submodels.Row:
        ran.append((method, rate, seed))
        figures = {"accuracy": 1 - rate, "validation": rate if seed != 103 else 0.5, "bytes": 100 * rate}
        groups = {submodels.name_of(width): figures for width in case.widths}
        return {**submodels.key(case, method, rate, seed), "densities": list(densities), "groups": groups}

    monkeypatch.setattr(submodels, "measured", measured)
    case = submodels.Case("big-cnn", (1.0, 0.25), "parameters", public=False)
    runs = submodels.Runs(tmp_path / "rows.jsonl", case)
    assert runs.rate_of("fjord") == 0.03
    assert runs.reported("fjord", 0.03, 1)["seed"] == 1
    assert len(ran) == len(set(ran)) == 13
    again = submodels.Runs(tmp_path / "rows.jsonl", case)
    assert again.reported("fjord", again.rate_of("fjord"), 1) == runs.reported("fjord", 0.03, 1)
    assert len(ran) == 13


@pytest.mark.parametrize("name", sorted(bare.NETWORKS))
def test_the_bare_loop_has_the_networks_that_it_is_compared_on(name: str) -> None:
    """Written down once more, with the weights in the same order: the same logits of the same images."""
    spec = ModelSpec(name, Plugins().architecture(name), (28, 28, 1), 10)
    rng = np.random.default_rng(1)
    weights = [np.abs(rng.normal(0.5, 0.3, array.shape)).astype(np.float32) for array in spec.template]
    images = rng.integers(0, 256, (8, 28, 28, 1)).astype(np.uint8)
    model = bare.build(name)
    model.set_weights(weights)
    logits = predict(spec, weights, images)
    assert np.abs(logits).max() > 0.1
    np.testing.assert_allclose(model(images.astype(np.float32) / 255.0), logits, rtol=1e-4)


@pytest.mark.slow
@pytest.mark.skipif(not FOLDER.is_dir(), reason="Debian's dataset-fashion-mnist is not installed")
def test_the_bare_loop_and_fedcompress_do_the_same_work(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.engines", "--work=tiny", f"--out={tmp_path / 'results.json'}"]
    command += ["--contestants=bare-1", "--contestants=inline-1"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    work = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))["work"]["tiny"]
    assert work["agree"]
    assert {name: len(runs) for name, runs in work["runs"].items()} == {"bare-1": 1, "inline-1": 1}
    assert all(0 < run["round"] < run["wall"] for runs in work["runs"].values() for run in runs)


MODULE = """'a docstring'
import os
def outer():
    def inner():
        from fedcompress import api
    x = os
    return x
"""


def test_what_is_counted_of_a_checkout(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Seven statements, four of which are neither a docstring nor an import; the late import is one, though it is
    within two functions."""
    for name, text in (("fedcompress/wire/a.py", MODULE), ("fedcompress/b.py", "x = 1\n")):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    counts.main(tmp_path)
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["fedcompress/wire", "1", "7", "7", "4"] in lines
    assert ["fedcompress", "1", "1", "1", "1"] in lines
    assert ["all", "2", "8", "8", "5"] in lines
    assert lines[-1][-1] == "1"


def test_chains_are_compared_with_their_own_teachers() -> None:
    """Two seeds: 1 and 3 points lost, 4 and 2 times fewer bytes, and of the one that was packed 8 times.

    Of two values that differ by 2, half the interval is 12.71 * 1.41 / sqrt(2), by Student's t.
    """
    teacher = {"accuracy_score": 0.8, "kernel_distance": 0.1, "parameters": 800, "float32_bytes": 3200}
    small = {"kernel_distance": 0.1, "multiply_adds": 9}
    first = {**small, "accuracy_score": 0.79, "parameters": 200, "float32_bytes": 800, "packed_bytes": 400}
    second = {**small, "accuracy_score": 0.77, "parameters": 400, "float32_bytes": 1600}
    teacher["multiply_adds"] = 20
    found = chain.table({"8 bits": [{"teacher": teacher, "compress": row} for row in (first, second)]})
    cells = {row[1]: dict(zip(found.columns, row, strict=True)) for row in found.rows}
    assert [row[0] for row in found.rows] == ["8 bits (2)"] * 2
    assert cells["compress"]["to teacher"] == "-2.00 ± 12.71"
    assert cells["compress"]["float32, times fewer"] == "3.00 ± 12.71"
    assert cells["compress"]["packed, times fewer"] == "8.0"
    assert cells["teacher"]["score, %"] == "80.00 ± 0.00"
    assert cells["teacher"]["to teacher"] == cells["teacher"]["epsilon"] == "-"


def test_chains_share_a_teacher_of_equal_settings() -> None:
    """What a chain takes from another is decided by the same keys, so that it is taken."""
    known = {case.name: case for case in chain.cases()}
    assert len(known) == 9 + 1 + 4 + 2 + 1
    for case in known.values():
        if case.base is not None:
            keys, base = case.loaded().keys("data"), known[case.base].loaded().keys("data")
            alike = [step for step in STEPS if keys[step] == base[step]]
            assert alike == list(case.shared)
    assert known["fashion-rho-0.1-tuned-seed1"].shared == ("teacher", "dataset", "student")


def test_a_benchmark_of_gpus_without_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says so in one line; a core it measures only where it is asked to."""
    monkeypatch.setattr(keras.tf.config, "list_physical_devices", lambda kind: [])
    runner, out = CliRunner(), tmp_path / "rows.json"
    done = runner.invoke(gpu.app, [])
    expected = "TensorFlow finds no GPU; `fedcompress doctor` says why, --cpu measures the processor.\n"
    assert (done.exit_code, done.output) == (2, expected)
    done = runner.invoke(gpu.app, ["mini-cnn", "--cpu", "--steps=1", "--repetitions=1", f"--out={out}"])
    assert done.exit_code == 0
    rows = json.loads(out.read_text())["rows"]
    assert [(row["place"], row["model"], row["precision"]) for row in rows] == [
        ("CPU:0", "mini-cnn", "float32"),
        ("CPU:0", "mini-cnn", "mixed"),
    ]
    assert all(row["images_per_second"] == pytest.approx(64 / row["step_seconds"]) for row in rows)


def test_every_strategy_of_the_page_can_run_on_its_data() -> None:
    """What a scenario asks for is there, and fits; of each the most skewed split, which loads the most."""
    for strategy in strategies.STRATEGIES:
        cell = strategies.Cell("mnist-5k", "Dirichlet 0.1", strategy, 1, tried=0.01)
        made = Experiment.load(cell.scenario, Plugins())
        assert made.server.problems() == [], cell
        assert len(made.clients) == 10


def test_the_page_has_means_over_seeds_and_the_plan_what_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two of five seeds of one strategy are done, in 30 and 50 s: three and two other splits of five take 40 s each."""
    monkeypatch.setattr(strategies, "FOLDER", tmp_path)
    monkeypatch.setattr(strategies, "RATES", {"mnist-5k": {"fedavg": 0.01}})
    for seed, accuracy in ((1, 0.5), (2, 0.7)):
        cell = strategies.Cell("mnist-5k", "IID", "fedavg", seed)
        cell.path.mkdir(parents=True)
        figures = {"accuracy": accuracy, "deployed_accuracy": 0.5, "clients": {"mean": 0.9, "worst10": 0.8}}
        sizes = {"uplink_bytes": 1000, "downlink_bytes": 3000, "seconds": 10 + 20 * seed, "status": "completed"}
        (cell.path / "summary.json").write_text(json.dumps({**figures, **sizes}))
    every = list(strategies.cells(["mnist-5k"], ["fedavg", "fedpkdg, GAN"], None))
    assert len(every) == 3 * 5 + 3 * 3
    assert strategies.plan(every)[0] == "mnist-5k, fedavg: 2 of 15 done, left 9 min"
    assert strategies.plan(every)[1] == "mnist-5k, fedpkdg, GAN: 0 of 9 done, left 6 min"
    page = strategies.page(every)
    assert (
        "| fedavg (2) | 0.01 | 50.00 ± 0.00 | 60.00 (0.00 to 100.00) | - | 90.00 ± 0.00 | 80.00 ± 0.00 | 4.0 kB | 40 |"
        in page
    )


def test_a_learning_rate_is_chosen_by_validation_over_all_partitions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """0.003 is best in two partitions of three, 0.01 in their mean, which tests say nothing about; 0.03 has two runs.

    Where clients keep models of their own, their own validation examples count.
    """
    monkeypatch.setattr(strategies, "FOLDER", tmp_path)
    found = {0.001: (0.5, 0.5, 0.5), 0.003: (0.81, 0.81, 0.3), 0.01: (0.8, 0.8, 0.8), 0.03: (0.9, 0.9)}
    for strategy, column in (("fedavg", "deployed_validation_accuracy"), ("ditto", "own_validation_accuracy")):
        for rate, values in found.items():
            for skew, value in zip(strategies.SKEWS, values, strict=False):
                cell = strategies.Cell("mnist-5k", skew, strategy, strategies.TRIED_SEED, rate)
                cell.path.mkdir(parents=True)
                (cell.path / "summary.json").write_text('{"status": "completed"}')
                row = {"accuracy": 1 - value, "validation_accuracy": 0.1, column: value}
                (cell.path / "rounds.jsonl").write_text(json.dumps(row) + "\n")
    tried = list(strategies.tried(["mnist-5k"], ["fedavg", "ditto", "fedpkdg, GAN"]))
    assert len(tried) == 2 * 4 * 3
    assert strategies.choices(tried) == [
        f'mnist-5k  "{strategy}": 0.01,  # 0.5000 at 0.001, 0.6400 at 0.003, 0.8000 at 0.01'
        for strategy in ("fedavg", "ditto")
    ]


def row_of_masks(method: str, seed: int, *test: float) -> dict[str, Any]:
    """The mask that is best on validation examples is the second one."""
    return {
        "case": "initialisations", "seed": seed, "sparsity": 0.9, "method": method, "dense": 0.9, "chance": 0.1,
        "validation": [0.5, 0.7, 0.6][: len(test)], "test": list(test), "distance": 1.0 if len(test) > 1 else None,
        "milliseconds": 1.0,
    }  # fmt: skip


def test_proposed_masks_are_reported_by_what_validation_chose() -> None:
    """Stuck is what has at most 0.1 + 0.2 * (0.9 - 0.1) = 0.26. Two of three pairs of masks differ, in two channels."""
    row = row_of_masks("GAN", 1, 0.2, 0.4, 0.6)
    assert mask_proposer_page.best(row) == 0.4
    assert mask_proposer_page.best(row, 1) == 0.2
    assert mask_proposer_page.stuck(row) == pytest.approx(1 / 3)
    assert mask_proposer_page.distance(["10.1", "01.1", "10.1"]) == pytest.approx(4 / 3)


def test_a_proposer_is_compared_with_the_best_score_seed_by_seed() -> None:
    rows = [row_of_masks("GAN", seed, accuracy) for seed, accuracy in ((1, 0.7), (2, 0.6))]
    assert mask_proposer_page.verdict(rows) == "Not finished."
    for name, accuracies in (("L1", (0.2, 0.2)), ("L1, equal shares", (0.3, 0.2)), ("LAMP", (0.6, 0.5))):
        rows += [row_of_masks(name, seed, accuracy) for seed, accuracy in enumerate(accuracies, 1)]
    assert "less LAMP, the best of the scores: +0.100 ± 0.000 (more)" in mask_proposer_page.verdict(rows)
    assert "random masks" not in mask_proposer_page.verdict(rows)
    assert "lacks a part" not in mask_proposer_page.verdict(rows)
    for seed in (1, 2):  # the second of three is the best on validation examples
        rows += [row_of_masks("random with floor", seed, 0.1, 0.4, 0.8), row_of_masks("head only", seed, 0.7)]
    said = mask_proposer_page.verdict(rows)
    assert "Its best of 10 less the best of 3 random masks with a floor: +0.250 ± 0.635 (within noise)." in said
    assert "lacks a part: head only -0.050 ± 0.635 (within noise)." in said
    for seed in (1, 2):
        rows.append(row_of_masks("LAMP, randomised", seed, 0.5))
    page = mask_proposer_page.page(rows)
    assert "| GAN | 2 |" in page
    short = "| 90% | +0.100 ± 0.000 (more) | +0.150 ± 0.635 (within noise) | +0.250 ± 0.635 (within noise) | 0.00 |\n"
    assert short in page


def archived(model: str, seed: int, *masks: str) -> Network:
    """Masks of three channels that retrained worse and worse, all at the same sparsity."""
    trials = [
        Trial("l1", 0.9, np.array([bit == "1" for bit in mask]), 0.1, 0.9 - place / 20)
        for place, mask in enumerate(masks)
    ]
    described = Described((2, 1), np.zeros((3, len(FEATURES)), np.float32))
    return Network(Source(model, "digits", seed), ("a", "b"), described, 1.0, 0.1, tuple(trials))


def test_good_masks_of_the_archive_have_a_distance_beside_that_of_draws() -> None:
    """Of eight masks the best quarter is good, two of each network: they differ in three channels, and in one."""
    rest = ["111"] * 6
    recipe = MaskRecipe(name="any")
    networks = [archived("lenet5", 1, "100", "011", *rest), archived("lenet5", 2, "100", "101", *rest)]
    other = archived("mlp", 1, "100", "100", *rest)
    assert mask_proposer.good_distance([*networks, other], 0.9, recipe) == 2.0
    assert mask_proposer.good_distance(networks, 0.5, recipe) is None
    rows = [row_of_masks("GAN", 1, 0.2, 0.4, 0.6)]
    of_archive = {"method": mask_proposer_page.ARCHIVE, "sparsity": 0.9, "distance": 2.0}
    assert "| good ones of the archive |  |  |  |  |  | 2.0 |  |" in mask_proposer_page.page([*rows, of_archive])
    assert "good ones of the archive" not in mask_proposer_page.page(rows)


def test_what_a_page_of_proposers_keeps_is_done_unless_the_recipe_has_changed(tmp_path: Path) -> None:
    recipe, other = MaskRecipe(name="any"), MaskRecipe(name="any", seeds=(7,))
    mine = mask_proposer.identity(recipe)
    kept = [{**row_of_masks("GAN", seed, 0.2), "recipe": mine} for seed in (1, 2)]
    of_archive = {"method": mask_proposer_page.ARCHIVE, "sparsity": 0.9, "distance": 2.0, "recipe": mine}
    own = {**row_of_masks("GAN", 2, 0.3), "recipe": mine}
    (tmp_path / "rows.jsonl").write_text(json.dumps(own) + "\n" + json.dumps(row_of_masks("LAMP", 1, 0.5)) + "\n")
    assert mask_proposer.rows_of(tmp_path / "rows.jsonl", [*kept, of_archive], recipe) == [kept[0], own]
    assert mask_proposer.rows_of(tmp_path / "rows.jsonl", kept, other) == []
    assert mask_proposer.archive_rows(tmp_path / "none", [*kept, of_archive], recipe) == [of_archive]


class WithoutTraining(mask_proposer.Tested):
    """Whatever is timed takes half a second."""

    def __init__(self) -> None:
        self.seed = 1
        self.recipe = MaskRecipe(name="any")
        self.bench = SimpleNamespace(spec=SimpleNamespace(classes=10), data=SimpleNamespace(test=None))

    weights = ()
    described = archived("lenet5", 1).described

    def masks(self, *_: Any) -> Any:
        return iter([np.ones(3, bool)] * 10)

    def look(self, weights: Any) -> Any:
        return self.described

    def accuracies(self, mask: Any) -> tuple[float, float]:
        return 0.5, 0.5


def test_a_look_at_the_network_is_part_of_what_a_proposed_mask_costs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a second for ten masks, and for a proposer another half for each: what a single mask would take."""
    monkeypatch.setattr(mask_proposer, "timed", lambda make: (0.5, make()))
    monkeypatch.setattr(mask_proposer, "evaluate", lambda *_: SimpleNamespace(accuracy=0.9))
    tested, case = WithoutTraining(), mask_proposer.CASES[0]
    assert tested.row(case, "LAMP", 0.9, lambda method: None)["milliseconds"] == 50
    assert tested.row(case, "GAN", 0.9, lambda method: None)["milliseconds"] == 550


def test_rows_of_the_same_network_are_taken_over_but_for_proposers() -> None:
    case = mask_proposer.CASES[2]
    rows = [row_of_masks(method, 1, 0.5) for method in ("LAMP", "GAN")]
    assert mask_proposer._same(case, rows, 1, 0.9, "LAMP") == {**rows[0], "case": "architecture"}
    assert mask_proposer._same(case, rows, 1, 0.9, "GAN") is None
    assert mask_proposer._same(case, rows, 2, 0.9, "LAMP") is None


def test_a_section_that_is_measured_anew_gives_way_and_the_rest_stays() -> None:
    before = "# Page\n\nOld lead.\n\n## One\n\nOld.\n\n## Two\n\nKept.\n"
    now = "# Page\n\nLead.\n\n## One\n\nNew.\n\n## Three\n\nNew, too.\n"
    whole = "# Page\n\nLead.\n\n## One\n\nNew.\n\n## Two\n\nKept.\n\n## Three\n\nNew, too.\n"
    assert sections.merged(before, now) == whole
    assert sections.merged(whole, now) == whole
    assert sections.merged("", now) == now


def test_a_section_of_more_runs_stays(capsys: pytest.CaptureFixture[str]) -> None:
    whole, part = (f"# Page\n\n## One\n{sections.counted(n)}\n\n{n}.\n" for n in (5, 1))
    assert sections.merged(whole, part) == whole
    assert capsys.readouterr().err == "## One: stays, of 5 runs; here are 1\n"
    assert sections.merged(part, whole) == whole


def test_a_page_keeps_the_rows_that_it_is_written_from(tmp_path: Path) -> None:
    """Two machines, one after the other, write what one would have written; validation rows are not reported."""
    shown = {"dataset": "fashion-mnist", "clients": 10, "settings": {"steps": 20}, "width": 11.4, "parameters": 183}
    shown |= {"epsilon": 1.0, "processor minutes": 5.0, "bytes up": 800, "on": "test"}
    rows = [{**shown, "seed": seed, "score": score} for seed, score in ((1, 0.25), (2, 0.75), (1, 0.5))]
    hidden = {**shown, "seed": 101, "score": 0.9, "on": "held out"}
    pages = []
    for number, parts in enumerate(([rows[:1], [*rows[1:], hidden]], [[rows[2], rows[1]]])):
        out = tmp_path / f"{number}.md"
        for part in parts:
            (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in part), encoding="utf-8")
            private_page.page(tmp_path / "rows.jsonl", *[tmp_path / "none.jsonl"] * 2, out)
        pages.append(out.read_text(encoding="utf-8"))
    assert pages[0] == pages[1]
    assert "| 1 | 10 | 2 | 0.6250 (0.0000 to 1.0000) | 0.5000 0.7500 | 5.0 | 800 |" in pages[0]
    assert [row["seed"] for row in kept_rows.rows_in(tmp_path / "0.md")] == [1, 2]
    assert "held out" not in pages[0]
    other = {**rows[1], "settings": {"steps": 40}}
    (tmp_path / "rows.jsonl").write_text(json.dumps(other) + "\n", encoding="utf-8")
    private_page.page(tmp_path / "rows.jsonl", *[tmp_path / "none.jsonl"] * 2, tmp_path / "0.md")
    assert "| 1 | 10 | 1 | 0.7500 | 0.7500 | 5.0 | 800 |" in (tmp_path / "0.md").read_text(encoding="utf-8")


def test_the_page_of_private_gans_tells_central_ones_from_those_of_clients(tmp_path: Path) -> None:
    """And says which command gives those: its options are the rows'."""
    row = {"dataset": "fashion-mnist", "gan": "private", "on": "test", "epsilon": 10.0, "delta": 1e-5, "steps": 600}
    row |= {"noise": 0.5, "batch_size": 256, "discriminator_steps": 2, "processor minutes": 3.0, "seed": 1}
    files = []
    for clients, score in ((1, 0.5), (10, 0.25)):
        files.append(tmp_path / f"{clients}.jsonl")
        files[-1].write_text(json.dumps({**row, "clients": clients, "chunk": 30, "score": score}) + "\n")
    private_page.page(tmp_path / "none.jsonl", *files, tmp_path / "page.md")
    page = (tmp_path / "page.md").read_text(encoding="utf-8")
    central, by_clients = page.split("## DP-SGD on a discriminator, by clients")
    assert "| 10 | 1 | 1 | 0.5000 | 0.5000 | 3.0 |" in central
    assert "| 10 | 10 | 1 | 0.2500 | 0.2500 | 3.0 |" in by_clients
    assert "dp-gan --clients 10 --steps 600 --chunk 30 --batch 256 --seed 1 --out" in by_clients
    assert "20 rounds" in by_clients
    assert "rounds" not in central


TORN = ("", "# Page\n", '# Page\n\n## Rows\n\n```json\n{"a"', "# Page\n\n## Rows\n\n```json\nno\n```\n")


@pytest.mark.parametrize("text", TORN)
def test_a_page_whose_rows_are_lost_is_not_written_over(tmp_path: Path, text: str) -> None:
    (tmp_path / "page.md").write_text(text, encoding="utf-8")
    with pytest.raises(SystemExit, match="keeps no rows that can be read"):
        kept_rows.rows_in(tmp_path / "page.md")
