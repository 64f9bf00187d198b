"""Doors to the tape (`pydl/tape.py`): `GradientTape` and `grad(fn)`; the third, `Tensor.backward()`, is in `tensor`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from pydl import config
from pydl.dtypes import holds_floats, is_float_dtype
from pydl.tape import Node, backward_pass, no_grad, state
from pydl.tensor import Tensor, from_numpy, paused_recording, seed_of

__all__ = ["GradientTape", "grad", "gradients", "no_grad", "watch"]


def gradients(targets: Sequence[Tensor], sources: Sequence[Tensor], output_gradients: Sequence[Any] | None = None,
              free: bool = True) -> list[Tensor | None]:
    """d(sum of targets)/d(source) for each source; None where a target does not depend on it."""
    with paused_recording():
        seeds = [seed_of(t, g) for t, g in zip(targets, output_gradients or [None] * len(targets))]
    wanted = {(s.node, s.slot) for s in sources if s.node is not None}
    found = backward_pass(targets, seeds, wanted, free)
    return [found.get((s.node, s.slot)) if s.node is not None else None for s in sources]


def watch(tensor: Any) -> None:
    """Makes a tensor a leaf, so that gradients with respect to it can be asked for."""
    if tensor.node is None:
        if not is_float_dtype(tensor.dtype):
            raise TypeError(f"Only float tensors have gradients; received a tensor of dtype {tensor.dtype}.")
        tensor.node, tensor.slot = Node.leaf(tensor), 0


class GradientTape:
    """Context that records for `gradient`, as TensorFlow's.

    Trainable variables are watched by themselves. With `persistent=True`, `gradient` may be called several times.
    """

    def __init__(self, persistent: bool = False, watch_accessed_variables: bool = True) -> None:
        self.persistent = persistent
        self._used = False
        self._shared = False

    def __enter__(self) -> GradientTape:
        self._before = state.enabled
        state.enabled = True
        state.shared = self._shared = state.tapes > 0
        state.tapes += 1
        state.persistent += self.persistent
        return self

    def __exit__(self, *_: object) -> None:
        state.enabled = self._before
        state.tapes -= 1
        state.persistent -= self.persistent
        self._shared = self._shared or state.shared
        if state.tapes == 0:
            state.shared = False

    def watch(self, tensor: Tensor | Sequence[Tensor]) -> None:
        """Watches a tensor, or every tensor of a list."""
        for t in tensor if isinstance(tensor, (list, tuple)) else [tensor]:
            watch(t)

    def gradient(self, target: Any, sources: Any, output_gradients: Any = None,
                 unconnected_gradients: str = "none") -> Any:
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


def grad(fn: Callable[..., Any], argnums: int | tuple[int, ...] = 0) -> Callable[..., Any]:
    """A function that returns the gradient of the scalar `fn(*args)` with respect to its arguments `argnums`.

    Nest it for higher derivatives. Arguments may be tensors, arrays or numbers (converted to floats).
    """
    numbers = (argnums,) if isinstance(argnums, int) else tuple(argnums)

    def gradient_of(*given: Any, **kwargs: Any) -> Any:
        args = list(given)
        with GradientTape() as tape:
            for i in numbers:
                if not isinstance(args[i], Tensor):
                    value = np.asarray(args[i])
                    args[i] = from_numpy(value if holds_floats(value) else value.astype(config.floatx()))
                if args[i].node is None:
                    args[i] = Tensor(args[i].data)
                    watch(args[i])
            y = fn(*args, **kwargs)
        if y.size != 1:
            raise ValueError(f"grad: expected a function with a scalar result; it returned shape {y.shape}.")
        found = tape.gradient(y, [args[i] for i in numbers])
        return found[0] if isinstance(argnums, int) else tuple(found)

    return gradient_of
