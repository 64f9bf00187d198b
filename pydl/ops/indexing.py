"""Reading and writing by position: take, gather, scatter, slices, `x[...]`, embedding lookup, one-hot."""

from __future__ import annotations

from builtins import slice as _slice  # the public name below hides it
from collections.abc import Sequence
from math import prod
from typing import Any, TypeAlias

import numpy as np

from pydl import ops
from pydl._core import is_dry_run, is_recording, kernels
from pydl.dtypes import INTEGERS, holds_floats, holds_integers, is_float_dtype
from pydl.ops import _strided
from pydl.ops._common import DType, Gradients, Shape, TensorLike, as_tensor, at_least_int32, normalize_axis
from pydl.symbolic import op
from pydl.tape import differentiable
from pydl.tensor import Tensor, empty, stored_dtype

__all__ = [
    "embedding", "getitem", "multi_hot", "nonzero", "one_hot", "scatter", "scatter_update", "segment_max",
    "segment_sum", "slice", "slice_update", "take", "take_along_axis", "unravel_index",
]


def as_index(x: TensorLike, low: int, high: int, who: str) -> Tensor:
    """Indices as an int32 tensor, checked to lie in low..high-1: at once for host values, when the step runs for
    tensors.

    Raises:
        IndexError: naming the value, its position and the allowed range.
        ValueError: for a range that int32 does not hold.
    """
    if high > 2**31:
        raise ValueError(f"{who}: positions are int32, so an axis has at most {2**31} places; received {high}.")
    if isinstance(x, Tensor):
        x = at_least_int32(x)
        kernels.check_index(x.data, x.size, low, high)
        return x if x.dtype == "int32" else ops.cast(x, "int32")
    values = np.asarray(x)
    if values.size == 0:
        values = values.astype("int32")
    if not holds_integers(values) and values.dtype != bool:
        raise TypeError(f"{who}: expected integer indices; received dtype {values.dtype}.")
    outside = (values < low) | (values >= high)
    if outside.any():
        position = int(np.argmax(outside))
        raise IndexError(f"{who}: value {values.flat[position]} at position {position} is not allowed (low={low}, "
                         f"high={high})")
    return Tensor(np.array(values, dtype="int32", order="C"))


def within_int32(x: TensorLike) -> Tensor:
    """`x` as int32; what lies outside becomes the nearest end and NaN -1, which stand for no class either."""
    x = as_tensor(x)
    if x.dtype == "int64":
        x = ops.clip(x, -(2**31), 2**31 - 1)
    elif is_float_dtype(x.dtype):
        x = ops.where(ops.isnan(x), -1.0, x)
    return x if x.dtype == "int32" else ops.cast(x, "int32")


def categories(x: TensorLike, count: int) -> Tensor:
    """`x` as int32; numbers below 0 are no category.

    Raises:
        IndexError: for a number of `count` or more, and for NaN.
    """
    x = at_least_int32(as_tensor(x))
    kernels.check_index(x.data, x.size, -(2**63), count)
    return within_int32(x)


# -------------------------------------------------------------------------------- gather and scatter


def _gather(x: Tensor, index: Tensor, outer: int, n: int, axes_shape: Shape, width: int, shape: Shape) -> Tensor:
    """x (outer, *axes_shape, width), index (n, len(axes_shape)) -> y (outer, n, width) under `shape`."""
    y = empty(shape, x.dtype)
    kernels.gather(x.data, index.data, y.data, outer, n, axes_shape, width)
    before = x.shape
    return differentiable(y, (x,), lambda dy: (_scatter_add(index, dy, outer, n, axes_shape, width, before), ))


def _scatter_add(index: Tensor, updates: Tensor, outer: int, n: int, axes_shape: Shape, width: int,
                 shape: Shape) -> Tensor:
    """The transpose of _gather: zeros of `shape`, plus updates at their places."""
    y = empty(shape, updates.dtype)
    kernels.scatter(None, index.data, updates.data, y.data, outer, n, axes_shape, width, 1)
    before = updates.shape
    return differentiable(y, (updates,), lambda dy: (_gather(dy, index, outer, n, axes_shape, width, before),))


@op
def take(x: TensorLike, indices: TensorLike, axis: int | None = None) -> Tensor:
    """Elements of `x` at `indices` along `axis`.

    Args:
        x: tensor.
        indices: int, array or tensor of ints in -n..n-1, n = size of the axis.
        axis: int; None takes from the flattened tensor.

    Returns:
        Tensor of shape `x.shape[:axis] + indices.shape + x.shape[axis + 1:]`.

    Raises:
        IndexError: naming the first index out of range.
    """
    x = as_tensor(x)
    if axis is None:
        x, axis = _strided.view(x, (x.size,)), 0
    axis = normalize_axis(axis, x.ndim)
    n = x.shape[axis]
    index = as_index(indices, -n, n, "take")
    head, tail = x.shape[:axis], x.shape[axis + 1:]
    return _gather(x, index, prod(head), index.size, (n,), prod(tail), head + index.shape + tail)


@op
def embedding(table: TensorLike, ids: TensorLike) -> Tensor:
    """Rows of a table: y[..., :] = table[ids[...]].

    Args:
        table: (rows, width).
        ids: integers (or floats, truncated) in 0..rows-1, any shape.

    Returns:
        Tensor of shape `ids.shape + (width,)`. The gradient of the table is dense, the sum of the gradients of the
        places that show each row, in one order for any number of threads.

    Raises:
        IndexError: naming the first id out of range.
    """
    table, ids = as_tensor(table), as_tensor(ids)
    if table.ndim != 2:
        raise ValueError(f"embedding: expected a table of rank 2 (rows, width); received shape {table.shape}.")
    rows, width = table.shape
    index = as_index(ids, 0, rows, "embedding")
    return _gather(table, index, 1, index.size, (rows,), width, index.shape + (width,))


@op
def take_along_axis(x: TensorLike, indices: TensorLike, axis: int | None = None) -> Tensor:
    """y[..., j, ...] = x[..., indices[..., j, ...], ...] along `axis`; the other axes broadcast.

    Args:
        x: tensor.
        indices: ints in -n..n-1, of the rank of `x` (axis None: of rank 1, into the flattened tensor).
        axis: int or None.

    Raises:
        IndexError: naming the first index out of range.
    """
    x = as_tensor(x)
    if axis is None:
        x, axis = _strided.view(x, (x.size,)), 0
        indices = ops.ravel(indices)
    axis = normalize_axis(axis, x.ndim)
    n = x.shape[axis]
    index = as_index(indices, -n, n, "take_along_axis")
    if index.ndim != x.ndim:
        raise ValueError(f"take_along_axis: expected indices of the rank of x; received shapes {index.shape} and "
                         f"{x.shape}.")
    try:
        common = np.broadcast_shapes(x.shape[:axis] + (1,) + x.shape[axis + 1:],
                                     index.shape[:axis] + (1,) + index.shape[axis + 1:])
    except ValueError:
        raise ValueError(f"take_along_axis: shapes {x.shape} and {index.shape} do not broadcast outside axis {axis}."
                         ) from None
    head, tail, m = common[:axis], common[axis + 1:], index.shape[axis]
    x = ops.broadcast_to(x, head + (n,) + tail)
    index = ops.broadcast_to(index, head + (m,) + tail)
    return _take_along(x, index, prod(head), n, m, prod(tail))


def _take_along(x: Tensor, index: Tensor, outer: int, n: int, m: int, inner: int) -> Tensor:
    y = empty(index.shape, x.dtype)
    kernels.take_along(x.data, index.data, y.data, outer, n, m, inner)
    before = x.shape
    return differentiable(y, (x,), lambda dy: (_take_along_grad(dy, index, outer, n, m, inner, before),))


def _take_along_grad(dy: Tensor, index: Tensor, outer: int, n: int, m: int, inner: int, shape: Shape) -> Tensor:
    dx = empty(shape, dy.dtype)
    kernels.take_along_grad(index.data, dy.data, dx.data, outer, n, m, inner)
    return differentiable(dx, (dy,), lambda ddx: (_take_along(ddx, index, outer, n, m, inner),))


_REDUCTIONS = {None: 0, "add": 1, "mul": 2, "max": 3, "min": 4}


def _scatter_index(indices: TensorLike, shape: Shape, who: str) -> tuple[Tensor, Shape, int]:
    """(index (n, k) tensor, leading shape of the updates, k)."""
    indices = indices if isinstance(indices, Tensor) else np.asarray(indices)
    if indices.ndim == 0 or indices.shape[-1] > len(shape):
        raise ValueError(f"{who}: expected indices of shape (..., k), k <= {len(shape)}; received {indices.shape} "
                         f"for a tensor of shape {shape}.")
    k = indices.shape[-1]
    if k == 1 or not isinstance(indices, Tensor):
        checked = [as_index(indices[..., d], -shape[d], shape[d], who) for d in range(k)] if k > 1 else \
            [as_index(indices, -shape[0], shape[0], who)]
        index = checked[0] if k == 1 else Tensor(np.stack([c.data for c in checked], axis=-1))
    else:
        for d in range(k):
            as_index(indices[..., d], -shape[d], shape[d], who)
        index = within_int32(indices)
    return index, tuple(indices.shape[:-1]), k


def _check_updates(updates: Tensor, lead: Shape, shape: Shape, k: int, who: str) -> None:
    if updates.shape != lead + shape[k:]:
        raise ValueError(f"{who}: expected updates of shape {lead + shape[k:]}; received {updates.shape}.")


@op
def scatter(indices: TensorLike, values: TensorLike, shape: Sequence[int]) -> Tensor:
    """Zeros of `shape` with `values` added at `indices`; repeated indices add up.

    Args:
        indices: (..., k) ints, each row names a place along the first k axes.
        values: (...,) + shape[k:].
        shape: tuple.
    """
    shape, values = tuple(int(n) for n in shape), as_tensor(values)
    index, lead, k = _scatter_index(indices, shape, "scatter")
    _check_updates(values, lead, shape, k, "scatter")
    return _scatter_add(index, values, 1, prod(lead), shape[:k], prod(shape[k:]), shape)


@op
def scatter_update(inputs: TensorLike, indices: TensorLike, updates: TensorLike,
                   reduction: str | None = None) -> Tensor:
    """`inputs` with `updates` written at `indices`; of repeated indices the last one wins.

    Args:
        inputs: tensor.
        indices: (..., k) ints, each row names a place along the first k axes of `inputs`.
        updates: (...,) + inputs.shape[k:].
        reduction: None, or "add", "mul", "max", "min" to combine with what stands there. Gradients exist for None
            and "add".
    """
    x, updates = as_tensor(inputs), as_tensor(updates, as_tensor(inputs).dtype)
    if reduction not in _REDUCTIONS:
        raise ValueError(f"scatter_update: expected reduction None, 'add', 'mul', 'max' or 'min'; received "
                         f"{reduction!r}.")
    updates = updates if updates.dtype == x.dtype else ops.cast(updates, x.dtype)
    index, lead, k = _scatter_index(indices, x.shape, "scatter_update")
    _check_updates(updates, lead, x.shape, k, "scatter_update")
    axes, width, n = x.shape[:k], prod(x.shape[k:]), prod(lead)
    y = empty(x.shape, x.dtype)
    kernels.scatter(x.data, index.data, updates.data, y.data, 1, n, axes, width, _REDUCTIONS[reduction])
    if reduction not in (None, "add"):
        return y
    shape = updates.shape

    def vjp(dy: Tensor) -> Gradients:
        dx = None
        if x.node is not None:
            dx = dy if reduction == "add" else scatter_update(dy, index, ops.zeros(shape, dy.dtype))
        return dx, _gather(dy, index, 1, n, axes, width, shape) if updates.node is not None else None

    return differentiable(y, (x, updates), vjp)


def _segments(data: TensorLike, segment_ids: TensorLike, num_segments: int | None,
              who: str) -> tuple[Tensor, Tensor, int]:
    """(data, ids, number of segments); ids outside of the segments name one that is left out of the result."""
    data = as_tensor(data)
    if num_segments is None:
        values = segment_ids.numpy() if isinstance(segment_ids, Tensor) else np.asarray(segment_ids)
        num_segments = max(int(values.max()) + 1, 0) if values.size else 0
    ids = as_tensor(segment_ids)
    if not isinstance(segment_ids, Tensor) and ids.size and holds_floats(ids.data):
        raise TypeError(f"{who}: expected integer ids; received dtype {ids.dtype}.")
    ids = within_int32(ids)
    if data.shape[:1] != ids.shape:
        raise ValueError(f"{who}: expected one segment id per row; received {ids.shape} for shape {data.shape}.")
    if not 0 <= num_segments < 2**31:
        raise ValueError(f"{who}: positions are int32, so there are 0 to {2**31 - 1} segments; received"
                         f" num_segments={num_segments}.")
    inside = ops.logical_and(ops.greater_equal(ids, 0), ops.less(ids, num_segments))
    return data, ops.where(inside, ids, num_segments), num_segments


@op
def segment_sum(data: TensorLike, segment_ids: TensorLike, num_segments: int | None = None,
                sorted: bool = False) -> Tensor:
    """Row s of the result is the sum of the rows of `data` whose segment id is s; rows whose id is no segment (-1 for
    padding, `num_segments` or more) are left out.

    `num_segments` (the largest id + 1 by default) must be given inside a recording.
    """
    data, index, count = _segments(data, segment_ids, num_segments, "segment_sum")
    shape = (count + 1,) + data.shape[1:]
    return _scatter_add(index, data, 1, index.size, (count + 1,), prod(data.shape[1:]), shape)[:count]


@op
def segment_max(data: TensorLike, segment_ids: TensorLike, num_segments: int | None = None,
                sorted: bool = False) -> Tensor:
    """Row s is the maximum over the rows of `data` whose segment id is s; -inf (lowest int) if none. Ids as in
    `segment_sum`. No gradient."""
    data, index, count = _segments(data, segment_ids, num_segments, "segment_max")
    dtype = data.data.dtype
    lowest = -np.inf if holds_floats(data.data) else np.iinfo(dtype).min if holds_integers(data.data) else False
    base = ops.full((count + 1,) + data.shape[1:], lowest, data.dtype)
    y = empty(base.shape, data.dtype)
    kernels.scatter(base.data, index.data, data.data, y.data, 1, index.size, (count + 1,), prod(data.shape[1:]), 3)
    return y[:count]


# ------------------------------------------------------------------------------------------- slices

Starts: TypeAlias = int | Sequence[int | Tensor] | np.ndarray | Tensor  # one number per axis


def _window(x: Tensor, starts: Sequence[int], shape: Sequence[int], who: str) -> tuple[Shape, list[int], int]:
    sizes = [int(n) for n in shape]
    if len(starts) != x.ndim or len(sizes) != x.ndim:
        raise ValueError(f"{who}: expected {x.ndim} starts and sizes for shape {x.shape}; received {starts} and "
                         f"{sizes}.")
    sizes = [m - s if n == -1 else n for s, n, m in zip(starts, sizes, x.shape)]
    if any(s < 0 or n < 0 or s + n > m for s, n, m in zip(starts, sizes, x.shape)):
        raise ValueError(f"{who}: a window of shape {tuple(sizes)} at {tuple(starts)} exceeds the shape {x.shape}.")
    strides = _strided.strides_of(x.shape)
    return tuple(sizes), strides, sum(s * st for s, st in zip(starts, strides))


def _starts(start_indices: Starts) -> tuple[list[int], dict[int, Tensor]]:
    """Where a window starts: numbers, 0 for those that a recorded step reads when it runs, and these by axis."""
    later = is_recording() or is_dry_run()
    if isinstance(start_indices, Tensor):
        if later:
            vector = ops.reshape(start_indices, (-1,))
            return [0] * vector.size, {axis: vector[axis] for axis in range(vector.size)}
        start_indices = start_indices.numpy()
    given = [start_indices] if isinstance(start_indices, (int, np.integer)) else list(start_indices)
    read = {axis: s for axis, s in enumerate(given) if later and isinstance(s, Tensor)}
    return [0 if axis in read else int(s) for axis, s in enumerate(given)], read


def _from(start: Tensor, size: int, n: int, who: str) -> Tensor:
    """The positions of a window of that size on an axis of `n`, checked when the step runs."""
    if start.size != 1:
        raise ValueError(f"{who}: expected a start to be one number; received shape {start.shape}.")
    return as_index(ops.reshape(start, (1,)), 0, n - size + 1, who) + ops.arange(size, dtype="int32")


@op
def slice(inputs: TensorLike, start_indices: Starts, shape: Sequence[int]) -> Tensor:
    """The window of `inputs` that starts at `start_indices` and has `shape` (-1: to the end of the axis).

    Args:
        inputs: tensor.
        start_indices: one start per axis, numbers or tensors; or a tensor of all of them.
        shape: sizes; known also where a start is a tensor in a recorded step.

    Raises:
        ValueError: for a window that exceeds the tensor; IndexError, when the step runs, where a start is read then.
    """
    x = as_tensor(inputs)
    starts, read = _starts(start_indices)
    sizes = list(shape)
    if any(sizes[axis] == -1 for axis in read if axis < len(sizes)):
        raise ValueError(f"slice: the size {tuple(sizes)} goes to the end (-1) of an axis along which the start of the"
                         " window is known when the step runs only. Give the size.")
    window = _window(x, starts, sizes, "slice")
    if read:
        window = _window(x, starts, [x.shape[axis] if axis in read else n for axis, n in enumerate(sizes)], "slice")
    y = _strided.strided_copy(x, *window)
    for axis, start in read.items():
        y = take(y, _from(start, int(sizes[axis]), x.shape[axis], "slice"), axis=axis)
    return y


@op
def slice_update(inputs: TensorLike, start_indices: Starts, updates: TensorLike) -> Tensor:
    """`inputs` with the window at `start_indices`, as in `slice`, replaced by `updates`."""
    x, updates = as_tensor(inputs), as_tensor(updates, as_tensor(inputs).dtype)
    updates = updates if updates.dtype == x.dtype else ops.cast(updates, x.dtype)
    starts, read = _starts(start_indices)
    _, strides, offset = _window(x, starts, updates.shape, "slice_update")
    if not read:
        return _strided.strided_scatter(updates, x.shape, strides, offset, base=x)
    axes = max(axis for axis, (s, n, m) in enumerate(zip(starts, updates.shape, x.shape))
               if axis in read or s or n != m) + 1  # the others are replaced from end to end
    window = updates.shape[:axes]
    positions = [_from(read[axis], n, x.shape[axis], "slice_update") if axis in read else
                 ops.arange(starts[axis], starts[axis] + n, dtype="int32") for axis, n in enumerate(window)]
    places = ops.stack([ops.broadcast_to(ops.reshape(p, (-1,) + (1,) * (axes - axis - 1)), window)
                        for axis, p in enumerate(positions)], axis=-1)
    return scatter_update(x, places, updates)


@op
def getitem(x: TensorLike, key: Any) -> Tensor:
    """`x[key]` as NumPy: ints, slices, `...`, None, integer tensors and arrays, boolean masks.

    A boolean mask that is a tensor decides the shape of the result by its values, so it cannot be recorded.
    """
    x = as_tensor(x)
    key = key if isinstance(key, tuple) else (key,)
    key = [_unmasked(k) for k in key]
    key = [k for part in key for k in (part if isinstance(part, _Mask) else [part])]
    used = sum(k is not None and k is not Ellipsis for k in key)
    if used > x.ndim:
        raise IndexError(f"too many indices: {used} for a tensor of shape {x.shape}.")
    if sum(k is Ellipsis for k in key) > 1:
        raise IndexError("an index can have only one ellipsis ('...').")
    fill = [_slice(None)] * (x.ndim - used)
    at = next((i for i, k in enumerate(key) if k is Ellipsis), len(key))
    key = key[:at] + fill + key[at + 1:]

    shape, strides, offset, arrays = [], [], 0, []
    axis = 0
    steps = _strided.strides_of(x.shape)
    for k in key:
        if k is None:
            shape.append(1)
            strides.append(0)
            continue
        n = x.shape[axis]
        if isinstance(k, _slice):
            start, stop, step = k.indices(n)
            count = len(range(start, stop, step))
            shape.append(count)
            strides.append(steps[axis] * step)
            offset += start * steps[axis] if count else 0
        elif isinstance(k, (int, np.integer)) and not isinstance(k, bool):
            if not -n <= k < n:
                raise IndexError(f"index {k} is out of range for axis {axis} of shape {x.shape}.")
            offset += k % n * steps[axis]
        else:
            arrays.append((len(shape), k))
            shape.append(n)
            strides.append(steps[axis])
        axis += 1
    y = _strided.strided_copy(x, tuple(shape), strides, offset)
    return _by_arrays(y, arrays) if arrays else y


class _Mask(list[np.ndarray]):
    """The integer arrays a boolean mask stands for."""


def _unmasked(k: Any) -> Any:
    if isinstance(k, (list, np.ndarray, bool)) or (isinstance(k, Tensor) and k.dtype == "bool"):
        values = k.numpy() if isinstance(k, Tensor) else np.asarray(k)
        if values.dtype == bool:
            if values.ndim == 0:
                raise IndexError("a boolean scalar is not supported as an index.")
            return _Mask(np.nonzero(values))
        return values if isinstance(k, list) else k
    if isinstance(k, Tensor) and k.ndim == 0 and k.dtype not in INTEGERS:
        raise IndexError(f"expected integer indices; received a tensor of dtype {k.dtype}.")
    return k


def _by_arrays(x: Tensor, arrays: Sequence[tuple[int, TensorLike]]) -> Tensor:
    """x[..., index arrays at the axes given, ...]; their broadcast shape stands where NumPy puts it."""
    axes = [axis for axis, _ in arrays]
    if len(arrays) == 1:
        return take(x, arrays[0][1], axis=axes[0])
    columns = [as_index(k, -x.shape[a], x.shape[a], "getitem") for a, k in arrays]
    common = np.broadcast_shapes(*(c.shape for c in columns))
    index = ops.stack([ops.broadcast_to(c, common) for c in columns], axis=-1)
    adjacent = axes == list(range(axes[0], axes[-1] + 1))
    first = axes[0] if adjacent else 0
    if not adjacent:
        x = ops.moveaxis(x, axes, list(range(len(axes))))
    head, tail = x.shape[:first], x.shape[first + len(axes):]
    return _gather(x, index, prod(head), prod(common), x.shape[first:first + len(axes)], prod(tail),
                   head + tuple(common) + tail)


@op
def nonzero(x: TensorLike) -> tuple[Tensor, ...]:
    """One int32 tensor per axis with the positions of non-zero elements. Their number depends on the values, so it
    cannot be recorded. No gradient."""
    x = as_tensor(x)
    return tuple(Tensor(np.ascontiguousarray(i, dtype="int32")) for i in np.nonzero(x.numpy()))


@op
def unravel_index(indices: TensorLike, shape: Sequence[int]) -> tuple[Tensor, ...]:
    """The coordinates in a tensor of `shape` of positions in its flattened form, one tensor per axis."""
    x = as_tensor(indices)
    shape = tuple(int(n) for n in shape)
    total = prod(shape)
    if any(n < 1 for n in shape) or total > 2**63 - 1:
        raise ValueError(f"unravel_index: expected sizes of at least 1 whose product 64 bits hold; received {shape}.")
    x = at_least_int32(x)
    kernels.check_index(x.data, x.size, -total, total)
    if total > 2**31 - 1:
        x = ops.cast(x, "int64")
    out, step = [], 1
    for n in reversed(shape):
        out.append(ops.mod(ops.floor_divide(x, step), n))
        step *= n
    return tuple(reversed(out))


# ------------------------------------------------------------------------------------------ one-hot


@op
def one_hot(x: TensorLike, num_classes: int, axis: int = -1, dtype: DType = None, sparse: bool = False) -> Tensor:
    """1 at the class each integer names, else 0; an integer outside 0..num_classes-1 gives zeros. No gradient.

    Args:
        x: ints of any shape.
        num_classes: size of the new axis.
        axis: its place in the result.
        dtype: `config.floatx()` by default.
    """
    if sparse:
        raise ValueError("one_hot: sparse results are not supported.")
    x = within_int32(x)
    axis = normalize_axis(axis, x.ndim + 1)
    head, tail = x.shape[:axis], x.shape[axis:]
    y = empty(head + (num_classes,) + tail, stored_dtype(dtype))
    kernels.one_hot(x.data, y.data, prod(head), num_classes, prod(tail))
    return y


@op
def multi_hot(inputs: TensorLike, num_classes: int | None = None, axis: int = -1, dtype: DType = None,
              sparse: bool = False, **kwargs: Any) -> Tensor:
    """1 at every class that a row of integers names: (batch, n, ...) -> (batch, ..., num_classes). No gradient.

    A vector (n,) gives (num_classes,). Integers outside 0..num_classes-1 are skipped.
    """
    num_classes = kwargs.pop("num_tokens", num_classes)
    if kwargs or num_classes is None:
        raise ValueError(f"multi_hot: expected `num_classes`; received {num_classes} and {kwargs}.")
    if sparse:
        raise ValueError("multi_hot: sparse results are not supported.")
    x = within_int32(inputs)
    if x.ndim > 2:
        x = ops.moveaxis(x, 1, -1)
    lead = x.shape[:-1]
    y = empty(lead + (num_classes,), stored_dtype(dtype))
    kernels.multi_hot(x.data, y.data, prod(lead), x.shape[-1] if x.ndim else 1, num_classes)
    return y if axis == -1 else ops.moveaxis(y, -1, axis)


def gather_rows_into(source: Tensor, index: Tensor, out: Tensor) -> None:
    """Writes rows `index` of `source` into `out`, converted to its dtype: how a training loop fills its batch.

    Args:
        source: (rows, ...) of any dtype.
        index: int32 (n,), in range.
        out: (n, ...) of any dtype but bool, or the dtype of `source`.
    """
    width = source.size // max(1, source.shape[0])
    if out.dtype == source.dtype:
        kernels.gather(source.data, index.data, out.data, 1, index.size, (source.shape[0],), width)
    else:
        getattr(kernels, f"gather_rows_to_{out.dtype}")(source.data, index.data, out.data, index.size, width)
