"""Recurrence one step after the other: what ops over sequences are composed of, and cells that no kernel knows."""

from __future__ import annotations

from pydl import ops, tree
from pydl.ops.activation import sigmoid, tanh


def unrolled(advance, steps: int, states, mask, go_backwards: bool) -> tuple:
    """One step after the other.

    Args:
        advance: function (number of the step, states) -> output (batch, ...), new states.
        steps: number of steps, at least 1.
        states: before the first step, as a list.
        mask: (batch, steps) or None; a masked step leaves the states and repeats the output before it, zeros at first.
        go_backwards: whether to begin at the last step.

    Returns:
        Outputs (batch, steps, ...) in the order of the walk, and the last states.
    """
    outputs: list = []
    kept = [None] * steps if mask is None else ops.unstack(mask, axis=1)
    for t in reversed(range(steps)) if go_backwards else range(steps):
        output, new = advance(t, states)
        if mask is not None:
            before = outputs[-1] if outputs else ops.zeros(output.shape, output.dtype)
            output = ops.where(beside(kept[t], output), output, before)
            new = [ops.where(beside(kept[t], a), a, b) for a, b in zip(tree.flatten(new), tree.flatten(states))]
        outputs.append(output)
        states = tree.pack_sequence_as(states, tree.flatten(new))
    return ops.stack(outputs, 1), states


def beside(mask, values):
    """`mask` with axes of size 1 up to the rank of `values`."""
    return ops.reshape(mask, (*mask.shape, *[1] * (values.ndim - mask.ndim)))


def lstm_step(sums, c, gate=sigmoid, activation=tanh) -> tuple:
    """(h, c, values of the gates) from the sums of the gates i f g o and the cell state before."""
    i, f, g, o = gate(sums[0]), gate(sums[1]), activation(sums[2]), gate(sums[3])
    c = f * c + i * g
    return o * activation(c), c, (i, f, g, o)


def gru_step(inputs, products, candidate, h, gate=sigmoid, activation=tanh) -> tuple:
    """(h, values of the gates) of a gated recurrent unit.

    Args:
        inputs: what the inputs add to the sums of the gates z r n.
        products: what the state adds to those of z and r.
        candidate: function of r: what the state adds to that of n.
        h: the state before.
        gate, activation: of z and r, of n.
    """
    z, r = gate(inputs[0] + products[0]), gate(inputs[1] + products[1])
    n = activation(inputs[2] + candidate(r))
    return z * h + (1 - z) * n, (z, r, n)
