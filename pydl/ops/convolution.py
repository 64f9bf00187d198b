"""Convolution over 1 to 3 spatial axes, its transpose, and their gradients."""

from __future__ import annotations

from collections.abc import Sequence

from pydl import ops
from pydl._core import kernels
from pydl.ops._common import Gradients, Padding, PerAxis, Shape, TensorLike, as_float, result_dtype
from pydl.ops._fused import fused
from pydl.ops._window import (
    Window,
    channels_first,
    channels_last,
    is_channels_first,
    lowered,
    pad_total,
    per_axis,
    window,
)
from pydl.ops.linalg import FUSED_ACTIVATIONS, activated, before_activation
from pydl.symbolic import op
from pydl.tape import OWNED, differentiable
from pydl.tensor import Tensor, empty

__all__ = ["conv", "conv_transpose"]


def _operands(op_name: str, x: TensorLike, kernel: TensorLike, bias: TensorLike | None, activation: str | None,
              data_format: str | None) -> tuple[Tensor, Tensor, Tensor | None, bool]:
    """Channels-last input, kernel and bias of one float dtype; whether the result goes back to channels first."""
    if activation not in FUSED_ACTIVATIONS:
        raise ValueError(f"{op_name}: expected activation to be one of {list(FUSED_ACTIVATIONS)}; received"
                         f" {activation!r}.")
    x, kernel = as_float(x), as_float(kernel)
    bias = None if bias is None else as_float(bias)
    given = [t for t in (x, kernel, bias) if t is not None]
    dtype = result_dtype(*given)
    x, kernel = (t if t.dtype == dtype else ops.cast(t, dtype) for t in (x, kernel))
    if bias is not None and bias.dtype != dtype:
        bias = ops.cast(bias, dtype)
    first = is_channels_first(data_format, op_name)
    if not 3 <= x.ndim <= 5 or kernel.ndim != x.ndim:
        raise ValueError(f"{op_name}: expected inputs (batch, spatial..., channels) with 1 to 3 spatial axes and a"
                         f" kernel of the same rank; received shapes {x.shape} and {kernel.shape}.")
    return (channels_last(x) if first else x), kernel, bias, first


def _check_bias(op_name: str, bias: Tensor | None, filters: int) -> None:
    if bias is not None and bias.shape != (filters,):
        raise ValueError(f"{op_name}: expected bias of shape ({filters},); received {bias.shape}.")


@op
def conv(inputs: TensorLike, kernel: TensorLike, strides: PerAxis = 1, padding: Padding = "valid",
         data_format: str | None = None, dilation_rate: PerAxis = 1, *, bias: TensorLike | None = None,
         activation: str | None = None) -> Tensor:
    """Convolution (cross-correlation, as everywhere in deep learning) over 1 to 3 spatial axes:

        y[n, o, f] = activation(bias[f] + sum over taps t and channels c of
                                x[n, o * strides + t * dilation_rate - padding, c] kernel[t, c, f])

    Args:
        inputs: (batch, spatial..., channels), or (batch, channels, spatial...) with "channels_first".
        kernel: (window..., channels / groups, filters); fewer channels than the input has make groups.
        strides: int or one per spatial axis.
        padding: "valid", "same" (ceil(size / stride) positions), "causal" (one spatial axis: no position sees a later
            input), or pairs (before, after) per spatial axis.
        data_format: "channels_last", "channels_first", or None for the configured one.
        dilation_rate: distance of the window's taps, int or one per spatial axis.
        bias: (filters,) or None. Bias and activation are applied before results leave the registers.
        activation: None, "linear", "relu", "sigmoid" or "tanh".

    Returns:
        (batch, positions..., filters), or (batch, filters, positions...).

    Raises:
        ValueError: for shapes that do not fit, and a window larger than the padded input.
    """
    x, kernel, bias, first = _operands("conv", inputs, kernel, bias, activation, data_format)
    channels, (depth, filters) = x.shape[-1], kernel.shape[-2:]
    groups = channels // max(depth, 1)
    if groups < 1 or groups * depth != channels or filters % groups:
        raise ValueError("conv: expected the channels of the input to be a multiple of the kernel's, and the filters"
                         f" one of the number of groups; received {channels} channels and a kernel of shape"
                         f" {kernel.shape} (window..., channels / groups, filters).")
    _check_bias("conv", bias, filters)
    w = window("conv", x.shape[1:-1], kernel.shape[:-2], strides, padding, dilation_rate)
    y = _conv(x, kernel, bias, w, groups, activation)
    return channels_first(y) if first else y


def _geometry(batch: int, groups: int, channels: int, filters: int, w: Window) -> list[int]:
    return [batch, groups, channels, filters, *w.flat()]


def _conv_kernel(x: Tensor, kernel: Tensor, bias: Tensor | None, w: Window, groups: int,
                 activation: str | None) -> Tensor:
    filters, code = kernel.shape[-1], FUSED_ACTIVATIONS[activation]
    geometry = _geometry(x.shape[0], groups, x.shape[-1], filters, w)
    y = empty((x.shape[0], *w.outputs, filters), x.dtype)
    kernels.conv(x.data, kernel.data, None if bias is None else bias.data, y.data, geometry, code)
    value = y.data

    def vjp(dy: Tensor, into: Sequence[Tensor | None]) -> Gradients:
        dz, dbias = before_activation(value, dy, bias, code)
        dx = _input_grad(dz, kernel, w, groups, x.shape[-1]) if x.node is not None else None
        dkernel = _kernel_grad(x, dz, w, groups, kernel.shape, into[1]) if kernel.node is not None else None
        return (dx, dkernel) if bias is None else (dx, dkernel, dbias)

    return differentiable(y, (x, kernel) if bias is None else (x, kernel, bias), vjp, adds=True)


@fused(_conv_kernel, keeps_inputs=True)
def _conv(x: Tensor, kernel: Tensor, bias: Tensor | None, w: Window, groups: int, activation: str | None) -> Tensor:
    return activated(_sums(x, kernel, w, groups), bias, activation)


# ------------------------------------------------------------------------------------------ products
#
# The sum over all places of x[place + tap] kernel[tap] dy[place] is linear in each of the three. The convolution, its
# gradient for the input and that for the kernel are its derivatives for dy, x and kernel, and the gradients of each
# are the other two.


def _sums(x: Tensor, kernel: Tensor, w: Window, groups: int) -> Tensor:
    """The convolution without bias and activation."""
    y = empty((x.shape[0], *w.outputs, kernel.shape[-1]), x.dtype)
    kernels.conv(x.data, kernel.data, None, y.data, _geometry(x.shape[0], groups, x.shape[-1], kernel.shape[-1], w), 0)

    def vjp(dy: Tensor) -> Gradients:
        return (_input_grad(dy, kernel, w, groups, x.shape[-1]) if x.node is not None else None,
                _kernel_grad(x, dy, w, groups, kernel.shape) if kernel.node is not None else None)

    return differentiable(y, (x, kernel), vjp)


def _input_grad(dy: Tensor, kernel: Tensor, w: Window, groups: int, channels: int) -> Tensor:
    """The gradient of `_sums` for an input of `channels`."""
    dx = empty((dy.shape[0], *w.inputs, channels), dy.dtype)
    kernels.conv_dx(dy.data, kernel.data, None, dx.data,
                    _geometry(dy.shape[0], groups, channels, kernel.shape[-1], w), 0)

    def vjp(ddx: Tensor) -> Gradients:
        return (_sums(ddx, kernel, w, groups) if dy.node is not None else None,
                _kernel_grad(ddx, dy, w, groups, kernel.shape) if kernel.node is not None else None)

    return differentiable(dx, (dy, kernel), vjp)


def _kernel_grad(x: Tensor, dy: Tensor, w: Window, groups: int, shape: Shape, into: Tensor | None = None) -> Tensor:
    """The gradient of `_sums` for a kernel of `shape`, added to `into` when that is a tensor."""
    geometry = _geometry(x.shape[0], groups, x.shape[-1], shape[-1], w)
    if into is not None:
        kernels.conv_dw_accumulate(x.data, dy.data, into.data, geometry)
        return into
    dkernel = empty(shape, x.dtype)
    dkernel.slot = OWNED
    kernels.conv_dw(x.data, dy.data, dkernel.data, geometry)

    def vjp(ddkernel: Tensor) -> Gradients:
        return (_input_grad(dy, ddkernel, w, groups, x.shape[-1]) if x.node is not None else None,
                _sums(x, ddkernel, w, groups) if dy.node is not None else None)

    return differentiable(dkernel, (x, dy), vjp)


# ---------------------------------------------------------------------------------------- transposed


def _transposed_window(inputs: Sequence[int], sizes: Sequence[int], strides: PerAxis, padding: str,
                       output_padding: PerAxis | None, dilation: PerAxis) -> Window:
    """The window of the convolution that a transposed convolution over `inputs` is the gradient of.

    Sizes are Keras's: "valid" gives (n - 1) * stride + reach (at least n * stride), "same" n * stride; with
    `output_padding`, (n - 1) * stride + reach - padding of a "same" convolution with stride 1, + output_padding.
    """
    op_name, rank = "conv_transpose", len(inputs)
    strides = per_axis(strides, rank, "strides", op_name)
    dilation = per_axis(dilation, rank, "dilation_rate", op_name)
    padding = lowered(padding)
    if padding not in ("valid", "same"):
        raise ValueError(f'{op_name}: expected padding to be "valid" or "same"; received padding={padding!r}.')
    extra = (output_padding,) * rank if output_padding is None or isinstance(output_padding, int) else output_padding
    outputs, before = [], []
    for n, k, s, d, e in zip(inputs, sizes, strides, dilation, extra, strict=True):
        reach = (k - 1) * d + 1
        if e is None:
            size = n * s if padding == "same" else n * s + max(reach - s, 0)
            total = pad_total(size, k, s, d) if padding == "same" else 0
            front = total // 2
        else:
            if not 0 <= e < s:
                raise ValueError(f"{op_name}: expected output_padding to be at least 0 and less than the stride {s};"
                                 f" received output_padding={output_padding!r}.")
            keep = reach % 2 if padding == "same" else reach
            size = (n - 1) * s + keep + e
            front = max(reach - keep - e, 0) // 2
        outputs.append(size)
        before.append(front)
    if min(outputs) < 1:
        raise ValueError(f"{op_name}: the result would have spatial shape {tuple(outputs)}.")
    return Window(tuple(outputs), tuple(inputs), tuple(sizes), strides, dilation, tuple(before))


@op
def conv_transpose(inputs: TensorLike, kernel: TensorLike, strides: PerAxis = 1, padding: str = "valid",
                   output_padding: PerAxis | None = None, data_format: str | None = None, dilation_rate: PerAxis = 1, *,
                   bias: TensorLike | None = None, activation: str | None = None) -> Tensor:
    """Transposed convolution: the gradient of a convolution for its input, used forwards, so that `strides` enlarge.

    Args:
        inputs: (batch, spatial..., channels), or (batch, channels, spatial...) with "channels_first".
        kernel: (window..., filters, channels).
        strides: int or one per spatial axis.
        padding: "valid" or "same".
        output_padding: rows and columns added behind, less than the stride; None derives the size from `padding`.
        data_format, dilation_rate, bias (filters,), activation: as for `conv`.

    Returns:
        (batch, positions..., filters): n * stride positions for "same"; for "valid", window - stride more when that is
        positive.
    """
    x, kernel, bias, first = _operands("conv_transpose", inputs, kernel, bias, activation, data_format)
    filters, channels = kernel.shape[-2:]
    if x.shape[-1] != channels:
        raise ValueError(f"conv_transpose: expected a kernel (window..., filters, {x.shape[-1]}) for an input of"
                         f" {x.shape[-1]} channels; received {kernel.shape}.")
    _check_bias("conv_transpose", bias, filters)
    w = _transposed_window(x.shape[1:-1], kernel.shape[:-2], strides, padding, output_padding, dilation_rate)
    y = _conv_transpose(x, kernel, bias, w, activation)
    return channels_first(y) if first else y


def _transposed_kernel(x: Tensor, kernel: Tensor, bias: Tensor | None, w: Window, activation: str | None) -> Tensor:
    filters, code = kernel.shape[-2], FUSED_ACTIVATIONS[activation]
    y = empty((x.shape[0], *w.inputs, filters), x.dtype)
    kernels.conv_dx(x.data, kernel.data, None if bias is None else bias.data, y.data,
                    _geometry(x.shape[0], 1, filters, kernel.shape[-1], w), code)
    value = y.data

    def vjp(dy: Tensor, into: Sequence[Tensor | None]) -> Gradients:
        dz, dbias = before_activation(value, dy, bias, code)
        dx = _sums(dz, kernel, w, 1) if x.node is not None else None
        dkernel = _kernel_grad(dz, x, w, 1, kernel.shape, into[1]) if kernel.node is not None else None
        return (dx, dkernel) if bias is None else (dx, dkernel, dbias)

    return differentiable(y, (x, kernel) if bias is None else (x, kernel, bias), vjp, adds=True)


@fused(_transposed_kernel, keeps_inputs=True)
def _conv_transpose(x: Tensor, kernel: Tensor, bias: Tensor | None, w: Window, activation: str | None) -> Tensor:
    return activated(_input_grad(x, kernel, w, 1, kernel.shape[-2]), bias, activation)
