"""A training step that is run, looked at, and undone."""

from __future__ import annotations

import contextlib

import numpy as np

from pydl import random, tree
from pydl.data.adapters import ArrayData
from pydl.inspection.watching import layers_by_key, replaced, watching
from pydl.models import Model
from pydl.optimizers import Optimizer
from pydl.tensor import Tensor, from_numpy


def parts(model) -> dict:
    """The layers of a model, those of nested models in their place, by name (by path where two share a name). What a
    layer is made of (the cell of an RNN) is part of that layer."""
    names = {id(layer): key for key, layer in layers_by_key(model).items()}
    found: dict = {}

    def visit(owner):
        for layer in owner._own_layers():
            if isinstance(layer, Model):
                visit(layer)
            elif id(layer) in names:
                found[names[id(layer)]] = layer

    visit(model)
    return found


@contextlib.contextmanager
def unchanged(model):
    """Context after which the variables of a model, its optimizers and metrics, and all random states are as before."""
    variables = model.variables + model.metrics_variables + [random.global_seed_generator().state]
    variables += [v for optimizer in optimizers_of(model) for v in optimizer.variables]
    before = [(v, v.data.copy()) for v in variables]
    state = np.random.get_state()
    try:
        yield
    finally:
        np.random.set_state(state)
        for v, value in before:
            np.copyto(v.data, value)


def optimizers_of(model) -> list:
    """The optimizer of `compile` and those a custom model keeps beside it."""
    return list({id(o): o for o in [model.optimizer, *vars(model).values()] if isinstance(o, Optimizer)}.values())


def rehearse(model, batch, on_gradients, on_updates, on_output, layers) -> None:
    """Runs `model.train_step` on a batch, in Python, with all that belongs to it (losses, masks, weights, dropout,
    clipping, optimizer), and undoes it.

    Args:
        model: compiled and built, with built optimizers.
        batch: (x, y, sample_weight) of arrays.
        on_gradients: called with [(variable, gradient array)] as the optimizer gets them, unscaled, before clipping.
        on_updates: called with [(variable, array of its value before)] after the optimizer's step.
        on_output: `(layer, output)` of every call of a layer.
        layers: those to watch.
    """
    function = model.make_train_function()

    def listening(optimizer):
        step = optimizer.apply

        def apply(grads, trainable_variables=None):
            grads = list(grads)
            variables = list(trainable_variables if trainable_variables is not None else optimizer._trainable_variables)
            pairs = [(v, g) for v, g in zip(variables, grads) if g is not None]
            scale = optimizer.loss_scale_factor or 1
            on_gradients([(v, np.asarray(g.data if isinstance(g, Tensor) else g) / scale) for v, g in pairs])
            before = [(v, v.data.copy()) for v, _ in pairs]
            step(grads, trainable_variables)
            on_updates(before)

        return optimizer, "apply", apply

    def see(layer, output):
        on_output(layer, output)
        return output

    tensors = tree.map_structure(lambda a: from_numpy(a) if isinstance(a, np.ndarray) else a, tuple(batch))
    with unchanged(model), replaced(*map(listening, optimizers_of(model))), watching(layers, see):
        getattr(function, "fn", function)(*tensors)


def last_batch(model):
    """(x, y, sample_weight) of the last batch `fit` trained on, in the dtypes steps see; None before the first."""
    if model._steps.last_batch is None:
        return None
    data, rows = model._steps.last_batch
    return data.take(rows) if rows is not None else data


def as_batch(x, y=None, sample_weight=None):
    """Arrays as one batch of `fit`."""
    return ArrayData(x, y, sample_weight).take(slice(None))
