"""Tensors from nothing: constants, ranges, identity matrices; conversion from and to NumPy.

A constant is filled once, outside the open recording: a replay finds it in memory and spends no step on it.
"""

from __future__ import annotations

import math
from typing import TypeAlias

import numpy as np

from pydl import config, ops
from pydl._core import is_dry_run, kernels, require_room
from pydl.dtypes import is_float_dtype, require_range
from pydl.ops import _strided
from pydl.ops._common import DType, ShapeLike, TensorLike, as_tensor, normalize_axis, result_dtype
from pydl.symbolic import KerasTensor, op
from pydl.tape import differentiable
from pydl.tensor import Tensor, as_array, from_numpy, paused_recording, standardize_dtype, stored_dtype
from pydl.tensor import empty as _empty

__all__ = [
    "arange", "array", "convert_to_numpy", "convert_to_tensor", "copy", "empty", "empty_like", "eye", "full",
    "full_like", "identity", "is_tensor", "linspace", "logspace", "meshgrid", "ones", "ones_like", "tri", "zeros",
    "zeros_like",
]


def _shape(shape: ShapeLike) -> tuple[int, ...]:
    return (int(shape),) if isinstance(shape, (int, np.integer)) else tuple(int(n) for n in shape)


def _filled(shape: ShapeLike, value: TensorLike, dtype: DType) -> Tensor:
    if type(value) is int:
        require_range((value,), standardize_dtype(dtype))
    if is_dry_run():  # values mean nothing
        return _empty(_shape(shape), stored_dtype(dtype))
    with paused_recording():
        y = _empty(_shape(shape), stored_dtype(dtype))
    np.copyto(y.data, np.asarray(value), casting="unsafe")
    return y


def _constant(array: np.ndarray, dtype: DType) -> Tensor:
    return _filled(array.shape, array, dtype)


def zeros(shape: ShapeLike, dtype: DType = None) -> Tensor:
    """A tensor of zeros; `dtype` is `config.floatx()` by default."""
    return _filled(shape, 0, dtype)


def ones(shape: ShapeLike, dtype: DType = None) -> Tensor:
    """A tensor of ones; `dtype` is `config.floatx()` by default."""
    return _filled(shape, 1, dtype)


def empty(shape: ShapeLike, dtype: DType = None) -> Tensor:
    """A tensor of zeros (nothing in this library hands out uninitialised values)."""
    return _filled(shape, 0, dtype)


def full(shape: ShapeLike, fill_value: TensorLike, dtype: DType = None) -> Tensor:
    """A tensor of `shape` filled with `fill_value` (a number, or what broadcasts to the shape)."""
    if isinstance(fill_value, (Tensor, KerasTensor)):
        return ops.broadcast_to(ops.cast(fill_value, standardize_dtype(dtype)), _shape(shape))
    return _filled(shape, fill_value, dtype)


@op
def zeros_like(x: TensorLike, dtype: DType = None) -> Tensor:
    """Zeros of the shape and, unless `dtype` is given, dtype of `x`."""
    x = as_tensor(x)
    return _filled(x.shape, 0, dtype or x.dtype)


@op
def ones_like(x: TensorLike, dtype: DType = None) -> Tensor:
    """Ones of the shape and, unless `dtype` is given, dtype of `x`."""
    x = as_tensor(x)
    return _filled(x.shape, 1, dtype or x.dtype)


@op
def empty_like(x: TensorLike, dtype: DType = None) -> Tensor:
    """As `zeros_like`."""
    x = as_tensor(x)
    return _filled(x.shape, 0, dtype or x.dtype)


@op
def full_like(x: TensorLike, fill_value: TensorLike, dtype: DType = None) -> Tensor:
    """`fill_value` in the shape and, unless `dtype` is given, dtype of `x`."""
    x = as_tensor(x)
    return full(x.shape, fill_value, dtype or x.dtype)


def eye(N: int, M: int | None = None, k: int = 0, dtype: DType = None) -> Tensor:
    """An (N, M) matrix (M = N by default) with ones on its `k`-th diagonal and zeros elsewhere."""
    require_room((N, N if M is None else M), "float64")
    return _constant(np.eye(N, M, k), dtype)


def identity(n: int, dtype: DType = None) -> Tensor:
    """The (n, n) identity matrix."""
    return eye(n, dtype=dtype)


def tri(N: int, M: int | None = None, k: int = 0, dtype: DType = None) -> Tensor:
    """An (N, M) matrix with ones on and below its `k`-th diagonal and zeros above."""
    require_room((N, N if M is None else M), "float64")
    return _constant(np.tri(N, M, k), dtype)


# ------------------------------------------------------------------------------------------ ranges

Number: TypeAlias = float | Tensor | np.ndarray | np.generic  # of one element


def _number(x: Number) -> float:
    return x.item() if isinstance(x, (Tensor, np.ndarray, np.generic)) else x


def arange(start: Number, stop: Number | None = None, step: Number | None = None, dtype: DType = None) -> Tensor:
    """start, start + step, ... below `stop`; `arange(n)` counts from 0. int32 for ints, `floatx` for floats.

    The length depends on the values, so they must be known when a step is recorded.
    """
    if stop is None:
        start, stop = 0, start
    start, stop, step = (_number(v) for v in (start, stop, 1 if step is None else step))
    if step == 0:
        raise ValueError("arange: expected a step other than 0.")
    length = (stop - start) / step
    require_room((math.ceil(length) if 0 < length < math.inf else 0,), "int64")
    return _constant(np.arange(start, stop, step), dtype or result_dtype(start, stop, step))


def _float_dtype(dtype: DType, *values: TensorLike) -> str:
    if dtype is not None:
        return standardize_dtype(dtype)
    found = result_dtype(*(as_tensor(v) for v in values))
    return found if is_float_dtype(found) else config.floatx()


@op
def linspace(start: TensorLike, stop: TensorLike, num: int = 50, endpoint: bool = True, retstep: bool = False,
             dtype: DType = None, axis: int = 0) -> Tensor | tuple[Tensor, Tensor]:
    """`num` evenly spaced values from `start` to `stop`, the latter included when `endpoint`.

    Args:
        start, stop: numbers or tensors that broadcast; the values run along the new axis `axis`.
        retstep: also return the distance between values.
    """
    if num < 0:
        raise ValueError(f"linspace: expected num of at least 0; received {num}.")
    require_room((num,), "float64")
    dtype = _float_dtype(dtype, start, stop)
    if not isinstance(start, Tensor) and not isinstance(stop, Tensor):
        values, step = np.linspace(np.asarray(start), np.asarray(stop), num, endpoint, retstep=True, axis=axis)
        y = _constant(values, dtype)
        return (y, _constant(np.asarray(step), dtype)) if retstep else y
    work = dtype if is_float_dtype(dtype) else config.floatx()
    start, stop = (ops.cast(as_tensor(v), work) for v in (start, stop))
    start, stop = ops.broadcast_to(start, np.broadcast_shapes(start.shape, stop.shape)), ops.broadcast_to(
        stop, np.broadcast_shapes(start.shape, stop.shape))
    intervals = max(num - 1 if endpoint else num, 1)
    fractions = _constant((np.arange(num) / intervals).reshape((num,) + (1,) * start.ndim), work)
    y = start * (1 - fractions) + stop * fractions  # both ends exact
    y = ops.cast(ops.moveaxis(y, 0, normalize_axis(axis, y.ndim)), dtype)
    return (y, (stop - start) / intervals) if retstep else y


@op
def logspace(start: TensorLike, stop: TensorLike, num: int = 50, endpoint: bool = True, base: float = 10,
             dtype: DType = None, axis: int = 0) -> Tensor:
    """`base` to the powers `linspace(start, stop, num)`."""
    require_room((max(num, 0),), "float64")
    if not isinstance(start, Tensor) and not isinstance(stop, Tensor):
        return _constant(np.logspace(np.asarray(start), np.asarray(stop), num, endpoint, base, axis=axis),
                         _float_dtype(dtype, start, stop))
    y = ops.power(float(base), linspace(start, stop, num, endpoint, axis=axis))
    return y if dtype is None else ops.cast(y, dtype)


@op
def meshgrid(*x: TensorLike, indexing: str = "xy") -> list[Tensor]:
    """Coordinate matrices of coordinate vectors, as a list; "ij" keeps the order of axes, "xy" swaps the first two."""
    if indexing not in ("xy", "ij"):
        raise ValueError(f"meshgrid: expected indexing 'xy' or 'ij'; received {indexing!r}.")
    tensors = [as_tensor(t) for t in x]
    places = list(range(len(tensors)))
    if indexing == "xy" and len(tensors) > 1:
        places[0], places[1] = 1, 0
    full_shape = [0] * len(tensors)
    for place, t in zip(places, tensors):
        full_shape[place] = t.size
    return [ops.broadcast_to(_strided.view(t, tuple(t.size if i == place else 1 for i in range(len(tensors)))),
                             full_shape) for place, t in zip(places, tensors)]


# -------------------------------------------------------------------------------------- conversion


@op
def convert_to_tensor(x: TensorLike, dtype: DType = None, sparse: bool | None = None,
                      ragged: bool | None = None) -> Tensor:
    """`x` (array, number, nested list, tensor) as a tensor; tensors of the right dtype pass unchanged.

    Arrays that kernels can read (C-contiguous, of a supported dtype) are shared, not copied.
    """
    if dtype is not None and not isinstance(x, (Tensor, list, tuple)):
        return from_numpy(as_array(x, standardize_dtype(dtype)))
    x = as_tensor(x, None if dtype is None else standardize_dtype(dtype))
    return x if dtype is None or x.dtype == standardize_dtype(dtype) else ops.cast(x, dtype)


def array(x: TensorLike, dtype: DType = None) -> Tensor:
    """As `convert_to_tensor`."""
    return convert_to_tensor(x, dtype)


def convert_to_numpy(x: TensorLike) -> np.ndarray:
    """The values of `x` as a NumPy array of its own memory."""
    return np.array(x.numpy() if isinstance(x, Tensor) else x)


def is_tensor(x: object) -> bool:
    """Whether `x` is a Tensor, a Variable or a symbolic KerasTensor."""
    return isinstance(x, (Tensor, KerasTensor))


@op
def copy(x: TensorLike) -> Tensor:
    """A tensor with the values of `x` in memory of its own."""
    x = as_tensor(x)
    y = _empty(x.shape, x.dtype)
    kernels.strided_copy(x.data, y.data, (x.size,), (1,), 0)
    return differentiable(y, (x,), lambda dy: (dy,))
