"""Copies of models with new weights."""

from __future__ import annotations

from pydl import tree
from pydl.layers.base import Layer
from pydl.layers.core import InputLayer
from pydl.models.model import Functional
from pydl.models.sequential import Sequential
from pydl.symbolic import KerasTensor

__all__ = ["clone_model"]


def clone_model(model, input_tensors=None, clone_function=None, call_function=None, recursive=False):
    """A model of the same architecture with new weights.

    Args:
        model: a model; a subclassed one is made again from its config.
        input_tensors: symbolic tensors the copy begins with, in the structure of the model's inputs.
        clone_function: `layer -> layer` used for each layer instead of a copy from its config.
        call_function: `(layer, *args, **kwargs) -> outputs`, which calls the layers and ops of a functional model in
            place of `layer(*args, **kwargs)`.
        recursive: clone the layers inside of nested Sequential and functional models with `clone_function`, too, where
            else it is given the nested model as one layer.

    Raises:
        ValueError: for a function that a model of this kind has no use for; for `input_tensors` of another number.
    """
    clone = clone_function or (lambda layer: layer._twin())

    def copy_of(layer):
        nested = isinstance(layer, Sequential) or getattr(layer, "_graph", None) is not None
        return clone_model(layer, clone_function=clone, recursive=True) if recursive and nested else clone(layer)

    if isinstance(model, Sequential):
        if call_function is not None:
            raise ValueError(f"clone_model: Sequential model '{model.name}' calls no layers while it is made;"
                             " `call_function` is for functional models.")
        return _clone_stack(model, copy_of, input_tensors)
    if model._graph is not None:
        return _clone_graph(model, copy_of, call_function, input_tensors)
    given = {"input_tensors": input_tensors, "clone_function": clone_function, "call_function": call_function}
    given = {name: value for name, value in given.items() if value is not None}
    if given:
        raise ValueError(f"clone_model: {', '.join(given)} can be used with Sequential and functional models only;"
                         f" received the subclassed model {model!r}.")
    return model._twin()


def _inputs_of(model, given) -> list[KerasTensor]:
    """The symbolic inputs of the copy, flat."""
    theirs = model._graph.input_tensors
    if given is None:
        return [InputLayer(batch_shape=t.shape, dtype=t.dtype, name=t.node.operation.name).output for t in theirs]
    inputs = tree.flatten(given)
    if len(inputs) != len(theirs) or not all(isinstance(t, KerasTensor) for t in inputs):
        raise ValueError(f"clone_model: expected {len(theirs)} symbolic tensors as `input_tensors` of model"
                         f" '{model.name}'; received {given!r}.")
    return inputs


def _clone_stack(model, copy_of, input_tensors):
    layers = [copy_of(layer) for layer in model.layers]
    if model._graph is not None:
        (t,) = _inputs_of(model, input_tensors)
        layers.insert(0, InputLayer(batch_shape=t.shape, dtype=t.dtype, name=t.node.operation.name if t.node else None))
    return Sequential(layers, name=model.name)


def _clone_graph(model, copy_of, call_function, input_tensors):
    graph = model._graph
    twins: dict[int, object] = {}
    inputs = _inputs_of(model, input_tensors)

    def call(operation, args, kwargs):
        if id(operation) not in twins:
            twins[id(operation)] = copy_of(operation) if isinstance(operation, Layer) else operation
        twin = twins[id(operation)]
        return twin(*args, **kwargs) if call_function is None else call_function(twin, *args, **kwargs)

    outputs = graph.run(inputs, call)
    if isinstance(graph.outputs, (list, tuple)) and isinstance(outputs, KerasTensor):
        outputs = type(graph.outputs)([outputs])  # which a run leaves out
    return Functional(inputs=tree.pack_sequence_as(graph.inputs, inputs), outputs=outputs, name=model.name)
