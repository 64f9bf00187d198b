"""Reductions over any axes: sums, extrema, moments, norms, order statistics.

Kernels see an array as (outer, n, inner). Axes that lie side by side are one n; several such groups are reduced one
after the other, each step with a node of its own.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np

from pydl import ops
from pydl._core import Kernel, kernels
from pydl.ops import _broadcast
from pydl.ops._common import (
    Axis,
    DType,
    Gradients,
    Shape,
    Sizes,
    TensorLike,
    as_float,
    as_tensor,
    at_least_int32,
    normalize_axes,
    normalize_axis,
)
from pydl.ops._fused import fused
from pydl.symbolic import op
from pydl.tape import differentiable
from pydl.tensor import Tensor, empty

__all__ = [
    "all", "amax", "amin", "any", "argmax", "argmin", "average", "count_nonzero", "logsumexp", "max", "mean", "median",
    "min", "moments", "norm", "prod", "quantile", "std", "sum", "sum_to_shape", "var",
]


Reduction: TypeAlias = Callable[[Tensor, Sizes, Shape], Tensor]  # of a tensor seen as `sizes`, to a shape


@functools.lru_cache(maxsize=4096)
def _layout(shape: Shape, axes: Shape, keepdims: bool) -> tuple[list[Sizes], Shape]:
    """The groups as (outer, n, inner), the last first, each for the array the one before left; the result's shape."""
    runs: list[list[Any]] = []  # [reduced?, size], axes of size 1 left out
    for axis, size in enumerate(shape):
        if size != 1:
            if runs and runs[-1][0] == (axis in axes):
                runs[-1][1] *= size
            else:
                runs.append([axis in axes, size])
    groups = []
    for i in reversed(range(len(runs))):
        if runs[i][0]:
            outer = math.prod(size for _, size in runs[:i])
            groups.append((outer, runs[i][1], math.prod(size for reduced, size in runs[i + 1:] if not reduced)))
    if keepdims:
        result = tuple(1 if axis in axes else size for axis, size in enumerate(shape))
    else:
        result = tuple(size for axis, size in enumerate(shape) if axis not in axes)
    return groups or [(1, 1, math.prod(shape))], result


def _reduce(one: Reduction, x: Tensor, axis: Axis, keepdims: bool, then: Reduction | None = None) -> Tensor:
    """`one(x, sizes, shape)` for the last group, `then` (by default `one`) for those before it."""
    groups, shape = _layout(x.shape, normalize_axes(axis, x.ndim), keepdims)
    for step, sizes in enumerate(groups):
        last = step == len(groups) - 1
        x = (one if step == 0 else then or one)(x, sizes, shape if last else (sizes[0], sizes[2]))
    return x


def _refuse_empty(name: str, x: Tensor, axis: Axis) -> None:
    if math.prod(x.shape[a] for a in normalize_axes(axis, x.ndim)) == 0:
        raise ValueError(f"{name}: expected at least one value to choose from; received shape {x.shape}, axis={axis}.")


# -------------------------------------------------------------------------------------- sum, mean


def _total(x: Tensor, sizes: Sizes, shape: Shape, mean: bool = False) -> Tensor:
    y, before = empty(shape, x.dtype), x.shape
    (kernels.reduce_mean if mean else kernels.reduce_sum)(x.data, y.data, *sizes)
    return differentiable(y, (x,), lambda dy: (_spread(dy, sizes, before, mean),))


def _spread(dy: Tensor, sizes: Sizes, shape: Shape, mean: bool = False) -> Tensor:
    """dy (outer, inner) in each of n places, divided by n for the mean: the transpose of `_total`."""
    dx, before = empty(shape, dy.dtype), dy.shape
    kernels.reduce_sum_grad(dy.data, dx.data, 1.0 / sizes[1] if mean and sizes[1] else 1.0, *sizes)
    return differentiable(dx, (dy,), lambda ddx: (_total(ddx, sizes, before, mean),))


def _mean_of(x: Tensor, sizes: Sizes, shape: Shape) -> Tensor:
    return _total(x, sizes, shape, mean=True)


def _count(x: Tensor, sizes: Sizes, shape: Shape) -> Tensor:
    y = empty(shape, "int32")
    kernels.reduce_count_nonzero(x.data, y.data, *sizes)
    return y


@op
def sum(x: TensorLike, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Sum over `axis` (int, tuple or None for all). Bools are counted as int32, uint8 is added up as int64. An empty
    sum is 0."""
    x = as_tensor(x)
    dtype = x.dtype
    if dtype == "bool":
        return _reduce(_count, x, axis, keepdims, then=_total)
    return _reduce(_total, ops.cast(x, "int64") if dtype == "uint8" else x, axis, keepdims)


@op
def mean(x: TensorLike, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Mean over `axis` (int, tuple or None for all); ints and bools give `floatx`. An empty mean is NaN."""
    return _reduce(_mean_of, as_float(x), axis, keepdims)


@op
def sum_to_shape(x: Tensor, shape: Sequence[int]) -> Tensor:
    """Sums `x` to `shape`, from which it was broadcast: the gradient of broadcasting.

    Args:
        x: tensor of a shape that `shape` broadcasts to.
        shape: tuple of ints.

    Raises:
        ValueError: when `shape` does not broadcast to that of `x`.
    """
    return _broadcast.sum_to_shape(as_tensor(x), tuple(shape))


@op
def count_nonzero(x: TensorLike, axis: Axis = None) -> Tensor:
    """How many values are not zero, as int32."""
    return _reduce(_count, as_tensor(x), axis, False, then=_total)


@op
def average(x: TensorLike, axis: Axis = None, weights: TensorLike | None = None) -> Tensor:
    """Mean over `axis`, weighted if `weights` is given.

    Args:
        x: tensor.
        axis: int, tuple or None for all.
        weights: of x's shape, or one-dimensional along a single `axis`.
    """
    if weights is None:
        return mean(x, axis)
    x, w = as_float(x), as_float(weights)
    if w.shape != x.shape:
        if w.ndim != 1 or not isinstance(axis, int) or w.shape[0] != x.shape[axis]:
            raise ValueError(f"average: expected weights of the shape {x.shape}, or one per place along one axis; "
                             f"received weights of shape {w.shape}, axis={axis}.")
        along = normalize_axis(axis, x.ndim)
        w = ops.reshape(w, tuple(-1 if a == along else 1 for a in range(x.ndim)))
        return sum(x * w, axis) / sum(w)
    return sum(x * w, axis) / sum(w, axis)


# -------------------------------------------------------------------------- product, extrema, truth


def _product_kernel(x: Tensor, sizes: Sizes, shape: Shape) -> Tensor:
    y = empty(shape, x.dtype)
    kernels.reduce_prod(x.data, y.data, *sizes)

    def vjp(dy: Tensor) -> Gradients:
        dx = empty(x.shape, x.dtype)
        kernels.reduce_prod_grad(x.data, dy.data, dx.data, *sizes)
        return (dx,)

    return differentiable(y, (x,), vjp)


@fused(_product_kernel)
def _product(x: Tensor, sizes: Sizes, shape: Shape) -> Tensor:
    """Products of pairs, of pairs of pairs, ...: nothing is divided, zeros have all their derivatives."""
    n = sizes[1]
    x = ops.reshape(x, sizes) if n else ops.ones((sizes[0], 1, sizes[2]), x.dtype)
    while n > 1:
        half = n // 2
        pairs = ops.multiply(x[:, :half], x[:, half:2 * half])
        x = ops.concatenate([pairs, x[:, 2 * half:]], axis=1) if n % 2 else pairs
        n -= half
    return ops.reshape(x, shape)


@op
def prod(x: TensorLike, axis: Axis = None, keepdims: bool = False, dtype: DType = None) -> Tensor:
    """Product over `axis` (int, tuple or None for all). Bools are multiplied as int32. An empty product is 1."""
    x = at_least_int32(as_tensor(x))
    return _reduce(_product, ops.cast(x, dtype) if dtype else x, axis, keepdims)


def _extremum(kernel: Kernel) -> Reduction:
    def one(x: Tensor, sizes: Sizes, shape: Shape) -> Tensor:
        y = empty(shape, x.dtype)
        kernel(x.data, y.data, *sizes)
        values, best = x.data, y.data
        return differentiable(y, (x,), lambda dy: (_shared(dy, values, best, sizes),))

    return one


def _shared(dy: Tensor, values: np.ndarray, best: np.ndarray, sizes: Sizes) -> Tensor:
    """dy in the places of the arrays `values` that are `best`, in equal parts: linear in dy."""
    dx, share, before = empty(values.shape, dy.dtype), empty(dy.shape, dy.dtype), dy.shape
    kernels.reduce_extremum_grad(values, best, dy.data, share.data, dx.data, *sizes)

    def vjp(ddx: Tensor) -> Gradients:  # the mean over these places
        outer, _, inner = sizes
        there = ops.equal(ops.reshape(Tensor(values), sizes), ops.reshape(Tensor(best), (outer, 1, inner)))
        total = ops.sum(ops.where(there, ops.reshape(ddx, sizes), 0.0), 1)
        return (ops.reshape(ops.divide(total, ops.sum(ops.cast(there, ddx.dtype), 1)), before),)

    return differentiable(dx, (dy,), vjp)


_largest, _smallest = _extremum(kernels.reduce_max), _extremum(kernels.reduce_min)


@op
def max(x: TensorLike, axis: Axis = None, keepdims: bool = False, initial: float | None = None) -> Tensor:
    """Largest value over `axis` (int, tuple or None for all), NaN where there is one.

    The gradient is shared evenly by equal largest values.

    Args:
        x: tensor.
        axis: int, tuple or None for all.
        keepdims: whether reduced axes stay, with size 1.
        initial: a value the result is at least; required where there are no values.
    """
    return _extreme(x, axis, keepdims, initial, "max", _largest, _any, "maximum")


@op
def min(x: TensorLike, axis: Axis = None, keepdims: bool = False, initial: float | None = None) -> Tensor:
    """Smallest value over `axis`; see `max`."""
    return _extreme(x, axis, keepdims, initial, "min", _smallest, _all, "minimum")


amax, amin = max, min


def _extreme(x: TensorLike, axis: Axis, keepdims: bool, initial: float | None, name: str, one: Reduction,
             of_bools: Reduction, combine: str) -> Tensor:
    x = as_tensor(x)
    if x.dtype == "uint8":
        initial = None if initial is None else np.clip(initial, 0, 255).item()
        return ops.cast(_extreme(at_least_int32(x), axis, keepdims, initial, name, one, of_bools, combine), "uint8")
    if initial is None:
        _refuse_empty(name, x, axis)
    elif x.size == 0:
        return ops.full(_layout(x.shape, normalize_axes(axis, x.ndim), keepdims)[1], initial, x.dtype)
    y = _reduce(of_bools if x.dtype == "bool" else one, x, axis, keepdims)
    return y if initial is None else getattr(ops, combine)(y, initial)


def _any(x: Tensor, sizes: Sizes, shape: Shape) -> Tensor:
    y = empty(shape, "bool")
    kernels.reduce_any(x.data, y.data, *sizes)
    return y


def _all(x: Tensor, sizes: Sizes, shape: Shape) -> Tensor:
    y = empty(shape, "bool")
    kernels.reduce_all(x.data, y.data, *sizes)
    return y


@op
def any(x: TensorLike, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Whether any value over `axis` is not zero."""
    return _reduce(_any, as_tensor(x), axis, keepdims)


@op
def all(x: TensorLike, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Whether all values over `axis` are not zero."""
    return _reduce(_all, as_tensor(x), axis, keepdims)


@op
def argmax(x: TensorLike, axis: int | None = None, keepdims: bool = False) -> Tensor:
    """Position of the first largest value along `axis` (None: in the flattened tensor), as int32. NaN is largest."""
    return _position("argmax", kernels.reduce_argmax, x, axis, keepdims)


@op
def argmin(x: TensorLike, axis: int | None = None, keepdims: bool = False) -> Tensor:
    """Position of the first smallest value along `axis`; see `argmax`."""
    return _position("argmin", kernels.reduce_argmin, x, axis, keepdims)


def _position(name: str, kernel: Kernel, x: TensorLike, axis: int | None, keepdims: bool) -> Tensor:
    x = at_least_int32(as_tensor(x))
    _refuse_empty(name, x, axis)
    axes = normalize_axes(axis, x.ndim)
    if axis is not None and len(axes) != 1:
        raise ValueError(f"{name}: expected one axis or None; received axis={axis}.")
    y = empty(_layout(x.shape, axes, keepdims)[1], "int32")
    if axis is None:
        kernel(x.data, y.data, 1, x.size, 1)
    else:
        (a,) = axes
        kernel(x.data, y.data, math.prod(x.shape[:a]), x.shape[a], math.prod(x.shape[a + 1:]))
    return y


# ---------------------------------------------------------------------------------- moments, norms


def _moments_kernel(x: Tensor, sizes: Sizes, shape: Shape) -> tuple[Tensor, Tensor]:
    m, v = empty(shape, x.dtype), empty(shape, x.dtype)
    kernels.reduce_variance(x.data, m.data, v.data, *sizes)
    centre = m.data

    def vjp(dm: Tensor | None, dv: Tensor | None) -> Gradients:
        dx = empty(x.shape, x.dtype)
        kernels.reduce_variance_grad(x.data, centre, *(None if g is None else g.data for g in (dm, dv)), dx.data,
                                     *sizes)
        return (dx,)

    return differentiable((m, v), (x,), vjp)


@fused(_moments_kernel)
def _moments(x: Tensor, sizes: Sizes, shape: Shape) -> tuple[Tensor, Tensor]:
    centre = _total(x, sizes, shape, mean=True)
    distance = ops.subtract(x, _spread(centre, sizes, x.shape))
    return centre, _total(ops.square(distance), sizes, shape, mean=True)


@op
def moments(x: TensorLike, axes: Axis, keepdims: bool = False, synchronized: bool = False) -> tuple[Tensor, Tensor]:
    """Mean and variance over `axes`.

    Args:
        x: tensor.
        axes: int or tuple of ints.
        keepdims: whether reduced axes stay, with size 1.
        synchronized: accepted for compatibility; there is one process.

    Returns:
        Two tensors. The variance is that of the values themselves (divided by n), computed about the mean.
    """
    x = as_float(x)
    groups, shape = _layout(x.shape, normalize_axes(axes, x.ndim), keepdims)
    if len(groups) > 1:
        centre = mean(x, axes, keepdims=True)
        variance = mean(ops.square(x - centre), axes, keepdims)
        return (centre if keepdims else ops.reshape(centre, shape)), variance
    return _moments(x, groups[0], shape)


@op
def var(x: TensorLike, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Variance over `axis` (int, tuple or None for all): mean squared distance to the mean."""
    x = as_float(x)
    return moments(x, normalize_axes(axis, x.ndim), keepdims)[1]


@op
def std(x: TensorLike, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Standard deviation over `axis` (int, tuple or None for all): the square root of `var`. Where that is 0, so is
    the gradient."""
    return length_of(var(x, axis, keepdims))


def _squares_kernel(x: Tensor, sizes: Sizes, shape: Shape) -> Tensor:
    y = empty(shape, x.dtype)
    kernels.reduce_sum_squares(x.data, y.data, *sizes)

    def vjp(dy: Tensor) -> Gradients:
        dx = empty(x.shape, x.dtype)
        kernels.reduce_sum_squares_grad(x.data, dy.data, dx.data, 2.0, *sizes)
        return (dx,)

    return differentiable(y, (x,), vjp)


@fused(_squares_kernel)
def _sum_of_squares(x: Tensor, sizes: Sizes, shape: Shape) -> Tensor:
    return _total(ops.square(x), sizes, shape)


def length_of(total: Tensor) -> Tensor:
    """The square root of a sum of squares. Nothing flows back where it is 0, the lowest point of a length."""
    none = ops.equal(total, 0)
    return ops.where(none, 0, ops.sqrt(ops.where(none, 1, total)))


def magnitude_of(top: Tensor) -> Tensor:
    """The power of two at or below the largest absolute value `top`, for dividing (without rounding) what is to be
    squared; 1 where `top` is 0 or not finite."""
    top = ops.stop_gradient(top)
    usable = ops.logical_and(ops.isfinite(top), ops.greater(top, 0))
    return ops.exp2(ops.floor(ops.log2(ops.where(usable, top, 1))))


@op
def vector_norm(x: Tensor, order: float = 2, axis: Axis = None) -> Tensor:
    """sum(|x|^order)^(1 / order) over one or several axes, which stay with size 1, for an order above 0. Of scaled
    values, so that neither large nor small ones are lost; the gradient of a vector of zeros is 0."""
    unit = magnitude_of(max(ops.absolute(x), axis, keepdims=True, initial=0))
    x = ops.divide(x, unit)
    if order == 2:
        return ops.multiply(length_of(_reduce(_sum_of_squares, x, axis, True, then=_total)), unit)
    total = sum(ops.power(ops.absolute(x), order), axis, keepdims=True)
    none = ops.equal(total, 0)
    return ops.multiply(ops.where(none, 0, ops.power(ops.where(none, 1, total), 1 / order)), unit)


@op
def norm(x: TensorLike, ord: float | str | None = None, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Vector norm, or norm of matrices.

    Args:
        x: tensor.
        ord: None or 2 (Euclidean), 1, 0 (values that are not zero), inf, -inf, any p > 0; for matrices None or "fro"
            (root of the sum of squares), 1, -1 (column sums), inf, -inf (row sums).
        axis: an int (vectors), a pair (matrices) or None: the flattened tensor, for `ord` not None all its axes.
        keepdims: whether reduced axes stay, with size 1.

    Powers are of scaled values: neither large nor small ones are lost. The gradient of a vector of zeros is 0.
    """
    x = as_float(x)
    axes = normalize_axes(axis, x.ndim)
    shape = _layout(x.shape, axes, keepdims)[1]
    if ord is None or (ord == 2 and len(axes) == 1) or (ord == "fro" and len(axes) == 2):
        return ops.reshape(vector_norm(x, 2, axes), shape)
    size = ops.absolute(x)
    if len(axes) == 1:
        if ord == math.inf:
            return max(size, axes, keepdims, initial=None if x.size else 0)
        if ord == -math.inf:
            return min(size, axes, keepdims)
        if ord == 0:
            return sum(ops.cast(ops.not_equal(x, 0), x.dtype), axes, keepdims)
        if ord == 1:
            return sum(size, axes, keepdims)
        if isinstance(ord, (int, float)):
            return ops.reshape(vector_norm(x, ord, axes), shape)
    elif len(axes) == 2 and ord in (1, -1, math.inf, -math.inf):
        # `axis` as given, not sorted: its first entry counts the rows.
        rows, columns = (normalize_axis(a, x.ndim) for a in ((0, 1) if axis is None or isinstance(axis, int) else axis))
        summed, kept = (rows, columns) if abs(ord) == 1 else (columns, rows)
        y = (max if ord > 0 else min)(sum(size, summed, keepdims=True), kept, keepdims=True)
        return ops.reshape(y, shape)
    raise ValueError(f"norm: ord={ord!r} is not defined for axis={axis} of a tensor of shape {x.shape}.")


def _logsumexp_kernel(x: Tensor, sizes: Sizes, shape: Shape) -> Tensor:
    y = empty(shape, x.dtype)
    kernels.logsumexp(x.data, y.data, *sizes)
    result = y.data

    def vjp(dy: Tensor) -> Gradients:
        dx = empty(x.shape, x.dtype)
        kernels.logsumexp_grad(x.data, result, dy.data, dx.data, *sizes)
        return (dx,)

    return differentiable(y, (x,), vjp)


@fused(_logsumexp_kernel)
def _logsumexp(x: Tensor, sizes: Sizes, shape: Shape) -> Tensor:
    top = ops.stop_gradient(_largest(x, sizes, shape))
    top = ops.where(ops.isfinite(top), top, 0.0)  # infinity less itself would be NaN
    total = _total(ops.exp(ops.subtract(x, _spread(top, sizes, x.shape))), sizes, shape)
    return ops.add(ops.log(total), top)


@op
def logsumexp(x: TensorLike, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """log(sum(exp(x))) over `axis` (int, tuple or None for all), without overflow."""
    x = as_float(x)
    _refuse_empty("logsumexp", x, axis)
    return _reduce(_logsumexp, x, axis, keepdims)


# -------------------------------------------------------------------------------- order statistics


@op
def quantile(x: TensorLike, q: TensorLike, axis: Axis = None, method: str = "linear", keepdims: bool = False) -> Tensor:
    """Quantiles along `axis`.

    Args:
        x: tensor.
        q: probability in [0, 1], or a one-dimensional sequence of them.
        axis: int, tuple or None for all.
        method: where a quantile falls between two values: "linear", "lower", "higher", "midpoint", "nearest".
        keepdims: whether reduced axes stay, with size 1.

    NaN where a value is NaN. Between a finite value and an infinite one, and between equal infinities, lies the
    infinity.

    Returns:
        Tensor of the reduced shape, with a leading axis for the probabilities if `q` is a sequence.
    """
    x = as_float(x)
    _refuse_empty("quantile", x, axis)
    methods = ("linear", "lower", "higher", "midpoint", "nearest")
    if method not in methods:
        raise ValueError(f"quantile: expected method to be one of {', '.join(methods)}; received {method!r}.")
    probabilities = np.asarray(q.numpy() if isinstance(q, Tensor) else q, dtype="float64")
    if probabilities.ndim > 1 or not ((probabilities >= 0) & (probabilities <= 1)).all():
        raise ValueError(f"quantile: expected probabilities in [0, 1], one or a list of them; received q={q}.")
    axes = normalize_axes(axis, x.ndim)
    _, shape = _layout(x.shape, axes, keepdims)
    kept = tuple(a for a in range(x.ndim) if a not in axes)
    n = math.prod(x.shape[a] for a in axes)
    rows = ops.sort(ops.reshape(ops.transpose(x, kept + axes), (-1, n)), axis=-1)
    none = ops.isnan(rows[:, -1])  # NaN is sorted to the end
    results = []
    for p in probabilities.reshape(-1).tolist():
        position = p * (n - 1)
        low, high = math.floor(position), math.ceil(position)
        if method == "nearest":
            low = high = round(position)
        part = {"linear": position - low, "lower": 0.0, "higher": 1.0, "midpoint": 0.5, "nearest": 0.0}[method]
        below, above = rows[:, low], rows[:, high]
        value = below if low == high or part == 0 else above if part == 1 else _between(below, above, part)
        value = ops.where(none, math.nan, value)
        results.append(ops.reshape(value, shape))
    return ops.stack(results, axis=0) if probabilities.ndim else results[0]


def _between(below: Tensor, above: Tensor, part: float) -> Tensor:
    """The point at `part` of the way: exact where both are equal, and of infinities that have no difference."""
    apart = above - below
    return ops.where(ops.isfinite(apart), below + apart * part, below * (1 - part) + above * part)


@op
def median(x: TensorLike, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Median over `axis` (int, tuple or None for all): the mean of the two middle values for an even count; NaN where
    there is one."""
    return quantile(x, 0.5, axis=axis, method="linear", keepdims=keepdims)
