"""What every op needs: the words of its signature, arguments to tensors, dtype promotion."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias

import numpy as np

from pydl import config
from pydl.dtypes import (
    STORED_AS,
    WEAK_FLOAT,
    WEAK_INT,
    holds_floats,
    holds_integers,
    is_byte_dtype,
    is_float_dtype,
    promoted,
    require_range,
)
from pydl.symbolic import KerasTensor
from pydl.tensor import Tensor, from_numpy, standardize_dtype

__all__ = ["Axis", "DType", "Gradients", "Padding", "PerAxis", "Shape", "ShapeLike", "Sizes", "TensorLike", "as_float",
           "as_tensor", "at_least_int32", "constant_of", "data_of", "normalize_axes", "normalize_axis", "result_dtype"]

# What `as_tensor` takes, and a symbolic tensor, for which `symbolic.op` answers before an op runs.
TensorLike: TypeAlias = Tensor | KerasTensor | np.ndarray | np.generic | float | Sequence["TensorLike"]
DType: TypeAlias = str | np.dtype | type | None  # see `standardize_dtype`; None stands for what an op has by default
Shape: TypeAlias = tuple[int, ...]
ShapeLike: TypeAlias = int | Iterable[int]
Axis: TypeAlias = int | Sequence[int] | None  # one axis, several, or all; negative ones count from the last
PerAxis: TypeAlias = int | Sequence[int]  # one number for all spatial axes, or one for each
Padding: TypeAlias = str | Sequence[Sequence[int]]  # a way by name, or (before, after) per spatial axis
Sizes: TypeAlias = tuple[int, int, int]  # (outer, n, inner): how a kernel sees a tensor that it walks along n
Gradients: TypeAlias = Sequence[Tensor | None]  # what a vjp returns: one gradient per input, None where none is needed


def data_of(tensor: Tensor | None) -> np.ndarray | None:
    """What a kernel takes for an argument that may be missing."""
    return None if tensor is None else tensor.data


def as_tensor(x: TensorLike, dtype: str | None = None) -> Tensor:
    """`x` (tensor, array, number, nested list) as a tensor; `dtype` is for values that have none of their own.

    Python floats and lists of them become `floatx`, Python ints int32, arrays keep their dtype.
    """
    if isinstance(x, Tensor):
        return x
    if isinstance(x, (np.ndarray, np.generic)):
        return from_numpy(np.asarray(x))
    if isinstance(x, KerasTensor):
        raise TypeError(f"A KerasTensor ({x!r}) arrived where a value is needed.")
    if isinstance(x, (list, tuple)) and any(isinstance(item, Tensor) for item in x):
        from pydl import ops

        return ops.stack([as_tensor(item, dtype) for item in x])
    array = np.asarray(x)
    if holds_floats(array):
        array = array.astype(dtype if dtype and is_float_dtype(dtype) else config.floatx())
    elif holds_integers(array) and not hasattr(x, "dtype"):
        ends = (int(array.min()), int(array.max())) if array.size else ()
        array = array.astype(require_range(ends, dtype or _int_dtype(*ends)))
    return from_numpy(array)


def constant_of(x: float, dtype: str) -> Tensor:
    """A Python number as a tensor of rank 0. Raises OverflowError for an int outside of an integer dtype, as NumPy."""
    if type(x) is int:
        require_range((x,), dtype)
    return from_numpy(np.asarray(x).astype(dtype))


def at_least_int32(x: Tensor) -> Tensor:
    """`x`; bools and bytes, which have no arithmetic, as int32."""
    if not is_byte_dtype(x.dtype):
        return x
    from pydl import ops

    return ops.cast(x, "int32")


def as_float(x: TensorLike) -> Tensor:
    """As `as_tensor`; ints and bools are cast to `floatx`."""
    x = as_tensor(x)
    if is_float_dtype(x.dtype):
        return x
    from pydl import ops

    return ops.cast(x, config.floatx())


def result_dtype(*operands: Any) -> str:
    """The dtype of an operation on `operands` (tensors, arrays, Python numbers, what has a dtype), as Keras 3 promotes
    (`dtypes.PROMOTED`).

    Python numbers are weak: they take part with their kind only. An int with a float gives the float. Arrays count as
    what they are stored as.
    """
    dtype = promoted(map(_dtype_among_operands, operands))
    if dtype == WEAK_FLOAT:
        return config.floatx()
    return _int_dtype(*(x for x in operands if isinstance(x, int))) if dtype == WEAK_INT else dtype


def _dtype_among_operands(x: Any) -> str:
    if isinstance(x, bool):
        return "bool"
    if isinstance(x, (int, float)):
        return WEAK_INT if isinstance(x, int) else WEAK_FLOAT
    return STORED_AS[standardize_dtype(x.dtype)] if hasattr(x, "dtype") else as_tensor(x).dtype


def _int_dtype(*numbers: int) -> str:
    """The dtype of Python ints by themselves."""
    return "int32" if all(-(2**31) <= x < 2**31 for x in numbers) else "int64"


def normalize_axis(axis: int, rank: int, what: str = "axis") -> int:
    """0 <= axis < rank. Raises ValueError with both when out of range."""
    if not -rank <= axis < rank:
        raise ValueError(f"{what}={axis} is out of range for a tensor of rank {rank}.")
    return axis % rank


def normalize_axes(axis: Axis, rank: int) -> tuple[int, ...]:
    """Sorted, unique, non-negative axes of an int, a sequence or None (all)."""
    if axis is None:
        return tuple(range(rank))
    axes = (axis,) if isinstance(axis, (int, np.integer)) else tuple(axis)
    normal = sorted({normalize_axis(int(a), rank) for a in axes})
    if len(normal) != len(axes):
        raise ValueError(f"axis={axis} names an axis twice for a tensor of rank {rank}.")
    return tuple(normal)
