"""Layers with several inputs: Add, Subtract, Multiply, Average, Maximum, Minimum, Concatenate, Dot."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce

from pydl import ops
from pydl.layers.base import Layer, axis_of
from pydl.registry import builtin

__all__ = ["Add", "Average", "Concatenate", "Dot", "Maximum", "Minimum", "Multiply", "Subtract", "add", "average",
           "concatenate", "dot", "maximum", "minimum", "multiply", "subtract"]


def _check_list(layer, inputs, least: int = 1) -> None:
    """Raises ValueError unless the inputs (or their shapes) are a list of at least so many."""
    name = type(layer).__name__
    if not isinstance(inputs, (list, tuple)) or inputs and not (hasattr(inputs[0], "shape")
                                                                or isinstance(inputs[0], (list, tuple))):
        raise ValueError(f"{name}: a merge layer is called on a list of inputs; received {inputs!r}.")
    if len(inputs) < least:
        raise ValueError(f"{name}: a merge layer is called on a list of at least {least} input(s); received"
                         f" {len(inputs)}.")


def _checked_masks(layer, inputs, masks) -> list:
    """One mask or None for each input, in a list that is as long; raises ValueError for anything else."""
    for what, value in (("mask", masks), ("inputs", inputs)):
        if not isinstance(value, (list, tuple)):
            raise ValueError(f"{type(layer).__name__}: `{what}` should be a list; received {what}={value!r}.")
    if len(masks) != len(inputs):
        raise ValueError(f"{type(layer).__name__}: the lists `inputs` and `mask` should have the same length; received"
                         f" {len(inputs)} inputs and {len(masks)} masks.")
    return list(masks)


def _with_axes(x, missing: int):
    """`x` with so many axes of size 1 after the batch axis."""
    return x if not missing else ops.reshape(x, (x.shape[0],) + (1,) * missing + tuple(x.shape[1:]))


def _with_features(mask, rank: int):
    """A mask with axes of size 1 behind it, up to that rank."""
    for _ in range(rank - mask.ndim):
        mask = ops.expand_dims(mask, -1)
    return mask


def _places(x):
    """The mask of `x` in a form that broadcasts to it; None when it has none."""
    mask = getattr(x, "_keras_mask", None)
    return None if mask is None else ops.cast(_with_features(mask, x.ndim), "bool")


class _Merge(Layer):
    """Common to the element-wise ones: a list of inputs that broadcast, missing axes put after the batch axis. The mask
    of the output is true where that of any input is; there is none unless all inputs have one."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.supports_masking = True

    def build(self, input_shape):
        _check_list(self, input_shape)
        _broadcast(self, input_shape)

    def call(self, inputs):
        _check_list(self, inputs)
        rank = max(x.ndim for x in inputs)
        return self.merge([_with_axes(x, rank - x.ndim) for x in inputs])

    def merge(self, inputs):
        raise NotImplementedError

    def compute_mask(self, inputs, mask=None):
        if mask is None:
            return None
        masks = _checked_masks(self, inputs, mask)
        if any(m is None for m in masks):
            return None
        rank = max(x.ndim for x in inputs)
        masks = [_with_axes(m, rank - x.ndim) for x, m in zip(inputs, masks)]
        rank = max(m.ndim for m in masks)
        return reduce(ops.logical_or, [_with_features(m, rank) for m in masks])


class _Extreme(_Merge):
    """Common to Maximum and Minimum: a value that its mask leaves out stands back behind the other inputs'."""

    better: Callable

    def merge(self, inputs):
        result, seen = inputs[0], _places(inputs[0])
        for x in inputs[1:]:
            places = _places(x)
            if places is not None:
                x = ops.where(places, x, result)
            if seen is not None:
                result = ops.where(seen, result, x)
            seen = None if seen is None or places is None else ops.logical_or(seen, places)
            result = self.better(result, x)
        return result


def _broadcast(layer, shapes) -> None:
    """Raises ValueError when the shapes do not broadcast, or the numbers of rows differ."""
    rows = {s[0] for s in shapes if s} - {None}
    if len(rows) > 1:
        raise ValueError(f"{type(layer).__name__}: inputs of different batch sizes cannot be merged; received shapes"
                         f" {' and '.join(str(tuple(s)) for s in shapes)}.")
    rank = max(len(s) for s in shapes)
    padded = [(*s[:1], *(1,) * (rank - len(s)), *s[1:]) for s in shapes]
    for axis in range(rank):
        sizes = {s[axis] for s in padded} - {None, 1}
        if len(sizes) > 1:
            raise ValueError(f'{type(layer).__name__} "{layer.name}": inputs have incompatible shapes. Received shapes'
                             f" {' and '.join(str(tuple(s)) for s in shapes)}")


@builtin("keras.layers")
class Add(_Merge):
    """Sum of the inputs."""

    def merge(self, inputs):
        return reduce(ops.add, inputs)


@builtin("keras.layers")
class Subtract(_Merge):
    """First input minus the second."""

    def build(self, input_shape):
        super().build(input_shape)
        self._check_two(input_shape)

    def _check_two(self, inputs) -> None:
        if len(inputs) != 2:
            raise ValueError("A `Subtract` layer should be called on exactly 2 inputs. Received:"
                             f" {len(inputs)} inputs")

    def merge(self, inputs):
        self._check_two(inputs)
        return ops.subtract(*inputs)


@builtin("keras.layers")
class Multiply(_Merge):
    """Product of the inputs. A value that its mask leaves out counts as 1; where all masks leave out, the product is 0.
    """

    def merge(self, inputs):
        masks = [_places(x) for x in inputs]
        result = reduce(ops.multiply, [x if m is None else ops.where(m, x, 1) for x, m in zip(inputs, masks)])
        if any(m is None for m in masks):
            return result
        return ops.where(reduce(ops.logical_or, masks), result, 0)


@builtin("keras.layers")
class Average(_Merge):
    """Mean of the inputs."""

    def merge(self, inputs):
        return reduce(ops.add, inputs) / float(len(inputs))


@builtin("keras.layers")
class Maximum(_Extreme):
    """Element-wise maximum of what the masks let through."""

    better = staticmethod(ops.maximum)


@builtin("keras.layers")
class Minimum(_Extreme):
    """Element-wise minimum of what the masks let through."""

    better = staticmethod(ops.minimum)


@builtin("keras.layers")
class Concatenate(Layer):
    """Joins inputs along `axis`; the other axes must agree."""

    def __init__(self, axis=-1, **kwargs):
        super().__init__(**kwargs)
        self.axis = axis
        self.supports_masking = True

    def build(self, input_shape):
        _check_list(self, input_shape)
        ranks = {len(s) for s in input_shape}
        rest = [[d for i, d in enumerate(s) if i != axis_of(self.axis, len(s))] for s in input_shape]
        agree = len(ranks) == 1 and all(
            len({d for d in sizes if d is not None}) <= 1 for sizes in zip(*rest))
        if not agree:
            raise ValueError("A `Concatenate` layer requires inputs with matching shapes except for the concatenation"
                             f" axis. Received: input_shape={input_shape}")

    def call(self, inputs):
        _check_list(self, inputs)
        return ops.concatenate(inputs, axis=self.axis)

    def compute_mask(self, inputs, mask=None):
        """Masks are joined as their inputs are; a place of the output is seen when any of its features is. An input
        without a mask is seen everywhere."""
        if mask is None:
            return None
        masks = _checked_masks(self, inputs, mask)
        known = [m for m in masks if m is not None]
        if not known:
            return None
        axis, rank = axis_of(self.axis, inputs[0].ndim), max(m.ndim for m in known)
        parts = [_seen(x, m, rank) for x, m in zip(inputs, masks)]
        joined = ops.concatenate(parts, axis=axis) if axis < rank else reduce(ops.logical_or, parts)
        return ops.any(joined, axis=-1) if rank == inputs[0].ndim else joined

    def get_config(self):
        return {**super().get_config(), "axis": self.axis}


@builtin("keras.layers")
class Dot(Layer):
    """Batch-wise dot product of two inputs along one axis each.

    Args:
        axes: int, or a pair of ints; the batch axis is 0.
        normalize: l2-normalise along the axes first (cosine proximity).
    """

    def __init__(self, axes, normalize=False, **kwargs):
        super().__init__(**kwargs)
        if not isinstance(axes, (int, list, tuple)):
            raise TypeError(f"Dot: expected axes to be an int or a list of two; received axes={axes!r}.")
        if not isinstance(axes, int) and (len(axes) != 2 or not all(isinstance(a, int) for a in axes)):
            raise ValueError(f"Invalid format for argument `axes`: it should be a list of two integers. Received:"
                             f" axes={axes}")
        self.axes = axes
        self.normalize = normalize
        self.supports_masking = True

    def _axes_of(self, a_rank, b_rank):
        axes = (self.axes, self.axes) if isinstance(self.axes, int) else self.axes
        return axis_of(axes[0], a_rank), axis_of(axes[1], b_rank)

    def build(self, input_shape):
        if len(input_shape) != 2 or not all(isinstance(s, (list, tuple)) for s in input_shape):
            raise ValueError("A `Dot` layer should be called on a list of 2 inputs."
                             f" Received: input_shape={input_shape}")
        a, b = input_shape
        i, j = self._axes_of(len(a), len(b))
        if a[i] is not None and b[j] is not None and a[i] != b[j]:
            raise ValueError(f"Incompatible input shapes: axis values {a[i]} (at axis {i}) != {b[j]} (at axis {j})."
                             f" Full input shapes: {tuple(a)}, {tuple(b)}")

    def call(self, inputs):
        a, b = inputs
        i, j = self._axes_of(a.ndim, b.ndim)
        if self.normalize:
            a, b = ops.normalize(a, axis=i), ops.normalize(b, axis=j)
        a = ops.moveaxis(a, i, -1)
        b = ops.moveaxis(b, j, 1)
        batch, shared = a.shape[0], a.shape[-1]
        left, right = a.shape[1:-1], b.shape[2:]
        y = ops.matmul(ops.reshape(a, (batch, _size(left), shared)), ops.reshape(b, (batch, shared, _size(right))))
        return ops.reshape(y, (batch, *left, *right) if left or right else (batch, 1))

    def compute_mask(self, inputs, mask=None):
        return None

    def get_config(self):
        return {**super().get_config(), "axes": self.axes, "normalize": self.normalize}


def _seen(x, mask, rank: int):
    """A mask of the first `rank` axes of `x`, from one of fewer axes or from none."""
    if mask is not None and mask.ndim == rank and all(n in (None, m) for m, n in zip(mask.shape, x.shape)):
        return ops.cast(mask, "bool")
    everywhere = ops.all(ops.ones_like(x, dtype="bool"), axis=tuple(range(rank, x.ndim)))
    if mask is None:
        return everywhere
    return ops.logical_and(everywhere, _with_features(mask, rank))


def _size(shape) -> int:
    size = 1
    for d in shape:
        size *= d
    return size


def add(inputs, **kwargs):
    """Functional form of `Add`."""
    return Add(**kwargs)(inputs)


def subtract(inputs, **kwargs):
    """Functional form of `Subtract`."""
    return Subtract(**kwargs)(inputs)


def multiply(inputs, **kwargs):
    """Functional form of `Multiply`."""
    return Multiply(**kwargs)(inputs)


def average(inputs, **kwargs):
    """Functional form of `Average`."""
    return Average(**kwargs)(inputs)


def maximum(inputs, **kwargs):
    """Functional form of `Maximum`."""
    return Maximum(**kwargs)(inputs)


def minimum(inputs, **kwargs):
    """Functional form of `Minimum`."""
    return Minimum(**kwargs)(inputs)


def concatenate(inputs, axis=-1, **kwargs):
    """Functional form of `Concatenate`."""
    return Concatenate(axis=axis, **kwargs)(inputs)


def dot(inputs, axes=-1, **kwargs):
    """Functional form of `Dot`."""
    return Dot(axes=axes, **kwargs)(inputs)
