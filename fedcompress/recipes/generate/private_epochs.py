"""Epochs in which a discriminator learns by DP-SGD, and what they cost together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from functools import lru_cache

from fedcompress.errors import InputError
from fedcompress.generators.dp_sgd import DpSgd, Pace
from fedcompress.generators.private_training import train_privately
from fedcompress.generators.spec import Gan, GanSpec
from fedcompress.privacy.accounting import Release, epsilon_of
from fedcompress.privacy.noise import source_of
from fedcompress.recipes.generate.folder import Row, Tree
from fedcompress.recipes.generate.recipe import GeneratorRecipe, StepName
from fedcompress.recipes.generate.workshop import Workshop, gan_of, tree_of

LARGEST_NOISE = 1e4
"""Above it, a search for noise has failed."""


def begin(recipe: GeneratorRecipe, gan: Gan) -> Tree:
    """Returns the state before the first private epoch."""
    return {**tree_of(gan), "releases": [], "pace": list(Pace(float(recipe.private.discriminator_steps)))}


def train(
    workshop: Workshop, step: StepName, spec: GanSpec, state: Tree, epoch: int, before: Sequence[Row] = ()
) -> tuple[Tree, Row]:
    """Returns the state after an epoch, and its row; optimizers start anew in it.

    Args:
        workshop: What it is done with.
        step: Of the chain.
        spec: The GAN.
        state: After the epoch before.
        epoch: From 1.
        before: Releases of the private steps before this one.
    """
    settings, examples = workshop.recipe.private, workshop.data.train
    batch_size, steps = plan(workshop.recipe, step, len(examples))
    trained = train_privately(
        spec,
        gan_of(state),
        examples,
        DpSgd(
            clip=settings.clip,
            noise=noise_of(workshop.recipe, len(examples)),
            batch_size=batch_size,
            discriminator_steps=settings.discriminator_steps,
            adaptive=settings.adaptive,
        ),
        steps=steps,
        rng=workshop.rng(f"{step}.train", epoch),
        noise=source_of(settings.noise, workshop.rng(f"{step}.noise", epoch)),
        pace=Pace(*state["pace"]),
    )
    row = {"generator_loss": trained.generator_loss, "discriminator_loss": trained.discriminator_loss}
    releases = [*state["releases"], *map(asdict, trained.releases)]
    row["discriminator_steps"] = int(trained.pace.every)
    row["epsilon_so_far"] = cost(workshop.recipe, [*before, *releases])
    after = {**tree_of(trained.gan), "releases": releases, "pace": list(trained.pace)}
    return after, row


def plan(recipe: GeneratorRecipe, step: StepName, examples: int) -> tuple[int, int]:
    """Returns the expected batch size of a private step, and its discriminator's steps in an epoch."""
    batch_size = recipe.teacher.batch_size if step == "teacher" else recipe.private.batch_size
    return min(batch_size, examples), max(1, round(examples / batch_size))


def problems(recipe: GeneratorRecipe, examples: int, asked: Sequence[StepName]) -> Iterator[str]:
    """Yields why private steps could not do what they are for; all of it is known beforehand.

    Args:
        recipe: Of the chain.
        examples: That it learns from.
        asked: Steps that are to be done.
    """
    private = {step: epochs for step, epochs in epochs_of(recipe).items() if step in asked}
    for step, epochs in private.items():
        steps = epochs * plan(recipe, step, examples)[1]
        if steps < recipe.private.discriminator_steps:
            yield (
                f"private.discriminator_steps: received {recipe.private.discriminator_steps}, but step {step!r} has "
                f"{steps} steps of the discriminator in all (epochs * examples / batch_size): its generator would "
                "never be trained; lower it, or raise the epochs."
            )
    try:
        if private:
            noise_of(recipe, examples)
    except InputError as error:
        yield from error.problems


def epochs_of(recipe: GeneratorRecipe) -> dict[StepName, int]:
    """Returns the private steps of a recipe, and the epochs of each."""
    epochs: dict[StepName, int] = {"teacher": recipe.teacher.epochs} if recipe.whole else {}
    return {**epochs, "private": recipe.private.epochs}


def cost(recipe: GeneratorRecipe, releases: Iterable[Row]) -> float:
    """Returns the epsilon of releases as a checkpoint holds them."""
    return epsilon_of([Release(**release) for release in releases], recipe.private.delta)


def planned(recipe: GeneratorRecipe, examples: int, noise: float) -> list[Release]:
    """Returns all that the private steps of a recipe will release."""
    releases = []
    for step, count in epochs_of(recipe).items():
        batch_size, steps = plan(recipe, step, examples)
        releases.append(Release("discriminator", noise, batch_size / examples, count * steps))
    return releases


@lru_cache(maxsize=16)
def noise_of(recipe: GeneratorRecipe, examples: int) -> float:
    """Returns the least noise, to 1e-3 of it, with which all private steps together keep to the budget.

    Raises:
        InputError: None does.
    """
    settings = recipe.private

    def costs(noise: float) -> float:
        return epsilon_of(planned(recipe, examples, noise), settings.delta)

    low, high = 0.0, 0.5
    while costs(high) > settings.epsilon:
        low, high = high, 2.0 * high
        if high > LARGEST_NOISE:
            raise InputError(
                f"private.epsilon: received {settings.epsilon:g}, which no noise up to {LARGEST_NOISE:g} reaches at "
                f"delta {settings.delta:g}; raise it."
            )
    while high - low > 1e-3 * high:
        middle = (low + high) / 2.0
        low, high = (low, middle) if costs(middle) <= settings.epsilon else (middle, high)
    return high


def spent(workshop: Workshop, state: Tree, before: Iterable[Row] = ()) -> Row:
    """Returns what a private step's figures say of its cost.

    Args:
        workshop: What it was done with.
        state: After its last epoch.
        before: Releases of private steps before it.
    """
    recipe, own = workshop.recipe, list(state["releases"])
    return {
        "epsilon_of_step": cost(recipe, own),
        "epsilon_of_chain": cost(recipe, [*before, *own]) if recipe.whole else None,
        "delta": recipe.private.delta,
        "noise": noise_of(recipe, len(workshop.data.train)),
        "noise_from": recipe.private.noise,
        "releases": own,
    }
