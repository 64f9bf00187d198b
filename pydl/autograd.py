"""The three doors to the tape (`pydl/tape.py`): `GradientTape`, `Tensor.backward()`, `grad(fn)`."""

from __future__ import annotations

from pydl.tape import _CONSTANT, OWNED, Node, backward_pass, differentiable, no_grad, state

__all__ = ["OWNED", "GradientTape", "Node", "backward", "backward_pass", "differentiable", "grad", "gradients",
           "no_grad", "state", "watch"]


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
