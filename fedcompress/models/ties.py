"""Which channels of a network belong together: what makes them, what reads them, and what has to go with them.

Two maps that are added have to lose the same channels; a depthwise convolution hands each channel on by itself; group
normalisation mixes the channels of a group. So channels come in sets, a set's channels in units, and a unit stays or
goes as a whole. In a chain of layers there is a set for each layer, and a unit is a channel.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from math import lcm
from typing import Any

import numpy as np

from fedcompress.errors import InputError

_WEIGHTED = ("Conv1D", "Conv2D", "Dense")
_CHANNELWISE = (
    *("Activation", "ReLU", "LeakyReLU", "ELU", "Dropout", "SpatialDropout2D", "Rescaling"),
    *("MaxPooling2D", "AveragePooling2D", "GlobalMaxPooling2D", "GlobalAveragePooling2D", "ZeroPadding2D"),
    *("MaxPooling1D", "AveragePooling1D", "GlobalMaxPooling1D", "GlobalAveragePooling1D"),
)
_SPECIAL = ("DepthwiseConv2D", "BatchNormalization", "GroupNormalization", "Flatten", "Add")
SUPPORTED = sorted({*_WEIGHTED, *_CHANNELWISE, *_SPECIAL})
"""Layers that channels can be followed through."""


@dataclass(frozen=True)
class Kernel:
    """A kernel, by its position among the model's weights.

    Attributes:
        layer: Name of the Keras layer.
        position: Of (..., channels in, channels out), or, if it is depthwise, of (..., channels, 1).
        bias: Position of what is added to its outputs; None without.
        reads: Number of the set whose channels go in; None for the model's inputs. Of a depthwise one the same set as
            that of its outputs.
        repeats: Elements of its input that belong to one channel: 1, or those of a flattened map.
        depthwise: Whether each channel is made of the one of the same number alone.
    """

    layer: str
    position: int
    bias: int | None
    reads: int | None
    repeats: int = 1
    depthwise: bool = False


@dataclass(frozen=True)
class Tied:
    """Channels that are made and kept together.

    Attributes:
        name: Of the first layer that makes them.
        channels: Their number.
        unit: How many, side by side, go together: those of a group that is normalised together, otherwise 1.
        kernels: That make them.
        vectors: Positions of what holds a number for each: biases, normalisation.
        flattened: Names of the layers that flatten maps of them.
        scales: Those of `vectors` that are the gamma of a normalisation.
    """

    name: str
    channels: int
    unit: int
    kernels: tuple[Kernel, ...]
    vectors: tuple[int, ...]
    flattened: tuple[str, ...] = ()
    scales: tuple[int, ...] = ()

    @property
    def units(self) -> int:
        """Number of units."""
        return self.channels // self.unit


def readers(sets: Sequence[Tied], number: int) -> list[Kernel]:
    """Returns the kernels that sum over the channels of a set; depthwise ones only hand them on."""
    return [k for tied in sets for k in tied.kernels if k.reads == number and not k.depthwise]


@dataclass(eq=False)
class _Growing:
    """A set while a model is walked through. Several that turn out to be tied become one."""

    channels: int
    unit: int = 1
    kernels: list[tuple[Kernel, _Flow]] = field(default_factory=list)
    vectors: list[int] = field(default_factory=list)
    flattened: list[str] = field(default_factory=list)
    scales: list[int] = field(default_factory=list)
    joined: _Growing | None = None

    def root(self) -> _Growing:
        return self if self.joined is None else self.joined.root()

    def join(self, later: _Growing) -> None:
        self.unit = lcm(self.unit, later.unit)
        self.kernels += later.kernels
        self.vectors += later.vectors
        self.flattened += later.flattened
        self.scales += later.scales
        later.joined = self


@dataclass(frozen=True)
class _Flow:
    """What a tensor carries: channels of a set, or the model's inputs, and how many elements belong to a channel."""

    made: _Growing | None = None
    repeats: int = 1


def trace(model: Any, name: str) -> tuple[Tied, ...]:
    """Returns the sets of channels in the order of the layers that make them; the last is that of the logits.

    Args:
        model: A Keras model.
        name: Its name, for messages.

    Raises:
        InputError: A layer mixes or reorders channels in a way that is not known here.
    """
    walk = _Walk(model, name)
    for layer in model.layers:
        walk.through(layer)
    return walk.sets()


class _Walk:
    def __init__(self, model: Any, name: str) -> None:
        self._name = name
        self._positions = {id(v): i for i, v in enumerate(model.weights)}
        self._flows: dict[int, _Flow] = {}
        self._found: list[_Growing] = []
        self._last = model.layers[-1]

    def through(self, layer: Any) -> None:
        """Follows channels through one layer, after those that it reads from."""
        kind = type(layer).__name__
        if kind == "InputLayer":
            self._flows[id(layer.output)] = _Flow()
            return
        self._refuse(layer)
        inputs = [self._flows[id(tensor)] for tensor in layer.inbound_nodes[0].keras_inputs]
        positions = [self._positions[id(v)] for v in layer.weights]
        self._flows[id(layer.output)] = self._outflow(layer, kind, inputs, positions)

    def _outflow(self, layer: Any, kind: str, inputs: Sequence[_Flow], positions: list[int]) -> _Flow:
        flow = inputs[0]
        made = None if flow.made is None else flow.made.root()
        if (made is not None or kind in _WEIGHTED) and layer is not self._last:
            for name in _of_one_width(layer):
                raise self._refusal(layer, f"fits {layer.output.shape[-1]} channels alone, by its {name}")
        if kind in _WEIGHTED:
            made = _Growing(int(layer.kernel.shape[-1]))
            self._found.append(made)
            self._take_kernel(made, layer, positions, flow)
            return _Flow(made)
        if kind == "Flatten" and made is not None:
            made.flattened.append(layer.name)
            return _Flow(made, int(layer.output.shape[-1]) // made.channels)
        if kind == "Add":
            return self._added(layer, inputs)
        if kind == "DepthwiseConv2D":
            if made is None or layer.depth_multiplier != 1:
                raise self._refusal(layer, "makes several channels of one, or keeps those of the model's inputs")
            self._take_kernel(made, layer, positions, flow, depthwise=True)
        elif kind in ("BatchNormalization", "GroupNormalization") and made is not None:
            if flow.repeats > 1:
                raise self._refusal(layer, "comes after Flatten")
            made.vectors += positions
            made.scales += positions[:1] if layer.scale else []
            if kind == "GroupNormalization":
                groups = made.channels if layer.groups == -1 else layer.groups
                made.unit = lcm(made.unit, made.channels // groups)
        return flow

    def _take_kernel(
        self, made: _Growing, layer: Any, positions: list[int], flow: _Flow, *, depthwise: bool = False
    ) -> None:
        kernel, *vectors = positions
        bias = vectors[0] if vectors else None
        made.kernels.append((Kernel(layer.name, kernel, bias, None, flow.repeats, depthwise), flow))
        made.vectors += vectors

    def _added(self, layer: Any, inputs: Sequence[_Flow]) -> _Flow:
        sets = list(dict.fromkeys(flow.made.root() if flow.made is not None else None for flow in inputs))
        tied = sorted((s for s in sets if s is not None), key=self._found.index)
        if len(tied) < len(sets):
            raise self._refusal(layer, "adds to the model's inputs, whose channels stay")
        if len({(s.channels, flow.repeats) for s in tied for flow in inputs}) > 1:
            raise self._refusal(layer, "adds maps of other numbers of channels")
        for other in tied[1:]:
            tied[0].join(other)
            self._found.remove(other)
        return _Flow(tied[0], inputs[0].repeats)

    def sets(self) -> tuple[Tied, ...]:
        """Returns what was found."""
        if not self._found or self._found[-1].kernels[0][0].layer != self._last.name:
            raise self._refusal(self._last, "is added to, or changed by, something else")
        numbers = {id(made): number for number, made in enumerate(self._found)}

        def finished(kernel: Kernel, flow: _Flow) -> Kernel:
            reads = None if flow.made is None else numbers[id(flow.made.root())]
            return Kernel(kernel.layer, kernel.position, kernel.bias, reads, kernel.repeats, kernel.depthwise)

        return tuple(
            Tied(
                made.kernels[0][0].layer,
                made.channels,
                made.unit,
                tuple(finished(kernel, flow) for kernel, flow in made.kernels),
                tuple(made.vectors),
                tuple(made.flattened),
                tuple(made.scales),
            )
            for made in self._found
        )

    def _refuse(self, layer: Any) -> None:
        for reason in _reasons(layer):
            raise self._refusal(layer, reason)

    def _refusal(self, layer: Any, reason: str) -> InputError:
        return InputError(
            f"model {self._name!r}: channels cannot be pruned: layer {layer.name!r} ({type(layer).__name__}) {reason}. "
            f"Supported are networks of {', '.join(SUPPORTED)}, whose branches meet in Add; use "
            'compression = "magnitude" for other models.'
        )


def _of_one_width(layer: Any) -> Iterator[str]:
    """Yields the settings of a layer that say how many channels it has, beside that number itself."""
    for name, value in layer.get_config().items():
        if name.endswith("_initializer") and isinstance(value, dict):
            value = value["config"].get("value")
        elif name == "noise_shape" and value is not None:
            value = range(value[-1] or 1)
        elif name not in ("scale", "offset"):
            continue
        if np.size(value) > 1:
            yield name


def _reasons(layer: Any) -> Iterator[str]:
    """Yields why channels cannot be followed through a layer."""
    kind = type(layer).__name__
    if kind not in SUPPORTED:
        yield "has no channels that could be followed"
    elif len(layer.inbound_nodes) != 1 or (isinstance(layer.input, list) and kind != "Add"):
        yield "is where branches meet, or is used more than once"
    elif kind != "GroupNormalization" and getattr(layer, "groups", 1) != 1:
        yield "has groups"
    elif getattr(layer, "data_format", None) == "channels_first":
        yield "has channels first"
    elif kind in ("BatchNormalization", "GroupNormalization"):
        axes = layer.axis if isinstance(layer.axis, list | tuple) else [layer.axis]
        if [axis % len(layer.output.shape) for axis in axes] != [len(layer.output.shape) - 1]:
            yield "normalises another axis than channels"
    activation = getattr(getattr(layer, "activation", None), "__name__", "")
    if activation in ("softmax", "log_softmax") and layer.outbound_nodes:
        yield f"mixes channels by its {activation}"
