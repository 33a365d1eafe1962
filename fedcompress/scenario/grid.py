"""`[sweep.grid]`: every combination of some values is a variant."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import Any


def with_grid(sweep: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a table `[sweep]` whose grid has become variants: a variant for each combination, of each that is there.

    A variant is called by its values, "alpha=0.1 cohort=0.5", after the name of the one that it is made of.

    Args:
        sweep: With `grid`: dotted key, or tables within each other -> a list of values.

    Raises:
        ValueError: A key has no list of values.
    """
    keys = dict(_lists(sweep["grid"], ""))
    if not keys:
        raise ValueError('grid: is empty; expected keys with their values, as in "data.alpha" = [0.1, 1.0]')
    rest = {key: value for key, value in sweep.items() if key != "grid"}
    last = [key.rpartition(".")[2] for key in keys]
    names = [short if last.count(short) == 1 else key for key, short in zip(keys, last, strict=True)]
    made = []
    for variant in rest.get("variants") or [{}]:
        for values in product(*keys.values()):
            called = " ".join(f"{name}={_shown(value)}" for name, value in zip(names, values, strict=True))
            of = variant.get("name", "")
            chosen = {**variant.get("set", {}), **dict(zip(keys, values, strict=True))}
            made.append({**variant, "name": f"{of} {called}".strip(), "set": chosen})
    return {**rest, "variants": made}


def _lists(node: Any, key: str) -> Iterator[tuple[str, Sequence[Any]]]:
    """Yields dotted keys with their lists of values."""
    if isinstance(node, Mapping):
        for name, inner in node.items():
            yield from _lists(inner, f"{key}.{name}" if key else str(name))
    elif isinstance(node, list | tuple) and node:
        yield key, node
    else:
        raise ValueError(f"grid.{key}: received {node!r}; expected a list of values, as in [0.1, 1.0]")


def _shown(value: Any) -> str:
    """Returns a value as a part of a name of a directory."""
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return text.replace("/", "_").replace("\\", "_")
