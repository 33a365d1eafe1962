"""`fedcompress attack`: what it writes of a run, and what it refuses."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tomli_w

from fedcompress.attacks.run_target import target_of_run
from fedcompress.errors import InputError
from fedcompress.experiment import Experiment
from fedcompress.launch import run_one
from fedcompress.plugins import Plugins
from fedcompress.results.run.directory import RunDirectory
from fedcompress.scenario import Scenario

GENERATED: dict[str, Any] = {
    "name": "generated",
    "rounds": 1,
    "data": {"dataset": "digits", "clients": 2},
    "public": {"source": "gan", "gan": "compact", "examples": 64, "epochs": 1},
    "training": {"epochs": 1},
    "server": {"strategy": "feddf", "params": {"blocks": 1, "block_steps": 2}},
    "groups": [{"name": "all", "model": "mini-cnn", "client": "distilling"}],
    "evaluation": {"tflite": False},
}
BY = ["discriminator", "distance in pixels", "distance in features"]


def test_a_run_is_attacked(call: Callable[..., Any], tmp_path: Path) -> None:
    Path("generated.toml").write_text(Scenario.parse(GENERATED).toml(), encoding="utf-8")
    assert call("run", "generated.toml", "--out", "run").code == 0
    before = {path: path.read_bytes() for path in Path("run").rglob("*") if path.is_file()}
    done = call("attack", "run", "--examples", 100, "--samples", 200)
    assert done.code == 0, done.err
    found = json.loads(Path("run/attack.json").read_text(encoding="utf-8"))
    assert [one["by"] for one in found["attacks"]] == BY
    assert all(0 <= one["low"] <= one["auc"] <= one["high"] <= 1 for one in found["attacks"])
    assert found["members"] == found["held_out"] <= 100
    assert max(map(len, done.out.splitlines())) <= 80
    assert f"run: {found['members']} training and {found['members']} test examples, 200 samples" in done.out
    assert json.loads(call("attack", "run", "--examples", 100, "--samples", 200, "--json").out) == found
    assert {path: path.read_bytes() for path in before} == before
    step = call("attack", "run", "--step", "teacher")
    assert (step.code, step.err) == (
        2,
        "error: --step teacher: is for what `fedcompress generate` wrote; run is none.\n",
    )
    (Path("run") / "summary.json").write_text(
        (Path("run") / "summary.json").read_text(encoding="utf-8").replace('"completed"', '"interrupted"')
    )
    unfinished = call("attack", "run")
    assert (unfinished.code, unfinished.err) == (
        2,
        "error: run: interrupted; finish it with: fedcompress resume run\n",
    )


def test_members_are_the_examples_that_the_generator_has_seen(tmp_path: Path) -> None:
    """With half of the clients in a round, and one round, it is half of them; of those that failed, none."""
    scenario = Scenario.parse(GENERATED, {"data.clients": 4, "server.cohort": 0.5})
    run_one(scenario, tmp_path / "run", report=False)
    rows = RunDirectory(tmp_path / "run").rows("clients")
    seen = {row["client"] for row in rows if row["action"] == "train_generator"}
    assert len(seen) == 2
    data = Experiment.load(scenario, Plugins()).data
    members = target_of_run(tmp_path / "run").members
    assert np.array_equal(members.x, data.pooled(sorted(seen)).x)
    assert len(members) == sum(len(data.train_parts[client]) for client in seen) < len(data.pooled())
    text = (tmp_path / "run" / "clients.jsonl").read_text(encoding="utf-8")
    (tmp_path / "run" / "clients.jsonl").write_text(text.replace('"ok"', '"lost"'), encoding="utf-8")
    with pytest.raises(InputError, match="no client trained its generator, so that it has no members"):
        target_of_run(tmp_path / "run")


def test_what_cannot_be_attacked(call: Callable[..., Any], tiny: dict[str, Any], tmp_path: Path) -> None:
    absent = call("attack", "nothing")
    assert absent.code == 2
    assert absent.err.startswith("error: nothing: ")
    Path("plain.toml").write_text(tomli_w.dumps({**tiny, "evaluation": {"tflite": False}}), encoding="utf-8")
    assert call("run", "plain.toml", "--out", "plain").code == 0
    plain = call("attack", "plain")
    assert (plain.code, plain.err) == (
        2,
        'error: plain: has no generator to attack: no public data; expected source = "gan" or "embedding".\n',
    )


def test_a_chain_is_attacked_step_by_step(call: Callable[..., Any], tmp_path: Path) -> None:
    recipe = {
        "name": "small",
        "data": {"dataset": "digits"},
        "teacher": {"gan": "cgan", "epochs": 1},
        "figures": {"samples": 100},
    }
    Path("small.toml").write_text(tomli_w.dumps(recipe), encoding="utf-8")
    assert call("generate", "small.toml", "--out", "chain", "--until", "teacher").code == 0
    done = call("attack", "chain", "--examples", 100, "--samples", 200)
    assert done.code == 0, done.err
    found = json.loads(Path("chain/attack.json").read_text(encoding="utf-8"))
    assert (found["target"], [one["by"] for one in found["attacks"]]) == ("chain, step teacher", BY)
    for step, said in (
        ("student", "error: chain: step 'student' is not finished; fedcompress resume chain\n"),
        (
            "dataset",
            "error: --step: received 'dataset', which leaves no generator. Known: compress, private, student, "
            "teacher.\n",
        ),
    ):
        refused = call("attack", "chain", "--step", step)
        assert (refused.code, refused.err) == (2, said)
