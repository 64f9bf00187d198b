"""The table of `Model.summary`."""

from __future__ import annotations

import math

from pydl import tree
from pydl.layers._call import call_signature
from pydl.layers.core import InputLayer
from pydl.models.trainer import Trainer
from pydl.symbolic import KerasTensor


def count(variables) -> int:
    return sum(math.prod(v.shape) for v in variables)


def memory(variables) -> str:
    size = sum(math.prod(v.shape) * v.data.itemsize for v in variables)
    for unit in ("B", "KB", "MB", "GB"):
        if size < 1024 or unit == "GB":
            return f"{size:.2f} {unit}"
        size /= 1024
    return ""


def output_shape(layer, graph=None) -> str:
    """The shapes of what an operation gives at its first call (in `graph`); of a layer that was only built, those for
    inputs of the shapes it was built with; "?" where nothing is known."""
    if isinstance(layer, InputLayer):
        return str(layer.batch_shape)
    nodes = [node for node in graph.nodes if node.operation is layer] if graph is not None else []
    nodes = nodes or getattr(layer, "_inbound_nodes", [])
    if nodes:
        shapes = [t.shape for t in tree.flatten(nodes[0].outputs) if isinstance(t, KerasTensor)]
    elif getattr(layer, "_build_shapes", None):
        try:
            shapes = [t.shape for t in tree.flatten(layer.compute_output_spec(**{
                name: _of_any_batch(shape) for name, shape in _call_arguments(layer).items()}))]
        except Exception:  # a layer of the user's
            return "?"
    else:
        return "?"
    return str(shapes[0]) if len(shapes) == 1 else str(shapes)


def _call_arguments(layer) -> dict:
    """The shapes a layer was built with by the names of the arguments of its `call`."""
    names = list(call_signature(layer).places)
    return {names[0] if name == "input_shape" else name.removesuffix("_shape"): shape
            for name, shape in layer._build_shapes.items()}


def _of_any_batch(shapes):
    if isinstance(shapes, dict):
        return {name: _of_any_batch(shape) for name, shape in shapes.items()}
    if all(d is None or isinstance(d, int) for d in shapes):
        return KerasTensor((None, *shapes[1:]))
    return [_of_any_batch(shape) for shape in shapes]


def summary(model, line_length=None, positions=None, print_fn=None, expand_nested=False, show_trainable=False,
            layer_range=None) -> None:
    """Prints one row per layer: name and type, output shape, parameters (and what feeds it, for graphs).

    Args:
        line_length: width of the table; fitted to the content by default.
        positions: accepted for Keras scripts; columns are fitted to their content.
        print_fn: called with the text instead of `print`.
        expand_nested: show the layers inside nested models.
        show_trainable: add a column that tells whether a layer is trained.
        layer_range: pair of layer names; only the layers from the first to the second are shown.
    """
    graph = model._graph if model._shows_connections else None
    header = ["Layer (type)", "Output Shape", "Param #"]
    if graph is not None:
        header.append("Connected to")
    if show_trainable:
        header.append("Trainable")
    rows: list[list[str]] = []

    def add(layer, depth, owner):
        prefix = "   " * depth + ("└ " if depth else "")
        weights = layer.weights if hasattr(layer, "weights") else []
        built = getattr(layer, "built", True)
        row = [f"{prefix}{layer.name} ({_kind(layer)})", output_shape(layer, owner),
               f"{count(weights):,}" if built else "0 (unbuilt)"]
        if graph is not None:
            row.append(_sources(layer, owner) if owner is not None else "-")
        if show_trainable:
            row.append(("Y" if layer.trainable else "N") if weights else "-")
        rows.append(row)
        if expand_nested and isinstance(layer, Trainer):
            for inner in layer.layers:
                add(inner, depth + 1, None)

    shown = list(graph.operations) if graph is not None else model.layers
    if layer_range is not None:
        names = [layer.name for layer in shown]
        for name in layer_range:
            if name not in names:
                raise ValueError(f"layer_range names '{name}', which is no layer of the model: {names}")
        shown = shown[names.index(layer_range[0]):names.index(layer_range[1]) + 1]
    for layer in shown:
        add(layer, 0, graph)

    trainable, other = model.trainable_weights, model.non_trainable_weights
    built = model.compiled and getattr(model.optimizer, "built", False)
    optimizer = list(model.optimizer.variables) if built else []
    totals = [f" Total params: {count(trainable) + count(other) + count(optimizer):,}"
              f" ({memory(trainable + other + optimizer)})",
              f" Trainable params: {count(trainable):,} ({memory(trainable)})",
              f" Non-trainable params: {count(other):,} ({memory(other)})"]
    if optimizer:
        totals.append(f" Optimizer params: {count(optimizer):,} ({memory(optimizer)})")
    text = "\n".join([f'Model: "{model.name}"', *_table(header, rows, line_length), *totals])
    if print_fn is None:
        print(text)
    else:
        for line in text.split("\n"):
            print_fn(line)


def _kind(layer) -> str:
    function = getattr(layer, "fn", None)
    return type(layer).__name__ if function is None else function.__name__


def _sources(layer, graph) -> str:
    names = []
    for node in graph.nodes:
        if node.operation is layer:
            for t in node.inputs:
                if t.node is not None:
                    position = [n for n in graph.nodes if n.operation is t.node.operation].index(t.node)
                    names.append(f"{t.node.operation.name}[{position}][{t.index}]")
    return ", ".join(names) or "-"


def _table(header, rows, line_length) -> list[str]:
    widths = [max(len(r[i]) for r in [header, *rows]) for i in range(len(header))]
    spare = (line_length or 0) - sum(widths) - 3 * len(widths) - 1
    if spare > 0:
        widths = [w + spare // len(widths) for w in widths]

    def line(cells):
        texts = [f" {c:>{w}} " if i == 2 else f" {c:<{w}} " for i, (c, w) in enumerate(zip(cells, widths))]
        return "│" + "│".join(texts) + "│"

    def rule(left, middle, right):
        return left + middle.join("─" * (w + 2) for w in widths) + right

    return [rule("┌", "┬", "┐"), line(header), rule("├", "┼", "┤"), *map(line, rows), rule("└", "┴", "┘")]
