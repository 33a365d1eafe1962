"""How many times fewer bytes a compressed federation needs than dense FedAvg, to the same global accuracy.

Reads the directory of a finished sweep, such as `scenarios/thirty-fold.toml` makes, whose first variant is dense
FedAvg, and writes `thirty-fold.md` (tables) and `thirty-fold.html` (accuracy over bytes) into it. For each seed: the
target is FedAvg's final test accuracy less one point; a variant's bytes are counted to the first round that reaches it,
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
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fedcompress.errors import InputError
from fedcompress.results.run.directory import directory_name
from fedcompress.units import size

LOST, CONFIDENCE = 0.01, 0.95
"""Accuracy that compression may cost; of the interval."""
LEVELS = 6
"""Accuracies in the table of the front."""
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


def read(path: Path) -> dict[str, dict[int, Curve]]:
    """Returns variant -> seed -> curve of the finished runs of a sweep, variants in the order of the scenario.

    Raises:
        InputError: There are no such runs.
    """
    try:
        names = [row["variant"] for row in json.loads((path / "sweep.json").read_text(encoding="utf-8"))["variants"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{path}: is no directory of a sweep ({error}); expected one that fedcompress run made."
        ) from None
    curves: dict[str, dict[int, Curve]] = {name: {} for name in names}
    for file in sorted(path.glob("*/summary.json")):
        summary = json.loads(file.read_text(encoding="utf-8"))
        seed = int(summary["seed"])
        for name in names:
            if summary["status"] == "completed" and summary["run"] == directory_name(f"{name} seed {seed}"):
                curves[name][seed] = _curve(file.parent)
    if len(names) < 2 or not any(set(curves[names[0]]) & set(curves[name]) for name in names[1:]):
        raise InputError(f"{path}: expected finished runs of two variants with the same seeds; found {_found(curves)}.")
    return curves


def _curve(run: Path) -> Curve:
    rounds, ledger = _rows(run / "rounds.jsonl"), _rows(run / "ledger.jsonl")
    total = np.zeros(len(rounds))
    for row in ledger:
        total[row["round"] - 1] += row["wire_bytes"]
    contents = [row for row in ledger if row["content"] != "envelope"]
    wire = sum(row["wire_bytes"] for row in contents)
    return Curve(
        np.array([row["accuracy"] for row in rounds]),
        np.cumsum(total),
        wire,
        sum(row["bound_bytes"] for row in contents),
        int(total.sum()) - wire,
        len(ledger) - len(contents),
    )


def _rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _found(curves: dict[str, dict[int, Curve]]) -> str:
    return (
        "; ".join(f"{name}: seeds {', '.join(map(str, found)) or 'none'}" for name, found in curves.items()) or "none"
    )


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


def main() -> int:
    """Reads, prints and writes."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("sweep", type=Path, help="directory of a finished sweep; its first variant is the baseline")
    path: Path = parser.parse_args().sweep
    try:
        curves = read(path)
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    text = tables(curves)
    print(text, end="")
    (path / "thirty-fold.md").write_text(text, encoding="utf-8")
    plot(curves).write_html(path / "thirty-fold.html", include_plotlyjs=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
