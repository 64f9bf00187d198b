"""Activation functions as layers, those with parameters first."""

from __future__ import annotations

from pydl import activations, constraints, initializers, ops, regularizers
from pydl.layers.base import Layer
from pydl.layers.input_spec import InputSpec
from pydl.registry import builtin

__all__ = ["ELU", "LeakyReLU", "PReLU", "ReLU", "Softmax"]


@builtin("keras.layers")
class PReLU(Layer):
    """`x` for x > 0, `alpha * x` below, alpha learned (He et al. 2015, eq. 1).

    Args:
        alpha_initializer, alpha_regularizer, alpha_constraint: of the variable `alpha`, shaped as one sample.
        shared_axes: axes along which alpha is shared, e.g. [1, 2] for images.
    """

    def __init__(self, alpha_initializer="Zeros", alpha_regularizer=None, alpha_constraint=None, shared_axes=None,
                 **kwargs):
        super().__init__(**kwargs)
        self.supports_masking = True
        self.alpha_initializer = initializers.get(alpha_initializer)
        self.alpha_regularizer = regularizers.get(alpha_regularizer)
        self.alpha_constraint = constraints.get(alpha_constraint)
        self.shared_axes = None if shared_axes is None else (
            list(shared_axes) if isinstance(shared_axes, (list, tuple)) else [shared_axes])

    def build(self, input_shape):
        shape = list(input_shape[1:])
        for axis in self.shared_axes or ():
            if not 1 <= axis < len(input_shape):
                raise ValueError(f"expected shared_axes in 1 .. {len(input_shape) - 1}; received {self.shared_axes}.")
            shape[axis - 1] = 1
        self.alpha = self._weight("alpha", shape)
        self.input_spec = InputSpec(ndim=len(input_shape), axes={
            i: d for i, d in enumerate(input_shape) if i > 0 and i not in (self.shared_axes or ()) and d is not None})

    def call(self, inputs):
        return ops.prelu(inputs, self.alpha)

    def get_config(self):
        return {**super().get_config(), **self._arguments("alpha_initializer", "alpha_regularizer", "alpha_constraint",
                                                          "shared_axes")}


@builtin("keras.layers")
class ReLU(Layer):
    """`max(x, 0)`, with a slope below `threshold` and a ceiling.

    Args:
        max_value: ceiling, >= 0, or None.
        negative_slope: slope below the threshold, >= 0.
        threshold: where the positive branch begins, >= 0.
    """

    def __init__(self, max_value=None, negative_slope=0.0, threshold=0.0, **kwargs):
        if "alpha" in kwargs:
            negative_slope = kwargs.pop("alpha")
        super().__init__(**kwargs)
        for name, value in (("max_value", max_value), ("negative_slope", negative_slope), ("threshold", threshold)):
            if value is None and name != "max_value" or value is not None and value < 0:
                raise ValueError(f"{name} of a ReLU layer cannot be {'None' if value is None else 'a negative value'}."
                                 f" Received: {name}={value}")
        self.supports_masking = True
        self.max_value = max_value
        self.negative_slope = negative_slope
        self.threshold = threshold

    def call(self, inputs):
        return activations.relu(inputs, negative_slope=self.negative_slope, max_value=self.max_value,
                                threshold=self.threshold)

    def get_config(self):
        return {**super().get_config(), **self._arguments("max_value", "negative_slope", "threshold")}


@builtin("keras.layers")
class LeakyReLU(Layer):
    """`x` for x > 0, `negative_slope * x` below."""

    def __init__(self, negative_slope=0.3, **kwargs):
        if "alpha" in kwargs:
            negative_slope = kwargs.pop("alpha")
        super().__init__(**kwargs)
        if negative_slope is None or negative_slope < 0:
            raise ValueError("The negative_slope value of a Leaky ReLU layer cannot be None or negative value. Expected"
                             f" a float. Received: negative_slope={negative_slope}")
        self.supports_masking = True
        self.negative_slope = negative_slope

    def call(self, inputs):
        return ops.leaky_relu(inputs, negative_slope=self.negative_slope)

    def get_config(self):
        return {**super().get_config(), "negative_slope": self.negative_slope}


@builtin("keras.layers")
class ELU(Layer):
    """`x` for x > 0, `alpha * (exp(x) - 1)` below (Clevert et al. 2016)."""

    def __init__(self, alpha=1.0, **kwargs):
        super().__init__(**kwargs)
        self.alpha = alpha
        self.supports_masking = True

    def call(self, inputs):
        return ops.elu(inputs, alpha=self.alpha)

    def get_config(self):
        return {**super().get_config(), "alpha": self.alpha}


@builtin("keras.layers")
class Softmax(Layer):
    """Softmax along an axis or several; positions where `mask` is False get probability 0.

    Args:
        axis: int or list of ints.
    """

    def __init__(self, axis=-1, **kwargs):
        super().__init__(**kwargs)
        self.axis = axis
        self.supports_masking = True

    def call(self, inputs, mask=None):
        if mask is not None:
            # Large and negative instead of -inf: a row without any True stays finite.
            inputs = inputs + (1.0 - ops.cast(mask, inputs.dtype)) * -3e4
        if isinstance(self.axis, (tuple, list)) and len(self.axis) > 1:
            return ops.exp(inputs - ops.logsumexp(inputs, axis=tuple(self.axis), keepdims=True))
        return ops.softmax(inputs, axis=self.axis[0] if isinstance(self.axis, (tuple, list)) else self.axis)

    def get_config(self):
        return {**super().get_config(), "axis": self.axis}
