"""Depthwise convolution, every channel with filters of its own, and depthwise-separable convolution."""

from __future__ import annotations

from pydl import ops
from pydl._core import kernels
from pydl.ops._common import Gradients, PerAxis, TensorLike
from pydl.ops._fused import fused
from pydl.ops._window import Window, channels_first, window
from pydl.ops.convolution import _check_bias, _operands
from pydl.ops.linalg import FUSED_ACTIVATIONS, activated
from pydl.symbolic import op
from pydl.tape import differentiable
from pydl.tensor import Tensor, empty

__all__ = ["depthwise_conv", "separable_conv"]


@op
def depthwise_conv(inputs: TensorLike, kernel: TensorLike, strides: PerAxis = 1, padding: str = "valid",
                   data_format: str | None = None, dilation_rate: PerAxis = 1, *, bias: TensorLike | None = None,
                   activation: str | None = None) -> Tensor:
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
    y = _depthwise(x, kernel, bias, w, activation)
    return channels_first(y) if first else y


def _depthwise_kernel(x: Tensor, kernel: Tensor, bias: Tensor | None, w: Window, activation: str | None) -> Tensor:
    code, batch, channels = FUSED_ACTIVATIONS[activation], x.shape[0], x.shape[-1]
    y = empty((batch, *w.outputs, channels), x.dtype)
    kernels.depthwise(x.data, kernel.data, None if bias is None else bias.data, y.data, batch, channels, w.flat(), code)
    value = y.data

    def vjp(dy: Tensor) -> Gradients:
        dz = dy
        if code:
            dz = empty(dy.shape, dy.dtype)
            getattr(kernels, f"{activation}_grad")(value, dy.data, dz.data, dy.size)
        dx = _input_grad(dz, kernel, w) if x.node is not None else None
        dbias = empty((channels,), dy.dtype) if bias is not None and bias.node is not None else None
        dkernel = _kernel_grad(x, dz, w, dbias) if kernel.node is not None or dbias is not None else None
        return (dx, dkernel) if bias is None else (dx, dkernel, dbias)

    return differentiable(y, (x, kernel) if bias is None else (x, kernel, bias), vjp)


@fused(_depthwise_kernel, keeps_inputs=True)
def _depthwise(x: Tensor, kernel: Tensor, bias: Tensor | None, w: Window, activation: str | None) -> Tensor:
    """activation(x * kernel + bias) for x (batch, spatial..., channels) and kernel (window..., channels)."""
    return activated(_sums(x, kernel, w), bias, activation)


# Linear in each of x, kernel and dy, as the products of `convolution`: the gradients of each are the other two.


def _sums(x: Tensor, kernel: Tensor, w: Window) -> Tensor:
    """The convolution without bias and activation."""
    batch, channels = x.shape[0], x.shape[-1]
    y = empty((batch, *w.outputs, channels), x.dtype)
    kernels.depthwise(x.data, kernel.data, None, y.data, batch, channels, w.flat(), 0)

    def vjp(dy: Tensor) -> Gradients:
        return (_input_grad(dy, kernel, w) if x.node is not None else None,
                _kernel_grad(x, dy, w) if kernel.node is not None else None)

    return differentiable(y, (x, kernel), vjp)


def _input_grad(dy: Tensor, kernel: Tensor, w: Window) -> Tensor:
    """The gradient of `_sums` for x."""
    batch, channels = dy.shape[0], dy.shape[-1]
    dx = empty((batch, *w.inputs, channels), dy.dtype)
    kernels.depthwise_input_grad(dy.data, kernel.data, dx.data, batch, channels, w.flat())

    def vjp(ddx: Tensor) -> Gradients:
        return (_sums(ddx, kernel, w) if dy.node is not None else None,
                _kernel_grad(ddx, dy, w) if kernel.node is not None else None)

    return differentiable(dx, (dy, kernel), vjp)


def _kernel_grad(x: Tensor, dy: Tensor, w: Window, dbias: Tensor | None = None) -> Tensor:
    """The gradient of `_sums` for the kernel; the same pass can write that of the bias into `dbias`."""
    batch, channels = dy.shape[0], dy.shape[-1]
    dkernel = empty((*w.sizes, channels), dy.dtype)
    kernels.depthwise_kernel_grad(x.data, dy.data, dkernel.data, None if dbias is None else dbias.data, batch, channels,
                                  w.flat())

    def vjp(ddkernel: Tensor) -> Gradients:
        return (_input_grad(dy, ddkernel, w) if x.node is not None else None,
                _sums(x, ddkernel, w) if dy.node is not None else None)

    return differentiable(dkernel, (x, dy), vjp)


@op
def separable_conv(inputs: TensorLike, depthwise_kernel: TensorLike, pointwise_kernel: TensorLike, strides: PerAxis = 1,
                   padding: str = "valid", data_format: str | None = None, dilation_rate: PerAxis = 1, *,
                   bias: TensorLike | None = None, activation: str | None = None) -> Tensor:
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
