"""Normalisation: batch, layer, RMS, group, and division by a norm."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeAlias, overload

from pydl import config, ops
from pydl._core import kernels
from pydl.ops._common import Axis, Gradients, Shape, TensorLike, as_float, data_of, normalize_axes, normalize_axis
from pydl.ops._fused import fused
from pydl.ops.reduction import vector_norm
from pydl.symbolic import op
from pydl.tape import differentiable, no_grad
from pydl.tensor import Tensor, Variable, empty

__all__ = ["batch_normalization", "batch_normalization_training", "group_normalization", "layer_normalization",
           "normalize", "rms_normalization"]

Statistics: TypeAlias = tuple[Tensor, Tensor, Tensor]  # mean, variance, how many rows count


@overload
def _like(x: Tensor, value: TensorLike, shape: Shape, name: str, what: str) -> Tensor: ...


@overload
def _like(x: Tensor, value: TensorLike | None, shape: Shape, name: str, what: str) -> Tensor | None: ...


def _like(x: Tensor, value: TensorLike | None, shape: Shape, name: str, what: str) -> Tensor | None:
    """`value` as a tensor of x's dtype and of `shape`, or None."""
    if value is None:
        return None
    value = as_float(value)
    if value.dtype != x.dtype:
        value = ops.cast(value, x.dtype)
    if value.shape != shape:
        if value.size != math.prod(shape):
            raise ValueError(f"{name}: expected {what} of shape {shape} for an input of shape {x.shape}; received "
                             f"{value.shape}.")
        value = ops.reshape(value, shape)
    return value


def _with_last(x: Tensor, axes: Shape, fn: Callable[[Tensor], Tensor]) -> Tensor:
    """`fn(x)` with `axes` moved to the end and, afterwards, back."""
    ends = tuple(range(x.ndim - len(axes), x.ndim))
    if axes == ends:
        return fn(x)
    return ops.moveaxis(fn(ops.moveaxis(x, axes, ends)), ends, axes)


def _given(*pairs: tuple[Tensor | None, Any]) -> tuple[tuple[Tensor, ...], tuple[Any, ...]]:
    """Of (input, gradient) pairs those whose input is there: inputs, gradients."""
    return tuple(x for x, _ in pairs if x is not None), tuple(g for x, g in pairs if x is not None)


def _columns(x: Tensor) -> tuple[int, int]:
    """x as a matrix of its last axis."""
    channels = x.shape[-1]
    return x.size // max(channels, 1), channels


def _standardized(centred: Tensor, variance: Tensor, epsilon: float) -> Tensor:
    return ops.multiply(centred, ops.rsqrt(ops.add(variance, epsilon)))


def _scaled(x: Tensor, gamma: Tensor | None, beta: Tensor | None) -> Tensor:
    x = x if gamma is None else ops.multiply(x, gamma)
    return x if beta is None else ops.add(x, beta)


@op
def batch_normalization(x: TensorLike, mean: TensorLike, variance: TensorLike, axis: int,
                        offset: TensorLike | None = None, scale: TensorLike | None = None,
                        epsilon: float = 1e-3) -> Tensor:
    """(x - mean) / sqrt(variance + epsilon) * scale + offset, the statistics given.

    Args:
        x: tensor with `channels` along `axis`.
        mean, variance: (channels,).
        axis: int.
        offset, scale: (channels,) or None.
        epsilon: added to the variance.

    Source: Ioffe and Szegedy 2015.
    """
    x = as_float(x)
    axis = normalize_axis(axis, x.ndim)
    shape = (x.shape[axis],)
    mean, variance = (_like(x, v, shape, "batch_normalization", what)
                      for v, what in ((mean, "mean"), (variance, "variance")))
    gamma, beta = (_like(x, v, shape, "batch_normalization", what)
                   for v, what in ((scale, "scale"), (offset, "offset")))
    return _with_last(x, (axis,), lambda x: _fixed(x, mean, variance, gamma, beta, epsilon))


def _fixed_kernel(x: Tensor, mean: Tensor, variance: Tensor, gamma: Tensor | None, beta: Tensor | None,
                  epsilon: float) -> Tensor:
    y, sizes = empty(x.shape, x.dtype), _columns(x)
    rstd = empty(variance.shape, "float64")
    kernels.reciprocal_deviation(variance.data, rstd.data, variance.size, epsilon)
    kernels.normalize_channels(x.data, mean.data, rstd.data, data_of(gamma), data_of(beta), y.data, *sizes)
    inputs, _ = _given((x, 0), (mean, 0), (variance, 0), (gamma, 0), (beta, 0))

    def vjp(dy: Tensor) -> Gradients:
        dx = empty(x.shape, x.dtype)
        dmean, dvariance, dgamma, dbeta = (empty(mean.shape, x.dtype) for _ in range(4))
        kernels.batch_norm_fixed_grad(x.data, mean.data, variance.data, data_of(gamma), dy.data, dx.data, dmean.data,
                                      dvariance.data, dgamma.data, dbeta.data, *sizes, epsilon)
        return _given((x, dx), (mean, dmean), (variance, dvariance), (gamma, dgamma), (beta, dbeta))[1]

    return differentiable(y, inputs, vjp)


@fused(_fixed_kernel)
def _fixed(x: Tensor, mean: Tensor, variance: Tensor, gamma: Tensor | None, beta: Tensor | None,
           epsilon: float) -> Tensor:
    return _scaled(_standardized(ops.subtract(x, mean), variance, epsilon), gamma, beta)


@op
def batch_normalization_training(x: TensorLike, moving_mean: Variable, moving_variance: Variable, axis: int = -1,
                                 offset: TensorLike | None = None, scale: TensorLike | None = None,
                                 momentum: float = 0.99, epsilon: float = 1e-3,
                                 mask: TensorLike | None = None) -> Tensor:
    """Batch normalisation by the batch's own statistics; moves the moving statistics in place.

    Args:
        x: tensor with `channels` along `axis`.
        moving_mean, moving_variance: variables (channels,), become moving * momentum + batch * (1 - momentum).
        axis: int.
        offset, scale: (channels,) or None.
        momentum: in [0, 1].
        epsilon: added to the variance (the biased one).
        mask: which places count in the statistics; broadcasts to x's shape without `axis` (missing axes at the end are
            added), or None.

    Source: Ioffe and Szegedy 2015.
    """
    x = as_float(x)
    if x.dtype != moving_mean.dtype:
        x = ops.cast(x, moving_mean.dtype)
    axis = normalize_axis(axis, x.ndim)
    shape = (x.shape[axis],)
    gamma, beta = (_like(x, v, shape, "batch_normalization", what)
                   for v, what in ((scale, "scale"), (offset, "offset")))
    for value in (moving_mean, moving_variance):
        if value.shape != shape:
            raise ValueError(f"batch_normalization: expected moving statistics of shape {shape} for an input of shape "
                             f"{x.shape}; received shape {value.shape}.")
    weight = None
    if mask is not None:
        places = x.shape[:axis] + x.shape[axis + 1:]
        weight = ops.cast(mask, x.dtype)
        weight = ops.reshape(weight, weight.shape + (1,) * (len(places) - weight.ndim))
        weight = Tensor(ops.broadcast_to(weight, places).data)  # no gradient flows to a mask

    def last(x: Tensor) -> Tensor:
        y, statistics = _by_batch(x, weight, gamma, beta, moving_mean, moving_variance, momentum, epsilon)
        if statistics is not None:
            _move(moving_mean, moving_variance, *statistics, momentum)
        return y

    return _with_last(x, (axis,), last)


def _by_batch_kernel(x: Tensor, weight: Tensor | None, gamma: Tensor | None, beta: Tensor | None, moving_mean: Variable,
                     moving_variance: Variable, momentum: float, epsilon: float) -> tuple[Tensor, Statistics | None]:
    y, sizes = empty(x.shape, x.dtype), _columns(x)
    mean, rstd = empty(x.shape[-1:], x.dtype), empty(x.shape[-1:], x.dtype)
    kernels.batch_norm(x.data, data_of(weight), data_of(gamma), data_of(beta), moving_mean.data, moving_variance.data,
                       y.data, mean.data, rstd.data, *sizes, momentum, epsilon)
    inputs, _ = _given((x, 0), (gamma, 0), (beta, 0))

    def vjp(dy: Tensor) -> Gradients:
        dx, dgamma, dbeta = empty(x.shape, x.dtype), empty(mean.shape, x.dtype), empty(mean.shape, x.dtype)
        kernels.batch_norm_grad(x.data, data_of(weight), data_of(gamma), mean.data, rstd.data, dy.data, dx.data,
                                dgamma.data, dbeta.data, *sizes)
        return _given((x, dx), (gamma, dgamma), (beta, dbeta))[1]

    return differentiable(y, inputs, vjp), None


@fused(_by_batch_kernel)
def _by_batch(x: Tensor, weight: Tensor | None, gamma: Tensor | None, beta: Tensor | None, moving_mean: Variable,
              moving_variance: Variable, momentum: float, epsilon: float) -> tuple[Tensor, Statistics | None]:
    """x normalised by its own statistics, and these: mean, variance, and how many rows count.

    It is run again for gradients, so it leaves the moving statistics alone, which the kernel moves.
    """
    rows = ops.reshape(x, _columns(x))
    weight = ops.ones((rows.shape[0], 1), x.dtype) if weight is None else ops.reshape(weight, (-1, 1))
    count = ops.sum(weight)
    share = ops.divide(weight, ops.where(ops.greater(count, 0), count, 1))
    mean = ops.sum(ops.multiply(rows, share), 0)
    variance = ops.sum(ops.multiply(ops.square(ops.subtract(rows, mean)), share), 0)
    y = _scaled(_standardized(ops.subtract(rows, mean), variance, epsilon), gamma, beta)
    return ops.reshape(y, x.shape), (mean, variance, count)


def _move(moving_mean: Variable, moving_variance: Variable, mean: Tensor, variance: Tensor, count: Tensor,
          momentum: float) -> None:
    """moving = moving * momentum + batch * (1 - momentum), if anything counts."""
    with no_grad():
        for moving, batch in ((moving_mean, mean), (moving_variance, variance)):
            moved = ops.add(ops.multiply(moving, momentum), ops.multiply(batch, 1 - momentum))
            moving.assign(ops.where(ops.greater(count, 0), moved, moving))


def _normalize_rows(name: str, x: TensorLike, gamma: TensorLike | None, beta: TensorLike | None, axis: Axis,
                    epsilon: float | None, centred: int) -> Tensor:
    x = as_float(x)
    axes = normalize_axes(axis, x.ndim)
    shape = tuple(x.shape[a] for a in axes)
    gamma, beta = _like(x, gamma, shape, name, "gamma"), _like(x, beta, shape, name, "beta")
    epsilon = config.epsilon() if epsilon is None else epsilon

    return _with_last(x, axes, lambda x: _by_row(x, gamma, beta, len(axes), epsilon, centred))


def _by_row_kernel(x: Tensor, gamma: Tensor | None, beta: Tensor | None, axes: int, epsilon: float,
                   centred: int) -> Tensor:
    shape = x.shape[x.ndim - axes:]
    rows, features = math.prod(x.shape[:x.ndim - axes]), math.prod(shape)
    y = empty(x.shape, x.dtype)
    mean, rstd = empty((rows,), x.dtype), empty((rows,), x.dtype)
    kernels.layer_norm(x.data, data_of(gamma), data_of(beta), y.data, mean.data, rstd.data, rows, features, centred,
                       epsilon)
    inputs, _ = _given((x, 0), (gamma, 0), (beta, 0))

    def vjp(dy: Tensor) -> Gradients:
        dx = empty(x.shape, x.dtype)
        dgamma = None if gamma is None else empty(shape, x.dtype)
        dbeta = None if beta is None else empty(shape, x.dtype)
        kernels.layer_norm_grad(x.data, data_of(gamma), mean.data, rstd.data, dy.data, dx.data, data_of(dgamma),
                                data_of(dbeta), rows, features, centred)
        return _given((x, dx), (gamma, dgamma), (beta, dbeta))[1]

    return differentiable(y, inputs, vjp)


@fused(_by_row_kernel)
def _by_row(x: Tensor, gamma: Tensor | None, beta: Tensor | None, axes: int, epsilon: float, centred: int) -> Tensor:
    """Over the last `axes` of x."""
    over = tuple(range(x.ndim - axes, x.ndim))
    if centred:
        x = ops.subtract(x, ops.mean(x, over, keepdims=True))
    return _scaled(_standardized(x, ops.mean(ops.square(x), over, keepdims=True), epsilon), gamma, beta)


@op
def layer_normalization(x: TensorLike, gamma: TensorLike | None = None, beta: TensorLike | None = None, axis: Axis = -1,
                        epsilon: float | None = None) -> Tensor:
    """Mean 0, variance 1 over `axis` (int or several), times `gamma` plus `beta` (both of these axes' sizes or None).

    Source: Ba, Kiros and Hinton 2016.
    """
    return _normalize_rows("layer_normalization", x, gamma, beta, axis, epsilon, 1)


@op
def rms_normalization(x: TensorLike, scale: TensorLike | None = None, axis: Axis = -1,
                      epsilon: float | None = None) -> Tensor:
    """x / sqrt(mean(x^2) + epsilon) over `axis` (int or several), times `scale` (of these axes' sizes, or None).

    Source: Zhang and Sennrich 2019.
    """
    return _normalize_rows("rms_normalization", x, scale, None, axis, epsilon, 0)


@op
def group_normalization(x: TensorLike, groups: int, gamma: TensorLike | None = None, beta: TensorLike | None = None,
                        axis: int = -1, epsilon: float = 1e-3) -> Tensor:
    """Mean 0 and variance 1 over each sample's group of channels, all places together.

    Args:
        x: tensor (batch, ...) with `channels` along `axis`.
        groups: how many groups the channels form; divides `channels`.
        gamma, beta: (channels,) or None.

    Source: Wu and He 2018.
    """
    x = as_float(x)
    axis = normalize_axis(axis, x.ndim)
    channels = x.shape[axis]
    if groups < 1 or channels % groups:
        raise ValueError(f"group_normalization: expected groups to divide the {channels} channels; received "
                         f"groups={groups}.")

    gamma, beta = (_like(x, v, (channels,), "group_normalization", what)
                   for v, what in ((gamma, "gamma"), (beta, "beta")))
    return _with_last(x, (axis,), lambda x: _by_group(x, gamma, beta, groups, epsilon))


def _by_group_kernel(x: Tensor, gamma: Tensor | None, beta: Tensor | None, groups: int, epsilon: float) -> Tensor:
    batch, channels = x.shape[0], x.shape[-1]
    sizes = (batch, x.size // max(batch * channels, 1), channels, groups)
    y = empty(x.shape, x.dtype)
    mean, rstd = empty((batch, channels), x.dtype), empty((batch, channels), x.dtype)
    kernels.group_norm(x.data, data_of(gamma), data_of(beta), y.data, mean.data, rstd.data, *sizes, epsilon)
    inputs, _ = _given((x, 0), (gamma, 0), (beta, 0))

    def vjp(dy: Tensor) -> Gradients:
        dx = empty(x.shape, x.dtype)
        dgamma, dbeta = (None if v is None else empty((channels,), x.dtype) for v in (gamma, beta))
        kernels.group_norm_grad(x.data, data_of(gamma), mean.data, rstd.data, dy.data, dx.data, data_of(dgamma),
                                data_of(dbeta), *sizes)
        return _given((x, dx), (gamma, dgamma), (beta, dbeta))[1]

    return differentiable(y, inputs, vjp)


@fused(_by_group_kernel)
def _by_group(x: Tensor, gamma: Tensor | None, beta: Tensor | None, groups: int, epsilon: float) -> Tensor:
    over, batch, channels = (1, 3), x.shape[0], x.shape[-1]
    y = ops.reshape(x, (batch, x.size // max(batch * channels, 1), groups, channels // groups))
    y = ops.subtract(y, ops.mean(y, over, keepdims=True))
    y = _standardized(y, ops.mean(ops.square(y), over, keepdims=True), epsilon)
    return _scaled(ops.reshape(y, x.shape), gamma, beta)


@op
def normalize(x: TensorLike, axis: Axis = -1, order: int = 2, epsilon: float | None = None) -> Tensor:
    """`x` divided by its norm of that order along `axis` (the norm is taken as at least `epsilon`).

    Args:
        x: tensor.
        axis: int or several.
        order: positive int, the power of the norm.
        epsilon: smallest divisor; `config.epsilon()` by default.
    """
    if not isinstance(order, int) or not order >= 1:
        raise ValueError(f"Argument `order` must be an int >= 1. Received: order={order}")
    x = as_float(x)
    epsilon = config.epsilon() if epsilon is None else epsilon
    axes = normalize_axes(axis, x.ndim)
    return x / ops.maximum(vector_norm(x, order, axes), epsilon)
