"""Max and average pooling, with given or adaptive windows."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

import numpy as np

from pydl import ops
from pydl._core import kernels
from pydl.ops._common import Gradients, PerAxis, Shape, TensorLike, as_float
from pydl.ops._fused import fused
from pydl.ops._window import Window, channels_first, channels_last, is_channels_first, lowered, per_axis, window
from pydl.symbolic import op
from pydl.tape import differentiable
from pydl.tensor import Tensor, empty

__all__ = ["adaptive_average_pool", "adaptive_max_pool", "average_pool", "max_pool"]


def _max_kernel(x: Tensor, w: Window) -> Tensor:
    y = empty((x.shape[0], *w.outputs, x.shape[-1]), x.dtype)
    geometry = x.shape[0], x.shape[-1], w.flat()
    kernels.max_pool(x.data, y.data, *geometry)
    result = y.data

    def vjp(dy: Tensor) -> Gradients:
        dx = empty(x.shape, x.dtype)
        kernels.max_pool_grad(x.data, result, dy.data, dx.data, *geometry)
        return (dx,)

    return differentiable(y, (x,), vjp)


@fused(_max_kernel)
def _max(x: Tensor, w: Window) -> Tensor:
    """The values at the places of the maxima, which do not depend on x as far as a gradient goes."""
    batch, channels = x.shape[0], x.shape[-1]
    flat, places = ops.reshape(x, (batch, math.prod(w.inputs), channels)), _places(w)
    windows, taps = places.shape
    first = ops.argmax(ops.take(ops.stop_gradient(flat), places, axis=1), axis=2)  # (batch, windows, channels)
    at = ops.take(places.reshape(-1), ops.add(first, np.arange(windows, dtype="int32")[:, None] * taps))
    return ops.reshape(ops.take_along_axis(flat, at, axis=1), (batch, *w.outputs, channels))


@functools.lru_cache(maxsize=64)
def _places(w: Window) -> np.ndarray:
    """(windows, taps): the places of the flattened spatial axes that each window looks at, in rising order.

    What a window would see outside of the input, and an adaptive one past its end, is its first or last place again.
    """
    places = np.zeros((1, 1), "int32")
    for n, outputs, size, stride, before in zip(w.inputs, w.outputs, w.sizes, w.strides, w.before):
        at = np.arange(outputs)
        if stride:
            start, stop = np.maximum(at * stride - before, 0), np.minimum(at * stride - before + size, n)
        else:
            start, stop = at * n // outputs, -(-(at + 1) * n // outputs)
        along = np.minimum(start[:, None] + np.arange((stop - start).max(initial=0)), stop[:, None] - 1)
        grid = places[:, None, :, None] * n + along[None, :, None, :]
        places = grid.reshape(len(places) * outputs, -1).astype("int32")
    return places


def _average(x: Tensor, w: Window) -> Tensor:
    y = empty((x.shape[0], *w.outputs, x.shape[-1]), x.dtype)
    kernels.average_pool(x.data, y.data, x.shape[0], x.shape[-1], w.flat())
    return differentiable(y, (x,), lambda dy: (_shared(dy, w),))


def _shared(dy: Tensor, w: Window) -> Tensor:
    """dy shared out among the places of its window: the transpose of `_average`."""
    dx = empty((dy.shape[0], *w.inputs, dy.shape[-1]), dy.dtype)
    kernels.average_pool_grad(dy.data, dx.data, dy.shape[0], dy.shape[-1], w.flat())
    return differentiable(dx, (dy,), lambda ddx: (_average(ddx, w),))


def _pool(op_name: str, kind: Callable[[Tensor, Window], Tensor], x: TensorLike, data_format: str | None,
          geometry: Callable[[Shape], Window]) -> Tensor:
    """`kind(x, geometry(spatial shape))`, in channels-last order."""
    x = as_float(x)
    if not 3 <= x.ndim <= 5:
        raise ValueError(f"{op_name}: expected an input of rank 3, 4 or 5 (batch, 1 to 3 spatial axes, channels);"
                         f" received shape {x.shape}.")
    if is_channels_first(data_format, op_name):
        return channels_first(kind(channels_last(x), geometry(x.shape[2:])))
    return kind(x, geometry(x.shape[1:-1]))


def _sliding(op_name: str, kind: Callable[[Tensor, Window], Tensor], x: TensorLike, pool_size: PerAxis,
             strides: PerAxis | None, padding: str, data_format: str | None) -> Tensor:
    padding = lowered(padding)
    if padding not in ("valid", "same"):
        raise ValueError(f'{op_name}: expected padding to be "valid" or "same"; received padding={padding!r}.')
    steps = pool_size if strides is None else strides
    return _pool(op_name, kind, x, data_format, lambda spatial: window(op_name, spatial, pool_size, steps, padding))


def _adaptive(op_name: str, kind: Callable[[Tensor, Window], Tensor], x: TensorLike, output_size: PerAxis,
              data_format: str | None) -> Tensor:
    def geometry(spatial: Shape) -> Window:
        rank = len(spatial)
        outputs = per_axis(output_size, rank, "output_size", op_name)
        if 0 in spatial:
            raise ValueError(f"{op_name}: expected spatial axes of at least 1; received spatial size {spatial}.")
        return Window(spatial, outputs, (0,) * rank, (0,) * rank, (1,) * rank, (0,) * rank)  # stride 0: adaptive

    return _pool(op_name, kind, x, data_format, geometry)


@op
def max_pool(inputs: TensorLike, pool_size: PerAxis, strides: PerAxis | None = None, padding: str = "valid",
             data_format: str | None = None) -> Tensor:
    """The largest value of each window and channel; NaN where the window holds one.

    The gradient goes to the first place of the window, in row-major order, that is the maximum.

    Args:
        inputs: (batch, spatial..., channels) with 1 to 3 spatial axes; (batch, channels, spatial...) for
            "channels_first".
        pool_size: window, int or one per spatial axis.
        strides: distance of windows, int or one per spatial axis; `pool_size` by default.
        padding: "valid" (whole windows only) or "same" (ceil(size / stride) windows, clipped to the input).
        data_format: "channels_last" or "channels_first"; `config.image_data_format()` by default.

    Raises:
        ValueError: for wrong arguments, and a window larger than the input.
    """
    return _sliding("max_pool", _max, inputs, pool_size, strides, padding, data_format)


@op
def average_pool(inputs: TensorLike, pool_size: PerAxis, strides: PerAxis | None = None, padding: str = "valid",
                 data_format: str | None = None) -> Tensor:
    """The mean of each window and channel; places outside the input do not count.

    Args:
        inputs, pool_size, strides, padding, data_format: as of `max_pool`.

    Raises:
        ValueError: for wrong arguments, and a window larger than the input.
    """
    return _sliding("average_pool", _average, inputs, pool_size, strides, padding, data_format)


@op
def adaptive_max_pool(inputs: TensorLike, output_size: PerAxis, data_format: str | None = None) -> Tensor:
    """Max pooling to a given size: output i of n takes the places [floor(i size / n), ceil((i + 1) size / n)).

    Args:
        inputs, data_format: as of `max_pool`.
        output_size: int or one per spatial axis.

    Raises:
        ValueError: for wrong arguments.
    """
    return _adaptive("adaptive_max_pool", _max, inputs, output_size, data_format)


@op
def adaptive_average_pool(inputs: TensorLike, output_size: PerAxis, data_format: str | None = None) -> Tensor:
    """Average pooling to a given size, by the windows of `adaptive_max_pool`.

    Args:
        inputs, output_size, data_format: as of `adaptive_max_pool`.

    Raises:
        ValueError: for wrong arguments.
    """
    return _adaptive("adaptive_average_pool", _average, inputs, output_size, data_format)
