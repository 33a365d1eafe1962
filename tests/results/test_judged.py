"""Comparisons and reports go by the figure that runs are judged by, and name it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fedcompress.results.compare import tables
from fedcompress.results.compare.comparison import Comparison, compare
from fedcompress.results.report.page import make_page
from fedcompress.results.report.sections import own
from fedcompress.results.report.shown import Shown
from fedcompress.results.runs import find_runs
from fedcompress.terminal import summary_table

Make = Callable[..., Path]
OVER = {"mean": 0.95, "std": 0.01, "worst10": 0.9}


def compared(make_run: Make, *judged: str) -> Comparison:
    """Returns runs of a seed each, one for each figure that they are judged by; own and personal models are at 0.95."""
    paths = []
    for place, name in enumerate(judged):
        settings = {"evaluation": {"judged": name}}
        paths.append(f"{place} {name}={make_run(f'{place}-{name}', settings=settings, personal=0.95, own=OVER)}")
    return compare(find_runs(paths))


@pytest.mark.parametrize(
    ("judged", "title", "column", "value", "whose"),
    [
        ("deployed", "Deployed accuracy", "deployed", "0.8000", "Of what devices run, mean over groups"),
        ("global", "Global accuracy", "global", "0.8000", "Of the global model, on the test set after the last round."),
        ("own", "Accuracy of the clients' own models", "own models", "0.9500", "Mean over clients of the models that"),
        ("personal", "Personal accuracy", "personal", "0.9500", "Mean over clients of what their devices run after"),
    ],
)
def test_the_first_table_is_of_it(make_run: Make, judged: str, title: str, column: str, value: str, whose: str) -> None:
    comparison = compared(make_run, judged, judged)
    first, groups, *_ = tables.text_tables(comparison)
    assert (first.title, first.columns[1], first.rows[0][1]) == (title, column, value)
    assert first.caption.startswith(whose)
    assert not any("judged" in text for text in comparison.warnings)
    assert column not in groups.columns
    assert ("deployed" in groups.columns) == (judged != "deployed")


def test_runs_that_are_judged_differently_are_judged_by_what_all_have(make_run: Make) -> None:
    comparison = compared(make_run, "deployed", "own")
    assert comparison.headline.name == "clients_mean"
    assert comparison.warnings[0] == (
        "runs are judged by different figures (deployed, own); here all are judged by clients on their own "
        'distributions. To judge all by one, set evaluation.judged alike: by "own" plain clients can be judged, too.'
    )
    assert tables.text_tables(comparison)[0].columns[1] == "own data"
    assert compared_globally(make_run).headline.name == "deployed_accuracy"


def compared_globally(make_run: Make) -> Comparison:
    paths = [make_run(name, settings={"evaluation": {"judged": name}}) for name in ("global", "deployed")]
    return compare(find_runs([f"{path.name}={path}" for path in paths]))


def test_a_report_begins_with_it(make_run: Make) -> None:
    """The sentence, the first tile, and the first plot."""
    path = make_run("run", settings={"evaluation": {"judged": "own"}}, own=OVER)
    add_own_rounds(path)
    page, problems = make_page(find_runs([path]))
    text = re.sub(r"<[^>]*>|\s+", " ", page.split("<main")[1])
    assert problems == []
    assert (
        "Accuracy of the clients' own models 0.9500 on each client's own distribution after 2 rounds"
        in text.replace("&#39;", "'")
    )
    tiles = re.findall(r"<dt><abbr[^>]*>(.*?)</abbr></dt>", page)
    assert tiles[:2] == ["own models", "deployed accuracy"]
    plots = re.findall(r"<h3[^>]*>(.*?)</h3>", page)
    assert plots[0].replace("&#39;", "'") == "The clients' own models over rounds"


def test_the_section_of_the_global_model_stands_first_where_runs_are_judged_by_it(make_run: Make) -> None:
    pages = [
        make_page(find_runs([make_run(n, settings={"evaluation": {"judged": n}})]))[0] for n in ("global", "deployed")
    ]
    places = [[page.index(f'<section id="{name}"') for name in ("accuracy", "deployed")] for page in pages]
    assert places[0] == sorted(places[0])
    assert places[1] == sorted(places[1], reverse=True)


def add_own_rounds(path: Path) -> None:
    lines = (path / "rounds.jsonl").read_text().splitlines()
    rows = [json.loads(line) | {"own_accuracy": value} for line, value in zip(lines, (0.7, 0.95), strict=True)]
    (path / "rounds.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_the_plot_of_own_models_has_their_rounds(make_run: Make) -> None:
    path = make_run("run", settings={"evaluation": {"judged": "own"}}, own=OVER)
    add_own_rounds(path)
    found = find_runs([path])
    shown = Shown(found.variants, compare(found))
    panel = own.over_rounds(shown, "own_accuracy")
    assert [(line["x"], line["y"]) for line in panel.figure["data"]] == [([1.0, 2.0], [0.7, 0.95])]
    assert panel.table.rows == (("1", "0.7000"), ("2", "0.9500"))


@pytest.fixture
def closing(make_run: Make) -> Callable[..., str]:
    """Returns a function that shows the closing table of a run that is judged by something."""

    def shown(judged: str) -> str:
        from fedcompress.progress import console

        path = make_run(
            judged, deployed={"dense": [0.7, 0.7], "half": [0.6, 0.6]}, judged=judged, own=OVER, personal=0.9
        )
        summary: Any = next(iter(find_runs([path]).runs)).summary
        screen = console()
        with screen.capture() as capture:
            screen.print(summary_table(summary))
        return capture.get()

    return shown


@pytest.mark.parametrize(
    ("judged", "said"),
    [
        ("own", "accuracy of the clients' own models 0.9500 (worst tenth of the clients 0.9000),"),
        ("personal", "personal accuracy 0.9000 (worst tenth of the clients 0.9000),"),
        ("global", "global accuracy 0.8000 (best on validation 0.8000),"),
        ("deployed", "deployed accuracy 0.6500 (worst group: half 0.6000),"),
    ],
)
def test_the_closing_table_begins_with_it(closing: Callable[[str], str], judged: str, said: str) -> None:
    assert " ".join(closing(judged).split()).startswith(f"made-up, seed 1: {said}")
