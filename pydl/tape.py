"""The tape: nodes and the backward pass. Its doors are `Tensor.backward()` and those of `pydl/autograd.py`.

A node knows its inputs and a function that turns the gradient of its outputs into gradients of its inputs (the
vector-Jacobian product). The engine knows no op and no tensor: a value is to it what has a `node`, a `slot`, `+` and
`with_node`. Nodes hang on the values they produced, so what nobody refers to is freed with its saved values.
"""

from __future__ import annotations

import heapq
import itertools
import threading
import weakref
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NoReturn, TypeAlias

_order = itertools.count()


class Node:
    """One application of an op.

    Attributes:
        inputs: the nodes of the op's inputs with their output slots, None where no gradient flows.
        vjp: called with the output gradient (several outputs: one per output, None where nothing flowed back);
            returns one gradient or None per input. None marks a leaf.
        outputs: how many tensors the op returned; `many` when it returned a tuple or list.
        again: what replaces `vjp` while the gradient is itself recorded: None when `vjp` is made of ops and so has a
            gradient; `FIRST_ORDER` when it is a kernel and nothing was kept for more; or a function made of ops, with
            the arguments and results of `vjp` (see `ops/_fused.py`).
        order: creation number; inputs are always older than what is made from them.
        leaf_of: the variable or watched tensor of a leaf.
    """

    __slots__ = ("inputs", "vjp", "again", "outputs", "many", "adds", "order", "leaf_of", "name", "__weakref__")

    def __init__(self, inputs: tuple[Edge | None, ...], vjp: Callable[..., Any] | None, outputs: int = 1,
                 many: bool = False, leaf_of: Callable[[], Any] | None = None, adds: bool = False) -> None:
        self.inputs = inputs
        self.vjp = vjp
        self.again: Any = None
        self.outputs = outputs
        self.many = many
        self.adds = adds
        self.order = next(_order)
        self.leaf_of = leaf_of

    @classmethod
    def leaf(cls, tensor: Any) -> Node:
        return cls((), None, leaf_of=weakref.ref(tensor))

    def __lt__(self, other: Node) -> bool:  # the heap of the backward pass pops the newest node first
        return self.order > other.order


class _State(threading.local):
    def __init__(self) -> None:
        self.enabled = True
        self.tapes = 0  # tapes open on this thread
        self.persistent = 0  # those of them that may be asked again, perhaps inside themselves
        self.shared = False  # two tapes were open at once: their graphs overlap
        self.composed = False  # ops with kernels of their own run as what they are composed of


state = _State()
Edge: TypeAlias = tuple[Node, int]  # a node and which of its outputs


def twice() -> bool:
    """Whether a gradient of what is computed now may itself be differentiated, so that ops must keep their inputs."""
    return state.tapes > 1 or state.persistent > 0


class no_grad:
    """Context: ops inside leave no nodes (prediction, updates of statistics)."""

    def __enter__(self) -> None:
        self._before = state.enabled
        state.enabled = False

    def __exit__(self, *_: object) -> None:
        state.enabled = self._before


# The slot of an op's result without a node: all its inputs were constants, so it is one. A kernel's bare result has
# slot 0 and says nothing about itself.
CONSTANT = -1
# The slot of a gradient in a buffer that nothing else refers to: a later gradient may be added in place.
OWNED = -2
# See `Node.again`.
FIRST_ORDER: Any = object()


def differentiable(outputs: Any, inputs: Iterable[Any], vjp: Callable[..., Any], adds: bool = False) -> Any:
    """Puts the node of an op on its outputs, when a gradient may be needed.

    Args:
        outputs: the tensor the op returns, or a tuple / list of tensors.
        inputs: tuple of the tensors the gradients of `vjp` belong to.
        vjp: see `Node.vjp`. It should skip the work for an input whose `.node` is None.
        adds: whether `vjp` can add to gradients that are already there: it is then called with a list as second
            argument, for each input the tensor to add to in place and return, or None.

    Returns:
        `outputs`.
    """
    if state.enabled:
        for x in inputs:
            if x.node is not None:
                edges = tuple((x.node, x.slot) if x.node is not None else None for x in inputs)
                if isinstance(outputs, (tuple, list)):
                    node = Node(edges, vjp, len(outputs), True, adds=adds)
                    for slot, y in enumerate(outputs):
                        y.node, y.slot = node, slot
                else:
                    outputs.node, outputs.slot = Node(edges, vjp, adds=adds), 0
                break
        else:
            for y in outputs if isinstance(outputs, (tuple, list)) else (outputs,):
                y.slot = CONSTANT
    return outputs


def _freed(*_: object) -> NoReturn:
    raise RuntimeError(
        "The graph of this value was freed by an earlier backward pass. Compute the value again, use"
        " GradientTape(persistent=True), or backward through all results at once."
    )


def _no_second_order(*_: object) -> NoReturn:
    raise RuntimeError(
        "A second derivative was asked of a value that was computed under one tape: what it takes was not kept. Open"
        " both tapes before the computation, or one with GradientTape(persistent=True); a part that needs no second"
        " derivative can be put into ops.stop_gradient."
    )


def backward_pass(targets: Sequence[Any], seeds: Sequence[Any], wanted: set[Edge] | None, free: bool,
                  stop: bool = False) -> dict[Edge, Any]:
    """The engine: visits nodes newest first and hands gradients to their inputs.

    Args:
        targets, seeds: tensors and the gradients with respect to them.
        wanted: set of (node, slot) whose gradients to keep, or None for all leaves.
        free: drop the saved values of each node once it has been visited.
        stop: go no further than the wanted ones.

    Returns:
        dict (node, slot) -> gradient.
    """
    pending: dict[Node, list[Any]] = {}
    heap: list[Node] = []
    result: dict[Edge, Any] = {}
    second_order = state.enabled

    def add(node: Node, slot: int, gradient: Any) -> None:
        grads = pending.get(node)
        if grads is None:
            grads = pending[node] = [None] * node.outputs
            heapq.heappush(heap, node)
        grads[slot] = gradient if grads[slot] is None else grads[slot] + gradient

    def there(node: Node, slot: int) -> Any:
        """The gradient that waits for a slot, when it may be added to in place."""
        found = pending[node][slot] if node in pending else None
        return found if found is not None and found.slot == OWNED else None

    for target, seed in zip(targets, seeds):
        if target.node is not None:
            add(target.node, target.slot, seed)
    while heap:
        node = heapq.heappop(heap)
        grads = pending.pop(node)
        for slot, gradient in enumerate(grads):
            if gradient is not None and (node.vjp is None if wanted is None else (node, slot) in wanted):
                result[node, slot] = gradient
        if node.vjp is None or (stop and wanted is not None and (node, 0) in wanted):
            continue
        vjp = node.vjp
        into = [None] * len(node.inputs)
        if second_order and node.again is not None:
            input_grads = _recorded(node, grads, into)
        elif node.adds:
            if not second_order:
                into = [there(*edge) if edge is not None else None for edge in node.inputs]
            input_grads = vjp(*grads, into) if node.many else vjp(grads[0], into)
        else:
            input_grads = vjp(*grads) if node.many else vjp(grads[0])
        if free:
            node.vjp, node.again = _freed, None
        for edge, gradient, old in zip(node.inputs, input_grads, into):
            if edge is not None and gradient is not None and (old is None or gradient is not old):
                if second_order and gradient.node is None and gradient.slot != CONSTANT:
                    gradient = _poison(gradient, grads, node)
                source, slot = edge
                add(source, slot, gradient)
        del vjp, grads, input_grads, into
    return result


def _recorded(node: Node, grads: Sequence[Any], into: list[Any]) -> Any:
    """The gradients of a node whose `vjp` is a kernel, while they are themselves recorded."""
    if node.again is not FIRST_ORDER:
        return node.again(*grads)
    assert node.vjp is not None
    with no_grad():  # results without nodes, which the engine marks
        return node.vjp(*grads, into) if node.adds else node.vjp(*grads)


def _poison(gradient: Any, grads: Sequence[Any], node: Node) -> Any:
    """While a gradient is itself being differentiated: a kernel's result that depends on tracked values but has no
    node must not pass for a constant."""
    parents = [(g.node, g.slot) for g in grads if g is not None and g.node is not None]
    parents += [edge for edge in node.inputs if edge is not None]
    return gradient.with_node(Node(tuple(parents), _no_second_order)) if parents else gradient


def accumulate(target: Any, seed: Any) -> None:
    """Adds the gradients of `target`, with respect to which `seed` is one, to `.grad` of all leaves it depends on."""
    if target.node is None:
        raise RuntimeError("backward() of a tensor that depends on no trainable variable and no watched tensor.")
    with no_grad():
        found = backward_pass([target], [seed], None, free=True)
        for (node, _), value in found.items():
            leaf = node.leaf_of() if node.leaf_of is not None else None
            if leaf is not None:
                leaf.grad = value if leaf.grad is None else leaf.grad + value
