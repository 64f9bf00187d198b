"""Shapes: reshape and its kin (views), transposition, joining, splitting, padding, repetition."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from math import prod

import numpy as np

from pydl import ops
from pydl._core import is_dry_run, is_recording, kernels
from pydl.dtypes import require_range
from pydl.ops import _strided
from pydl.ops._common import (
    Axis,
    Gradients,
    Shape,
    ShapeLike,
    TensorLike,
    as_tensor,
    normalize_axes,
    normalize_axis,
    result_dtype,
)
from pydl.symbolic import KerasTensor, op
from pydl.tape import differentiable
from pydl.tensor import Tensor, empty

__all__ = [
    "array_split", "broadcast_to", "concatenate", "diag", "diagflat", "diagonal", "dstack", "expand_dims", "flatten",
    "flip", "hsplit", "hstack", "moveaxis", "pad", "ravel", "repeat", "reshape", "roll", "rot90", "shape", "split",
    "squeeze", "stack", "swapaxes", "tile", "trace", "transpose", "tril", "triu", "unstack", "vsplit", "vstack",
]


def shape(x: TensorLike) -> tuple[int | None, ...]:
    """The shape of `x` as a tuple of ints (None where a symbolic tensor does not know)."""
    return x.shape if isinstance(x, KerasTensor) else as_tensor(x).shape


# ------------------------------------------------------------------------------------------- views


@op
def reshape(x: TensorLike, newshape: int | Iterable[int | Tensor | None]) -> Tensor:
    """The elements of `x` in the same order under another shape; no copy.

    Args:
        x: tensor of any shape.
        newshape: int or tuple; one entry may be -1 (inferred), None at position i keeps `x.shape[i]`. In a recorded
            step an entry may be a tensor instead of the -1; that it is the size is checked when the step runs.

    Raises:
        ValueError: when the sizes differ; IndexError, when a recorded step runs, for a size that is a tensor.
    """
    x = as_tensor(x)
    given = (newshape,) if isinstance(newshape, (int, np.integer)) else tuple(newshape)
    late = [n for n in given if isinstance(n, Tensor)] if is_recording() or is_dry_run() else []
    if len(late) == 1 and not any(n is not late[0] and n == -1 for n in given):
        y = reshape(x, [-1 if n is late[0] else n for n in given])
        size = next(m for n, m in zip(given, y.shape) if n is late[0])
        kernels.check_index(late[0].data, late[0].size, size, size + 1)
        return y
    wanted = tuple(x.shape[i] if n is None and i < x.ndim
                   else int(n)  # type: ignore[arg-type]  # int() refuses a None past the rank of x
                   for i, n in enumerate(given))
    known = prod(n for n in wanted if n != -1)
    free = wanted.count(-1)
    if free > 1 or any(n < -1 for n in wanted) or (free and (known == 0 or x.size % known)) or \
            (not free and known != x.size):
        raise ValueError(f"reshape: a tensor of shape {x.shape} ({x.size} elements) does not fit shape {wanted}"
                         f" ({'a multiple of ' if free else ''}{known}).")
    if free:
        wanted = tuple(x.size // known if n == -1 else n for n in wanted)
    return _strided.view(x, wanted)


@op
def ravel(x: TensorLike) -> Tensor:
    """`x` with its elements in one dimension; no copy."""
    x = as_tensor(x)
    return _strided.view(x, (x.size,))


def flatten(x: TensorLike) -> Tensor:
    """As `ravel`."""
    return ravel(x)


@op
def expand_dims(x: TensorLike, axis: int | Sequence[int]) -> Tensor:
    """Inserts dimensions of 1 so that they stand at `axis` (int or tuple) of the result; no copy."""
    x = as_tensor(x)
    count = 1 if isinstance(axis, (int, np.integer)) else len(axis)
    axes = normalize_axes(axis, x.ndim + count)
    rest = iter(x.shape)
    return _strided.view(x, tuple(1 if i in axes else next(rest) for i in range(x.ndim + count)))


@op
def squeeze(x: TensorLike, axis: Axis = None) -> Tensor:
    """Removes dimensions of 1: all, or those in `axis` (int or tuple); no copy.

    Raises:
        ValueError: when a dimension in `axis` is not 1.
    """
    x = as_tensor(x)
    axes = [i for i, n in enumerate(x.shape) if n == 1] if axis is None else normalize_axes(axis, x.ndim)
    for i in axes:
        if x.shape[i] != 1:
            raise ValueError(f"squeeze: cannot remove axis {i} of shape {x.shape}: expected size 1; received "
                             f"{x.shape[i]}.")
    return _strided.view(x, tuple(n for i, n in enumerate(x.shape) if i not in axes))


# ----------------------------------------------------------------------------------- transposition


@op
def transpose(x: TensorLike, axes: Sequence[int] | None = None) -> Tensor:
    """Permutes dimensions: axis i of the result is axis `axes[i]` of `x`; reverses them by default."""
    x = as_tensor(x)
    rank = x.ndim
    order = tuple(range(rank))[::-1] if axes is None else tuple(normalize_axis(int(a), rank) for a in axes)
    if axes is not None and sorted(order) != list(range(rank)):
        raise ValueError(f"transpose: axes={tuple(axes)} is not a permutation of the {rank} axes of shape {x.shape}.")
    return _permute(x, order)


def _permute(x: Tensor, order: Sequence[int]) -> Tensor:
    new = tuple(x.shape[a] for a in order)
    kept = [a for a in order if x.shape[a] != 1]
    if kept == sorted(kept):  # only dimensions of 1 move
        return _strided.view(x, new)
    strides = _strided.strides_of(x.shape)
    y = empty(new, x.dtype)
    kernels.strided_copy(x.data, y.data, new, [strides[a] for a in order], 0)
    inverse = [0] * len(order)
    for i, a in enumerate(order):
        inverse[a] = i
    return differentiable(y, (x,), lambda dy: (_permute(dy, inverse),))


@op
def swapaxes(x: TensorLike, axis1: int, axis2: int) -> Tensor:
    """Exchanges two axes."""
    x = as_tensor(x)
    order = list(range(x.ndim))
    a, b = normalize_axis(axis1, x.ndim), normalize_axis(axis2, x.ndim)
    order[a], order[b] = b, a
    return _permute(x, order)


@op
def moveaxis(x: TensorLike, source: int | Sequence[int], destination: int | Sequence[int]) -> Tensor:
    """Moves the axes `source` (int or tuple) to the places `destination`; the others keep their order."""
    x = as_tensor(x)
    source = (source,) if isinstance(source, (int, np.integer)) else tuple(source)
    destination = (destination,) if isinstance(destination, (int, np.integer)) else tuple(destination)
    if len(source) != len(destination):
        raise ValueError(f"moveaxis: expected as many sources as destinations; received source={source}, "
                         f"destination={destination}.")
    source = [normalize_axis(a, x.ndim, "source") for a in source]
    destination = [normalize_axis(a, x.ndim, "destination") for a in destination]
    if len(set(source)) != len(source) or len(set(destination)) != len(destination):
        raise ValueError(f"moveaxis: an axis is named twice: source={source}, destination={destination}.")
    order = [a for a in range(x.ndim) if a not in source]
    for to, a in sorted(zip(destination, source)):
        order.insert(to, a)
    return _permute(x, order)


@op
def flip(x: TensorLike, axis: Axis = None) -> Tensor:
    """Reverses the order of elements along `axis` (int or tuple), along all axes by default."""
    x = as_tensor(x)
    return _flip(x, normalize_axes(axis, x.ndim))


def _flip(x: Tensor, axes: Sequence[int]) -> Tensor:
    strides = _strided.strides_of(x.shape)
    offset = sum((x.shape[a] - 1) * strides[a] for a in axes) if x.size else 0
    y = empty(x.shape, x.dtype)
    kernels.strided_copy(x.data, y.data, x.shape, [-s if a in axes else s for a, s in enumerate(strides)], offset)
    return differentiable(y, (x,), lambda dy: (_flip(dy, axes),))


@op
def rot90(array: TensorLike, k: int = 1, axes: Sequence[int] = (0, 1)) -> Tensor:
    """Rotates by `k` quarter turns in the plane of two axes, from the first towards the second."""
    x = as_tensor(array)
    if x.ndim < 2:
        raise ValueError(f"rot90: expected a tensor of rank 2 or more; received shape {x.shape}.")
    if len(axes) != 2 or normalize_axis(axes[0], x.ndim) == normalize_axis(axes[1], x.ndim):
        raise ValueError(f"rot90: expected two different axes; received axes={axes} for shape {x.shape}.")
    k %= 4
    if k == 0:
        return _strided.view(x, x.shape)
    if k == 2:
        return flip(x, axes)
    return swapaxes(flip(x, axes[1]), *axes) if k == 1 else flip(swapaxes(x, *axes), axes[1])


# ------------------------------------------------------------------------------ joining, splitting


def _same_dtype(xs: TensorLike, who: str) -> list[Tensor]:
    if not isinstance(xs, (list, tuple)):
        xs = list(as_tensor(xs))
    if not xs:
        raise ValueError(f"{who}: expected at least one tensor; received none.")
    tensors = [as_tensor(x) for x in xs]
    dtype = result_dtype(*tensors)
    return [x if x.dtype == dtype else ops.cast(x, dtype) for x in tensors]


def _joined(tensors: list[Tensor], axis: int, who: str) -> Tensor:
    rank = tensors[0].ndim
    axis = normalize_axis(axis, rank)
    first = tensors[0].shape
    for x in tensors[1:]:
        if x.ndim != rank or x.shape[:axis] != first[:axis] or x.shape[axis + 1:] != first[axis + 1:]:
            raise ValueError(f"{who}: shapes must agree except along axis {axis}; received shapes "
                             f"{[t.shape for t in tensors]}.")
    return _strided.concatenate(tensors, axis)


@op
def concatenate(xs: Sequence[TensorLike], axis: int | None = 0) -> Tensor:
    """Joins tensors along an existing axis; dtypes are promoted.

    Raises:
        ValueError: when shapes differ along another axis.
    """
    tensors = _same_dtype(xs, "concatenate")
    if tensors[0].ndim == 0:
        raise ValueError("concatenate: expected tensors of rank 1 or more; received scalars. Use ops.stack.")
    if axis is None:
        return _strided.concatenate([_strided.view(x, (x.size,)) for x in tensors], 0)
    return _joined(tensors, axis, "concatenate")


@op
def stack(x: Sequence[TensorLike], axis: int = 0) -> Tensor:
    """Joins tensors of one shape along a new axis."""
    tensors = _same_dtype(x, "stack")
    first = tensors[0].shape
    if any(t.shape != first for t in tensors):
        raise ValueError(f"stack: expected equal shapes; received {[t.shape for t in tensors]}.")
    axis = normalize_axis(axis, len(first) + 1)
    return _strided.concatenate([_strided.view(t, first[:axis] + (1,) + first[axis:]) for t in tensors], axis)


@op
def hstack(xs: Sequence[TensorLike]) -> Tensor:
    """Joins along axis 1 (axis 0 for vectors); scalars count as vectors."""
    tensors = [_strided.view(t, (1,)) if t.ndim == 0 else t for t in _same_dtype(xs, "hstack")]
    return _joined(tensors, 0 if tensors[0].ndim == 1 else 1, "hstack")


@op
def vstack(xs: Sequence[TensorLike]) -> Tensor:
    """Joins along axis 0; vectors count as rows."""
    tensors = [_strided.view(t, (1, t.size)) if t.ndim < 2 else t for t in _same_dtype(xs, "vstack")]
    return _joined(tensors, 0, "vstack")


@op
def dstack(xs: Sequence[TensorLike]) -> Tensor:
    """Joins along axis 2; lower ranks are extended as in NumPy."""
    def deep(t: Tensor) -> Tensor:
        return _strided.view(t, (1, t.size, 1) if t.ndim < 2 else t.shape + (1,) if t.ndim == 2 else t.shape)

    return _joined([deep(t) for t in _same_dtype(xs, "dstack")], 2, "dstack")


_MOST_PARTS = 1 << 16  # of which most are empty


def _number_of_parts(who: str, parts: int, n: int) -> int:
    most = max(n, _MOST_PARTS)
    if not 1 <= parts <= most:
        raise ValueError(f"{who}: expected 1 to {most} parts of an axis of size {n}; received {parts}.")
    return parts


@op
def split(x: TensorLike, indices_or_sections: int | Sequence[int], axis: int = 0) -> list[Tensor]:
    """Cuts `x` along `axis` into equal parts (int) or at positions (sequence). Returns a list.

    At positions a, b the parts are `x[:a]`, `x[a:b]`, `x[b:]` of the axis, as NumPy's: negative ones count from the
    end, and where they do not rise parts are empty or overlap.

    Raises:
        ValueError: when the axis does not divide into that many equal parts.
    """
    x = as_tensor(x)
    axis = normalize_axis(axis, x.ndim)
    n = x.shape[axis]
    if isinstance(indices_or_sections, (int, np.integer)):
        parts = _number_of_parts("split", int(indices_or_sections), n)
        if n % parts:
            raise ValueError(f"split: axis {axis} of shape {x.shape} has size {n}, which does not divide into "
                             f"{parts} equal parts.")
        return _strided.split(x, [n // parts] * parts, axis)
    positions = [0, *map(int, indices_or_sections), n]
    if positions == sorted(positions):
        return _strided.split(x, [b - a for a, b in itertools.pairwise(positions)], axis)
    # NumPy's rule for what is no plain cut: slices, which may overlap.
    every = (slice(None),) * axis
    ends = [None, *positions[1:-1], None]
    return [ops.getitem(x, (*every, slice(a, b))) for a, b in itertools.pairwise(ends)]


@op
def array_split(x: TensorLike, indices_or_sections: int | Sequence[int], axis: int = 0) -> list[Tensor]:
    """As `split`; with an int the first parts may be longer by one."""
    x = as_tensor(x)
    axis = normalize_axis(axis, x.ndim)
    if not isinstance(indices_or_sections, (int, np.integer)):
        return split(x, indices_or_sections, axis)
    parts = _number_of_parts("array_split", int(indices_or_sections), x.shape[axis])
    size, longer = divmod(x.shape[axis], parts)
    return _strided.split(x, [size + (i < longer) for i in range(parts)], axis)


def hsplit(x: TensorLike, indices_or_sections: int | Sequence[int]) -> list[Tensor]:
    """`split` along axis 1 (axis 0 for vectors)."""
    return split(x, indices_or_sections, axis=0 if len(shape(x)) == 1 else 1)


def vsplit(x: TensorLike, indices_or_sections: int | Sequence[int]) -> list[Tensor]:
    """`split` along axis 0."""
    return split(x, indices_or_sections, axis=0)


@op
def unstack(x: TensorLike, num: int | None = None, axis: int = 0) -> list[Tensor]:
    """The slices of `x` along `axis`, each without that axis, as a list of `num` tensors."""
    x = as_tensor(x)
    axis = normalize_axis(axis, x.ndim)
    n = x.shape[axis]
    if num is not None and num != n:
        raise ValueError(f"unstack: num={num}, but axis {axis} of shape {x.shape} has size {n}.")
    rest = x.shape[:axis] + x.shape[axis + 1:]
    return [_strided.view(part, rest) for part in _strided.split(x, [1] * n, axis)] if n else []


# -------------------------------------------------------------------------------------- repetition


@op
def broadcast_to(x: TensorLike, shape: ShapeLike) -> Tensor:
    """`x` repeated to `shape` by NumPy's rules.

    Raises:
        ValueError: when the shapes do not fit.
    """
    x = as_tensor(x)
    new = (shape,) if isinstance(shape, (int, np.integer)) else tuple(int(n) for n in shape)
    lead = len(new) - x.ndim
    if lead < 0 or any(m not in (1, n) for m, n in zip(x.shape, new[lead:])):
        raise ValueError(f"broadcast_to: a tensor of shape {x.shape} does not broadcast to shape {new}.")
    if new == x.shape:
        return _strided.view(x, new)
    strides = _strided.strides_of(x.shape)
    return _strided.repeated_copy(
        x, new, [0] * lead + [s if m == n else 0 for s, m, n in zip(strides, x.shape, new[lead:])])


@op
def tile(x: TensorLike, repeats: int | Sequence[int]) -> Tensor:
    """Lays `repeats` (int or one per axis) copies of `x` side by side."""
    x = as_tensor(x)
    repeats = [int(repeats)] if isinstance(repeats, (int, np.integer)) else [int(r) for r in repeats]
    if any(r < 0 for r in repeats):
        raise ValueError(f"tile: expected repeats of at least 0; received {tuple(repeats)}.")
    rank = max(len(repeats), x.ndim)
    repeats = [1] * (rank - len(repeats)) + repeats
    old = (1,) * (rank - x.ndim) + x.shape
    paired = [n for pair in zip(repeats, old) for n in pair]
    strides = [s for own in _strided.strides_of(old) for s in (0, own)]
    return _strided.view(_strided.repeated_copy(x, tuple(paired), strides), tuple(r * n for r, n in zip(repeats, old)))


@op
def repeat(x: TensorLike, repeats: int | Sequence[int], axis: int | None = None) -> Tensor:
    """Repeats each element (axis None: of the flattened tensor) along `axis`.

    Args:
        x: tensor.
        repeats: int >= 0, or one per position along the axis (known when the step is described).
        axis: int or None.
    """
    x = as_tensor(x)
    if axis is None:
        x, axis = _strided.view(x, (x.size,)), 0
    axis = normalize_axis(axis, x.ndim)
    counts = np.asarray(repeats)
    if counts.size == 1:
        count = int(counts.reshape(()))
        if count < 0:
            raise ValueError(f"repeat: expected repeats of at least 0; received {count}.")
        new = x.shape[:axis + 1] + (count,) + x.shape[axis + 1:]
        strides = _strided.strides_of(x.shape)
        y = _strided.repeated_copy(x, new, strides[:axis + 1] + [0] + strides[axis + 1:])
        return _strided.view(y, x.shape[:axis] + (x.shape[axis] * count,) + x.shape[axis + 1:])
    if counts.shape != (x.shape[axis],) or (counts < 0).any():
        raise ValueError(f"repeat: expected {x.shape[axis]} repeats of at least 0 for axis {axis} of shape {x.shape}; "
                         f"received {counts.tolist()}.")
    return ops.take(x, np.repeat(np.arange(counts.size, dtype="int32"), counts), axis=axis)


@op
def roll(x: TensorLike, shift: int | Sequence[int], axis: Axis = None) -> Tensor:
    """Moves elements by `shift` places along `axis`; what falls off the end returns at the start.

    Args:
        x: tensor.
        shift: int, or a tuple with one per axis.
        axis: int, tuple, or None for the flattened tensor.
    """
    x = as_tensor(x)
    if axis is None:
        total = sum(int(s) for s in np.ravel(shift))
        return _strided.view(_roll(_strided.view(x, (x.size,)), total, 0), x.shape)
    shifts, axes = np.broadcast_arrays(shift, axis)
    y = x
    for s, a in zip(shifts.ravel().tolist(), axes.ravel().tolist()):
        y = _roll(y, s, normalize_axis(a, x.ndim))
    return y


def _roll(x: Tensor, shift: int, axis: int) -> Tensor:
    n, inner = x.shape[axis], prod(x.shape[axis + 1:])
    y = empty(x.shape, x.dtype)
    kernels.roll(x.data, y.data, prod(x.shape[:axis]), n * inner, shift % n * inner if n else 0)
    return differentiable(y, (x,), lambda dy: (_roll(dy, -shift, axis),))


# --------------------------------------------------------------------------------------------- pad

_PAD_MODES = {"constant": 0, "edge": 1, "reflect": 2, "symmetric": 3}


@op
def pad(x: TensorLike, pad_width: int | Sequence[int] | Sequence[Sequence[int]], mode: str = "constant",
        constant_values: float | None = None) -> Tensor:
    """Puts elements before and after each axis.

    Args:
        x: tensor.
        pad_width: int, (before, after), or one such pair per axis.
        mode: "constant", "edge", "reflect" or "symmetric", as NumPy's.
        constant_values: number shown by mode "constant"; 0 by default.
    """
    x = as_tensor(x)
    if mode not in _PAD_MODES:
        raise ValueError(f"pad: expected mode among {', '.join(_PAD_MODES)}; received {mode!r}.")
    if constant_values is not None and mode != "constant":
        raise ValueError(f"pad: `constant_values` belongs to mode 'constant'; received mode {mode!r}.")
    try:
        widths = np.broadcast_to(np.asarray(pad_width, dtype="int64"), (x.ndim, 2)).tolist()
    except (ValueError, OverflowError):
        raise ValueError(f"pad: expected a (before, after) pair for each of the {x.ndim} axes of shape {x.shape}; "
                         f"received pad_width={pad_width}.") from None
    if any(w < 0 for pair in widths for w in pair):
        raise ValueError(f"pad: expected widths of at least 0; received pad_width={pad_width}.")
    if mode != "constant" and any(n == 0 and sum(pair) for n, pair in zip(x.shape, widths)):
        raise ValueError(f"pad: mode {mode!r} has nothing to repeat along an empty axis of shape {x.shape}.")
    if not any(sum(pair) for pair in widths):
        return _strided.view(x, x.shape)
    if type(constant_values) is int:
        require_range((constant_values,), x.dtype)
    return _pad(x, widths, _PAD_MODES[mode], float(constant_values or 0))


def _pad_geometry(shape: Shape, widths: Sequence[Sequence[int]], mode: int) -> tuple[Shape, list[int], Shape, int]:
    """(x_shape, before, y_shape, block) of the kernel: trailing axes that are not padded form the block."""
    last = max(axis for axis, pair in enumerate(widths) if sum(pair))
    block = prod(shape[last + 1:])
    n, (before, after) = shape[last], widths[last]
    if mode == 0:  # one constant everywhere: the block may be part of the axis
        n, before, after, block = n * block, before * block, after * block, 1
    old = (*shape[:last], n)
    new = (*(m + sum(pair) for m, pair in zip(shape[:last], widths)), n + before + after)
    return old, [*(pair[0] for pair in widths[:last]), before], new, block


def _padded_shape(shape: Shape, widths: Sequence[Sequence[int]]) -> Shape:
    return tuple(n + sum(pair) for n, pair in zip(shape, widths))


def _pad(x: Tensor, widths: Sequence[Sequence[int]], mode: int, value: float) -> Tensor:
    y = empty(_padded_shape(x.shape, widths), x.dtype)
    kernels.pad(x.data, y.data, *_pad_geometry(x.shape, widths, mode), mode, value)
    before = x.shape

    def vjp(dy: Tensor) -> Gradients:
        if mode != 0:
            return (_pad_grad(dy, before, widths, mode),)
        strides = _strided.strides_of(dy.shape)
        return (_strided.strided_copy(dy, before, strides, sum(s * w[0] for s, w in zip(strides, widths))),)

    return differentiable(y, (x,), vjp)


def _pad_grad(dy: Tensor, shape: Shape, widths: Sequence[Sequence[int]], mode: int) -> Tensor:
    dx = empty(shape, dy.dtype)
    kernels.pad_grad(dy.data, dx.data, *_pad_geometry(shape, widths, mode), mode)
    return differentiable(dx, (dy,), lambda ddx: (_pad(ddx, widths, mode, 0.0),))


# --------------------------------------------------------------------------- diagonals, triangles


@op
def diagonal(x: TensorLike, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Tensor:
    """The elements whose positions along `axis2` minus along `axis1` equal `offset`, as the last axis."""
    x = as_tensor(x)
    if x.ndim < 2:
        raise ValueError(f"diagonal: expected a tensor of rank 2 or more; received shape {x.shape}.")
    a, b = normalize_axis(axis1, x.ndim, "axis1"), normalize_axis(axis2, x.ndim, "axis2")
    if a == b:
        raise ValueError(f"diagonal: expected two different axes; received axis1={axis1}, axis2={axis2}.")
    strides = _strided.strides_of(x.shape)
    rest = [i for i in range(x.ndim) if i not in (a, b)]
    length = max(0, min(x.shape[a] + min(offset, 0), x.shape[b] - max(offset, 0)))
    start = (offset * strides[b] if offset > 0 else -offset * strides[a]) if length else 0
    return _strided.strided_copy(x, tuple(x.shape[i] for i in rest) + (length,),
                                 [strides[i] for i in rest] + [strides[a] + strides[b]], start)


@op
def diag(x: TensorLike, k: int = 0) -> Tensor:
    """A vector as the `k`-th diagonal of a square matrix, or the `k`-th diagonal of a matrix as a vector."""
    x = as_tensor(x)
    if x.ndim == 2:
        return diagonal(x, offset=k)
    if x.ndim != 1:
        raise ValueError(f"diag: expected a tensor of rank 1 or 2; received shape {x.shape}.")
    n = x.size + abs(k)
    return _strided.strided_scatter(x, (n, n), [n + 1], k if k > 0 else -k * n)


def diagflat(x: TensorLike, k: int = 0) -> Tensor:
    """`diag` of the flattened tensor."""
    return diag(ravel(x), k)


@op
def trace(x: TensorLike, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Tensor:
    """The sum of `diagonal`."""
    return ops.sum(diagonal(x, offset, axis1, axis2), axis=-1)


def _triangle(x: Tensor, k: int, lower: int, who: str) -> Tensor:
    if x.ndim < 2:
        raise ValueError(f"{who}: expected a tensor of rank 2 or more; received shape {x.shape}.")
    rows, columns = x.shape[-2:]
    y, k = empty(x.shape, x.dtype), min(max(k, -rows), columns)  # further off nothing is left, or all
    kernels.triangle(x.data, y.data, prod(x.shape[:-2]), rows, columns, k, lower)
    return differentiable(y, (x,), lambda dy: (_triangle(dy, k, lower, who),))


@op
def tril(x: TensorLike, k: int = 0) -> Tensor:
    """`x` with zeros above its `k`-th diagonal, matrix by matrix."""
    return _triangle(as_tensor(x), k, 1, "tril")


@op
def triu(x: TensorLike, k: int = 0) -> Tensor:
    """`x` with zeros below its `k`-th diagonal, matrix by matrix."""
    return _triangle(as_tensor(x), k, 0, "triu")
