"""The two pages that plug-in authors write against say everything that `help()` is asked for."""

from __future__ import annotations

import inspect
import re
from typing import Any

import pytest

from fedcompress import client, federation, strategy
from fedcompress.client import ClientStrategy
from fedcompress.strategy import ServerStrategy


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
