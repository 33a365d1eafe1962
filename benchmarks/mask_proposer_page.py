"""docs/results/mask-proposer.md: what `benchmarks.mask_proposer` measured, written by command."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import combinations
from statistics import fmean
from typing import Any

import numpy as np

from fedcompress.recipes.masks.trials import STUCK
from fedcompress.results.compare.statistics import SHARE, Difference, Interval

Row = dict[str, Any]
FIRST = 10
"""Draws of a method among which the best is reported."""
PROPOSED, LIKE = "GAN", ("L1", "L1, equal shares", "LAMP")
"""The proposer, and what needs no search and no draws either."""
RANDOMISED, CHANCE = "LAMP, randomised", "random with floor"
"""What has as many draws, and what has the most."""
PARTS = ("GAN, not ranked by the head", "head only", "adversarial only", "likelihood only", "position only")
"""Proposers that lack something of it."""
TITLES = {
    "initialisations": "New initialisations of an architecture that is in the archive",
    "data": "The same architecture on a data set that is not in the archive",
    "architecture": "An architecture that is not in the archive",
}
COLUMNS = (
    "masks by",
    "networks",
    "mean of draws",
    f"best of {FIRST}",
    "best of all",
    "stuck",
    "distance",
    "ms to a mask",
)
ARCHIVE = "good ones of the archive"
LEAD = """# Masks that a GAN proposes

```
fedcompress masks collect benchmarks/mask_proposer.toml --out runs/mask-proposer/archive.trials --workers 2
python -m benchmarks.mask_proposer --page docs/results/mask-proposer.md
```

Test accuracy after two epochs of retraining, the same for every mask, on networks that no proposer has seen: LeNet-5 on
digits or Fashion-MNIST (1,150 training images). ± is half of the 95 % interval over networks (Student's t). Each
network has proposers of its own, trained anew on the archive of digits networks. "Mean of draws" is what a single mask
comes to. Of several masks the one that is best on validation examples is reported, which takes as many retrainings as
there are masks; `search` takes as many as the archive has of one network. "Stuck": part of the masks that come to at
most a fifth of what the dense network has above chance. "Distance": mean number of channels in which two draws differ;
in the line of the archive, in which two good masks of one of its LeNet-5s differ, those that proposers learn from.
Milliseconds are of the processor, without retraining; those of a proposer are a look at the network's channels and one
draw, those of `search` its retrainings.

"""


SHORT = f"""Test accuracy of the proposer's masks less that of others, seed by seed: a draw against L1, L1 with equal
shares or LAMP, whichever came to the most; the best of {FIRST} draws against the best of {FIRST} by randomised LAMP,
and against the best of 100 random masks with a floor."""


def page(rows: Sequence[Row]) -> str:
    """Returns the page of the rows that there are, as `benchmarks.mask_proposer` writes them."""
    good = {row["sparsity"]: row["distance"] for row in rows if row["method"] == ARCHIVE}
    rows = [row for row in rows if row["method"] != ARCHIVE]
    processors = ", ".join(dict.fromkeys(row["processor"] for row in rows if "processor" in row))
    text = LEAD + (f"Processor: {processors}.\n\n" if processors else "")
    text += f"## In short\n\n{SHORT}\n\n{_written(_in_short(rows))}\n"
    for case in dict.fromkeys(row["case"] for row in rows):
        text += f"## {TITLES[case]}\n\n"
        of_case = [row for row in rows if row["case"] == case]
        dense = {row["seed"]: row["dense"] for row in of_case}
        text += f"Dense: {_interval(list(dense.values()))}; networks: {len(dense)}.\n\n"
        for sparsity in sorted({row["sparsity"] for row in of_case}, reverse=True):
            found = [row for row in of_case if row["sparsity"] == sparsity]
            table = _table(found, good.get(sparsity))
            text += f"### {sparsity:.0%} of the channels gone\n\n{table}\n{verdict(found)}\n\n"
    return text.rstrip() + "\n"


def _table(rows: Sequence[Row], good: float | None) -> str:
    lines = [COLUMNS, tuple("---" for _ in COLUMNS), *_lines(rows)]
    if good is not None:
        lines.append(tuple({"masks by": ARCHIVE, "distance": f"{good:.1f}"}.get(column, "") for column in COLUMNS))
    return _written(lines)


def _written(lines: Iterable[Sequence[str]]) -> str:
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _lines(rows: Sequence[Row]) -> Iterator[tuple[str, ...]]:
    for method in dict.fromkeys(row["method"] for row in rows):
        of = [row for row in rows if row["method"] == method]
        several, more = len(of[0]["test"]) > 1, len(of[0]["test"]) > FIRST
        yield (
            method,
            str(len(of)),
            _interval([fmean(row["test"]) for row in of]),
            _interval([best(row, FIRST) for row in of]) if several else "",
            f"{_interval([best(row) for row in of])} of {len(of[0]['test'])}" if more else "",
            f"{fmean(stuck(row) for row in of):.2f}",
            f"{fmean(row['distance'] for row in of):.1f}" if several else "",
            f"{fmean(row['milliseconds'] for row in of):,.1f}",
        )


def _interval(values: Sequence[float]) -> str:
    return Interval.of(values, SHARE).text(lambda value: f"{value:.3f}")


def best(row: Row, first: int | None = None) -> float:
    """Returns the test accuracy of the mask that is best on validation examples, of the first so many."""
    return float(row["test"][int(np.argmax(row["validation"][:first]))])


def stuck(row: Row) -> float:
    """Returns the part of a row's masks that are stuck, see `fedcompress.recipes.masks.trials`."""
    most = row["chance"] + STUCK * (row["dense"] - row["chance"])
    return fmean(accuracy <= most for accuracy in row["test"])


def distance(masks: Sequence[str]) -> float:
    """Returns the mean Hamming distance between two masks, in channels."""
    return fmean(sum(a != b for a, b in zip(one, other, strict=True)) for one, other in combinations(masks, 2))


def verdict(rows: Sequence[Row]) -> str:
    """Returns a list of what the proposer's draws differ by: from scores, from chance, and from those of its parts."""
    if (found := against(rows)) is None:
        return "Not finished."
    draws = _draws(rows)
    parts = [f"{method} {_less(draws[PROPOSED], draws[method])}" for method in PARTS if method in draws]
    lines = [f"{what}: {difference}" for what, difference in found.items() if difference]
    lines += [f"A draw of it less one of a proposer that lacks a part: {', '.join(parts)}"] if parts else []
    return "\n".join(f"- {line}." for line in lines)


def against(rows: Sequence[Row]) -> dict[str, str] | None:
    """Returns how the proposer stands: what is compared -> the difference, empty without the rows; None: not finished.

    Args:
        rows: Of one case and sparsity.
    """
    draws = _draws(rows)
    scores = {method: draws[method] for method in LIKE if method in draws}
    if PROPOSED not in draws or len(scores) < len(LIKE):
        return None
    other = max(scores, key=lambda method: fmean(scores[method].values()))
    first = _of(rows, PROPOSED, lambda row: best(row, FIRST))
    as_many, many = _of(rows, RANDOMISED, lambda row: best(row, FIRST)), _of(rows, CHANCE, best)
    count = max([len(row["test"]) for row in rows if row["method"] == CHANCE], default=0)
    return {
        f"A draw of the proposer less {other}, the best of the scores": _less(draws[PROPOSED], scores[other]),
        f"Its best of {FIRST} less the best of {FIRST} by randomised LAMP": _less(first, as_many) if as_many else "",
        f"Its best of {FIRST} less the best of {count} random masks with a floor": _less(first, many) if many else "",
    }


def _in_short(rows: Sequence[Row]) -> Iterator[tuple[str, ...]]:
    """Yields the lines of a table of all cases."""
    columns = ("networks", "gone", "a draw less the best score", "best less LAMP's", "best less random's", "stuck")
    yield from (columns, tuple("---" for _ in columns))
    order = list(TITLES)
    for case, sparsity in sorted({(r["case"], r["sparsity"]) for r in rows}, key=lambda c: (order.index(c[0]), -c[1])):
        of_case = [row for row in rows if (row["case"], row["sparsity"]) == (case, sparsity)]
        if found := against(of_case):
            stays = fmean(stuck(row) for row in of_case if row["method"] == PROPOSED)
            yield (TITLES[case], f"{sparsity:.0%}", *found.values(), f"{stays:.2f}")


def _draws(rows: Sequence[Row]) -> dict[str, dict[int, float]]:
    """Returns for each method and seed what one mask of it comes to."""
    return {name: _of(rows, name, lambda row: fmean(row["test"])) for name in dict.fromkeys(map(_method, rows))}


def _method(row: Row) -> str:
    return str(row["method"])


def _of(rows: Sequence[Row], method: str, figure: Callable[[Row], float]) -> dict[int, float]:
    return {row["seed"]: figure(row) for row in rows if row["method"] == method}


def _less(ours: Mapping[int, float], theirs: Mapping[int, float]) -> str:
    """Returns the difference, seed by seed, and whether it is more than noise."""
    difference = Difference.of(ours, theirs)
    words = {True: "more" if difference.interval.mean > 0 else "less", False: "within noise", None: "one network only"}
    return f"{difference.interval.signed(digits=3)} ({words[difference.resolved]})"
