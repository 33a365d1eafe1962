"""Runs and sweeps are read back, told apart, and refused where they cannot be compared."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from fedcompress.errors import InputError
from fedcompress.results.report.page import make_page
from fedcompress.results.runs import RunResult, find_runs

Make = Callable[..., Path]


def shape(names: list[str | Path]) -> dict[str, list[int]]:
    """Variant -> its seeds."""
    return {variant: [run.seed for run in runs] for variant, runs in find_runs(names).variants.items()}


def test_the_tables_of_a_run(make_run: Make) -> None:
    run = RunResult.load(make_run("one", (0.5, 0.7, 0.8), seed=4, clients=2))
    assert (run.variant, run.seed, run.state) == ("made-up", 4, "completed")
    assert run.rounds["accuracy"].tolist() == [0.5, 0.7, 0.8]
    assert len(run.clients) == 3 * 2
    assert run.ledger["wire_bytes"].sum() == 9_000_000
    assert run.scenario["data"]["dataset"] == "digits"
    assert run.provenance["commit"] == "c0ffee"


def test_a_line_that_was_not_finished_is_left_out(make_run: Make) -> None:
    path = make_run("one", status="interrupted")
    with (path / "rounds.jsonl").open("a") as file:
        file.write('{"round": 3, "accu')
    assert len(RunResult.load(path, unfinished=True).rounds) == 2


def test_a_run_without_a_finished_round_has_empty_tables(make_run: Make) -> None:
    run = RunResult.load(make_run("one", status="failed"), unfinished=True)
    for name in ("rounds", "clients", "ledger"):
        (run.path / f"{name}.jsonl").write_text("")
    assert run.rounds.empty
    assert run.clients["group"].tolist() == []
    assert run.ledger["wire_bytes"].sum() == 0


def test_a_damaged_table_is_one_error(make_run: Make) -> None:
    run = RunResult.load(make_run("one"))
    (run.path / "clients.jsonl").write_text("{broken}\n")
    with pytest.raises(InputError, match=r"clients.jsonl: cannot be read .*; expected the directory of a run"):
        _ = run.clients


DAMAGES = {
    "rounds.jsonl": {
        lambda text: text[:-9]: "ends within a line",
        lambda text: text.splitlines()[0] + "\n": "ends after round 1 of 2 of a completed run",
        lambda _: "": "ends after round 0 of 2",
        lambda _: "5\n": "holds lines that are no rows",
        lambda _: '{"round": 1}\n': "lacks accuracy, loss, ",
        lambda text: text.replace("0.5", '"high"'): "accuracy is no number",
        None: "cannot be read",
    },
    "clients.jsonl": {lambda _: "": "ends after round 0 of 2"},
    "ledger.jsonl": {lambda text: text[: text.index('{"round": 2')]: "ends after round 1 of 2"},
    "summary.json": {
        lambda _: '{"status": "completed"}': "lacks seed, rounds, .* or has another type",
        lambda _: "[]": "holds no table",
        lambda text: text[:50]: "cannot be read",
    },
    "provenance.json": {lambda _: "{}": "lacks versions, machine, command, engine"},
    "scenario.toml": {lambda _: "name = ": "is not valid TOML", lambda _: 'name = "x"': "lacks data, groups, rounds"},
    "federation.json": {
        lambda _: "{}": "lacks groups, labels",
        lambda _: '{"groups": [], "labels": [[1]]}': "not of the same clients",
    },
}


@pytest.mark.parametrize(("name", "place"), [(n, i) for n, changes in DAMAGES.items() for i in range(len(changes))])
def test_what_is_damaged_is_one_error(make_run: Make, name: str, place: int) -> None:
    """A file that was cut off, or is another one: a report does not show what is left of it."""
    path = make_run("run")
    change, message = list(DAMAGES[name].items())[place]
    if change is None:
        (path / name).unlink()
    else:
        (path / name).write_text(change((path / name).read_text()))
    with pytest.raises(InputError, match=rf"{name}: .*{message}"):
        make_page(find_runs([path]))


def test_a_sweep_is_its_variants(make_sweep: Make) -> None:
    path = make_sweep("sweep", {"iid": (0.8, 0.81, 0.82), "dirichlet 0.1": (0.7, 0.71, 0.72)})
    assert shape([path]) == {"iid": [1, 2, 3], "dirichlet 0.1": [1, 2, 3]}


def test_runs_that_differ_only_in_their_seeds_are_one_variant(make_run: Make) -> None:
    paths: list[str | Path] = [make_run(f"r{seed}", seed=seed) for seed in (1, 2, 3)]
    assert shape(paths) == {"made-up": [1, 2, 3]}


def test_what_decides_no_result_tells_no_runs_apart(make_run: Make) -> None:
    """Trackers, and whether there are TFLite files."""
    several = [
        make_run("r1", seed=1, settings={"tracking": {"trackers": ["wandb"], "project": "x"}}),
        make_run("r2", seed=2, settings={"evaluation": {"tflite": False}}),
        make_run("r3", seed=3, settings={"evaluation": {"tflite": True}}),
    ]
    assert list(shape([several[0], make_run("r4", seed=4)]).values()) == [[1, 4]]
    assert list(shape(several[1:]).values()) == [[2, 3]]
    rarely = make_run("r5", seed=5, settings={"evaluation": {"tflite": True, "clients_every": 5}})
    assert list(shape([several[2], rarely]).values()) == [[3], [5]]


def test_the_same_scenario_and_seed_once_more_is_another_variant(make_run: Make) -> None:
    """As after a change to the code, whichever way the runs are mixed."""
    before, after = ([make_run(f"{when}{seed}", seed=seed) for seed in (1, 2)] for when in ("before", "after"))
    expected = {"before1": [1, 2], "after1": [1, 2]}
    assert shape([*before, *after]) == expected
    assert shape([before[0], after[0], before[1], after[1]]) == expected


def test_scenarios_of_one_name_are_told_apart_by_what_differs(make_run: Make) -> None:
    sparse = {"groups": [{"name": "half", "sparsity": 0.9}]}
    less = {"groups": [{"name": "half", "sparsity": 0.5}]}
    assert shape([make_run("a", settings=sparse), make_run("b", settings=less)]) == {
        "made-up (groups.half.sparsity=0.9)": [1],
        "made-up (groups.half.sparsity=0.5)": [1],
    }
    far = {"data": {"a": 1, "b": 2, "c": 3, "d": 4}}
    assert shape([make_run("c", settings=far), make_run("d")]) == {"c": [1], "d": [1]}


def test_variants_of_one_name_in_two_sweeps_are_told_apart_by_directory(make_sweep: Make) -> None:
    paths: list[str | Path] = [make_sweep(name, {"iid": (0.8,), f"only {name}": (0.7,)}, (1,)) for name in "ab"]
    assert shape(paths) == {"a/iid": [1], "only a": [1], "b/iid": [1], "only b": [1]}


def test_directories_of_one_name_are_told_apart_by_their_paths(make_run: Make) -> None:
    paths: list[str | Path] = [make_run("x/run"), make_run("y/run")]
    assert list(shape(paths)) == list(map(str, paths))


def test_labels(make_run: Make, make_sweep: Make) -> None:
    one, two = make_run("one"), make_run("two", seed=2)
    assert shape([f"a={one}", f"a={two}", f"b={one}"]) == {"a": [1, 2], "b": [1]}
    single, several = make_sweep("single", {"base": (0.8,)}, (1,)), make_sweep("many", {"x": (0.8,), "y": (0.8,)}, (1,))
    assert shape([f"new={single}", f"old={several}"]) == {"new": [1], "old x": [1], "old y": [1]}
    assert shape([make_run("k=v")]) == {"made-up": [1]}


def test_what_a_sweep_lacks_is_named(make_sweep: Make) -> None:
    path = make_sweep("sweep", {"iid": (0.8, 0.81, 0.82)})
    summary = path / "iid-seed-2" / "summary.json"
    summary.write_text(json.dumps({**json.loads(summary.read_text()), "status": "failed"}))
    (path / "iid-seed-3" / "summary.json").unlink()
    found = find_runs([path])
    assert [run.seed for run in found.runs] == [1]
    assert found.missing == ("iid, seed 2: failed", "iid, seed 3: is running, or was killed")
    assert [run.seed for run in find_runs([path], unfinished=True).runs] == [1, 2]


def test_what_is_refused(make_run: Make, make_sweep: Make, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "notes.txt").write_text("hello")
    (tmp_path / "made").mkdir()
    (tmp_path / "made" / "scenario.toml").write_text('name = "only a scenario"')
    sweep = make_sweep("sweep", {"iid": (0.8,)}, (1,), status="interrupted")
    run, failed, killed = make_run("run"), make_run("failed", status="failed"), make_run("killed", status=None)
    expected = "expected the directory of a run or a sweep, made by fedcompress run."
    messages = {
        tmp_path / "absent": f"absent: does not exist; {expected}",
        tmp_path / "empty": f"empty: is empty; {expected}",
        tmp_path / "foreign": f"foreign: holds no scenario.toml; {expected}",
        run / "scenario.toml": f"scenario.toml: is a file; {expected}",
        tmp_path / "made": f"made: holds no provenance.json; {expected}",
        failed: f"failed: failed; finish it with: fedcompress resume {failed}",
        killed: f"killed: is running, or was killed; finish it with: fedcompress resume {killed}",
        sweep: f"sweep: no run of 1 is completed; fedcompress resume {sweep}",
    }
    for path, message in messages.items():
        with pytest.raises(InputError) as caught:
            find_runs([path])
        assert caught.value.problems == [f"{path.parent}/{message}"]
    for table in ("sweep = 3", "[sweep]\nseeds = [1]"):
        (tmp_path / "made" / "scenario.toml").write_text(table)
        with pytest.raises(InputError, match=r"made/scenario.toml: \[sweep\] lacks seeds or variants"):
            find_runs([tmp_path / "made"])
    with pytest.raises(InputError, match=r"sweep: is a sweep; name one of the runs in it\."):
        RunResult.load(sweep)
    with pytest.raises(InputError, match="run: is named twice; to compare it with itself, name it as LABEL="):
        find_runs([run, run])
    with pytest.raises(InputError, match="'a' has seed 1 already; give it another label"):
        find_runs([f"a={run}", f"a={run}"])
    with pytest.raises(InputError, match="expected LABEL=PATH, received no label"):
        find_runs([f"={run}"])
