"""Fused ops: a kernel serves an op that is composed of others.

The op is the composed function. A decorator names the kernel that computes it, and its gradient, in one pass:

    def _kernel(x, axis):
        y = empty(x.shape, x.dtype)
        ...
        return differentiable(y, (x,), vjp)

    @fused(_kernel)
    def _softmax(x, axis):
        e = ops.exp(x - ops.max(x, axis, keepdims=True))
        return e / ops.sum(e, axis, keepdims=True)

The kernel keeps for its gradient what it likes. Where a gradient may itself be differentiated (`tape.twice`) the
arguments are kept too, and the gradient that is recorded is that of the composed function, which has gradients of every
order. The test harness compares both for every row of `tests/cases/`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from pydl.tape import FIRST_ORDER, Node, backward_pass, state, twice
from pydl.tensor import Tensor, seed_of

__all__ = ["composed_ops", "fused", "recorded_gradient"]


class composed_ops:
    """Context: fused ops run as what they are composed of, on this thread."""

    def __enter__(self):
        self._before = state.composed
        state.composed = True

    def __exit__(self, *_):
        state.composed = self._before


def recorded_gradient(outputs, again: Callable[..., Any]):
    """Says how the gradient of a kernel is computed while it is itself recorded.

    Args:
        outputs: what `differentiable` returned: a tensor, or a tuple of tensors of one node.
        again: `vjp` made of ops. It holds what a second derivative needs, and is dropped where none can be asked.

    Returns:
        `outputs`.
    """
    node = (outputs[0] if isinstance(outputs, (tuple, list)) else outputs).node
    if node is not None:
        node.again = again if twice() else FIRST_ORDER
    return outputs


def fused(kernel: Callable[..., Any], constants: tuple[int, ...] = (),
          keeps_inputs: bool = False) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorator of a function composed of ops: `kernel` computes it.

    Args:
        kernel: has the arguments and results of the composed function: tensors, by position, which both take as they
            are (of one dtype, checked, in the order of axes the kernel wants), and other values. Its result, or all of
            a tuple of them, come from one call of `differentiable`, whose inputs are among the arguments; further
            results may be None.
        constants: positions of arguments that the kernel has no gradient for (the targets of a loss). Where one of
            them needs a gradient, the composed function runs instead.
        keeps_inputs: the kernel's gradient reads all its inputs, so keeping them costs nothing under one tape either.
    """

    def decorate(composed):
        @functools.wraps(composed)
        def call(*args):
            if state.composed:
                return composed(*args)
            for i in constants:
                x = args[i]
                if x is not None and x.node is not None and state.enabled:
                    return composed(*args)
            outputs = kernel(*args)
            node = outputs.node if isinstance(outputs, Tensor) else outputs[0].node
            if node is not None:
                keep = keeps_inputs or twice()
                node.again = functools.partial(_composed_vjp, composed, args, node.inputs) if keep else FIRST_ORDER
            return outputs

        call.composed = composed
        return call

    return decorate


def _through(dy):
    return (dy,)


def _composed_vjp(composed, args, edges, *grads):
    """The gradients for `edges`, the inputs of a kernel's node, from the composed function.

    Each argument stands for itself there, even if it is given twice or depends on another one.
    """
    stand_ins = []

    def stand_in(x):
        if isinstance(x, (tuple, list)):
            return type(x)(map(stand_in, x))
        if not isinstance(x, Tensor) or x.node is None:
            return x
        twin = x.with_node(Node(((x.node, x.slot),), _through))
        stand_ins.append(twin)
        return twin

    state.tapes += 1  # the ops in it are differentiated below, and that is differentiated again
    try:
        outputs = composed(*map(stand_in, args))
    finally:
        state.tapes -= 1
    pairs = [(y, g) for y, g in zip(outputs if isinstance(outputs, tuple) else (outputs,), grads) if g is not None]
    targets, given = [y for y, _ in pairs], [seed_of(y, g) for y, g in pairs]
    found = backward_pass(targets, given, {(x.node, 0) for x in stand_ins}, free=False, stop=True)
    sums: dict = {}
    for x in stand_ins:
        gradient = found.get((x.node, 0))
        if gradient is not None:
            (edge,) = x.node.inputs
            sums[edge] = sums[edge] + gradient if edge in sums else gradient
    # An argument that was given twice has two edges: the first takes what belongs to both.
    return [sums.pop(edge, None) for edge in edges]
