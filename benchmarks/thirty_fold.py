"""How many times fewer bytes a compressed federation needs than dense FedAvg, to the same global accuracy.

Reads the directories of finished sweeps, such as `scenarios/thirty-fold.toml` makes, one or several that share a
scenario's variants and seeds among them, and writes `thirty-fold.md` (tables) and `thirty-fold.html` (accuracy over
bytes) into the first. With `--page` it writes a page instead, which keeps the runs that it is written from, so that
seeds of several sessions add up; runs of other settings than the last ones of their variant leave it.

Variants are in the order of the bytes of a round, and the first of them, dense FedAvg, is the baseline. For each seed:
the target is its final test accuracy less one point; a variant's bytes are counted to the first round that reaches it,
up and down, envelopes included. The ratio is FedAvg's bytes over the variant's, paired by seed; its mean is geometric,
with the 95 % interval of Student's t on the logarithms. A seed in which a variant never reaches the target leaves its
ratio undefined. With more than two variants, the last one is also held against the best of those between: whichever
reaches the target of the first with the fewest bytes, seed by seed.

    fedcompress run scenarios/thirty-fold.toml --out runs/thirty-fold
    python -m benchmarks.thirty_fold runs/thirty-fold
"""

from __future__ import annotations

import argparse
import json
import sys
import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.kept_rows import Row, rows_in, section, together
from fedcompress.errors import InputError
from fedcompress.files import write_text
from fedcompress.results.run.directory import directory_name
from fedcompress.units import size

LOST, CONFIDENCE = 0.01, 0.95
"""Accuracy that compression may cost; of the interval."""
LEVELS = 6
"""Accuracies in the table of the front."""
RULES = (__doc__ or "").split("\n\n")[2].replace("\n", " ")
"""What is compared, as the page says it: the paragraph above that begins with "Variants"."""
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7")


@dataclass(frozen=True, eq=False)
class Curve:
    """One run: what it had reached, and what had crossed, after each round.

    Attributes:
        accuracy: Test accuracy of the global model after each round.
        total: Bytes until then, up and down.
        contents: Wire bytes of everything but envelopes, in the whole run.
        bound: Their entropy bound.
        envelopes: Bytes of envelopes: what a message has beside its contents, which is Flower's records and ours.
        messages: How many there were.
    """

    accuracy: np.ndarray
    total: np.ndarray
    contents: int
    bound: int
    envelopes: int
    messages: int

    def target(self, rounds: int | None = None) -> float:
        """Returns what is to be reached: the accuracy after these rounds, all by default, less what may be lost."""
        return float(self.accuracy[:rounds][-1]) - LOST

    def reaches(self, accuracy: float) -> int | None:
        """Returns the first round, from 0, that has an accuracy; None if there is none."""
        found = np.flatnonzero(self.accuracy >= accuracy)
        return int(found[0]) if found.size else None

    def bytes_to(self, accuracy: float) -> float | None:
        """Returns the bytes until an accuracy is reached."""
        at = self.reaches(accuracy)
        return None if at is None else float(self.total[at])


def read(path: Path) -> list[Row]:
    """Returns a row for each finished run of a sweep: what it was, and what `Curve` needs of it.

    Raises:
        InputError: It is no sweep's directory.
    """
    try:
        names = [row["variant"] for row in json.loads((path / "sweep.json").read_text(encoding="utf-8"))["variants"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{path}: is no directory of a sweep ({error}); expected one that fedcompress run made."
        ) from None
    rows = []
    for file in sorted(path.glob("*/summary.json")):
        summary = json.loads(file.read_text(encoding="utf-8"))
        for name in names:
            if summary["status"] == "completed" and summary["run"] == directory_name(f"{name} seed {summary['seed']}"):
                rows.append({"variant": name, "seed": int(summary["seed"]), **_row(file.parent)})
    return rows


def _row(run: Path) -> Row:
    rounds, ledger = _lines(run / "rounds.jsonl"), _lines(run / "ledger.jsonl")
    scenario = tomllib.loads((run / "scenario.toml").read_text(encoding="utf-8"))
    settings = json.dumps({key: value for key, value in scenario.items() if key != "seed"}, sort_keys=True)
    crossed = [0] * len(rounds)
    for row in ledger:
        crossed[row["round"] - 1] += row["wire_bytes"]
    contents = [row for row in ledger if row["content"] != "envelope"]
    return {
        "settings": sha256(settings.encode()).hexdigest()[:12],
        "commit": json.loads((run / "provenance.json").read_text(encoding="utf-8"))["commit"][:7],
        "accuracy": [row["accuracy"] for row in rounds],
        "bytes": crossed,
        "contents": sum(row["wire_bytes"] for row in contents),
        "bound": sum(row["bound_bytes"] for row in contents),
        "messages": len(ledger) - len(contents),
    }


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def alike(rows: Sequence[Row]) -> list[Row]:
    """Returns the rows that have the settings of the last row of their variant."""
    last = {row["variant"]: row["settings"] for row in rows}
    return [row for row in rows if row["settings"] == last[row["variant"]]]


def curves_of(rows: Iterable[Row]) -> dict[str, dict[int, Curve]]:
    """Returns variant -> seed -> curve, seeds in ascending order, variants in descending order of a round's bytes.

    Raises:
        InputError: No two variants have a seed in common.
    """
    curves: dict[str, dict[int, Curve]] = {}
    for row in sorted(rows, key=lambda row: int(row["seed"])):
        curves.setdefault(row["variant"], {})[row["seed"]] = _curve(row)
    sent = {name: np.mean([c.total[-1] / len(c.total) for c in runs.values()]) for name, runs in curves.items()}
    curves = {name: curves[name] for name in sorted(curves, key=sent.__getitem__, reverse=True)}
    base = next(iter(curves), None)
    if base is None or not any(set(curves[base]) & set(curves[name]) for name in curves if name != base):
        raise InputError(f"Expected finished runs of two variants with the same seeds; found {_found(curves)}.")
    return curves


def _curve(row: Row) -> Curve:
    total = np.cumsum(row["bytes"]).astype(float)
    envelopes = int(total[-1]) - row["contents"]
    return Curve(np.array(row["accuracy"]), total, row["contents"], row["bound"], envelopes, row["messages"])


def _found(curves: dict[str, dict[int, Curve]]) -> str:
    return "; ".join(f"{name}: seeds {', '.join(map(str, found))}" for name, found in curves.items()) or "none"


def interval(ratios: Sequence[float]) -> tuple[float, float, float]:
    """Returns the geometric mean, and the ends of its 95 % interval (Student's t on the logarithms).

    >>> [round(x, 2) for x in interval([30.0, 30.0, 30.0])]
    [30.0, 30.0, 30.0]
    """
    from scipy import stats

    logs = np.log(ratios)
    half = (
        stats.t.ppf((1 + CONFIDENCE) / 2, len(logs) - 1) * logs.std(ddof=1) / np.sqrt(len(logs))
        if len(logs) > 1
        else np.inf
    )
    low, middle, high = np.exp([logs.mean() - half, logs.mean(), logs.mean() + half])
    return float(middle), float(low), float(high)


def ratio(dense: Curve, small: Curve, rounds: int | None = None) -> float | None:
    """Returns how many times fewer bytes `small` needs to the target of `dense`; None if it never reaches it."""
    target = dense.target(rounds)
    needs, least = dense.bytes_to(target), small.bytes_to(target)
    assert needs is not None  # it reaches its own final accuracy
    return None if least is None else needs / least


def tables(curves: dict[str, dict[int, Curve]]) -> str:
    """Returns all tables as Markdown."""
    base, *others = curves
    parts = []
    for name in others:
        pairs = {seed: (curves[base][seed], curves[name][seed]) for seed in sorted(curves[base].keys() & curves[name])}
        ratios = [ratio(*pair) for pair in pairs.values()]
        rows = []
        for (seed, (dense, small)), found in zip(pairs.items(), ratios, strict=True):
            target = dense.target()
            rows.append(
                [
                    str(seed),
                    f"{dense.accuracy[-1]:.4f}",
                    f"{target:.4f}",
                    _when(dense, target),
                    _when(small, target),
                    f"{small.accuracy[-1]:.4f}",
                    "-" if found is None else f"{found:.1f}",
                ]
            )
        head = [
            "seed",
            f"{base}, final",
            "target",
            f"{base} reaches it",
            f"{name} reaches it",
            f"{name}, final",
            "ratio",
        ]
        parts += [_markdown(head, rows), _verdict(ratios)]
        parts += [f"The same, had {base} ended after fewer rounds:", _shorter(list(pairs.values()))]
    if len(others) > 1:
        parts += [_against_best(curves[base], {name: curves[name] for name in others[:-1]}, others[-1], curves)]
    heading = "Megabytes to an accuracy of the global model, mean over the seeds that reach it (how many do):"
    parts += [heading, _front(curves)]
    parts += ["Distance to the entropy bound, whole runs, contents without envelopes:", _bounds(curves)]
    return "\n\n".join(parts) + "\n"


def _against_best(
    base: dict[int, Curve], between: dict[str, dict[int, Curve]], last: str, curves: dict[str, dict[int, Curve]]
) -> str:
    """How the last variant stands against the best of those between it and the baseline, seed by seed."""
    ratios: list[float | None] = []
    best: dict[str, int] = dict.fromkeys(between, 0)
    for seed in sorted(base.keys() & curves[last]):
        target = base[seed].target()
        needs = {name: runs[seed].bytes_to(target) for name, runs in between.items() if seed in runs}
        reached = {name: value for name, value in needs.items() if value is not None}
        least = curves[last][seed].bytes_to(target)
        if not reached:
            continue
        first = min(reached, key=reached.__getitem__)
        best[first] += 1
        ratios.append(None if least is None else reached[first] / least)
    if not ratios:
        return f"None of {', '.join(between)} reaches the target: {last} is not held against them."
    which = ", ".join(f"{name} in {count}" for name, count in best.items() if count)
    return f"{last} against the best of {', '.join(between)} (the best: {which}): {_verdict(ratios)}"


def _when(curve: Curve, target: float) -> str:
    at = curve.reaches(target)
    return "never" if at is None else f"round {at + 1}, {size(curve.total[at])}"


def _verdict(ratios: Sequence[float | None]) -> str:
    good = [found for found in ratios if found is not None]
    if len(good) < len(ratios):
        return f"The target was reached with {len(good)} of {len(ratios)} seeds: the ratio is not defined."
    return f"**{interval(good)[0]:.1f} times fewer bytes** ({len(good)} seeds, 95 % interval {_interval(good)})."


def _interval(ratios: Sequence[float]) -> str:
    return "{:.1f} to {:.1f}".format(*interval(ratios)[1:])


def _shorter(pairs: Sequence[tuple[Curve, Curve]]) -> str:
    """How the ratio depends on the number of rounds after which the baseline's accuracy is called final."""
    longest = min(len(dense.accuracy) for dense, _ in pairs)
    rows = []
    for rounds in range(max(1, longest // 2), longest + 1):
        ratios = [ratio(dense, small, rounds) for dense, small in pairs]
        good = [found for found in ratios if found is not None]
        final = np.mean([dense.accuracy[rounds - 1] for dense, _ in pairs])
        cells = [f"{interval(good)[0]:.1f}", _interval(good)] if len(good) == len(ratios) else ["-", "not reached"]
        rows.append([str(rounds), f"{final:.4f}", *cells])
    return _markdown(["rounds", "final accuracy, mean", "ratio", "95 % interval"], rows)


def _front(curves: dict[str, dict[int, Curve]]) -> str:
    base = next(iter(curves.values()))
    top = float(np.mean([curve.accuracy[-1] for curve in base.values()])) - LOST
    levels = [round(top - 0.03 * step, 3) for step in reversed(range(LEVELS))]
    rows = []
    for name, runs in curves.items():
        cells = []
        for level in levels:
            needed = [curve.bytes_to(level) for curve in runs.values()]
            good = [value for value in needed if value is not None]
            cells.append(f"{np.mean(good) / 1e6:.3g} ({len(good)})" if good else "-")
        rows.append([name, *cells])
    return _markdown(["", *(f"{level:.3f}" for level in levels)], rows)


def _bounds(curves: dict[str, dict[int, Curve]]) -> str:
    rows = []
    for name, runs in curves.items():
        wire, bound, rest, messages = (
            sum(getattr(c, key) for c in runs.values()) for key in ("contents", "bound", "envelopes", "messages")
        )
        rows.append(
            [
                name,
                size(wire),
                size(bound),
                f"{wire / bound:.3f}",
                f"{rest / (wire + rest):.1%}",
                f"{rest / messages:.0f} of {(wire + rest) / messages:,.0f}",
            ]
        )
    head = ["", "sent", "bound", "sent / bound", "envelopes, of all bytes", "bytes of an envelope, of a message"]
    return _markdown(head, rows)


def _markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def plot(curves: dict[str, dict[int, Curve]]) -> Any:
    """Returns the global model's accuracy over bytes, a line for each run, as a plotly figure."""
    import plotly.graph_objects as go

    figure = go.Figure()
    for (name, runs), colour in zip(curves.items(), COLOURS, strict=False):
        for seed, curve in runs.items():
            figure.add_scatter(
                x=curve.total / 1e6,
                y=curve.accuracy,
                mode="lines+markers",
                name=name,
                legendgroup=name,
                showlegend=seed == min(runs),
                line={"color": colour, "width": 1.5},
                hovertemplate=f"{name}, seed {seed}<br>%{{x:.3f}} MB, accuracy %{{y:.4f}}<extra></extra>",
            )
    figure.update_xaxes(type="log", title="megabytes, up and down, envelopes included")
    figure.update_yaxes(title="test accuracy of the global model")
    figure.update_layout(title="Accuracy of the global model against bytes", template="plotly_white")
    return figure


def page_of(rows: Sequence[Row], page: Path) -> str:
    """Returns the text of a page: tables, and the rows that they are made from."""
    commits = ", ".join(dict.fromkeys(row["commit"] for row in rows))
    command = f"```\npython -m benchmarks.thirty_fold DIRECTORY... --page {page}\n```"
    head = f"# {page.stem}\n\n{command}\n\n{RULES}\n\nCommits of the runs: {commits}.\n\n"
    return head + tables(curves_of(rows)) + section(rows)


def main() -> int:
    """Reads, prints and writes."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("sweep", type=Path, nargs="*", help="directories of finished sweeps of one scenario")
    parser.add_argument("--page", type=Path, metavar="FILE", help="write this page, and keep the runs that it has")
    args = parser.parse_args()
    if not args.sweep and not args.page:
        parser.error("expected a directory of a sweep, or --page")
    before = rows_in(args.page) if args.page else []
    try:
        rows = alike(together(before, [row for path in args.sweep for row in read(path)], ("variant", "seed")))
        curves = curves_of(rows)
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    text = tables(curves)
    print(text, end="")
    if args.page:
        write_text(args.page, page_of(rows, args.page))
        return 0
    (args.sweep[0] / "thirty-fold.md").write_text(text, encoding="utf-8")
    plot(curves).write_html(args.sweep[0] / "thirty-fold.html", include_plotlyjs=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
