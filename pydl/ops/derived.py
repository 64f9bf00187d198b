"""Ops of NumPy's names that are one or two others."""

from __future__ import annotations

import math

from pydl import ops
from pydl.ops._common import as_float, as_tensor
from pydl.symbolic import KerasTensor, op
from pydl.tensor import Tensor

__all__ = ["allclose", "deg2rad", "dtype", "fabs", "fliplr", "flipud", "fmax", "fmin", "hypot", "isneginf", "isposinf",
           "ndim", "ptp", "rad2deg", "size"]


def _shaped(x):
    return x if isinstance(x, (Tensor, KerasTensor)) else as_tensor(x)


def ndim(x) -> int:
    """Number of axes."""
    return _shaped(x).ndim


def size(x) -> int | None:
    """Number of entries; None for a symbolic tensor with an unknown dimension."""
    shape = _shaped(x).shape
    return None if None in shape else math.prod(shape)


def dtype(x) -> str:
    """Name of the dtype."""
    return _shaped(x).dtype


@op
def allclose(x1, x2, rtol=1e-5, atol=1e-8, equal_nan=False):
    """Whether |x1 - x2| <= atol + rtol |x2| everywhere. No gradient."""
    return ops.all(ops.isclose(x1, x2, rtol, atol, equal_nan))


@op
def fabs(x):
    """|x|, as a float."""
    return ops.abs(as_float(x))


@op
def deg2rad(x):
    """Degrees to radians."""
    return ops.multiply(as_float(x), math.pi / 180)


@op
def rad2deg(x):
    """Radians to degrees."""
    return ops.multiply(as_float(x), 180 / math.pi)


@op
def hypot(x1, x2):
    """sqrt(x1^2 + x2^2); infinite where a square is."""
    return ops.sqrt(ops.add(ops.square(as_float(x1)), ops.square(as_float(x2))))


@op
def fmax(x1, x2):
    """The larger of the two; where one is NaN, the other."""
    x1, x2 = as_tensor(x1), as_tensor(x2)
    return ops.where(ops.isnan(x1), x2, ops.where(ops.isnan(x2), x1, ops.maximum(x1, x2)))


@op
def fmin(x1, x2):
    """The smaller of the two; where one is NaN, the other."""
    x1, x2 = as_tensor(x1), as_tensor(x2)
    return ops.where(ops.isnan(x1), x2, ops.where(ops.isnan(x2), x1, ops.minimum(x1, x2)))


@op
def isposinf(x):
    """Whether entries are +inf. No gradient."""
    return ops.equal(as_float(x), math.inf)


@op
def isneginf(x):
    """Whether entries are -inf. No gradient."""
    return ops.equal(as_float(x), -math.inf)


@op
def ptp(x, axis=None, keepdims=False):
    """Maximum minus minimum over `axis`."""
    return ops.subtract(ops.max(x, axis=axis, keepdims=keepdims), ops.min(x, axis=axis, keepdims=keepdims))


@op
def fliplr(x):
    """Axis 1 reversed."""
    return ops.flip(x, axis=1)


@op
def flipud(x):
    """Axis 0 reversed."""
    return ops.flip(x, axis=0)
