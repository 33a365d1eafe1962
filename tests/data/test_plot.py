"""The label distribution in the terminal and as a page."""

from __future__ import annotations

import re
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from fedcompress.data.plot import render_people, render_plot, render_table, write_plot


def text(renderable: Any) -> str:
    page = StringIO()
    Console(width=160, file=page).print(renderable)
    return page.getvalue()


def test_table() -> None:
    shown = text(render_table(np.array([[1500, 0], [20, 3]]), ["cat", "dog"]))
    cells = [re.findall(r"[\w,·]+", line) for line in shown.splitlines()]
    for row in (["client", "cat", "dog", "examples"], ["0", "1,500", "·", "1,500"], ["1", "20", "3", "23"]):
        assert row in cells
    assert ["all", "1,520", "3", "1,523"] in cells


def test_people() -> None:
    shown = text(render_people([["ann"], [f"w{i}" for i in range(7)]]))
    assert re.search(r"^0 +1 +ann", shown, re.MULTILINE)
    assert re.search(r"^1 +7 +w0, w1, w2, w3, w4 and 2 more", shown, re.MULTILINE)
    assert re.search(r"^15 more +15 *$", text(render_people([["x"]] * 35)), re.MULTILINE)


def test_many_clients_are_summed_up() -> None:
    """40 clients with i and 2 examples: the last 20 have 20..39, 29.5 in the mean, 22 to 41 in all."""
    shown = text(render_table(np.stack([np.arange(40), np.full(40, 2)], axis=1)))
    assert re.search(r"20 more, mean +29.5 +2.0 +31.5 \(22 to 41\)", shown)
    assert re.search(r"(?m)^19 +19 +2 +21$", shown)
    assert not re.search(r"(?m)^20 +20 ", shown)
    assert "20 more clients" in text(render_plot(np.ones((40, 2), np.int64)))
    assert "more" not in text(render_table(np.ones((30, 2), np.int64)))


def test_many_classes_are_counted() -> None:
    shown = text(render_table(np.eye(3, 50, dtype=np.int64) * 5 + np.eye(3, 50, 1, dtype=np.int64)))
    assert re.search(r"(?m)^0 +2 +5 +6$", shown)
    assert "classes" in shown
    assert text(render_plot(np.ones((2, 50), np.int64))).count("█" * 50) == 2


def test_plot() -> None:
    """Shades are quarters of the client's largest class: 8 full, 4 half, 1 below a quarter; bars are 10 and 5 wide."""
    lines = text(render_plot(np.array([[8, 4, 1, 0, 7], [2, 2, 2, 2, 2]]), width=10)).splitlines()
    assert lines[0].split() == ["client", "0", "1", "2", "3", "4", "examples"]
    assert lines[1].rstrip() == "       0  █ ▒ ░   █  ██████████ 20"
    assert lines[2].rstrip() == "       1  █ █ █ █ █  █████ 10"


@pytest.mark.parametrize("columns", [60, 80, 120])
@pytest.mark.parametrize(("clients", "classes"), [(3, 10), (40, 20), (12, 62), (3, 100)])
def test_both_fit_the_screen(clients: int, classes: int, columns: int) -> None:
    distribution = np.full((clients, classes), 1234, np.int64)
    page = StringIO()
    screen = Console(width=columns, file=page)
    screen.print(render_table(distribution))
    screen.print(render_plot(distribution, columns=columns))
    lines = page.getvalue().splitlines()
    assert max(map(len, lines)) <= columns
    assert "…" not in page.getvalue()
    bars = [line for line in lines if line.endswith(f"█ {1234 * classes:,}")]
    assert len(bars) == min(clients, 20 if clients > 30 else clients)
    assert len({len(line) for line in bars}) == 1


@pytest.mark.parametrize("distribution", [np.zeros((2, 3), np.int64), np.zeros((40, 30), np.int64)])
def test_empty_clients(distribution: Any) -> None:
    assert text(render_table(distribution))
    assert text(render_plot(distribution))


def test_page_is_self_contained(tmp_path: Path) -> None:
    pytest.importorskip("plotly")
    path = tmp_path / "new/plot.html"
    write_plot(np.array([[5, 1], [2, 3]]), path, ["cat", "dog"])
    page = path.read_text()
    assert not re.search(r'<(script|link|img)[^>]*(src|href)=(?!"data:)', page)
    assert "cat" in page
    assert "Examples of 2 clients by class" in page
