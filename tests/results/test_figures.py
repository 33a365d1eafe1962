"""Plots of a report outside of it: drawn by matplotlib for a paper, and by plotly for a notebook."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fedcompress.errors import InputError
from fedcompress.page.blocks import Panel, TextTable
from fedcompress.page.figures import axes, band, line, plotted, stacked
from fedcompress.page.palette import coloured, rgba
from fedcompress.results.figures import files
from fedcompress.results.figures.drawing import draw
from fedcompress.results.figures.panels import named_panel, panels
from fedcompress.results.runs import find_runs

NUMBERS = TextTable("", (), ())


def panel(figure: dict[str, Any], title: str = "Plot") -> Panel:
    return Panel(title, "", figure, NUMBERS)


def test_colours_are_those_of_the_page() -> None:
    assert rgba("@0") == (0, pytest.approx(0x72 / 255), pytest.approx(0xB2 / 255), 1)
    assert rgba("@1/0.2")[3] == 0.2
    figure = {"marker": {"color": "@ink"}, "name": "@ink", "colorscale": [[0, "@heat-low"]]}
    expected = {"marker": {"color": "rgba(27,31,36,1)"}, "name": "@ink", "colorscale": [[0, "rgba(244,246,248,1)"]]}
    assert coloured(figure) == expected


def test_lines_bands_and_shapes_are_drawn() -> None:
    """A line with an area behind it that is not in the legend, one of no marks, and a shade."""
    x = [1, 2, 3]
    data = [*band("a", 0, x, [0.1, 0.2, 0.3], [0.3, 0.4, 0.5]), line("a", 0, x, [0.2, 0.3, float("nan")])]
    data.append(line("b", 1, x, [0.5, 0.6, 0.7], marked=False))
    layout = axes("round", "accuracy", shapes=[{"x0": 0, "x1": 1, "fillcolor": "@1/0.12"}])
    figure = draw(panel(plotted(data, layout)), 3.5)
    (drawn,) = figure.axes
    assert figure.get_size_inches().tolist() == [3.5, pytest.approx(3.5 * 0.66)]
    assert [found.get_marker() for found in drawn.lines] == ["o", "None"]
    assert [found.get_linestyle() for found in drawn.lines] == ["-", "--"]
    assert drawn.lines[0].get_ydata().tolist() == [0.2, 0.3, pytest.approx(float("nan"), nan_ok=True)]
    assert (len(drawn.collections), len(drawn.patches)) == (1, 1)
    assert (drawn.get_xlabel(), drawn.get_ylabel()) == ("round", "accuracy")
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["a", "b"]


def test_a_legend_is_as_wide_as_the_figure_and_names_all() -> None:
    names = [f"{client} partition={partition}" for client in ("plain", "headed") for partition in ("iid", "shard")]
    lines = [line(name, number, [1, 2], [0.1, 0.2]) for number, name in enumerate([*names, "local", "central"])]
    for width in (3.5, 7.16):
        figure = draw(panel(plotted(lines, axes("round", "clients on their own distributions"))), width)
        (legend,) = figure.legends
        (drawn,) = figure.axes
        figure.canvas.draw()
        assert legend.get_window_extent().x0 >= 0 and legend.get_window_extent().x1 <= figure.bbox.width
        assert [text.get_text() for text in legend.get_texts()] == [*names, "local", "central"]
        assert ("\n" in drawn.get_ylabel()) == (width < 5)


def test_bars_lie_behind_each_other() -> None:
    figure = draw(panel(stacked(["up", "down"], {"weights": [3.0, 2.0], "mask": [1.0, 4.0]}, "megabytes")), 7.16)
    (drawn,) = figure.axes
    assert [(bar.get_x(), bar.get_width()) for bar in drawn.patches] == [(0, 3), (0, 2), (3, 1), (2, 4)]
    assert drawn.yaxis.get_inverted()
    assert [label.get_text() for label in drawn.get_yticklabels()] == ["up", "down"]


def test_a_heatmap_and_points_with_intervals() -> None:
    colours = [[0, "@heat-low"], [1, "@heat-high"]]
    bar = {"title": {"text": "examples"}}
    heat: dict[str, Any] = {
        "type": "heatmap",
        "z": [[0, 2], [None, 3]],
        "zmin": 0,
        "zmax": 3,
        "x": ["0", "1"],
        "y": [0, 1],
    }
    figure = draw(panel(plotted([{**heat, "colorscale": colours, "colorbar": bar}], axes("class", "client"))), 3.5)
    assert [one.get_ylabel() for one in figure.axes] == ["client", "examples"]
    point = {"type": "scatter", "mode": "markers", "name": "a", "x": [8.0], "y": [0.5]}
    reach = {"array": [0.2], "arrayminus": [0.1], "color": "@2"}
    layout = axes("bytes", "accuracy")
    layout["xaxis"]["rangemode"] = "tozero"
    drawn = draw(
        panel(plotted([{**point, "marker": {"symbol": "star", "color": "@2"}, "error_y": reach}], layout)), 3.5
    )
    (bars,) = drawn.axes[0].collections
    assert [row.tolist() for row in bars.get_segments()[0]] == [[8.0, 0.4], [8.0, 0.7]]
    assert drawn.axes[0].get_xlim()[0] == 0
    assert drawn.axes[0].get_xlim()[1] > 8


def test_names_of_plots() -> None:
    known = {"deployed-accuracy-over-rounds": panel({}, "first"), "global-accuracy-over-bytes": panel({}, "second")}
    assert named_panel(known, "accuracy")[1].title == "first"
    assert named_panel(known, "Bytes accuracy")[1].title == "second"
    assert named_panel(known, "global-accuracy-over-bytes")[1].title == "second"
    for name in ("accurac", "", "--"):
        with pytest.raises(InputError, match=r"Known: deployed-accuracy-over-rounds, global-accuracy-over-bytes\."):
            named_panel(known, name)


def test_figures_of_a_run(
    call: Callable[..., Any], make_run: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same bytes each time; a file in the place of the folder is refused before anything is written."""
    make_run("found")
    drawn = panels(find_runs([tmp_path / "found"]))
    assert {"deployed-accuracy-over-rounds", "bytes-by-direction-and-content"} <= drawn.keys()
    name = "global-accuracy-over-rounds"
    monkeypatch.setattr(files, "panels", lambda *_, **__: {name: drawn[name]})
    done = call("report", "found", "--figures", "figures")
    assert done.code == 0, done.err
    assert done.out.splitlines()[0] == "figures: 6 files in one-column, two-column"
    written = sorted((tmp_path / "figures").rglob("*.*"))
    assert {path.name for path in written} == {f"{name}.svg", f"{name}.pdf", f"{name}.png"}
    before = [path.read_bytes() for path in written]
    monkeypatch.setattr(files, "panels", lambda *_, **__: drawn)
    files.write_figures(find_runs([tmp_path / "found"]), tmp_path / "figures", names=[name])
    assert [path.read_bytes() for path in written] == before
    (tmp_path / "file").write_text("", encoding="utf-8")
    done = call("report", "found", "--figures", "file")
    assert (done.code, done.err) == (2, "error: --figures file: is a file; name a directory.\n")


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (
            ["--figures", "figures", "--plot", "acuracy"],
            "--plot: no plot of these runs has 'acuracy' in its title.",
        ),
        (["--plot", "accuracy"], "--plot: says which plots are drawn for a paper; --figures DIR says where to."),
    ],
)
def test_plots_that_cannot_be_drawn(
    call: Callable[..., Any], make_run: Callable[..., Path], tmp_path: Path, more: list[str], said: str
) -> None:
    make_run("found")
    done = call("report", "found", *more)
    assert done.code == 2
    assert done.err.startswith(f"error: {said}")
    assert done.err.count("\n") == 1
    assert not (tmp_path / "figures").exists()
