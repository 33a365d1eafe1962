"""The typed recipe: load, override, validate, write. Every key is documented where it is declared.

Structure only: what a method accepts as its own parameters is validated by `runner.py`, which knows the plug-ins.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from hashlib import sha256
from itertools import product
from math import prod
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from fedcompress.scenario.document import Document
from fedcompress.scenario.sections import (
    MOST_RUNS,
    Fraction,
    Name,
    Positive,
    Section,
    TrackingSettings,
    TrainingSettings,
)

OWN = {"model": '["mlp:8", "mlp:4"]', "dataset": '["digits", "mnist-5k"]'}
"""Keys of `each` that are no parameters of a method, each with an example."""


class RecipeData(Section):
    """`[data]`: what is learned."""

    dataset: str = Field("mnist-5k", description="name of a data set, npz:FILE, or hf:NAME")
    classes: tuple[int, ...] | None = Field(None, strict=False, description="keep only these labels, as in [6, 9]")
    examples: Positive | None = Field(None, description="training examples that are used, drawn with their label mix")
    validation: Fraction = Field(0.1, description="fraction of the training examples that every choice is made by")
    unlabelled: int = Field(
        0, ge=0, description="further training inputs, drawn without their labels: what a teacher can say more about"
    )


class RecipeTraining(TrainingSettings):
    """`[training]`: how models are trained before, while and after they are compressed."""

    epochs: Positive = Field(10, description="passes over the training examples")
    schedule: Literal["cosine", "constant"] = Field(
        "cosine", description="cosine: the learning rate falls to zero along half a cosine"
    )
    learning_rate_decay: float = Field(
        1.0, gt=0.0, le=1.0, description='factor from one epoch to the next, with schedule = "constant" alone'
    )
    patience: int = Field(
        0,
        ge=0,
        description="epochs in a row without a gain of validation loss after which a training ends, counted from its "
        "final sparsity on; 0: it never ends early",
    )
    min_delta: float = Field(0.0, ge=0.0, description="of validation loss, up to which a gain is none")

    @model_validator(mode="after")
    def _one_schedule(self) -> Self:
        if self.schedule == "cosine" and self.learning_rate_decay != 1.0:
            raise ValueError(
                f'learning_rate_decay: received {self.learning_rate_decay:g}, expected 1 beside schedule = "cosine", '
                'which has no use for it; set schedule = "constant", or leave the decay out'
            )
        return self


class ExperimentSettings(Section):
    """`[[experiments]]`: one method with its parameters, or, with `each`, one experiment for every value.

    `each` maps a parameter, "model" or "dataset" to a list of values; with several keys, every combination is an
    experiment.
    """

    name: Name | None = Field(None, min_length=1, pattern=r"^[^/\\\x00-\x1f]+$", description="default: what differs")
    method: str = Field("plain", description="name of a method")
    model: str | None = Field(None, description="instead of the recipe's")
    dataset: str | None = Field(None, description="instead of that of [data]")
    epochs: Positive | None = Field(None, description="instead of [training] epochs")
    params: dict[str, Any] = Field(default_factory=dict, description="the method's own parameters")
    each: dict[str, list[Any]] = Field(default_factory=dict, description="parameter -> values, an experiment for each")

    @model_validator(mode="after")
    def _each_has_its_values(self) -> Self:
        if empty := [key for key, values in self.each.items() if not values]:
            raise ValueError(f"each.{empty[0]}: the list is empty; expected at least one value")
        for key, example in OWN.items():
            if other := [value for value in self.each.get(key, ()) if not isinstance(value, str)]:
                raise ValueError(f"each.{key}: received {other[0]!r}; expected names, as in {example}")
        return self

    @property
    def label(self) -> str:
        """The name, or what there is to tell it by."""
        parts = [self.method, *filter(None, (self.model, self.dataset)), *_named(self.params)]
        return self.name or " ".join(parts)

    def single(self) -> Iterator[ExperimentSettings]:
        """Yields the experiments of `each`, or this one."""
        for values in product(*self.each.values()):
            chosen = dict(zip(self.each, values, strict=True))
            own = {key: chosen.pop(key) for key in OWN if key in chosen}
            label = " ".join([self.name, *own.values(), *_named(chosen)]) if self.name else None
            table = self.model_dump(exclude={"each"}) | own
            yield ExperimentSettings(**table | {"name": label, "params": self.params | chosen})


def _named(params: Mapping[str, Any]) -> list[str]:
    return [f"{key} {value}" for key, value in params.items()]


class Recipe(Document):
    """Experiments on one data set; `Recipe.load` reads it from a file."""

    name: Name = Field(min_length=1, pattern=r"^[\w. -]+$", description="letters, digits, space, . - and _")
    seeds: tuple[Annotated[int, Field(ge=0)], ...] = Field(
        (1,), min_length=1, strict=False, description="each experiment runs once with each"
    )
    model: str = Field("two-layer-cnn", description="name of a model, or a Keras file: FILE.keras, FILE.h5")
    data: RecipeData = Field(default_factory=RecipeData)
    tflite: bool = Field(
        True, description="convert results of the first seed to TFLite, as float and as int8, and time both"
    )
    training: RecipeTraining = Field(default_factory=RecipeTraining)
    tracking: TrackingSettings | None = None
    summary: bool = Field(
        False, description="close with layers, neurons, method, bits, sparsity, accuracies and size of each model"
    )
    experiments: tuple[ExperimentSettings, ...] = Field(min_length=1, strict=False)

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        runs = sum(prod(map(len, e.each.values())) for e in self.experiments) * len(self.seeds)
        if runs > MOST_RUNS:
            raise ValueError(
                f"experiments: {runs:,} are more than a recipe may have, {MOST_RUNS:,}; use several recipes"
            )
        counts = Counter(experiment.label for experiment in self.plan())
        if twice := sorted(label for label, count in counts.items() if count > 1):
            raise ValueError(f"experiments: two are called {twice[0]!r}; give each a name of its own")
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError("seeds have to differ from each other")
        return self

    def table(self) -> dict[str, Any]:
        table = super().table()
        training = table["training"]
        later = {"precision": "float32", "patience": 0, "min_delta": 0.0}
        table["training"] = {key: value for key, value in training.items() if (key, value) not in later.items()}
        if not self.summary:
            del table["summary"]
        return table  # so that a digest is the same as before there were these keys

    @property
    def digest(self) -> str:
        """SHA-256 of everything that decides the results."""
        return sha256(self.toml().encode()).hexdigest()

    def plan(self) -> list[ExperimentSettings]:
        """Returns the experiments, one for each value where a list of values is given."""
        return [single for experiment in self.experiments for single in experiment.single()]


def one_method(method: str, params: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the table of a recipe that compares one method with no compression."""
    plain = [] if method == "plain" else [{"method": "plain"}]
    return {"name": method, "experiments": [*plain, {"method": method, "params": dict(params)}]}
