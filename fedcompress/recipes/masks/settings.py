"""The typed recipe of `fedcompress masks`: which networks are trained, which masks are tried, how the GAN learns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from hashlib import sha256
from itertools import product
from typing import Annotated, Literal, NamedTuple, Self

from pydantic import Field, model_validator

from fedcompress.models.saved import SUFFIXES
from fedcompress.recipes.recipe import RecipeTraining
from fedcompress.scenario.document import Document
from fedcompress.scenario.sections import Fraction, Name, Positive, Section

Criterion = Literal["l1", "equal", "lamp", "random"]
Share = Annotated[float, Field(gt=0.0, lt=1.0)]
Some = Annotated[int, Field(ge=0)]


class Source(NamedTuple):
    """What tells a network of the archive from others: an architecture, a data set, an initialisation."""

    model: str
    data: str
    seed: int

    def __str__(self) -> str:
        return f"{self.model} on {self.data}, seed {self.seed}"


class MaskData(Section):
    """`[data]`: what networks learn."""

    examples: Positive | None = Field(None, description="training examples that are used, drawn with their label mix")
    validation: Fraction = Field(0.2, description="fraction of the training examples that masks are judged by")


class Trying(Section):
    """`[trying]`: which masks are tried on each network, and how each is retrained."""

    sparsities: tuple[Share, ...] = Field((0.5, 0.8, 0.9), min_length=1, strict=False, description="of the channels")
    criteria: tuple[Criterion, ...] = Field(
        ("l1", "equal", "lamp", "random"),
        min_length=1,
        strict=False,
        description="what ranks channels; equal: the L1 norm with equal shares in each layer",
    )
    draws: Positive = Field(
        5, description="masks of each criterion and sparsity: its own, and others that are randomised more and more"
    )
    mixed: Some = Field(
        20, description="masks of each sparsity by features of channels in random proportions, with random layer widths"
    )
    bred: Some = Field(
        20, description="masks of each sparsity that are bred from those that retrained best so far on the same network"
    )
    jitter: float = Field(0.3, ge=0.0, description="largest standard deviation of noise on the logarithm of scores")
    layer_jitter: float = Field(0.5, ge=0.0, description="the same, one draw for all channels of a layer")
    floor: Positive = Field(1, description="channels that each layer keeps in any case")
    epochs: Positive = Field(2, description="of retraining, the same for every mask")
    learning_rate: float | None = Field(None, gt=0.0, description="of retraining; default: [training] learning_rate")

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        _refuse_twice(sparsities=self.sparsities, criteria=self.criteria)
        return self


class Learning(Section):
    """`[proposer]`: how the GAN is trained on the archive."""

    steps: Positive = Field(3000, description="of the optimizers")
    batch: Positive = Field(32, description="masks in a step")
    learning_rate: float = Field(1e-3, gt=0.0, description="of both networks")
    good: Share = Field(0.25, description="the best part of each network's masks at a sparsity: those that are real")
    adversarial: float = Field(0.3, ge=0.0, description="weight of the discriminator's verdict on draws")
    accuracy: float = Field(3.0, ge=0.0, description="weight of the accuracy that the head foretells of draws")
    likelihood: float = Field(1.0, ge=0.0, description="weight of how unlikely the archive's good masks are as draws")
    diversity: float = Field(0.02, ge=0.0, description="weight of the mode-seeking term between two draws")
    blur: float = Field(
        0.2, ge=0.0, description="standard deviation of noise on normalised features in training, against overfitting"
    )
    held_out: Share = Field(0.15, description="part of the networks that is not learned from: one at least, never all")
    features: Literal["all", "position"] = Field(
        "all", description="position: only where a channel is, not what it is like"
    )


class MaskRecipe(Document):
    """An archive and its proposer; `MaskRecipe.load` reads it from a file."""

    name: Name = Field(min_length=1, pattern=r"^[\w. -]+$", description="letters, digits, space, . - and _")
    seeds: tuple[Annotated[int, Field(ge=0)], ...] = Field((1, 2, 3, 4), min_length=1, strict=False)
    models: tuple[str, ...] = Field(("lenet5",), min_length=1, strict=False, description="names of models")
    datasets: tuple[str, ...] = Field(("digits",), min_length=1, strict=False, description="names of data sets")
    data: MaskData = Field(default_factory=MaskData)
    training: RecipeTraining = Field(default_factory=RecipeTraining)
    trying: Trying = Field(default_factory=Trying)
    proposer: Learning = Field(default_factory=Learning)

    @model_validator(mode="after")
    def _sensible(self) -> Self:
        _refuse_twice(seeds=self.seeds, models=self.models, datasets=self.datasets)
        if files := [name for name in self.models if name.endswith(SUFFIXES)]:
            raise ValueError(f"models: {files[0]} is trained already; an archive needs initialisations: name a model")
        return self

    @property
    def digest(self) -> str:
        """SHA-256 of everything that decides the proposer."""
        return sha256(self.toml().encode()).hexdigest()

    @property
    def budget(self) -> str:
        """Digest of what has to be equal for masks to be compared: data, training, retraining."""
        return _digest([self.data, self.training, self.trying.epochs, self.trying.learning_rate])

    @property
    def tried(self) -> str:
        """Digest of what has to be equal for a network's masks to be those of this recipe: all of `[trying]`."""
        return _digest(self.trying)

    def sources(self) -> list[Source]:
        """Returns the networks, an initialisation of all before the next one."""
        return [Source(model, data, seed) for seed, data, model in product(self.seeds, self.datasets, self.models)]


def _refuse_twice(**lists: Sequence[object]) -> None:
    for key, values in lists.items():
        if twice := [value for value, count in Counter(values).items() if count > 1]:
            raise ValueError(f"{key}: some are named twice: {', '.join(map(str, twice))}; expected each once")


def _digest(values: object) -> str:
    return sha256(repr(values).encode()).hexdigest()[:16]
