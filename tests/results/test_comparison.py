"""Comparisons: ties, regressions, targets, warnings, and what a terminal and files say."""

from __future__ import annotations

import csv
import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from scipy import stats

from fedcompress.errors import InputError
from fedcompress.results.compare import formats, tables
from fedcompress.results.compare.caveats import check_same_task
from fedcompress.results.compare.comparison import Comparison, compare
from fedcompress.results.runs import find_runs

Make = Callable[..., Path]

NOISY = {
    "one": (0.80, 0.84, 0.81),
    "two": (0.81, 0.82, 0.83),
    "worse": (0.74, 0.78, 0.76),
    "better": (0.90, 0.93, 0.91),
}


def verdicts(comparison: Comparison, figure: str = "accuracy") -> dict[str, str]:
    return {row.variant: row.cells[figure].verdict for row in comparison.rows}


def test_figures_against_scipy(make_sweep: Make) -> None:
    comparison = compare(find_runs([make_sweep("sweep", NOISY)]))
    row = comparison.rows[2].cells["accuracy"]
    expected = stats.ttest_1samp(NOISY["worse"], 0).confidence_interval()
    assert row.interval is not None
    assert (row.interval.low, row.interval.high) == pytest.approx((expected.low, expected.high))
    paired = stats.ttest_rel(NOISY["worse"], NOISY["one"]).confidence_interval()
    assert (row.part("difference_low"), row.part("difference_high")) == pytest.approx((paired.low, paired.high))
    assert row.part("std") == pytest.approx(0.02)


def test_verdicts(make_sweep: Make) -> None:
    comparison = compare(find_runs([make_sweep("sweep", NOISY)]))
    assert verdicts(comparison) == {"one": "baseline", "two": "within noise", "worse": "worse", "better": "better"}
    assert verdicts(comparison, "loss")["better"] == "better"  # less is better
    assert verdicts(comparison, "bytes")["better"] == "within noise"  # equal to the byte
    other = compare(find_runs([make_sweep("again", NOISY)]), baseline="better")
    assert verdicts(other) == {"one": "worse", "two": "worse", "worse": "worse", "better": "baseline"}


def test_the_same_run_under_two_labels_is_a_tie(make_run: Make) -> None:
    runs = [make_run(f"run{seed}", (0.5, 0.7 + seed / 20), seed=seed) for seed in (1, 2, 3)]
    comparison = compare(find_runs([f"{label}={run}" for label in ("one", "two") for run in runs]))
    cells = [cell for row in comparison.rows for cell in row.cells.values() if cell.values]
    assert len(cells) == 2 * 17
    assert {cell.verdict for cell in cells} == {"baseline", "identical"}
    differences = [cell.difference for cell in cells if cell.difference]
    assert {(d.interval.low, d.interval.mean, d.interval.high, d.pairs) for d in differences} == {(0.0, 0.0, 0.0, 3)}


def test_runs_of_one_seed_with_equal_weights_are_identical(call: Callable[..., Any], make_run: Make) -> None:
    """Figures that differ all the same, as seconds do, are what they are."""
    one, two = make_run("one", personal=0.7), make_run("two", personal=0.7, seconds=9.0)
    comparison = compare(find_runs([f"a={one}", f"b={two}"]))
    found = {name: cell.verdict for name, cell in comparison.rows[1].cells.items()}
    assert found.pop("seconds") == "too few seeds"
    unmeasured = ("modelled_seconds", "modelled_joules", "epsilon", "own_accuracy", "own_worst10")
    assert {found.pop(name) for name in unmeasured} == {"no value"}
    assert set(found.values()) == {"identical"}
    assert "b 0.8000 +0.0000 ± 0.0000 identical" in " ".join(call("compare", f"a={one}", f"b={two}").out.split())
    assert call("compare", f"a={one}", f"b={two}", "--fail-if", "accuracy.difference_high < 0").code == 0


@pytest.mark.parametrize(
    ("digest", "accuracies"), [("other weights", (0.5, 0.8)), (None, (0.5, 0.8)), ("same weights", (0.5, 0.7))]
)
def test_what_is_not_identical(make_run: Make, digest: str | None, accuracies: tuple[float, ...]) -> None:
    """Other weights of the same accuracy, weights that nobody knows, another test set."""
    one = make_run("one", model_digest=None if digest is None else "same weights")
    two = make_run("two", accuracies, model_digest=digest)
    assert verdicts(compare(find_runs([f"a={one}", f"b={two}"])))["b"] == "too few seeds"


def test_no_arrow_stands_between_figures_that_read_the_same(make_run: Make) -> None:
    """1,000,000 and 1,000,004 bytes in each of two rounds and two seeds: a difference that nobody can see."""
    runs = [
        f"{v}={make_run(f'{v}{s}', seed=s, megabytes=mb)}" for v, mb in (("a", 1.0), ("b", 1.000004)) for s in (1, 2)
    ]
    comparison = compare(find_runs(runs))
    assert verdicts(comparison, "uplink_bytes")["b"] == "worse"
    table = tables.cost_table(comparison)
    assert {row[table.columns.index("up")] for row in table.rows} == {"2.0 MB"}


@pytest.mark.parametrize(
    ("finals", "low", "high"),
    [((0.9, 0.99), 0.3732, 1.0), ((0.02, 0.1), 0.0, 0.5682), ((0.1, 0.9), 0.0, 1.0), ((0.5, 0.5), 0.5, 0.5)],
)
def test_intervals_end_where_a_share_ends(
    make_sweep: Make, finals: tuple[float, float], low: float, high: float
) -> None:
    """Half widths of two seeds are 12.7062 times half of their difference: 0.5718, 0.5082, 5.0825 and 0."""
    comparison = compare(find_runs([make_sweep("sweep", {"a": finals}, (1, 2))]))
    for name in ("accuracy", "clients_worst10"):
        cell = comparison.rows[0].cells[name]
        assert (cell.part("low"), cell.part("high")) == pytest.approx((low, high), abs=1e-4)
    table = tables.accuracy_table(comparison)
    assert table.rows[0][4] == f"{low:.4f} to {high:.4f}"
    assert table.caption.endswith("Intervals end at 0 and 1.") is (finals != (0.5, 0.5))
    mean = sum(finals) / 2
    shown = f"{mean:.3f} ({low:.3f} to {high:.3f})" if finals != (0.5, 0.5) else "0.500"
    assert tables.cost_table(comparison).rows[0][1] == shown


def test_intervals_of_amounts_are_not_negative(make_run: Make) -> None:
    """2 and 10 MB up: 6 MB, half width 12.7062 * 4 MB = 50.8 MB. 0.1 and 0.2 loss: 0.15, half width 0.635."""
    runs = [f"a={make_run(f'r{s}', (0.5, a), seed=s, megabytes=mb)}" for s, a, mb in ((1, 0.9, 1.0), (2, 0.8, 5.0))]
    cells = compare(find_runs(runs)).rows[0].cells
    up, loss = cells["uplink_bytes"], cells["loss"]
    assert (up.part("low"), up.part("high")) == pytest.approx((0.0, 56.825e6), rel=1e-4)
    assert (loss.part("low"), loss.part("high")) == pytest.approx((0.0, 0.78531), rel=1e-4)
    table = tables.cost_table(compare(find_runs(runs)))
    assert table.rows[0][table.columns.index("up")] == "6.0 MB (0 B to 56.8 MB)"
    assert "in parentheses where it ends at what a figure can be" in table.caption


def test_differences_of_shares_end_at_one(make_sweep: Make) -> None:
    comparison = compare(find_runs([make_sweep("sweep", {"a": (0.1, 0.2), "b": (0.9, 0.3)}, (1, 2))]))
    assert tables.accuracy_table(comparison).rows[1][2] == "+0.4500 (-1.0000 to +1.0000)"


def test_one_seed_says_nothing(make_sweep: Make) -> None:
    comparison = compare(find_runs([make_sweep("sweep", {"a": (0.5,), "b": (0.9,)}, (1,))]))
    assert verdicts(comparison) == {"a": "baseline", "b": "too few seeds"}


def test_modelled_devices_are_compared_where_there_are_any(make_run: Make) -> None:
    one, two = (make_run(name, modelled={"seconds": s, "joules": 5.0}) for name, s in (("one", 9.0), ("two", 12.0)))
    table = tables.cost_table(compare(find_runs([f"a={one}", f"b={two}"])))
    assert table.columns[-2:] == ("modelled time", "modelled energy")
    assert "modelled: from a model of the devices, not measured" in table.caption
    assert table.rows[1][-2:] == ("12.0 s ?", "5.0 J =")
    assert "modelled time" not in tables.cost_table(compare(find_runs([make_run("three")]))).columns


def test_rounds_are_shown_where_they_differ(make_run: Make) -> None:
    short, long = make_run("short", (0.5, 0.6)), make_run("long", (0.5, 0.6, 0.7))
    assert tables.cost_table(compare(find_runs([f"a={short}", f"b={long}"]))).columns[1] == "rounds"
    assert "rounds" not in tables.cost_table(compare(find_runs([f"a={short}", f"b={short}"]))).columns


def test_unpaired_seeds(make_run: Make) -> None:
    runs = [f"a={make_run(f'a{s}', (0.5 + s / 100,), seed=s)}" for s in (1, 2, 3)]
    runs += [f"b={make_run(f'b{s}', (0.7 + s / 100,), seed=s)}" for s in (4, 5, 6)]
    comparison = compare(find_runs(runs))
    assert verdicts(comparison)["b"] == "better"
    difference = comparison.rows[1].cells["accuracy"].difference
    assert difference is not None
    assert difference.pairs == 0
    assert "independent seeds" in tables.accuracy_table(comparison).caption


def test_until_a_target(make_run: Make) -> None:
    """Each round takes 2 s, 1 MB up and 2 MB down."""
    runs = [
        f"fast={make_run('f1', (0.5, 0.8, 0.7), seed=1)}",
        f"fast={make_run('f2', (0.8, 0.8, 0.7), seed=2)}",
        f"slow={make_run('s1', (0.5, 0.6, 0.75), seed=1)}",
        f"slow={make_run('s2', (0.5, 0.6, 0.8), seed=2)}",
        f"never={make_run('n1', (0.5, 0.6, 0.7), seed=1)}",
        f"never={make_run('n2', (0.5, 0.6, 0.7), seed=2)}",
    ]
    comparison = compare(find_runs(runs), target=0.75)
    by_variant = {row.variant: row.cells for row in comparison.rows}
    assert by_variant["fast"]["rounds_to_target"].values == {1: 2.0, 2: 1.0}
    assert by_variant["slow"]["seconds_to_target"].values == {1: 6.0, 2: 6.0}
    assert by_variant["slow"]["bytes_to_target"].values == {1: 9e6, 2: 9e6}
    assert by_variant["never"]["bytes_to_target"].values == {1: math.inf, 2: math.inf}
    assert verdicts(comparison, "rounds_to_target")["never"] == "not reached"
    assert by_variant["never"]["rounds_to_target"].part("mean") == math.inf
    table = tables.target_table(comparison)
    assert table is not None
    assert [row[1] for row in table.rows] == ["1.5 (0 to 7.9)", "3 ≈", "never"]
    half = compare(find_runs(runs), target=0.78)
    assert {row.variant: row.cells for row in half.rows}["slow"]["rounds_to_target"].unreached == 1
    against = verdicts(compare(find_runs(runs), target=0.75, baseline="never"), "rounds_to_target")
    assert against == {"fast": "baseline never", "slow": "baseline never", "never": "baseline"}


def test_targets_that_are_none(make_run: Make) -> None:
    found = find_runs([make_run("run")])
    for target in (0.0, -1.0, 1.5, 80.0):
        with pytest.raises(InputError, match="expected an accuracy above 0 and at most 1"):
            compare(found, target=target)


def test_warnings(make_run: Make) -> None:
    one = make_run("one")
    same = compare(find_runs([f"a={one}", f"b={make_run('two')}"]))
    assert same.warnings == ()
    other = compare(find_runs([f"a={one}", f"b={make_run('three', cores=64, digest='new')}"])).warnings
    assert other == (
        f"data differ although the settings do not: {one} and {one.parent / 'three'}.",
        "machines differ (Linux, x86_64, 2 cores / Linux, x86_64, 64 cores): seconds say little about each other.",
    )
    new = make_run("four")
    made_with = json.loads((new / "provenance.json").read_text())
    made_with |= {
        "commit": "beef",
        "dirty": True,
        "workers": 4,
        "versions": {"fedcompress": "0.2.0", "python": "3.11.7"},
    }
    (new / "provenance.json").write_text(json.dumps(made_with))
    assert compare(find_runs([f"a={one}", f"b={new}"])).warnings == (
        "workers differ (1 / 4): seconds say little about each other.",
        "versions of fedcompress differ (0.1.0 / 0.2.0).",
        "commits differ (c0ffee / beef+changes).",
    )


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


def test_files(make_sweep: Make, tmp_path: Path) -> None:
    comparison = compare(
        find_runs([make_sweep("sweep", {"<b>|one": (0.8, 0.9), "two": (0.8, 0.91)}, (1, 2))]), target=0.5
    )
    paths = formats.write(comparison, tmp_path / "out")
    assert [path.name for path in paths] == ["comparison.csv", "comparison.md", "comparison.html", "comparison.json"]
    (accuracy, *_) = [row for row in rows_of(paths[0]) if (row["variant"], row["figure"]) == ("two", "accuracy")]
    assert float(accuracy["mean"]) == pytest.approx(0.855)
    assert float(accuracy["difference"]) == pytest.approx(0.005)
    assert (accuracy["pairs"], accuracy["verdict"]) == ("2", "within noise")
    markdown = paths[1].read_text()
    assert "| &lt;b&gt;\\|one | 0.8500 |" in markdown
    origin = "Made with fedcompress 0.1.0, commit c0ffee, python 3.11.7; runs by: fedcompress run made-up.toml"
    assert markdown.count(f"\n{origin}\n") == len(tables.text_tables(comparison))
    html = paths[2].read_text()
    assert html.count(f"{origin}.") == len(tables.text_tables(comparison))
    assert "&lt;b&gt;|one" in html
    assert "<b>|one" not in html
    figures = json.loads(paths[3].read_text())["figures"]
    assert len(figures) == 2 * len(comparison.figures)
    single = tmp_path / "mine.csv"
    assert formats.write(comparison, single) == [single]
    assert rows_of(single) == rows_of(paths[0])
    with pytest.raises(InputError, match=r"mine\.pdf: expected a directory, or a file ending in \.csv, \.md"):
        formats.write(comparison, tmp_path / "mine.pdf")
    for device in ("/dev/null", "/dev/full"):
        with pytest.raises(
            InputError, match=f"--out {device}: is a device; name a directory, or a file ending in .csv"
        ):
            formats.write(comparison, Path(device))


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("<img src=x onerror=alert(1)>", "&lt;img src=x onerror=alert(1)&gt;"),
        ("a&lt;b", "a&amp;lt;b"),
        ("a\n| b | c |", "a \\| b \\| c \\|"),
        ("[a](javascript:b) `c` *d* ~~e~~", "\\[a\\](javascript:b) \\`c\\` \\*d\\* \\~\\~e\\~\\~"),
        ("$x$ #1 & 2 > 1", "\\$x\\$ \\#1 &amp; 2 &gt; 1"),
    ],
)
def test_nothing_in_a_name_is_markup(make_sweep: Make, name: str, written: str) -> None:
    text = formats.to_markdown(compare(find_runs([make_sweep("sweep", {name: (0.8,), "second": (0.9,)}, (1,))])))
    first, *rest = text.split("\n\n")[1].splitlines()
    assert (first.count(" | "), [line.startswith(f"| {written} | ") for line in rest[1:]]) == (6, [True, False])
    assert f"Differences to {written}, " in text
    assert "<" not in text


def test_the_command(call: Callable[..., Any], make_sweep: Make) -> None:
    sweep = make_sweep("sweep", NOISY)
    done = call("compare", sweep, "--target", 0.75)
    assert done.code == 0
    assert "within noise" in done.out
    assert re.search(r"worse 0\.\d+ 0\.7103 to 0\.8097 3\b", " ".join(done.out.split()))
    assert done.out.endswith(f"table by: fedcompress compare {sweep} --target 0.75\n")
    printed = json.loads(call("compare", sweep, "--json").out)
    assert {row["figure"]: row["verdict"] for row in printed["figures"] if row["variant"] == "better"}[
        "accuracy"
    ] == "better"


def test_a_regression_fails(call: Callable[..., Any], make_sweep: Make) -> None:
    sweep = make_sweep("sweep", {"one": NOISY["one"], "worse": NOISY["worse"]})
    done = call("compare", sweep, "--fail-if", "accuracy < baseline - 0.01")
    assert done.code == 3
    assert "worse" in done.out  # the tables are there all the same
    assert done.err == (
        "error: --fail-if 'accuracy < baseline - 0.01' holds for 'worse': accuracy 0.76, baseline.accuracy 0.816667\n"
    )
    assert call("compare", sweep, "--fail-if", "accuracy < baseline - 0.1").code == 0
    assert call("compare", sweep, "--fail-if", "accuracy.difference_high < 0").code == 3
    assert call("compare", sweep, "--fail-if", "rounds_to_target > 1", "--target", 0.77).code == 3  # never: infinite


def refused(done: Any) -> str:
    assert (done.code, done.out) == (2, "")
    (line,) = done.err.splitlines()
    return str(line)


@pytest.mark.parametrize(
    ("finals", "seeds", "said"),
    [
        ({"base": (0.80, 0.81), "x": (0.81, 0.82)}, (1, 2), ""),  # equal differences: a width of zero says nothing
        (
            {"base": (0.80, 0.81, 0.82), "tight": (0.75, 0.759, 0.771), "wild": (0.5, 0.9, 0.7)},
            (1, 2, 3),
            "With 3 seeds a difference under 0.002 to 0.485, by variant, would not be seen. ",
        ),
    ],
)
def test_what_cannot_be_seen_contradicts_no_row(make_sweep: Make, finals: Any, seeds: Any, said: str) -> None:
    """A difference of 0.05 is told from noise where seeds agree, and one of 0.11 is not where they do not."""
    caption = tables.accuracy_table(compare(find_runs([make_sweep("sweep", finals, seeds)]))).caption
    assert said in caption
    assert ("With" in caption) is bool(said)


def test_seeds_that_are_not_common_or_have_no_value_do_not_count(make_run: Make) -> None:
    """Of 5 seeds each 2 are common; in the last run nothing of devices was tested."""
    values = {"base": ((1, 0.80), (2, 0.81), (3, 0.82), (4, 0.805), (5, 0.815)), "x": ((4, 0.81), (5, 0.825), (6, 0.9))}
    runs = [f"{v}={make_run(f'{v}{seed}', (value,), seed=seed)}" for v, of in values.items() for seed, value in of]
    last = make_run("x7", seed=7, deployed_accuracy=None, deployed_worst=None)
    comparison = compare(find_runs([*runs, f"x={last}"]))
    table = tables.accuracy_table(comparison)
    assert [row[-1] for row in table.rows] == ["5", "3"]
    assert table.caption.endswith("With 2 seeds a difference under 0.032 would not be seen. Common seeds: 2 of 5.")
    assert [row[-1] for row in tables.figure_table(comparison, "deployed_worst").rows] == ["5", "3"]


def test_a_seed_that_does_not_reach_the_target_is_not_left_out_of_an_interval(
    call: Callable[..., Any], make_sweep: Make
) -> None:
    sweep = make_sweep("sweep", {"base": (0.80, 0.81, 0.82), "x": (0.80, 0.81, 0.5)})
    for part in (".low", ".high", ""):
        assert call("compare", sweep, "--target", 0.79, "--fail-if", f"rounds_to_target{part} > 100").code == 3
    assert refused(call("compare", sweep, "--target", 0.79, "--fail-if", "rounds_to_target.std > 1")) == (
        "error: --fail-if: rounds_to_target.std: 'x' did not reach the target with 1 of 3 seeds."
    )


def test_bad_input(call: Callable[..., Any], make_sweep: Make, make_run: Make, tmp_path: Path) -> None:
    sweep, run = make_sweep("sweep", NOISY), make_run("run")
    (tmp_path / "empty").mkdir()
    unknown = refused(call("compare", sweep, "--fail-if", "acuracy < 0.5"))
    assert unknown == "error: --fail-if 'acuracy < 0.5': unknown column 'acuracy'. Did you mean 'accuracy'?"
    assert "Did you mean 'worse'?" in refused(call("compare", sweep, "--baseline", "worst"))
    assert "is empty; expected the directory of a run" in refused(call("compare", tmp_path / "empty"))
    assert "fedcompress resume" in refused(call("compare", make_run("half", status="interrupted")))
    other = make_run("other", settings={"data": {"dataset": "mnist-5k"}})
    assert refused(call("compare", run, other)) == (
        "error: runs of different data sets: digits, mnist-5k; compare runs of one, or add --any-data to do it anyway."
    )
    anyway = call("compare", run, other, "--any-data")
    assert anyway.code == 0
    assert "warning: data sets differ (digits, mnist-5k): accuracies say nothing about each other." in anyway.err
    assert "is the only variant" in refused(call("compare", run, "--fail-if", "accuracy < baseline"))
    few = make_sweep("few", {"a": (0.5,), "b": (0.9,)}, (1,))
    assert refused(call("compare", few, "--fail-if", "accuracy.low < 0.4")) == (
        "error: --fail-if: accuracy.low: 'b' has 1 seed with a value, which is too few."
    )
    (few / "b-seed-1" / "summary.json").unlink()
    assert "1 missing run (b, seed 1" in refused(call("compare", few, "--fail-if", "accuracy < baseline"))


def test_data_sets_are_told_by_their_digests(make_run: Make) -> None:
    """The file changed between two seeds; and the same file under two names is one data set."""
    one, two = make_run("one", dataset="a" * 64), make_run("two", seed=2, dataset="b" * 64)
    found = find_runs([one, two])
    assert list(found.variants) == ["made-up (data digest=aaaaaaaaaaaa)", "made-up (data digest=bbbbbbbbbbbb)"]
    expected = "runs of different data sets: digits (digest aaaaaaaaaaaa), digits (digest bbbbbbbbbbbb); compare runs"
    with pytest.raises(InputError, match=re.escape(expected)):
        check_same_task(found.runs)
    (warning,) = [text for text in compare(found).warnings if text.startswith("data")]
    assert warning.startswith("data sets differ (digits (digest aaaaaaaaaaaa), digits (digest bbbbbbbbbbbb)): ")
    copied = make_run("copy", dataset="a" * 64, settings={"data": {"dataset": "npz:copy.npz", "clients": 4}})
    check_same_task(find_runs([one, copied]).runs)
    assert list(find_runs([one, make_run("three", seed=3, dataset="a" * 64)]).variants) == ["made-up"]


def test_without_digests_data_sets_are_told_by_their_names(make_run: Make) -> None:
    old, new = make_run("old"), make_run("new", seed=2, dataset="a" * 64)
    check_same_task(find_runs([old, new]).runs)
    other = make_run("other", settings={"data": {"dataset": "mnist", "clients": 4}})
    with pytest.raises(InputError, match=r"runs of different data sets: digits, mnist; compare"):
        check_same_task(find_runs([old, other]).runs)


def test_several_comparisons_have_corrected_p_values(make_sweep: Make, tmp_path: Path) -> None:
    """Of a single one there is nothing to correct."""
    finals = {"base": (0.8, 0.81, 0.83), "close": (0.81, 0.81, 0.82), "far": (0.9, 0.92, 0.93)}
    comparison = compare(find_runs([make_sweep("three", finals)]))
    first = tables.accuracy_table(comparison)
    corrected = comparison.corrected("deployed_accuracy")
    place = first.columns.index("p (Holm)")
    assert [row[place] for row in first.rows] == ["-", "1.000", f"{corrected['far']:.3f}"]
    assert first.columns[place - 1 :] == ("verdict", "p (Holm)", "95 % interval", "seeds")
    assert "After Holm's correction for 2 comparisons there remain: far." in first.caption
    two = compare(find_runs([make_sweep("two", {name: finals[name] for name in ("base", "far")})]))
    assert "p (Holm)" not in tables.accuracy_table(two).columns
