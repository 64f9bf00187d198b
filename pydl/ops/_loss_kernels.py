"""The two shapes of kernels in csrc/kernels/loss.h, as functions for `fused`. They have no gradient for the targets."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeAlias

from pydl import ops
from pydl._core import kernels
from pydl.dtypes import is_float_dtype
from pydl.ops._common import Gradients, normalize_axis
from pydl.tape import differentiable
from pydl.tensor import Tensor, empty

LossKernel: TypeAlias = Callable[..., Tensor]  # of two tensors, settings, and for a group its axis between them


def _nothing(name: str, p: Tensor) -> ValueError:
    return ValueError(f"{name}: expected at least one value along the reduced axis; received predictions of shape "
                      f"{p.shape}.")


def by_row(name: str, reduced: bool = True) -> LossKernel:
    """The kernels `name(t, p, loss, *parameters, rows, n)` and `<name>_grad(t, p, dy, dp, *parameters, rows, n)`.

    Args:
        name: of the kernel.
        reduced: whether there is one value per row, the last axis, or one per element.

    Returns:
        `function(t, p, *parameters)` of tensors of one shape and dtype.
    """
    forward, backward = getattr(kernels, name), getattr(kernels, f"{name}_grad")

    def kernel(t: Tensor, p: Tensor, *parameters: float) -> Tensor:
        shape = p.shape[:-1] if reduced else p.shape
        n = p.shape[-1] if reduced and p.ndim else 1
        rows = math.prod(shape)
        if n == 0:
            raise _nothing(name, p)
        loss = empty(shape, p.dtype)
        forward(t.data, p.data, loss.data, *parameters, rows, n)

        def vjp(dy: Tensor) -> Gradients:
            dp = empty(p.shape, p.dtype)
            backward(t.data, p.data, dy.data, dp.data, *parameters, rows, n)
            return (dp,)

        return differentiable(loss, (p,), vjp)

    return kernel


def by_group(name: str, predictions: int = 1, again: int = 0) -> LossKernel:
    """The kernels `name(x1, x2, a, b, loss, *parameters, outer, n, inner)` and
    `<name>_grad(x1, x2, a, b, dy, dp, *parameters[:again], outer, n, inner)` of whole groups along an axis.

    Args:
        name: of the kernel.
        predictions: which of its two inputs has the gradient.
        again: how many of the parameters the gradient takes too. The rest is in a and b, two values per group.

    Returns:
        `function(x1, x2, axis, *parameters)`.
    """
    forward, backward = getattr(kernels, name), getattr(kernels, f"{name}_grad")

    def kernel(x1: Tensor, x2: Tensor, axis: int, *parameters: float) -> Tensor:
        p = (x1, x2)[predictions]
        axis = normalize_axis(axis, p.ndim)
        sizes = math.prod(p.shape[:axis]), p.shape[axis], math.prod(p.shape[axis + 1:])
        shape = p.shape[:axis] + p.shape[axis + 1:]
        if sizes[1] == 0:
            raise _nothing(name, p)
        loss, a, b = empty(shape, p.dtype), empty(shape, p.dtype), empty(shape, p.dtype)
        forward(x1.data, x2.data, a.data, b.data, loss.data, *parameters, *sizes)

        def vjp(dy: Tensor) -> Gradients:
            dp = empty(p.shape, p.dtype)
            backward(x1.data, x2.data, a.data, b.data, dy.data, dp.data, *parameters[:again], *sizes)
            return (dp,)

        return differentiable(loss, (p,), vjp)

    return kernel


def refuse_nan(data: object, loss: Tensor) -> None:
    """Raises FloatingPointError where `loss` is NaN or infinite and `data` holds NaN, which has made it so; a replay of
    a recorded step does as well. What is no tensor of floats holds none."""
    if isinstance(data, Tensor) and is_float_dtype(data.dtype):
        loss = loss if loss.dtype == data.dtype else ops.cast(loss, data.dtype)
        kernels.check_loss(data.data, loss.data, data.size, loss.size)
