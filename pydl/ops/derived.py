"""Ops of NumPy's names that are one or two others."""

from __future__ import annotations

import math

from pydl import ops
from pydl.ops._broadcast import operand
from pydl.ops._common import Axis, TensorLike, as_float, as_tensor, result_dtype
from pydl.ops.reduction import length_of, magnitude_of
from pydl.symbolic import KerasTensor, op
from pydl.tensor import Tensor

__all__ = ["allclose", "deg2rad", "dtype", "fabs", "fliplr", "flipud", "fmax", "fmin", "hypot", "isneginf", "isposinf",
           "ndim", "ptp", "rad2deg", "size"]


def _shaped(x: TensorLike) -> Tensor | KerasTensor:
    return x if isinstance(x, (Tensor, KerasTensor)) else as_tensor(x)


def ndim(x: TensorLike) -> int:
    """Number of axes."""
    return _shaped(x).ndim


def size(x: TensorLike) -> int | None:
    """Number of entries; None for a symbolic tensor with an unknown dimension."""
    shape = _shaped(x).shape
    known = [n for n in shape if n is not None]
    return math.prod(known) if len(known) == len(shape) else None


def dtype(x: TensorLike) -> str:
    """Name of the dtype."""
    return _shaped(x).dtype


@op
def allclose(x1: TensorLike, x2: TensorLike, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> Tensor:
    """Whether |x1 - x2| <= atol + rtol |x2| everywhere. No gradient."""
    return ops.all(ops.isclose(x1, x2, rtol, atol, equal_nan))


@op
def fabs(x: TensorLike) -> Tensor:
    """|x|, as a float."""
    return ops.abs(as_float(x))


@op
def deg2rad(x: TensorLike) -> Tensor:
    """Degrees to radians."""
    return ops.multiply(as_float(x), math.pi / 180)


@op
def rad2deg(x: TensorLike) -> Tensor:
    """Radians to degrees."""
    return ops.multiply(as_float(x), 180 / math.pi)


@op
def hypot(x1: TensorLike, x2: TensorLike) -> Tensor:
    """sqrt(x1^2 + x2^2), of scaled values: neither large nor small ones are lost. Infinite where one of them is, also
    beside NaN. The gradient at (0, 0) is 0."""
    x1, x2 = as_float(x1), as_float(x2)
    unit = magnitude_of(ops.maximum(ops.absolute(x1), ops.absolute(x2)))
    squares = ops.add(ops.square(ops.divide(x1, unit)), ops.square(ops.divide(x2, unit)))
    length = ops.multiply(length_of(squares), unit)
    return ops.where(ops.logical_or(ops.isinf(x1), ops.isinf(x2)), math.inf, length)


def _of_one_dtype(x1: TensorLike, x2: TensorLike) -> tuple[Tensor, Tensor]:
    dtype = result_dtype(x1, x2)
    return operand(x1, dtype), operand(x2, dtype)


@op
def fmax(x1: TensorLike, x2: TensorLike) -> Tensor:
    """The larger of the two; where one is NaN, the other."""
    x1, x2 = _of_one_dtype(x1, x2)
    return ops.where(ops.isnan(x1), x2, ops.where(ops.isnan(x2), x1, ops.maximum(x1, x2)))


@op
def fmin(x1: TensorLike, x2: TensorLike) -> Tensor:
    """The smaller of the two; where one is NaN, the other."""
    x1, x2 = _of_one_dtype(x1, x2)
    return ops.where(ops.isnan(x1), x2, ops.where(ops.isnan(x2), x1, ops.minimum(x1, x2)))


@op
def isposinf(x: TensorLike) -> Tensor:
    """Whether entries are +inf. No gradient."""
    return ops.equal(as_float(x), math.inf)


@op
def isneginf(x: TensorLike) -> Tensor:
    """Whether entries are -inf. No gradient."""
    return ops.equal(as_float(x), -math.inf)


@op
def ptp(x: TensorLike, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Maximum minus minimum over `axis`."""
    return ops.subtract(ops.max(x, axis=axis, keepdims=keepdims), ops.min(x, axis=axis, keepdims=keepdims))


@op
def fliplr(x: TensorLike) -> Tensor:
    """Axis 1 reversed."""
    return ops.flip(x, axis=1)


@op
def flipud(x: TensorLike) -> Tensor:
    """Axis 0 reversed."""
    return ops.flip(x, axis=0)
