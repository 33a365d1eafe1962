"""What a generator of the chain costs, and how good it is: the figures of a step, and the files for devices."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from fedcompress import keras
from fedcompress.compression import tflite
from fedcompress.compression.quantisers import FLOAT_BITS
from fedcompress.data.federated import Examples
from fedcompress.generators.export import as_keras, inputs_of
from fedcompress.generators.packed import pack
from fedcompress.generators.quality import grid_png
from fedcompress.generators.sampling import as_pixels, sampling_cost
from fedcompress.generators.slim import SMALL, SlimSpec
from fedcompress.generators.spec import GanSpec
from fedcompress.recipes.generate.folder import Row
from fedcompress.recipes.generate.pairs import Pairs
from fedcompress.recipes.generate.workshop import Workshop
from fedcompress.results.run.missing import optional
from fedcompress.wire.content import Arrays

GRID = "samples.png"
COLUMNS = 10
"""Images of each class in a grid."""
EXPORT = "generator"
"""Stem of the files for devices."""


def grid(workshop: Workshop, spec: GanSpec, generator: Arrays, folder: Path) -> None:
    """Writes samples of a generator, the same noise for every step of the chain."""
    labels = np.repeat(np.arange(workshop.classes, dtype=np.int32), COLUMNS)
    drawn = Pairs(workshop.rng("figures.grid").integers(0, 2**62, -(-len(labels) // 1000)), labels)
    images = drawn.images(spec, generator)
    grid_png(images.x, images.y, folder / GRID)


def judged(workshop: Workshop) -> Pairs:
    """Returns the noise and labels that every step's generator is judged by."""
    return Pairs.drawn(workshop.recipe.figures.samples, workshop.classes, workshop.rng("figures.samples"))


def figures(workshop: Workshop, spec: GanSpec, generator: Arrays) -> Row:
    """Returns what a generator costs by its shape, and how good its samples are."""
    samples = judged(workshop).images(spec, generator)
    parameters = sum(array.size for array in generator)
    return {
        "parameters": parameters,
        "float32_bytes": 4 * parameters,
        "multiply_adds": sampling_cost(spec),
        **workshop.quality(samples),
    }


def plainly(spec: SlimSpec, generator: Arrays) -> Arrays:
    """Returns a generator's weights as they are computed with: kernels rounded, gammas multiplied out."""
    return [np.asarray(tensor) for tensor in spec.networks.rounded([keras.tf.constant(a) for a in generator])]


def exported(workshop: Workshop, spec: SlimSpec, plain: Arrays, stem: Path, *, score: bool) -> Row:
    """Writes a generator as Keras, TFLite (float, int8) and packed file; returns their sizes and latencies.

    Args:
        workshop: What it was made with.
        spec: Its widths and bits.
        plain: Its weights, multiplied out and rounded.
        stem: Path of the files without suffix.
        score: Also say how good the int8 file's samples are.
    """
    row: Row = {"bits": spec.bits, "packed_bytes": None, "tflite_bytes": None, "latency_us": None}
    row |= {"int8_bytes": None, "int8_latency_us": None, "int8_score": None}
    packed = pack(spec, plain)
    stem.with_suffix(".packed").write_bytes(packed)
    row["packed_bytes"] = len(packed)
    model, missing = as_keras(spec.networks, plain), list[str]()
    model.save(stem.with_suffix(".keras"))
    if workshop.recipe.compress.tflite:
        with optional(stem.with_suffix(".tflite").name, missing):
            row |= _tflite(workshop, model, spec, stem, score=score)
    return row | ({"missing": "; ".join(missing)} if missing else {})


def _tflite(workshop: Workshop, model: Any, spec: SlimSpec, stem: Path, *, score: bool) -> Row:
    drawn = judged(workshop)
    inputs = inputs_of(drawn.z(spec.noise), drawn.labels, workshop.classes)
    plain = tflite.convert(model)
    int8 = tflite.convert(model, "int8", inputs)
    stem.with_suffix(".tflite").write_bytes(plain)
    stem.with_name(f"{stem.name}-int8.tflite").write_bytes(int8)
    row: Row = {
        "tflite_bytes": len(plain),
        "latency_us": tflite.latency(plain, inputs),
        "int8_bytes": len(int8),
        "int8_latency_us": tflite.latency(int8, inputs),
    }
    if score:
        row["int8_score"] = workshop.score(Examples(as_pixels(tflite.predict(int8, inputs)), drawn.labels))
    return row


def as_small(spec: GanSpec, plain: Arrays) -> tuple[SlimSpec, Arrays]:
    """Returns a reference generator's weights as those of a small one of full width."""
    return SlimSpec(SMALL, spec.input_shape, spec.classes), plain


def unrounded(spec: SlimSpec) -> SlimSpec:
    """Returns the same networks without any rounding: what a file for devices computes with rounded weights."""
    return replace(spec, bits=FLOAT_BITS)
