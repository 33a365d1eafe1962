"""The two pages that plug-in authors write against say everything that `help()` is asked for."""

from __future__ import annotations

import inspect
import re
import textwrap
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from fedcompress import client, federation, strategy
from fedcompress.aggregation import weighted_mean
from fedcompress.client import ClientStrategy
from fedcompress.experiment import Experiment
from fedcompress.strategy import ServerStrategy
from federating import experiment
from federating import federation as federation_of


def public(kind: type[Any]) -> list[str]:
    return [name for name in vars(kind) if not name.startswith("_")]


@pytest.mark.parametrize("kind", [ClientStrategy, ServerStrategy])
def test_the_docstring_of_the_class_documents_every_flag_and_attribute(kind: type[Any]) -> None:
    documented = set(re.findall(r"^        (\w+): ", str(kind.__doc__), re.MULTILINE))
    flags = {name for name in public(kind) if not callable(getattr(kind, name)) or name == "Params"}
    given = set(inspect.signature(kind.__init__).parameters) - {"self"}
    assert flags >= {"Params"}
    assert documented == flags | given


@pytest.mark.parametrize("kind", [ClientStrategy, ServerStrategy, strategy.Federation])
def test_every_method_has_a_docstring(kind: type[Any]) -> None:
    assert [name for name in public(kind) if not inspect.getdoc(getattr(kind, name))] == []


def test_what_a_strategy_may_do_is_what_the_federation_offers() -> None:
    for name in public(strategy.Federation):
        assert inspect.signature(getattr(federation.Federation, name)) == inspect.signature(
            getattr(strategy.Federation, name)
        )
    assert federation.Federation.__mro__[1] is strategy.Federation
    assert federation.Reply is strategy.Reply


def test_an_author_needs_no_other_page() -> None:
    for name in ("Result", "action", "Payload", "Params", "Content", "Arrays", "ClientStrategy"):
        assert hasattr(client, name), name
    for name in ("Federation", "Reply", "State", "Payload", "Params", "Content", "Arrays", "ClientInfo", "Group"):
        assert hasattr(strategy, name), name


def test_the_toy_algorithm_of_the_docstrings_is_federated_averaging() -> None:
    """Two rounds of the strategy and the client that the docstrings show end in the weights of `fedavg` and `sgd`."""
    scope: dict[str, Any] = {**vars(strategy), **vars(client), "weighted_mean": weighted_mean}
    for kind in (ServerStrategy, ClientStrategy):
        example = re.search(r"^        class .*?(?=^    \S)", str(kind.__doc__), re.MULTILINE | re.DOTALL)
        assert example is not None
        exec(textwrap.dedent(example[0]), scope)
    made = experiment({"data": {"dataset": "digits", "clients": 3}})
    groups = {name: replace(group, client=scope["SGD"]) for name, group in made.groups.items()}
    toy = replace(made, strategy=scope["Averaging"], strategy_params=strategy.Params(), groups=groups)
    start = made.initial_weights(made.models["mini-cnn"])
    shipped, shown = after_two_rounds(made, {"mini-cnn": start})["mini-cnn"], after_two_rounds(toy, start)
    assert all(map(np.array_equal, shipped, shown))


def after_two_rounds(made: Experiment, weights: Any) -> Any:
    fed = federation_of(made)
    state = {**made.server.initial(fed), "weights": weights}
    for number in (1, 2):
        fed.begin(number)
        state = made.server.round(fed, state)
    return state["weights"]
