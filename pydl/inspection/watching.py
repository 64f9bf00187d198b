"""Looking over the shoulder of a model while it computes: which layers there are, what each of them returns."""

from __future__ import annotations

import contextlib

import numpy as np

from pydl import tree
from pydl.autograd import no_grad
from pydl.layers import InputLayer, Layer
from pydl.models import Model
from pydl.symbolic import OpCall
from pydl.tensor import Tensor

_MISSING = object()


@contextlib.contextmanager
def replaced(*changes):
    """Context in which attributes of layers have other values, given as (object, attribute, value).

    It goes past `Layer.__setattr__`, so that recorded programs, which are not run meanwhile, stay valid. Not for
    models that another thread uses at the same time.
    """
    before = [(owner, name, vars(owner).get(name, _MISSING)) for owner, name, _ in changes]
    try:
        for owner, name, value in changes:
            vars(owner)[name] = value
        yield
    finally:
        for owner, name, value in reversed(before):
            if value is _MISSING:
                del vars(owner)[name]
            else:
                vars(owner)[name] = value


def watching(operations, see):
    """Context in which `see(operation, output)` is called with all that the operations return; its result goes on."""

    def watched(operation):
        attribute = "call" if isinstance(operation, Layer) else "fn"
        original = getattr(operation, attribute)

        def call(*args, **kwargs):
            return see(operation, original(*args, **kwargs))

        return operation, attribute, call

    return replaced(*map(watched, operations))


@contextlib.contextmanager
def constant_weights(model):
    """Context in which gradients flow through a model and none are computed for its weights (a quarter less time)."""
    leaves = [(v, v.node) for v in model.variables if v.node is not None]
    try:
        for variable, _ in leaves:
            variable.node = None
        yield
    finally:
        for variable, node in leaves:
            variable.node = node


def layers_by_path(model) -> dict[str, Layer]:
    """All layers inside a model, nested ones as "inner/conv"."""
    found: dict[str, Layer] = {}

    def visit(owner, prefix):
        for layer in owner._own_layers():
            if not isinstance(layer, InputLayer) and not any(layer is other for other in found.values()):
                found[prefix + layer.name] = layer
                visit(layer, f"{prefix}{layer.name}/")

    visit(model, "")
    return found


def layers_by_key(model) -> dict[str, Layer]:
    """All layers inside a model by name, or by path where two have the same name."""
    paths = layers_by_path(model)
    names = [layer.name for layer in paths.values()]
    return {layer.name if names.count(layer.name) == 1 else path: layer for path, layer in paths.items()}


def find_layer(model, wanted) -> Layer:
    """The layer meant by its name, its path ("inner/conv") or itself.

    Raises:
        ValueError: when the model has no such layer, or several of that name.
    """
    paths = layers_by_path(model)
    if wanted in paths:  # also settles which of two is meant
        return paths[wanted]
    fitting = {path: layer for path, layer in paths.items() if layer is wanted or layer.name == wanted}
    if len(fitting) > 1:
        raise ValueError(f'Model "{model.name}" has {len(fitting)} layers named {wanted!r}. Name one of'
                         f" {list(fitting)}.")
    if not fitting:
        named = f"layer {wanted.name!r}" if isinstance(wanted, Layer) else f"layer {wanted!r}"
        raise ValueError(f'Model "{model.name}" has no {named}. Its layers are {list(layers_by_key(model))}.')
    return next(iter(fitting.values()))


def is_convolution(layer) -> bool:
    return hasattr(layer, "kernel_size")


def is_pooling(layer) -> bool:
    return hasattr(layer, "pool_size")


def checked(model, x, what: str):
    """`x` as arrays, when the model can be called on it.

    Raises:
        TypeError: when `model` is no model.
        ValueError: when it is not built, or `x` does not have the shape of its input.
    """
    if not isinstance(model, Model):
        raise TypeError(f"{what}: expected a Model; received {model!r}.")
    if not model.built:
        raise ValueError(f'{what}: model "{model.name}" is not built, it has no weights to look at. Call it on data,'
                         " or `build` it, first.")
    x = tree.map_structure(lambda a: a.numpy() if isinstance(a, Tensor) else np.asarray(a), x)
    if isinstance(x, np.ndarray) and model.inputs is not None and len(model.inputs) == 1:
        shape = model.inputs[0].shape
        if len(shape) != x.ndim or any(want not in (None, got) for want, got in zip(shape, x.shape)):
            hint = " One sample needs an axis in front: x[None]." if x.ndim == len(shape) - 1 else ""
            raise ValueError(f'{what}: model "{model.name}" expects x of shape {shape}; received {x.shape}.{hint}')
    if any(len(a) == 0 for a in tree.flatten(x)):
        raise ValueError(f"{what}: expected at least one sample; received x of shape {tree.flatten(x)[0].shape}.")
    return x


def trace(model, x):
    """What a model computes for the first sample of `x`.

    Returns:
        (steps, result): all layers and ops with their outputs in the order in which they end, and the model's output.
    """
    models = [model, *(layer for layer in layers_by_path(model).values() if isinstance(layer, Model))]
    ops = {id(o): o for m in models if m._graph is not None for o in m._graph.operations if isinstance(o, OpCall)}
    steps = []

    def see(operation, output):
        steps.append((operation, output))
        return output

    with no_grad(), watching([*layers_by_path(model).values(), *ops.values()], see):
        result = model(tree.map_structure(lambda a: a[:1], x), training=False)
    return steps, result
