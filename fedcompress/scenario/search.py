"""`[search]`: which settings are tried, on which seeds, and by what they are judged."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from fedcompress.errors import shown
from fedcompress.judged import JudgedName
from fedcompress.scenario.sections import MOST_RUNS, Positive, Section

Scalar = bool | int | float | str
_RANGE = ("low", "high", "log")
_NOT_SEARCHED = ("seed", "data.seed", "sweep", "search")


@dataclass(frozen=True)
class Choices:
    """Some values, in no order."""

    values: tuple[Scalar, ...]

    @property
    def ends(self) -> tuple[Scalar, ...]:
        """The values that have to be valid for all to be so."""
        return self.values


@dataclass(frozen=True)
class Numbers:
    """All numbers between two, both included; whole ones if both are whole.

    Attributes:
        low, high: The ends.
        log: Whether their logarithm is what is drawn evenly.
    """

    low: float
    high: float
    log: bool

    @property
    def whole(self) -> bool:
        """Whether the numbers are integers."""
        return isinstance(self.low, int) and isinstance(self.high, int)

    @property
    def ends(self) -> tuple[Scalar, ...]:
        """The values that have to be valid for all to be so."""
        return self.low, self.high


Dimension = Choices | Numbers


class SearchSettings(Section):
    """`[search]`: settings are tried, each with some seeds, and those that are best on the server's validation data
    are written as a scenario. Nothing is chosen by the test set. Needs the extra `search` (Optuna)."""

    seeds: tuple[Annotated[int, Field(ge=0)], ...] = Field(
        min_length=1, strict=False, description="each trial runs once with each; results are reported on other seeds"
    )
    trials: Positive = Field(20, description="settings that are tried")
    by: JudgedName | None = Field(
        None,
        description="whose validation accuracy after the last round, mean over seeds; default: evaluation.judged, "
        "which has to be the same where it is own or personal",
    )
    sampler: Literal["tpe", "random"] = Field(
        "tpe", description="tree-structured Parzen estimator, after 10 random trials (Bergstra et al. 2011), or random"
    )
    seed: int = Field(1, ge=0, description="of the sampler")
    space: dict[str, Any] = Field(
        description="key -> a list of values, or { low, high, log = true }: all numbers between, whole if both are"
    )

    @property
    def dimensions(self) -> dict[str, Dimension]:
        """Dotted key -> what is tried of it, sorted: a file that is written anew has another order."""
        return dict(sorted(_dimensions(self.space, "")))

    @model_validator(mode="after")
    def _can_be_searched(self) -> Self:
        dimensions = self.dimensions
        if not dimensions:
            raise ValueError('space: is empty; expected keys, as in "training.epochs" = [1, 2, 4]')
        if taken := [key for key in dimensions if key in _NOT_SEARCHED or key.startswith(("sweep.", "search."))]:
            raise ValueError(f"space: {', '.join(taken)} cannot be searched")
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError("seeds have to differ from each other")
        if (runs := self.trials * len(self.seeds)) > MOST_RUNS:
            raise ValueError(f"{runs:,} runs are more than a search may have, {MOST_RUNS:,}")
        return self


def _dimensions(node: Any, key: str) -> Iterator[tuple[str, Dimension]]:
    """Yields dotted keys with what is tried of them."""
    if isinstance(node, Mapping) and not {"low", "high"} & node.keys():
        for name, inner in node.items():
            yield from _dimensions(inner, f"{key}.{name}" if key else str(name))
    elif isinstance(node, Mapping):
        yield key, _numbers(node, key)
    elif isinstance(node, list | tuple) and node and all(isinstance(value, Scalar) for value in node):
        yield key, Choices(tuple(node))
    else:
        raise ValueError(
            f"space.{key}: received {shown(node)}; expected a list of values, as in [1, 2, 4], or a range, as in "
            "{ low = 0.001, high = 0.1, log = true }"
        )


def _numbers(node: Mapping[str, Any], key: str) -> Numbers:
    low, high, log = node.get("low"), node.get("high"), node.get("log", False)
    if unknown := [name for name in node if name not in _RANGE]:
        raise ValueError(f"space.{key}.{unknown[0]}: unknown key; expected low, high and log")
    if not all(isinstance(end, int | float) and not isinstance(end, bool) for end in (low, high)):
        raise ValueError(f"space.{key}: received {shown(dict(node))}; expected two numbers, low and high")
    assert isinstance(low, int | float)
    assert isinstance(high, int | float)
    if not isinstance(log, bool):
        raise ValueError(f"space.{key}.log: received {shown(log)}; expected true or false")
    if not low < high or (log and low <= 0):
        above = "low above 0 and " if log else ""
        raise ValueError(f"space.{key}: received {low:g} to {high:g}; expected {above}high above low")
    return Numbers(low, high, log)
