"""fedcompress from Python, and the notebooks that show it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fedcompress
from fedcompress.data.loading import load_dataset
from fedcompress.errors import InputError
from fedcompress.results import export
from fedcompress.results.exported import as_trained
from fedcompress.results.run.directory import RunDirectory
from fedcompress.scenario import Scenario

NOTEBOOKS = sorted((Path(__file__).parent.parent / "notebooks").glob("*.ipynb"))


def test_importing_it_is_instant() -> None:
    code = (
        "import fedcompress, sys; assert 'run' in dir(fedcompress)\n"
        "print(*[n for n in ('tensorflow', 'flwr', 'pandas', 'numpy', 'pydantic', 'rich') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
    with pytest.raises(AttributeError, match="has no attribute 'rnu'"):
        fedcompress.rnu  # noqa: B018


def test_a_run_and_its_tables(tiny: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "run"
    run = fedcompress.run(Scenario.parse(tiny), seed=3, out=out, progress=False, rounds=1, data__partition="dirichlet")
    assert capsys.readouterr() == ("", "")
    assert (run.seed, run.summary["status"], run.scenario["data"]["partition"]) == (3, "completed", "dirichlet")
    assert run.rounds["accuracy"].tolist() == [run.summary["accuracy"]]
    assert sorted(run.clients["client"]) == [0, 1, 2]
    up = run.ledger[run.ledger["direction"] == "uplink"]
    assert up["wire_bytes"].sum() == run.summary["uplink_bytes"]
    assert run.provenance["command"][0] == "fedcompress.run"
    assert run.dataset_digest == run.provenance["dataset_digest"] == load_dataset("digits").digest
    assert str(out) in repr(run)
    model = run.model("pruned")
    assert model.predict(np.zeros((2, 8, 8, 1), np.float32), verbose=0).shape == (2, 10)
    loaded = fedcompress.load(out)
    assert isinstance(loaded, fedcompress.Run)
    assert loaded.summary == run.summary
    with pytest.raises(InputError, match=r"holds no model of 'prund'\. Did you mean 'pruned'"):
        run.model("prund")


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> fedcompress.Run:
    """A run of a dictionary: digits, two dense clients and a pruned one."""
    groups = [
        {"name": "dense", "share": 0.67, "model": "mini-cnn"},
        {"name": "pruned", "share": 0.33, "model": "mini-cnn", "compression": "magnitude", "sparsity": 0.5},
    ]
    data = {"dataset": "digits", "clients": 3}
    table = {"name": "tiny", "rounds": 1, "data": data, "evaluation": {"tflite": False}, "groups": groups}
    return fedcompress.run(table, out=tmp_path_factory.mktemp("api") / "run", progress=False, seed=2)


def test_a_dictionary_is_a_scenario(ran: fedcompress.Run) -> None:
    assert (ran.seed, ran.scenario["groups"][1]["sparsity"]) == (2, 0.5)
    assert ran.provenance["command"] == ["fedcompress.run", "tiny"]
    assert fedcompress.Scenario.load(str(ran.path / "scenario.toml")).digest == ran.provenance["scenario_digest"]
    assert fedcompress.Scenario.load("quickstart", {"rounds": 3}).rounds == 3


def test_predictions_are_of_what_devices_run(ran: fedcompress.Run) -> None:
    digits = load_dataset("digits")
    odds = ran.predict(digits.x_test, "dense")
    assert (odds.shape, odds.dtype) == ((len(digits.y_test), 10), np.float32)
    assert np.allclose(odds.sum(axis=1), 1)
    assert (odds.argmax(axis=1) == digits.y_test).mean() == ran.summary["groups"]["dense"]["deployed_accuracy"]
    assert np.array_equal(ran.predict(digits.x_test / np.float32(255), "dense"), odds)


@pytest.mark.parametrize(
    ("inputs", "group", "problem"),
    [
        (np.zeros((2, 8, 8, 1)), None, "has models of dense, pruned; say which: group=..."),
        (np.zeros((8, 8, 1)), "dense", r"received inputs of shape \(8, 8, 1\); expected \(n, 8, 8, 1\)"),
        (np.full((2, 8, 8, 1), 200.0), "dense", "images of float64 from 200 to 200; expected uint8 from 0 to 255, or"),
        (np.full((2, 8, 8, 1), "3"), "dense", "inputs of <U1; expected numbers"),
        (np.zeros((2, 8, 8, 1)), "prund", r"holds no model of 'prund'\. Did you mean 'pruned'"),
    ],
)
def test_inputs_that_a_model_has_not_learned_from(ran: fedcompress.Run, inputs: Any, group: Any, problem: str) -> None:
    with pytest.raises(InputError, match=problem):
        ran.predict(inputs, group)


def test_models_say_what_they_take(ran: fedcompress.Run) -> None:
    said = RunDirectory(ran.path / "models").read_json("models.json")
    assert said["pruned"] == {
        "files": ["pruned.h5"],
        "model": "mini-cnn",
        "inputs": "float32 (n, 8, 8, 1), images of numbers 0 to 255, divided by 255",
        "shape": [8, 8, 1],
        "divided_by": 255,
        "outputs": "logits (n, 10)",
        "labels": None,
    }


def test_tables_are_taken_as_they_are() -> None:
    """Of a data set of floats, uint8 is a number like another; of a run that does not say so, an image."""
    x = np.array([[0, 255]], np.uint8)
    table: Any = {"divided_by": 1}
    assert as_trained(x, (2,), table).tolist() == [[0, 255]]
    assert as_trained(x, (2,), None).tolist() == [[0, 1]]


def test_a_figure_is_a_plot_of_the_report(ran: fedcompress.Run) -> None:
    figure = ran.figure("accuracy")
    assert figure.layout.title.text == "Deployed accuracy over rounds"
    names = {trace.name: list(trace.y) for trace in figure.data}
    assert names["dense"] == [pytest.approx(ran.summary["groups"]["dense"]["deployed_accuracy"], rel=1e-5)]
    assert figure.data[0].line.color == "rgba(0,114,178,1)"
    assert ran.figure("labels").data[0].type == "heatmap"
    with pytest.raises(InputError, match=r"no plot of these runs has 'nothing' in its title\. Known: deployed-acc"):
        ran.figure("nothing")


def test_a_comparison(ran: fedcompress.Run, tmp_path: Path) -> None:
    compared = fedcompress.compare({"x=1": ran, "again": [ran.path]}, figures=["uplink_bytes"])
    assert compared.verdicts == {"x=1": "baseline", "again": "identical"}
    of_bytes = compared.table[compared.table["figure"] == "uplink_bytes"]
    assert of_bytes["mean"].tolist() == [ran.summary["uplink_bytes"]] * 2
    assert "x=1" in repr(compared)
    assert compared.write(tmp_path / "table.tex") == [tmp_path / "table.tex"]
    for bad, problem in (((3,), "compare: received 3; expected runs, sweeps"), ((), "no runs are named")):
        with pytest.raises(InputError, match=problem):
            fedcompress.compare(*bad)  # type: ignore[arg-type]


def test_groups_whose_names_differ_in_case_alone_have_models_of_their_own(tiny: dict[str, Any], tmp_path: Path) -> None:
    tiny["groups"] = [
        {"name": "Phone", "share": 0.5, "model": "mlp:6"},
        {"name": "phone", "share": 0.5, "model": "mlp:7"},
    ]
    run = fedcompress.run(Scenario.parse(tiny), out=tmp_path / "run", progress=False, rounds=1)
    assert [run.model(group).layers[-2].units for group in ("Phone", "phone")] == [6, 7]
    stems = {file.stem.casefold() for file in (tmp_path / "run" / "models").glob("*.h5")}
    assert len(stems) == 2
    with pytest.raises(InputError, match=r"holds no model of 'Phones'\. Did you mean 'Phone'"):
        run.model("Phones")


def test_all_runs_of_a_sweep(
    tiny: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(export, "export_models", lambda *_: {})
    table = {**tiny, "rounds": 1, "sweep": {"seeds": [1, 2]}}
    runs = fedcompress.run_all(Scenario.parse(table), out=tmp_path / "sweep")
    assert {"comparison.csv", "report.html"} <= {path.name for path in (tmp_path / "sweep").iterdir()}
    assert [run.seed for run in runs] == [1, 2]
    assert "2 of 2 runs done, left 0 s" in capsys.readouterr().err
    assert RunDirectory(tmp_path / "sweep").read_json("sweep.json")["variants"][0]["seeds"] == 2
    with pytest.raises(InputError, match=r"is a sweep of 2 runs; use fedcompress\.run_all"):
        fedcompress.run(Scenario.parse(table))
    with pytest.raises(InputError, match=r"has no \[sweep\]; use fedcompress\.run\."):
        fedcompress.run_all(Scenario.parse(tiny))
    loaded = fedcompress.load(tmp_path / "sweep")
    assert isinstance(loaded, fedcompress.Sweep)
    assert [run.path for run in loaded] == [run.path for run in runs]
    assert {name: len(of_variant) for name, of_variant in loaded.variants.items()} == {"base": 2}
    assert loaded.table["seed"].tolist() == [1, 2]
    assert repr(loaded) == f"Sweep({str(tmp_path / 'sweep')!r}: 2 runs of base)"
    assert fedcompress.compare(loaded).verdicts == {"base": "baseline"}


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "engine": ({"engine": "rya"}, r"engine: unknown 'rya'\. Did you mean 'ray'"),
    "workers": ({"workers": 0}, "workers: received 0; expected at least 1"),
    "key": ({"data__cliens": 3}, r"data\.cliens: unknown key\. Did you mean 'clients'"),
    "group": ({"groups__phnoe__sparsity": 0.1}, "no group is named 'phnoe'"),
    "scenario": (
        {"scenario": "quickstrat"},
        r"quickstrat: no such file, and no scenario of that name ships\. Did you mean 'quickstart'",
    ),
    "a scenario's long name": ({"scenario": "q" * 300}, "cannot be read: File name too long"),
    "a data set's long name": ({"data__dataset": "npz:" + "q" * 300}, "is not here: looked for 'qqq"),
    "no scenario": ({"scenario": 3}, r"scenario: received 3; expected a TOML file, the name of a scenario that ships"),
    "a table without name": ({"scenario": {"rounds": 3}}, r"name: is missing"),
    "directory": ({"out": Path(__file__).parent}, "is in use; name a directory that is new or empty"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_clear_error(case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    arguments, message = BAD[case]
    with pytest.raises(InputError, match=message):
        fedcompress.run(**{"scenario": "quickstart", **arguments})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_run_and_are_committed_without_outputs(path: Path, tmp_path: Path) -> None:
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(not cell.outputs and cell.execution_count is None for cell in cells)
    nbclient.NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(tmp_path)}}).execute()
    assert all(cell.execution_count for cell in cells)
    assert any((tmp_path / "runs").iterdir())


def test_there_are_notebooks() -> None:
    assert [path.stem for path in NOTEBOOKS] == ["first-run", "iid-against-non-iid", "your-own-client-strategy"]


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "workers": ({"workers": "2"}, "workers: received '2'; expected at least 1, a whole number"),
    "engine": ({"engine": 3}, "engine: unknown 3. Known: inline, ray, superlink"),
    "out": ({"out": 3}, "out: received 3; expected a path"),
    "a name that no file has": ({"out": "a\0b"}, "cannot be written: embedded null byte"),
    "plugins": ({"plugins": 3}, "plugins: received 3; expected a path"),
    "a folder of plug-ins": ({"plugins": "mine"}, "--plugins mine: expected a folder that holds"),
}


@pytest.mark.parametrize(("arguments", "message"), REFUSED.values(), ids=REFUSED)
def test_what_is_no_argument_is_one_error(tiny: dict[str, Any], arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        fedcompress.run(tiny, progress=False, **arguments)


def test_numbers_of_numpy_are_numbers(tiny: dict[str, Any], tmp_path: Path) -> None:
    """As they come out of a grid; a folder of plug-ins may be named alone."""
    (tmp_path / "mine/clients").mkdir(parents=True)
    (tmp_path / "mine/clients/own.py").write_text("from clients.sgd import SGD\nclass Own(SGD):\n    pass\n")
    tiny["data"]["clients"] = np.int64(3)
    tiny["groups"][0]["client"] = "own"
    given: dict[str, Any] = {"seed": np.int64(4), "workers": np.int64(1), "plugins": str(tmp_path / "mine")}
    rate: dict[str, Any] = {
        "rounds": np.int64(1),
        "training__learning_rate": np.float64(0.01),
        "evaluation__tflite": np.bool_(False),
    }
    run = fedcompress.run(tiny, out=tmp_path / "run", progress=False, **given, **rate)
    assert (run.seed, run.scenario["rounds"], run.scenario["training"]["learning_rate"]) == (4, 1, 0.01)


def test_what_is_no_name_is_one_error(ran: fedcompress.Run) -> None:
    for of in ({}, {"client": 0}):
        with pytest.raises(InputError, match="group: received 3; expected a name"):
            ran.model(3, **of)  # type: ignore[arg-type]
    for plotted in (ran, fedcompress.compare({"a": ran})):
        with pytest.raises(InputError, match="figure: received None; expected a name"):
            plotted.figure(None)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="load: received None; expected a path"):
        fedcompress.load(None)  # type: ignore[arg-type]


def test_no_examples_have_no_predictions(ran: fedcompress.Run) -> None:
    odds = ran.predict(np.zeros((0, 8, 8, 1), np.uint8), "dense")
    assert odds.shape == (0, 10)


def test_a_variant_without_runs_is_refused(ran: fedcompress.Run) -> None:
    """It was left out, and the others were compared."""
    for runs, message in (
        ({"a": [ran], "b": []}, "received no runs of 'b'; expected"),
        ([], "received no runs; expected"),
    ):
        with pytest.raises(InputError, match=f"compare: {message} at least one, or leave it out"):
            fedcompress.compare(ran, runs)
