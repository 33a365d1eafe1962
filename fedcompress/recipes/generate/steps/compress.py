"""compress: channels that are off leave, and what remains is written as files for devices.

With `[compress] epochs` the small generator is then fine-tuned by the student's loss without its gammas, on the same
pairs, as the code of GAN Slimming does with a subnetwork.
"""

from __future__ import annotations

import numpy as np

from fedcompress.errors import RunError
from fedcompress.generators.sampling import render
from fedcompress.generators.slim import LAYERS, SlimSpec, on, sliced
from fedcompress.generators.spec import Gan
from fedcompress.recipes.generate.folder import Row, Tree
from fedcompress.recipes.generate.measuring import EXPORT, as_small, exported, figures, grid, judged, plainly, unrounded
from fedcompress.recipes.generate.pair_epochs import PairEpochs
from fedcompress.recipes.generate.workshop import Workshop
from fedcompress.wire.content import Arrays

TOLERANCE = 1e-5
"""Of a pixel in [0, 1]: sums over fewer channels are rounded otherwise."""
COMPARED = 500
"""Images."""


def run(workshop: Workshop) -> None:
    """Leaves the small generator: plain weights, rounded to the student's bits.

    Raises:
        RunError: A layer has no channel left, or the small generator makes other images than the student.
    """
    if not workshop.recipe.compress.epochs:
        workshop.observer.started("compress", 0, 0)
    spec, folder = workshop.student, workshop.folders["compress"]
    student = workshop.folders["student"].result()["generator"]
    for layer, kept in zip(LAYERS, on(student), strict=True):
        if not kept.any():
            raise RunError(
                f"compress: the student's layer {layer!r} has no channel left at student.rho = "
                f"{workshop.recipe.student.rho:g}; run again with --from student and a smaller rho."
            )
    small, plain = sliced(spec, student)
    same = _difference(workshop, spec, student, small, plain)
    grid(workshop, small, plain, folder.path)
    row = {"bits": spec.bits, "widths": list(small.networks.widths), **same}
    result: Tree = {"widths": list(small.networks.widths)}
    if workshop.recipe.compress.epochs:
        tuned = _tuned(workshop, small, plain)
        plain, result = tuned.generator, {**result, "discriminator": tuned.discriminator}
    row |= figures(workshop, unrounded(small), plain)
    row |= exported(workshop, small, plain, folder.path / EXPORT, score=True)
    folder.finish({"generator": plain, **result}, row)


def _tuned(workshop: Workshop, small: SlimSpec, plain: Arrays) -> Gan:
    """Returns the small generator, plain and rounded, and its discriminator, after further epochs on the pairs."""
    total, folder = workshop.recipe.compress.epochs, workshop.folders["compress"]
    epochs = PairEpochs(workshop, "compress", small, total)

    def begin() -> Tree:
        return epochs.begin(Gan(plain, workshop.folders["student"].result()["discriminator"]))

    def shown(state: Tree) -> None:
        grid(workshop, small, state["generator"], folder.path)

    state, _ = workshop.epochs("compress", total, begin, epochs.train, shown)
    return Gan(plainly(small, state["generator"]), state["discriminator"])


def _difference(workshop: Workshop, spec: SlimSpec, student: Arrays, small: SlimSpec, plain: Arrays) -> Row:
    """Returns the largest difference of a pixel between the student, channels off and there, and the small generator.

    Without rounded activations it is that of sums; with them, a sum that falls on the border of two steps may move by
    one. The first is what has to be small.
    """
    pairs = judged(workshop).first(COMPARED)
    z, labels = pairs.z(spec.noise), pairs.labels
    masked, weights = as_small(spec, plainly(spec, student))
    images = [render(unrounded(s), w, z, labels) for s, w in ((masked, weights), (small, plain))]
    difference = float(np.abs(images[0] - images[1]).max())
    if difference > TOLERANCE:
        raise RunError(
            f"compress: the small generator's pixels differ by up to {difference:.2g} from the student's; expected at "
            f"most {TOLERANCE:g}."
        )
    rounded = np.abs(render(spec, student, z, labels) - render(small, plain, z, labels)).max()
    return {"difference": difference, "difference_rounded": float(rounded)}
