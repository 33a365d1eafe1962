"""Tables and plots of archives and proposers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean

import numpy as np
from numpy.typing import NDArray

from fedcompress.masks.features import Described
from fedcompress.page.blocks import Panel, Section, TextTable
from fedcompress.page.figures import Json, axes, colour, line, numbers, plotted, rounded
from fedcompress.page.shell import html as page
from fedcompress.recipes.masks.adversarial import Point
from fedcompress.recipes.masks.trials import Network, Trial

COLUMNS = ("criterion", "sparsity", "masks", "mean", "best", "worst", "stuck", "narrowest layer")
BEST = 0.25
"""Part of a network's masks at a sparsity that is called good; as large a part is called bad."""
APART = 0.004
"""Of the sparsity, between criteria of one sparsity in a plot."""


def rows(networks: Sequence[Network]) -> list[tuple[str, ...]]:
    """Returns a row for each criterion and sparsity, as `COLUMNS` says; accuracies are after retraining."""
    found = []
    for sparsity in sorted({t.sparsity for n in networks for t in n.trials}):
        for criterion in dict.fromkeys(t.criterion for n in networks for t in n.trials):
            tried = [(n, t) for n in networks for t in n.trials if (t.criterion, t.sparsity) == (criterion, sparsity)]
            if not tried:
                continue
            values = [t.accuracy for _, t in tried]
            stuck = fmean(n.is_stuck(t.accuracy) for n, t in tried)
            narrow = fmean(narrowest(n, t) for n, t in tried)
            figures = (f"{v:.3f}" for v in (fmean(values), max(values), min(values)))
            found.append((criterion, f"{sparsity:g}", str(len(tried)), *figures, f"{stuck:.2f}", f"{narrow:.1f}"))
    return found


def narrowest(network: Network, trial: Trial) -> int:
    """Returns how many channels the layer keeps that keeps the fewest."""
    return min(int(kept.sum()) for kept in network.described.kept(trial.mask))


def why_stuck(networks: Sequence[Network]) -> str:
    """Returns a sentence on what tells the masks that stay stuck from those that recover."""
    counts: dict[bool, list[int]] = {True: [], False: []}
    for network in networks:
        for trial in network.trials:
            counts[network.is_stuck(trial.accuracy)].append(narrowest(network, trial))
    if not counts[True] or not counts[False]:
        return "No mask stays stuck." if counts[False] else "Every mask stays stuck."
    total = len(counts[True]) + len(counts[False])
    single = {is_stuck: fmean(count == 1 for count in found) for is_stuck, found in counts.items()}
    return (
        f"{len(counts[True])} of {total} masks stay stuck: retrained, they have at most a fifth of what the dense "
        f"network has above chance. Their narrowest layer keeps {fmean(counts[True]):.1f} channels in the mean, that "
        f"of masks that recover {fmean(counts[False]):.1f}. {single[True]:.0%} of the stuck ones have a layer of a "
        f"single channel, and {single[False]:.0%} of the others."
    )


def archive_page(title: str, networks: Sequence[Network]) -> str:
    """Returns the page of an archive."""
    table = TextTable("Accuracy after retraining, by what chose the mask", COLUMNS, tuple(rows(networks)))
    panels = [_accuracies(networks), _modes(networks), *_layers(networks)]
    return page(
        "fedcompress masks show", title, [Section("masks", "Masks", [table]), Section("plots", "Plots", panels)],
        why_stuck(networks),
    )  # fmt: skip


def _accuracies(networks: Sequence[Network]) -> Panel:
    sparsities = sorted({t.sparsity for n in networks for t in n.trials})
    criteria = dict.fromkeys(t.criterion for n in networks for t in n.trials)
    data: list[Json] = []
    straight: list[Json] = []
    for index, criterion in enumerate(criteria):
        found = {
            s: [t.accuracy for n in networks for t in n.trials if (t.criterion, t.sparsity) == (criterion, s)]
            for s in sparsities
        }
        places = [sparsity for sparsity in sparsities if found[sparsity]]
        least, low, middle, high, most = np.array([np.quantile(found[s], (0, 0.25, 0.5, 0.75, 1)) for s in places]).T
        text = [
            f"{a:.3f} to {b:.3f}, half of them {c:.3f} to {d:.3f}"
            for a, b, c, d in zip(least, most, low, high, strict=True)
        ]
        beside = [sparsity + APART * (index - (len(criteria) - 1) / 2) for sparsity in places]
        straight.append(line(criterion, index, places, middle, marked=True, text=text))
        bars = {"array": rounded(high - middle), "arrayminus": rounded(middle - low), "symmetric": False}
        data.append(
            {
                **straight[-1],
                "x": rounded(beside),
                "error_y": {"type": "data", "color": colour(index), "width": 3, **bars},
            }
        )
    title, figure = "Accuracy by criterion and sparsity", plotted(data, axes("sparsity", "accuracy after retraining"))
    table = numbers(title, ("criterion", "sparsity", "median accuracy", "of its masks"), plotted(straight, {}))
    said = "Medians over masks; bars hold half of them. Criteria of a sparsity lie beside each other."
    return Panel(title, said, figure, table, 460)


def _modes(networks: Sequence[Network]) -> Panel:
    edges = np.linspace(0, 1, 21)
    data = []
    for index, sparsity in enumerate(sorted({t.sparsity for n in networks for t in n.trials})):
        parts = [t.accuracy / n.dense for n in networks for t in n.trials if t.sparsity == sparsity]
        counts, _ = np.histogram(np.clip(parts, 0, 1), edges)
        data.append(line(f"sparsity {sparsity:g}", index, (edges[:-1] + edges[1:]) / 2, counts / len(parts)))
    title, figure = "Retrained accuracy: two modes", plotted(data, axes("part of the dense accuracy", "part of masks"))
    table = numbers(title, ("sparsity", "part of the dense accuracy", "part of masks"), figure)
    return Panel(title, "Masks either recover or stay stuck near chance.", figure, table, 400)


def _layers(networks: Sequence[Network]) -> Iterator[Panel]:
    """Yields, for each architecture, what each layer loses under good and bad masks."""
    for model in dict.fromkeys(n.source.model for n in networks):
        of_model = [n for n in networks if n.source.model == model]
        data = []
        for index, sparsity in enumerate(sorted({t.sparsity for n in of_model for t in n.trials})):
            for number, kind in enumerate(("good", "bad")):
                lost = [_lost(n, t) for n in of_model for t in _best(n, sparsity, worst=kind == "bad")]
                data.append(
                    line(f"{kind}, {sparsity:g}", 2 * index + number, range(len(lost[0])), np.mean(lost, axis=0))
                )
        figure = plotted(data, axes("layer", "fraction of its channels that goes"))
        figure["layout"]["xaxis"] |= {"tickvals": list(range(len(of_model[0].layers))), "ticktext": of_model[0].layers}
        title = f"Layer by layer: {model}"
        table = numbers(title, ("masks", "layer", "fraction"), figure)
        yield Panel(title, "The best and the worst quarter of each network's masks.", figure, table, 460)


def _best(network: Network, sparsity: float, *, worst: bool) -> list[Trial]:
    tried = sorted((t for t in network.trials if t.sparsity == sparsity), key=lambda t: t.accuracy, reverse=not worst)
    return tried[: max(round(BEST * len(tried)), 1)]


def _lost(network: Network, trial: Trial) -> list[float]:
    return [1.0 - float(kept.mean()) for kept in network.described.kept(trial.mask)]


def learning_page(title: str, curve: Sequence[Point]) -> str:
    """Returns the page of a proposer's training."""
    steps = [point.step for point in curve]
    losses = {
        "discriminator": [p.discriminator for p in curve],
        "accuracy head": [p.accuracy for p in curve],
        "generator": [p.generator for p in curve],
    }
    held_out = {
        "correlation of foretold and measured accuracy": [p.correlation for p in curve],
        "foretold part of the dense accuracy of draws": [p.foretold for p in curve],
    }
    panels = [
        _curves("Losses", "Means over the steps of a part.", steps, losses),
        _curves("Networks that are held out", "Networks of the archive that nothing learned from.", steps, held_out),
    ]
    return page("fedcompress masks train", title, [Section("curves", "Learning curves", panels)])


def _curves(title: str, note: str, steps: Sequence[int], curves: Mapping[str, Sequence[float]]) -> Panel:
    data = [line(name, index, steps, values) for index, (name, values) in enumerate(curves.items())]
    figure = plotted(data, axes("step", "", share=False))
    return Panel(title, note, figure, numbers(title, ("curve", "step", "value"), figure), 400)


def proposal_page(
    title: str, layers: Sequence[str], described: Described, probabilities: Mapping[float, NDArray[np.float64]]
) -> str:
    """Returns the page of proposals: how likely each channel is to be kept, the most likely of each layer first.

    Args:
        title: Of the page.
        layers: Their names.
        described: The network's channels.
        probabilities: Sparsity -> of each channel, (channels,).
    """
    panels = []
    for at, layer in enumerate(layers):
        data = []
        for index, (sparsity, values) in enumerate(probabilities.items()):
            of_layer = np.sort(np.split(values, np.cumsum(described.widths)[:-1])[at])[::-1]
            data.append(line(f"sparsity {sparsity:g}", index, range(1, len(of_layer) + 1), of_layer))
        figure = plotted(data, axes("channel, the most likely first", "probability of being kept"))
        figure["layout"]["yaxis"]["range"] = [-0.02, 1.02]
        table = numbers(layer, ("sparsity", "channel", "probability"), figure)
        panels.append(Panel(layer, "How likely each channel is to be kept.", figure, table))
    return page("fedcompress masks propose", title, [Section("layers", "Layers", panels)])
