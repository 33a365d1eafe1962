"""What training does to each array of a model: a gradient changes it, something else does, or nothing."""

from __future__ import annotations

from typing import Any

from fedcompress.wire.content import Kind


def kinds_of(model: Any) -> tuple[Kind, ...]:
    """Returns the kind of each of a Keras model's weights, in their order, through nested models and wrappers.

    Keras lists what no optimizer changes together, and means two things by it. A variable that its layer made without
    a gradient in mind is changed by training all the same while that layer is trainable: moving averages of batch
    normalisation, the vector of spectral normalisation, counters. Everything of a frozen layer stays as it is; batch
    normalisation that is frozen leaves its averages alone as well.

    Args:
        model: Built. What decides is the `trainable` of the very layer that holds a variable, not of those around it.
    """
    learned = {id(v) for v in model.trainable_variables}
    frozen_layers = (layer for layer in model._flatten_layers() if not layer.trainable)
    # What a layer holds itself, as opposed to layers in it.
    frozen = {id(v) for layer in frozen_layers for v in (*layer._trainable_weights, *layer._non_trainable_weights)}

    def kind(variable: Any) -> Kind:
        if id(variable) in learned:
            return "learned"
        return "constant" if variable.trainable or id(variable) in frozen else "statistic"

    return tuple(kind(v) for v in model.weights)
