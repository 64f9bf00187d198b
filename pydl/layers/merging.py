"""Layers with several inputs: Add, Subtract, Multiply, Average, Maximum, Minimum, Concatenate, Dot."""

from __future__ import annotations

from functools import reduce

from pydl import ops
from pydl.layers.base import Layer, axis_of
from pydl.registry import builtin

__all__ = ["Add", "Average", "Concatenate", "Dot", "Maximum", "Minimum", "Multiply", "Subtract", "add", "average",
           "concatenate", "dot", "maximum", "minimum", "multiply", "subtract"]


def _known(mask):
    return [m for m in mask or () if m is not None]


class _Merge(Layer):
    """Common to the element-wise ones: a list of at least two inputs that broadcast, missing axes put after the
    batch axis."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.supports_masking = True

    def build(self, input_shape):
        name = type(self).__name__
        if not isinstance(input_shape, (list, tuple)) or not input_shape or not isinstance(
                input_shape[0], (list, tuple)):
            raise ValueError(f"A merge layer should be called on a list of inputs. Received: input_shape={input_shape}"
                             f" (layer {name})")
        if len(input_shape) < 2:
            raise ValueError(f"A `{name}` layer should be called on a list of at least 2 inputs. Received:"
                             f" {len(input_shape)}")
        _broadcast(self, input_shape)

    def call(self, inputs):
        rank = max(x.ndim for x in inputs)
        return self.merge([x if x.ndim == rank else ops.reshape(
            x, (x.shape[0],) + (1,) * (rank - x.ndim) + tuple(x.shape[1:])) for x in inputs])

    def merge(self, inputs):
        raise NotImplementedError

    def compute_mask(self, inputs, mask=None):
        masks = _known(mask)
        return reduce(ops.logical_or, masks) if masks and len(masks) == len(mask) else None


def _broadcast(layer, shapes) -> None:
    """Raises ValueError when the shapes do not broadcast."""
    rank = max(len(s) for s in shapes)
    padded = [(s[0],) + (1,) * (rank - len(s)) + tuple(s[1:]) for s in shapes]
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
        if len(input_shape) != 2:
            raise ValueError("A `Subtract` layer should be called on exactly 2 inputs. Received:"
                             f" input_shape={input_shape}")

    def merge(self, inputs):
        return ops.subtract(*inputs)


@builtin("keras.layers")
class Multiply(_Merge):
    """Product of the inputs."""

    def merge(self, inputs):
        return reduce(ops.multiply, inputs)


@builtin("keras.layers")
class Average(_Merge):
    """Mean of the inputs."""

    def merge(self, inputs):
        return reduce(ops.add, inputs) / float(len(inputs))


@builtin("keras.layers")
class Maximum(_Merge):
    """Element-wise maximum."""

    def merge(self, inputs):
        return reduce(ops.maximum, inputs)


@builtin("keras.layers")
class Minimum(_Merge):
    """Element-wise minimum."""

    def merge(self, inputs):
        return reduce(ops.minimum, inputs)


@builtin("keras.layers")
class Concatenate(Layer):
    """Joins inputs along `axis`; the other axes must agree."""

    def __init__(self, axis=-1, **kwargs):
        super().__init__(**kwargs)
        self.axis = axis
        self.supports_masking = True

    def build(self, input_shape):
        if not isinstance(input_shape, (list, tuple)) or not input_shape or not isinstance(
                input_shape[0], (list, tuple)):
            raise ValueError(f"A `Concatenate` layer should be called on a list of at least 1 input. Received:"
                             f" input_shape={input_shape}")
        ranks = {len(s) for s in input_shape}
        rest = [[d for i, d in enumerate(s) if i != axis_of(self.axis, len(s))] for s in input_shape]
        agree = len(ranks) == 1 and all(
            len({d for d in sizes if d is not None}) <= 1 for sizes in zip(*rest))
        if not agree:
            raise ValueError("A `Concatenate` layer requires inputs with matching shapes except for the concatenation"
                             f" axis. Received: input_shape={input_shape}")

    def call(self, inputs):
        return ops.concatenate(inputs, axis=self.axis)

    def compute_mask(self, inputs, mask=None):
        if not _known(mask):
            return None
        axis = self.axis % inputs[0].ndim
        parts = []
        for x, m in zip(inputs, mask):
            if m is None:
                m = ops.ones(x.shape[:2] if x.ndim > 1 else x.shape, dtype="bool")
            parts.append(m if axis < m.ndim else ops.expand_dims(m, -1))
        return ops.concatenate(parts, axis=axis) if axis < mask[0].ndim else reduce(
            ops.logical_and, [p if p.ndim == parts[0].ndim else p for p in _known(mask)])

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
