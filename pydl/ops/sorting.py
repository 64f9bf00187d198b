"""Order: sort, top_k, binary search, counting; sums and products along an axis."""

from __future__ import annotations

from collections.abc import Callable
from math import prod

import numpy as np

from pydl import ops
from pydl._core import kernels
from pydl.dtypes import is_float_dtype
from pydl.ops import _strided
from pydl.ops._common import (
    DType,
    Gradients,
    Sizes,
    TensorLike,
    as_tensor,
    at_least_int32,
    normalize_axis,
    result_dtype,
)
from pydl.ops._fused import fused
from pydl.ops.indexing import _take_along, _take_along_grad, as_index, within_int32
from pydl.symbolic import op
from pydl.tape import differentiable
from pydl.tensor import Tensor, empty, standardize_dtype

__all__ = [
    "argsort", "bincount", "cumprod", "cumsum", "diff", "digitize", "histogram", "in_top_k", "searchsorted", "sort",
    "top_k",
]


def _to_last(x: Tensor, axis: int) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    """(x with `axis` last, what undoes it)."""
    axis = normalize_axis(axis, x.ndim)
    if axis == x.ndim - 1:
        return x, lambda y: y
    return ops.swapaxes(x, axis, -1), lambda y: ops.swapaxes(y, axis, -1)


def _order(x: Tensor) -> Tensor:
    index = empty(x.shape, "int32")
    n = x.shape[-1]
    kernels.argsort(x.data, index.data, x.size // n if n else 0, n, 0)
    return index


@op
def argsort(x: TensorLike, axis: int | None = -1) -> Tensor:
    """The positions (int32) that sort `x` along `axis` (None: flattened): stable, NaN last. No gradient."""
    x = as_tensor(x)
    if axis is None:
        x, axis = _strided.view(x, (x.size,)), -1
    if x.ndim == 0:
        return ops.zeros((), "int32")
    x, back = _to_last(x, axis)
    return back(_order(x))


@op
def sort(x: TensorLike, axis: int | None = -1) -> Tensor:
    """`x` in rising order along `axis` (None: flattened); NaN last."""
    x = as_tensor(x)
    if axis is None:
        x, axis = _strided.view(x, (x.size,)), -1
    if x.ndim == 0:
        return _strided.view(x, ())
    x, back = _to_last(x, axis)
    n = x.shape[-1]
    return back(_take_along(x, _order(x), prod(x.shape[:-1]), n, n, 1))


@op
def top_k(x: TensorLike, k: int, sorted: bool = True) -> tuple[Tensor, Tensor]:
    """(values, indices) of the `k` largest elements along the last axis, in falling order; of equal ones the first
    comes first, NaN comes last. Indices are int32."""
    x = as_tensor(x)
    if x.ndim == 0 or not 0 <= k <= x.shape[-1]:
        raise ValueError(f"top_k: expected 0 <= k <= size of the last axis; received k={k} for shape {x.shape}.")
    n, rows = x.shape[-1], prod(x.shape[:-1])
    values, index = empty(x.shape[:-1] + (k,), x.dtype), empty(x.shape[:-1] + (k,), "int32")
    kernels.top_k(x.data, values.data, index.data, rows, n, k)
    before = x.shape

    def vjp(dvalues: Tensor) -> Gradients:
        return (_take_along_grad(dvalues, index, rows, n, k, 1, before),)

    return differentiable(values, (x,), vjp), index


@op
def in_top_k(targets: TensorLike, predictions: TensorLike, k: int) -> Tensor:
    """Whether `predictions[i, targets[i]]` is among the `k` largest of its row: fewer than k are larger.

    False where the prediction is not finite or the target no class. No gradient.
    """
    targets, predictions = as_tensor(targets), as_tensor(predictions)
    if predictions.ndim != 2 or targets.shape != predictions.shape[:1]:
        raise ValueError(f"in_top_k: expected targets (n,) and predictions (n, classes); received shapes "
                         f"{targets.shape} and {predictions.shape}.")
    y = empty(targets.shape, "bool")
    index = within_int32(targets)
    predictions = at_least_int32(predictions)
    kernels.in_top_k(predictions.data, index.data, y.data, *predictions.shape, k)
    return y


@op
def searchsorted(sorted_sequence: TensorLike, values: TensorLike, side: str = "left") -> Tensor:
    """For each value the place (int32) in a sorted vector where it would be inserted. No gradient.

    Args:
        sorted_sequence: (n,), rising.
        values: any shape.
        side: "left": before equal elements; "right": after them.
    """
    if side not in ("left", "right"):
        raise ValueError(f"searchsorted: expected side 'left' or 'right'; received {side!r}.")
    sequence, values = as_tensor(sorted_sequence), as_tensor(values)
    if sequence.ndim != 1:
        raise ValueError(f"searchsorted: expected a sorted sequence of rank 1; received shape {sequence.shape}.")
    dtype = result_dtype(sequence, values)
    sequence, values = (t if t.dtype == dtype else ops.cast(t, dtype) for t in (sequence, values))
    y = empty(values.shape, "int32")
    kernels.searchsorted(sequence.data, values.data, y.data, sequence.size, values.size, side == "right")
    return y


@op
def digitize(x: TensorLike, bins: TensorLike) -> Tensor:
    """The bin (int32) of each value: i with bins[i-1] <= x < bins[i], for rising `bins`. No gradient."""
    return searchsorted(bins, x, side="right")


@op
def bincount(x: TensorLike, weights: TensorLike | None = None, minlength: int = 0, sparse: bool = False) -> Tensor:
    """How often each non-negative integer occurs along the last axis, or the sum of its weights. No gradient.

    Args:
        x: ints (n,) or (batch, n).
        weights: of the shape of `x`, or None to count.
        minlength: least length of the result; the largest value + 1 when that is more. In a recording the length
            cannot depend on values: give `minlength`, and values beyond it raise IndexError.
    """
    if sparse:
        raise ValueError("bincount: sparse results are not supported.")
    x = as_tensor(x)
    if x.ndim not in (1, 2):
        raise ValueError(f"bincount: expected shape (n,) or (batch, n); received {x.shape}.")
    bins = int(minlength)
    if not _fixed_shapes():
        bins = max(bins, int(x.numpy().max()) + 1 if x.size else 0)
    elif bins == 0:
        raise ValueError("bincount: inside a recorded function the length of the result must be known; give "
                         "`minlength`.")
    index = as_index(x, 0, bins, "bincount")
    if weights is not None:
        weights = at_least_int32(as_tensor(weights))
        if weights.shape != x.shape:
            raise ValueError(f"bincount: expected weights of shape {x.shape}; received {weights.shape}.")
    y = empty(x.shape[:-1] + (bins,), "int32" if weights is None else weights.dtype)
    kernels.bincount(index.data, None if weights is None else weights.data, y.data, prod(x.shape[:-1]), x.shape[-1],
                     bins)
    return y


def _fixed_shapes() -> bool:
    from pydl import _core

    return _core.is_recording() or _core.is_dry_run()


@op
def histogram(x: TensorLike, bins: int = 10, range: tuple[float, float] | None = None) -> tuple[Tensor, Tensor]:
    """(counts, edges) of `bins` equal bins over `range` = (low, high), the extent of `x` by default.

    Counts (int32) and edges are NumPy's; the values are read, so it cannot be recorded. No gradient.
    """
    x = as_tensor(x)
    if not isinstance(bins, (int, np.integer)) or bins < 1:
        raise ValueError(f"histogram: expected a positive number of bins; received {bins}.")
    counts, edges = np.histogram(x.numpy(), int(bins), range or None)
    dtype = x.dtype if is_float_dtype(x.dtype) else standardize_dtype(None)
    return Tensor(counts.astype("int32")), Tensor(edges.astype(dtype))


# -------------------------------------------------------------------------------------- cumulative


def _along(x: TensorLike, axis: int | None, dtype: DType) -> tuple[Tensor, Sizes]:
    x = as_tensor(x)
    if dtype is not None:
        x = ops.cast(x, dtype)
    else:
        x = at_least_int32(x)
    if axis is None:
        x, axis = _strided.view(x, (x.size,)), 0
    axis = normalize_axis(axis, x.ndim)
    return x, (prod(x.shape[:axis]), x.shape[axis], prod(x.shape[axis + 1:]))


@op
def cumsum(x: TensorLike, axis: int | None = None, dtype: DType = None) -> Tensor:
    """Sums of all elements up to each position along `axis` (None: of the flattened tensor)."""
    return _cumsum(*_along(x, axis, dtype), 0)


def _cumsum(x: Tensor, sizes: Sizes, reverse: int) -> Tensor:
    y = empty(x.shape, x.dtype)
    kernels.cumsum(x.data, y.data, *sizes, reverse)
    return differentiable(y, (x,), lambda dy: (_cumsum(dy, sizes, 1 - reverse),))


@op
def cumprod(x: TensorLike, axis: int | None = None, dtype: DType = None) -> Tensor:
    """Products of all elements up to each position along `axis` (None: of the flattened tensor)."""
    return _cumprod(*_along(x, axis, dtype))


def _cumprod_kernel(x: Tensor, sizes: Sizes) -> Tensor:
    y = empty(x.shape, x.dtype)
    kernels.cumprod(x.data, y.data, *sizes)
    result = y.data

    def vjp(dy: Tensor) -> Gradients:
        dx = empty(x.shape, x.dtype)
        kernels.cumprod_grad(x.data, result, dy.data, dx.data, *sizes)
        return (dx,)

    return differentiable(y, (x,), vjp)


@fused(_cumprod_kernel)
def _cumprod(x: Tensor, sizes: Sizes) -> Tensor:
    """Each element holds the product of the 1, 2, 4, ... last ones: nothing is divided, zeros have all derivatives."""
    y, reach = ops.reshape(x, sizes), 1
    while reach < sizes[1]:
        y = ops.concatenate([y[:, :reach], ops.multiply(y[:, reach:], y[:, :-reach])], axis=1)
        reach *= 2
    return ops.reshape(y, x.shape)


@op
def diff(a: TensorLike, n: int = 1, axis: int = -1) -> Tensor:
    """Differences of neighbours along `axis`, taken `n` times."""
    a = as_tensor(a)
    if a.ndim == 0 or n < 0:
        raise ValueError(f"diff: expected a tensor of rank 1 or more and n >= 0; received shape {a.shape}, n={n}.")
    axis = normalize_axis(axis, a.ndim)
    lead = (slice(None),) * axis
    for _ in range(min(n, a.shape[axis])):  # then nothing is left
        later, earlier = a[lead + (slice(1, None),)], a[lead + (slice(None, -1),)]
        a = ops.not_equal(later, earlier) if a.dtype == "bool" else later - earlier
    return a
