"""Random layers, such as dropout: in a compiled graph they draw from generators that are seeded before each call.

As they come, most of Keras' layers draw by operations that go on counting from call to call where nothing can set them:
what they give would depend on whatever this thread has computed before.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from fedcompress import keras
from fedcompress.errors import InputError

_OF_A_GENERATOR = frozenset(
    {
        *("RngReadAndSkip", "RngSkip", "StatefulRandomBinomial", "StatefulUniform", "StatefulUniformInt"),
        *("StatefulUniformFullInt", "StatefulStandardNormalV2", "StatefulTruncatedNormal"),
    }
)
"""Operations by which a `tf.random.Generator` draws; their first input is its state."""


class RandomLayers:
    """The random layers of a model that is about to be compiled.

    Keras' layers are made to draw from a generator, one each, whose state is none of the model's weights. Layers of a
    user may bring a `tf.random.Generator` as an attribute.

    Args:
        model: A Keras model; what it has is used in the graph and nowhere else.
        name: Of the model, for messages.
    """

    def __init__(self, model: Any, name: str) -> None:
        kinds = (keras.src.backend.RandomGenerator, keras.tf.random.Generator)
        items = [item for layer in model._flatten_layers() for item in vars(layer).values() if isinstance(item, kinds)]
        self._generators = [_generator(item) if isinstance(item, kinds[0]) else item for item in items]
        self._name = name

    def bind(self, function: Any) -> Any:
        """Returns a concrete function, after taking note of the generators that it draws from.

        Raises:
            InputError: It draws from something else.
        """
        definition = function.graph.as_graph_def()
        library = {item.signature.name: item for item in definition.library.function}
        captured = {inside.op.name: id(outside) for outside, inside in function.graph.captures}
        seedable = {id(generator.state.handle) for generator in self._generators}
        drawn = set()
        for operation, source in _draws(definition.node, library):
            if captured.get(source) not in seedable:
                raise self._refusal(operation)
            drawn.add(captured[source])
        self._generators = [item for item in self._generators if id(item.state.handle) in drawn]
        return function

    def seed(self, rng: np.random.Generator) -> None:
        """Sets every generator that the bound function draws from; the same `rng` gives the same draws."""
        for generator in self._generators:
            generator.reset_from_seed(int(rng.integers(2**63)))

    def _refusal(self, operation: Any) -> InputError:
        return InputError(
            f"model {self._name!r}: {operation.name!r} ({operation.op}) draws random numbers that no seed repeats; "
            "expected a random layer of Keras, or in a layer of your own an attribute `tf.random.Generator` to draw "
            "from."
        )


def _generator(source: Any) -> Any:
    """Makes a layer of Keras draw from a generator, and returns that."""
    source._rng_type, source._built = source.RNG_STATEFUL, True
    source._generator = keras.tf.random.Generator.from_seed(0, alg="philox")
    return source._generator


def _draws(nodes: Any, library: dict[str, Any]) -> Iterator[tuple[Any, str]]:
    """Yields the operations that draw random numbers, inside called functions as well, and what they draw from.

    Args:
        nodes: Of a graph or of a function.
        library: The functions by name.

    Yields:
        The node, and the name of the input of graph or function that is its generator's state; empty if none is.
    """
    for node in nodes:
        inputs = [name for name in node.input if not name.startswith("^")]
        if node.op in _OF_A_GENERATOR:
            yield node, inputs[0]
        elif "seed2" in node.attr or node.op == "NonDeterministicInts":
            yield node, ""
        for called in _called(node, library):
            arguments = [argument.name for argument in called.signature.input_arg]
            for inner, source in _draws(called.node_def, library):
                # The last inputs of a call are its function's arguments; before them, a condition has its predicate.
                position = arguments.index(source) - len(arguments) if source in arguments else None
                yield inner, "" if position is None else inputs[position]


def _called(node: Any, library: dict[str, Any]) -> Iterator[Any]:
    for value in node.attr.values():
        for function in (value.func, *value.list.func):
            if function.name in library:
                yield library[function.name]
