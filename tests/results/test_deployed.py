"""What devices run comes first in comparisons and reports, and never is the global model in its place."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pseudo_terminal import PROGRAM, run_in_terminal
from rich.cells import cell_len

from fedcompress import api
from fedcompress.errors import InputError
from fedcompress.results.compare import formats, tables
from fedcompress.results.compare.comparison import Comparison, compare
from fedcompress.results.deployed import deployed_accuracy, deployed_worst
from fedcompress.results.report import sections, write_report
from fedcompress.results.report.page import make_page
from fedcompress.results.report.sections import clients, deployed, pareto
from fedcompress.results.report.shown import Shown
from fedcompress.results.runs import RunResult, find_runs

Make = Callable[..., Path]
FINALS = {"first": (0.90, 0.92, 0.91), "second": (0.94, 0.96, 0.95)}
"""Of the global model, better in the second by 0.04."""


@pytest.fixture
def sweep(make_sweep: Make) -> Comparison:
    """The second variant has the better global model, and devices of the group "half" that are worse by 0.3."""
    paths = [
        f"{name}={make_sweep(name, {name: FINALS[name]}, below={'dense': 0.0, 'half': less}, personal=0.9)}"
        for name, less in (("first", 0.1), ("second", 0.4))
    ]
    return compare(find_runs(paths))


def test_variants_are_judged_by_what_devices_run(sweep: Comparison) -> None:
    """Means of both groups: 0.86 and, of a global model of 0.95, 0.75."""
    first, second = sweep.rows
    assert sweep.headline.name == "deployed_accuracy"
    assert list(first.cells)[:4] == [
        "deployed_accuracy",
        "deployed_worst",
        "deployed_accuracy.dense",
        "deployed_accuracy.half",
    ]
    assert (first.cells["deployed_accuracy"].part("mean"), first.cells["deployed_worst"].part("mean")) == pytest.approx(
        (0.86, 0.81)
    )
    verdicts = {name: cell.verdict for name, cell in second.cells.items() if "accuracy" in name or "worst" in name}
    assert verdicts["deployed_accuracy"] == verdicts["deployed_worst"] == verdicts["deployed_accuracy.half"] == "worse"
    assert verdicts["accuracy"] == verdicts["deployed_accuracy.dense"] == "better"
    assert verdicts["personal_accuracy"] == "within noise"


def test_the_tables_begin_with_it_and_call_the_global_model_so(sweep: Comparison) -> None:
    first, groups, *_ = tables.text_tables(sweep)
    assert (first.title, first.columns[1]) == ("Deployed accuracy", "deployed")
    assert first.rows[1][1:4] == ("0.7500", "-0.1100 ± 0.0000", "worse")
    titles = ("worst group", "dense", "half", "personal", "personal, worst tenth", "global accuracy")
    assert groups.columns == ("variant", *titles)
    shown_as = ("0.550 ▼", "0.950 ▲", "0.550 ▼", "0.900 ≈", "0.900 ≈", "0.950 ▲")
    assert tuple(re.sub(r" ± 0\.025", "", cell) for cell in groups.rows[1]) == ("second", *shown_as)
    note = "global accuracy: of the global model, which sparse devices cannot run; of own models if there is none"
    assert note in groups.caption
    assert "accuracy" not in {column for table in tables.text_tables(sweep) for column in table.columns}


@pytest.mark.parametrize("columns", [80, 120])
def test_a_terminal_begins_with_it(make_sweep: Make, tmp_path: Path, columns: int) -> None:
    """Every line fits, and no figure is broken."""
    groups = [{"name": "gateway", "share": 0.5}, {"name": "watches-of-a-long-name", "share": 0.5}]
    below = {"gateway": 0.0, "watches-of-a-long-name": 0.1}
    make_sweep("sweep", FINALS, groups=groups, below=below, personal=0.9)
    session = run_in_terminal([PROGRAM, "compare", "sweep", "--target", "0.9"], tmp_path, columns=columns)
    assert session.code == 0
    assert [line for line in session.frames if cell_len(line) > session.columns] == []
    text = "\n".join(session.screen)
    titles = ["Deployed accuracy", "Groups, and the global model", "Clients and cost", "Until the global model's test"]
    places = [text.index(title) for title in titles]
    assert places == sorted(places)
    for figure in ("0.8600", "+0.0400 ± 0.0000", "better", "0.850 ± 0.025 ▲", "0.950 ± 0.025 ▲", "0.900 ≈"):
        assert figure in text
    assert "watches-of-a-long-name" in text
    assert "global accuracy" in " ".join(text.split())


def test_files_begin_with_it(sweep: Comparison, tmp_path: Path) -> None:
    (path,) = formats.write(sweep, tmp_path / "comparison.csv")
    with path.open() as file:
        rows = [row for row in csv.DictReader(file) if row["variant"] == "second"]
    assert [row["figure"] for row in rows][:4] == list(sweep.rows[0].cells)[:4]
    assert (rows[0]["verdict"], float(rows[0]["difference"])) == ("worse", pytest.approx(-0.11))
    assert formats.to_json(sweep)["figures"][0]["figure"] == "deployed_accuracy"


def test_one_group_needs_no_column_of_its_own(make_run: Make) -> None:
    group = [{"name": "all", "share": 1.0}] * 2
    runs = [make_run(f"r{seed}", seed=seed, groups=group, deployed={"all": (None, 0.7)}) for seed in (1, 2)]
    comparison = compare(find_runs(runs))
    assert "deployed_accuracy.all" in comparison.rows[0].cells
    groups = tables.groups_table(comparison)
    assert groups is not None
    assert (groups.title, groups.columns) == ("The global model", ("variant", "global accuracy"))
    assert groups.rows == (("made-up", "0.800"),)
    dense = compare(find_runs([make_run("dense", groups=group)]))
    assert [table.title for table in tables.text_tables(dense)] == ["Deployed accuracy", "Clients and cost"]


def test_groups_are_compared_that_all_runs_have(make_run: Make) -> None:
    groups = [{"name": "dense", "share": 0.5}, {"name": "other", "share": 0.5}]
    one, two = make_run("one"), make_run("two", groups=groups)
    names = [figure.name for figure in compare(find_runs([f"a={one}", f"b={two}"])).figures]
    assert [name for name in names if name.startswith("deployed_accuracy")] == [
        "deployed_accuracy",
        "deployed_accuracy.dense",
    ]


def test_a_build_fails_by_what_devices_run(call: Callable[..., Any], make_run: Make) -> None:
    groups = [{"name": "low", "share": 0.5}, {"name": "my watch-9%", "share": 0.5}]
    before, after = (
        make_run(name, (0.5, 0.8), groups=groups, deployed={"low": (0.4, 0.8), "my watch-9%": (0.4, accuracy)})
        for name, accuracy in (("before", 0.75), ("after", 0.65))
    )

    def code(condition: str) -> int:
        return int(call("compare", f"a={before}", f"b={after}", "--fail-if", condition).code)

    assert code("accuracy < baseline") == 0  # of the global model
    assert code("deployed_accuracy < baseline - 0.04") == 3  # 0.725 and 0.775
    assert code("deployed_accuracy < baseline - 0.06") == 0
    assert code("deployed_worst < 0.7") == 3
    assert code("deployed_accuracy.my watch-9% < baseline - 9%") == 3
    assert code("deployed_accuracy.my watch-9%.mean < baseline.deployed_accuracy.my watch-9%.mean - 11%") == 0
    assert code("deployed_accuracy.low.mean < 0.8") == 0  # a group that is called like a part
    done = call("compare", f"a={before}", f"b={after}", "--fail-if", "deployed_accuracy.lowe < 0.8")
    assert done.err == (
        "error: --fail-if 'deployed_accuracy.lowe < 0.8': 'deployed_accuracy.lowe' has no such part or group. "
        "Did you mean 'low'?\n"
    )


def test_personal_accuracy_fails_a_build_only_where_it_was_measured(call: Callable[..., Any], make_run: Make) -> None:
    one, two = make_run("one", personal=0.9), make_run("two", personal=0.8)
    done = call("compare", f"a={one}", f"b={two}", "--fail-if", "personal_accuracy.half < baseline - 0.05")
    assert done.code == 3
    without = call("compare", f"a={make_run('x')}", f"b={make_run('y')}", "--fail-if", "personal_accuracy < 0.5")
    assert (without.code, without.err) == (2, "error: --fail-if: personal_accuracy: 'b' has no value for it.\n")


def test_runs_of_earlier_versions_are_judged_by_the_global_model_which_is_called_so(make_run: Make) -> None:
    paths = [f"{name}={make_run(name, (0.5, a), earlier=True)}" for name, a in (("a", 0.8), ("b", 0.7))]
    comparison = compare(find_runs(paths))
    assert comparison.headline.name == "accuracy"
    (warning,) = comparison.warnings
    assert warning.startswith("runs made before deployed models were tested round by round: 2 of 2")
    first, second, *_ = tables.text_tables(comparison)
    assert (first.title, first.columns[1], first.rows[1][1]) == ("Global accuracy", "global", "0.7000")
    assert second.title == "Clients and cost"
    assert comparison.rows[1].cells["deployed_accuracy"].verdict == "no value"


def test_beside_a_run_of_an_earlier_version_its_deployed_accuracy_stays_empty(make_run: Make) -> None:
    old, new = make_run("old", earlier=True), make_run("new", deployed={"dense": (0.5, 0.8), "half": (0.5, 0.6)})
    comparison = compare(find_runs([f"old={old}", f"new={new}"]))
    first, groups, *_ = tables.text_tables(comparison)
    assert first.rows == (
        ("old", "-", "-", "baseline", "-", "-", "0"),
        ("new", "0.7000", "-", "no value", "-", "-", "1"),
    )
    assert groups.rows[0] == ("old", "-", "-", "-", "0.800")
    assert comparison.warnings[0].startswith("runs made before deployed models were tested round by round: 1 of 2")


def test_what_earlier_versions_measured_at_the_end_counts(make_run: Make) -> None:
    """3 clients of 0.8 and 1 of 0.4: 0.7; and nothing if a group was not tested."""
    run = make_run("run", earlier=True)
    summary = json.loads((run / "summary.json").read_text())
    summary["groups"]["dense"] |= {"clients": 3, "deployed_accuracy": 0.8}
    summary["groups"]["half"] |= {"clients": 1, "deployed_accuracy": 0.4}
    (run / "summary.json").write_text(json.dumps(summary))
    assert deployed_accuracy(RunResult.load(run)) == pytest.approx(0.7)
    assert deployed_worst(RunResult.load(run)) == 0.4
    summary["groups"]["half"]["deployed_accuracy"] = None
    (run / "summary.json").write_text(json.dumps(summary))
    assert (deployed_accuracy(RunResult.load(run)), deployed_worst(RunResult.load(run))) == (None, None)


def test_runs_that_were_tested_in_different_rounds(make_run: Make) -> None:
    """That one is longer is no difference."""
    accuracies = (0.5, 0.6, 0.7, 0.8)
    each = make_run("each", accuracies)
    rarely = make_run("rarely", accuracies, seed=2, deployed=dict.fromkeys(("dense", "half"), (None, 0.6, None, 0.8)))
    shorter = make_run("shorter", accuracies[:2], seed=3)
    assert compare(find_runs([f"a={each}", f"a={rarely}"])).warnings == (
        "deployed models were tested in different rounds (before the last: 1 to 3 / 2).",
    )
    assert compare(find_runs([f"a={each}", f"a={shorter}"])).warnings == ()


def test_groups_that_were_not_tested_are_named(make_run: Make) -> None:
    """As a sparse group of training without a federation, which makes no model for its devices."""
    all_, dense = make_run("all"), make_run("dense", deployed={"dense": (0.5, 0.8), "half": (None, None)})
    comparison = compare(find_runs([f"fedavg={all_}", f"centralized={dense}"]))
    assert comparison.warnings[0] == (
        "deployed accuracy leaves out groups whose devices' models were not tested (centralized: half)."
    )
    assert comparison.rows[1].cells["deployed_accuracy.half"].verdict == "no value"


def test_a_figure_of_a_group_is_a_column_of_its_own(make_run: Make) -> None:
    run = RunResult.load(make_run("run", (0.5, 0.8), deployed={"dense": (0.5, 0.8), "half": (None, 0.6)}))
    assert run.rounds["groups.half.deployed_accuracy"].fillna(-1).tolist() == [-1, 0.6]
    assert run.rounds["groups.half.accuracy"].tolist() == [0.5, 0.8]
    assert run.rounds["deployed_accuracy"].tolist() == [0.5, 0.7]
    assert "groups" not in run.rounds
    assert run.rounds["personal_accuracy"].isna().all()
    earlier = RunResult.load(make_run("earlier", earlier=True)).rounds
    assert earlier["deployed_accuracy"].isna().all()
    assert [column for column in earlier if column.startswith("groups.")] == []


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        ("[1]", "groups is no table of figures by group"),
        ('{"half": 1}', "groups is no table of figures by group"),
        ('{"half": {"deployed_accuracy": "high"}}', "groups.half.deployed_accuracy is no number"),
    ],
)
def test_damaged_figures_of_groups_are_one_error(make_run: Make, groups: str, message: str) -> None:
    path = make_run("run")
    rows = [json.loads(line) | {"groups": json.loads(groups)} for line in (path / "rounds.jsonl").open()]
    (path / "rounds.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(InputError, match=rf"rounds\.jsonl: {message}"):
        _ = RunResult.load(path).rounds


def shown(*names: str | Path) -> Shown:
    found = find_runs(names)
    return Shown(found.variants, compare(found))


def test_the_page_begins_with_it(make_run: Make) -> None:
    run = make_run("run", (0.5, 0.8), deployed={"dense": (0.5, 0.8), "half": (None, 0.6)}, personal=0.9)
    page, problems = make_page(find_runs([run]))
    assert problems == []
    tiles = re.findall(r"<dt>(?:<abbr[^>]*>)?(.*?)(?:</abbr>)?</dt><dd>(.*?)<small>", page)
    assert tiles[:4] == [
        ("deployed accuracy", "0.7000"),
        ("worst group", "0.6000"),
        ("personal accuracy", "0.9000"),
        ("global accuracy", "0.8000"),
    ]
    assert "Deployed accuracy 0.7000 on the test set after 2 rounds" in page
    assert page.index("What devices run") < page.index("Global accuracy over rounds")


def test_groups_over_rounds_where_they_were_tested(make_run: Make) -> None:
    run = make_run("run", (0.5, 0.7, 0.8), deployed={"dense": (0.5, None, 0.8), "half": (0.4, None, 0.6)})
    (panel,) = deployed.blocks(shown(run))
    lines = {trace["name"]: (trace["x"], trace["y"]) for trace in panel.figure["data"]}
    assert lines == {
        "dense": ([1, 3], [0.5, 0.8]),
        "half": ([1, 3], [0.4, 0.6]),
        "global model": ([1, 2, 3], [0.5, 0.7, 0.8]),
    }
    assert panel.table.columns == ("round", "dense", "half", "global model")
    assert panel.table.rows[1] == ("2", "-", "-", "0.7000")


def test_variants_over_rounds_group_by_group(make_sweep: Make) -> None:
    panels = list(deployed.blocks(shown(make_sweep("sweep", FINALS, below={"dense": 0.0, "half": 0.1}))))
    assert [panel.title for panel in panels] == [
        *(f"Deployed accuracy of {name} over rounds" for name in ("dense", "half")),
    ]
    lines = {trace["name"]: trace for trace in panels[1].figure["data"] if "name" in trace}
    assert list(lines) == ["first", "second", "first, global model", "second, global model"]
    assert (lines["second"]["x"], lines["second"]["y"]) == ([2], [0.85])
    assert lines["second, global model"]["y"] == [0.475, 0.95]


def test_accuracy_against_size_is_that_of_devices(make_sweep: Make, make_run: Make) -> None:
    """Half widths of 0.80, 0.82, 0.81: 4.303 * 0.01 / sqrt(3) = 0.0248. A group without figures is not drawn."""
    sweep = shown(make_sweep("sweep", FINALS, below={"dense": 0.0, "half": 0.1}))
    against_bytes, against_size = pareto.blocks(sweep)
    assert against_bytes.title == "Deployed accuracy against bytes"
    assert against_size.table.rows[1] == ("first, half", "500 B", "0.8100 (0.7852 to 0.8348)", "no")
    (drawn,) = [trace for trace in against_size.figure["data"] if trace["name"] == "first, half"]
    assert (drawn["y"], drawn["error_y"]["array"]) == ([0.81], [pytest.approx(0.0248, abs=1e-4)])
    assert list(pareto.blocks(shown(make_run("earlier", earlier=True)))) == []


def test_groups_of_earlier_versions_have_no_deployed_accuracy(make_run: Make) -> None:
    table = clients.groups(shown(make_run("run", earlier=True)).variants)
    assert "deployed" not in table.columns
    assert table.rows[0][table.columns.index("global model")] == "0.8000"


BROKEN = """
TITLE, PLACE = "Mine", 25


def blocks(shown):
    raise ValueError("out\\nof luck")
    yield
"""


def test_a_section_that_raises_is_one_line(
    call: Callable[..., Any], make_run: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In its place on the page, and on standard error; the rest of the page is there."""
    (tmp_path / "mine.py").write_text(BROKEN)
    monkeypatch.setattr(sections, "__path__", [*sections.__path__, str(tmp_path)])
    run = make_run("run")
    done = call("report", run)
    page = run / "report.html"
    line = "could not be made: ValueError: out of luck"
    assert done == (1, f"{page}\n", f"warning: {page}: section 'Mine' {line}\n")
    text = page.read_text()
    assert f"<p>This section {line}</p>" in text
    assert text.index("What devices run") < text.index(line) < text.index("Where the bytes went", text.index(line))
    missing: list[str] = []
    write_report(find_runs([run]), missing=missing)
    assert missing == [f"section 'Mine' {line}"]


def test_a_run_in_python_says_it_first(make_run: Make) -> None:
    run = api.load(make_run("run", deployed={"dense": (0.5, 0.8), "half": (0.4, 0.6)}))
    assert repr(run).endswith("seed 1, deployed accuracy 0.7000, global accuracy 0.8000 after 2 rounds)")
    earlier = api.load(make_run("earlier", earlier=True))
    assert repr(earlier).endswith("seed 1, global accuracy 0.8000 after 2 rounds)")
