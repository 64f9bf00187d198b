"""The tape: nodes, the backward pass, and its three doors `GradientTape`, `Tensor.backward()`, `grad(fn)`.

A node knows its inputs and a function that turns the gradient of its outputs into gradients of its inputs (the
vector-Jacobian product). The engine knows no op. Nodes hang on the tensors they produced, so what nobody refers to
is freed with its saved values.
"""

from __future__ import annotations

import heapq
import itertools
import threading

_order = itertools.count()


class Node:
    """One application of an op.

    Attributes:
        inputs: the nodes of the op's inputs with their output slots, None where no gradient flows.
        vjp: called with the output gradient (several outputs: one per output, None where nothing flowed back);
            returns one gradient or None per input. None marks a leaf.
        outputs: how many tensors the op returned; `many` when it returned a tuple or list.
        order: creation number; inputs are always older than what is made from them.
        leaf_of: the variable or watched tensor of a leaf.
    """

    __slots__ = ("inputs", "vjp", "outputs", "many", "adds", "order", "leaf_of", "name", "__weakref__")

    def __init__(self, inputs, vjp, outputs=1, many=False, leaf_of=None, adds=False):
        self.inputs = inputs
        self.vjp = vjp
        self.outputs = outputs
        self.many = many
        self.adds = adds
        self.order = next(_order)
        self.leaf_of = leaf_of

    @classmethod
    def leaf(cls, tensor) -> Node:
        import weakref

        return cls((), None, leaf_of=weakref.ref(tensor))

    def __lt__(self, other):  # the heap of the backward pass pops the newest node first
        return self.order > other.order


class _State(threading.local):
    def __init__(self):
        self.enabled = True
        self.tapes = 0  # tapes open on this thread
        self.shared = False  # two tapes were open at once: their graphs overlap


state = _State()


class no_grad:
    """Context: ops inside leave no nodes (prediction, updates of statistics)."""

    def __enter__(self):
        self._before = state.enabled
        state.enabled = False

    def __exit__(self, *_):
        state.enabled = self._before


# The slot of an op's result without a node: all its inputs were constants, so it is one. A kernel's bare result has
# slot 0 and says nothing about itself.
_CONSTANT = -1
# The slot of a gradient in a buffer that nothing else refers to: a later gradient may be added in place.
OWNED = -2


def differentiable(outputs, inputs, vjp, adds=False):
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
                y.slot = _CONSTANT
    return outputs


def _freed(*_):
    raise RuntimeError(
        "The graph of this value was freed by an earlier backward pass. Compute the value again, use"
        " GradientTape(persistent=True), or backward through all results at once."
    )


def _no_second_order(*_):
    raise RuntimeError(
        "A second derivative was asked through an op whose gradient is a fused kernel and has no gradient of its own."
        " Compose that part from elementary ops (multiply, matmul, exp, ...), or use ops.stop_gradient around it."
    )


def backward_pass(targets, seeds, wanted, free: bool) -> dict:
    """The engine: visits nodes newest first and hands gradients to their inputs.

    Args:
        targets, seeds: tensors and the gradients with respect to them.
        wanted: set of (node, slot) whose gradients to keep, or None for all leaves.
        free: drop the saved values of each node once it has been visited.

    Returns:
        dict (node, slot) -> gradient.
    """
    pending: dict[Node, list] = {}
    heap: list[Node] = []
    result: dict = {}
    second_order = state.enabled

    def add(node, slot, gradient):
        grads = pending.get(node)
        if grads is None:
            grads = pending[node] = [None] * node.outputs
            heapq.heappush(heap, node)
        grads[slot] = gradient if grads[slot] is None else grads[slot] + gradient

    def there(node, slot):
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
        if node.vjp is None:
            continue
        vjp = node.vjp
        if free:
            node.vjp = _freed
        into = [None] * len(node.inputs)
        if node.adds:
            if not second_order:
                into = [there(*edge) if edge is not None else None for edge in node.inputs]
            input_grads = vjp(*grads, into) if node.many else vjp(grads[0], into)
        else:
            input_grads = vjp(*grads) if node.many else vjp(grads[0])
        for edge, gradient, old in zip(node.inputs, input_grads, into):
            if edge is not None and gradient is not None and (old is None or gradient is not old):
                if second_order and gradient.node is None and gradient.slot != _CONSTANT:
                    gradient = _poison(gradient, grads, node)
                source, slot = edge
                add(source, slot, gradient)
        del vjp, grads, input_grads, into
    return result


def _poison(gradient, grads, node):
    """While a gradient is itself being differentiated: a kernel's result that depends on tracked values but has no
    node must not pass for a constant."""
    from pydl.tensor import Tensor

    parents = [(g.node, g.slot) for g in grads if g is not None and g.node is not None]
    parents += [edge for edge in node.inputs if edge is not None]
    return Tensor(gradient.data, Node(tuple(parents), _no_second_order)) if parents else gradient


def _seed(target, gradient):
    from pydl.tensor import Tensor, empty, from_numpy

    if gradient is not None:
        gradient = gradient if isinstance(gradient, Tensor) else from_numpy(_as_array(gradient, target))
        if gradient.shape != target.shape:
            raise ValueError(f"The gradient of a target has the target's shape: expected {target.shape}; "
                             f"received {gradient.shape}.")
        if gradient.node is None:
            gradient.slot = _CONSTANT
        return gradient
    seed = empty(target.shape, target.dtype)
    seed.slot = _CONSTANT
    seed.data.fill(1)  # a constant: recorded programs keep it alive, outside their arena
    return seed


def _as_array(value, like):
    import numpy as np

    return np.asarray(value, dtype=like.dtype)


def gradients(targets, sources, output_gradients=None, free=True) -> list:
    """d(sum of targets)/d(source) for each source; None where a target does not depend on it."""
    from pydl.tensor import paused_recording

    with paused_recording():
        seeds = [_seed(t, g) for t, g in zip(targets, output_gradients or [None] * len(targets))]
    wanted = {(s.node, s.slot) for s in sources if s.node is not None}
    found = backward_pass(targets, seeds, wanted, free)
    return [found.get((s.node, s.slot)) if s.node is not None else None for s in sources]


def backward(target, gradient=None) -> None:
    """`Tensor.backward`: adds the gradients of `target` to `.grad` of all leaves."""
    from pydl.tensor import paused_recording

    if target.node is None:
        raise RuntimeError("backward() of a tensor that depends on no trainable variable and no watched tensor.")
    with paused_recording():
        seed = _seed(target, gradient)
    with no_grad():
        found = backward_pass([target], [seed], None, free=True)
        for (node, _), value in found.items():
            leaf = node.leaf_of()
            if leaf is not None:
                leaf.grad = value if leaf.grad is None else leaf.grad + value


def watch(tensor) -> None:
    """Makes a tensor a leaf, so that gradients with respect to it can be asked for."""
    if tensor.node is None:
        if not tensor.dtype.startswith("float"):
            raise TypeError(f"Only float tensors have gradients; received a tensor of dtype {tensor.dtype}.")
        tensor.node, tensor.slot = Node.leaf(tensor), 0


class GradientTape:
    """Context that records for `gradient`, as TensorFlow's.

    Trainable variables are watched by themselves. With `persistent=True`, `gradient` may be called several times.
    """

    def __init__(self, persistent: bool = False, watch_accessed_variables: bool = True):
        self.persistent = persistent
        self._used = False
        self._shared = False

    def __enter__(self):
        self._before = state.enabled
        state.enabled = True
        state.shared = self._shared = state.tapes > 0
        state.tapes += 1
        return self

    def __exit__(self, *_):
        state.enabled = self._before
        state.tapes -= 1
        self._shared = self._shared or state.shared
        if state.tapes == 0:
            state.shared = False

    def watch(self, tensor) -> None:
        """Watches a tensor, or every tensor of a list."""
        for t in tensor if isinstance(tensor, (list, tuple)) else [tensor]:
            watch(t)

    def gradient(self, target, sources, output_gradients=None, unconnected_gradients="none"):
        """Gradient of the sum of `target` with respect to `sources`, in the structure of `sources`.

        Args:
            target: tensor or list of tensors.
            sources: variable / watched tensor, or a list, tuple or dict of them.
            output_gradients: gradient(s) with respect to `target`; ones by default.
            unconnected_gradients: "none" or "zero".

        Raises:
            RuntimeError: on a second call when the tape is not persistent.
        """
        if self._used and not self.persistent:
            raise RuntimeError(
                "A non-persistent GradientTape can only be used to compute one set of gradients. "
                "Use GradientTape(persistent=True)."
            )
        self._used = True
        targets = list(target) if isinstance(target, (list, tuple)) else [target]
        seeds = output_gradients
        if seeds is not None and not isinstance(seeds, (list, tuple)):
            seeds = [seeds]
        flat = list(sources.values()) if isinstance(sources, dict) else sources
        flat = list(flat) if isinstance(flat, (list, tuple)) else [flat]
        keep = self.persistent or self._shared or state.tapes > 0
        if state.tapes > 0:  # inside another tape: the gradient is itself recorded
            grads = gradients(targets, flat, seeds, free=False)
        else:
            with no_grad():
                grads = gradients(targets, flat, seeds, free=not keep)
        if unconnected_gradients == "zero":
            grads = [s * 0 if g is None else g for s, g in zip(flat, grads)]
        if isinstance(sources, dict):
            return dict(zip(sources, grads))
        return grads if isinstance(sources, (list, tuple)) else grads[0]


def grad(fn, argnums: int | tuple[int, ...] = 0):
    """A function that returns the gradient of the scalar `fn(*args)` with respect to its arguments `argnums`.

    Nest it for higher derivatives. Arguments may be tensors, arrays or numbers (converted to floats).
    """
    numbers = (argnums,) if isinstance(argnums, int) else tuple(argnums)

    def gradient_of(*args, **kwargs):
        from pydl.tensor import Tensor, from_numpy

        args = list(args)
        with GradientTape() as tape:
            for i in numbers:
                if not isinstance(args[i], Tensor):
                    import numpy as np

                    from pydl import config

                    value = np.asarray(args[i])
                    args[i] = from_numpy(value if value.dtype.kind == "f" else value.astype(config.floatx()))
                if args[i].node is None:
                    args[i] = Tensor(args[i].data)
                    watch(args[i])
            y = fn(*args, **kwargs)
        if y.size != 1:
            raise ValueError(f"grad: expected a function with a scalar result; it returned shape {y.shape}.")
        found = tape.gradient(y, [args[i] for i in numbers])
        return found[0] if isinstance(argnums, int) else tuple(found)

    return gradient_of
