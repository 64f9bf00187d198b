"""Pictures of the graph of a model, drawn here: no Graphviz is needed."""

from __future__ import annotations

import os
from typing import NamedTuple

from pydl import tree
from pydl.layers import InputLayer
from pydl.models import Model, Sequential
from pydl.registry import to_snake_case
from pydl.symbolic import OpCall
from pydl.utils.diagram import CHARACTER, Diagram, Line, Rect, Text
from pydl.utils.layered_layout import layered

__all__ = ["model_to_dot", "plot_model"]

_ROW = 24.0  # height of a row of a box
_PAD = 8.0  # beside the text
_MARGIN = 12.0  # around a nested model and the whole
_TITLE = 20.0  # of a nested model
_RANKDIRS = ("TB", "LR", "BT", "RL")
_SPLINES = ("ortho", "curved", "spline", "polyline", "line")


class _Cell(NamedTuple):
    text: str
    fill: str = "white"
    colour: str = "black"
    bold: bool = False

    @property
    def width(self) -> float:
        return len(self.text) * CHARACTER + 2 * _PAD


class _Options(NamedTuple):
    shapes: bool
    dtype: bool
    names: bool
    rankdir: str
    expand: bool
    activations: bool
    trainable: bool
    splines: str


class _Picture:
    """A model's graph laid out; the origin is its upper left corner.

    Attributes:
        shapes: what is drawn.
        entries, exits: boxes (x, y, width, height) that arrows to an input, from an output, belong to.
        source: lines of DOT text; `entry_names`, `exit_names` the nodes there.
    """

    def __init__(self):
        self.width = self.height = 0.0
        self.shapes: list = []
        self.entries: list[tuple] = []
        self.exits: list[tuple] = []
        self.source: list[str] = []
        self.entry_names: list[str] = []
        self.exit_names: list[str] = []


def model_to_dot(model, show_shapes=False, show_dtype=False, show_layer_names=True, rankdir="TB", expand_nested=False,
                 dpi=200, subgraph=False, show_layer_activations=False, show_trainable=False, splines="ortho",
                 **kwargs) -> Diagram:
    """The graph of a model as a drawing, with the methods of pydot's graphs that write it.

    Args:
        model: built Sequential or functional model; one of another kind becomes one box.
        show_shapes: whether input and output shapes are shown.
        show_dtype: whether dtypes of outputs are shown.
        show_layer_names: whether layers are named beside their class.
        rankdir: "TB" from top to bottom, "LR" from left to right; "BT", "RL".
        expand_nested: whether nested models are drawn with their layers, in a frame.
        dpi: resolution of pictures made of pixels.
        subgraph: whether the model gets a frame with its name.
        show_layer_activations: whether activations are shown of layers that have one.
        show_trainable: whether it is shown if a layer with weights is trained.
        splines: form of the arrows: "ortho" (right angles), "curved" or "spline", "polyline" or "line".

    Returns:
        A `Diagram`: `write(path)`, `create(format=...)`, `svg()`, `figure()`, `to_string()` (DOT text).

    Raises:
        ValueError: for a model that is not built, or an unknown argument or value.
    """
    if not isinstance(model, Model) or not model.built:
        raise ValueError("This model has not yet been built. Build the model first by calling `build()` or by calling"
                         f" the model on a batch of data. Received: model={model!r}")
    if kwargs.pop("layer_range", None) is not None:
        raise ValueError("Argument `layer_range` is no longer supported.")
    if kwargs:
        raise ValueError(f"Unrecognized keyword arguments: {kwargs}")
    if rankdir not in _RANKDIRS:
        raise ValueError(f"Expected rankdir to be one of {_RANKDIRS}; received {rankdir!r}.")
    if splines not in _SPLINES:
        raise ValueError(f"Expected splines to be one of {_SPLINES}; received {splines!r}.")
    options = _Options(show_shapes, show_dtype, show_layer_names, rankdir, expand_nested, show_layer_activations,
                       show_trainable, splines)
    picture = _draw(model, options, "n")
    if subgraph:
        picture = _framed(model, picture, "n")
    shapes = [_moved(shape, _MARGIN, _MARGIN) for shape in picture.shapes]
    source = "\n".join(["digraph {", f"rankdir={rankdir}; dpi={dpi}; node [shape=box, fontname=monospace];",
                        *picture.source, "}\n"])
    return Diagram(picture.width + 2 * _MARGIN, picture.height + 2 * _MARGIN, shapes, dpi, source)


def plot_model(model, to_file="model.png", show_shapes=False, show_dtype=False, show_layer_names=False, rankdir="TB",
               expand_nested=False, dpi=200, show_layer_activations=False, show_trainable=False, splines="ortho",
               **kwargs):
    """Saves a picture of the graph of a model.

    Args:
        model: see `model_to_dot`, as all other arguments.
        to_file: path of the picture; its suffix tells the format. ".svg" and ".dot" need no other package, ".png",
            ".pdf", ".jpg" and so on matplotlib (`pip install 'pydl[viz]'`).

    Returns:
        In Jupyter (where IPython is installed) an object that shows the picture, else None; also for .pdf and .dot.
    """
    diagram = model_to_dot(model, show_shapes=show_shapes, show_dtype=show_dtype, show_layer_names=show_layer_names,
                           rankdir=rankdir, expand_nested=expand_nested, dpi=dpi,
                           show_layer_activations=show_layer_activations, show_trainable=show_trainable,
                           splines=splines, **kwargs)
    to_file = os.fspath(to_file)
    format = os.path.splitext(to_file)[1][1:].lower() or "png"
    diagram.write(to_file, format=format)
    if format in ("pdf", "dot", "gv", "raw"):
        return None
    try:
        from IPython import display
    except ImportError:
        return None
    return display.SVG(filename=to_file) if format == "svg" else display.Image(filename=to_file)


# ---- the graph -----------------------------------------------------------------------------------------------------


def _graph(model):
    """(operations, edges, calls): edges as (source, output index, operation, input index), and the symbolic nodes of
    each operation by id. A Sequential shows no input."""
    if model._graph is None:
        return [model], [], {}
    given = {id(t) for t in model._graph.input_tensors}
    hidden = isinstance(model, Sequential)
    calls: dict[int, list] = {}
    edges = []
    for node in model._graph.nodes:
        if hidden and isinstance(node.operation, InputLayer):
            continue
        calls.setdefault(id(node.operation), []).append(node)
        if all(id(t) in given for t in tree.flatten(node.outputs)):
            continue
        for position, t in enumerate(node.inputs):
            if t.node is not None and not (hidden and isinstance(t.node.operation, InputLayer)):
                edges.append((t.node.operation, t.index, node.operation, position))
    return [o for o in model._graph.operations if id(o) in calls], edges, calls


def _draw(model, options: _Options, prefix: str) -> _Picture:
    operations, edges, calls = _graph(model)
    sideways = options.rankdir in ("LR", "RL")
    parts: dict[int, _Picture] = {}
    for number, operation in enumerate(operations):
        name = f"{prefix}_{number}"
        nested = options.expand and operation is not model and isinstance(operation, Model)
        if nested and operation._graph is not None:
            parts[id(operation)] = _framed(operation, _draw(operation, options, name), name)
        else:
            parts[id(operation)] = _box(operation, calls.get(id(operation), ()), options, name)
    sizes = {key: (p.height, p.width) if sideways else (p.width, p.height) for key, p in parts.items()}
    layout = layered(sizes, [(id(a), id(b)) for a, _, b, _ in edges])
    picture = _Picture()
    picture.width, picture.height = (layout.height, layout.width) if sideways else (layout.width, layout.height)

    def point(across, along):
        along = layout.height - along if options.rankdir in ("BT", "RL") else along
        return (along, across) if sideways else (across, along)

    corner = {}
    for key, part in parts.items():
        x, y = point(*layout.centres[key])
        corner[key] = x - part.width / 2, y - part.height / 2
        picture.shapes += [_moved(shape, *corner[key]) for shape in part.shapes]
        picture.source += part.source
    lanes = _lanes(layout, edges)
    drawn = set()
    for source, index, target, position in edges:
        a, b = parts[id(source)], parts[id(target)]
        start, end = _pick(a.exits, index), _pick(b.entries, position)
        pair = _pick(a.exit_names, index), _pick(b.entry_names, position)
        if pair in drawn:
            continue
        drawn.add(pair)
        picture.source.append(f"{pair[0]} -> {pair[1]};")
        boxes = _shift(start, corner[id(source)]), _shift(end, corner[id(target)])
        picture.shapes.append(_line((id(source), id(target)), boxes, layout, lanes, options, point))
    for ends, place, names, which in ((picture.entries, "entries", picture.entry_names, "entry_names"),
                                      (picture.exits, "exits", picture.exit_names, "exit_names")):
        for operation, index in _ends(model, operations, place):
            part = parts[id(operation)]
            ends.append(_shift(_pick(getattr(part, place), index), corner[id(operation)]))
            names.append(_pick(getattr(part, which), index))
    return picture


def _ends(model, operations, place: str) -> list:
    """The (operation, index) that an arrow to each input, from each output, of the model belongs to."""
    if model._graph is None:
        return [(model, 0)]
    if isinstance(model, Sequential):
        return [(operations[0 if place == "entries" else -1], 0)]
    tensors = model._graph.input_tensors if place == "entries" else model._graph.output_tensors
    return [(t.node.operation, t.index) for t in tensors]


def _pick(values: list, index: int):
    return values[index] if index < len(values) else values[-1]


def _shift(box: tuple, corner: tuple) -> tuple:
    return (box[0] + corner[0], box[1] + corner[1], *box[2:])


# ---- arrows ----------------------------------------------------------------------------------------------------------


def _lanes(layout, edges) -> dict:
    """(source, gap) -> where in the gap below its rank the arrows of a source run across, so that arrows of different
    sources do not lie on each other."""
    bent: dict[int, dict] = {}
    for source, _, target, _ in edges:
        a, b = id(source), id(target)
        if a == b or (a, b) in layout.turned:
            continue
        bends = layout.bends[a, b]
        across = [layout.centres[a][0], *(x for x, _ in bends), layout.centres[b][0]]
        for step in range(0, len(across) - 1, 2):
            if abs(across[step] - across[step + 1]) > 0.5:
                bent.setdefault(layout.ranks[a] + step // 2, {})[a] = across[step]
    lanes = {}
    for gap, sources in bent.items():
        top, bottom = layout.gaps[gap]
        for number, a in enumerate(sorted(sources, key=sources.__getitem__)):
            lanes[a, gap] = top + (bottom - top - 8) * (number + 1) / (len(sources) + 1)
    return lanes


def _line(edge, boxes, layout, lanes, options: _Options, point) -> Line:
    """The arrow of an edge between two boxes (x, y, width, height)."""
    sideways = options.rankdir in ("LR", "RL")
    (x, y, w, h), (x2, y2, w2, h2) = boxes
    a, b = edge
    if a == b:  # a layer on its own output
        side = x + w + 14
        low, high = y + h * 0.3, y + h * 0.7
        return Line(((x + w, high), (side, high), (side, low), (x + w, low)), False, False)
    turned = edge in layout.turned
    ahead = (options.rankdir in ("TB", "LR")) != turned  # whether the arrow leaves towards larger coordinates
    if sideways:
        start, end = (x + w if ahead else x, y + h / 2), (x2 if ahead else x2 + w2, y2 + h2 / 2)
    else:
        start, end = (x + w / 2, y + h if ahead else y), (x2 + w2 / 2, y2 if ahead else y2 + h2)
    bends = [point(*p) for p in layout.bends[edge]]
    points = [start, *bends, end]
    if options.splines != "ortho" or turned:
        return Line(tuple(points), options.splines in ("curved", "spline"), not sideways)
    square = [points[0]]
    for step, (p, q) in enumerate(zip(points, points[1:])):
        gap = layout.ranks[a] + step // 2
        if step % 2 == 0 and abs((p[1] - q[1]) if sideways else (p[0] - q[0])) > 0.5:
            middle = lanes.get((a, gap), sum(layout.gaps[gap]) / 2)
            along = point(0.0, middle)[0 if sideways else 1]
            square += [(along, p[1]), (along, q[1])] if sideways else [(p[0], along), (q[0], along)]
        square.append(q)
    return Line(tuple(square), False, not sideways)


# ---- boxes -----------------------------------------------------------------------------------------------------------


def _box(operation, nodes, options: _Options, name: str) -> _Picture:
    """One layer or op: a black row with class and name, below what was asked for."""
    rows = _rows(operation, nodes, options)
    picture = _Picture()
    picture.width = max(sum(cell.width for cell in row) for row in rows)
    picture.height = _ROW * len(rows)
    for number, row in enumerate(rows):
        spare = (picture.width - sum(cell.width for cell in row)) / len(row)
        x = 0.0
        for cell in row:
            width = cell.width + spare
            picture.shapes.append(Rect(x, number * _ROW, width, _ROW, cell.fill))
            picture.shapes.append(Text(x + width / 2, (number + 0.5) * _ROW, cell.text, cell.colour, cell.bold))
            x += width
    picture.entries = picture.exits = [(0.0, 0.0, picture.width, picture.height)]
    picture.entry_names = picture.exit_names = [name]
    label = "\\n".join("  ".join(cell.text for cell in row) for row in rows).replace('"', '\\"')
    picture.source = [f'{name} [label="{label}"];']
    return picture


def _rows(operation, nodes, options: _Options) -> list[list[_Cell]]:
    kind = _camel(operation.fn.__name__) if isinstance(operation, OpCall) else type(operation).__name__
    title = f"{operation.name} ({kind})" if options.names else kind
    rows = [[_Cell(title, "black", "white", True)]]
    activation = getattr(operation, "activation", None)
    if options.activations and activation is not None:
        named = getattr(activation, "name", None) or getattr(activation, "__name__", None) or str(activation)
        rows.append([_Cell(f"Activation: {named}")])
    cells = []
    if options.shapes:
        if not isinstance(operation, InputLayer):
            cells.append(_Cell(f"Input shape: {_of_calls(nodes, 'inputs', 'shape')}"))
        cells.append(_Cell(f"Output shape: {_of_calls(nodes, 'outputs', 'shape')}"))
    if options.dtype:
        cells.append(_Cell(f"Output dtype: {_of_calls(nodes, 'outputs', 'dtype')}"))
    if options.trainable and getattr(operation, "weights", None):
        cells.append(_Cell("Trainable", "forestgreen", "white", True) if operation.trainable
                     else _Cell("Non-trainable", "firebrick", "white", True))
    return [*rows, cells] if cells else rows


def _of_calls(nodes, ends: str, attribute: str) -> str:
    """Shapes or dtypes of what a layer gets or gives; of a shared layer those of all its calls, where they differ."""
    found = []
    for node in nodes:
        values = [getattr(t, attribute) for t in tree.flatten(getattr(node, ends))]
        found.append(str(values[0]) if len(values) == 1 else f"[{', '.join(map(str, values))}]")
    return " | ".join(dict.fromkeys(found)) or "?"


def _camel(name: str) -> str:
    return "".join(part[:1].upper() + part[1:] for part in to_snake_case(name).split("_"))


def _framed(model, inner: _Picture, name: str) -> _Picture:
    """A nested model in a dashed frame with its name."""
    picture = _Picture()
    picture.width = max(inner.width, len(model.name) * CHARACTER) + 2 * _MARGIN
    picture.height = inner.height + 2 * _MARGIN + _TITLE
    offset = (picture.width - inner.width) / 2, _MARGIN + _TITLE
    picture.shapes = [Rect(0.0, 0.0, picture.width, picture.height, "#f6f6f6", True),
                      Text(_MARGIN, _MARGIN + _TITLE / 4, model.name, centred=False),
                      *(_moved(shape, *offset) for shape in inner.shapes)]
    picture.entries = [_shift(box, offset) for box in inner.entries]
    picture.exits = [_shift(box, offset) for box in inner.exits]
    picture.source = [f'subgraph cluster_{name} {{ label="{model.name}"; style=dashed;', *inner.source, "}"]
    picture.entry_names, picture.exit_names = inner.entry_names, inner.exit_names
    return picture


def _moved(shape, dx: float, dy: float):
    if isinstance(shape, Line):
        return shape._replace(points=tuple((x + dx, y + dy) for x, y in shape.points))
    return shape._replace(x=shape.x + dx, y=shape.y + dy)
