"""fedcompress from Python, and the notebooks that show it."""

from __future__ import annotations

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
    assert fedcompress.load(out).summary == run.summary
    with pytest.raises(InputError, match=r"holds no model of 'prund'\. Did you mean 'pruned'"):
        run.model("prund")


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
    with pytest.raises(InputError, match="is a sweep; name one of the runs in it"):
        fedcompress.load(tmp_path / "sweep")


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
    assert [path.stem for path in NOTEBOOKS] == ["first-run", "your-own-client-strategy"]
