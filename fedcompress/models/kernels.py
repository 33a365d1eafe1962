"""Kernels: the weights of a model that multiply what goes in, wherever they are: in nested models, in recurrent cells.

A kernel has rank 2 at least, and is neither bias nor part of a normalisation nor of an activation function. Tables of
embeddings are kernels, too: looking a row up is a product with a vector of zeros and a one. What is trained can be
pruned and rounded, but for embeddings, of which each row is learned from few examples, and for kernels that a layer
around them rescales as training goes on, as spectral normalisation does.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from fedcompress import keras


@dataclass(frozen=True, eq=False)
class Weight:
    """A weight of a Keras model and who computes with it.

    Attributes:
        position: Among the model's weights.
        variable: Its variable.
        places: Layers and the names under which they have it: one, or several that share it; none if it is in a list.
        trained: Whether an optimizer changes it.
    """

    position: int
    variable: Any
    places: tuple[tuple[Any, str], ...]
    trained: bool

    @property
    def name(self) -> str:
        """As Keras names it: "conv2d/kernel", "lstm/lstm_cell/recurrent_kernel"."""
        return str(self.variable.name.partition(":")[0])

    @property
    def layer(self) -> str:
        """The same without what it is to its layer."""
        return self.name.rpartition("/")[0]

    @property
    def is_kernel(self) -> bool:
        """Whether it multiplies what goes in."""
        beside = any(_normalises(owner) or type(owner).__name__ == "PReLU" for owner, _ in self.places)
        learned = bool(self.variable.trainable)  # of the variable: still true in a layer that is frozen
        return learned and len(self.variable.shape) > 1 and not self.is_bias and not beside

    @property
    def is_bias(self) -> bool:
        """Whether it is a bias; some have two axes."""
        return "bias" in self.name.rpartition("/")[2]

    @property
    def can_change(self) -> bool:
        """Whether compression knows how to work on it, where it is trained."""
        owners = [owner for owner, _ in self.places]
        return bool(owners) and not any(type(o).__name__ == "Embedding" or _wraps(o) for o in owners)


def _normalises(owner: Any) -> bool:
    """Says whether what a layer has of its own shifts and scales what goes in."""
    return "Normalization" in type(owner).__name__ and not _wraps(owner)


def _wraps(owner: Any) -> bool:
    """Says whether a layer is around another one and has that one's kernel."""
    return isinstance(owner, keras.layers.Wrapper)


def weights(model: Any) -> list[Weight]:
    """Returns the weights of a Keras model, in its own order."""
    places: dict[int, list[tuple[Any, str]]] = {id(variable): [] for variable in model.weights}
    for layer in model._flatten_layers():
        for name, value in vars(layer).items():
            if id(value) in places:
                places[id(value)].append((layer, name))
    trained = {id(variable) for variable in model.trainable_variables}
    return [Weight(i, v, tuple(places[id(v)]), id(v) in trained) for i, v in enumerate(model.weights)]


def kernels(model: Any) -> dict[int, str]:
    """Returns the position of each kernel, frozen or not, and a name for it: its layer's, if that has no other."""
    of_model = [weight for weight in weights(model) if weight.is_kernel]
    in_layer = Counter(layer for layer, _ in {(weight.layer, weight.name) for weight in of_model})
    names, uses = {}, Counter[str]()
    for weight in of_model:
        name = weight.layer if in_layer[weight.layer] == 1 else weight.name
        uses[name] += 1
        names[weight.position] = name if uses[name] == 1 else f"{name} {uses[name]}"
    return names


def compressible(model: Any) -> list[Weight]:
    """Returns the kernels that are trained and that compression works on."""
    return [weight for weight in weights(model) if weight.trained and weight.is_kernel and weight.can_change]


def biases(model: Any) -> list[Weight]:
    """Returns the biases that are trained."""
    return [weight for weight in weights(model) if weight.trained and weight.is_bias and weight.places]


@contextmanager
def replaced(tensors: Iterable[tuple[Weight, Any]]) -> Iterator[None]:
    """Has layers compute with tensors in the place of weights, while a graph is made."""
    before = []
    try:
        for weight, tensor in tensors:
            for owner, name in weight.places:
                attributes = vars(owner)  # not by assignment, which would have Keras track the tensor
                before.append((attributes, name, attributes[name]))
                attributes[name] = keras.tf.cast(tensor, owner.compute_dtype)
        yield
    finally:
        for attributes, name, value in reversed(before):
            attributes[name] = value


def simple_layers(model: Any) -> list[Any]:
    """Returns the layers of a functional model, and in their places those of functional models that are among them."""
    parts = (simple_layers(layer) if is_functional(layer) else [layer] for layer in model.layers)
    return list({id(layer): layer for part in parts for layer in part}.values())


def is_functional(layer: Any) -> bool:
    """Says whether a layer is itself a model made of layers, sequential or functional."""
    return isinstance(layer, keras.Model) and bool(getattr(layer, "_is_graph_network", False))


def described(model: Any) -> str:
    """Returns the kinds and widths of the layers with kernels, those of nested models in their places."""
    owners = {id(owner) for weight in weights(model) if weight.is_kernel for owner, _ in weight.places}
    layers = [layer for layer in simple_layers(model) if owners & set(map(id, layer._flatten_layers()))]
    return " ".join(f"{type(layer).__name__} {layer.get_output_shape_at(0)[-1]}" for layer in layers)
