"""What recurrent layers and cells share: draws of dropout, and the calls of cells of any kind."""

from __future__ import annotations

import contextlib

from pydl import ops, tree
from pydl.layers.base import Layer


@contextlib.contextmanager
def one_draw(cell):
    """Inside, cells drop the same places at every step."""
    cells = [c for c in cell._flatten_layers() if hasattr(c, "_drawn")] if isinstance(cell, Layer) else []
    for c in cells:
        object.__setattr__(c, "_drawn", {})  # no setting: programs do not depend on it
    try:
        yield
    finally:
        for c in cells:
            object.__setattr__(c, "_drawn", None)


def listed(states) -> list:
    return list(states) if isinstance(states, (list, tuple)) else [states]


def check_cell(cell, who) -> None:
    """Raises a ValueError for what cannot be a cell."""
    for attribute in ("call", "state_size"):
        if not hasattr(cell, attribute):
            raise ValueError(f"{who}: a cell has a method `call(inputs, states)` and an attribute `state_size`;"
                             f" {cell!r} has no `{attribute}`.")
    size = cell.state_size
    if not all(isinstance(s, int) for s in tree.flatten(size)) or not isinstance(size, (int, list, tuple)):
        raise ValueError(f"{who}: the state_size of a cell is an int or a list of ints; received {size!r}.")


def output_size_of(cell) -> int:
    """`output_size` of a cell, the size of its first state where it has none."""
    size = getattr(cell, "output_size", None)
    return tree.flatten(cell.state_size)[0] if size is None else size


def initial_state_of(cell, batch_size, dtype):
    """What the cell's `get_initial_state` gives, or zeros in the form of `state_size`."""
    if hasattr(cell, "get_initial_state"):
        return cell.get_initial_state(batch_size=batch_size)
    return tree.map_structure(lambda n: ops.zeros((batch_size, n), dtype), cell.state_size)


def step(cell, inputs, states, training) -> tuple:
    """One call of any cell; states as a list."""
    if isinstance(cell, Layer):
        output, states = cell(inputs, states, training=training)
    else:
        output, states = cell.call(inputs, states)
    return output, listed(states)
