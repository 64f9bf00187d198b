"""What the gates of an LSTM or GRU do over a sequence."""

from __future__ import annotations

import numpy as np

from pydl import ops, tree
from pydl.autograd import no_grad
from pydl.inspection.watching import checked, find_layer, layers_by_path, replaced
from pydl.layers import GRU, LSTM
from pydl.models import Model

__all__ = ["gates"]


def gates(model, x, layer=None) -> dict[str, np.ndarray]:
    """The gate values of an LSTM or GRU layer, step by step.

    Args:
        model: a built model, or an LSTM or GRU layer itself.
        x: batch of inputs of the model, or of the layer.
        layer: the layer of the model, by name, path ("bidirectional/backward_lstm") or itself; not needed when there is
            one.

    Returns:
        For an LSTM "i", "f", "o" (input, forget, output gate), "g" (candidate) and "c" (cell state), for a GRU "z", "r"
        (update, reset gate) and "n" (candidate): arrays (batch, steps, units), in the order in which the layer walks.
        At masked steps gates are 0.

    Raises:
        ValueError: when the layer is not told apart, not used, or has other activations than tanh and sigmoid.
    """
    if isinstance(model, (LSTM, GRU)):
        chosen = model
    else:
        x = checked(model, x, "gates")
        found = {path: part for path, part in layers_by_path(model).items() if isinstance(part, (LSTM, GRU))}
        if layer is None and len(found) != 1:
            raise ValueError(f'gates: model "{model.name}" has {len(found)} LSTM and GRU layers: {list(found)}. Name'
                             " one of them by `layer`.")
        chosen = next(iter(found.values())) if layer is None else find_layer(model, layer)
    if not isinstance(chosen, (LSTM, GRU)) or not chosen.cell.is_fused():
        raise ValueError(f'gates: expected an LSTM or GRU layer with activations tanh and sigmoid; {chosen!r} is none.')
    cell, seen = chosen.cell, {}

    def walk(*given):
        args, kwargs = cell.fused_inputs(*given)
        if isinstance(chosen, LSTM):
            sequence, *last, values = ops.lstm(*args, **kwargs, return_gates=True)
        else:
            sequence, *last, values = ops.gru(*args, **kwargs, reset_after=cell.reset_after, return_gates=True)
        seen.update({name: np.array(value.numpy()) for name, value in values.items()})
        return sequence, last

    owners = [p for p in model._flatten_layers() if getattr(p, "stateful", False) and not isinstance(p, Model)]
    states = [v for p in owners if p.states is not None for v in tree.flatten(p.states)]
    kept = [v.numpy() for v in states]
    with no_grad(), replaced((cell, "walk", walk)):
        model(x, training=False)
    for variable, value in zip(states, kept):
        variable.assign(value)
    if not seen:
        raise ValueError(f'gates: model "{model.name}" does not use its layer "{chosen.name}".')
    return seen
