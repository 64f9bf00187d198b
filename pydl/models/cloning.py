"""Copies of models with new weights."""

from __future__ import annotations

from pydl import tree
from pydl.layers.base import Layer
from pydl.layers.core import InputLayer
from pydl.models.model import Functional
from pydl.models.sequential import Sequential

__all__ = ["clone_model"]


def clone_model(model, input_tensors=None, clone_function=None, call_function=None, recursive=False):
    """A model of the same architecture with new weights.

    Args:
        model: Functional or Sequential.
        clone_function: `layer -> layer` used for each layer instead of a copy from its config.
    """
    clone = clone_function or (lambda layer: type(layer).from_config(layer.get_config()))
    if isinstance(model, Sequential):
        copy = Sequential([clone(layer) for layer in model.layers], name=model.name)
        if model.built and not copy.built and model.input_shape is not None:
            copy.build(model.input_shape)
        return copy
    if model._graph is None:
        raise ValueError("Expected `model` argument to be a Functional or Sequential model; received a subclassed"
                         f" model: {model!r}")
    return _clone_graph(model, clone)


def _clone_graph(model, clone):
    graph = model._graph
    twins: dict[int, object] = {}
    inputs = []
    for t in graph.input_tensors:
        layer = InputLayer(batch_shape=t.shape, dtype=t.dtype, name=t.node.operation.name)
        inputs.append(layer.output)

    def call(operation, args, kwargs):
        if id(operation) not in twins:
            twins[id(operation)] = clone(operation) if isinstance(operation, Layer) else operation
        return twins[id(operation)](*args, **kwargs)

    outputs = graph.run(inputs, call)
    return Functional(inputs=tree.pack_sequence_as(graph.inputs, inputs), outputs=outputs, name=model.name)
