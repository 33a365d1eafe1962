"""What is in a traced graph."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any


def all_kinds(function: Any) -> set[str]:
    """Returns the kinds of operations, as "MatMul", of a concrete function and of every function that it calls."""
    definition = function.graph.as_graph_def()
    nodes = [*definition.node, *(node for item in definition.library.function for node in item.node_def)]
    return {node.op for node in nodes}


def kinds_in_loops(function: Any) -> set[str]:
    """Returns those that become part of a loop: the ones of functions that are kept apart from it do not."""
    definition = function.graph.as_graph_def()
    library = {item.signature.name: item for item in definition.library.function}

    def within(nodes: Iterable[Any]) -> set[str]:
        kinds = set()
        for node in nodes:
            kinds.add(node.op)
            names = [value.func.name for value in node.attr.values() if value.func.name in library]
            inlined = [library[name] for name in names if not library[name].attr["_noinline"].b]
            kinds |= set().union(*(within(item.node_def) for item in inlined))
        return kinds

    loops = [node for node in definition.node if node.op in ("While", "StatelessWhile")]
    return set().union(*(within(library[loop.attr["body"].func.name].node_def) for loop in loops))
