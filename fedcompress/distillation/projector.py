"""Students that end in their teacher's frozen head: SimKD, and its variant without a feature loss.

Chen et al., CVPR 2022, "Knowledge distillation with the reused teacher classifier": the student's encoder, a projector
to the teacher's feature space, and the teacher's last layer, which nothing changes. The projector stays at inference.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from fedcompress import keras
from fedcompress.errors import InputError
from fedcompress.models.architecture import HEAD, Architecture, ModelSpec


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
def projected(student: ModelSpec, teacher: ModelSpec) -> ModelSpec:
    """Returns the student of SimKD, "STUDENT>TEACHER": encoder, projector, and the teacher's head, frozen.

    Where both encoders end in a flattened map, the projector is the published one: convolutions 1x1 to half the
    teacher's channels, 3x3, and 1x1 to the teacher's channels, each with batch normalisation and ReLU. The paper pools
    both maps to the smaller size, for its heads follow global pooling; heads here see the flattened map and need the
    teacher's layout. So a larger student map is average-pooled to the teacher's size, and a smaller one is resized to
    it bilinearly. Any other pair is bridged by two dense layers on flat features.

    The last ReLU is left out unless the teacher's features are known to be non-negative.

    Its head is only initialised; put the teacher's in with `ModelSpec.with_head`.

    Raises:
        InputError: Input shapes or classes differ.
    """
    _check(student, teacher)
    target = _space(teacher)
    architecture = _Projected(student.architecture, target, teacher.classes)
    return _ending_in_head_of(teacher, student, architecture)


@lru_cache(maxsize=64)
def head_reused(student: ModelSpec, teacher: ModelSpec) -> ModelSpec:
    """Returns the student of the `head-reuse` variant, trained on labels and logits instead of features.

    Features as long as the teacher's go into its head as they are; others through the projector of `projected`.

    Raises:
        InputError: Input shapes or classes differ.
    """
    _check(student, teacher)
    if student.features != teacher.features:
        return projected(student, teacher)
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
        rectified: It is known to be non-negative.
    """

    length: int
    map: tuple[int, int, int] | None
    rectified: bool


@lru_cache(maxsize=64)
def _space(spec: ModelSpec) -> _Space:
    features = spec.build().get_layer(HEAD).input
    flattened = _flattened(features)
    return _Space(
        length=int(features.shape[-1]),
        map=None if flattened is None else tuple(flattened.shape[1:]),
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

    def __init__(self, encoder: Architecture, target: _Space, classes: int) -> None:
        self._encoder = encoder
        self._target = target
        self._classes = classes

    @property
    def key(self) -> tuple[Any, ...]:
        return type(self), self._encoder.key, self._target

    def features(self, inputs: Any) -> Any:
        features = self._encoder.features(inputs)
        source = _flattened(features)
        if source is None or self._target.map is None:
            return self._dense(features)
        return keras.layers.Flatten()(self._convolutions(source, *self._target.map))

    def _convolutions(self, x: Any, height: int, width: int, channels: int) -> Any:
        x = _resized(x, height, width)
        half = max(channels // 2, 1)
        for filters, kernel in ((half, 1), (half, 3)):
            x = _rectify(_normalise(keras.layers.Conv2D(filters, kernel, padding="same", use_bias=False)(x)))
        return self._last(keras.layers.Conv2D(channels, 1, use_bias=False)(x))

    def _dense(self, x: Any) -> Any:
        """Two layers, of which the first is never narrower than there are classes."""
        length = self._target.length
        hidden = max(length // 2, self._classes)
        x = _rectify(_normalise(keras.layers.Dense(hidden, use_bias=False)(x)))
        return self._last(keras.layers.Dense(length, use_bias=False)(x))

    def _last(self, x: Any) -> Any:
        x = _normalise(x)
        return _rectify(x) if self._target.rectified else x


def _normalise(x: Any) -> Any:
    # The paper's momentum and epsilon: Keras' 0.99 would still remember the start after a client's local training.
    return keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-5)(x)


def _rectify(x: Any) -> Any:
    return keras.layers.ReLU()(x)


def _resized(x: Any, height: int, width: int) -> Any:
    """Returns a map (batch, h, w, c) at another size: larger sides are average-pooled, smaller ones interpolated."""
    sizes: Sequence[int] = x.shape[1:3]
    wanted = [min(pair) for pair in zip(sizes, (height, width), strict=True)]
    if list(sizes) != wanted:
        x = _pooled(x, sizes, wanted)
    if wanted != [height, width]:
        x = keras.layers.Resizing(height, width, interpolation="bilinear")(x)
    return x


def _pooled(x: Any, sizes: Sequence[int], wanted: Sequence[int]) -> Any:
    """Average-pools: without overlap where some window gives the size, as in 7 -> 4, else by windows that overlap."""
    windows = [-(-size // want) for size, want in zip(sizes, wanted, strict=True)]
    if all(-(-size // window) == want for size, window, want in zip(sizes, windows, wanted, strict=True)):
        return keras.layers.AveragePooling2D(windows, windows, padding="same")(x)
    strides = [size // want for size, want in zip(sizes, wanted, strict=True)]
    windows = [s - (want - 1) * stride for s, want, stride in zip(sizes, wanted, strides, strict=True)]
    return keras.layers.AveragePooling2D(windows, strides)(x)
