"""What was run, in words, and in which settings variants differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fedcompress.page.blocks import TextTable
from fedcompress.results.compare.caveats import data_sets
from fedcompress.results.report.shown import Shown, Variants
from fedcompress.results.runs import flat_settings
from fedcompress.units import counted


def lead(shown: Shown) -> str:
    """Returns data, clients, rounds and seeds in one line."""
    runs, variants = shown.runs, shown.variants
    data = ", ".join(data_sets(runs))
    clients = sorted({int(run.scenario.get("data", {}).get("clients", 0)) for run in runs})
    seeds = sorted({run.seed for run in runs})
    parts = [data, _range(clients, "client"), _range(sorted({run.summary["rounds"] for run in runs}), "round")]
    if len(variants) > 1:
        parts.append(f"{len(variants)} variants")
    parts.append(f"seed {seeds[0]}" if len(seeds) == 1 else f"seeds {', '.join(map(str, seeds))}")
    return " · ".join(parts)


def _range(values: Sequence[int], noun: str) -> str:
    return counted(values[0], noun) if len(values) == 1 else f"{values[0]} to {values[-1]} {noun}s"


def settings(shown: Shown) -> TextTable:
    """What was run, in words; of the first variant where they differ."""
    run = shown.runs[0]
    s = run.scenario
    data, server, wire, training = (s.get(key, {}) for key in ("data", "server", "wire", "training"))
    rows = [
        ("data", f"{data.get('dataset')}, {counted(data.get('clients', 0), 'client')}, {_partition(data)}"),
        ("server", f"{server.get('strategy', 'fedavg')}, cohort {server.get('cohort', 1.0):g}"),
        ("training", _words(training)),
        ("wire", _words({key: value for key, value in wire.items() if not isinstance(value, Mapping)})),
    ]
    if public := s.get("public"):
        rows.append(("public data", f"{public.get('source')}, {counted(public.get('examples', 0), 'example')}"))
    rows += [(f"group {g.get('name')}", _group(g)) for g in s.get("groups", ())]
    title = "What was run" if shown.alone else f"What was run: {run.variant}"
    return TextTable(title, (), tuple(rows), style="text")


def _partition(data: Mapping[str, Any]) -> str:
    kind = str(data.get("partition", "iid"))
    detail = {"dirichlet": "alpha", "quantity": "alpha", "feature": "alpha", "pathological": "classes_per_client"}
    key = detail.get(kind, "shards_per_client" if kind == "shard" else "")
    text = f"{kind}, {key} {data[key]:g}" if key in data else kind
    return text + _more(data.get("partition_params", {}))


def _words(table: Mapping[str, Any]) -> str:
    return ", ".join(f"{key.replace('_', ' ')} {_word(value)}" for key, value in table.items()) or "defaults"


def _word(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _group(group: Mapping[str, Any]) -> str:
    text = f"{group.get('share', 1.0):.0%} of the clients, {group.get('model')}, {group.get('client', 'sgd')}"
    if group.get("compression", "none") != "none":
        text += f", {group['compression']} to sparsity {group.get('sparsity', 0.0):g}"
    if group.get("device"):
        text += f", on a modelled {group['device']}"
    return text + _more({**group.get("params", {}), **group.get("compression_params", {})})


def _more(params: Mapping[str, Any]) -> str:
    """Returns the parameters of a plug-in in parentheses."""
    return f" ({_words(params)})" if params else ""


def differences(variants: Variants) -> TextTable:
    """The settings in which variants differ."""
    tables = {name: dict(flat_settings(runs[0].scenario)) for name, runs in variants.items()}
    keys = [key for key in {k: 0 for table in tables.values() for k in table} if key not in ("seed", "name")]
    rows = [(key, *(str(table.get(key, "-")) for table in tables.values())) for key in keys]
    differing = tuple(row for row in rows if len(set(row[1:])) > 1)
    return TextTable("What differs", ("setting", *tables), differing)
