"""Softmax and its logarithm."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from pydl import ops
from pydl._core import Kernel, kernels
from pydl.ops._common import Axis, Gradients, Sizes, TensorLike, as_float, as_tensor, normalize_axes, normalize_axis
from pydl.ops._fused import fused
from pydl.symbolic import op
from pydl.tape import differentiable
from pydl.tensor import Tensor, empty

__all__ = ["log_softmax", "masked_softmax", "softmax"]


def _sizes(x: Tensor, axis: int) -> Sizes:
    axis = normalize_axis(axis, x.ndim)
    return math.prod(x.shape[:axis]), x.shape[axis], math.prod(x.shape[axis + 1:])


def _over_axes(one: Callable[[Tensor, Sizes], Tensor], x: TensorLike, axis: Axis) -> Tensor:
    """`one` over a single axis; several axes (None: all) are moved to the end and taken as one."""
    x = as_float(x)
    if isinstance(axis, int):
        return one(x, _sizes(x, axis))
    axes = normalize_axes(axis, x.ndim)
    order = tuple(a for a in range(x.ndim) if a not in axes) + axes
    y = ops.transpose(x, order)
    n = math.prod(x.shape[a] for a in axes)
    y = ops.reshape(one(y, (x.size // n if n else 0, n, 1)), y.shape)
    return ops.transpose(y, tuple(order.index(a) for a in range(x.ndim)))


def _kernel(forward: Kernel, backward: Kernel) -> Callable[[Tensor, Sizes], Tensor]:
    """The op of two kernels over x seen as (outer, n, inner) = `sizes`; the gradient is made from the result."""

    def kernel(x: Tensor, sizes: Sizes) -> Tensor:
        y = empty(x.shape, x.dtype)
        forward(x.data, y.data, *sizes)
        shape, dtype, result = x.shape, x.dtype, y.data

        def vjp(dy: Tensor) -> Gradients:
            dx = empty(shape, dtype)
            backward(result, dy.data, dx.data, *sizes)
            return (dx,)

        return differentiable(y, (x,), vjp)

    return kernel


def _shifted(x: Tensor, sizes: Sizes) -> Tensor:
    """x as (outer, n, inner), less the maximum of each group: no exponential overflows."""
    x = ops.reshape(x, sizes)
    return x - ops.stop_gradient(ops.max(x, 1, keepdims=True))


@fused(_kernel(kernels.softmax, kernels.softmax_grad))
def _softmax(x: Tensor, sizes: Sizes) -> Tensor:
    e = ops.exp(_shifted(x, sizes))
    return ops.reshape(e / ops.sum(e, 1, keepdims=True), x.shape)


@fused(_kernel(kernels.log_softmax, kernels.log_softmax_grad))
def _log_softmax(x: Tensor, sizes: Sizes) -> Tensor:
    x, shape = _shifted(x, sizes), x.shape
    return ops.reshape(x - ops.log(ops.sum(ops.exp(x), 1, keepdims=True)), shape)


def _masked_kernel(x: Tensor, mask: Tensor, sizes: Sizes) -> Tensor:
    y = empty(x.shape, x.dtype)
    kernels.masked_softmax(x.data, mask.data, y.data, *sizes)
    shape, dtype, result = x.shape, x.dtype, y.data

    def vjp(dy: Tensor) -> Gradients:
        dx = empty(shape, dtype)
        kernels.softmax_grad(result, dy.data, dx.data, *sizes)
        return (ops.where(mask, dx, 0.0),)

    return differentiable(y, (x,), vjp)


@fused(_masked_kernel)
def _masked_softmax(x: Tensor, mask: Tensor, sizes: Sizes) -> Tensor:
    seen = ops.reshape(mask, sizes)
    x, shape = ops.reshape(x, sizes), x.shape
    top = ops.stop_gradient(ops.max(ops.where(seen, x, _lowest(x)), 1, keepdims=True))
    # The hidden values are replaced before the exponential: what is not seen has neither value nor gradient.
    e = ops.where(seen, ops.exp(ops.where(seen, x - top, 0.0)), 0.0)
    some = ops.any(seen, 1, keepdims=True)
    total = ops.where(some, ops.sum(e, 1, keepdims=True), 1.0)
    return ops.reshape(ops.where(some, e / total, 1.0 / max(sizes[1], 1)), shape)


def _lowest(x: Tensor) -> float:
    return float(np.finfo(x.dtype).min)


@op
def softmax(x: TensorLike, axis: Axis = -1) -> Tensor:
    """exp(x) / sum(exp(x)) over `axis`: an int, a tuple of ints, or None for all."""
    return _over_axes(_softmax, x, axis)


@op
def log_softmax(x: TensorLike, axis: Axis = -1) -> Tensor:
    """x - log(sum(exp(x))) over `axis`: an int, a tuple of ints, or None for all."""
    return _over_axes(_log_softmax, x, axis)


@op
def masked_softmax(x: TensorLike, mask: TensorLike, axis: int = -1) -> Tensor:
    """Softmax over the values of `x` whose mask is true; the others get probability 0.

    Where no value is left, all are equally likely (as Keras's `Softmax` layer).

    Args:
        x: tensor.
        mask: bool tensor that broadcasts to x's shape.
        axis: int.
    """
    x, mask = as_float(x), as_tensor(mask)
    if mask.dtype != "bool":
        mask = ops.greater(mask, 0.5)
    if mask.shape != x.shape:
        mask = ops.broadcast_to(mask, x.shape)
    return _masked_softmax(x, mask, _sizes(x, axis))
