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

    _built_when_made = True

    def __init__(self, max_value=None, negative_slope=0.0, threshold=0.0, **kwargs):
        if "alpha" in kwargs:
            negative_slope = kwargs.pop("alpha")
        super().__init__(**kwargs)
        for name, value in (("max_value", max_value), ("negative_slope", negative_slope), ("threshold", threshold)):
            if value is None and name != "max_value" or value is not None and value < 0:
                never = "a negative value" if name == "max_value" else "None or a negative value"
                raise ValueError(f"{name} of a ReLU layer cannot be {never}. Received: {name}={value}")
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

    _built_when_made = True

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

    _built_when_made = True

    def __init__(self, alpha=1.0, **kwargs):
        super().__init__(**kwargs)
        if not isinstance(alpha, (int, float)):
            raise ValueError(f"ELU: expected a number for alpha; received {alpha!r}.")
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

    Call arguments:
        inputs: tensor.
        mask: bool, or numbers of which those above 0.5 are true; broadcasts to the inputs. Where it leaves nothing of
            an axis, all probabilities are 0.
    """

    _built_when_made = True

    def __init__(self, axis=-1, **kwargs):
        super().__init__(**kwargs)
        if not all(isinstance(a, int) for a in (axis if isinstance(axis, (tuple, list)) and axis else (axis,))):
            raise ValueError(f"Softmax: expected an integer or a list of integers for axis; received {axis!r}.")
        self.axis = axis
        self.supports_masking = True

    def call(self, inputs, mask=None):
        if mask is None:
            return self._softmax(inputs)
        sizes = zip(reversed(mask.shape), reversed(inputs.shape))
        if mask.ndim > inputs.ndim or any(m not in (1, n) for m, n in sizes):
            raise ValueError("the mask must be broadcastable to the inputs and must not have more dimensions; received"
                             f" a mask of shape {tuple(mask.shape)}, inputs of shape {tuple(inputs.shape)}.")
        mask = mask if mask.dtype == "bool" else ops.greater(mask, 0.5)
        # Large and negative instead of -inf: a row without any True stays finite.
        y = self._softmax(ops.where(mask, inputs, -3e4 if inputs.dtype == "float16" else -1e9))
        return ops.where(mask, y, 0)

    def _softmax(self, x):
        axes = self.axis if isinstance(self.axis, (tuple, list)) else [self.axis]
        if len(axes) > 1:
            return ops.exp(x - ops.logsumexp(x, axis=tuple(axes), keepdims=True))
        return ops.softmax(x, axis=axes[0])

    def get_config(self):
        return {**super().get_config(), "axis": self.axis}
