"""Memory that backpropagation needs: what the forward pass keeps for the gradients."""

from __future__ import annotations

import types

import numpy as np

from pydl import tree
from pydl.autograd import GradientTape
from pydl.inspection.rehearsal import as_batch, parts, unchanged
from pydl.inspection.watching import checked, replaced
from pydl.tape import Node
from pydl.tensor import Tensor, from_numpy

__all__ = ["backprop_memory"]


def backprop_memory(model, x, y=None, sample_weight=None) -> dict[str, int]:
    """Bytes that a training step keeps for its backward pass, by layer.

    How it is measured: the forward pass runs once in training mode with the tape on. Every node of the tape holds a
    function for its gradient; the arrays which that function refers to are what the node has saved. Each block of
    memory is counted once, in full, for the first layer in the order of computation whose gradient refers to it: the
    output of a layer counts for that layer when its own gradient needs it, else for the one that reads it. Weights are
    not counted, as they exist anyway; the batch itself is, for the layer that reads it. The sum is what is alive when
    the backward pass begins; the buffers it then needs for gradients, and those of the optimizer, come on top.

    Args:
        model: a built model; when it is compiled and `y` is given, the loss is part of it.
        x, y, sample_weight: one batch.

    Returns:
        layer -> bytes, in order of computation; what lies between and behind the layers (ops, losses, penalties) under
        "(outside of layers)". All grow in proportion to the batch, but for what a layer keeps of its weights.

    Raises:
        TypeError, ValueError: for something that is no built model, or an `x` that does not fit.
    """
    x = checked(model, x, "backprop_memory")
    batch = as_batch(x, y, sample_weight)
    layers = parts(model)
    order: dict[str, None] = {}
    of_node: dict[int, str] = {}

    def marked(name, layer):
        original = layer.call

        def call(*args, **kwargs):
            order.setdefault(name)
            first = Node((), None).order
            output = original(*args, **kwargs)
            last = Node((), None).order
            spans.append((first, last, name))
            return output

        return layer, "call", call

    spans: list[tuple[int, int, str]] = []
    # Copies: blocks of the batch's own size, not views of a whole data set.
    tensors = tree.map_structure(lambda a: from_numpy(a.copy()) if isinstance(a, np.ndarray) else a, batch)
    with unchanged(model), GradientTape(), replaced(*(marked(*item) for item in layers.items())):
        result = model(tensors[0], training=True)
        if model.compiled and y is not None:
            result = model.compute_loss(tensors[0], tensors[1], result, tensors[2], training=True)
        nodes = _nodes(tree.flatten(result))
        for node in nodes:
            name = next((name for first, last, name in spans if first < node.order < last), None)
            of_node[node.order] = name or "(outside of layers)"
        counted = {_address(v.data) for v in model.variables}
        found = dict.fromkeys(order, 0)
        for node in nodes:
            for array in _saved(node.vjp):
                if _address(array) not in counted:
                    counted.add(_address(array))
                    found[of_node[node.order]] = found.get(of_node[node.order], 0) + _block(array).nbytes
    return found


def _nodes(results) -> list[Node]:
    """All nodes behind tensors, oldest first, without leaves."""
    found: dict[int, Node] = {}
    waiting = [t.node for t in results if isinstance(t, Tensor) and t.node is not None]
    while waiting:
        node = waiting.pop()
        if node.order not in found and node.vjp is not None:
            found[node.order] = node
            waiting += [edge[0] for edge in node.inputs if edge is not None]
    return [found[i] for i in sorted(found)]


def _saved(value, seen=None):
    """The arrays a function refers to in its closure, also inside containers and other functions."""
    seen = set() if seen is None else seen
    if id(value) in seen:
        return
    seen.add(id(value))
    if isinstance(value, Tensor):
        yield value.data
    elif isinstance(value, np.ndarray):
        yield value
    elif isinstance(value, types.FunctionType):
        for cell in value.__closure__ or ():
            try:
                yield from _saved(cell.cell_contents, seen)
            except ValueError:  # a name that was never bound
                pass
        for default in value.__defaults__ or ():
            yield from _saved(default, seen)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _saved(item, seen)
    elif isinstance(value, dict):
        for item in value.values():
            yield from _saved(item, seen)


def _block(array: np.ndarray) -> np.ndarray:
    """The array whose memory a view shows."""
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array


def _address(array: np.ndarray) -> int:
    return _block(array).ctypes.data
