"""Which settings are tried next: the one door to Optuna.

What is asked for is a function of the trials that are over and of the trial's number: Optuna is told all of them each
time, and samples by a generator that is seeded anew. So a search that was broken off goes on as if it had not been.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from typing import Any

from fedcompress.errors import InputError
from fedcompress.scenario.search import Choices, Dimension, SearchSettings
from fedcompress.searching.trials import Trial
from fedcompress.seeding import SERVER, generator


def check_installed() -> None:
    """Raises InputError if Optuna is not installed."""
    if importlib.util.find_spec("optuna") is None:
        raise InputError('search: Optuna is not installed; pip install "fedcompress[search]".')


def next_params(settings: SearchSettings, over: Sequence[Trial], number: int) -> dict[str, Any]:
    """Returns the settings of a trial.

    Args:
        settings: `[search]`.
        over: The trials before it.
        number: Of the trial.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    seed = int(generator(settings.seed, number, SERVER, "search").integers(2**31))
    samplers = optuna.samplers
    sampler = samplers.TPESampler(seed=seed) if settings.sampler == "tpe" else samplers.RandomSampler(seed=seed)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    distributions = {key: _distribution(dimension) for key, dimension in settings.dimensions.items()}
    study.add_trials([_told(trial, distributions) for trial in over])
    return dict(study.ask(distributions).params)


def _told(trial: Trial, distributions: Mapping[str, Any]) -> Any:
    """Returns a trial that is over as Optuna knows it."""
    import optuna

    state = optuna.trial.TrialState.FAIL if trial.accuracy is None else optuna.trial.TrialState.COMPLETE
    known = dict(distributions)
    return optuna.trial.create_trial(params=dict(trial.params), distributions=known, value=trial.accuracy, state=state)


def _distribution(dimension: Dimension) -> Any:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if isinstance(dimension, Choices):
        return CategoricalDistribution(dimension.values)
    if dimension.whole:
        return IntDistribution(int(dimension.low), int(dimension.high), log=dimension.log)
    return FloatDistribution(float(dimension.low), float(dimension.high), log=dimension.log)
