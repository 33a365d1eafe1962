"""The chain of generators: step by step, interrupted anywhere, done again from a step on; what it says of privacy."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tomli_w

from fedcompress.data.federated import Examples
from fedcompress.errors import InputError
from fedcompress.generators.sampling import render
from fedcompress.generators.slim import SMALL, SlimSpec
from fedcompress.generators.slim_training import Slimming, begun, slim_epoch
from fedcompress.generators.spec import Gan
from fedcompress.options import Options
from fedcompress.privacy.accounting import Release, epsilon_of
from fedcompress.recipes.generate import launch
from fedcompress.recipes.generate.pairs import Pairs
from fedcompress.recipes.generate.privacy import ledger, privacy_lines
from fedcompress.recipes.generate.private_epochs import noise_of, planned
from fedcompress.recipes.generate.recipe import STEPS, GeneratorRecipe
from fedcompress.recipes.generate.workshop import Observer
from fedcompress.tree import load_tree

TINY: dict[str, Any] = {
    "name": "tiny",
    "data": {"dataset": "digits", "examples": 150},
    "teacher": {"epochs": 2, "batch_size": 50},
    "dataset": {"pairs": 120},
    "student": {"epochs": 2, "batch_size": 40, "rho": 1.0, "gamma_rate": 0.1},
    "compress": {"tflite": False},
    "private": {"epochs": 2, "batch_size": 50, "discriminator_steps": 2},
    "figures": {"samples": 100},
}


def recipe(**overrides: Any) -> GeneratorRecipe:
    return GeneratorRecipe.parse(TINY, overrides)


def left(path: Path) -> dict[str, Any]:
    """Returns what a chain has left, but for times: arrays of every step, and its figures."""
    found: dict[str, Any] = {}
    for step in STEPS:
        if (path / step / "result.npz").exists():
            found[step] = json.loads((path / step / "figures.json").read_text())
            found[f"{step} arrays"] = flat(load_tree(path / step / "result.npz"))
    return found


def flat(tree: Any) -> list[bytes]:
    if isinstance(tree, np.ndarray):
        return [tree.tobytes()]
    return (
        [part for item in (tree.values() if isinstance(tree, dict) else tree) for part in flat(item)]
        if isinstance(tree, dict | list)
        else [str(tree).encode()]
    )


class Breaks(Observer):
    """Ends the process, as Ctrl-C does, after an epoch of a step; or between the last epoch and the figures."""

    def __init__(self, step: str, epoch: int | None) -> None:
        self._step, self._epoch = step, epoch

    def epoch_done(self, step: str, row: Mapping[str, Any]) -> None:
        if (step, row["epoch"]) == (self._step, self._epoch):
            raise KeyboardInterrupt

    def measuring(self, step: str) -> None:
        if (step, None) == (self._step, self._epoch):
            raise KeyboardInterrupt


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A chain that nobody interrupts."""
    path = tmp_path_factory.mktemp("whole") / "run"
    launch.start(recipe(), path, Options(), Observer())
    return path


def test_every_step_leaves_what_it_says(whole: Path) -> None:
    for step in STEPS:
        files = {file.name for file in (whole / step).iterdir()}
        assert {"result.npz", "figures.json", "samples.png"} <= files
        assert "checkpoint.npz" not in files
        if step in ("teacher", "student", "private"):
            rows = (whole / step / "losses.csv").read_text().splitlines()
            assert rows[0].startswith("epoch,generator_loss,discriminator_loss")
            assert len(rows) == 1 + 2
    figures = {step: json.loads((whole / step / "figures.json").read_text()) for step in STEPS}
    assert figures["teacher"]["parameters"] == 442_425
    assert figures["compress"]["parameters"] < 442_425
    assert figures["compress"]["difference"] <= 1e-5
    assert figures["compress"]["float32_bytes"] == 4 * figures["compress"]["parameters"]
    assert figures["compress"]["packed_bytes"] == (whole / "compress" / "generator.packed").stat().st_size
    assert set(load_tree(whole / "private" / "result.npz")) == {"generator"}  # the discriminator is discarded
    assert (whole / "dataset" / "result.npz").stat().st_size < 2500  # seeds and labels, no images
    report = (whole / "report.html").read_text()
    assert all(f">{step}<" in report for step in STEPS)
    assert "is of that step alone" in report


@pytest.mark.parametrize(("step", "epoch"), [("teacher", 1), ("student", 1), ("private", 1), ("student", None)])
def test_a_chain_goes_on_to_the_same_bits(whole: Path, tmp_path: Path, step: str, epoch: int | None) -> None:
    path = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        launch.start(recipe(), path, Options(), Breaks(step, epoch))
    assert (path / step / "checkpoint.npz").exists()
    launch.resume(path, Observer())
    assert left(path) == left(whole)


def test_a_step_is_not_done_anew_while_another_process_writes_the_chain(whole: Path, tmp_path: Path) -> None:
    path = shutil.copytree(whole, tmp_path / "run")
    before = left(path), (path / "generator.toml").read_text()

    class Meddles(Observer):
        def started(self, step: str, total: int, done: int) -> None:
            with pytest.raises(InputError, match="another process is running this run; wait for it, or end it"):
                launch.start(recipe(**{"student.rho": 0.3}), path, Options(), Observer(), first="student")

    launch.start(recipe(), path, Options(), Meddles(), first="private")
    assert (left(path), (path / "generator.toml").read_text()) == before


def test_steps_that_stand_in_one_table_are_measured_alike(whole: Path, tmp_path: Path) -> None:
    path = shutil.copytree(whole, tmp_path / "run")
    before = left(path)
    samples = recipe().figures.samples
    with pytest.raises(
        InputError, match=rf"figures\.samples: received 77, but step 'teacher' was measured with {samples},"
    ):
        launch.start(recipe(**{"figures.samples": 77}), path, Options(), Observer(), first="private")
    with pytest.raises(
        InputError, match=r"figures\.on: received 'validation', but step 'teacher' was measured with 'test'"
    ):
        launch.start(
            recipe(**{"figures.on": "validation", "data.validation": recipe().data.validation}),
            path,
            Options(),
            Observer(),
            first="private",
        )
    assert left(path) == before


def test_a_small_generator_is_fine_tuned_and_goes_on_to_the_same_bits(whole: Path, tmp_path: Path) -> None:
    """It keeps its widths and learns the teacher's images; without epochs nothing is another than before."""
    tuned = recipe(**{"compress.epochs": 2})
    keys, before = tuned.keys("data"), recipe().keys("data")
    assert [step for step in STEPS if keys[step] != before[step]] == ["compress", "private"]
    paths = [Path(shutil.copytree(whole, tmp_path / name)) for name in ("run", "cut")]
    launch.start(tuned, paths[0], Options(), Observer(), first="compress")
    with pytest.raises(KeyboardInterrupt):
        launch.start(tuned, paths[1], Options(), Breaks("compress", 1), first="compress")
    launch.resume(paths[1], Observer())
    found, plain = left(paths[0]), left(whole)
    assert left(paths[1]) == found
    assert found["compress"]["widths"] == plain["compress"]["widths"]
    assert found["compress"]["difference"] == plain["compress"]["difference"] <= 1e-5  # before it is fine-tuned
    assert found["compress arrays"] != plain["compress arrays"]
    assert found["private arrays"] != plain["private arrays"]
    assert len((paths[0] / "compress" / "losses.csv").read_text().splitlines()) == 1 + 2
    assert not (paths[0] / "private" / "checkpoint.npz").exists()
    assert set(load_tree(paths[0] / "private" / "result.npz")) == {"generator"}


def test_fine_tuning_brings_a_small_generator_nearer_to_its_teacher() -> None:
    """From weights that are a little wrong, by pixels alone: it has no gamma, so rho has nothing to pull at."""
    spec = SlimSpec(SMALL, (8, 8, 1), 10, (6, 6, 6), 8, 16)
    rng = np.random.default_rng(0)
    target = spec.initial(rng)
    z, labels = rng.standard_normal((200, 16), np.float32), (np.arange(200) % 10).astype(np.int32)
    pairs = Examples(render(spec, target.generator, z, labels), labels)
    start = [w + 0.3 * w.std() * rng.standard_normal(w.shape).astype(np.float32) for w in target.generator]
    settings = Slimming(rho=5.0, beta=100.0)
    state, found = begun(spec, Gan(start, target.discriminator), "l1"), Gan(start, target.discriminator)
    far = np.abs(render(spec, start, z, labels) - pairs.x).mean()
    for epoch in range(4):
        trained, state = slim_epoch(
            spec, state, pairs, z, settings, done=epoch / 4, batch_size=20, rng=np.random.default_rng(epoch)
        )
        found = trained.gan
    near = np.abs(render(spec, found.generator, z, labels) - pairs.x).mean()
    assert near < 0.8 * far, (near, far)


def test_a_guided_teacher_is_another_one_and_goes_on_to_the_same_bits(whole: Path, tmp_path: Path) -> None:
    asked = {"teacher.guide": 0.5, "teacher.generator_rate": 1e-3}
    found = {}
    for name, overrides in (("guided", asked), ("only guided", {"teacher.guide": 0.5}), ("cut", asked)):
        if name == "cut":
            with pytest.raises(KeyboardInterrupt):
                launch.start(recipe(**overrides), tmp_path / name, Options(), Breaks("teacher", 1), last="teacher")
            launch.resume(tmp_path / name, Observer())
        else:
            launch.start(recipe(**overrides), tmp_path / name, Options(), Observer(), last="teacher")
        found[name] = left(tmp_path / name)
    assert found["cut"] == found["guided"]
    teachers = [left(whole), found["guided"], found["only guided"]]
    assert len({tuple(teacher["teacher arrays"]) for teacher in teachers}) == len(teachers)
    # The guide's cross-entropy, some 2.3 of 10 classes that nothing has been learned of, is in the generator's loss.
    losses = [
        float((tmp_path / name / "teacher" / "losses.csv").read_text().splitlines()[1].split(",")[1]) for name in found
    ]
    plain = float((whole / "teacher" / "losses.csv").read_text().splitlines()[1].split(",")[1])
    assert all(loss > plain + 0.5 for loss in losses)


def test_a_step_can_be_done_again_on_what_is_there(whole: Path, tmp_path: Path) -> None:
    """Other settings of the student keep the teacher's bits; the same ones give the same student."""
    path = tmp_path / "run"
    launch.start(recipe(), path, Options(), Observer(), last="student")
    first = left(path)
    assert list(first) == ["teacher", "teacher arrays", "dataset", "dataset arrays", "student", "student arrays"]
    launch.start(recipe(**{"student.bits": 4}), path, Options(), Observer(), first="student", last="student")
    other = left(path)
    assert other["teacher arrays"] == first["teacher arrays"]
    assert other["student arrays"] != first["student arrays"]
    assert "bits = 4" in (path / "generator.toml").read_text()
    launch.start(recipe(), path, Options(), Observer(), first="student", last="compress")
    assert left(path)["student"] == first["student"]
    assert left(path)["compress"] == left(whole)["compress"]
    with pytest.raises(
        InputError, match=r"--from student: .*: step 'teacher' was made with other settings or data; use"
    ):
        launch.start(recipe(seed=2), path, Options(), Observer(), first="student")
    with pytest.raises(InputError, match=r"--until dataset: comes before --from student"):
        launch.start(recipe(), path, Options(), Observer(), first="student", last="dataset")


def test_what_is_exported_loads_without_fedcompress(whole: Path) -> None:
    """In a process of its own: the same images of the same inputs, to 1e-5."""
    code = (
        "import sys, numpy as np, tf_keras; model = tf_keras.models.load_model(sys.argv[1])\n"
        "x = np.random.default_rng(0).standard_normal((3, 74)).astype('float32')\n"
        "assert 'fedcompress' not in sys.modules\n"
        "print(repr(float(model.predict(x, verbose=0).sum())), model.count_params())"
    )
    file = whole / "private" / "generator.keras"
    done = subprocess.run([sys.executable, "-c", code, str(file)], capture_output=True, text=True, check=True)
    total, parameters = done.stdout.split()
    from fedcompress import keras

    x = np.random.default_rng(0).standard_normal((3, 74)).astype("float32")
    here = keras.models.load_model(file)(x).numpy()
    assert float(total) == pytest.approx(float(here.sum()), abs=1e-3)
    assert int(parameters) == json.loads((whole / "private" / "figures.json").read_text())["parameters"]


def test_the_published_order_has_no_epsilon_of_the_chain(whole: Path) -> None:
    """Two epochs of three steps at sampling 1/3, at a noise that just keeps the budget of 10."""
    figures = json.loads((whole / "private" / "figures.json").read_text())
    assert figures["epsilon_of_chain"] is None
    expected = epsilon_of([Release("discriminator", figures["noise"], 50 / 150, 6)], 1e-5)
    assert figures["epsilon_of_step"] == pytest.approx(expected)
    assert 9.9 < expected <= 10.0


def test_from_the_start_everything_that_saw_the_data_is_paid_for(tmp_path: Path) -> None:
    path = tmp_path / "run"
    whole_chain = recipe(**{"private.private_from": "start", "private.epochs": 1, "teacher.epochs": 1})
    rows = {row["step"]: row for row in launch.start(whole_chain, path, Options(), Observer())}
    released = [Release(**release) for step in ("teacher", "private") for release in rows[step]["releases"]]
    assert [release.steps for release in released] == [3, 3]
    assert rows["private"]["epsilon_of_chain"] == pytest.approx(epsilon_of(released, 1e-5))
    assert rows["private"]["epsilon_of_chain"] <= 10.0
    assert rows["teacher"]["epsilon_of_chain"] < rows["private"]["epsilon_of_chain"]
    assert "of that step alone" not in (path / "report.html").read_text()


def test_the_ledger_of_the_published_order_begins_with_what_has_no_epsilon(whole: Path) -> None:
    rows = [{"step": step, **json.loads((whole / step / "figures.json").read_text())} for step in STEPS]
    first, *others = ledger(recipe(), rows)
    assert first == ("teacher", "generator and discriminator", "none", "-", "-", "infinite")
    assert others
    assert {line[-1] for line in others} == {"infinite"}
    assert any("Not covered: kernel and Frechet distances" in line for line in privacy_lines(recipe(), rows))


def test_a_private_step_that_would_not_train_its_generator_is_refused(
    call: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    (tmp_path / "tiny.toml").write_text(tomli_w.dumps(TINY))
    code, _, err = call("generate", "tiny.toml", "--set", "private.discriminator_steps=500")
    assert code == 2
    assert "private.discriminator_steps: received 500, but step 'private' has " in err
    assert not (tmp_path / "runs").exists()
    few = recipe(**{"private.discriminator_steps": 500, "teacher.epochs": 1})
    launch.start(few, tmp_path / "public", Options(), Observer(), last="dataset")  # does not come to it
    with pytest.raises(InputError, match="step 'private' has"):
        launch.start(few, tmp_path / "public", Options(), Observer(), first="student")


def test_the_noise_of_several_steps_keeps_their_budget_together() -> None:
    both = recipe(**{"private.private_from": "start", "teacher.batch_size": 30, "private.epsilon": 3.0})
    noise = noise_of(both, 150)
    assert 2.97 < epsilon_of(planned(both, 150, noise), 1e-5) <= 3.0
    assert [(release.sampling, release.steps) for release in planned(both, 150, noise)] == [(0.2, 10), (1 / 3, 6)]
    assert noise > noise_of(recipe(**{"private.epsilon": 3.0}), 150)


def test_noise_is_drawn_block_by_block() -> None:
    pairs = Pairs.drawn(2500, 10, np.random.default_rng(0))
    assert pairs.z(64).shape == (2500, 64)
    assert np.array_equal(pairs.first(1200).z(64), pairs.z(64)[:1200])
    assert np.array_equal(Pairs.of(pairs.tree()).z(5), pairs.z(5))
    assert np.bincount(pairs.labels).tolist() == [250] * 10
    assert abs(float(pairs.z(64).std()) - 1.0) < 0.01


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--from", "studnt"], "--from: received 'studnt', which is no step. Did you mean 'student'?"),
        (["--until", "all"], "--until: received 'all', which is no step. Known: compress, dataset, private, student, "),
        (["--from", "student"], "--from student: expected --out DIR with the run whose earlier steps are taken."),
        (["--set", "student.rho=-1.0"], "student.rho: received -1.0; input should be greater than or equal to 0"),
        (["--set", "student.bits=1"], "student.bits: received 1; input should be greater than or equal to 2"),
        (["--set", "student.bits=33"], "student.bits: received 33; input should be less than or equal to 32"),
        (["--set", "figures.samples=1"], "figures.samples: received 1; input should be greater than or equal to 2"),
        (["--set", "data.examples=1"], "data.examples: received 1 example to learn from, expected 2 or more"),
        (["--set", "student.roh=1.0"], "Did you mean 'rho'?"),
        (["--set", "teacher.gan='cgna'"], "teacher.gan"),
        (["--set", "private.epsilon=0.0"], "private.epsilon: received 0.0"),
        (["--set", "teacher.guide=-1.0"], "teacher.guide: received -1.0; input should be greater than or equal to 0"),
        (
            ["--set", "teacher.guide=0.3", "--set", "private.private_from='start'"],
            'teacher.guide: received 0.3 with private.private_from = "start", but the classifier sees examples',
        ),
        (
            ["--set", "teacher.discriminator_rate=0.001", "--set", "private.private_from='start'"],
            'teacher.discriminator_rate: received 0.001 with private.private_from = "start", but a private teacher',
        ),
    ],
)
def test_what_is_wrong_is_one_line(
    call: Callable[..., tuple[int, str, str]], tmp_path: Path, arguments: list[str], message: str
) -> None:
    file = tmp_path / "tiny.toml"
    file.write_text(tomli_w.dumps(TINY))
    code, _, err = call("generate", "tiny.toml", *arguments)
    assert code == 2
    assert message in err
    assert err.count("\n") == 1
    assert not (tmp_path / "runs").exists()


def test_data_that_are_no_images_are_refused(call: Callable[..., tuple[int, str, str]], tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.random((40, 6), np.float32), (np.arange(40) % 2).astype(np.int32)
    np.savez(tmp_path / "table.npz", x_train=x, y_train=y, x_test=x, y_test=y)
    (tmp_path / "tiny.toml").write_text(tomli_w.dumps(TINY))
    code, _, err = call("generate", "tiny.toml", "--set", "data.dataset='npz:table.npz'", "--set", "data.examples=20")
    assert code == 2
    assert "A GAN cannot make inputs of shape (6,); expected images" in err


def test_generators_are_listed(call: Callable[..., tuple[int, str, str]]) -> None:
    code, out, _ = call("list", "generators")
    assert code == 0
    assert {"cgan", "compact", "reference", "small"} <= set(out.split())
