"""Layers that only move data: Flatten, Reshape, Permute, RepeatVector."""

from __future__ import annotations

import math

import numpy as np

from pydl import config, ops
from pydl.layers.base import Layer
from pydl.layers.input_spec import InputSpec
from pydl.ops._window import is_channels_first
from pydl.registry import builtin

__all__ = ["Flatten", "Permute", "RepeatVector", "Reshape"]


@builtin("keras.layers")
class Flatten(Layer):
    """(batch, ...) -> (batch, features).

    Args:
        data_format: "channels_first" moves the channels to the end first, so that weights fit either layout.
    """

    def __init__(self, data_format=None, **kwargs):
        super().__init__(**kwargs)
        is_channels_first(data_format, "Flatten")
        self.data_format = data_format or config.image_data_format()
        self.input_spec = InputSpec(min_ndim=1)

    def call(self, inputs):
        if self.data_format == "channels_first" and inputs.ndim > 2:
            inputs = ops.transpose(inputs, (0, *range(2, inputs.ndim), 1))
        return ops.reshape(inputs, (inputs.shape[0], math.prod(inputs.shape[1:])))

    def get_config(self):
        return {**super().get_config(), "data_format": self.data_format}


@builtin("keras.layers")
class Reshape(Layer):
    """(batch, ...) -> (batch, *target_shape); one entry of `target_shape` may be -1 or None."""

    _built_when_made = True

    def __init__(self, target_shape, **kwargs):
        super().__init__(**kwargs)
        sizes = (target_shape,) if isinstance(target_shape, (int, np.integer)) else tuple(target_shape)
        sizes = tuple(-1 if d is None else d for d in sizes)
        if any(not isinstance(d, (int, np.integer)) or isinstance(d, bool) or d < -1 for d in sizes):
            raise ValueError("Reshape: each size in `target_shape` must be a non-negative integer, or -1 for an unknown"
                             f" one; received target_shape={target_shape!r}.")
        self.target_shape = tuple(int(d) for d in sizes)
        if self.target_shape.count(-1) > 1:
            raise ValueError("Reshape: expected at most one unknown dimension (-1); received target_shape="
                             f"{target_shape!r}.")

    def call(self, inputs):
        size = math.prod(inputs.shape[1:])
        known = math.prod(d for d in self.target_shape if d != -1)
        fits = size % known == 0 if -1 in self.target_shape and known else size == known
        if not fits:
            raise ValueError(f'Reshape "{self.name}": the total size of the tensor must be unchanged; input shape'
                             f" {inputs.shape[1:]} ({size} elements), target shape {self.target_shape} ({known}).")
        shape = tuple(size // known if d == -1 else d for d in self.target_shape)
        return ops.reshape(inputs, (inputs.shape[0], *shape))

    def get_config(self):
        return {**super().get_config(), "target_shape": self.target_shape}


@builtin("keras.layers")
class Permute(Layer):
    """Reorders the axes of a sample; `dims` counts from 1."""

    def __init__(self, dims, **kwargs):
        super().__init__(**kwargs)
        self.dims = tuple(dims) if isinstance(dims, (tuple, list)) else ()
        if not self.dims or set(self.dims) != set(range(1, len(self.dims) + 1)):
            raise ValueError("Invalid permutation argument `dims` for Permute Layer. The set of indices in `dims` must"
                             f" be consecutive and start from 1. Received dims={dims}")
        self.input_spec = InputSpec(ndim=len(self.dims) + 1)

    def call(self, inputs):
        return ops.transpose(inputs, (0, *self.dims))

    def get_config(self):
        return {**super().get_config(), "dims": self.dims}


@builtin("keras.layers")
class RepeatVector(Layer):
    """(batch, features) -> (batch, n, features)."""

    def __init__(self, n, **kwargs):
        super().__init__(**kwargs)
        if not isinstance(n, int) or isinstance(n, bool):
            raise TypeError(f"Expected an integer value for `n`, got {type(n)}.")
        if n <= 0:
            raise ValueError(f"RepeatVector: `n` should be a positive integer; received n={n}.")
        self.n = n
        self.input_spec = InputSpec(ndim=2)

    def call(self, inputs):
        return ops.repeat(ops.expand_dims(inputs, 1), self.n, axis=1)

    def get_config(self):
        return {**super().get_config(), "n": self.n}
