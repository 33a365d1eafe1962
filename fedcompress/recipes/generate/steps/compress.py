"""compress: channels that are off leave, and what remains is written as files for devices."""

from __future__ import annotations

import numpy as np

from fedcompress import keras
from fedcompress.errors import RunError
from fedcompress.generators.sampling import render
from fedcompress.generators.slim import LAYERS, SlimSpec, on, sliced
from fedcompress.recipes.generate.folder import Row
from fedcompress.recipes.generate.measuring import EXPORT, as_small, exported, figures, grid, judged, unrounded
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
    row |= figures(workshop, unrounded(small), plain)
    row |= exported(workshop, small, plain, folder.path / EXPORT, score=True)
    folder.finish({"generator": plain, "widths": list(small.networks.widths)}, row)


def _difference(workshop: Workshop, spec: SlimSpec, student: Arrays, small: SlimSpec, plain: Arrays) -> Row:
    """Returns the largest difference of a pixel between the student, channels off and there, and the small generator.

    Without rounded activations it is that of sums; with them, a sum that falls on the border of two steps may move by
    one. The first is what has to be small.
    """
    pairs = judged(workshop).first(COMPARED)
    z, labels = pairs.z(spec.noise), pairs.labels
    multiplied = [np.asarray(a) for a in spec.networks.rounded([keras.tf.constant(a) for a in student])]
    masked, weights = as_small(spec, multiplied)
    images = [render(unrounded(s), w, z, labels) for s, w in ((masked, weights), (small, plain))]
    difference = float(np.abs(images[0] - images[1]).max())
    if difference > TOLERANCE:
        raise RunError(
            f"compress: the small generator's pixels differ by up to {difference:.2g} from the student's; expected at "
            f"most {TOLERANCE:g}."
        )
    rounded = np.abs(render(spec, student, z, labels) - render(small, plain, z, labels)).max()
    return {"difference": difference, "difference_rounded": float(rounded)}
