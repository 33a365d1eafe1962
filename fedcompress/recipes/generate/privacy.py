"""What a chain says of its privacy: one wording for terminal, page and files, and a row for each release."""

from __future__ import annotations

from collections.abc import Sequence
from math import isinf

from fedcompress.privacy.accounting import Release, epsilon_of
from fedcompress.recipes.generate.folder import Row
from fedcompress.recipes.generate.recipe import GeneratorRecipe


def privacy_lines(recipe: GeneratorRecipe, rows: Sequence[Row]) -> list[str]:
    """Returns what has to be known of the privacy of a chain's generators, beside any figure of it."""
    lines = []
    for row in rows:
        if row.get("epsilon_of_chain") is not None:
            lines.append(
                f"{row['step']}: epsilon {row['epsilon_of_chain']:.3g} at delta {row['delta']:g} of the chain up to "
                "here (whether an example is there or not): all discriminators that saw the data learned by DP-SGD."
            )
        elif row.get("epsilon_of_step") is not None:
            lines.append(
                f"{row['step']}: epsilon {row['epsilon_of_step']:.3g} at delta {row['delta']:g} is of that step alone; "
                "the teacher saw the data without privacy, so the chain has no epsilon."
            )
    if not lines:
        return ["No generator is private: the teacher saw the data as they are."] if rows else []
    lines.append(
        "Not covered: kernel and Frechet distances, which compare samples with training examples as they are, and the "
        "number of examples."
    )
    if recipe.private.noise == "seed":
        lines.append("The noise comes from the seed, so that runs repeat: who knows the seed can undo it.")
    else:
        lines.append(
            "Each time that a private step is done anew (--from) it has other noise, and has released once more: what "
            "was released before in this directory is not in these figures, and adds to them."
        )
    return lines


def ledger(recipe: GeneratorRecipe, rows: Sequence[Row]) -> list[tuple[str, ...]]:
    """Returns who released what, in the order in which it was, and what all of it cost by then."""
    lines, so_far = list[tuple[str, ...]](), list[Release]()
    for row in rows:
        if row["step"] == "teacher" and not recipe.whole:
            so_far.append(Release("generator and discriminator", 0.0))
            lines.append((row["step"], so_far[-1].what, "none", "-", "-", "infinite"))
        for release in row.get("releases", ()):
            so_far.append(Release(**release))
            last = so_far[-1]
            spent = epsilon_of(so_far, row["delta"])
            epsilon = "infinite" if isinf(spent) else f"{spent:.4g}"
            lines.append(
                (row["step"], last.what, f"{last.noise:.4g}", f"{last.sampling:.4g}", f"{last.steps:,}", epsilon)
            )
    return lines
