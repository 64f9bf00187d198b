"""The differentiable primitives of data movement; the public ops of shape, indexing, creation are made of them."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from pydl import ops
from pydl._core import kernels
from pydl.ops._common import Gradients, Shape
from pydl.tape import CONSTANT, differentiable
from pydl.tensor import Tensor, Variable, empty


def strides_of(shape: Sequence[int]) -> list[int]:
    """Strides, in elements, of a C-contiguous tensor."""
    strides, step = [0] * len(shape), 1
    for axis in range(len(shape) - 1, -1, -1):
        strides[axis] = step
        step *= shape[axis]
    return strides


def view(x: Tensor, shape: Shape) -> Tensor:
    """The same elements under another shape, without a launch. A variable is copied: its memory changes later."""
    if isinstance(x, Variable):
        y = empty(shape, x.dtype)
        kernels.strided_copy(x.data, y.data, (x.size,), (1,), 0)
    else:
        y = Tensor(x.data.reshape(shape))
    if x.node is None:
        y.slot = CONSTANT if x.slot == CONSTANT else 0
        return y
    before = x.shape
    return differentiable(y, (x,), lambda dy: (view(dy, before),))


def strided_copy(x: Tensor, shape: Shape, strides: Sequence[int], offset: int = 0) -> Tensor:
    """y (shape) with y[i] = x.ravel()[offset + i . strides]; no element may be read twice when x has a gradient."""
    contiguous = all(n == 1 or a == b for n, a, b in zip(shape, strides, strides_of(shape)))
    if contiguous and not isinstance(x, Variable):
        y = Tensor(x.data.reshape(-1)[offset:offset + prod(shape)].reshape(shape))  # one run: a view
    else:
        y = empty(shape, x.dtype)
        kernels.strided_copy(x.data, y.data, shape, strides, offset)
    before = x.shape
    return differentiable(y, (x,), lambda dy: (strided_scatter(dy, before, strides, offset),))


def strided_scatter(x: Tensor, shape: Shape, strides: Sequence[int], offset: int = 0,
                    base: Tensor | None = None) -> Tensor:
    """y (shape) = base or zeros, with y.ravel()[offset + i . strides] = x[i]."""
    y = empty(shape, x.dtype)
    kernels.strided_scatter(None if base is None else base.data, x.data, y.data, y.size, x.shape, strides, offset)
    part = x.shape
    if base is None:
        return differentiable(y, (x,), lambda dy: (strided_copy(dy, part, strides, offset),))

    def vjp(dy: Tensor) -> Gradients:
        dx = strided_copy(dy, part, strides, offset) if x.node is not None else None
        if base.node is None:
            return dx, None
        nothing = ops.zeros(part, x.dtype)
        return dx, strided_scatter(nothing, dy.shape, strides, offset, base=dy)

    return differentiable(y, (x, base), vjp)


def repeated_copy(x: Tensor, shape: Shape, strides: Sequence[int]) -> Tensor:
    """As strided_copy, where axes of stride 0 repeat and all of x is read: broadcast, tile, repeat."""
    y = empty(shape, x.dtype)
    kernels.strided_copy(x.data, y.data, shape, strides, 0)
    axes = [axis for axis, stride in enumerate(strides) if stride == 0 and shape[axis] != 1]
    before = x.shape

    def vjp(dy: Tensor) -> Gradients:
        return (view(ops.sum(dy, axis=tuple(axes)) if axes else dy, before),)

    return differentiable(y, (x,), vjp)


def concatenate(parts: list[Tensor], axis: int) -> Tensor:
    """Along a non-negative axis; shapes agree elsewhere, dtypes agree."""
    sizes = [p.shape[axis] for p in parts]
    first = parts[0].shape
    inner = prod(first[axis + 1:])
    y = empty(first[:axis] + (sum(sizes),) + first[axis + 1:], parts[0].dtype)
    kernels.concatenate([p.data for p in parts], [n * inner for n in sizes], y.data, prod(first[:axis]))
    return differentiable(y, tuple(parts), lambda dy: split(dy, sizes, axis))


def split(x: Tensor, sizes: list[int], axis: int) -> list[Tensor]:
    """Consecutive parts of the given sizes along a non-negative axis."""
    outer, inner = prod(x.shape[:axis]), prod(x.shape[axis + 1:])
    shapes = [x.shape[:axis] + (n,) + x.shape[axis + 1:] for n in sizes]
    parts = [empty(shape, x.dtype) for shape in shapes]
    kernels.split(x.data, [p.data for p in parts], [n * inner for n in sizes], outer)

    def vjp(*grads: Tensor | None) -> Gradients:
        return (concatenate([ops.zeros(shape, x.dtype) if g is None else g for g, shape in zip(grads, shapes)], axis),)

    return differentiable(parts, (x,), vjp)
