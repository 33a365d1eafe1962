"""An architecture, and a model of it for one data set: logits out, features and head that can be taken apart."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from fedcompress import keras
from fedcompress.errors import InputError, first_line, prepared
from fedcompress.models import kernels
from fedcompress.models.initial import Initializers, differing
from fedcompress.models.kinds import kinds_of
from fedcompress.models.normalised import plainly_grouped
from fedcompress.models.random_layers import RandomLayers
from fedcompress.models.ties import Tied, trace
from fedcompress.units import counted
from fedcompress.wire.content import Arrays, Content, Kind, weights_content

if TYPE_CHECKING:
    from fedcompress.plugins import Use

HEAD = "head"
"""Name of the classifier layer, the last one of every model."""


class Architecture(ABC):
    """Interface of a model plug-in: what turns images into features. One subclass per file in `models/`.

    One that takes an argument, as in "mlp:512-256", is made with that string, and without it where there is none.
    """

    argument_name: ClassVar[str] = ""
    """What follows the colon in a name, for example "UNITS-UNITS-..."; empty if nothing may."""

    def problems_in(self, use: Use) -> Iterable[str]:
        """Returns what is wrong with its use in a scenario, a sentence each; asked before any data is read."""
        return ()

    @abstractmethod
    def features(self, inputs: Any) -> Any:
        """Returns the flat feature tensor (batch, f) of scaled images (batch, height, width, channels)."""

    @property
    def key(self) -> tuple[Any, ...]:
        """Two architectures with equal keys build the same features."""
        return (type(self),)

    def spec(self, name: str, input_shape: Sequence[int], classes: int) -> ModelSpec:
        """Returns the model for one data set.

        Args:
            name: As in a scenario.
            input_shape: Of an example.
            classes: Number of logits.
        """
        return ModelSpec(name, self, input_shape, classes)


@dataclass(frozen=True)
class _Layout:
    """What building a model once tells about it; positions are those among its weights."""

    template: Arrays
    kernels: dict[int, str]
    prunable: tuple[int, ...]
    biases: tuple[int, ...]
    kinds: tuple[Kind, ...]
    momentum: float
    initializers: Initializers


_RIGHT: set[tuple[Any, ...]] = set()
"""Keys of the models that this process has checked, and found nothing wrong with."""


class ModelSpec:
    """An architecture at one input shape and number of classes.

    Args:
        name: Name of the architecture, as in a scenario.
        architecture: What builds the features.
        input_shape: (height, width, channels), or (features,) for tables.
        classes: Number of logits.
        reuses_head: The head is another model's, frozen: neither training nor compression changes it.
    """

    def __init__(
        self,
        name: str,
        architecture: Architecture,
        input_shape: Sequence[int],
        classes: int,
        reuses_head: bool = False,
    ) -> None:
        self.name = name
        self.architecture = architecture
        self.input_shape = tuple(input_shape)
        self.classes = classes
        self.reuses_head = reuses_head

    @property
    def key(self) -> tuple[Any, ...]:
        """Two specs with equal keys build the same graph."""
        return *self.architecture.key, self.name, self.input_shape, self.classes, self.reuses_head

    @property
    def trained(self) -> Arrays | None:
        """Weights that it comes with; None if it is still to be trained."""
        return None

    def build(self, seed: int = 0) -> Any:
        """Returns a new Keras model (batch, *input_shape) -> logits (batch, classes).

        Args:
            seed: Of everything that is drawn on the way, weights and constants of layers alike.
        """
        with keras.seeded(seed):
            keras.backend.reset_uids()  # so that layers, and with them exported files, are named alike every time
            inputs = keras.Input(self.input_shape)
            features = self.architecture.features(inputs)
            # Logits are float32 even where layers compute in half precision, and so is what is computed from them.
            head = keras.layers.Dense(self.classes, name=HEAD, trainable=not self.reuses_head, dtype="float32")
            logits = head(features)
            return plainly_grouped(keras.Model(inputs, logits, name=re.sub(r"\W", "_", self.name)))

    def feature_extractor(self, model: Any) -> Any:
        """Returns the part of `model` that ends at the features, sharing its variables."""
        with keras.LOCK:
            return keras.Model(model.input, model.get_layer(HEAD).input)

    @cached_property
    def _layout(self) -> _Layout:
        model = self.build()
        template = [w.copy() for w in model.get_weights()]
        return _Layout(
            template=template,
            kernels=kernels.kernels(model),
            prunable=tuple(weight.position for weight in kernels.compressible(model)),
            biases=tuple(weight.position for weight in kernels.biases(model)),
            kinds=kinds_of(model),
            momentum=max((_momentum(layer) for layer in model.layers), default=0.0),
            initializers=Initializers(model, template, lambda seed: self.build(seed).get_weights()),
        )

    @property
    def template(self) -> Arrays:
        """Weights with the right shapes and no meaning."""
        return self._layout.template

    @property
    def prunable(self) -> tuple[int, ...]:
        """Positions of the kernels that compression can work on: those that are trained, but for embeddings."""
        return self._layout.prunable

    @property
    def momentum(self) -> float:
        """What a step of training leaves of the moving statistics of batch normalisation; 0 if there are none."""
        return self._layout.momentum

    @property
    def kernels(self) -> Mapping[int, str]:
        """Position of every kernel, whether or not it can be pruned -> its layer's name; zeros are counted in these."""
        return self._layout.kernels

    @property
    def dense_kernels(self) -> Mapping[int, str]:
        """Those kernels that stay dense whatever a compression does: frozen ones, embeddings."""
        return {position: name for position, name in self.kernels.items() if position not in self.prunable}

    @property
    def dense_share(self) -> float:
        """Their part of the weights of all kernels."""
        sizes = {position: self.template[position].size for position in self.kernels}
        return sum(sizes[position] for position in self.dense_kernels) / max(sum(sizes.values()), 1)

    @property
    def dense_text(self) -> str:
        """Names what stays dense, and its part: "embedding, lstm: 12 % of the kernels' weights"."""
        return f"{', '.join(self.dense_kernels.values())}: {100 * self.dense_share:.2g} % of the kernels' weights"

    @property
    def biases(self) -> tuple[int, ...]:
        """Positions of the biases that are trained."""
        return self._layout.biases

    @property
    def trainable(self) -> tuple[int, ...]:
        """Positions of what an optimizer changes; batch-norm statistics and a reused head are not among them."""
        return tuple(i for i, kind in enumerate(self.kinds) if kind == "learned")

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """What training does to each of the weights: "learned", "statistic" (batch normalisation's), "constant"."""
        return self._layout.kinds

    @property
    def head(self) -> tuple[int, int]:
        """Positions of the classifier's kernel and bias among the weights."""
        return len(self.template) - 2, len(self.template) - 1

    def head_of(self, weights: Arrays) -> Arrays:
        """Returns the classifier's kernel (features, classes) and bias (classes,) out of this model's weights."""
        return list(weights[-2:])

    def encoder_of(self, weights: Arrays) -> Arrays:
        """Returns this model's weights without those of the classifier."""
        return list(weights[:-2])

    def with_frozen_head(self) -> ModelSpec:
        """Returns the same model with a classifier that neither training nor compression changes."""
        return ModelSpec(self.name, self.architecture, self.input_shape, self.classes, reuses_head=True)

    @property
    def features(self) -> int:
        """Length of the feature vector."""
        return len(self.template[self.head[0]])

    @property
    def parameters(self) -> int:
        """Number of weights, trainable or not."""
        return sum(a.size for a in self.template)

    def check(self, data: str) -> None:
        """Builds the model, unless an equal one has been found to be right before: of a sweep, a few serve all runs.

        Args:
            data: Name of the data set that it is for, for the message.

        Raises:
            InputError: The model does not fit the data, has a layer or weights that hold nothing, weights of another
                width than float32, or something random that no seed repeats.
        """
        if self.key in _RIGHT:
            return
        with prepared(f"model {self.name!r}"):
            try:
                _check_sizes(self.build())
                self._check_initial_weights()
                self._check_layers()
            except (ValueError, TypeError) as error:
                shape = "x".join(map(str, self.input_shape))
                if len(self.input_shape) == 1:
                    shape = f'rows of {counted(int(shape), "feature")} (for which there is "mlp:64")'
                raise InputError(
                    f"model {self.name!r} does not fit {data!r}, whose examples are {shape}: {first_line(error)}"
                ) from error
        self.check_weights()
        _RIGHT.add(self.key)

    def check_weights(self) -> None:
        """Raises InputError if some real weights are not float32, in which they are trained and measured."""
        if other := {str(a.dtype) for a in self.template if a.dtype != np.float32 and a.dtype.kind not in "iub"}:
            raise InputError(
                f"model {self.name!r}: some of its weights are {' and '.join(sorted(other))}; expected float32. For "
                'layers that compute in half precision use the policy "mixed_float16", which has float32 weights.'
            )

    def check_averaged(self) -> None:
        """Raises InputError if some weights are no real numbers, such as counters, which only one end can work with."""
        if others := [i for i, array in enumerate(self.template) if array.dtype.kind != "f"]:
            variables = self.build().weights
            names = ", ".join(f"{variables[i].name.partition(':')[0]} ({variables[i].dtype.name})" for i in others)
            raise InputError(
                f"model {self.name!r} has weights that are no real numbers and cannot be averaged: {names}; expected "
                "floating-point weights alone."
            )

    def _check_initial_weights(self) -> None:
        first, again = (self.initial(np.random.default_rng(0)) for _ in range(2))
        if positions := differing(first, again):
            names = ", ".join(repr(self.build().weights[i].name) for i in positions)
            raise InputError(
                f"model {self.name!r}: initial weights {names} differ each time that the model is built; expected "
                "draws by an initializer of Keras, or by `tf.random`, `np.random` or `random`."
            )
        if odd := [i for i, array in enumerate(first) if array.dtype.kind == "f" and not np.isfinite(array).all()]:
            names = ", ".join(repr(self.build().weights[i].name) for i in odd)
            raise InputError(
                f"model {self.name!r}: initial weights {names} hold values that are infinite or not a number; expected "
                "finite ones."
            )

    def _check_layers(self) -> None:
        with keras.LOCK:
            model = self.build()
            layers = RandomLayers(model, self.name)
            passes = keras.tf.function(lambda x: [model(x, training=t) for t in (True, False)], autograph=False)
            graph = passes.get_concrete_function(keras.tf.TensorSpec([None, *self.input_shape]))
            layers.bind(graph)
        for output in graph.outputs:
            if not output.shape.is_compatible_with([None, self.classes]):
                raise ValueError(f"it returns {output.shape}, expected (None, {self.classes}): a logit for each class")

    @cached_property
    def channels(self) -> tuple[Tied, ...]:
        """The sets of channels, in the order in which they are made; the last one is the head's, of the logits.

        Raises:
            InputError: Channels cannot be followed through the model; names the layer.
        """
        return trace(self.build(), self.name)

    @property
    def contents(self) -> dict[str, Content]:
        """Declaration of "weights" and "mask" of this model."""
        contents = weights_content(self.template, self.prunable, self.kinds)
        return {**contents, "weights": replace(contents["weights"], delta=True)}

    def initial(self, rng: np.random.Generator) -> Arrays:
        """Returns initial weights, each from its own initializer, seeded by `rng`.

        Kernels of the model's own layers are drawn one by one, whatever seed their initializer names. What else follows
        from the seed of a build (nested layers, recurrent and depthwise kernels, embeddings) comes from a new build.
        Weights that building loads, as of a backbone that was trained before, stay what they are.
        """
        return self._layout.initializers.draw(rng)

    def with_head(self, weights: Arrays, head: Sequence[NDArray[Any]]) -> Arrays:
        """Returns the weights with another head.

        Args:
            weights: Of this model.
            head: Kernel (features, classes) and bias (classes,).

        Raises:
            InputError: The head does not fit the features or the classes of this model.
        """
        expected = [weights[i].shape for i in self.head]
        received = [np.shape(array) for array in head]
        if received != expected:
            raise InputError(
                f"A head of shapes {_shapes(received)} does not fit {self.name!r}, whose head is {_shapes(expected)}: "
                "its features have another length, or it tells other classes apart; a projector bridges features."
            )
        return [*self.encoder_of(weights), *(np.array(array, np.float32) for array in head)]


def _check_sizes(model: Any) -> None:
    """Raises ValueError if something in a model holds no value at all, on which TensorFlow may end the process."""
    with keras.LOCK:
        made = [(layer, tensor) for layer in model._flatten_layers() for tensor in _outputs(layer)]
    for layer, tensor in made:
        if 0 in tensor.shape:
            raise ValueError(
                f"layer {layer.name!r} puts out {tuple(tensor.shape)}, which holds no value; expected at least one in "
                "every dimension: more units, or less pooling"
            )
    for variable in model.weights:
        if 0 in variable.shape:
            raise ValueError(
                f"weight {variable.name!r} has the shape {tuple(variable.shape)}, which holds no value; expected at "
                "least one in every dimension"
            )


def _outputs(layer: Any) -> list[Any]:
    """Returns what a layer puts out, each time that it is called."""
    return [tensor for node in layer.inbound_nodes for tensor in keras.tf.nest.flatten(node.outputs)]


def _momentum(layer: Any) -> float:
    """Returns the momentum of batch normalisation whose statistics move; 0 of any other layer."""
    return float(layer.momentum) if type(layer).__name__ == "BatchNormalization" and layer.trainable else 0.0


def features_and_logits(model: Any) -> Any:
    """Returns `model`, compressed or not, with two outputs: what enters its last layer, and the logits."""
    last, node, _ = model.output._keras_history  # a layer that compression did not wrap is in two models
    with keras.LOCK:
        return keras.Model(model.input, [last.get_input_at(node), model.output])


def _shapes(shapes: Sequence[tuple[int, ...]]) -> str:
    return " and ".join("x".join(map(str, shape)) for shape in shapes)
