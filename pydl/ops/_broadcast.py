"""Broadcasting: the plan kernels loop by, and its gradient, the sum back to the operand's shape."""

from __future__ import annotations

import functools
import math
from typing import Any

from pydl.ops._common import Shape, TensorLike, as_tensor, constant_of
from pydl.tape import differentiable
from pydl.tensor import Tensor

MAX_RANK = 16  # csrc/kernels/map.h


@functools.lru_cache(4096)
def broadcast_plan(*shapes: tuple[int, ...]) -> tuple[Shape, ...]:
    """How operands of `shapes` are read together.

    Returns:
        (shape of the result, collapsed shape, a tuple of strides in elements per operand): axes of size 1 are
        left out and neighbouring axes that every operand walks through as one are one; 0 repeats.

    Raises:
        ValueError: when the shapes do not broadcast.
    """
    if all(s == shapes[0] for s in shapes):
        shape = shapes[0]
        size = 1
        for d in shape:
            size *= d
        return shape, (size,), *((1,) for _ in shapes)
    rank = max(len(s) for s in shapes)
    padded = [(1,) * (rank - len(s)) + s for s in shapes]
    joint: list[int] = []
    for sizes in zip(*padded):
        size = next((d for d in sizes if d != 1), 1)
        if any(d not in (1, size) for d in sizes):
            names = " and ".join(map(str, shapes))
            raise ValueError(f"Shapes {names} do not broadcast: sizes {sizes} of an axis are neither equal nor 1.")
        joint.append(size)
    strides = [_strides(s) for s in padded]
    axes: list[list[Any]] = []  # [size, stride of each operand]
    for size, *step in zip(joint, *strides):
        if size == 1:
            continue
        if axes and all(outer == inner * size for outer, inner in zip(axes[-1][1], step)):
            axes[-1] = [axes[-1][0] * size, step]
        else:
            axes.append([size, step])
    if not axes:
        axes = [[1, [1] * len(shapes)]]
    if 0 in joint:
        axes = [[0, [1] * len(shapes)]]
    if len(axes) > MAX_RANK:
        raise ValueError(f"Broadcasting needs {len(axes)} axes for {shapes}; at most {MAX_RANK}.")
    steps = (tuple(a[1][k] for a in axes) for k in range(len(shapes)))
    return tuple(joint), tuple(a[0] for a in axes), *steps


def _strides(shape: Shape) -> list[int]:
    strides, step = [], 1
    for d in reversed(shape):
        strides.append(0 if d == 1 else step)
        step *= d
    return strides[::-1]


def sum_to_shape(x: Tensor, shape: tuple[int, ...]) -> Tensor:
    """`x` summed over the axes along which `shape` was repeated to `x.shape`: broadcasting's gradient.

    Raises:
        ValueError: when `shape` does not broadcast to that of `x`.
    """
    if x.shape == shape:
        return x
    from pydl import ops

    lead = x.ndim - len(shape)
    if lead < 0 or any(d not in (1, n) for d, n in zip(shape, x.shape[lead:])):
        raise ValueError(f"sum_to_shape: a tensor of shape {shape} does not broadcast to shape {x.shape}.")
    repeated = (lead + i for i, d in enumerate(shape) if d == 1 and x.shape[lead + i] != 1)
    axes = (*range(lead), *repeated)
    return _view(ops.sum(x, axis=axes) if axes else x, shape)


def _view(x: Tensor, shape: tuple[int, ...]) -> Tensor:
    """The same values in another shape."""
    before = x.shape
    return differentiable(Tensor(x.data.reshape(shape)), (x,), lambda dy: (_view(dy, before),))


@functools.lru_cache(1024)
def _constant(x: float, negative_zero: bool, dtype: str) -> Tensor:
    return constant_of(x, dtype)


def operand(x: TensorLike, dtype: str) -> Tensor:
    """`x` (tensor, array, number, list) as a tensor of `dtype`."""
    if isinstance(x, Tensor):
        if x.dtype == dtype:
            return x
    elif type(x) is int or type(x) is float or type(x) is bool:
        return _constant(x, x == 0 and math.copysign(1, x) < 0, dtype)  # 0.0 == -0.0 as keys
    else:
        x = as_tensor(x, dtype)
    from pydl import ops

    return ops.cast(x, dtype)
