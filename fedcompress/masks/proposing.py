"""From a proposer to a mask: several draws for a network, of which the best on validation data is kept."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from hashlib import sha256
from pathlib import Path
from statistics import fmean

import numpy as np
from numpy.typing import NDArray

from fedcompress.data.dataset import cache_folder
from fedcompress.errors import InputError
from fedcompress.masks import ranking
from fedcompress.masks.drawing import largest, least_of
from fedcompress.masks.features import Described
from fedcompress.masks.proposer import TRIES, Proposer, chance_of, noise_of, read_proposer
from fedcompress.masks.ranking import Count
from fedcompress.models import channels
from fedcompress.models.architecture import ModelSpec
from fedcompress.models.channels import Kept
from fedcompress.scenario.gallery import named, shipped
from fedcompress.wire.content import Arrays

RUNGS = np.arange(0.05, 0.96, 0.05)
"""Sparsities along which channels go if masks are to be nested."""
JUDGED = (0.5, 0.8, 0.9)
"""Sparsities at which a draw is judged whose masks are to be nested."""
FIXED_POINT = 6
"""Steps to the sparsity of channels at which as many weights go as were asked for."""
MISSING = (
    'score = "gan" needs a proposer, a file of `fedcompress masks train`: `fedcompress masks train quick` makes one in '
    'some minutes, which proposer = "quick" then names'
)
"""What is said where none is named."""

Order = list[tuple[int, int]]


def problem_of_proposer(score: str, proposer: str | None, jitter: float) -> str | None:
    """Returns what is wrong with parameters that may ask for a proposer, or None."""
    if score == "gan" and proposer is None:
        return MISSING
    if score == "gan" and jitter:
        return "a proposer's draws differ as they are; leave jitter out"
    if score != "gan" and proposer is not None:
        return 'a proposer is for score = "gan"'
    return None


def cached_file(recipe: str) -> Path:
    """Returns where the proposer of a recipe that ships is kept: in the user's cache, under the recipe's digest."""
    content = named(Path(recipe), "masks").read_bytes()
    return cache_folder() / "proposers" / f"{recipe}-{sha256(content).hexdigest()[:16]}.npz"


def located(name: str) -> Proposer:
    """Returns the proposer of a file, or of a recipe that ships, by its name.

    Raises:
        InputError: There is none, or it cannot be read.
    """
    if name not in {file.stem for file in shipped("masks")}:
        return read_proposer(Path(name))
    path = cached_file(name)
    if not path.exists():
        raise InputError(f"proposer {name!r}: has not been trained yet; run: fedcompress masks train {name}.")
    return read_proposer(path)


def proposed(
    proposer: Proposer,
    spec: ModelSpec,
    described: Described,
    sparsity: float,
    rng: np.random.Generator,
    *,
    count: Count,
    floor: int,
    nested: bool = False,
    tries: int = TRIES,
) -> Kept:
    """Returns a draw: of several the one of which the accuracy head foretells most.

    Args:
        proposer: What proposes.
        spec: The network.
        described: Its channels.
        sparsity: Fraction that goes.
        rng: Draws.
        count: What it is a fraction of.
        floor: Channels that each layer keeps in any case.
        nested: Whether equal states of `rng` give masks for two sparsities that lie one inside the other.
        tries: How many the head chooses from.
    """
    noise = np.array([noise_of(described, rng) for _ in range(tries)])
    chance = chance_of(described, rng, tries)
    staying = ranking.staying(spec)

    def values_at(of_channels: float, which: slice | int) -> NDArray[np.float64]:
        values = proposer.budgeted(described, of_channels, noise[which]) + chance[which]
        return np.where(staying, np.inf, values)

    def order_at(of_channels: float, which: int) -> Order:
        values = values_at(of_channels, which)
        return ranking.removal_order(np.split(values, np.cumsum(described.widths)[:-1]), floor)

    def kept_by(which: int) -> Kept:
        of_channels = sparsity
        for _ in range(FIXED_POINT if count == "weights" else 1):
            kept = ranking.prefix_kept(spec, order_at(of_channels, which), sparsity, count)
            of_channels = ranking.reached(spec, kept, "channels")
        return kept

    def foretold_at(of_channels: float) -> NDArray[np.float64]:
        kept = least_of(described, of_channels, floor, staying)
        masks = [largest(values, described, kept, floor) for values in values_at(of_channels, slice(None))]
        return proposer.foretold(described, of_channels, np.array(masks))

    looked_at = JUDGED if nested else (ranking.reached(spec, kept_by(0), "channels"),)
    best = int(np.argmax(np.mean([foretold_at(of) for of in looked_at], axis=0)))
    if nested:
        return ranking.prefix_kept(spec, _nested(described, partial(order_at, which=best)), sparsity, count)
    return kept_by(best)


def _nested(described: Described, order_at: Callable[[float], Order]) -> Order:
    """Returns an order in which channels go: first those that the sparsest rungs do not need, rung by rung."""
    order: Order = []
    gone: set[tuple[int, int]] = set()
    for rung in RUNGS:
        of_rung = order_at(float(rung))
        for channel in of_rung[: round(rung * sum(described.widths))]:
            if channel not in gone:
                gone.add(channel)
                order.append(channel)
    return order + [channel for channel in of_rung if channel not in gone]


def best_draw(
    proposer: Proposer,
    spec: ModelSpec,
    weights: Arrays,
    described: Described,
    sparsity: float,
    rng: np.random.Generator,
    loss: Callable[[Arrays], float],
    *,
    draws: int,
    count: Count,
    floor: int,
    nested: bool = False,
) -> Kept:
    """Returns the draw under which a network loses least before it is retrained; of equal ones the first.

    Args:
        proposer: What proposes.
        spec: The network.
        weights: Its weights.
        described: Its channels.
        sparsity: Fraction that goes.
        rng: Draws.
        loss: Says how much weights lose on validation examples.
        draws: How many are judged.
        count: What sparsity is a fraction of.
        floor: Channels that each layer keeps in any case.
        nested: As for `proposed`; draws are then judged at `JUDGED`, so that every sparsity keeps the same one.
    """

    def draw(seed: int, of: float) -> Kept:
        return proposed(
            proposer, spec, described, of, np.random.default_rng(seed), count=count, floor=floor, nested=nested
        )

    def loses(seed: int) -> float:
        return fmean(loss(restricted(spec, weights, draw(seed, of))) for of in (JUDGED if nested else [sparsity]))

    return draw(min(map(int, rng.integers(2**31, size=draws)), key=loses), sparsity)


def restricted(spec: ModelSpec, weights: Arrays, kept: Kept) -> Arrays:
    """Returns the weights with zeros where channels do not stay."""
    held: dict[int, NDArray[np.bool_]] = channels.held(spec, channels.masks_of(spec, kept))
    return [np.where(held[i], w, np.zeros_like(w)) if i in held else w for i, w in enumerate(weights)]
