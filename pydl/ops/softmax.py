"""Softmax and its logarithm."""

from __future__ import annotations

import math

from pydl import ops
from pydl._core import kernels
from pydl.ops._common import as_float, as_tensor, normalize_axes, normalize_axis
from pydl.symbolic import op
from pydl.tape import differentiable
from pydl.tensor import Tensor, empty

__all__ = ["log_softmax", "masked_softmax", "softmax"]


def _sizes(x: Tensor, axis: int):
    axis = normalize_axis(axis, x.ndim)
    return math.prod(x.shape[:axis]), x.shape[axis], math.prod(x.shape[axis + 1:])


def _over_axes(one, x, axis):
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


def _normalised(kernel, gradient):
    def one(x: Tensor, sizes) -> Tensor:
        y = empty(x.shape, x.dtype)
        kernel(x.data, y.data, *sizes)

        def vjp(dy):
            dx = empty(x.shape, x.dtype)
            gradient(y.data, dy.data, dx.data, *sizes)
            return (dx,)

        return differentiable(y, (x,), vjp)

    return one


_softmax = _normalised(kernels.softmax, kernels.softmax_grad)
_log_softmax = _normalised(kernels.log_softmax, kernels.log_softmax_grad)


@op
def softmax(x, axis=-1):
    """exp(x) / sum(exp(x)) over `axis`: an int, a tuple of ints, or None for all."""
    return _over_axes(_softmax, x, axis)


@op
def log_softmax(x, axis=-1):
    """x - log(sum(exp(x))) over `axis`: an int, a tuple of ints, or None for all."""
    return _over_axes(_log_softmax, x, axis)


@op
def masked_softmax(x, mask, axis=-1):
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
    sizes = _sizes(x, axis)
    y = empty(x.shape, x.dtype)
    kernels.masked_softmax(x.data, mask.data, y.data, *sizes)

    def vjp(dy):
        dx = empty(x.shape, x.dtype)
        kernels.softmax_grad(y.data, dy.data, dx.data, *sizes)
        return (ops.where(mask, dx, 0.0),)

    return differentiable(y, (x,), vjp)
