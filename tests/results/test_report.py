"""A report: what it says, that names stay names, what is refused, and that plotly accepts its figures."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
import pytest

from fedcompress.errors import InputError
from fedcompress.results.compare.comparison import compare
from fedcompress.results.report import sections, settings, write_report
from fedcompress.results.report.sections import clients, devices, pareto
from fedcompress.results.report.shown import Shown
from fedcompress.results.runs import find_runs
from work import counted

Make = Callable[..., Path]
HOSTILE = "<img src=x onerror=alert(1)>\"&'{{ 7*7 }}"


class Text(HTMLParser):
    """What a reader sees, and the elements of the page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.seen: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self._hidden = False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._hidden = tag in ("script", "style")

    def handle_endtag(self, tag: str) -> None:
        self._hidden = False

    def handle_data(self, data: str) -> None:
        if not self._hidden and data.strip():
            self.seen.append(" ".join(data.split()))

    @property
    def text(self) -> str:
        return "\n".join(self.seen)


def figures(page: str) -> dict[str, Any]:
    match = re.search(r'<script type="application/json" id="plots:figures">(.*?)</script>', page, re.DOTALL)
    assert match is not None
    found: dict[str, Any] = json.loads(match[1])
    return found


def shown(*paths: Path) -> Shown:
    found = find_runs(paths)
    return Shown(found.variants, compare(found))


def page_of(*names: str | Path, out: Path) -> str:
    return write_report(find_runs(list(names), unfinished=True), out).read_text()


def test_a_single_run(make_run: Make, tmp_path: Path) -> None:
    run = make_run("run", (0.5, 0.7, 0.8), clients=20, warnings=["Something to know."])
    page = page_of(run, out=tmp_path / "report.html")
    seen = Text(page)
    assert (
        "Deployed accuracy 0.8000 on the test set after 3 rounds, for 9.0 MB on the network, 2.2 times fewer than the "
        "same messages as dense float32. One seed: what another would give is not known."
    ) in seen.seen
    for expected in (
        "Something to know.",
        "digits, 20 clients, iid",
        "50% of the clients, mini-cnn, sgd, magnitude to sparsity 0.5",
        "Each round",
        "The ledger",
        "Examples of each class",
        "c0ffee",
        "fedcompress run made-up.toml",
        "None: every contribution that was asked for arrived.",
    ):
        assert expected in seen.text, expected
    assert 'name = "made-up"' in seen.text  # the whole scenario
    deployed = figures(page)["plot-0"]["data"]
    assert [trace["name"] for trace in deployed] == ["dense", "half", "global model"]
    accuracy = figures(page)["plot-1"]["data"]
    assert [trace["name"] for trace in accuracy] == ["test", "validation"]
    assert (accuracy[0]["x"], accuracy[0]["y"]) == ([1, 2, 3], [0.5, 0.7, 0.8])


def test_the_verdict_on_runs_of_different_lengths_is_over_all_of_them(make_run: Make, tmp_path: Path) -> None:
    """Of 2 and 20 rounds, each for a fifth of the dense bytes."""
    runs = [
        make_run(
            f"run{n}",
            (0.6,) * n,
            seed=n,
            dense_uplink_bytes=5e6 * n,
            dense_downlink_bytes=1e7 * n,
            settings={"rounds": 20},
        )
        for n in (2, 20)
    ]
    assert (
        "Deployed accuracy 0.6000 ± 0.0000, a 95 % interval over 2 seeds, on the test set after 2 to 20 rounds, for "
        "33.0 MB on the network, 5.0 times fewer than the same messages as dense float32."
    ) in Text(page_of(*runs, out=tmp_path / "report.html")).seen


def test_the_verdict_stands_first(make_sweep: Make, tmp_path: Path) -> None:
    sweep = make_sweep("sweep", {"one": (0.80, 0.84, 0.81), "two": (0.81, 0.82, 0.83), "bad": (0.74, 0.78, 0.76)})
    seen = Text(page_of(sweep, out=tmp_path / "report.html")).seen
    worse = [n for n, text in enumerate(seen) if text.startswith("bad is worse than one: -0.0567 ± ")]
    noise = [n for n, text in enumerate(seen) if text.startswith("two and one differ by no more than noise: +0.0033 ±")]
    assert worse
    assert worse < noise < [seen.index("highest deployed accuracy")]


def test_the_worst_tenth(make_run: Make) -> None:
    run = make_run("run", (0.8,), clients=20)
    panel = clients.clients(shown(run))
    assert panel is not None
    assert [row[3] for row in panel.table.rows] == ["yes", "yes"] + [""] * 18
    assert panel.table.rows[0][:2] == ("19", "half")  # the last client was given the lowest accuracy
    table = json.loads((run / "federation.json").read_text()) | {"personal": [None, *(0.01 * n for n in range(1, 20))]}
    (run / "federation.json").write_text(json.dumps(table))
    again = clients.clients(shown(run)).table
    assert again.columns[-1] == "personal"
    assert (again.rows[0][-1], again.rows[-1][-1]) == ("0.1900", "-")


def test_the_front() -> None:
    points = {"cheap": (1.0, 0.5), "beaten": (2.0, 0.4), "good": (2.0, 0.8), "dear": (3.0, 0.8), "best": (4.0, 0.9)}
    front = pareto.front({name: pareto.Point(*point, 0, 0) for name, point in points.items()})
    assert front == [
        "cheap",
        "good",
        "best",
    ]


def test_names_stay_names(make_sweep: Make, make_run: Make, tmp_path: Path) -> None:
    """A label, a group, a warning and an error of a client are whatever their author wrote, and nothing of it acts."""
    run = make_run("run", groups=[{"name": HOSTILE, "share": 1.0}] * 2, warnings=[HOSTILE])
    rows = [json.loads(line) for line in (run / "clients.jsonl").read_text().splitlines()]
    rows[0] |= {"status": "failed", "error": f"Traceback\n{HOSTILE}"}
    (run / "clients.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    page = page_of(f"{HOSTILE.replace('=', '')}={run}", run, out=tmp_path / "report.html")
    seen = Text(page)
    assert not [attributes for tag, attributes in seen.tags if tag == "img"]
    assert f"failed: {HOSTILE}" in seen.text
    assert HOSTILE in seen.seen
    assert "</script" not in json.dumps(figures(page))
    names = [trace["name"] for figure in figures(page).values() for trace in figure["data"] if "name" in trace]
    assert not [name for name in names if "<" in name]


def test_a_run_that_failed(make_run: Make, tmp_path: Path) -> None:
    run = make_run("run", status="failed")
    seen = Text(page_of(run, out=tmp_path / "report.html")).text
    assert (
        f"made-up, seed 1: failed after 2 rounds. Figures are of what was finished; go on with fedcompress resume {run}"
        in (seen)
    )
    with pytest.raises(InputError, match="fedcompress resume"):
        find_runs([make_run("killed", status=None)], unfinished=True)


def test_a_run_without_a_scored_round(make_run: Make, tmp_path: Path) -> None:
    run = make_run("run", status="failed", accuracy=None, deployed_accuracy=None, best_accuracy=None)
    for name in ("rounds", "clients", "ledger"):
        (run / f"{name}.jsonl").write_text("")
    assert "no round was scored" in Text(page_of(run, out=tmp_path / "report.html")).text


def test_samples(make_run: Make, tmp_path: Path) -> None:
    run = make_run("run")
    (run / "samples").mkdir()
    for number in (1, 2, 3, 4, 5, 6):
        (run / "samples" / f"round-{number:04d}.png").write_bytes(b"picture %d" % number)
        (run / "samples" / f"round-{number:04d}.json").write_text('{"accuracy_score": 0.75, "frechet_distance": null}')
    seen = Text(page_of(run, out=tmp_path / "report.html"))
    pictures = [str(attributes["src"]) for tag, attributes in seen.tags if tag == "img"]
    data = [base64.b64decode(picture.removeprefix("data:image/png;base64,")) for picture in pictures]
    assert data == [b"picture 2", b"picture 4", b"picture 6"]
    assert "0.75" in seen.seen


def test_every_plot_has_its_numbers_and_plotly_accepts_it(make_sweep: Make, tmp_path: Path) -> None:
    sweep = make_sweep("sweep", {"one": (0.80, 0.84), "two": (0.81, 0.82)}, (1, 2))
    page = page_of(sweep, out=tmp_path / "report.html")
    tags = Text(page).tags
    count = len([tag for tag, attributes in tags if attributes.get("class") == "plot"])
    assert count == len(figures(page)) == 10
    for figure in figures(page).values():
        go.Figure(json.loads(re.sub(r'"@[\w/.-]+"', '"#123456"', json.dumps(figure))))
    for part in re.findall(r"<figure.*?</figure>", page, re.DOTALL):
        assert "<td>" in part


def test_nothing_is_loaded_from_elsewhere(make_run: Make, tmp_path: Path) -> None:
    tags = Text(page_of(make_run("run"), out=tmp_path / "report.html")).tags
    links = [value for _, attributes in tags for name, value in attributes.items() if name in ("src", "href", "action")]
    assert all(str(link).startswith(("#", "data:")) for link in links)


def test_the_command(call: Callable[..., Any], make_sweep: Make, tmp_path: Path) -> None:
    sweep = make_sweep("sweep", {"one": (0.8,)}, (1,))
    assert call("report", sweep) == (0, f"{sweep / 'report.html'}\n", "")
    assert (sweep / "report.html").exists()
    done = call("report", sweep, "--out", tmp_path)
    assert (done.code, done.out) == (2, "")
    assert "is a directory; name a file" in done.err
    (tmp_path / "file").write_text("")
    assert call("report", sweep, "--out", tmp_path / "file" / "report.html").code == 2
    assert call("report", tmp_path).code == 2


def test_a_hundred_clients_and_two_hundred_rounds(make_run: Make, tmp_path: Path) -> None:
    """Less than 8 MB, in 7 calls a row: 80,000 transfers and 20,000 rows of clients are read."""
    run = make_run("run", [0.9 - 0.8 / n for n in range(1, 201)], clients=100)
    path, calls = counted(lambda: write_report(find_runs([run]), tmp_path / "report.html"))
    assert calls < 1_000_000
    assert path.stat().st_size < 8e6
    assert len(figures(path.read_text())["plot-0"]["data"][0]["x"]) == 200


def test_groups_of_a_variant_are_compared_by_name(make_sweep: Make) -> None:
    sweep = shown(make_sweep("sweep", {"one": (0.80, 0.84), "two": (0.81, 0.82)}, (1, 2)))
    table = clients.groups(sweep.variants)
    assert [row[0] for row in table.rows] == ["one, dense", "one, half", "two, dense", "two, half"]
    panel, _ = pareto.blocks(sweep)
    assert panel is not None
    assert [row[-1] for row in panel.table.rows] == ["yes", "no"]  # as many bytes, and less accurate


def on_devices(make_run: Make, name: str, **more: Any) -> Path:
    """A run whose group "half" is on a phone: 4 s an action, of which one in round 2 is late and one dropped out."""
    groups = [{"name": "dense", "share": 0.5}, {"name": "half", "share": 0.5, "device": "phone"}]
    phone = {"multiply_adds_per_second": 1e9, "downlink_bits_per_second": 8e6, "uplink_bits_per_second": 1e6}
    total = {"about": "from a model", "seconds": 12.0, "joules": 40.0, "late": 1, "dropouts": 1, "groups": {}}
    run = make_run(name, (0.5, 0.8), groups=groups, settings={"devices": {"phone": phone}}, modelled=total, **more)
    rows = [json.loads(line) for line in (run / "clients.jsonl").read_text().splitlines()]
    for row in rows:
        if row["group"] == "half":
            row |= {f"modelled_{part}_seconds": s for part, s in (("download", 1), ("compute", 2), ("upload", 1))}
            row |= {"modelled_seconds": 4.0, "modelled_joules": 10.0}
    late, gone = [row for row in rows if row["group"] == "half" and row["round"] == 2]
    late |= {"status": "late", "error": "the device takes 4 s (from a model of the devices, not measured)"}
    for key in [key for key in gone if key.startswith("modelled")]:
        del gone[key]
    gone |= {"status": "dropped out", "error": "the device is gone (from a model of the devices, not measured)"}
    (run / "clients.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    rounds = [json.loads(line) for line in (run / "rounds.jsonl").read_text().splitlines()]
    for number, row in enumerate(rounds, 1):
        row |= {"modelled_seconds": 4.0 * number, "modelled_joules": 20.0}
        row |= {"modelled_late": number - 1, "modelled_dropouts": number - 1}
    (run / "rounds.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rounds))
    return run


def test_modelled_figures_say_so(make_run: Make, tmp_path: Path) -> None:
    run = on_devices(make_run, "run")
    seen = Text(page_of(run, out=tmp_path / "report.html"))
    for expected in ("Devices: a model, not measured", "from a model, not measured", "on a modelled phone"):
        assert expected in seen.text, expected
    groups, rates, over_time, action = devices.blocks(shown(run))
    assert groups.rows == (("half", "phone", "4", "4", "4", "10", "30", "1", "1"),)
    assert rates.rows[0][:4] == ("phone", "1e+09", "8", "1")
    assert over_time.figure["data"][0]["x"] == [4.0, 12.0]
    assert over_time.table.rows[1] == ("made-up", "2", "0.8000", "12", "40", "1", "1")
    assert [(bar["name"], bar["x"]) for bar in action.figure["data"]] == [
        ("download", [1.0]),
        ("compute", [2.0]),
        ("upload", [1.0]),
    ]
    for panel in (over_time, action):
        assert "odelled" in panel.title
        assert "odelled" in panel.table.title
    assert "Devices" not in Text(page_of(make_run("other"), out=tmp_path / "report.html")).text


def test_a_run_whose_devices_are_all_gone(make_run: Make, tmp_path: Path) -> None:
    run = on_devices(make_run, "run")
    rows = [json.loads(line) for line in (run / "clients.jsonl").read_text().splitlines()]
    kept = [{key: value for key, value in row.items() if not key.startswith("modelled")} for row in rows]
    (run / "clients.jsonl").write_text("".join(json.dumps(row) + "\n" for row in kept))
    groups, *_ = devices.blocks(shown(run))
    assert groups.rows[0][3:7] == ("-", "-", "-", "0")
    assert "Groups on their devices, modelled" in Text(page_of(run, out=tmp_path / "report.html")).text


def test_runs_that_ended_early(make_run: Make, make_sweep: Make, tmp_path: Path) -> None:
    stopped = {"because": "patience", "detail": "no gain for 5 rounds, after 0.8"}
    run = make_run("run", stopped=stopped, settings={"rounds": 20})
    seen = Text(page_of(run, out=tmp_path / "report.html")).seen
    assert "Ended early, after 2 of 20 rounds: no gain for 5 rounds, after 0.8." in seen
    other = make_run("other", seed=2, settings={"rounds": 20})
    seen = Text(page_of(run, other, out=tmp_path / "report.html")).seen
    assert "1 of 2 runs ended early; below The global model stands when and why." in seen
    assert ("made-up, seed 1", "2 of 20", stopped["detail"]) in [tuple(seen[n : n + 3]) for n in range(len(seen))]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({}, "iid"),
        ({"partition": "dirichlet", "alpha": 0.3}, "dirichlet, alpha 0.3"),
        ({"partition": "by-writer", "alpha": 0.3, "partition_params": {"writers": 3}}, "by-writer (writers 3)"),
    ],
)
def test_a_partition_is_told_with_what_it_goes_by(data: dict[str, Any], words: str) -> None:
    assert settings._partition(data) == words


MINE = """
from fedcompress.page.blocks import Panel
from fedcompress.page.figures import axes, line, numbers, plotted

TITLE, PLACE = "Loss", 25


def blocks(shown):
    data = [line(run.variant, n, run.rounds["round"], run.rounds["loss"]) for n, run in enumerate(shown.runs)]
    figure = plotted(data, axes("round", "loss"))
    yield Panel("Loss over rounds", "Of the test set.", figure, numbers("Loss", ("variant", "round", "loss"), figure))
    yield Panel("Nothing", "Has no data and is left out.", plotted([], {}), numbers("Nothing", (), {"data": []}))
"""


def test_another_figure_is_one_file(make_run: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A section in a file of its own has its place between others; its numbers are a table, as those of all plots."""
    (tmp_path / "loss.py").write_text(MINE)
    monkeypatch.setattr(sections, "__path__", [*sections.__path__, str(tmp_path)])
    seen = Text(page_of(make_run("run", (0.5, 0.75)), out=tmp_path / "report.html")).seen
    place = seen.index("Loss over rounds")
    assert seen.index("Global accuracy over bytes") < place < seen.index("Where the bytes went", place)
    assert ("made-up", "1", "0.5", "made-up", "2", "0.25") in [tuple(seen[n : n + 6]) for n in range(len(seen))]
    assert "Nothing" not in seen
