"""Depthwise convolution, every channel with filters of its own, and depthwise-separable convolution."""

from __future__ import annotations

from pydl import ops
from pydl._core import kernels
from pydl.ops._window import Window, channels_first, window
from pydl.ops.convolution import _check_bias, _operands
from pydl.ops.linalg import FUSED_ACTIVATIONS
from pydl.symbolic import op
from pydl.tape import differentiable, no_grad, state
from pydl.tensor import Tensor, empty

__all__ = ["depthwise_conv", "separable_conv"]


@op
def depthwise_conv(inputs, kernel, strides=1, padding="valid", data_format=None, dilation_rate=1, *, bias=None,
                   activation=None):
    """Convolution of every channel with its own filters, over 1 to 3 spatial axes; channel c of the input makes the
    channels c * multiplier ... (c + 1) * multiplier - 1 of the result.

    Args:
        inputs: (batch, spatial..., channels), or (batch, channels, spatial...) with "channels_first".
        kernel: (window..., channels, multiplier). A multiplier above 1 copies the input that many times.
        strides: int or one per spatial axis.
        padding: "valid", "same", "causal" (one spatial axis), or pairs (before, after) per spatial axis.
        data_format: "channels_last", "channels_first", or None for the configured one.
        dilation_rate: distance of the window's taps, int or one per spatial axis.
        bias: (channels * multiplier,) or None.
        activation: None, "linear", "relu", "sigmoid" or "tanh".

    Returns:
        (batch, positions..., channels * multiplier), or channels first.

    Raises:
        ValueError: for shapes that do not fit, and a window larger than the padded input.
    """
    x, kernel, bias, first = _operands("depthwise_conv", inputs, kernel, bias, activation, data_format)
    channels, multiplier = kernel.shape[-2:]
    if x.shape[-1] != channels:
        raise ValueError(f"depthwise_conv: expected a kernel (window..., {x.shape[-1]}, multiplier) for an input of"
                         f" {x.shape[-1]} channels; received {kernel.shape}.")
    _check_bias("depthwise_conv", bias, channels * multiplier)
    w = window("depthwise_conv", x.shape[1:-1], kernel.shape[:-2], strides, padding, dilation_rate)
    if multiplier != 1:
        x = ops.repeat(x, multiplier, axis=-1)
    kernel = ops.reshape(kernel, (*w.sizes, channels * multiplier))
    if state.tapes > 1 and FUSED_ACTIVATIONS[activation]:  # the fused activation has no second derivative
        y = getattr(ops, activation)(_depthwise(x, kernel, bias, w))
    else:
        y = _depthwise(x, kernel, bias, w, activation)
    return channels_first(y) if first else y


def _depthwise(x: Tensor, kernel: Tensor, bias: Tensor | None, w: Window, activation=None) -> Tensor:
    """activation(x * kernel + bias) for x (batch, spatial..., channels) and kernel (window..., channels)."""
    code, batch, channels = FUSED_ACTIVATIONS[activation], x.shape[0], x.shape[-1]
    y = empty((batch, *w.outputs, channels), x.dtype)
    kernels.depthwise(x.data, kernel.data, None if bias is None else bias.data, y.data, batch, channels, w.flat(), code)
    value = y.data if code else None

    def gradients(dz):
        dx = _input_grad(dz, kernel, w) if x.node is not None else None
        with_bias = bias is not None and bias.node is not None
        dkernel = dbias = None
        if kernel.node is not None or with_bias:
            dkernel, *dbias = _kernel_grad(x, dz, w, with_bias)
        return (dx, dkernel) if bias is None else (dx, dkernel, dbias[0] if with_bias else None)

    def vjp(dy):
        if not code:
            return gradients(dy)
        dz = empty(dy.shape, dy.dtype)
        getattr(kernels, f"{activation}_grad")(value, dy.data, dz.data, dy.size)
        with no_grad():
            return gradients(dz)

    return differentiable(y, (x, kernel) if bias is None else (x, kernel, bias), vjp)


def _input_grad(dz: Tensor, kernel: Tensor, w: Window) -> Tensor:
    """The gradient of `_depthwise` for x; linear in dz and in the kernel, with the gradients of both."""
    batch, channels = dz.shape[0], dz.shape[-1]
    dx = empty((batch, *w.inputs, channels), dz.dtype)
    kernels.depthwise_input_grad(dz.data, kernel.data, dx.data, batch, channels, w.flat())

    def vjp(ddx):
        return (_depthwise(ddx, kernel, None, w) if dz.node is not None else None,
                _kernel_grad(ddx, dz, w, False)[0] if kernel.node is not None else None)

    return differentiable(dx, (dz, kernel), vjp)


def _kernel_grad(x: Tensor, dz: Tensor, w: Window, with_bias: bool) -> list[Tensor]:
    """The gradients of `_depthwise` for the kernel and, when wanted, the bias; with gradients for x and dz."""
    batch, channels = dz.shape[0], dz.shape[-1]
    found = [empty((*w.sizes, channels), dz.dtype)] + [empty((channels,), dz.dtype)] * with_bias
    kernels.depthwise_kernel_grad(x.data, dz.data, found[0].data, found[1].data if with_bias else None, batch,
                                  channels, w.flat())

    def vjp(ddkernel, ddbias=None):
        if ddkernel is None:
            ddkernel = ops.zeros(found[0].shape, dz.dtype)
        return (_input_grad(dz, ddkernel, w) if x.node is not None else None,
                _depthwise(x, ddkernel, ddbias, w) if dz.node is not None else None)

    return differentiable(found, (x, dz), vjp)


@op
def separable_conv(inputs, depthwise_kernel, pointwise_kernel, strides=1, padding="valid", data_format=None,
                   dilation_rate=1, *, bias=None, activation=None):
    """`depthwise_conv`, then a convolution with a window of 1: channels are mixed at every position.

    Args:
        inputs: (batch, spatial..., channels), or (batch, channels, spatial...) with "channels_first".
        depthwise_kernel: (window..., channels, multiplier).
        pointwise_kernel: (1..., channels * multiplier, filters).
        strides, padding, data_format, dilation_rate: as for `depthwise_conv`.
        bias: (filters,) or None.
        activation: None, "linear", "relu", "sigmoid" or "tanh".

    Returns:
        (batch, positions..., filters), or channels first.
    """
    x, kernel, bias, first = _operands("separable_conv", inputs, depthwise_kernel, bias, activation, data_format)
    mix = _operands("separable_conv", inputs, pointwise_kernel, None, None, data_format)[1]
    if any(n != 1 for n in mix.shape[:-2]) or mix.shape[-2] != kernel.shape[-2] * kernel.shape[-1]:
        raise ValueError("separable_conv: expected a pointwise_kernel (1..., channels * multiplier, filters) for a"
                         f" depthwise_kernel of shape {kernel.shape}; received {mix.shape}.")
    _check_bias("separable_conv", bias, mix.shape[-1])
    y = depthwise_conv(x, kernel, strides, padding, "channels_last", dilation_rate)
    y = ops.dense(y, ops.reshape(mix, mix.shape[-2:]), bias, activation)
    return channels_first(y) if first else y
