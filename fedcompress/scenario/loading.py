"""What a user names as a scenario, with what they set in it: a file, the name of one that ships, a table."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fedcompress.errors import InputError
from fedcompress.scenario.scenario import Scenario
from fedcompress.units import counted


def load_scenario(
    scenario: Path | Scenario | Mapping[str, Any], overrides: Mapping[str, Any], seed: int | None = None
) -> Scenario:
    """Returns a scenario, checked as far as that is possible without its data.

    Args:
        scenario: A file, the name of one that ships, a nested table, or a scenario.
        overrides: Dotted key -> value.
        seed: Instead of its seed, or of all seeds of its sweep.

    Raises:
        InputError: It cannot be read, or it, an override or a variant is wrong.
    """
    overrides = {**overrides, **({} if seed is None else {"seed": seed})}
    table = scenario.table() if isinstance(scenario, Scenario) else scenario
    loaded = Scenario.parse(table, overrides) if isinstance(table, Mapping) else Scenario.load(table, overrides)
    if loaded.sweep is not None and seed is not None:
        loaded = Scenario.parse(loaded.table(), {"sweep.seeds": [seed]})
    if loaded.sweep is not None:
        loaded.runs()  # every variant has to be valid before the first one runs
    if not loaded.name.strip():
        raise InputError("name: is empty.")
    return loaded


def outline(scenario: Scenario) -> str:
    """Returns what will be done, in a line: "quickstart: 15 rounds, 10 clients, mnist-5k"."""
    each = f"{counted(scenario.rounds, 'round')}, {counted(scenario.data.clients, 'client')}, {scenario.data.dataset}"
    if scenario.search is not None:
        trials, seeds = scenario.search.trials, len(scenario.search.seeds)
        return f"{scenario.name}: {counted(trials, 'trial')} with {counted(seeds, 'seed')}, each {each}"
    if scenario.sweep is None:
        return f"{scenario.name}: {each}"
    variants, seeds = len(scenario.sweep.variants), len(scenario.sweep.seeds)
    return f"{scenario.name}: {counted(variants, 'variant')} with {counted(seeds, 'seed')}, each {each}"
