"""Convolution layers: plain, transposed, depthwise, depthwise-separable, over 1 to 3 spatial axes."""

from __future__ import annotations

from pydl import activations, constraints, initializers, ops, regularizers
from pydl.layers._spatial import Spatial
from pydl.layers.core import FUSED, activated
from pydl.layers.input_spec import InputSpec
from pydl.registry import builtin

__all__ = [
    "Conv1D", "Conv1DTranspose", "Conv2D", "Conv2DTranspose", "Conv3D", "Conv3DTranspose", "Convolution1D",
    "Convolution1DTranspose", "Convolution2D", "Convolution2DTranspose", "Convolution3D", "Convolution3DTranspose",
    "DepthwiseConv1D", "DepthwiseConv2D", "SeparableConv1D", "SeparableConv2D", "SeparableConvolution1D",
    "SeparableConvolution2D"]


class _Convolution(Spatial):
    """What all convolution layers share. Below, "per axis" is an int or one int per spatial axis.

    Args:
        weights: of each kind of weight ("kernel", "bias", ...) initializer, regularizer and constraint; each becomes
            an attribute such as `kernel_initializer`.

    Other arguments are those of the layers. A subclass makes its weights in `_build(channels)`, names what the bias has
    in `_bias_size(channels)`, and computes in `_convolve(inputs, **options)`.
    """

    _paddings: tuple[str, ...] = ("valid", "same")
    _fields: tuple[str, ...]  # arguments of the family that the config holds as they are

    def __init__(self, kernel_size, strides, padding, data_format, dilation_rate, activation, use_bias, weights,
                 activity_regularizer, **kwargs):
        super().__init__(data_format, activity_regularizer=activity_regularizer, **kwargs)
        self.kernel_size = self._per_axis(kernel_size, "kernel_size")
        self.strides = self._per_axis(strides, "strides")
        self.dilation_rate = self._per_axis(dilation_rate, "dilation_rate")
        self.padding = padding.lower() if isinstance(padding, str) else padding
        if self.padding not in self._paddings:
            raise ValueError(f"{type(self).__name__}: expected padding to be one of {self._paddings}; received"
                             f" padding={padding!r}.")
        self.activation = activations.get(activation)
        self.use_bias = use_bias
        self._kinds = tuple(weights)
        for kind, (initializer, regularizer, constraint) in weights.items():
            setattr(self, f"{kind}_initializer", initializers.get(initializer))
            setattr(self, f"{kind}_regularizer", regularizers.get(regularizer))
            setattr(self, f"{kind}_constraint", constraints.get(constraint))

    def _check_positive(self, **values) -> None:
        for name, value in values.items():
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise ValueError(f"{type(self).__name__}: expected {name} to be a positive integer; received"
                                 f" {name}={value!r}.")

    def _check_dilation(self) -> None:
        if max(self.strides) > 1 and max(self.dilation_rate) > 1:
            raise ValueError(f"{type(self).__name__}: strides above 1 do not go with a dilation_rate above 1; received"
                             f" strides={self.strides} and dilation_rate={self.dilation_rate}.")

    def _check_input(self, spec) -> None:
        super()._check_input(spec)
        if hasattr(spec.first, "shape"):
            self._channels(spec.first.shape)

    def _channels(self, input_shape) -> tuple[int, int]:
        """The axis of channels, and their number."""
        axis = 1 if self.data_format == "channels_first" else -1
        if input_shape[axis] is None:
            raise ValueError(f'{type(self).__name__} "{self.name}": the number of channels (axis {axis} of the input)'
                             f" must be known; received shape {tuple(input_shape)}.")
        return axis, input_shape[axis]

    def build(self, input_shape):
        axis, channels = self._channels(input_shape)
        self._build(channels)
        self.bias = self._weight("bias", (self._bias_size(channels),)) if self.use_bias else None
        self.input_spec = InputSpec(ndim=self._rank + 2, axes={axis: channels})

    def call(self, inputs):
        fused = FUSED.get(self.activation)
        y = self._convolve(inputs, strides=self.strides, padding=self.padding, data_format=self.data_format,
                           dilation_rate=self.dilation_rate, bias=self.bias, activation=fused)
        return y if fused else activated(self.activation, y)

    def get_config(self):
        return {**super().get_config(), **self._arguments(
            "kernel_size", "strides", "padding", "dilation_rate", "activation", "use_bias", *self._fields,
            *(f"{kind}_{what}" for kind in self._kinds for what in ("initializer", "regularizer", "constraint")))}


class _Conv(_Convolution):
    """Convolution: every filter looks at a window of all channels of its group.

    Args:
        filters: channels of the result, a multiple of `groups`.
        kernel_size: size of the window, per axis.
        strides: distance of windows, per axis; above 1 not together with dilation.
        padding: "valid" (whole windows only), "same" (ceil(size / stride) windows); Conv1D also "causal" (no result
            sees a later step).
        data_format: "channels_last" (batch, spatial..., channels) or "channels_first" (batch, channels, spatial...).
        dilation_rate: distance of a window's taps, per axis.
        groups: groups of channels that are convolved with filters of their own.
        activation: None, name or callable.
        use_bias: whether a bias (filters,) is added.
        kernel_initializer, kernel_regularizer, kernel_constraint: of `kernel` (window..., channels / groups, filters).
        bias_initializer, bias_regularizer, bias_constraint: of `bias` (filters,).
        activity_regularizer: of the result.

    Raises:
        ValueError: for wrong arguments; when built, for unknown channels or channels that `groups` does not divide;
            at a call, for a window larger than the input.
    """

    _fields = ("filters", "groups")

    def __init__(self, filters, kernel_size, strides=1, padding="valid", data_format=None, dilation_rate=1, groups=1,
                 activation=None, use_bias=True, kernel_initializer="glorot_uniform", bias_initializer="zeros",
                 kernel_regularizer=None, bias_regularizer=None, activity_regularizer=None, kernel_constraint=None,
                 bias_constraint=None, **kwargs):
        super().__init__(kernel_size, strides, padding, data_format, dilation_rate, activation, use_bias, {
            "kernel": (kernel_initializer, kernel_regularizer, kernel_constraint),
            "bias": (bias_initializer, bias_regularizer, bias_constraint)}, activity_regularizer, **kwargs)
        self._check_positive(filters=filters, groups=groups)
        self._check_dilation()
        self.filters, self.groups = filters, groups
        if filters % groups:
            raise ValueError(f"{type(self).__name__}: expected filters to be a multiple of groups; received"
                             f" filters={filters} and groups={groups}.")

    def _build(self, channels):
        if channels % self.groups:
            raise ValueError(f'{type(self).__name__} "{self.name}": expected the number of channels to be a multiple of'
                             f" groups={self.groups}; received an input of {channels} channels.")
        self.kernel = self._weight("kernel", (*self.kernel_size, channels // self.groups, self.filters))

    def _bias_size(self, channels):
        return self.filters

    def _convolve(self, inputs, **options):
        return ops.conv(inputs, self.kernel, **options)


@builtin("keras.layers")
class Conv1D(_Conv):
    __doc__ = f"(batch, steps, channels) -> (batch, windows, filters). {_Conv.__doc__}"
    _rank, _paddings = 1, ("valid", "same", "causal")


@builtin("keras.layers")
class Conv2D(_Conv):
    __doc__ = f"(batch, height, width, channels) -> (batch, rows, columns, filters). {_Conv.__doc__}"
    _rank = 2


@builtin("keras.layers")
class Conv3D(_Conv):
    __doc__ = f"(batch, depth, height, width, channels) -> (batch, planes, rows, columns, filters). {_Conv.__doc__}"
    _rank = 3


class _ConvTranspose(_Convolution):
    """Transposed convolution: the gradient of a convolution for its input, used forwards; strides enlarge.

    Args:
        filters: channels of the result.
        kernel_size: size of the window, per axis.
        strides: how far the windows of neighbouring inputs lie apart in the result, per axis.
        padding: "same" (size * stride positions) or "valid" (kernel_size - stride more, when that is positive).
        output_padding: positions added behind, per axis, less than the stride; None derives them from `padding`.
        data_format: "channels_last" (batch, spatial..., channels) or "channels_first" (batch, channels, spatial...).
        dilation_rate: distance of a window's taps, per axis.
        activation: None, name or callable.
        use_bias: whether a bias (filters,) is added.
        kernel_initializer, kernel_regularizer, kernel_constraint: of `kernel` (window..., filters, channels).
        bias_initializer, bias_regularizer, bias_constraint: of `bias` (filters,).
        activity_regularizer: of the result.

    Raises:
        ValueError: for wrong arguments, and when built, for unknown channels.
    """

    _fields = ("filters", "output_padding")

    def __init__(self, filters, kernel_size, strides=1, padding="valid", output_padding=None, data_format=None,
                 dilation_rate=1, activation=None, use_bias=True, kernel_initializer="glorot_uniform",
                 bias_initializer="zeros", kernel_regularizer=None, bias_regularizer=None, activity_regularizer=None,
                 kernel_constraint=None, bias_constraint=None, **kwargs):
        super().__init__(kernel_size, strides, padding, data_format, dilation_rate, activation, use_bias, {
            "kernel": (kernel_initializer, kernel_regularizer, kernel_constraint),
            "bias": (bias_initializer, bias_regularizer, bias_constraint)}, activity_regularizer, **kwargs)
        self._check_positive(filters=filters)
        self._check_dilation()
        self.filters = filters
        extra = (output_padding,) * self._rank if isinstance(output_padding, int) else output_padding
        self.output_padding = None if extra is None else tuple(extra)
        if extra is not None and (len(extra) != self._rank or any(
                not isinstance(e, int) or not 0 <= e < s for e, s in zip(extra, self.strides))):
            raise ValueError(f"{type(self).__name__}: expected output_padding to be None, or {self._rank} integers of"
                             f" at least 0 and less than the strides {self.strides}; received {output_padding!r}.")

    def _build(self, channels):
        self.kernel = self._weight("kernel", (*self.kernel_size, self.filters, channels))

    def _bias_size(self, channels):
        return self.filters

    def _convolve(self, inputs, **options):
        return ops.conv_transpose(inputs, self.kernel, output_padding=self.output_padding, **options)


@builtin("keras.layers")
class Conv1DTranspose(_ConvTranspose):
    __doc__ = f"(batch, steps, channels) -> (batch, new steps, filters). {_ConvTranspose.__doc__}"
    _rank = 1


@builtin("keras.layers")
class Conv2DTranspose(_ConvTranspose):
    __doc__ = f"(batch, height, width, channels) -> (batch, rows, columns, filters). {_ConvTranspose.__doc__}"
    _rank = 2


@builtin("keras.layers")
class Conv3DTranspose(_ConvTranspose):
    __doc__ = f"(batch, depth, height, width, channels) -> the same axes, enlarged. {_ConvTranspose.__doc__}"
    _rank = 3

    def __init__(self, filters, kernel_size, strides=1, padding="valid", data_format=None, output_padding=None,
                 dilation_rate=1, activation=None, use_bias=True, kernel_initializer="glorot_uniform",
                 bias_initializer="zeros", kernel_regularizer=None, bias_regularizer=None, activity_regularizer=None,
                 kernel_constraint=None, bias_constraint=None, **kwargs):  # Keras has another order here than in 1D, 2D
        super().__init__(filters, kernel_size, strides, padding, output_padding, data_format, dilation_rate, activation,
                         use_bias, kernel_initializer, bias_initializer, kernel_regularizer, bias_regularizer,
                         activity_regularizer, kernel_constraint, bias_constraint, **kwargs)


class _DepthwiseConv(_Convolution):
    """Depthwise convolution: every channel has `depth_multiplier` filters of its own (Sifre & Mallat 2014).

    Args:
        kernel_size: size of the window, per axis.
        strides: distance of windows, per axis.
        padding: "valid" (whole windows only) or "same" (ceil(size / stride) windows).
        depth_multiplier: channels of the result per channel of the input.
        data_format: "channels_last" (batch, spatial..., channels) or "channels_first" (batch, channels, spatial...).
        dilation_rate: distance of a window's taps, per axis.
        activation: None, name or callable.
        use_bias: whether a bias (channels * depth_multiplier,) is added.
        depthwise_initializer, depthwise_regularizer, depthwise_constraint: of `kernel`
            (window..., channels, depth_multiplier).
        bias_initializer, bias_regularizer, bias_constraint: of `bias`.
        activity_regularizer: of the result.

    Raises:
        ValueError: for wrong arguments; when built, for unknown channels; at a call, for a window larger than the
            input.
    """

    _fields = ("depth_multiplier",)

    def __init__(self, kernel_size, strides=1, padding="valid", depth_multiplier=1, data_format=None, dilation_rate=1,
                 activation=None, use_bias=True, depthwise_initializer="glorot_uniform", bias_initializer="zeros",
                 depthwise_regularizer=None, bias_regularizer=None, activity_regularizer=None,
                 depthwise_constraint=None, bias_constraint=None, **kwargs):
        super().__init__(kernel_size, strides, padding, data_format, dilation_rate, activation, use_bias, {
            "depthwise": (depthwise_initializer, depthwise_regularizer, depthwise_constraint),
            "bias": (bias_initializer, bias_regularizer, bias_constraint)}, activity_regularizer, **kwargs)
        self._check_positive(depth_multiplier=depth_multiplier)
        self.depth_multiplier = depth_multiplier

    def _build(self, channels):
        self.kernel = self._weight("kernel", (*self.kernel_size, channels, self.depth_multiplier), "depthwise")

    def _bias_size(self, channels):
        return channels * self.depth_multiplier

    def _convolve(self, inputs, **options):
        return ops.depthwise_conv(inputs, self.kernel, **options)


@builtin("keras.layers")
class DepthwiseConv1D(_DepthwiseConv):
    __doc__ = f"(batch, steps, channels) -> (batch, windows, channels * depth_multiplier). {_DepthwiseConv.__doc__}"
    _rank = 1


@builtin("keras.layers")
class DepthwiseConv2D(_DepthwiseConv):
    __doc__ = f"(batch, height, width, channels) -> (..., channels * depth_multiplier). {_DepthwiseConv.__doc__}"
    _rank = 2


class _SeparableConv(_Convolution):
    """Depthwise-separable convolution: a depthwise one, then a mix of the channels at every position.

    Args:
        filters: channels of the result.
        kernel_size: size of the window, per axis.
        strides: distance of windows, per axis.
        padding: "valid" (whole windows only) or "same" (ceil(size / stride) windows).
        data_format: "channels_last" (batch, spatial..., channels) or "channels_first" (batch, channels, spatial...).
        dilation_rate: distance of a window's taps, per axis.
        depth_multiplier: channels between the two steps per channel of the input.
        activation: None, name or callable; after the second step.
        use_bias: whether a bias (filters,) is added.
        depthwise_initializer, depthwise_regularizer, depthwise_constraint: of `depthwise_kernel`
            (window..., channels, depth_multiplier).
        pointwise_initializer, pointwise_regularizer, pointwise_constraint: of `pointwise_kernel`
            (1..., channels * depth_multiplier, filters).
        bias_initializer, bias_regularizer, bias_constraint: of `bias` (filters,).
        activity_regularizer: of the result.

    Raises:
        ValueError: for wrong arguments; when built, for unknown channels; at a call, for a window larger than the
            input.
    """

    _fields = ("filters", "depth_multiplier")

    def __init__(self, filters, kernel_size, strides=1, padding="valid", data_format=None, dilation_rate=1,
                 depth_multiplier=1, activation=None, use_bias=True, depthwise_initializer="glorot_uniform",
                 pointwise_initializer="glorot_uniform", bias_initializer="zeros", depthwise_regularizer=None,
                 pointwise_regularizer=None, bias_regularizer=None, activity_regularizer=None,
                 depthwise_constraint=None, pointwise_constraint=None, bias_constraint=None, **kwargs):
        super().__init__(kernel_size, strides, padding, data_format, dilation_rate, activation, use_bias, {
            "depthwise": (depthwise_initializer, depthwise_regularizer, depthwise_constraint),
            "pointwise": (pointwise_initializer, pointwise_regularizer, pointwise_constraint),
            "bias": (bias_initializer, bias_regularizer, bias_constraint)}, activity_regularizer, **kwargs)
        self._check_positive(filters=filters, depth_multiplier=depth_multiplier)
        self.filters, self.depth_multiplier = filters, depth_multiplier

    def _build(self, channels):
        between = channels * self.depth_multiplier
        self.depthwise_kernel = self._weight("depthwise_kernel", (*self.kernel_size, channels, self.depth_multiplier),
                                             "depthwise")
        self.pointwise_kernel = self._weight("pointwise_kernel", ((1,) * self._rank) + (between, self.filters),
                                             "pointwise")

    def _bias_size(self, channels):
        return self.filters

    def _convolve(self, inputs, **options):
        return ops.separable_conv(inputs, self.depthwise_kernel, self.pointwise_kernel, **options)


@builtin("keras.layers")
class SeparableConv1D(_SeparableConv):
    __doc__ = f"(batch, steps, channels) -> (batch, windows, filters). {_SeparableConv.__doc__}"
    _rank = 1


@builtin("keras.layers")
class SeparableConv2D(_SeparableConv):
    __doc__ = f"(batch, height, width, channels) -> (batch, rows, columns, filters). {_SeparableConv.__doc__}"
    _rank = 2


Convolution1D, Convolution2D, Convolution3D = Conv1D, Conv2D, Conv3D
Convolution1DTranspose, Convolution2DTranspose = Conv1DTranspose, Conv2DTranspose
Convolution3DTranspose = Conv3DTranspose
SeparableConvolution1D, SeparableConvolution2D = SeparableConv1D, SeparableConv2D
