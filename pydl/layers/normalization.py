"""BatchNormalization, LayerNormalization, RMSNormalization, GroupNormalization, UnitNormalization."""

from __future__ import annotations

from pydl import constraints, initializers, ops, regularizers
from pydl.layers.base import Layer, axis_of
from pydl.layers.input_spec import InputSpec
from pydl.registry import builtin

__all__ = ["BatchNormalization", "GroupNormalization", "LayerNormalization", "RMSNormalization", "UnitNormalization"]


def _sizes(axes, input_shape) -> InputSpec:
    """What an input must have after the build: these axes at these sizes, in a rank that has them all."""
    return InputSpec(min_ndim=max(a + 1 if a >= 0 else -a for a in axes), axes={a: input_shape[a] for a in axes})


class _Scaled(Layer):
    """Common to the layers below: a learned scale `gamma` and offset `beta`, with Keras's arguments for both."""

    def __init__(self, center, scale, beta_initializer, gamma_initializer, beta_regularizer, gamma_regularizer,
                 beta_constraint, gamma_constraint, **kwargs):
        super().__init__(**kwargs)
        self.center = center
        self.scale = scale
        self.beta_initializer = initializers.get(beta_initializer)
        self.gamma_initializer = initializers.get(gamma_initializer)
        self.beta_regularizer = regularizers.get(beta_regularizer)
        self.gamma_regularizer = regularizers.get(gamma_regularizer)
        self.beta_constraint = constraints.get(beta_constraint)
        self.gamma_constraint = constraints.get(gamma_constraint)
        self.supports_masking = True

    def _add_scale_and_offset(self, shape) -> None:
        self.gamma = self.beta = None
        if self.scale:
            self.gamma = self._weight("gamma", shape)
        if self.center:
            self.beta = self._weight("beta", shape)

    def get_config(self):
        return {**super().get_config(), **self._arguments("center", "scale", "beta_initializer", "gamma_initializer",
                                                          "beta_regularizer", "gamma_regularizer", "beta_constraint",
                                                          "gamma_constraint")}


@builtin("keras.layers")
class BatchNormalization(_Scaled):
    """Each channel brought to mean 0 and variance 1, then `gamma * x + beta` (Ioffe and Szegedy 2015).

    In training the statistics are the batch's, and the moving ones are updated; at prediction, and when the layer is
    frozen (`trainable = False`), the moving ones are used and nothing changes.

    Args:
        axis: the channel axis.
        momentum: in [0, 1], of the moving statistics.
        epsilon: added to the variance.
        center, scale: whether there is a `beta`, a `gamma`.
        *_initializer, *_regularizer, *_constraint: of beta, gamma, moving_mean, moving_variance, each (channels,).
    """

    def __init__(self, axis=-1, momentum=0.99, epsilon=0.001, center=True, scale=True, beta_initializer="zeros",
                 gamma_initializer="ones", moving_mean_initializer="zeros", moving_variance_initializer="ones",
                 beta_regularizer=None, gamma_regularizer=None, beta_constraint=None, gamma_constraint=None,
                 renorm=False, renorm_clipping=None, renorm_momentum=0.99, synchronized=False, **kwargs):
        super().__init__(center, scale, beta_initializer, gamma_initializer, beta_regularizer, gamma_regularizer,
                         beta_constraint, gamma_constraint, **kwargs)
        if renorm:
            raise ValueError("BatchNormalization: batch renormalisation (renorm=True) is not supported.")
        self.axis = int(axis)
        self.momentum = float(momentum)
        self.epsilon = epsilon
        self.moving_mean_initializer = initializers.get(moving_mean_initializer)
        self.moving_variance_initializer = initializers.get(moving_variance_initializer)
        self.synchronized = synchronized

    def build(self, input_shape):
        axis = axis_of(self.axis, len(input_shape))
        channels = input_shape[axis]
        if channels is None:
            raise ValueError(f'BatchNormalization "{self.name}": axis {self.axis} of the input must be known; received'
                             f" shape {tuple(input_shape)}.")
        self._add_scale_and_offset((channels,))
        self.moving_mean = self.add_weight(name="moving_mean", shape=(channels,), trainable=False,
                                           initializer=self.moving_mean_initializer)
        self.moving_variance = self.add_weight(name="moving_variance", shape=(channels,), trainable=False,
                                               initializer=self.moving_variance_initializer)
        self.input_spec = InputSpec(ndim=len(input_shape), axes={axis: channels})

    def call(self, inputs, training=None, mask=None):
        if mask is not None and len(mask.shape) != inputs.ndim - 1 and len(mask.shape) > inputs.ndim:
            raise ValueError(f"BatchNormalization: a mask of shape {mask.shape} does not fit inputs of shape"
                             f" {inputs.shape}.")
        if training and self.trainable:
            return ops.batch_normalization_training(
                inputs, self.moving_mean, self.moving_variance, axis=self.axis, offset=self.beta, scale=self.gamma,
                momentum=self.momentum, epsilon=self.epsilon, mask=mask)
        return ops.batch_normalization(inputs, self.moving_mean, self.moving_variance, axis=self.axis,
                                       offset=self.beta, scale=self.gamma, epsilon=self.epsilon)

    def get_config(self):
        return {**super().get_config(), **self._arguments("axis", "momentum", "epsilon", "moving_mean_initializer",
                                                          "moving_variance_initializer", "synchronized")}


@builtin("keras.layers")
class LayerNormalization(_Scaled):
    """Each sample brought to mean 0 and variance 1 over `axis`, then `gamma * x + beta` (Ba et al. 2016).

    Args:
        axis: int or list of ints, the axes that are normalised together.
        epsilon: added to the variance.
        center, scale: whether there is a `beta`, a `gamma` (of the normalised axes' shape).
    """

    def __init__(self, axis=-1, epsilon=0.001, center=True, scale=True, beta_initializer="zeros",
                 gamma_initializer="ones", beta_regularizer=None, gamma_regularizer=None, beta_constraint=None,
                 gamma_constraint=None, **kwargs):
        rms_scaling = kwargs.pop("rms_scaling", False)
        super().__init__(center, scale, beta_initializer, gamma_initializer, beta_regularizer, gamma_regularizer,
                         beta_constraint, gamma_constraint, **kwargs)
        if not isinstance(axis, (int, list, tuple)):
            raise TypeError(f"Expected an int or a list/tuple of ints for the argument 'axis', but received: {axis!r}")
        if rms_scaling:
            raise ValueError("LayerNormalization: rms_scaling is its own layer, RMSNormalization.")
        self.axis = axis if isinstance(axis, int) else list(axis)
        self.epsilon = epsilon

    def build(self, input_shape):
        axes = [self.axis] if isinstance(self.axis, int) else self.axis
        shape = tuple(input_shape[a] for a in sorted(axis_of(a, len(input_shape)) for a in axes))
        if None in shape:
            raise ValueError(f'LayerNormalization "{self.name}": the normalised axes must be known; axis={self.axis},'
                             f" input shape {tuple(input_shape)}.")
        self._add_scale_and_offset(shape)
        self.input_spec = _sizes(axes, input_shape)

    def call(self, inputs):
        return ops.layer_normalization(inputs, self.gamma, self.beta, axis=self.axis, epsilon=self.epsilon)

    def get_config(self):
        return {**super().get_config(), "axis": self.axis, "epsilon": self.epsilon}


@builtin("keras.layers")
class RMSNormalization(Layer):
    """`x / rms(x) * scale` over `axis` (Zhang and Sennrich 2019)."""

    def __init__(self, axis=-1, epsilon=1e-6, **kwargs):
        super().__init__(**kwargs)
        self.axis = axis
        self.epsilon = epsilon
        self.supports_masking = True

    def build(self, input_shape):
        axes = [self.axis] if isinstance(self.axis, int) else self.axis
        shape = tuple(input_shape[axis_of(a, len(input_shape))] for a in axes)
        self.scale = self.add_weight(name="scale", shape=shape, initializer="ones")
        self.input_spec = _sizes(axes, input_shape)

    def call(self, inputs):
        return ops.rms_normalization(inputs, scale=self.scale, axis=self.axis, epsilon=self.epsilon)

    def get_config(self):
        return {**super().get_config(), "axis": self.axis, "epsilon": self.epsilon}


@builtin("keras.layers")
class GroupNormalization(_Scaled):
    """Channels in groups, each brought to mean 0 and variance 1 per sample (Wu and He 2018).

    Args:
        groups: number of groups; -1 means one per channel.
        axis: the channel axis.
        epsilon: added to the variance.
    """

    def __init__(self, groups=32, axis=-1, epsilon=1e-3, center=True, scale=True, beta_initializer="zeros",
                 gamma_initializer="ones", beta_regularizer=None, gamma_regularizer=None, beta_constraint=None,
                 gamma_constraint=None, **kwargs):
        super().__init__(center, scale, beta_initializer, gamma_initializer, beta_regularizer, gamma_regularizer,
                         beta_constraint, gamma_constraint, **kwargs)
        self.groups = groups
        self.axis = axis
        self.epsilon = epsilon

    def build(self, input_shape):
        axis = axis_of(self.axis, len(input_shape))
        channels = input_shape[axis]
        if channels is None:
            raise ValueError(f"Axis {self.axis} of input tensor should have a defined dimension but the layer received"
                             f" an input with shape {tuple(input_shape)}.")
        groups = channels if self.groups == -1 else self.groups
        if channels % groups:
            raise ValueError(f"Number of groups ({groups}) must be a divisor of the number of channels ({channels}).")
        self._groups = groups
        self._add_scale_and_offset((channels,))
        self.input_spec = InputSpec(ndim=len(input_shape), axes={axis: channels})

    def call(self, inputs):
        return ops.group_normalization(inputs, self._groups, self.gamma, self.beta, axis=self.axis,
                                       epsilon=self.epsilon)

    def get_config(self):
        return {**super().get_config(), "groups": self.groups, "axis": self.axis, "epsilon": self.epsilon}


@builtin("keras.layers")
class UnitNormalization(Layer):
    """`x` divided by its l2 norm over `axis`."""

    def __init__(self, axis=-1, **kwargs):
        super().__init__(**kwargs)
        self.axis = axis
        self.supports_masking = True

    def call(self, inputs):
        norm = ops.sqrt(ops.maximum(ops.sum(ops.square(inputs), axis=self.axis, keepdims=True), 1e-12))
        return inputs / norm

    def get_config(self):
        return {**super().get_config(), "axis": self.axis}
