"""BatchNormalization, LayerNormalization, RMSNormalization, GroupNormalization, UnitNormalization."""

from __future__ import annotations

import warnings

from pydl import config, constraints, initializers, ops, regularizers
from pydl.layers.base import Layer, axis_of
from pydl.layers.input_spec import InputSpec
from pydl.ops.reduction import vector_norm
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
        renorm: correct the batch's statistics towards moving ones, so that training and prediction see nearly the same
            function (Ioffe 2017): x becomes r x + d with r and d that count as constants. Adds `moving_stddev`,
            `renorm_mean`, `renorm_stddev`.
        renorm_clipping: dict of bounds, of which any may be missing: "rmin" <= r <= "rmax", |d| <= "dmax".
        renorm_momentum: in [0, 1], of `renorm_mean` and `renorm_stddev`.

    Call arguments:
        mask: bool, of the input's axes without the last, those at the end may be missing; places where it is false do
            not count in the statistics.
    """

    def __init__(self, axis=-1, momentum=0.99, epsilon=0.001, center=True, scale=True, beta_initializer="zeros",
                 gamma_initializer="ones", moving_mean_initializer="zeros", moving_variance_initializer="ones",
                 beta_regularizer=None, gamma_regularizer=None, beta_constraint=None, gamma_constraint=None,
                 renorm=False, renorm_clipping=None, renorm_momentum=0.99, synchronized=False, **kwargs):
        super().__init__(center, scale, beta_initializer, gamma_initializer, beta_regularizer, gamma_regularizer,
                         beta_constraint, gamma_constraint, **kwargs)
        if renorm:
            renorm_clipping = _checked_clipping(renorm_clipping or {})
        self.renorm, self.renorm_clipping, self.renorm_momentum = renorm, renorm_clipping, renorm_momentum
        self.axis = int(axis)
        self.momentum = float(momentum)
        self.epsilon = float(epsilon)
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
        if self.renorm:
            def stddev(shape, dtype=None):
                return ops.sqrt(self.moving_variance_initializer(shape, dtype=dtype))

            for name, initializer in (("moving_stddev", stddev), ("renorm_mean", self.moving_mean_initializer),
                                      ("renorm_stddev", stddev)):
                setattr(self, name, self.add_weight(name=name, shape=(channels,), trainable=False,
                                                    initializer=initializer))
        self.input_spec = InputSpec(ndim=len(input_shape), axes={axis: channels})

    def call(self, inputs, training=None, mask=None):
        if mask is not None and len(mask.shape) > inputs.ndim - 1:
            raise ValueError(f"expected a mask with an axis less than the inputs; received mask of shape"
                             f" {tuple(mask.shape)}, inputs of shape {tuple(inputs.shape)}.")
        axis = axis_of(self.axis, inputs.ndim)
        if not training or not self.trainable:
            return self._normalized(inputs, self.moving_mean, self.moving_variance, self.gamma, self.beta)
        if self.renorm or mask is not None and axis != inputs.ndim - 1:
            return self._by_parts(inputs, mask, axis)
        return ops.batch_normalization_training(
            inputs, self.moving_mean, self.moving_variance, axis=axis, offset=self.beta, scale=self.gamma,
            momentum=self.momentum, epsilon=self.epsilon, mask=mask)

    def _normalized(self, inputs, mean, variance, scale, offset):
        return ops.batch_normalization(inputs, mean, variance, axis=self.axis, offset=offset, scale=scale,
                                       epsilon=self.epsilon)

    def _by_parts(self, inputs, mask, axis):
        """The training step without a kernel of its own: a mask that tells channels apart, and renormalisation."""
        axes = tuple(a for a in range(inputs.ndim) if a != axis)
        mean, variance, seen = _moments(inputs, mask, axes)

        def move(variable, value, momentum):
            value = ops.stop_gradient(value) if seen is None else ops.where(seen, ops.stop_gradient(value), variable)
            variable.assign(variable * momentum + value * (1.0 - momentum))

        if not self.renorm:
            move(self.moving_mean, mean, self.momentum)
            move(self.moving_variance, variance, self.momentum)
            return self._normalized(inputs, mean, variance, self.gamma, self.beta)
        stddev = ops.sqrt(variance + self.epsilon)
        # Copies: the variables change before the gradients are taken.
        known_mean, known = self.renorm_mean + 0, ops.maximum(self.renorm_stddev, self.epsilon ** 0.5)
        bounds = {"rmin": 0.0, "rmax": float("inf"), "dmax": float("inf"), **self.renorm_clipping}
        r = ops.stop_gradient(ops.minimum(ops.maximum(stddev / known, bounds["rmin"]), bounds["rmax"]))
        d = ops.stop_gradient(ops.clip((mean - known_mean) / known, -bounds["dmax"], bounds["dmax"]))
        scale, offset = (r, d) if self.gamma is None else (r * self.gamma, d * self.gamma)
        y = self._normalized(inputs, mean, variance, scale, offset if self.beta is None else offset + self.beta)
        move(self.renorm_mean, mean, self.renorm_momentum)
        move(self.renorm_stddev, stddev, self.renorm_momentum)
        move(self.moving_mean, mean, self.momentum)
        move(self.moving_stddev, stddev, self.momentum)
        self.moving_variance.assign(ops.relu(ops.square(self.moving_stddev) - self.epsilon))
        return y

    def get_config(self):
        return {**super().get_config(), **self._arguments(
            "axis", "momentum", "epsilon", "moving_mean_initializer", "moving_variance_initializer", "synchronized",
            "renorm", "renorm_clipping", "renorm_momentum")}


def _checked_clipping(clipping) -> dict:
    names = "rmin", "rmax", "dmax"
    if set(clipping) - set(names):
        raise ValueError(f"BatchNormalization: Received invalid keys in renorm_clipping={clipping!r}; expected some of"
                         f" {names}.")
    low, high, shift = (clipping.get(name) for name in names)
    if low is not None and high is not None and high < low or shift is not None and shift < 0:
        raise ValueError("BatchNormalization: expected renorm_clipping with rmin <= rmax and dmax >= 0; received"
                         f" {clipping!r}.")
    return {name: value for name, value in clipping.items() if value is not None}


def _moments(x, mask, axes):
    """Mean and (biased) variance over `axes`, of the places that the mask lets through; and which channels have such
    places, None for all."""
    if mask is None:
        return (*ops.moments(x, axes), None)
    for _ in range(x.ndim - mask.ndim):
        mask = ops.expand_dims(mask, -1)
    mask = ops.broadcast_to(ops.cast(mask, "bool"), x.shape)
    count = ops.sum(ops.cast(mask, x.dtype), axes, keepdims=True)
    mean = ops.sum(ops.where(mask, x, 0), axes, keepdims=True) / (count + config.epsilon())
    variance = ops.sum(ops.square(ops.where(mask, x - mean, 0)), axes, keepdims=True) / (count + config.epsilon())
    return ops.squeeze(mean, axes), ops.squeeze(variance, axes), ops.squeeze(count, axes) > 0


@builtin("keras.layers")
class LayerNormalization(_Scaled):
    """Each sample brought to mean 0 and variance 1 over `axis`, then `gamma * x + beta` (Ba et al. 2016).

    Args:
        axis: int or list of ints, the axes that are normalised together.
        epsilon: added to the variance.
        center, scale: whether there is a `beta`, a `gamma` (of the normalised axes' shape).
        rms_scaling: as in files of Keras: x is not centred, divided by its standard deviation (not its root mean
            square) and scaled by `gamma`, without `beta`. `RMSNormalization` is what the name says.
    """

    def __init__(self, axis=-1, epsilon=0.001, center=True, scale=True, beta_initializer="zeros",
                 gamma_initializer="ones", beta_regularizer=None, gamma_regularizer=None, beta_constraint=None,
                 gamma_constraint=None, **kwargs):
        self.rms_scaling = kwargs.pop("rms_scaling", False)
        super().__init__(center, scale, beta_initializer, gamma_initializer, beta_regularizer, gamma_regularizer,
                         beta_constraint, gamma_constraint, **kwargs)
        if not isinstance(axis, (int, list, tuple)):
            raise TypeError(f"Expected an int or a list/tuple of ints for the argument 'axis', but received: {axis!r}")
        if self.rms_scaling:
            warnings.warn("LayerNormalization: rms_scaling=True divides by the standard deviation, as Keras does;"
                          " RMSNormalization divides by the root mean square.", stacklevel=2)
        self.axis = axis if isinstance(axis, int) else list(axis)
        self.epsilon = epsilon

    def build(self, input_shape):
        axes = [self.axis] if isinstance(self.axis, int) else self.axis
        # In files the sizes stand in the order of the sorted numbers, -1 first, the values in that of the input's axes.
        shape = tuple(input_shape[axis_of(a, len(input_shape))] for a in sorted(axes))
        if None in shape:
            raise ValueError(f'LayerNormalization "{self.name}": the normalised axes must be known; axis={self.axis},'
                             f" input shape {tuple(input_shape)}.")
        self.gamma = self._weight("gamma", shape) if self.scale or self.rms_scaling else None
        self.beta = self._weight("beta", shape) if self.center and not self.rms_scaling else None
        self.input_spec = _sizes(axes, input_shape)

    def call(self, inputs):
        axes = sorted(axis_of(a, inputs.ndim) for a in ([self.axis] if isinstance(self.axis, int) else self.axis))
        gamma, beta = self._in_order(inputs, self.gamma, axes), self._in_order(inputs, self.beta, axes)
        if not self.rms_scaling:
            return ops.layer_normalization(inputs, gamma, beta, axis=self.axis, epsilon=self.epsilon)
        gamma = ops.reshape(gamma, [n if a in axes else 1 for a, n in enumerate(inputs.shape)])
        return inputs * ops.rsqrt(ops.var(inputs, axis=tuple(axes), keepdims=True) + self.epsilon) * gamma

    def _in_order(self, inputs, weight, axes):
        shape = tuple(inputs.shape[a] for a in axes)
        return weight if weight is None or tuple(weight.shape) == shape else ops.reshape(weight, shape)

    def get_config(self):
        return {**super().get_config(), **self._arguments("axis", "epsilon", "rms_scaling")}


@builtin("keras.layers")
class RMSNormalization(Layer):
    """`x / rms(x) * scale` over `axis` (Zhang and Sennrich 2019). Masks end here, as in Keras."""

    def __init__(self, axis=-1, epsilon=1e-6, **kwargs):
        super().__init__(**kwargs)
        self.axis = axis
        self.epsilon = epsilon

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
        if not isinstance(groups, int) or isinstance(groups, bool) or groups < 1 and groups != -1:
            raise ValueError("GroupNormalization: expected the argument `groups` to be a positive integer, or -1 for"
                             f" one per channel; received groups={groups!r}.")
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
        if groups > channels:
            raise ValueError(f"Number of groups ({groups}) cannot be more than the number of channels ({channels}).")
        if groups and channels % groups:  # of no channels there are no groups
            raise ValueError(f"The number of channels ({channels}) must be a multiple of the number of groups"
                             f" ({groups}).")
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

    _built_when_made = True

    def __init__(self, axis=-1, **kwargs):
        super().__init__(**kwargs)
        if not isinstance(axis, (int, list, tuple)):
            raise TypeError("Invalid value for `axis` argument: expected an int or a list/tuple of ints. Received:"
                            f" axis={axis!r}")
        self.axis = axis
        self.supports_masking = True

    def call(self, inputs):
        return inputs / ops.maximum(vector_norm(inputs, axis=self.axis), 1e-6)

    def get_config(self):
        return {**super().get_config(), "axis": self.axis}
