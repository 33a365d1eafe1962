"""What is wrong with a sweep, before anything of it runs."""

from __future__ import annotations

from fedcompress import launch
from fedcompress.engines import engine_of
from fedcompress.errors import MOST_PROBLEMS, InputError
from fedcompress.experiment import Experiment
from fedcompress.options import Options
from fedcompress.plugins import Plugins
from fedcompress.scenario import Scenario
from fedcompress.sweep.jobs import variant_of


def check(scenario: Scenario, options: Options) -> None:
    """Raises InputError if runs of a sweep would be wrong, or cannot have their engine."""
    if problems := _problems(scenario, options):
        raise InputError(problems)
    options.check()
    runs, engine = scenario.runs(), engine_of(options)
    engine.check(len(runs) if engine.spreads_runs else max(single.data.clients for _, single in runs))


def _problems(scenario: Scenario, options: Options) -> list[str]:
    """Returns all that is wrong with a sweep's runs: each problem once, with its variant, and with its seeds if others
    do not have it. Models, which are the same for all seeds, are built for one."""
    assert scenario.sweep is not None
    plugins, seeds = Plugins(options.plugins), [str(seed) for seed in scenario.sweep.seeds]
    seeds_with: dict[tuple[str, str], list[str]] = {}
    checked: set[str] = set()
    for label, single in scenario.runs():
        variant, seed = variant_of(label), str(single.seed)
        if seed == seeds[0] and len(seeds_with) > MOST_PROBLEMS:
            break  # more would not be shown
        try:
            experiment = Experiment.load(single, plugins, options.data_dir)
        except InputError as error:
            for problem in error.problems:
                seeds_with.setdefault((variant, problem), []).append(seed)
            continue
        if variant not in checked:
            checked.add(variant)
            try:
                launch.check(experiment, engine_of(options))
            except InputError as error:
                seeds_with |= {(variant, problem): seeds for problem in error.problems}
    return [
        f"sweep variant {variant!r}{'' if affected == seeds else ', seed ' + ', '.join(affected)}: {problem}"
        for (variant, problem), affected in seeds_with.items()
    ]
