"""Students that end in their teacher's frozen head: SimKD, and its variant without a feature loss.

Chen et al., CVPR 2022, "Knowledge distillation with the reused teacher classifier": the student's encoder, a projector
to the teacher's feature space, and the teacher's last layer, which nothing changes. The projector stays at inference.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import ceil, gcd
from typing import Any, Literal

from fedcompress import keras
from fedcompress.errors import InputError
from fedcompress.models.architecture import HEAD, Architecture, ModelSpec

REDUCTION = 2
"""The paper's."""

Normalisation = Literal["batch", "group", "frozen"]
"""How a projector normalises: by statistics of the batch (the paper's), by those of each example over groups of
channels (Wu and He 2018), which a client's skewed batches leave alone, or as batch normalisation has learned to, which
training then changes no more."""

GROUPS = 4
"""Most groups of channels; narrow projectors have few channels."""


def in_turn(normalisation: Normalisation) -> tuple[Normalisation, Normalisation]:
    """Returns how a student normalises while it matches features, and afterwards: statistics are learned first."""
    return ("batch", "frozen") if normalisation == "frozen" else (normalisation, normalisation)


def compatible(student: ModelSpec, teacher: ModelSpec) -> str | None:
    """Returns why the student cannot end in the teacher's head, None if it can."""
    if student.input_shape != teacher.input_shape:
        shapes = ["x".join(map(str, spec.input_shape)) for spec in (student, teacher)]
        return f"Student {student.name!r} sees inputs of {shapes[0]}, teacher {teacher.name!r} of {shapes[1]}."
    if student.classes != teacher.classes:
        return (
            f"Student {student.name!r} tells {student.classes} classes apart, teacher {teacher.name!r} "
            f"{teacher.classes}."
        )
    return None


@lru_cache(maxsize=64)
def projected(
    student: ModelSpec, teacher: ModelSpec, reduction: int = REDUCTION, normalisation: Normalisation = "batch"
) -> ModelSpec:
    """Returns the student of SimKD, "STUDENT>TEACHER": encoder, projector, and the teacher's head, frozen.

    Where both encoders end in a flattened map, the projector is the published one: convolutions 1x1 to 1 / `reduction`
    of the teacher's channels, 3x3, and 1x1 to the teacher's channels, each with batch normalisation and ReLU. Any other
    pair is bridged by two dense layers on flat features.

    The paper pools both maps to the smaller size first, for its heads follow global pooling. Heads here see the
    flattened map and need the teacher's layout: a smaller student map is resized to it, bilinearly, before the
    projector, a larger one pooled to it after the projector, by the maximum where the teacher's own map is max-pooled,
    else by the mean. (Pooling first costs a small student several points of accuracy.)

    The last ReLU is left out unless the teacher's features are known to be non-negative.

    Its head is only initialised; put the teacher's in with `ModelSpec.with_head`. Students that differ in being "batch"
    or "frozen" have the same weights, in the same order.

    Args:
        student: Gives the encoder.
        teacher: Gives the feature space and the head.
        reduction: How many times narrower the middle of the projector is than the teacher's features.
        normalisation: Of the projector.

    Raises:
        InputError: Input shapes or classes differ.
    """
    _check(student, teacher)
    target = _space(teacher)
    architecture = _Projected(student.architecture, target, teacher.classes, reduction, normalisation)
    return _ending_in_head_of(teacher, student, architecture)


@lru_cache(maxsize=64)
def head_reused(
    student: ModelSpec, teacher: ModelSpec, reduction: int = REDUCTION, normalisation: Normalisation = "batch"
) -> ModelSpec:
    """Returns the student of the `head-reuse` variant, trained on labels and logits instead of features.

    Features as long as the teacher's go into its head as they are; others through the projector of `projected`.

    Raises:
        InputError: Input shapes or classes differ.
    """
    _check(student, teacher)
    if student.features != teacher.features:
        return projected(student, teacher, reduction, normalisation)
    return _ending_in_head_of(teacher, student, student.architecture)


def _check(student: ModelSpec, teacher: ModelSpec) -> None:
    if problem := compatible(student, teacher):
        raise InputError(f"{problem} A reused head needs the same.")


def _ending_in_head_of(teacher: ModelSpec, student: ModelSpec, architecture: Architecture) -> ModelSpec:
    name = f"{student.name}>{teacher.name}"
    return ModelSpec(name, architecture, student.input_shape, student.classes, reuses_head=True)


@dataclass(frozen=True)
class _Space:
    """What a head sees.

    Attributes:
        length: Of the feature vector.
        map: (height, width, channels) of the map that is flattened into it, None if there is none.
        max_pooled: That map comes out of max-pooling.
        rectified: It is known to be non-negative.
    """

    length: int
    map: tuple[int, int, int] | None
    max_pooled: bool
    rectified: bool


@lru_cache(maxsize=64)
def _space(spec: ModelSpec) -> _Space:
    features = spec.build().get_layer(HEAD).input
    flattened = _flattened(features)
    return _Space(
        length=int(features.shape[-1]),
        map=None if flattened is None else tuple(flattened.shape[1:]),
        max_pooled=flattened is not None and isinstance(_made_by(flattened)[0], keras.layers.MaxPooling2D),
        rectified=_rectified(features),
    )


def _flattened(features: Any) -> Any:
    """Returns the map (batch, h, w, c) that becomes the features by being flattened, None if there is none."""
    layer, source = _made_by(features)
    return source if isinstance(layer, keras.layers.Flatten) and len(source.shape) == 4 else None


def _made_by(tensor: Any) -> tuple[Any, Any]:
    """Returns the layer that a symbolic tensor comes out of, and what went into it there."""
    layer, node, _ = tensor._keras_history
    return layer, layer.get_input_at(node)


def _rectified(tensor: Any) -> bool:
    """Says whether a tensor comes from a ReLU, possibly through layers that keep it non-negative."""
    layers = keras.layers
    pooling = (layers.MaxPooling2D, layers.AveragePooling2D, layers.GlobalMaxPooling2D, layers.GlobalAveragePooling2D)
    layer, source = _made_by(tensor)
    if isinstance(layer, layers.ReLU):
        return not layer.negative_slope
    if isinstance(layer, (*pooling, layers.Flatten, layers.Reshape, layers.Dropout)):
        return _rectified(source)
    return getattr(layer, "activation", None) is keras.activations.relu


class _Projected(Architecture):
    """An encoder and a projector to another model's feature space."""

    def __init__(
        self, encoder: Architecture, target: _Space, classes: int, reduction: int, normalisation: Normalisation
    ) -> None:
        self._encoder = encoder
        self._target = target
        self._classes = classes
        self._reduction = reduction
        self._normalisation = normalisation

    @property
    def key(self) -> tuple[Any, ...]:
        return type(self), self._encoder.key, self._target, self._reduction, self._normalisation

    def features(self, inputs: Any) -> Any:
        features = self._encoder.features(inputs)
        source = _flattened(features)
        if source is None or self._target.map is None:
            return self._dense(features)
        return keras.layers.Flatten()(self._convolutions(source, *self._target.map))

    def _convolutions(self, x: Any, height: int, width: int, channels: int) -> Any:
        hidden = max(channels // self._reduction, 1)
        x = _enlarged(x, height, width)
        for kernel in (1, 3):
            x = _rectify(self._normalise(keras.layers.Conv2D(hidden, kernel, padding="same", use_bias=False)(x)))
        x = self._last(keras.layers.Conv2D(channels, 1, use_bias=False)(x))
        return _pooled(x, height, width, by_maximum=self._target.max_pooled)

    def _dense(self, x: Any) -> Any:
        """Two layers, of which the first is never narrower than there are classes."""
        length = self._target.length
        hidden = max(length // self._reduction, self._classes)
        x = _rectify(self._normalise(keras.layers.Dense(hidden, use_bias=False)(x)))
        return self._last(keras.layers.Dense(length, use_bias=False)(x))

    def _last(self, x: Any) -> Any:
        x = self._normalise(x)
        return _rectify(x) if self._target.rectified else x

    def _normalise(self, x: Any) -> Any:
        if self._normalisation == "group":
            groups, channels = gcd(GROUPS, x.shape[-1]), x.shape[-1]
            if len(x.shape) == 2 and groups == channels:  # a number that is normalised alone is always zero
                groups = 1
            return keras.layers.GroupNormalization(groups, epsilon=1e-5)(x)
        # The paper's momentum and epsilon: Keras' 0.99 would still remember the start after a client's local training.
        trainable = self._normalisation == "batch"
        return keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-5, trainable=trainable)(x)


def _rectify(x: Any) -> Any:
    return keras.layers.ReLU()(x)


def _enlarged(x: Any, height: int, width: int) -> Any:
    """Returns a map (batch, h, w, c) with each side interpolated that is smaller than it should be."""
    sizes = (max(x.shape[1], height), max(x.shape[2], width))
    return x if x.shape[1:3] == sizes else keras.layers.Resizing(*sizes, interpolation="bilinear")(x)


def _pooled(x: Any, height: int, width: int, *, by_maximum: bool) -> Any:
    """Returns a map (batch, h, w, c) pooled to a size: without overlap if that gives it, as in 7 -> 4."""
    pool = keras.layers.MaxPooling2D if by_maximum else keras.layers.AveragePooling2D
    sizes, wanted = tuple(x.shape[1:3]), (height, width)
    if sizes == wanted:
        return x
    pairs = list(zip(sizes, wanted, strict=True))
    windows = [ceil(size / want) for size, want in pairs]
    if all(ceil(size / window) == want for (size, want), window in zip(pairs, windows, strict=True)):
        return pool(windows, windows, padding="same")(x)
    strides = [size // want for size, want in pairs]
    return pool([s - (want - 1) * stride for (s, want), stride in zip(pairs, strides, strict=True)], strides)(x)
